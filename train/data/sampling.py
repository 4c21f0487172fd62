"""From what a model wants to be shown to the sampler that chooses the frames: snippets, frames evenly over the clip, or all of them.

Of windows a clip has so many of each kind, and a position is one within its kind.

Legend: B clips, n parts of a clip, J frames of each, V views of the test.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from ..config.sampling import SamplingConfig
from ..models.contract import AllFrames, AllWindows, Evenly, EvenlyThenAll, Shown, Snippets
from .sampler import Sampler
from .snippets import SnippetSampler

ROWS_ADDED = 4  # rows that torch adds up side by side: of other numbers of them sums differ in their last bits


def sampler_of(config: SamplingConfig, shown: Shown, *, longest: int | None = None) -> Sampler:
    """Return the sampler of what a model is shown; of clips with at most `longest` frames, where that is known."""
    match shown:
        case Snippets():
            return SnippetSampler(config, shown.count, shown.frames)
        case EvenlyThenAll():
            return EvenThenAllSampler(shown)
        case Evenly():
            return EvenSampler(shown)
        case AllFrames():
            return AllSampler(shown, longest=longest)
        case AllWindows():
            return WindowSampler(shown)


class EvenSampler(Sampler):
    """J frames in a row from each of n equal parts of the clip: from anywhere in the part, in the test from V fixed places."""

    def __init__(self, shown: Evenly) -> None:
        self.snippets, self.frames, self.views = shown.parts, shown.frames, shown.views

    def train(self, counts: Tensor, generator: torch.Generator) -> Tensor:
        """Draw where in its part each row of frames begins."""
        place = torch.rand(len(counts), self.snippets, generator=generator, device=counts.device, dtype=torch.float64)
        return self._rows(counts, place)

    def test(self, counts: Tensor, *, view: int = 0, start: int | None = None) -> Tensor:
        """Begin at the middle of one of V equal pieces of each part."""
        place = torch.full((), (view + 0.5) / self.views, device=counts.device, dtype=torch.float64)
        return self._rows(counts, place.expand(len(counts), self.snippets))

    def describe(self, counts: Tensor) -> tuple[str, str | None]:
        """Return how many there are, and of how many clips some are shown more than once."""
        total = self.snippets * self.frames
        line = f"source frames: {total} of each clip, from {self.snippets} equal parts of it"
        short = int((counts < total).sum())
        if 2 * short <= len(counts):
            return line, None
        return line, f"{short} of {len(counts)} clips have fewer than {total} frames, and show some of them twice."

    def rule(self) -> dict[str, Any]:
        """Return where each row of frames begins."""
        n, J, V = self.snippets, self.frames, self.views
        text = (
            f"{n} equal parts of the clip, of each {J} frames in a row. Of a clip of `count` frames, numbered from 0, "
            f"part i (0 to {n - 1}) "
            f"shows the frames from floor((i + place) · max(count − {J - 1}, 1) / {n}) on, of which none is beyond count − 1; place = "
            f"{', '.join(f'{(view + 0.5) / V:g}' for view in range(V))}"
        )
        text += f". Probabilities are the mean over these {V} views." if V > 1 else "."
        return {"kind": "even", "parts": n, "frames": J, "views": V, "text": text}

    def _rows(self, counts: Tensor, place: Tensor) -> Tensor:
        """Return J frames in a row of each part, from a place in it on.  # (B,), (B, n) in [0, 1) → (B, n, J)"""
        part = torch.arange(self.snippets, device=counts.device)
        room = (counts - self.frames + 1).clamp(min=1)[:, None]  # where a row can begin
        begin = ((part + place) * room / self.snippets).floor().long()
        shown = begin[:, :, None] + torch.arange(self.frames, device=counts.device)
        return shown.minimum(counts[:, None, None] - 1)


