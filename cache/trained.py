"""What a set of weights has learnt from: which labelled clips, so that tests on clips that the features have seen are refused.

The recipe of a feature names such a record by its fingerprint, and the record goes with the rows into every copy. Clips are known by their
ids, and by the content of their sources where another cache calls them otherwise. Published weights name data sets instead of clips. What
is given away holds hashes in the place of names: who has the clips finds them again, and a list of names is not told.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Self

import numpy as np

from ..errors import CacheError
from .recipe import FeatureRecipe, canonical_json

BETWEEN = "; "  # several ways of learning
HASHED = "sha256:"  # before SALT:DIGEST, in the place of a name
LATER = ("datasets",)  # what earlier records lack: left out where it is empty, so that those keep their fingerprints


@dataclass(frozen=True, kw_only=True)
class TrainedOn:
    """The labelled clips that a set of weights has learnt from: every list sorted, without repeats."""

    clips: tuple[str, ...]  # ids
    digests: tuple[str, ...] = ()  # of the content of their sources, in hexadecimal, where known
    subjects: tuple[str, ...] = ()
    folds: tuple[str, ...] = ()  # whose training halves they are
    how: str = ""  # as "est train --finetune layer4"
    datasets: tuple[str, ...] = ()  # that are known as a whole, as "AFEW: the model was chosen on it"

    def __post_init__(self) -> None:
        for item in fields(self):
            found = getattr(self, item.name)
            if item.name == "how":
                if not isinstance(found, str):
                    raise TypeError(f"how is a text, found {found!r}")
                continue
            if isinstance(found, str) or not all(isinstance(name, str) for name in found):
                raise TypeError(f"{item.name} are texts, found {found!r}")
            object.__setattr__(self, item.name, tuple(sorted(set(found))))

    @property
    def fingerprint(self) -> str:
        """Return a short name of the content."""
        return hashlib.sha256(canonical_json(self.to_json()).encode()).hexdigest()[:32]

    def to_json(self) -> dict[str, Any]:
        """Return what is stored."""
        said = {name: value for name, value in asdict(self).items() if value or name not in LATER}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in said.items()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote."""
        names = {item.name for item in fields(cls)}
        if not isinstance(data, Mapping) or not names - set(LATER) <= set(data) <= names:
            raise TypeError(f"a record has {sorted(names)}, found {data!r}")
        return cls(**data)

    def describe(self) -> str:
        """Say it in a few words."""
        people = f" of {_number(len(self.subjects), 'subject')}" if self.subjects else ""
        folds = f", {', '.join(self.folds)}" if self.folds else ""
        how = f" ({self.how})" if self.how else ""
        clips = (
            f"learnt from {_number(len(self.clips), 'clip')}{people}{folds}{how}"
            if self.clips or not self.datasets
            else ""
        )
        sets = f"trained and chosen on data sets ({BETWEEN.join(self.datasets)})" if self.datasets else ""
        return ", ".join(part for part in (clips, sets) if part)

    def merged(self, other: TrainedOn) -> TrainedOn:
        """Return what weights have learnt from that learnt from both, one after the other or each a part."""
        if other == self:
            return self
        ways = {way for way in (*self.how.split(BETWEEN), *other.how.split(BETWEEN)) if way}
        return TrainedOn(
            clips=(*self.clips, *other.clips),
            digests=(*self.digests, *other.digests),
            subjects=(*self.subjects, *other.subjects),
            folds=(*self.folds, *other.folds),
            how=BETWEEN.join(sorted(ways)),
            datasets=(*self.datasets, *other.datasets),
        )

    def hashed(self, salt: str) -> TrainedOn:
        """Return it with hashes in the place of ids, digests and subjects, and without folds: they may be named after people."""
        names = {
            name: tuple(_hash(salt, one) for one in getattr(self, name)) for name in ("clips", "digests", "subjects")
        }
        return replace(self, **names, folds=())

    def without(self, *, clips: Iterable[str], digests: Iterable[str], subjects: Iterable[str]) -> TrainedOn:
        """Return it without some clips and people, whether they stand in it by name or as hashes."""
        gone = {"clips": clips, "digests": digests, "subjects": subjects}
        left = {}
        for name, names in gone.items():
            there = getattr(self, name)
            out = {form for one in names for form in _forms(one, _salts(there))}
            left[name] = tuple(one for one in there if one not in out)
        return replace(self, **left)

    def knows_clips(self, ids: Sequence[str]) -> np.ndarray:
        """Return which ids are in the record.  # (T,)"""
        return _among(ids, self.clips)

    def knows_subjects(self, subjects: Sequence[str]) -> np.ndarray:
        """Return which subjects are in the record.  # (T,)"""
        return _among(subjects, self.subjects)

    def seen(self, ids: Sequence[str], digests: Sequence[str], spans: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return which clips are in the record by their ids, and which others by the content of their sources.

        A source may give several clips: `spans` are the frames of each, first and stop. Where some are known by their ids, others of the
        same source are seen only if they share frames with these.
        """
        by_id = self.knows_clips(ids)
        content = _among(digests, self.digests)
        known: dict[str, list[tuple[int, int]]] = {}
        for row in np.flatnonzero(by_id & content).tolist():
            known.setdefault(digests[row], []).append((int(spans[row][0]), int(spans[row][1])))
        by_content = content & ~by_id
        for row in np.flatnonzero(by_content).tolist():
            first, stop = spans[row]
            parts = known.get(digests[row])
            by_content[row] = parts is None or any(first < end and begin < stop for begin, end in parts)
        return by_id, by_content


def _hash(salt: str, name: str) -> str:
    """Return the hash that stands for a name; one that is a hash stays as it is."""
    if name.startswith(HASHED):
        return name
    return f"{HASHED}{salt}:{hashlib.sha256(f'{salt}:{name}'.encode()).hexdigest()[:32]}"


def _salts(entries: Iterable[str]) -> list[str]:
    return sorted({entry.split(":")[1] for entry in entries if entry.startswith(HASHED) and entry.count(":") == 2})


def _forms(name: str, salts: Iterable[str]) -> list[str]:
    """Return how a name may stand in a record."""
    return [name, *(_hash(salt, name) for salt in salts)]


def _among(names: Sequence[str], entries: Sequence[str]) -> np.ndarray:
    """Return which names stand among the entries of a record; an empty name stands for nothing.  # (T,)"""
    known, salts = set(entries), _salts(entries)
    if not known:
        return np.zeros(len(names), bool)
    return np.array([bool(name) and any(form in known for form in _forms(name, salts)) for name in names], bool)


def hex_digest(digest: Any) -> str:
    """Return the digest of a source as a record has it; empty where it was not computed."""
    found = bytes(digest)
    return found.hex() if any(found) else ""


def records_for(recipes: Iterable[FeatureRecipe], known: Mapping[str, TrainedOn]) -> dict[str, TrainedOn]:
    """Return the records that recipes name; refuse a recipe whose record is missing."""
    wanted = dict.fromkeys(recipe.trained_on for recipe in recipes if recipe.trained_on)
    for name in wanted:
        if name not in known:
            raise CacheError(
                f"A recipe names {name} as what its weights have learnt from, and no such record was given.",
                remedy="CacheWriter.open(…, trained_on=[record])",
            )
    return {name: known[name] for name in wanted}


def _number(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
