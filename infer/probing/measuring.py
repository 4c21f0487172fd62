"""One pass over the clips of a part: what its model says of each, as it is and changed in every way that is probed.

Features of the frames shown are computed once a clip; every change puts them into other places, or puts a resting face in their stead.

Legend: B clips of a batch, N of the part, P places of a view (n × J), C classes, W windows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ...train.loop.autocast import casting
from ...train.loop.predict import batch_size
from ...train.models.contract import ALPHA, ATTENTION
from ..own_clips import OwnClips
from . import orders
from .windows import in_windows, window_bounds

DRAWS = 5  # of what is drawn
UNCHANGED, APEX, DELETED = "unchanged", "apex", "window deleted"
CHANGES: Mapping[str, tuple[orders.Order, int]] = {  # and how often each is drawn
    "one frame": (orders.one_frame, 1),
    "reversed": (orders.backwards, 1),
    "frames shuffled": (orders.frames_shuffled, DRAWS),
    "snippets shuffled": (orders.parts_shuffled, DRAWS),
    "halves exchanged": (orders.halves_exchanged, 1),
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Measured:
    """What the model of a part says of its test clips that show a face."""

    rows: np.ndarray  # (N,) of the table
    position: np.ndarray  # (N, n, J) frames of the clip that are shown, from 0; −1 in places that it leaves over
    probabilities: np.ndarray  # (N, C) of the clips as they are
    right: dict[str, np.ndarray]  # change → (N,) share of draws in which the clip was recognised
    truth: dict[str, np.ndarray]  # change → (N,) probability of the true class
    bounds: np.ndarray  # (N, W, 2)
    drop: dict[
        str, np.ndarray
    ]  # deletion, deletion_held, insertion → (N, W), NaN of windows of which no frame is shown
    details: dict[str, np.ndarray]  # attention (N, heads, n), alpha (N, n, J), as the model has them


@dataclass(frozen=True, kw_only=True, eq=False)
class _View:
    """A batch as the model is shown it."""

    features: Tensor  # (B, P, …)
    told: dict[str, Tensor]  # (B, P)
    parts: int  # n
    answer: Callable[[Tensor, dict[str, Tensor]], Tensor]  # features in places, what is told of them → (B, C)

    def plain(self) -> Tensor:
        """Return the probabilities of the clips as they are.  # → (B, C)"""
        return self.answer(self.features, self.told)

    def ordered(self, order: Tensor) -> Tensor:
        """Return those of places filled again: whether a frame shows a face goes with it, its time is the place's.  # (B, P) → (B, C)"""
        order = order.to(self.features.device)
        rows = torch.arange(len(order), device=order.device)[:, None]
        return self.answer(self.features[rows, order], self._told(lambda mask: mask.gather(1, order)))

    def without(self, hidden: Tensor, resting: Tensor) -> Tensor:
        """Return those with a resting face in hidden places, which is a face.  # (B, P), (B, D) → (B, C)"""
        hidden = hidden.to(self.features.device)
        features = torch.where(hidden[..., None], resting[:, None].to(self.features), self.features)
        return self.answer(features, self._told(lambda mask: mask | hidden))

    def _told(self, change: Callable[[Tensor], Tensor]) -> dict[str, Tensor]:
        """Return what is told, with another mask where there is one."""
        return {name: change(one) if name == "mask" else one for name, one in self.told.items()}