class AllSampler(Sampler):
    """All frames of a clip, one after the other; of one that is too long as many as fit, at equal distances."""

    snippets = 1

    def __init__(self, shown: AllFrames, *, longest: int | None = None) -> None:
        self.frames = shown.most
        places = shown.most if longest is None else ROWS_ADDED * math.ceil(longest / ROWS_ADDED)
        self._fits = places <= shown.most and longest is not None and not shown.padded
        self._places = places if self._fits else shown.most

    def train(self, counts: Tensor, generator: torch.Generator) -> Tensor:
        """Show what the test shows: nothing is drawn."""
        return self.test(counts)

    def test(self, counts: Tensor, *, view: int = 0, start: int | None = None) -> Tensor:
        """Return positions in their order; those from the clip's count on are left over."""
        place = torch.arange(self._places, device=counts.device)
        if self._fits:
            return place.expand(len(counts), 1, -1)
        count = counts[:, None]
        thinned = (2 * place + 1) * count // (2 * self.frames)
        return torch.where(count > self.frames, thinned, place)[:, None, :]

    def describe(self, counts: Tensor) -> tuple[str, str | None]:
        """Return how many clips are shown in part."""
        longer = int((counts > self.frames).sum())
        line = f"source frames: all of a clip, up to {self.frames}"
        return line, f"{longer} of {len(counts)} clips are longer, and thinned." if longer else None

    def rule(self) -> dict[str, Any]:
        """Return which places a clip fills."""
        text = (
            f"All frames of the clip, in {self.frames} places: frame p at place p, the last one again behind the end. "
            f"Of a clip of `count` > {self.frames} frames place p shows frame floor((2p + 1) · count / {2 * self.frames})."
        )
        return {"kind": "all", "frames": self.frames, "views": 1, "text": text}


class EvenThenAllSampler(EvenSampler):
    """In training frames from equal parts of the clip; in the test all of them."""

    def __init__(self, shown: EvenlyThenAll) -> None:
        super().__init__(shown)
        self._all = AllSampler(AllFrames(most=shown.most))

    def test(self, counts: Tensor, *, view: int = 0, start: int | None = None) -> Tensor:
        """Return positions in their order; those from the clip's count on are left over.  # → (B, 1, most)"""
        return self._all.test(counts)

    def describe(self, counts: Tensor) -> tuple[str, str | None]:
        """Return how many are shown in training, and which in the test."""
        line, warning = super().describe(counts)
        tested, longer = self._all.describe(counts)
        return f"{line}; in the test {tested.removeprefix('source frames: ')}", warning or longer

    def rule(self) -> dict[str, Any]:
        """Return which places a clip fills in the test."""
        return self._all.rule()


class WindowSampler(Sampler):
    """All windows of each kind; of a kind with more than its places one from each of equal parts. Counts are (B, n), n kinds."""

    def __init__(self, shown: AllWindows) -> None:
        self.snippets, self.frames = len(shown.each), max(shown.each)
        self._each = shown.each

    def train(self, counts: Tensor, generator: torch.Generator) -> Tensor:
        """Draw where in its part each window lies."""
        shape = (len(counts), self.snippets, self.frames)
        return self._places(counts, torch.rand(shape, generator=generator, device=counts.device, dtype=torch.float64))

    def test(self, counts: Tensor, *, view: int = 0, start: int | None = None) -> Tensor:
        """Take the window in the middle of each part; positions from a kind's count on are left over.  # (B, n) → (B, n, J)"""
        return self._places(counts, torch.full((), 0.5, device=counts.device, dtype=torch.float64))

    def describe(self, counts: Tensor) -> tuple[str, str | None]:
        """Return how many there are of each kind, and of how many clips some are left out.  # (N, n)"""
        each = torch.tensor(self._each, device=counts.device)
        kinds = " + ".join(map(str, self._each))
        median = ", ".join(f"{value:g}" for value in counts.double().median(0).values.tolist())
        line = f"windows: all of a clip, up to {kinds} of {self.snippets} kinds (median over clips: {median})"
        longer = int((counts > each).any(1).sum())
        return line, f"{longer} of {len(counts)} clips have more windows, and are thinned." if longer else None

    def rule(self) -> dict[str, Any]:
        """Return which windows fill which places."""
        text = (
            f"{self.snippets} kinds of windows, of which kind k has {self.frames} places and uses the first "
            f"{', '.join(map(str, self._each))}: window p at place p. Of a kind with `count` windows, at least as many as its places P, "
            "place p shows window floor((p + 0.5) · count / P). Places that are left over are masked."
        )
        return {"kind": "windows", "places": list(self._each), "views": 1, "text": text}

    def _places(self, counts: Tensor, within: Tensor) -> Tensor:
        """Return positions, `within` [0, 1) of their parts where there are as many windows as places, or more.  # (B, n) → (B, n, J)"""
        place = torch.arange(self.frames, device=counts.device)
        each = torch.tensor(self._each, device=counts.device)[:, None]
        count = counts[..., None]
        thinned = ((place + within) * count / each).floor().long().minimum(count - 1)
        shown = torch.where(count >= each, thinned, place)
        return torch.where(place < each, shown, count)  # a kind with fewer places leaves the others over
