"""What a model predicts of clips: probabilities of the classes in the test view, and answers to its further questions.

The test view is one per clip, in natural order. `shuffled` shows clips as the model shuffles them; `blacked` replaces
unified frames by what the backbone makes of a black crop, the paper's Table 9.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ...encoders.precision import Precision
from ...errors import EstError
from ..data.clipset import ClipSet
from ..data.data import Loaded
from ..data.sampler import Sampler
from ..models.finetuned import FinetunedModel
from ..models.model import Extras, Model
from ..results.details import Details
from .autocast import casting
from .world import ALONE, World

BATCH, BATCH_OF_MAPS, TUNED_BATCH = 64, 16, 8  # clips: pictures and maps are larger than features


@dataclass(frozen=True, kw_only=True)
class ClipView:
    """How clips are looked at."""

    number: int = 0  # of the sampler's test views
    start: int | None = None  # of the window among the unified frames; None is the configuration's
    shuffled: bool = False
    blacked: tuple[int, int] | None = None  # unified frames from … up to, but not including
    black: Tensor | None = None  # (D,) the backbone's output for a black crop


def predict_rows(
    model: Model,
    loaded: Loaded,
    rows: np.ndarray,
    sampler: Sampler,
    *,
    precision: Precision = "fp32",
    view: ClipView | None = None,
    world: World = ALONE,
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Predict rows of annotations: probabilities (N, C), NaN where nothing shows a face, and what `predict` says of further questions.

    Probabilities are the mean over the sampler's test views; further questions are asked of the first.
    """
    seen = loaded.visible(rows)
    probabilities = np.full((len(rows), int(model.num_classes)), np.nan, np.float32)
    probabilities[seen], told = predict_views(
        model, loaded.clips, loaded.place[rows[seen]], sampler, precision=precision, view=view, world=world
    )
    return probabilities, told


