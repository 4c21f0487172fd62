"""A run is a folder: its configuration, what it was trained on, and one part per fold and seed.

    config.toml          every setting, resolved
    run.json             cache, recipe, labels, protocol, environment; `complete` once every part is scored
    folds.json           the ids of each fold's halves
    clips.json           what stood behind each id: the digest of its source, empty where unknown, and the number of frames
    parts/<part>/        checkpoint.safetensors, history.jsonl, result.json, predictions.csv; epochs.npz with keep_epochs
    history.csv  predictions.csv  metrics.json  classes.csv  scores.csv  confusion.csv  confusion.svg  curves.svg  summary.md
    megc.csv             the table of MEGC 2019, of a protocol that has it

Files are replaced whole, so that a kill leaves each as it was or as it should be. One process trains a run at a time: it holds a lock on
config.toml, which is written once, and the kernel frees the lock when the process ends, however it ends.
"""

from __future__ import annotations

import csv
import errno
import fcntl
import io
import json
import os
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Self

import numpy as np

from ...cache.stores.disk import PARTIAL, Disk
from ...encoders.taps import MAPS
from ...errors import EstError, UsageError, damage_named, quoted
from ..config.config import TrainConfig
from ..config.configfile import DEFAULT, MODEL, MODELS, from_flat, read_toml, to_toml
from .place import read_place

FORMAT = "est-run"
VERSION = 1
RUNS = Path("runs")
CONFIG, FACTS, FOLDS, CLIPS, PARTS = "config.toml", "run.json", "folds.json", "clips.json", "parts"
CHECKPOINT, HISTORY, RESULT, PREDICTIONS = "checkpoint.safetensors", "history.jsonl", "result.json", "predictions.csv"
MEGC = "megc.csv"
PERMUTED = "Labels were permuted"  # begins a note of the protocol, in run.json
EPOCHS = "epochs.npz"  # with keep_epochs: `epoch` (E,), and `predicted` (E, N), places in the labels, in the order of predictions.csv

RESTORE = "restore it, or train again"
KINDS = {
    "complete": bool,
    "heading": str,
    "labels": list,
    "parts": list,
    "protocol": dict,
    "cache": dict,
}  # of run.json
KIND_NAMES = {bool: "true or false", str: "a text", list: "a list", dict: "an object"}
OF_A_PART = {"name": str, "fold": str, "seed": int}

