"""The control that every table needs: pooled statistics of a clip's features, and a linear classifier on them.

Mean, deviation, minimum and maximum over the frames with a face ignore the order of frames. A temporal model that does not beat
them has learnt nothing from that order. The classifier is a multinomial logistic regression on standardised statistics: its optimum is
unique, so there is nothing to tune, no seed and no stopping.

Of a training half of more than 50,000 clips it is fitted on so many, drawn evenly: 2,048 numbers and seven classes need no more, and a
million clips would need 8 GB, several times over.

Legend: N clips, M frames, D feature width, F = 4 D, C classes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ...cache import Cache
from ...cache.schema import NO_FACE
from ...encoders.optimizers import without_compiler
from ...errors import CacheDamaged, quoted
from .rows import RowSource

# scikit-learn's C = 1 / (N · L2). Chosen on synthetic statistics (200 to 9,400 clips, 2,048 numbers each, tested on other subjects), where
# ten times more or less costs up to three points, and never tuned on a data set.
L2 = 0.1
STATISTICS = ("mean", "deviation", "minimum", "maximum")  # of each channel, as `pooled` has them one after the other
FRAMES_A_CHUNK = 16384
CLIPS_A_CHUNK = 64  # that are read before they are pooled together; of maps one
COLUMNS = 256  # whose differences from the mean are in memory at once, in float64; narrow parts would be summed in another order
MOST_FITTED = 50_000  # clips
KEPT_BYTES = 2**30  # of statistics that stay in memory; more are read again from the cache when they are needed
BLOCK = 16384  # clips that are predicted at once
MAX_STEPS = 1000
TOLERANCE = 1e-5  # of the gradient, per weight


@dataclass(frozen=True, kw_only=True, eq=False)
class Control:
    """A fitted classifier, its standardisation with it."""

    mean: np.ndarray  # (F,)
    deviation: np.ndarray  # (F,) 1 where a statistic never changed
    weight: np.ndarray  # (C', F)
    bias: np.ndarray  # (C',)
    classes: np.ndarray  # (C',) those that the training half has
    num_classes: int

    def predict_proba(self, statistics: np.ndarray) -> np.ndarray:
        """Return probabilities (N, C) of statistics (N, F); a class never seen in training has none."""
        logits = torch.from_numpy((statistics - self.mean) / self.deviation @ self.weight.T + self.bias)
        probabilities = np.zeros((len(statistics), self.num_classes), np.float32)
        probabilities[:, self.classes] = torch.softmax(logits, dim=1).numpy()
        return probabilities

    def predict(self, statistics: np.ndarray) -> np.ndarray:
        """Return the likeliest class of each row (N,)."""
        return self.predict_proba(statistics).argmax(axis=1)


class ClipStatistics:
    """Pooled statistics of clips of a cache, of their frames or of all their windows: an array (N, 4·D) that need not fit into memory."""

    def __init__(self, cache: Cache, places: np.ndarray, feature: str) -> None:
        self._cache, self._places, self._feature = cache, places, feature
        self.shape = (len(places), len(STATISTICS) * cache.recipes.features[feature].shape[0])
        self._kept = self._read(places) if 4 * self.shape[0] * self.shape[1] <= KEPT_BYTES else None

    def __getitem__(self, chosen: np.ndarray) -> np.ndarray:
        """Return the rows of some clips."""
        return self._read(self._places[chosen]) if self._kept is None else self._kept[chosen]

    def blocks(self, chosen: np.ndarray) -> Iterator[np.ndarray]:
        """Yield the rows of some clips, in blocks that fit into memory; one block at least."""
        for first in range(0, max(len(chosen), 1), BLOCK):
            yield self[chosen[first : first + BLOCK]]

    def _read(self, places: np.ndarray) -> np.ndarray:
        found = np.zeros((len(places), self.shape[1]), np.float32)
        cache, feature = self._cache, self._feature
        if feature in cache.window_features:
            for number, place in enumerate(places.tolist()):
                rows = cache.windows(place, [feature]).features[feature]
                found[number] = pooled(rows, np.array([0]), np.array([len(rows)]), np.ones(len(rows), bool))[0]
            return found
        start, count = (np.asarray(column)[places] for column in (cache.clips.start, cache.clips.count))
        number = CLIPS_A_CHUNK if len(cache.recipes.features[feature].shape) == 1 else 1
        for first in range(0, len(places), number):
            part = slice(first, first + number)
            found[part] = self._pool(RowSource(cache=cache, features=(feature,), start=start[part], count=count[part]))
            if len(bad := np.flatnonzero(~np.isfinite(found[part]).all(axis=1))):
                raise CacheDamaged(
                    f"{cache.path}: {feature} of clip {cache.ids[places[first + bad[0]]]!r} is not finite.",
                    remedy=f"est cache verify {quoted(cache.path)}",
                )
        return found

    def _pool(self, clips: RowSource) -> np.ndarray:
        """Return the statistics of clips, together: a clip costs less so."""
        snapshot, arrays = self._cache.snapshot, self._cache.schema.frame_arrays()
        rows, mask = [], []
        for _, begin, end in clips.pieces():
            found = snapshot.rows(arrays[self._feature], begin, end)
            rows.append(found if found.ndim == 2 else found.mean((2, 3), dtype=np.float32))  # of maps over places
            mask.append(snapshot.rows(arrays["state"], begin, end) != NO_FACE)
        return pooled(np.concatenate(rows), clips.first, clips.count, np.concatenate(mask))


def fitted_on(rows: np.ndarray) -> np.ndarray:
    """Return the rows of a training half that the control is fitted on: all, or an even draw of so many, the same each time."""
    if len(rows) <= MOST_FITTED:
        return rows
    return rows[np.sort(np.random.default_rng(0).choice(len(rows), MOST_FITTED, replace=False))]


def pooled(
    features: np.ndarray | Tensor, start: np.ndarray, count: np.ndarray, mask: np.ndarray | Tensor
) -> np.ndarray:
    """Return (N, 4 D) float32: mean, deviation, minimum, maximum over each clip's frames with a face; zeros without one.

    `features` (M, D) and `mask` (M,) are rows of a cache, `start` and `count` (N,) cut out the clips.
    """
    width = features.shape[1]
    mask = np.asarray(mask.cpu() if isinstance(mask, Tensor) else mask, bool)
    start, count = np.asarray(start, np.int64), np.asarray(count, np.int64)
    result = np.zeros((len(start), 4, width), np.float32)
    ends = np.cumsum(count)
    first = 0
    while first < len(start):
        # as many clips as fit, one at least
        room = ends[first] - count[first] + FRAMES_A_CHUNK
        last = max(int(np.searchsorted(ends, room, side="right")), first + 1)
        _pool_chunk(features, start[first:last], count[first:last], mask, result[first:last])
        first = last
    return result.reshape(len(start), 4 * width)


def _pool_chunk(
    features: np.ndarray | Tensor, start: np.ndarray, count: np.ndarray, mask: np.ndarray, result: np.ndarray
) -> None:
    """Fill in the statistics (clips, 4, D) of neighbouring clips."""
    clip = np.repeat(np.arange(len(start)), count)
    row = np.arange(len(clip)) - np.repeat(np.cumsum(count) - count, count) + start[clip]
    clip, row = clip[mask[row]], row[mask[row]]
    if not len(row):
        return
    if isinstance(features, Tensor):
        values = features[torch.from_numpy(row).to(features.device)].float().cpu().numpy()
    else:
        values = features[row].astype(np.float32)
    seen, begin, number = np.unique(clip, return_index=True, return_counts=True)
    divisor = number[:, None].astype(np.float32)
    mean = np.add.reduceat(values, begin, axis=0) / divisor
    result[seen, 0] = mean
    result[seen, 2] = np.minimum.reduceat(values, begin, axis=0)
    result[seen, 3] = np.maximum.reduceat(values, begin, axis=0)
    values -= np.repeat(mean, number, axis=0)
    np.square(values, out=values)
    result[seen, 1] = np.sqrt(np.add.reduceat(values, begin, axis=0) / divisor)


def fit_control(statistics: np.ndarray, label: np.ndarray, num_classes: int, *, l2: float = L2) -> Control:
    """Fit statistics (N, F) of the training half to labels (N,): mean cross entropy + l2 / 2 · ‖weight‖², the bias free."""
    statistics = np.asarray(statistics, np.float32)
    assert np.isfinite(statistics).all()
    classes, target = np.unique(label, return_inverse=True)
    assert len(classes) > 1
    mean = statistics.mean(axis=0, dtype=np.float64).astype(np.float32)
    parts = np.array_split(statistics, max(1, statistics.shape[1] // COLUMNS), axis=1)
    deviation = np.concatenate([part.std(axis=0, dtype=np.float64) for part in parts]).astype(np.float32)
    deviation[deviation <= 1e-6 * np.abs(mean)] = 1.0  # rounding is no variation
    inputs = statistics - mean
    del statistics  # the caller's only copy, as a rule
    inputs /= deviation
    weight, bias = _minimise(torch.from_numpy(inputs), torch.from_numpy(target), len(classes), l2)
    return Control(
        mean=mean,
        deviation=deviation,
        weight=weight.numpy(),
        bias=bias.numpy(),
        classes=classes,
        num_classes=num_classes,
    )


def _minimise(inputs: Tensor, target: Tensor, num_classes: int, l2: float) -> tuple[Tensor, Tensor]:
    """Return weight (C', F) and bias (C',) at the optimum, by L-BFGS from zero."""
    weight = torch.zeros(num_classes, inputs.shape[1], requires_grad=True)
    bias = torch.zeros(num_classes, requires_grad=True)
    solver = without_compiler(torch.optim.LBFGS)(
        [weight, bias],
        max_iter=MAX_STEPS,
        max_eval=2 * MAX_STEPS,
        tolerance_grad=TOLERANCE,
        tolerance_change=0,
        history_size=20,
        line_search_fn="strong_wolfe",
    )

    def objective() -> Tensor:
        solver.zero_grad()
        # in float32 the line search could not tell losses near the optimum apart
        loss = (
            F.cross_entropy(F.linear(inputs, weight, bias).double(), target) + l2 / 2 * weight.double().square().sum()
        )
        loss.backward()
        return loss

    solver.step(objective)
    return weight.detach(), bias.detach()
