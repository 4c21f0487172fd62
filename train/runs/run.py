"""A run is a folder: its configuration, what it was trained on, and one part per fold and seed.

    config.toml          every setting, resolved
    run.json             cache, recipe, labels, protocol, environment; `complete` once every part is scored
    folds.json           the ids of each fold's halves
    clips.json           what stood behind each id: the digest of its source, empty where unknown, and the number of frames
    parts/<part>/        checkpoint.safetensors, history.jsonl, result.json, predictions.csv; epochs.npz with keep_epochs
    history.csv  predictions.csv  metrics.json  classes.csv  scores.csv  confusion.csv  confusion.svg  curves.svg  summary.md
    megc.csv             the table of MEGC 2019, of a protocol that has it

Files are replaced whole, so that a kill leaves each as it was or as it should be. One process trains a run at a time: it holds a lock on
config.toml, which is written once, and the kernel frees the lock when the process ends, however it ends. A complete run knows the digest
of each of its files.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from ...cache.stores.disk import PARTIAL
from ...encoders.taps import MAPS
from ...errors import EstError, UsageError, damage_named, quoted, some
from ..config.config import TrainConfig
from ..config.configfile import DEFAULT, MODEL, MODELS, from_flat, read_toml, to_toml
from .digests import FILES, checked, digest_of, digests_of, expect_as_written, with_digest
from .files import RESTORE, damaged, lock, read_history, read_json, write, write_json, writing
from .place import read_place

FORMAT = "est-run"
VERSION = 1
RUNS = Path("runs")
CONFIG, FACTS, FOLDS, CLIPS, PARTS = "config.toml", "run.json", "folds.json", "clips.json", "parts"
CHECKPOINT, HISTORY, RESULT, PREDICTIONS = "checkpoint.safetensors", "history.jsonl", "result.json", "predictions.csv"
MEGC = "megc.csv"
PERMUTED = "Labels were permuted"  # begins a note of the protocol, in run.json
EPOCHS = "epochs.npz"  # with keep_epochs: `epoch` (E,), and `predicted` (E, N), places in the labels, in the order of predictions.csv
OF_PARTS = (CHECKPOINT, HISTORY, RESULT, PREDICTIONS, EPOCHS)
METRICS, SUMMARY = "metrics.json", "summary.md"
TABLES = ("history.csv", "predictions.csv", "classes.csv", "scores.csv", "confusion.csv", MEGC)
POOLED = (METRICS, SUMMARY, *TABLES, "confusion.svg", "curves.svg")  # written again from the parts

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
        write_json(path / FACTS, with_digest(facts))
        return cls.open(path)

    @classmethod
    def open(cls, path: Path | str) -> Self:
        """Open a run."""
        path = Path(path)
        missing = [name for name in (FACTS, CONFIG) if not (path / name).is_file()]
        if len(missing) == 2 or (missing == [FACTS] and not (path / PARTS).is_dir()):
            raise UsageError(
                f"{path} is not a run: it has no {FACTS} and {CONFIG}.", remedy="give the folder that est train made"
            )
        if missing:
            raise EstError(f"{path / missing[0]} is missing.", remedy=RESTORE)
        facts = read_json(path / FACTS)
        if facts.get("format") != FORMAT or facts.get("version") != VERSION:
            raise EstError(
                f"{path} is a run of version {facts.get('version')}, expected {VERSION}.",
                remedy="use the release of est that made it, or train again",
            )
        facts = checked(facts, path / FACTS)
        _expect_facts(facts, path / FACTS)
        if CONFIG in facts.get(FILES, {}):
            expect_as_written(path / CONFIG, facts[FILES][CONFIG])
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
    def digests(self) -> dict[str, str]:
        """Return the SHA-256 of each file of a complete run; nothing for a run of before 2026-11-30."""
        return self.facts.get(FILES, {})

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

    def file(self, name: str, *, remedy: str = RESTORE) -> Path:
        """Return the path of one of its files; refuse one that is not as it was when the run was completed, or is gone."""
        path = self.path / name
        if digest := self.digests.get(name):
            if path.is_file():
                expect_as_written(path, digest, remedy=remedy)
            elif self.complete:
                raise EstError(f"{path} is missing.", remedy=remedy)
        return path

    def file_of(self, part: str, name: str) -> Path:
        """Return the path of a file of a part; refuse one that is not as it was when the run was completed."""
        return self.file(f"{PARTS}/{part}/{name}", remedy=self.train_again(part))

    def train_again(self, part: str) -> str:
        """Return what restores a part."""
        again = "the same est audit again" if self.permuted else f"est train --resume --out {quoted(self.path)}"
        return f"restore it, or rm -r {quoted(self.part(part))} and {again}"

    def result(self, part: str) -> dict[str, Any]:
        """Return the scores of a part, and what belongs to them."""
        return read_json(self.file_of(part, RESULT))

    def history(self, part: str) -> list[dict[str, Any]]:
        """Return the records of a part's epochs; a last line that a kill cut short is left out."""
        return read_history(self.file_of(part, HISTORY))

    def metrics(self) -> dict[str, Any]:
        """Return the pooled scores of a complete run, and what belongs to them."""
        return read_json(self.file(METRICS, remedy=f"est train --resume --out {quoted(self.path)} writes it again"))

    def halves(self) -> dict[str, dict[str, list[str]]]:
        """Return the ids that each fold learns from, chooses by and tests."""
        found = read_json(self.file(FOLDS))
        if not all(
            isinstance(half, dict) and all(isinstance(ids, list) for ids in half.values()) for half in found.values()
        ):
            raise damaged(self.path / FOLDS, "the ids of each half of each fold", found)
        return found

    def clips(self) -> Clips:
        """Return what stood behind each clip's id; nothing for a run of before 2026-11-29."""
        path = self.file(CLIPS)
        return read_json(path) if path.exists() else {}

    @contextmanager
    def alone(self) -> Generator[None]:
        """Keep other processes from training this run meanwhile."""
        with writing(self.path / CONFIG):
            descriptor = os.open(self.path / CONFIG, os.O_RDWR | os.O_CLOEXEC)
        try:
            if not lock(descriptor):
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
            return not lock(descriptor, fcntl.LOCK_SH)
        finally:
            os.close(descriptor)

    def finish(self) -> Self:
        """Mark the run as complete, with the digests of its files."""
        from ...encoders.weights import BACKBONE  # loads torch, which nothing else here needs

        names = [CONFIG, FOLDS, CLIPS, *POOLED]
        names += [f"{PARTS}/{part}/{name}" for part in self.parts for name in (*OF_PARTS, BACKBONE)]
        return self._with({**self.facts, "complete": True, FILES: digests_of(self.path, names)})

    def verify(self, names: Iterable[str] | None = None) -> dict[str, str]:
        """Compare files with their digests, by default all; return by name what is wrong."""
        wrong = {}
        for name in self.digests if names is None else (name for name in names if name in self.digests):
            if not (self.path / name).is_file():
                wrong[name] = f"{name} is missing"
            elif digest_of(self.path / name) != self.digests[name]:
                wrong[name] = f"{name} does not match its checksum"
        return wrong

    def reopen(self) -> Self:
        """Mark a run of which something is made again as unfinished; what stays must be as it was, and keeps its digests."""
        if not self.digests and not self.facts["complete"]:
            return self
        kept = [name for name in self.digests if name not in POOLED and self._stays(name)]
        if wrong := self.verify(kept):
            folders = sorted({quoted(self.part(name.split("/")[1])) for name in wrong if _is_of_a_part(name)})
            again = f", or rm -r {' '.join(folders)} and the same command again" * all(map(_is_of_a_part, wrong))
            raise EstError(
                f"{self.path} cannot be resumed: {some(wrong.values(), joint='; ')}.",
                remedy=f"restore {'it' if len(wrong) == 1 else 'them'}{again}",
            )
        return self._with({**self.facts, "complete": False, FILES: {name: self.digests[name] for name in kept}})

    def without_checkpoints(self) -> Self:
        """Remove the checkpoints, of a run that is only scored; their digests go first."""
        names = {f"{PARTS}/{part}/{CHECKPOINT}" for part in self.parts}
        run = self
        if names & self.digests.keys():
            left = {name: digest for name, digest in self.digests.items() if name not in names}
            run = self._with({**self.facts, FILES: left})
        for name in names:
            (self.path / name).unlink(missing_ok=True)
        return run

    def _stays(self, name: str) -> bool:
        """Return whether a file is none of a part that is trained again."""
        return not _is_of_a_part(name) or (self.path / PARTS / name.split("/")[1] / RESULT).is_file()

    def _with(self, facts: dict[str, Any]) -> Self:
        write_json(self.path / FACTS, with_digest(facts))
        return type(self)(path=self.path, config=self.config, facts=facts)