Clips = Mapping[str, Sequence[Any]]  # id → the digest of its source, empty where unknown; frames


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run's folder, opened."""

    path: Path
    config: TrainConfig
    facts: dict[str, Any]  # run.json

    @classmethod
    def create(
        cls,
        path: Path,
        config: TrainConfig,
        facts: Mapping[str, Any],
        folds: Mapping[str, Mapping[str, Sequence[str]]],
        clips: Clips,
    ) -> Self:
        """Make a run's folder, `run.json` last: without it there is no run. One that holds something else is left alone."""
        expect_free(path)
        facts = {"format": FORMAT, "version": VERSION, "complete": False, **facts}
        write(path / CONFIG, to_toml(config))
        write_json(path / FOLDS, folds)
        write_json(path / CLIPS, clips)
        write_json(path / FACTS, facts)
        return cls.open(path)

    @classmethod
    def open(cls, path: Path | str) -> Self:
        """Open a run."""
        path = Path(path)
        if not (path / FACTS).is_file() or not (path / CONFIG).is_file():
            raise UsageError(
                f"{path} is not a run: it has no {FACTS} and {CONFIG}.", remedy="give the folder that est train made"
            )
        facts = read_json(path / FACTS)
        if facts.get("format") != FORMAT or facts.get("version") != VERSION:
            raise EstError(
                f"{path} is a run of version {facts.get('version')}, expected {VERSION}.",
                remedy="use the release of est that made it, or train again",
            )
        _expect_facts(facts, path / FACTS)
        flat = read_toml(path / CONFIG)
        if (name := flat.get(MODEL, DEFAULT)) not in MODELS:
            raise EstError(
                f"{path} is a run of the model {name!r}, which this release does not have; it has {', '.join(MODELS)}.",
                remedy="the release of est that made the run",
            )
        config = from_flat(flat)
        seeds = {part["seed"] for part in facts["parts"]}
        if config.model.name != facts.get("model", config.model.name) or seeds - set(config.seeds):
            raise EstError(
                f"{path / CONFIG} is not the one that {path / FACTS} was written with.",
                remedy="restore it, or train again",
            )
        return cls(path=path, config=config, facts=facts)

    @property
    def complete(self) -> bool:
        """Return whether every part is trained and scored; it is no longer if one is removed."""
        return bool(self.facts["complete"]) and all((self.part(name) / RESULT).is_file() for name in self.parts)

    @property
    def labels(self) -> tuple[str, ...]:
        """Name the classes, in the order of the model's outputs."""
        return tuple(self.facts["labels"])

    @property
    def parts(self) -> list[str]:
        """Name the parts, in order."""
        return [part["name"] for part in self.facts["parts"]]

    @property
    def permuted(self) -> bool:
        """Return whether its labels were permuted, as est audit does for a reference."""
        return any(note.startswith(PERMUTED) for note in self.facts["protocol"].get("notes", ()))

    def fold_of(self, part: str) -> str:
        """Return the fold that a part was trained on."""
        return next(one["fold"] for one in self.facts["parts"] if one["name"] == part)

    def parts_of(self, seed: int) -> list[str]:
        """Name the parts of one seed, a part for each fold."""
        return [part["name"] for part in self.facts["parts"] if part["seed"] == seed]

    @property
    def reads(self) -> dict[str, str]:
        """Name the array of the run's cache that each part reads; empty where pictures are looked at."""
        if not self.config.looks_at_frames:
            with damage_named(self.path / FACTS, RESTORE):
                return {part["name"]: self.facts["reads"][part["fold"]] for part in self.facts["parts"]}
        return dict.fromkeys(self.parts, MAPS) if self.facts["finetune"]["source"] == "maps" else {}

    def part(self, name: str) -> Path:
        """Return a part's folder."""
        return self.path / PARTS / name

    def halves(self) -> dict[str, dict[str, list[str]]]:
        """Return the ids that each fold learns from, chooses by and tests."""
        found = read_json(self.path / FOLDS)
        if not all(
            isinstance(half, dict) and all(isinstance(ids, list) for ids in half.values()) for half in found.values()
        ):
            raise _damaged(self.path / FOLDS, "the ids of each half of each fold", found)
        return found

    def clips(self) -> Clips:
        """Return what stood behind each clip's id; nothing for a run of before 2026-11-29."""
        return read_json(self.path / CLIPS) if (self.path / CLIPS).exists() else {}

    @contextmanager
    def alone(self) -> Generator[None]:
        """Keep other processes from training this run meanwhile."""
        with _writing(self.path / CONFIG):
            descriptor = os.open(self.path / CONFIG, os.O_RDWR | os.O_CLOEXEC)
        try:
            if not _lock(descriptor):
                raise EstError(
                    f"{self.path} is being trained by another process.", remedy="wait for it, or end it first"
                )
            yield
        finally:
            os.close(descriptor)

    @property
    def busy(self) -> bool:
        """Return whether a process trains this run right now; asking does not block others."""
        try:
            descriptor = os.open(self.path / CONFIG, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            return not _lock(descriptor, fcntl.LOCK_SH)
        finally:
            os.close(descriptor)

    def finish(self) -> Self:
        """Mark the run as complete."""
        facts = {**self.facts, "complete": True}
        write_json(self.path / FACTS, facts)
        return type(self)(path=self.path, config=self.config, facts=facts)


def _lock(descriptor: int, kind: int = fcntl.LOCK_EX) -> bool:
    """Take the lock, or raise an error that another process has it. On file systems without locks no process is blocked."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
            raise
    return True


def expect_free(path: Path) -> None:
    """Refuse a folder that holds something; what a kill left of a run that had not started is ignored."""
    rest = {CONFIG, FOLDS, CLIPS, *(name + PARTIAL for name in (CONFIG, FOLDS, CLIPS, FACTS))}
    if path.exists() and (not path.is_dir() or {inner.name for inner in path.iterdir()} - rest):
        unfinished = (path / FACTS).is_file() and not read_json(path / FACTS).get("complete")
        resume = f", or --resume --out {quoted(path)} to resume it" if unfinished else ""
        raise UsageError(f"{path} exists already.", remedy=f"--out another folder{resume}")


def new_path(root: Path = RUNS) -> Path:
    """Make a folder for a run that begins now, and return it: of two that begin in the same second each has its own."""
    name = datetime.now().strftime("%Y-%m-%d-%H%M%S")
    path, number = root / name, 1
    while not _claim(path):
        number += 1
        path = root / f"{name}-{number}"
    return path


def _claim(path: Path) -> bool:
    """Make a folder, or return that another process has made it."""
    with _writing(path):
        try:
            path.mkdir(parents=True)
        except FileExistsError:
            return False
    return True


def latest_unfinished(root: Path = RUNS) -> Path:
    """Return the run that was started last among those that are not complete and not being trained."""
    if read_place() is not None:
        raise UsageError(
            "Several processes would each look for the latest run, and may find different ones.",
            remedy="--resume --out RUN names it",
        )
    unfinished = []
    for path in root.glob(f"*/{FACTS}"):
        with suppress(EstError):  # a damaged run, or one of another version, is not the one that is meant
            run = Run.open(path.parent)
            unfinished += [] if run.complete else [run]
    free = [run.path for run in unfinished if not run.busy]
    if not free:
        beside = f" but for {len(unfinished)} that are being trained right now" if unfinished else ""
        raise UsageError(
            f"There is no unfinished run in {root}{beside}.", remedy="--resume --out RUN names one elsewhere"
        )
    return max(free, key=lambda path: (path / CONFIG).stat().st_mtime_ns)


def write(path: Path, text: str) -> None:
    """Replace a file, whole and durably."""
    disk = Disk()
    with _writing(path):
        disk.make_folder(path.parent)
        disk.write(path, text.encode())
        disk.flush_folder(path.parent)


def append(path: Path, text: str) -> None:
    """Add to a file."""
    with _writing(path), open(path, "a", encoding="utf-8") as file:
        file.write(text)


@contextmanager
def _writing(path: Path) -> Generator[None]:
    try:
        yield
    except OSError as error:
        reason = "no space is left" if error.errno in (errno.ENOSPC, errno.EDQUOT) else error.strerror
        raise EstError(
            f"{path} could not be written: {reason}.",
            remedy="fix that, then run the command again; est train resumes with --resume",
        ) from error


def write_json(path: Path, data: Any) -> None:
    """Replace a JSON file."""
    write(path, json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON file of a run."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:  # no JSON, or no UTF-8
        raise EstError(f"{path} cannot be read.", remedy=RESTORE) from error
    if not isinstance(found, dict):
        raise _damaged(path, "an object", found)
    return found


def _damaged(path: Path, expected: str, found: Any) -> EstError:
    return EstError(f"{path} is damaged: expected {expected}, found {str(found)[:60]!r}.", remedy=RESTORE)


def _expect_facts(facts: Mapping[str, Any], path: Path) -> None:
    """Refuse a run.json that lacks what every reader of it takes for granted, and parts whose names lead out of the run's folder."""
    for name, kind in KINDS.items():
        if not isinstance(facts.get(name), kind):
            raise _damaged(path, f"{name}, {KIND_NAMES[kind]}", facts.get(name))
    for part in facts["parts"]:
        if not isinstance(part, dict) or not all(isinstance(part.get(name), kind) for name, kind in OF_A_PART.items()):
            raise _damaged(path, f"parts with {', '.join(OF_A_PART)}", part)
        if Path(part["name"]).name != part["name"]:
            raise _damaged(path, "the name of a folder for each part", part["name"])
    if not all(isinstance(label, str) for label in facts["labels"]):
        raise _damaged(path, "labels that are texts", facts["labels"])
    if not isinstance(facts["cache"].get("path"), str):
        raise _damaged(path, "the path of a cache", facts["cache"])


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Replace a CSV file."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    write(path, text.getvalue())


def write_arrays(path: Path, **arrays: np.ndarray) -> None:
    """Replace a file of arrays."""
    held = io.BytesIO()
    np.savez_compressed(held, **arrays)  # ty: ignore[invalid-argument-type]
    disk = Disk()
    with _writing(path):
        disk.write(path, held.getvalue())
        disk.flush_folder(path.parent)


def read_history(path: Path) -> list[dict[str, Any]]:
    """Read the records of a part; a last line that a kill cut short is left out."""
    if not path.exists():
        return []
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
        found = [json.loads(line) for line in lines[:-1]]
    except (OSError, ValueError, RecursionError) as error:
        raise EstError(f"{path} cannot be read.", remedy=RESTORE) from error
    if wrong := [record for record in found if not isinstance(record, dict)]:
        raise _damaged(path, "an object in each line", wrong[0])
    return found


def other_clips(one: Clips, other: Clips) -> list[str]:
    """Return the ids behind which other sources stand, or other numbers of frames, as far as both know."""
    return [
        name
        for name in one.keys() & other.keys()
        if one[name][1] != other[name][1] or (one[name][0] and other[name][0] and one[name][0] != other[name][0])
    ]
