"""Scene cuts, recognised frame by frame as a video is read.

At a cut the whole picture changes, places that hold nothing of interest included; when a head moves, a hand passes or an eye blinks,
much of the picture stays as it was. So frames are reduced to a few colour blocks, the change of brightness that all of them share is
divided out, and what counts is the change of the quieter blocks. Where the camera moves it is measured against that motion. Soft
transitions are not cuts.
"""

from __future__ import annotations

from collections import deque

import cv2
import numpy as np

GRID = (16, 9)  # blocks, across and down
SAMPLES = 16  # a block's pixels across that are looked at: enough to average noise away, whatever the frame's size
QUIET = 30  # percentile of the blocks' changes: an object that passes over two thirds of the picture is not a cut
THRESHOLD = 3.0  # grey levels of that percentile: rendered clips stay under 1.3, cuts between them lie above 5.8
ABOVE_MOTION = 2.5  # times what the camera's motion changes
MEMORY = 6  # changes of which the second largest stands for motion: the largest may have been a cut
HURRIED = 4  # jumps in a row, each at most so many frames after the last, from which on scenes are too short to be told
FLASH = 3  # frames after which a picture that came back was not cut away from


class CutDetector:
    """Feed it every frame in order, of any size."""

    def __init__(self) -> None:
        self._frame = -1
        self._cuts: list[int] = []
        self._last: np.ndarray | None = None
        self._changes: deque[float] = deque(maxlen=MEMORY)
        self._jump, self._num_jumps = -1, 0  # the last one, and how many in quick succession it ends
        self._is_hurried = False
        self._before_cut: tuple[int, np.ndarray] | None = (
            None  # the number of a cut and the blocks of the frame before it
        )

    @property
    def cuts(self) -> tuple[int, ...]:
        """The cuts so far: frame t when one lies between t − 1 and t. Those that turned out to be a flash are gone from it."""
        return tuple(self._cuts)

    @property
    def is_hurried(self) -> bool:
        """Return whether some scenes were so short that their cuts are not all known: they look like flashes, or like fast motion."""
        return self._is_hurried

    def feed(self, frame: np.ndarray) -> bool:
        """Return whether this frame seems cut from the one before; a flash may do so, `cuts` knows better.  # (H, W, 3) uint8"""
        self._frame += 1
        blocks = _blocks(frame)
        last, self._last = self._last, blocks
        if last is None:
            return False
        change = _change(last, blocks)
        motion = sorted(self._changes)[-2] if len(self._changes) > 1 else 0.0
        self._note_jump(change)
        threshold = max(THRESHOLD, ABOVE_MOTION * motion)
        self._changes.append(change)
        if self._flash_is_over(blocks) or change <= threshold:
            return False
        self._cuts.append(self._frame)
        if self._before_cut is None or self._frame - self._before_cut[0] > FLASH:
            self._before_cut = (self._frame, last)
        return True

    def _note_jump(self, change: float) -> None:
        """Count jumps in quick succession: changes far above the one before, be they cuts or not; a dissolve has one."""
        before = self._changes[-1] if self._changes else 0.0
        if change <= max(THRESHOLD, ABOVE_MOTION * before):
            return
        self._num_jumps = self._num_jumps + 1 if self._frame - self._jump <= HURRIED else 1
        self._jump = self._frame
        self._is_hurried |= self._num_jumps >= HURRIED

    def _flash_is_over(self, blocks: np.ndarray) -> bool:
        """Take back the last cuts if the picture before them is here again."""
        if self._before_cut is None:
            return False
        cut, before = self._before_cut
        if self._frame - cut > FLASH:
            self._before_cut = None
            return False
        if _change(before, blocks) > THRESHOLD:
            return False
        self._cuts = [number for number in self._cuts if number < cut]
        self._before_cut = None
        return True


def _blocks(frame: np.ndarray) -> np.ndarray:
    """Return the mean colours of a grid of blocks, of some of their pixels where there are many.  # (H, W, 3) → (9, 16, 3)"""
    size = (min(frame.shape[1], SAMPLES * GRID[0]), min(frame.shape[0], SAMPLES * GRID[1]))
    some = cv2.resize(frame, size, interpolation=cv2.INTER_NEAREST)
    return cv2.resize(some, GRID, interpolation=cv2.INTER_AREA).astype(np.float32)


def _change(one: np.ndarray, two: np.ndarray) -> float:
    """Return by how many grey levels the quieter blocks change, beyond a change of brightness that all share."""
    shared = float(np.clip(np.median((two.mean(2) + 1) / (one.mean(2) + 1)), 0.5, 2.0))
    # Where an object covers most blocks their median says nothing of the light: the gentler account of the two counts.
    changes = [np.abs(two - np.minimum(gain * one, 255)).max(2) / max(1.0, gain) for gain in (1.0, shared)]
    return min(float(np.percentile(change, QUIET)) for change in changes)