def predict_views(
    model: Model,
    clips: ClipSet,
    which: np.ndarray,
    sampler: Sampler,
    *,
    precision: Precision = "fp32",
    view: ClipView | None = None,
    world: World = ALONE,
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Predict clips of a set as `predict` does, with the mean probabilities over the sampler's test views."""
    views = [replace(view or ClipView(), number=number) for number in range(sampler.views)]
    found = [predict(model, clips, which, sampler, precision=precision, view=one, world=world) for one in views]
    return np.mean([shares for shares, _ in found], axis=0), found[0][1]


def likeliest(probabilities: np.ndarray) -> np.ndarray:
    """Return the likeliest class of each row, −1 where there is none.  # (N, C) → (N,)"""
    seen = ~np.isnan(probabilities).any(axis=1)
    found = np.full(len(probabilities), -1)
    found[seen] = probabilities[seen].argmax(axis=1)
    return found


@dataclass(frozen=True, kw_only=True, eq=False)
class _Batch:
    """What the model is shown at once."""

    shown: Tensor  # (B, n, J) which frames of the clips
    index: Tensor  # (B, n, J) rows
    substitute: Tensor | None  # (B, n, J) where a black crop stands in
    extras: Extras  # with which it is shown


@torch.inference_mode()
def predict(
    model: Model,
    clips: ClipSet,
    which: np.ndarray,
    sampler: Sampler,
    *,
    precision: Precision = "fp32",
    view: ClipView | None = None,
    world: World = ALONE,
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return probabilities (N, C), and which clips the model answered its further questions rightly for, where it answered any.

    The processes of a world predict some of the clips each, and all of them get all results.
    """
    view = view or ClipView()
    assert (view.blacked is None) == (view.black is None)
    model.eval()
    head = model.on_features
    # made twice where pictures are loaded ahead, because all batches of a million clips would fill memory
    clips.expect((batch.index, None) for batch in _batches(model, clips, which, sampler, view, world))
    shares = [np.zeros((0, int(model.num_classes)), np.float32)]
    told = {name: [np.zeros(0, bool)] for name in head.choices}
    for batch in _batches(model, clips, which, sampler, view, world):
        with casting(model.device, precision):
            features = model.features(clips.take(batch.index))
            if batch.substitute is not None and view.black is not None:
                features = torch.where(batch.substitute[..., None], view.black.to(features), features)
            output = head({"features": features, **batch.extras})
        shares.append(output.expression.float().softmax(1).cpu().numpy())
        for name, hits in head.hits(output, batch.extras).items():
            told[name].append(hits.cpu().numpy())
    found = np.concatenate(world.gather(np.concatenate(shares)))
    answered = {name: np.concatenate(world.gather(np.concatenate(mine))) for name, mine in told.items()}
    if not np.isfinite(found).all():
        raise EstError(
            "The model's probabilities are not finite: its weights or features are too large.",
            remedy="train again with a lower --lr; est cache verify checks the features",
        )
    return found, {name: hits for name, hits in answered.items() if len(hits)}


@torch.inference_mode()
def explain_rows(
    model: Model, loaded: Loaded, rows: np.ndarray, sampler: Sampler, *, precision: Precision = "fp32"
) -> Details:
    """Return what a model shows of its decisions about rows of annotations, in the first test view; rows that show no face are left out."""
    model.eval()
    chosen = rows[loaded.visible(rows)]
    batches = list(_batches(model, loaded.clips, loaded.place[chosen], sampler, ClipView(), ALONE))
    loaded.clips.expect((batch.index, None) for batch in batches)
    found: dict[str, list[np.ndarray]] = {}
    for batch in batches:
        with casting(model.device, precision):
            features = model.features(loaded.clips.take(batch.index))
            told = model.on_features.explain({"features": features, **batch.extras})
        spatial = features.float().mean(tuple(range(4, features.ndim))) if features.ndim > 4 else features.float()
        pooled = spatial.mean((1, 2))  # (B, n, J, D) → (B, D)
        for name, tensor in {"shown": batch.shown, "pooled": pooled, **told}.items():
            found.setdefault(name, []).append(tensor.cpu().numpy())
    arrays = {name: np.concatenate(parts) for name, parts in found.items()}
    shown, pooled = arrays.pop("shown"), arrays.pop("pooled")
    return Details(ids=loaded.table.ids[chosen], shown=shown.astype(np.int32), pooled=pooled, arrays=arrays)


@torch.no_grad()
def statistics_of(model: Model, clips: ClipSet, which: Tensor, precision: Precision = "fp32") -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of the features of some clips, as the model has them now.  # → (D,), (D,)"""
    model.eval()

    def features(rows: Tensor) -> Tensor:
        with casting(model.device, precision):
            return model.features(clips.take(rows))

    return clips.statistics(which, features)


def batch_size(model: Model) -> int:
    """Return how many clips a model looks at together."""
    if isinstance(model, FinetunedModel):
        return TUNED_BATCH
    return BATCH_OF_MAPS if model.maps else BATCH


def _batches(
    model: Model, clips: ClipSet, which: np.ndarray, sampler: Sampler, view: ClipView, world: World
) -> Iterator[_Batch]:
    """Return the batches to predict, in this process's share of the clips."""
    device, head = model.device, model.on_features
    size = batch_size(model)
    numbers = np.array_split(np.arange(len(which)), world.size)[world.rank]
    for begin in range(0, len(numbers), size):
        number = torch.from_numpy(numbers[begin : begin + size]).to(device)
        chosen = torch.from_numpy(np.asarray(which, np.int64)[numbers[begin : begin + size]]).to(device)
        positions = sampler.test(clips.count.to(device)[chosen], view=view.number, start=view.start)
        substitute: Tensor | None = None
        extras: Extras = {}
        if view.blacked is not None:
            substitute = sampler.slots(*view.blacked, start=view.start).to(device).expand_as(positions)
        if view.shuffled:
            extras = head.shuffled_extras(number)
            positions = head.arrange(positions, extras)
            substitute = None if substitute is None else head.arrange(substitute, extras)
        extras = {**extras, **clips.told(head.config.told, chosen, positions)}
        yield _Batch(
            shown=clips.frames_at(chosen, positions),
            index=clips.index(chosen, positions),
            substitute=substitute,
            extras=extras,
        )
