"""A result card: the result of a recipe's run, with all that is needed to check it, compare it and repeat it.

There are no paths on it, and no names of people.

    {"format": "est-recipe-card", "version": 1, "recipe": "ravdess", "protocol": 1, …}

Within a version keys are added, never renamed or given another meaning. `protocol` is the version of the recipe's protocol: cards of two
protocols are never compared.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from ..errors import EstError, quoted
from ..train.runs.files import write

FORMAT, VERSION = "est-recipe-card", 1
KINDS = {"str": str, "int": int, "bool": bool, "dict[str, Any]": dict, "list[int]": list, "list[dict[str, Any]]": list}
DATE = "%Y-%m-%dT%H:%M:%SZ"
MOST = 1e12  # no count, time or score is larger
OPTIONAL = "?"  # before the type of a key that a card may lack


def is_number(value: Any) -> bool:
    """Return whether a value is a finite number of a size that a card may have."""
    return type(value) in (int, float) and abs(value) <= MOST and not math.isnan(value)


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= MOST


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_line(value: Any) -> bool:
    return isinstance(value, str) and value.isprintable() and bool(value.strip())


def _is_list(value: Any, of: Callable[[Any], bool]) -> bool:
    return isinstance(value, list) and all(map(of, value))


def _is_object(value: Any, of: Callable[[Any], bool]) -> bool:
    return isinstance(value, dict) and all(map(of, value.values()))


def _is_ends(value: Any) -> bool:
    return _is_list(value, is_number) and len(value) == 2


def _is_rows(value: Any) -> bool:
    return _is_list(value, lambda row: _is_list(row, is_number))


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, bool | int | float | str) or _is_list(value, _is_plain)


def _is_date(value: str) -> bool:
    try:
        return datetime.strptime(value, DATE).strftime(DATE) == value
    except ValueError:
        return False


TYPES: Mapping[str, Callable[[Any], bool]] = {
    "a text": _is_text,
    "one line of text": _is_line,
    "a date such as 2026-11-29T12:00:00Z": _is_date,
    "true or false": lambda value: isinstance(value, bool),
    "a number": is_number,
    "a number from 0": lambda value: is_number(value) and value >= 0,
    "a number or null": lambda value: value is None or is_number(value),
    "a whole number": lambda value: type(value) is int and abs(value) <= MOST,
    "a whole number from 0": _is_count,
    "a whole number from 1": lambda value: _is_count(value) and value > 0,
    "two numbers": _is_ends,
    "rows of numbers": _is_rows,
    "a list of texts": lambda value: _is_list(value, _is_text),
    "a list of different texts": lambda value: _is_list(value, _is_line) and len(set(value)) == len(value),
    "a list of different whole numbers": lambda value: _is_list(value, _is_count) and len(set(value)) == len(value) > 0,
    "a list of objects": lambda value: _is_list(value, lambda one: isinstance(one, dict)),
    "an object of texts": lambda value: _is_object(value, _is_text),
    "an object of whole numbers from 0": lambda value: _is_object(value, _is_count),
    "an object of rows of numbers": lambda value: _is_object(value, _is_rows),
    "an object of plain values": lambda value: _is_object(value, _is_plain),
}
SCORES = {
    **dict.fromkeys(("war.value", "uar.value", "uf1.value"), "a number or null"),
    "war.total": "a whole number from 1",
    "labels": "a list of different texts",
    "confusion": "rows of numbers",
}
SHAPE: Mapping[str, str] = {
    "partial": "a text",
    "date": "a date such as 2026-11-29T12:00:00Z",
    "code.version": "one line of text",
    "code.sources": "one line of text",
    "code.commit": "a text",
    "code.extracted_by": "one line of text",
    "machine.machine": "a text",
    "machine.python": "a text",
    "machine.versions": "an object of texts",
    "machine.device": "?a text",
    "machine.precision": "?a text",
    **dict.fromkeys(("model.name", "model.title", "model.heading", "model.preset"), "one line of text"),
    "model.epochs": "a whole number from 1",
    "model.settings": "an object of plain values",
    **dict.fromkeys(("encoder.name", "encoder.weights", "encoder.normalize"), "one line of text"),
    **dict.fromkeys(("encoder.precision", "encoder.detector"), "one line of text"),
    **dict.fromkeys(("encoder.weights_digest", "encoder.licence"), "a text"),
    "encoder.size": "a whole number from 1",
    **dict.fromkeys(("counts.listed", "counts.clips"), "a whole number from 1"),
    **dict.fromkeys(("counts.missing", "counts.failed", "counts.subjects"), "a whole number from 0"),
    "counts.per_class": "an object of whole numbers from 0",
    "fingerprints.cache": "an object of texts",
    "fingerprints.clips": "a text",
    "fingerprints.annotations": "a text",
    "folds.independence": "one line of text",
    "folds.notes": "a list of texts",
    "folds.tested": "an object of whole numbers from 0",
    "seeds": "a list of different whole numbers",
    **{f"scores.{name}": what for name, what in SCORES.items()},
    **{f"control.{name}": what for name, what in SCORES.items()},
    "intervals.over": "one line of text",
    **dict.fromkeys(("intervals.war", "intervals.uar", "intervals.uf1"), "?two numbers"),
    "by_seed": "an object of rows of numbers",
    **{f"over_seeds.{name}.mean": "a number" for name in ("war", "uar", "uf1")},
    **{f"over_seeds.{name}.sd": "a number or null" for name in ("war", "uar", "uf1")},
    "difference.value": "a number",
    "difference.low": "a number or null",
    "difference.high": "a number or null",
    "difference.detectable": "a number or null",
    "difference.p": "a number from 0",
    "difference.alike": "true or false",
    "difference.units": "a whole number from 1",
    "difference.unit": "one line of text",
    "difference.better": "a whole number",
    "leaks": "a list of objects",
    "seconds.extract": "a number from 0",
    "seconds.train": "a number from 0",
}
ABSENT = object()


@dataclass(frozen=True, kw_only=True)
class Card:
    """The card, as its JSON has it."""

    recipe: str
    protocol: int
    rendered: bool  # data that the project made: no result on people
    partial: str  # why it is no result of the data set: "12 of 1,440 clips"; empty where it is one
    date: str  # UTC, when the last training ended
    code: dict[str, Any]  # that trained: version, sources, commit; extracted_by: the sources that extracted
    machine: dict[str, Any]  # system, python, processor, device, precision, versions
    model: dict[str, Any]  # name, title, preset, settings that are not at their defaults
    encoder: dict[str, Any]  # name, weights, weights_digest, normalize, licence, detector, detector_licence, size
    counts: dict[str, Any]  # listed, clips, missing, failed, subjects, per_class
    fingerprints: dict[str, Any]  # frames, features, clips, annotations
    folds: dict[str, Any]  # independence, notes, tested: fold → clips
    seeds: list[int]
    scores: dict[str, Any]  # pooled over folds, mean over seeds: as metrics.json has them
    intervals: dict[str, Any]  # over: subjects or clips; war, uar, uf1: both ends
    by_seed: dict[str, Any]  # seed → its confusion matrix, from which everything above and below follows
    over_seeds: dict[str, Any]  # war, uar, uf1: mean, sd, number
    control: dict[str, Any]  # scores of pooled statistics and a linear classifier
    difference: dict[str, Any]  # model − control, in WAR, paired
    leaks: list[dict[str, Any]]
    seconds: dict[str, Any]  # extract, train

    @property
    def name(self) -> str:
        """Name the card: for files and links."""
        encoder = self.encoder_name.replace(" ", "-")
        text = f"{self.recipe}-{self.model['name']}-{encoder}-{self.date[:10]}-{self.digest[:8]}"
        return "".join(letter if letter.isalnum() or letter == "-" else "-" for letter in text).lower()

    @property
    def encoder_name(self) -> str:
        """Name the encoder and its weights, as a column of the table does."""
        name, weights = self.encoder["name"], self.encoder["weights"]
        return weights if ":" in weights else f"{name} {weights}"

    @property
    def digest(self) -> str:
        """Name the content."""
        return hashlib.sha256(self.text().encode()).hexdigest()[:32]

    def to_json(self) -> dict[str, Any]:
        """Return what the file holds."""
        return {"format": FORMAT, "version": VERSION, **asdict(self)}

    def text(self) -> str:
        """Return the file."""
        return json.dumps(self.to_json(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"

    def write(self, path: Path) -> None:
        """Replace a file by the card."""
        write(path, self.text())

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a card; what is no card, or one of another release, is refused."""
        again = "est recipe run makes cards; they are in cards/ of its folder"
        try:
            data = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse)
            json.dumps(data, ensure_ascii=False).encode()  # half a character cannot be written again
        except FileNotFoundError as error:
            raise EstError(f"There is no card {path}.", remedy=again) from error
        except IsADirectoryError as error:
            raise EstError(
                f"{path} is a folder, expected the JSON of a card.",
                remedy=f"est recipe check {quoted(path)}/*.json",
            ) from error
        except OSError as error:
            raise EstError(f"The card {path} cannot be read.", remedy=again) from error
        except (ValueError, RecursionError) as error:
            raise EstError(f"{path} is not a result card: it is not JSON.", remedy=again) from error
        if not isinstance(data, dict) or data.get("format") != FORMAT:
            found = data.get("format") if isinstance(data, dict) else type(data).__name__
            raise EstError(f"{path} is not a result card: expected the format {FORMAT}, found {found}.", remedy=again)
        if data.get("version") != VERSION:
            code = data.get("code")
            by = code.get("version", "unknown") if isinstance(code, dict) else "unknown"
            raise EstError(
                f"{path} is a card of version {data.get('version')}, made by est {by}; this est reads version {VERSION}.",
                remedy="use the release of est that made it, or make it again with est recipe run",
            )
        wrong = [
            f"{item.name} ({'absent' if item.name not in data else type(data[item.name]).__name__}, expected {item.type})"
            for item in fields(cls)
            if type(data.get(item.name)) is not KINDS[str(item.type)]
        ]
        if wrong:
            raise EstError(f"The card {path} is damaged: {', '.join(wrong)}.", remedy=again)
        return cls(**{item.name: data[item.name] for item in fields(cls)})


def _refuse(text: str) -> None:
    raise ValueError(f"{text} is no number of JSON")


def find_misshapen(card: Card) -> list[str]:
    """Name the keys that are absent or hold another type than they should."""
    data = card.to_json()
    found = []
    for path, what in SHAPE.items():
        value = _look_up(data, path)
        if value is ABSENT and what.startswith(OPTIONAL):
            continue
        expected = what.removeprefix(OPTIONAL)
        if value is ABSENT:
            found.append(f"{path} is absent, expected {expected}.")
        elif not TYPES[expected](value):
            found.append(f"{path} is {shorten(value)}, expected {expected}.")
    for number, leak in enumerate(card.leaks):
        if not _is_line(leak.get("words")):
            found.append(f"leaks.{number}.words is {shorten(leak.get('words'))}, expected one line of text.")
    return found


def shorten(value: Any) -> str:
    """Write a value of a card for a message."""
    if isinstance(value, float):
        return f"{value:.6g}"
    text = "null" if value is None else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _look_up(data: Any, path: str) -> Any:
    for name in path.split("."):
        if not isinstance(data, dict) or name not in data:
            return ABSENT
        data = data[name]
    return data