def _is_of_a_part(name: str) -> bool:
    return name.startswith(f"{PARTS}/")


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
    with writing(path):
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


def _expect_facts(facts: Mapping[str, Any], path: Path) -> None:
    """Refuse a run.json that lacks what every reader of it takes for granted, and parts whose names lead out of the run's folder."""
    for name, kind in KINDS.items():
        if not isinstance(facts.get(name), kind):
            raise damaged(path, f"{name}, {KIND_NAMES[kind]}", facts.get(name))
    for part in facts["parts"]:
        if not isinstance(part, dict) or not all(isinstance(part.get(name), kind) for name, kind in OF_A_PART.items()):
            raise damaged(path, f"parts with {', '.join(OF_A_PART)}", part)
        if Path(part["name"]).name != part["name"]:
            raise damaged(path, "the name of a folder for each part", part["name"])
    if not all(isinstance(label, str) for label in facts["labels"]):
        raise damaged(path, "labels that are texts", facts["labels"])
    if not isinstance(facts["cache"].get("path"), str):
        raise damaged(path, "the path of a cache", facts["cache"])


def other_clips(one: Clips, other: Clips) -> list[str]:
    """Return the ids behind which other sources stand, or other numbers of frames, as far as both know."""
    return [
        name
        for name in one.keys() & other.keys()
        if one[name][1] != other[name][1] or (one[name][0] and other[name][0] and one[name][0] != other[name][0])
    ]
