"""A result card: what a recipe came to, with all that is needed to trust it, compare it and make it again.

There are no paths on it, and no names of people.

    {"format": "est-recipe-card", "version": 1, "recipe": "ravdess", "protocol": 1, …}

Within a version keys are added, never renamed or given another meaning. `protocol` is the version of the recipe's protocol: cards of two
protocols are never compared.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self

from ..errors import EstError
from ..train.results.run import write

FORMAT, VERSION = "est-recipe-card", 1
KINDS = {"str": str, "int": int, "bool": bool, "dict[str, Any]": dict, "list[int]": list, "list[dict[str, Any]]": list}


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
        anew = "est recipe run makes cards; they lie in cards/ of its folder"
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise EstError(f"There is no card {path}.", remedy=anew) from error
        except IsADirectoryError as error:
            raise EstError(
                f"{path} is a folder, expected the JSON of a card.", remedy=f"est recipe check {path / '*.json'}"
            ) from error
        except OSError as error:
            raise EstError(f"The card {path} cannot be read.", remedy=anew) from error
        except ValueError as error:
            raise EstError(f"{path} is no result card: it is no JSON.", remedy=anew) from error
        if not isinstance(data, dict) or data.get("format") != FORMAT:
            found = data.get("format") if isinstance(data, dict) else type(data).__name__
            raise EstError(f"{path} is no result card: expected the format {FORMAT}, found {found}.", remedy=anew)
        if data.get("version") != VERSION:
            code = data.get("code")
            by = code.get("version", "unknown") if isinstance(code, dict) else "unknown"
            raise EstError(
                f"{path} is a card of version {data.get('version')}, made by est {by}; this est reads version {VERSION}.",
                remedy="the est that made it, or est recipe run with this one",
            )
        wrong = [
            f"{item.name} ({'absent' if item.name not in data else type(data[item.name]).__name__}, expected {item.type})"
            for item in fields(cls)
            if type(data.get(item.name)) is not KINDS[str(item.type)]
        ]
        if wrong:
            raise EstError(f"The card {path} is damaged: {', '.join(wrong)}.", remedy=anew)
        return cls(**{item.name: data[item.name] for item in fields(cls)})
