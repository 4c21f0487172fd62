"""What a set of weights has learnt from: which labelled clips, so that tests on clips that the features have seen are refused.

The recipe of a feature names such a record by its fingerprint, and the record goes with the rows into every copy. Clips are known by their
ids, and by the content of their sources where another cache calls them otherwise.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

import numpy as np

from ..errors import CacheError
from .recipe import FeatureRecipe, canonical_json

BETWEEN = "; "  # several ways of learning


@dataclass(frozen=True, kw_only=True)
class TrainedOn:
    """The labelled clips that a set of weights has learnt from: every list sorted, without repeats."""

    clips: tuple[str, ...]  # ids
    digests: tuple[str, ...] = ()  # of the content of their sources, in hexadecimal, where known
    subjects: tuple[str, ...] = ()
    folds: tuple[str, ...] = ()  # whose training halves they are
    how: str = ""  # as "est train --finetune layer4"

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
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote."""
        names = {item.name for item in fields(cls)}
        if not isinstance(data, Mapping) or set(data) != names:
            raise TypeError(f"a record has {sorted(names)}, found {data!r}")
        return cls(**data)

    def describe(self) -> str:
        """Say it in a few words."""
        people = f" of {_number(len(self.subjects), 'subject')}" if self.subjects else ""
        folds = f", {', '.join(self.folds)}" if self.folds else ""
        how = f" ({self.how})" if self.how else ""
        return f"learnt from {_number(len(self.clips), 'clip')}{people}{folds}{how}"

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
        )

    def seen(self, ids: Sequence[str], digests: Sequence[str], spans: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Say which clips are in the record by their ids, and which others by the content of their sources.

        A source may give several clips: `spans` are the frames of each, first and stop. Where some are known by their ids, others of the
        same source are seen only if they share frames with these.
        """
        by_id = np.isin(np.array(ids, str), np.array(self.clips, str))
        content = np.isin(np.array(digests, str), np.array(self.digests, str)) & (np.array(digests, str) != "")
        known: dict[str, list[tuple[int, int]]] = {}
        for row in np.flatnonzero(by_id & content).tolist():
            known.setdefault(digests[row], []).append((int(spans[row][0]), int(spans[row][1])))
        by_content = content & ~by_id
        for row in np.flatnonzero(by_content).tolist():
            first, stop = spans[row]
            parts = known.get(digests[row])
            by_content[row] = parts is None or any(first < end and begin < stop for begin, end in parts)
        return by_id, by_content


def hex_digest(digest: Any) -> str:
    """Return the digest of a source as a record has it; empty where it was not computed."""
    found = bytes(digest)
    return found.hex() if any(found) else ""


def records_for(recipes: Iterable[FeatureRecipe], known: Mapping[str, TrainedOn]) -> dict[str, TrainedOn]:
    """Return the records that recipes name; refuse a recipe whose record nobody has."""
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
