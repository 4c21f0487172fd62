"""What is known about the clips of a cache besides their features: who, which class, which half, from which file.

Inputs whose extraction failed are listed with the clips: they belong to a test half like them, and every model gets them wrong.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields, replace
from typing import Self

import numpy as np

from ...cache import Cache
from ...cache.trained import hex_digest

NONE = -1  # no label, no fold, no place


@dataclass(frozen=True, kw_only=True, eq=False)
class Annotations:
    """One row per clip, as a cache lists them, then one per failed input."""

    ids: np.ndarray  # (N,) text
    labels: tuple[str, ...]
    label: np.ndarray  # (N,) place in `labels`, −1 without
    subject: np.ndarray  # (N,) text, empty when unknown
    split: np.ndarray  # (N,) text, empty when there is none
    fold: np.ndarray  # (N,) the fold in which the clip is tested, −1 when there is none
    path: np.ndarray  # (N,) text: the source
    digest: np.ndarray  # (N,) text: of the source's content, empty when unknown
    span: np.ndarray  # (N, 2) its first frame in the source, and the one behind its last
    place: np.ndarray  # (N,) in the clip table, −1 where there are no frames
    missing: np.ndarray  # (N,) True where there are no frames: nothing to learn from, and wrong in a test

    def __len__(self) -> int:
        return len(self.ids)

    def only(self, ids: Collection[str]) -> Self:
        """Return the rows of some clips; `place` stays that of the cache."""
        rows = np.flatnonzero(np.isin(self.ids, np.array(sorted(ids), str)))
        columns = {item.name: getattr(self, item.name) for item in fields(self) if item.name != "labels"}
        return replace(self, **{name: column[rows] for name, column in columns.items()})

    @classmethod
    def from_columns(
        cls,
        *,
        ids: Sequence[str],
        label: Sequence[str | None],
        labels: Sequence[str] | None = None,
        subject: Sequence[str] | None = None,
        split: Sequence[str] | None = None,
        fold: Sequence[int] | None = None,
        path: Sequence[str] | None = None,
        digest: Sequence[str] | None = None,
        span: Sequence[tuple[int, int]] | np.ndarray | None = None,
        missing: Sequence[bool] | None = None,
    ) -> Self:
        """Make the table of columns, labels by name; what is left out is unknown. `place` counts rows."""
        number = len(ids)
        if labels is None:
            labels = sorted({name for name in label if name is not None})
        code = {name: place for place, name in enumerate(labels)}
        empty = [""] * number
        gone = np.array([False] * number if missing is None else missing, bool)
        made = cls(
            ids=np.array(ids, str),
            labels=tuple(labels),
            label=np.array([NONE if name is None else code[name] for name in label], np.int64),
            subject=np.array(empty if subject is None else subject, str),
            split=np.array(empty if split is None else split, str),
            fold=np.array([NONE] * number if fold is None else fold, np.int64),
            path=np.array(empty if path is None else path, str),
            digest=np.array(empty if digest is None else digest, str),
            span=np.array([(0, 0)] * number if span is None else span, np.int64).reshape(number, 2),
            place=np.where(gone, NONE, np.arange(number)),
            missing=gone,
        )
        assert len(set(made.ids.tolist())) == number
        columns = (made.label, made.subject, made.split, made.fold, made.path, made.digest)
        assert all(len(column) == number for column in columns)
        return made

    @classmethod
    def from_cache(cls, cache: Cache) -> Self:
        """Read clips and failures; a failure whose id is that of a clip is a later attempt, and the clip stands."""
        clips, known = cache.clips, set(cache.ids)
        failures = [failure for failure in cache.failures if failure.id not in known]
        first, count = np.asarray(clips.first_frame), np.asarray(clips.count)
        labels = dict.fromkeys([*cache.labels, *(f.label for f in failures if f.label is not None)])
        return cls.from_columns(
            ids=[*cache.ids, *(f.id for f in failures)],
            labels=list(labels),
            label=[*clips.label_names, *(f.label for f in failures)],
            subject=[*clips.subject, *(f.subject for f in failures)],
            split=[*clips.split, *(f.split for f in failures)],
            fold=[*np.asarray(clips.fold).tolist(), *(f.fold for f in failures)],
            path=[*clips.path, *(f.path for f in failures)],
            digest=[*map(hex_digest, clips.source_digest), *(hex_digest(f.source.digest) for f in failures)],
            span=[*zip(first.tolist(), (first + count).tolist(), strict=True), *[(0, 0)] * len(failures)],
            missing=[*(count == 0).tolist(), *[True] * len(failures)],
        )
