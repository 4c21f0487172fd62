"""What all parts of a run look at: the clips, their classes, their features, loaded once.

Rows are those of the annotations: clips, and inputs that gave none. The classes of a run are in the order of their names, whatever the
cache's order is, and a half is in the order of its ids: neither has a say in what comes of a seed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
import torch
from torch import Tensor

from ...cache import Cache
from ...errors import CacheDamaged, UsageError, counted, quoted
from ..config.config import TrainConfig
from ..folds.annotations import Annotations
from ..folds.protocols import Fold
from ..folds.votes import Votes
from .clipset import ClipSet
from .control import pooled
from .feature_arrays import Arrays
from .windows import load_features

FrameSource = Literal["crops", "videos", "maps"]  # what a backbone that learns looks at


@dataclass(frozen=True, kw_only=True, eq=False)
class Loaded:
    """Annotations, and the frames of some of their rows."""

    table: Annotations
    clips: ClipSet
    place: np.ndarray  # (rows,) in the clip set, −1 where there are no frames

    def visible(self, rows: np.ndarray) -> np.ndarray:
        """Return which rows have a frame that shows a face: the others are not predicted, and nothing is learnt from them."""
        place = self.place[rows]
        return (place >= 0) & np.asarray(self.clips.has_face)[place]


def locate_rows(table: Annotations, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the clips that hold the frames of rows, by their places in the cache, and where each row of the table is among them."""
    shown = rows[table.place[rows] >= 0]
    place = np.full(len(table), -1)
    place[shown] = np.arange(len(shown))
    return table.place[shown], place


@dataclass(frozen=True, kw_only=True, eq=False)
class Data(Loaded):
    """The clips of all folds."""

    labels: tuple[str, ...]  # the run's classes
    truth: np.ndarray  # (rows,) place in `labels`, −1 without a label
    target: Tensor  # the same for the clips of the set, on the device
    control: np.ndarray | None  # (clips of the set, 4·D) pooled statistics
    votes: Tensor | None = None  # (clips of the set, C) shares of the classes to learn from, on the device

    @classmethod
    def load(
        cls,
        cache: Cache,
        table: Annotations,
        folds: Iterable[Fold],
        config: TrainConfig,
        device: torch.device,
        reads: Arrays | FrameSource,
        *,
        shape: tuple[int, ...] = (),
        votes: Votes | None = None,
    ) -> Self:
        """Read what the folds need: arrays of features, or frames, of which a backbone that learns makes features of a shape."""
        used = np.unique(np.concatenate([rows for fold in folds for rows in (fold.train, fold.val, fold.test)]))
        names = sorted({table.labels[code] for code in table.label[used].tolist()})
        number = {name: place for place, name in enumerate(names)}
        truth = np.array([number.get(table.labels[code], -1) if code >= 0 else -1 for code in table.label.tolist()])
        which, place = locate_rows(table, used)
        if isinstance(reads, Arrays):
            feature = reads.plain
            clips = load_features(
                cache,
                which,
                config.model,
                feature,
                device,
                others=reads.others,
                residency=config.data.residency,
                no_face=config.sampling.no_face,
            )
        else:
            feature = config.feature if config.feature in cache.features else ""  # pictures need none
            clips = ClipSet.for_tuning(
                cache,
                which,
                reads,
                device,
                shape=shape,
                mirrored=config.data.mirrored,
                residency=config.data.residency,
                no_face=config.sampling.no_face,
                workers=config.finetune.workers,
                told=config.model.told,
            )
        return cls(
            table=table,
            clips=clips,
            place=place,
            labels=tuple(names),
            truth=truth,
            target=torch.from_numpy(truth[used[place[used] >= 0]]).to(device),
            votes=None if votes is None else _shares(votes, clips.ids, names, truth[used[place[used] >= 0]]).to(device),
            control=pooled_statistics(cache, which, feature) if config.control and feature else None,
        )

    def by_id(self, rows: np.ndarray) -> np.ndarray:
        """Return rows in the order of their ids."""
        return rows[np.argsort(self.table.ids[rows], kind="stable")]

    def learnt(self, rows: np.ndarray) -> np.ndarray:
        """Return the rows of a half that can be learnt from, in the order of their ids."""
        return self.by_id(rows[self.visible(rows)])

    def expect_enough(self, fold: Fold, batch: int) -> None:
        """Refuse a training half that fills no batch, or that shows a single class."""
        rows = self.learnt(fold.train)
        if len(rows) < batch:
            show = "shows" if len(rows) == 1 else "show"
            raise UsageError(
                f"{fold.name}: {counted(len(rows), 'clip')} to learn from {show} a face, too few for a batch of {batch}; "
                "a smaller last one is dropped.",
                remedy=f"--batch {max(2, len(rows) // 2)}",
            )
        if len(fold.val) and not self.visible(fold.val).any():
            raise UsageError(
                f"{fold.name}: none of {len(fold.val)} clips to choose by shows a face.", remedy="--select last"
            )
        classes = np.unique(self.truth[rows])
        if len(classes) < 2:
            raise UsageError(
                f"{fold.name}: all {len(rows)} clips to learn from that show a face are {self.labels[classes[0]]!r}; it takes two classes."
            )


def _shares(votes: Votes, ids: list[str], labels: list[str], truth: np.ndarray) -> Tensor:
    """Return what is learnt of each clip: what people voted for, else its label.  # (N,) → (N, C)"""
    shares = votes.shares(labels)
    found = np.zeros((len(ids), len(labels)), np.float32)
    for place, (name, label) in enumerate(zip(ids, truth.tolist(), strict=True)):
        if name in votes.line:
            found[place] = shares[votes.line[name]]
        elif label >= 0:
            found[place, label] = 1
    return torch.from_numpy(found)


class FoldData:
    """The data of each fold: mostly one for all; where folds read arrays of their own, the one that was asked for last."""

    def __init__(self, reads: Mapping[str, Arrays | FrameSource], load: Callable[[Arrays | FrameSource], Data]) -> None:
        self.reads, self._load = reads, load
        self._held: tuple[Arrays | FrameSource, Data] | None = None

    def of(self, fold: str) -> Data:
        """Return what a fold looks at."""
        wanted = self.reads[fold]
        if self._held is None or self._held[0] != wanted:
            self._held = None  # before the next ones are loaded
            self._held = wanted, self._load(wanted)
        return self._held[1]


def pooled_statistics(cache: Cache, places: np.ndarray, feature: str) -> np.ndarray:
    """Return the control's input for clips of a cache, by their places: of their frames, or of all their windows.  # (N,) → (N, 4·D)"""
    found = np.zeros((len(places), 4 * cache.recipes.features[feature].shape[0]), np.float32)
    if feature in cache.window_features:
        for number, place in enumerate(places.tolist()):
            rows = cache.windows(place, [feature]).features[feature]
            found[number] = pooled(rows, np.array([0]), np.array([len(rows)]), np.ones(len(rows), bool))[0]
        return found
    for number, clip in enumerate(cache.iterate([feature], which=places)):
        rows = clip.features[feature]
        if rows.ndim > 2:  # maps: their mean over places
            rows = rows.mean((2, 3), dtype=np.float32)
        found[number] = pooled(rows, np.array([0]), np.array([len(rows)]), clip.mask)[0]
        if not np.isfinite(found[number]).all():
            raise CacheDamaged(
                f"{cache.path}: {feature} of clip {clip.id!r} is not finite.",
                remedy=f"est cache verify {quoted(cache.path)}",
            )
    return found