@torch.inference_mode()
def measure(
    own: OwnClips, *, apex: np.ndarray, resting: np.ndarray | None, windows: bool, tick: Callable[[int], None]
) -> Measured:
    """Probe a part; `apex` (rows,) is −1 where unknown, `resting` (rows, D) the face that stands in for deleted frames."""
    own.model.eval()
    visible = own.visible(own.rows)
    rows = own.rows[visible]
    size = batch_size(own.model)
    found: dict[str, list[np.ndarray]] = {}
    generator = torch.Generator().manual_seed(0)
    for begin in range(0, len(rows), size):
        chosen = slice(begin, begin + size)
        for name, value in _batch(
            own,
            own.place[rows[chosen]],
            own.truth[visible][chosen],
            apex[visible][chosen],
            None if resting is None else torch.from_numpy(resting[visible][chosen]),
            windows,
            generator,
        ).items():
            found.setdefault(name, []).append(value)
        tick(min(begin + size, len(rows)))
    arrays = {name: np.concatenate(parts) for name, parts in found.items()}

    def group(name: str) -> dict[str, np.ndarray]:
        return {key.removeprefix(f"{name}/"): value for key, value in arrays.items() if key.startswith(f"{name}/")}

    return Measured(
        rows=rows,
        position=arrays["position"],
        probabilities=arrays["probabilities"],
        right=group("right"),
        truth=group("truth"),
        bounds=arrays["bounds"],
        drop=group("drop"),
        details=group("details"),
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Shown:
    """A batch in all test views."""

    views: list[_View]
    position: Tensor  # (B, P) of the first view
    valid: Tensor  # (B, P) places that the clip fills
    truth: Tensor  # (B,)

    def plain(self) -> Tensor:
        """Return the probabilities of clips as they are, the mean over views.  # → (B, C)"""
        return torch.stack([view.plain() for view in self.views]).mean(0)

    def in_order(self, order: Tensor) -> Tensor:
        """Return those of clips whose places are filled in an order.  # (B, P) → (B, C)"""
        return torch.stack([view.ordered(order) for view in self.views]).mean(0)

    def without(self, hidden: Tensor, resting: Tensor) -> Tensor:
        """Return those of clips with a resting face in hidden places that they fill.  # (B, P), (B, D) → (B, C)"""
        return torch.stack([view.without(hidden & self.valid, resting) for view in self.views]).mean(0)

    def of_truth(self, probabilities: Tensor) -> np.ndarray:
        """Return the probability of the true class.  # (B, C) → (B,)"""
        return probabilities.gather(1, self.truth[:, None])[:, 0].numpy()

    def right(self, probabilities: Tensor) -> np.ndarray:
        """Return which clips are recognised.  # (B, C) → (B,)"""
        return (probabilities.argmax(1) == self.truth).numpy()


def _batch(
    own: OwnClips,
    which: np.ndarray,
    truth: np.ndarray,
    apex: np.ndarray,
    resting: Tensor | None,
    windows: bool,
    generator: torch.Generator,
) -> dict[str, np.ndarray]:
    """Return everything that is measured of a batch."""
    chosen = torch.from_numpy(which)
    counts = own.clips.count.cpu()[chosen]
    positions = [own.sampler.test(counts, view=view) for view in range(own.sampler.views)]
    position = positions[0].flatten(1)
    shown = _Shown(
        views=[_view(own, chosen, one) for one in positions],
        position=position,
        valid=position < counts[:, None],
        truth=torch.from_numpy(truth),
    )
    plain = shown.plain()
    bounds = window_bounds(counts.numpy())
    explained = _explain(own, shown.views[0])
    return {
        "position": positions[0].where(positions[0] < counts[:, None, None], -1).numpy(),
        "probabilities": plain.numpy(),
        "bounds": bounds,
        **_changed(shown, plain, torch.from_numpy(apex), generator),
        **(_deleted(shown, plain, bounds, resting) if windows else {}),
        **{f"details/{name}": explained[name] for name in (ATTENTION, ALPHA) if name in explained},
    }


def _changed(shown: _Shown, plain: Tensor, apex: Tensor, generator: torch.Generator) -> dict[str, np.ndarray]:
    """Ask the model about clips whose places are filled otherwise."""
    valid, parts = shown.valid, shown.views[0].parts
    told = {UNCHANGED: [plain]}
    for name, (order, draws) in CHANGES.items():
        told[name] = [shown.in_order(order(valid, parts, generator)) for _ in range(draws)]
    away = torch.where(valid, (shown.position - apex[:, None]).abs(), torch.iinfo(torch.int64).max)
    told[APEX] = [shown.in_order(torch.where(valid, away.argmin(1)[:, None], torch.arange(valid.shape[1])))]
    found = {f"right/{name}": np.mean([shown.right(one) for one in answers], axis=0) for name, answers in told.items()}
    return found | {
        f"truth/{name}": np.mean([shown.of_truth(one) for one in all_], axis=0) for name, all_ in told.items()
    }


def _deleted(shown: _Shown, plain: Tensor, bounds: np.ndarray, resting: Tensor | None) -> dict[str, np.ndarray]:
    """Delete each window in turn, and with resting faces insert it into a clip of them."""
    inside = torch.from_numpy(in_windows(shown.position.numpy(), shown.valid.numpy(), bounds))  # (B, W, P)
    before = shown.of_truth(plain)
    blank = None if resting is None else shown.of_truth(shown.without(torch.ones_like(shown.valid), resting))
    drops: dict[str, list[np.ndarray]] = {}
    right = []
    for number in range(inside.shape[1]):
        hidden = inside[:, number]
        start, stop = torch.from_numpy(bounds[:, number]).unbind(1)
        order, possible = orders.held(shown.position, shown.valid, hidden, start, stop)
        there = hidden.any(1).numpy()
        usable = there & possible.numpy()
        held = shown.in_order(order)
        right.append(np.where(usable, shown.right(held), np.nan))
        drops.setdefault("deletion_held", []).append(np.where(usable, before - shown.of_truth(held), np.nan))
        if resting is not None and blank is not None:
            cut, alone = (shown.of_truth(shown.without(mask, resting)) for mask in (hidden, ~hidden))
            drops.setdefault("deletion", []).append(np.where(there, before - cut, np.nan))
            drops.setdefault("insertion", []).append(np.where(there, alone - blank, np.nan))
    each = np.stack(right, 1)
    number = np.isfinite(each).sum(1)
    mean = np.where(number > 0, np.nansum(each, 1) / np.maximum(number, 1), shown.right(plain))
    return {f"drop/{name}": np.stack(values, 1) for name, values in drops.items()} | {f"right/{DELETED}": mean}


def _view(own: OwnClips, chosen: Tensor, positions: Tensor) -> _View:
    """Bring a batch's features once, and say how the model answers."""
    head, clips, device = own.model.on_features, own.clips, own.model.device
    place = positions.to(clips.count.device)
    which = chosen.to(clips.count.device)
    with casting(device, own.precision):
        features = own.model.features(clips.take(clips.index(which, place)))
    told = clips.told(head.config.told, which.to(device), place.to(device))
    n, J = positions.shape[1:]

    def answer(features: Tensor, told: dict[str, Tensor]) -> Tensor:
        with casting(device, own.precision):
            output = head({name: one.unflatten(1, (n, J)) for name, one in {"features": features, **told}.items()})
        return output.expression.float().softmax(1).cpu()

    flat = {name: one.flatten(1) for name, one in told.items()}
    return _View(features=features.flatten(1, 2), told=flat, parts=n, answer=answer)


def _explain(own: OwnClips, view: _View) -> dict[str, np.ndarray]:
    """Return attention and α of the clips as they are."""
    places = view.parts, view.features.shape[1] // view.parts
    batch = {name: one.unflatten(1, places) for name, one in {"features": view.features, **view.told}.items()}
    with casting(own.model.device, own.precision):
        return {name: one.float().cpu().numpy() for name, one in own.model.on_features.explain(batch).items()}
