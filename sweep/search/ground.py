"""What the studies of a sweep look at: the clips of each outer fold's training half, divided into inner folds, loaded once.

The labels of a fold's test half are taken away before its study sees them. Which classes there are is known beforehand: they are those of
the whole cache, as for every training.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from ...cache import Cache
from ...errors import UsageError
from ...train.config.config import TrainConfig
from ...train.config.protocol import ProtocolConfig
from ...train.data.data import Data
from ...train.data.feature_arrays import arrays_of, expect_read_by
from ...train.folds.annotations import Annotations
from ...train.folds.fold import Fold
from ...train.folds.protocols import Plan, has_validation_split
from ...train.loop.starts.initial_weights import Start
from ...train.preparation import Prepared, plan_of, prepare, reading_of

NOTHING = np.empty(0, np.int64)


@dataclass(kw_only=True, eq=False)
class Ground:
    """A cache, divided and loaded for the trials of a sweep."""

    cache: Cache
    base: TrainConfig  # with an inner validation part, and one seed
    inner: int  # folds of the inner validation; 1 is one part
    table: Annotations
    plans: tuple[Plan, ...]  # one for each inner fold
    ready: Prepared  # of the base

    def __post_init__(self) -> None:
        self._ready: dict[str, Prepared] = {_key(self.base): self.ready}
        self._hidden: dict[tuple[str, str], Data] = {}

    @classmethod
    def prepare(cls, cache: Cache, base: TrainConfig, inner: int) -> Ground:
        """Divide the clips and load what the base configuration reads."""
        base = replace(base, protocol=with_part(base.protocol, 0, inner))
        table = Annotations.from_cache(cache)
        plans = [
            plan_of(cache, table, replace(base, protocol=with_part(base.protocol, number, inner)))
            for number in range(inner)
        ]
        found = cls(cache=cache, base=base, inner=inner, table=table, plans=tuple(plans), ready=prepare(cache, base))
        for fold in found.folds:
            data = found.data(base, fold)
            for part in found.parts(fold):
                data.expect_enough(part, base.loop.batch)
                _expect_seen(data, part)
        return found

    @property
    def folds(self) -> tuple[str, ...]:
        """Name the outer folds."""
        return tuple(fold.name for fold in self.plans[0].folds)

    def outer(self, name: str) -> Fold:
        """Return an outer fold: its whole training half, and its test half."""
        first = next(fold for fold in self.ready.plan.folds if fold.name == name)
        return Fold(name=name, train=np.sort(np.concatenate([first.train, first.val])), test=first.test)

    def parts(self, name: str) -> tuple[Fold, ...]:
        """Return the inner folds of an outer fold, without its test half."""
        found = (next(fold for fold in plan.folds if fold.name == name) for plan in self.plans)
        return tuple(replace(fold, test=NOTHING) for fold in found)

    def inner_config(self, config: TrainConfig, fold: str, number: int) -> TrainConfig:
        """Return the configuration with which `est train` does what a trial does on an inner fold."""
        protocol = replace(with_part(self.base.protocol, number, self.inner), only=(fold,))
        return replace(config, protocol=protocol)

    def shape_of(self, config: TrainConfig) -> tuple[int, ...]:
        """Return the shape of the rows that a configuration reads; refuse it where the cache has none."""
        plain = arrays_of(self.cache, config, self.folds[0]).plain
        expect_read_by(self.cache, config.model, plain)
        return self.cache.recipes.features[plain].shape

    def data(self, config: TrainConfig, fold: str) -> Data:
        """Return what a configuration reads, without the labels of a fold's test half."""
        key = _key(config)
        if key not in self._ready:
            self._ready[key] = prepare(self.cache, replace(config, protocol=self.base.protocol))
        if (key, fold) not in self._hidden:
            self._hidden[key, fold] = without_labels(self._ready[key].fold_data.of(fold), self.outer(fold).test)
        return self._hidden[key, fold]

    def start(self, config: TrainConfig) -> Start | None:
        """Return where the models of a configuration whose data has been asked for start."""
        return self._ready[_key(config)].start


def smallest_half(cache: Cache, base: TrainConfig) -> tuple[int, bool]:
    """Return the clips of the smallest training half, and whether the cache itself says which clips choose: a validation split."""
    table = Annotations.from_cache(cache)
    plan = plan_of(cache, table, replace(base, select="last"))
    given = plan.kind == "split" and has_validation_split(table)
    return min(len(fold.train) for fold in plan.folds), given


def with_part(protocol: ProtocolConfig, number: int, inner: int) -> ProtocolConfig:
    """Return a protocol whose inner validation part is one of so many folds; of one it is a share, as it was."""
    return replace(protocol, val_part=f"{number + 1}/{inner}" if inner > 1 else "")


def without_labels(data: Data, rows: np.ndarray) -> Data:
    """Return data in which rows have no label."""
    truth = data.truth.copy()
    truth[rows] = -1
    target = data.target.clone()
    places = data.place[rows]
    hidden = torch.from_numpy(places[places >= 0]).to(target.device)
    target[hidden] = -1
    votes = data.votes
    if votes is not None:
        votes = votes.index_fill(0, hidden, 0.0)
    return replace(data, truth=truth, target=target, votes=votes)


def _expect_seen(data: Data, fold: Fold) -> None:
    """Refuse an inner validation part by which nothing can be chosen."""
    classes = np.unique(data.truth[fold.val])
    if len(classes) < 2:
        raise UsageError(
            f"{fold.name}: the {len(fold.val)} clips of an inner validation part are all of one class: nothing can be chosen by them.",
            remedy="fewer --inner folds, or more clips",
        )


def _key(config: TrainConfig) -> str:
    """Name what a configuration reads; how clips are divided is the same for all of a sweep."""
    found: dict[str, Any] = reading_of(config)
    return str(sorted((name, str(value)) for name, value in found.items() if not name.startswith("protocol.")))
