"""What a model makes of clips: probabilities of the classes in the test view, and whether it knows the order of their snippets.

The test view is one per clip, in natural order. `shuffled` shows the snippets in the model's orders instead, in turns; `blacked` replaces
unified frames by what the backbone makes of a black crop, the paper's Table 9.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..errors import EstError
from .clipset import ClipSet
from .data import Loaded
from .models import EST
from .sampling import Sampler

BATCH = 64


@dataclass(frozen=True, kw_only=True)
class View:
    """How clips are looked at."""

    start: int | None = None  # of the window among the unified frames; None is the configuration's
    shuffled: bool = False
    blacked: tuple[int, int] | None = None  # unified frames from … up to, but not including
    black: Tensor | None = None  # (D,) the backbone's output for a black crop


def predict_rows(
    model: EST,
    loaded: Loaded,
    rows: np.ndarray,
    sampler: Sampler,
    *,
    autocast: bool = False,
    view: View | None = None,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Predict rows of annotations: probabilities (N, C), NaN where nothing shows a face, and what `predict` says of orders."""
    seen = loaded.visible(rows)
    probabilities = np.full((len(rows), int(model.num_classes)), np.nan, np.float32)
    probabilities[seen], order_right = predict(
        model, loaded.clips, loaded.place[rows[seen]], sampler, autocast=autocast, view=view
    )
    return probabilities, order_right


def likeliest(probabilities: np.ndarray) -> np.ndarray:
    """Return the likeliest class of each row, −1 where there is none.  # (N, C) → (N,)"""
    seen = ~np.isnan(probabilities).any(axis=1)
    found = np.full(len(probabilities), -1)
    found[seen] = probabilities[seen].argmax(axis=1)
    return found


@torch.inference_mode()
def predict(
    model: EST, clips: ClipSet, which: np.ndarray, sampler: Sampler, *, autocast: bool = False, view: View | None = None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return probabilities (N, C), and which clips' order the order head named rightly when they were shuffled (N,)."""
    view = view or View()
    assert (view.blacked is None) == (view.black is None)
    model.eval()
    places = torch.from_numpy(np.asarray(which, np.int64)).to(model.orders.device)
    count = clips.count.to(places.device)
    probabilities, order_right = [], []
    for begin in range(0, len(places), BATCH):
        chosen = places[begin : begin + BATCH]
        positions = sampler.test(count[chosen], start=view.start)
        substitute = None
        if view.blacked is not None:
            substitute = sampler.slots(*view.blacked, start=view.start).to(places.device).expand_as(positions)
        picks = orders = None
        if view.shuffled and len(model.orders):
            picks = torch.arange(begin, begin + len(chosen), device=places.device) % len(model.orders)
            orders = model.orders[picks]
            into = orders[:, :, None].expand_as(positions)
            positions = positions.gather(1, into)
            substitute = None if substitute is None else substitute.gather(1, into)
        features = clips.gather(chosen, positions, substitute=substitute, row=view.black)
        with torch.autocast(places.device.type, torch.bfloat16, enabled=autocast):
            output = model(features, orders)
        probabilities.append(output.expression.float().softmax(1))
        if picks is not None and output.order is not None:
            order_right.append(output.order.argmax(1) == picks)
    num_classes = int(model.num_classes)
    found = torch.cat(probabilities).cpu().numpy() if probabilities else np.zeros((0, num_classes), np.float32)
    if not np.isfinite(found).all():
        raise EstError(
            "The model's probabilities are no numbers: its weights or features are too large.",
            remedy="train again with a lower --lr; est cache verify looks at the features",
        )
    return found, torch.cat(order_right).cpu().numpy() if order_right else None
