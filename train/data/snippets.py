"""Snippets: which frames of a clip each of them shows.

A clip's native frames become 105 unified ones, a window of 75 of them is chosen, n snippets of 15 stand in the window, and J frames of
each are looked at.

How 105 are made is not specified by the paper ("interpolation and clipping"). The three ways offered here are assumptions:

- `resample` (default): nearest index. Unified frame u is native frame floor((u + 1/2) · count / 105).
- `clip`: of more than 105 frames 105 consecutive ones, anywhere in the clip in training and its middle in the test; else as `resample`.
- `native`: no unified clip. The window is 75 consecutive native frames, or all of a shorter clip, resampled to 75 in the same way. A
  start K of the 105 − 75 spare frames is the same share of the clip's own spare frames: floor(K · (count − 75) / 30).

The paper gives the training view. Its test view is unknown; the default here is start 15 and every third frame, in natural order.

Legend: B clips, n snippets, J frames a snippet, w frames that a snippet spans.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from ...errors import UsageError
from ..config.sampling import SamplingConfig
from .memory import by_blocks
from .sampler import Sampler

MIDDLE = 3  # snippets from which on one is in the middle
ENOUGH_DISTINCT = 0.8  # of its frames: with fewer, much of a snippet is the same picture again
MANY = 2**31 - 1  # a draw from so many, modulo a clip's spare frames, is as good as uniform


class SnippetSampler(Sampler):
    """The views of a clip, for n snippets of J frames."""

    def __init__(self, config: SamplingConfig, snippets: int, frames: int) -> None:
        if snippets < 1 or frames < 1:
            raise UsageError(f"A view has at least one snippet of one frame, found {snippets} of {frames}.")
        if frames > config.window:
            what = "A snippet has" if snippets > 1 else "Clips are shown as"
            raise UsageError(
                f"{what} {frames} frames, and the window that they lie in has {config.window} (sampling.window).",
                remedy=f"--frames {config.window}",
            )
        self.config, self.snippets, self.frames = config, snippets, frames
        self.span = max(config.snippet_window, frames)  # w
        room = config.window - self.span
        # Python's round, to even: the starts of snippets in the window
        self.starts = [round(i * room / (snippets - 1)) for i in range(snippets)] if snippets > 1 else [room // 2]
        self.test_offsets = [k * self.span // frames for k in range(frames)]
        self._placed: dict[torch.device, tuple[Tensor, Tensor]] = {}

    def train(self, counts: Tensor, generator: torch.Generator) -> Tensor:
        """Draw a view of each clip: a start, and per snippet one of its sets of J frames.  # (B,) ≥ 1 → (B, n, J)

        All draws are uniform, and as many for one clip as for another.
        """
        device, batch = counts.device, len(counts)
        start = torch.randint(self.config.start_range, (batch,), generator=generator, device=device)
        keys = torch.rand(batch, self.snippets, self.span, generator=generator, device=device)
        offsets = by_blocks(self._chosen, keys)  # (B, n, J)
        del keys
        cut = None
        if self.config.unify == "clip":
            spare = (counts - self.config.unified).clamp(min=0) + 1
            cut = torch.randint(MANY, (batch,), generator=generator, device=device) % spare
        offsets += self._snippets(device)[0]
        return by_blocks(self._native, counts, start, offsets, *([] if cut is None else [cut]))

    def _chosen(self, keys: Tensor) -> Tensor:
        """Return which frames of a snippet have the largest keys, in their order.  # (B, n, w) → (B, n, J)"""
        return keys.topk(self.frames, dim=2).indices.sort(dim=2).values

    def test(self, counts: Tensor, *, view: int = 0, start: int | None = None) -> Tensor:
        """Return the one view that is scored: J frames of each snippet at equal distances, floor(k · w / J).  # (B,) → (B, n, J)"""
        cut = (counts - self.config.unified).clamp(min=0) // 2 if self.config.unify == "clip" else None
        within = self._snippets(counts.device)[1].expand(len(counts), -1, -1)
        return self._native(counts, torch.full_like(counts, self._start(start)), within, cut)

    def distinct(self, counts: Tensor) -> Tensor:
        """Return how many different frames a snippet of the test view has, the median over a clip's snippets.  # (B,) → (B,)"""
        shown = self.test(counts)
        distinct = (shown.diff(dim=2) > 0).sum(dim=2) + 1  # (B, n)
        ordered = distinct.sort(dim=1).values
        return (ordered[:, (self.snippets - 1) // 2] + ordered[:, self.snippets // 2]) / 2

    def describe(self, counts: Tensor) -> tuple[str, str | None]:
        """Return how many different source frames a snippet shows, and warn when they are few."""
        median = float(by_blocks(self.distinct, counts).quantile(0.5))
        what = f"a snippet of {self.frames}" if self.snippets > 1 else f"a view of {self.frames}"
        line = f"source frames: {what} shows {median:g} different ones (median over clips)"
        if median >= math.ceil(ENOUGH_DISTINCT * self.frames):
            return line, None
        length = float(counts.double().quantile(0.5))
        shown = "Snippets" if self.snippets > 1 else "Views"
        return line, (
            f"{shown} of {self.frames} frames show only {median:g} different ones (median over clips): with {length:g} frames "
            f"in the median the clips are short, and frames are repeated to make {self.config.unified} of them."
        )

    def rule(self) -> dict[str, Any]:
        """Return which unified frames the test shows, and which frames of the clip these are."""
        config, begin = self.config, self.config.test_start
        shown = (begin + self._snippets(torch.device("cpu"))[1]).tolist()
        half = f"floor((2u + 1) · count / {2 * config.unified})"
        text = f"{self.snippets} × {self.frames} of {config.unified} unified frames are shown, u = {_listed(shown)}. "
        match config.unify:
            case "resample":
                text += f"Unified frame u of a clip of `count` frames, numbered from 0, is frame {half}."
            case "clip":
                text += (
                    f"Unified frame u of a clip of `count` ≤ {config.unified} frames, numbered from 0, is frame {half}; of a longer clip "
                    f"frame floor((count − {config.unified}) / 2) + u."
                )
            case "native":
                text += (
                    f"Of a clip of `count` frames, numbered from 0, length = min(count, {config.window}); unified frame u is "
                    f"frame floor({begin} · (count − length) / {max(1, config.spare)}) + "
                    f"floor((2 (u − {begin}) + 1) · length / {2 * config.window})."
                )
        numbers = {"unify": config.unify, "unified": config.unified, "window": config.window, "start": begin}
        return {"kind": "window", **numbers, "views": 1, "places": shown, "text": text}

    def expect_start(self, name: str, start: int) -> None:
        """Refuse a start from which the window runs out of the unified clip."""
        self.config.expect_start(name, start)

    def slots(self, first: int, stop: int, *, start: int | None = None) -> Tensor:
        """Return which slots of the test view show one of the unified frames first … stop − 1.  # → (n, J)"""
        if not 0 <= first < stop <= self.config.unified:
            raise UsageError(
                f"A range of unified frames is A:B with 0 ≤ A < B ≤ {self.config.unified}, found {first}:{stop}."
            )
        shown = self._start(start) + self._snippets(torch.device("cpu"))[1]
        return (first <= shown) & (shown < stop)

    def middle(self, *, start: int | None = None) -> tuple[int, int]:
        """Return the range of unified frames that the middle snippet spans, of an even number the middle two: 45:60 for 7 × 5."""
        if self.snippets < MIDDLE:
            raise UsageError(
                f"Clips are shown as {self.snippets} snippet{'s' * (self.snippets > 1)}, of which none is in the middle.",
                remedy=f"--zero-middle {self.example(start=start)}",
            )
        first, last = (self.snippets - 1) // 2, self.snippets // 2
        begin = self._start(start)
        return begin + self.starts[first], begin + self.starts[last] + self.span

    def example(self, *, start: int | None = None) -> str:
        """Return a range of unified frames of which the test view shows one, as the command line takes it."""
        shown = self._start(start) + self._snippets(torch.device("cpu"))[1]
        frame = int(shown[self.snippets // 2, self.frames // 2])
        return f"{frame}:{min(frame + 5, self.config.unified)}"

    def _start(self, start: int | None) -> int:
        if start is None:
            return self.config.test_start
        self.expect_start("A start", start)
        return start

    def _snippets(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Return the snippets' starts (n, 1), and the frames of the test view (n, J), both counted in the window."""
        if device not in self._placed:
            starts = torch.tensor(self.starts, device=device)[:, None]
            self._placed[device] = starts, starts + torch.tensor(self.test_offsets, device=device)
        return self._placed[device]

    def _native(self, counts: Tensor, start: Tensor, within: Tensor, cut: Tensor | None = None) -> Tensor:
        """Turn places in the window into positions in the clip.  # (B,), (B,), (B, n, J), (B,) → (B, n, J)"""
        config = self.config
        counts, start = counts[:, None, None], start[:, None, None]
        if config.unify == "native":
            length = counts.clamp(max=config.window)
            first = start * (counts - length) // max(1, config.spare)
            return first + _nearest(within, length, config.window)
        resampled = _nearest(start + within, counts, config.unified)
        if cut is None:
            return resampled
        return torch.where(counts > config.unified, cut[:, None, None] + start + within, resampled)


def _listed(rows: list[list[int]]) -> str:
    """Write numbers, each snippet's in brackets."""
    return ", ".join(f"({' '.join(map(str, row))})" for row in rows)


def _nearest(place: Tensor, count: Tensor, slots: int) -> Tensor:
    """Return the frame, of `count`, that lies under the middle of one of `slots` equal parts of the clip."""
    return (2 * place + 1) * count // (2 * slots)
