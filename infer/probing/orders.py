"""How the places of a test view are filled again with the frames that are shown: held, reversed, shuffled, exchanged.

Every change is an order: which place's frame each place shows. No other frame is looked at than the model was shown, so that changes work
on cached features, on maps and behind an encoder of the run's own alike. Places that a clip leaves over stay as they are.

Legend: B clips, P places (n parts of a clip × J frames).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

PARTS = 7  # that a view of a single part is cut into, where parts are shuffled

Order = Callable[[Tensor, int, torch.Generator], Tensor]  # valid (B, P), n, generator → (B, P)


def one_frame(valid: Tensor, parts: int, generator: torch.Generator) -> Tensor:
    """Show the frame in the middle of the view everywhere."""
    middle = (valid.sum(1) // 2)[:, None].expand(valid.shape)
    return torch.where(valid, middle, _places(valid))


def backwards(valid: Tensor, parts: int, generator: torch.Generator) -> Tensor:
    """Show the view from its end to its beginning."""
    return _by(-_places(valid).double(), valid)


def frames_shuffled(valid: Tensor, parts: int, generator: torch.Generator) -> Tensor:
    """Show the same frames in random order."""
    return _by(torch.rand(valid.shape, generator=generator, dtype=torch.float64), valid)


def parts_shuffled(valid: Tensor, parts: int, generator: torch.Generator) -> Tensor:
    """Show the parts in random order, each as it is: snippets, or sevenths of a view that has one part."""
    places, number = _places(valid), valid.shape[1]
    if parts > 1:
        part = places // (number // parts)
    else:
        parts = PARTS
        part = (places * parts // valid.sum(1, keepdim=True).clamp(min=1)).clamp(max=parts - 1)
    rank = torch.rand(len(valid), parts, generator=generator, dtype=torch.float64).argsort(1)
    return _by(rank.gather(1, part).double() * number + places, valid)


def halves_exchanged(valid: Tensor, parts: int, generator: torch.Generator) -> Tensor:
    """Show the second half first: every frame has the neighbours that it had, and another place."""
    count = valid.sum(1, keepdim=True).clamp(min=1)
    return _by(((_places(valid) + count // 2) % count).double(), valid)


def held(position: Tensor, valid: Tensor, hidden: Tensor, start: Tensor, stop: Tensor) -> tuple[Tensor, Tensor]:
    """Show in hidden places the last frame before a window, or the first after it: which places, and which clips have such a frame.

    # (B, P), (B, P), (B, P), (B,), (B,) → (B, P), (B,)
    """
    shown = valid & ~hidden
    before = torch.where(shown & (position < start[:, None]), position, -1).max(1)
    after = torch.where(shown & (position >= stop[:, None]), position, torch.iinfo(position.dtype).max).min(1)
    has_before = before.values >= 0
    stand_in = torch.where(has_before, before.indices, after.indices)[:, None]
    possible = has_before | (after.values < torch.iinfo(position.dtype).max)
    return torch.where(hidden, stand_in, _places(hidden)), possible


def _places(like: Tensor) -> Tensor:
    return torch.arange(like.shape[1]).expand(like.shape)


def _by(key: Tensor, valid: Tensor) -> Tensor:
    """Order valid places by a key; the others stay behind them, where they are.  # (B, P) → (B, P)"""
    return torch.where(valid, key, torch.inf).argsort(dim=1, stable=True)
