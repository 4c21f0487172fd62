"""Rendered clips with a cut, or with what may be taken for one, and the truth of each: of which kind it is, and where the cut lies.

A clip is two shots of 12 to 20 frames. Behind the cut there is another person, the same person in another shot (other place, light, pose
and expression), or the same shot as a second camera has it. Soft transitions add 8 frames. Clips lie in a folder for each kind.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from _people import shot

from est.demo.clip import Clip

SMALL, LARGE = (320, 180), (1280, 720)  # pictures of more than 640 pixels are shrunk for the detector
SOFT = 8  # frames of a soft transition
PEOPLE = 400  # of each seed
OTHER, SAME, VIEW, ON = "another person", "same person, another shot", "same shot, another view", "same shot goes on"


@dataclass(frozen=True, kw_only=True)
class Kind:
    """How many clips there are of what comes at the cut, and of what comes behind it."""

    comes: Literal["hard cut", "dissolve", "fade", "nothing", "flash", "lights"]
    behind: str
    count: int
    size: tuple[int, int] = SMALL

    @property
    def name(self) -> str:
        """The kind in words; the size where it is the large one."""
        return f"{self.comes}, {self.behind}{' (1280×720)' if self.size == LARGE else ''}"

    @property
    def slug(self) -> str:
        """The same for names of files."""
        return f"{self.comes}-{self.behind.replace(',', '')}-{self.size[0]}".replace(" ", "-")

    @property
    def reach(self) -> int:
        """Return how many frames beside the middle of a transition belong to it."""
        return SOFT if self.comes in ("dissolve", "fade") else 0

    @property
    def has_cut(self) -> bool:
        """Say whether one shot ends and another begins."""
        return self.behind != ON


KINDS = (
    Kind(comes="hard cut", behind=OTHER, count=300),
    Kind(comes="hard cut", behind=SAME, count=200),
    Kind(comes="hard cut", behind=VIEW, count=100),
    Kind(comes="hard cut", behind=OTHER, count=60, size=LARGE),
    Kind(comes="hard cut", behind=SAME, count=40, size=LARGE),
    Kind(comes="hard cut", behind=VIEW, count=20, size=LARGE),
    Kind(comes="dissolve", behind=OTHER, count=50),
    Kind(comes="dissolve", behind=SAME, count=50),
    Kind(comes="fade", behind=OTHER, count=50),
    Kind(comes="fade", behind=SAME, count=50),
    Kind(comes="nothing", behind=ON, count=50),
    Kind(comes="flash", behind=ON, count=50),
    Kind(comes="lights", behind=ON, count=50),
)


@dataclass(frozen=True, kw_only=True)
class Truth:
    """What a clip shows."""

    id: str
    cut: int  # the first frame behind it, or the middle of a soft transition; where a flash or other light begins
    num_frames: int


def render(folder: Path, kind: Kind, seeds: Sequence[int], count: int | None = None) -> list[Truth]:
    """Render clips of a kind that are not there yet, with people of those seeds in turn; return what all of them show."""
    (folder / kind.slug).mkdir(parents=True, exist_ok=True)
    found = []
    for number in range(kind.count if count is None else min(count, kind.count)):
        name = f"{kind.slug}-{number:03d}"
        note = folder / kind.slug / f"{name}.json"
        if not note.exists():
            rng = np.random.default_rng([seeds[0], KINDS.index(kind), number])
            frames, cut = frames_of(kind, seeds[number % len(seeds)], rng)
            partial = folder / f"partial-{name}.mp4"
            writer = cv2.VideoWriter(str(partial), cv2.VideoWriter.fourcc(*"mp4v"), 25.0, kind.size)
            for frame in frames:
                writer.write(frame)
            writer.release()
            partial.rename(note.with_suffix(".mp4"))
            note.write_text(json.dumps(asdict(Truth(id=name, cut=cut, num_frames=len(frames)))))
        told: dict[str, Any] = json.loads(note.read_text())
        found.append(Truth(**told))
    return found


def frames_of(kind: Kind, seed: int, rng: np.random.Generator) -> tuple[list[np.ndarray], int]:
    """Draw a clip of a kind; return its frames, and the frame behind the cut or in the middle of the transition."""
    person, other = rng.choice(PEOPLE, 2, replace=False).tolist()
    before, after = int(rng.integers(12, 21)), int(rng.integers(12, 21))
    if kind.behind in (ON, VIEW):
        clip = shot(rng, seed, person, before + after, kind.size)
        frames = [clip.frame(t)[0] for t in range(before if kind.behind == VIEW else before + after)]
        if kind.behind == VIEW:
            frames += closer(clip, before, before + after, rng)
        elif kind.comes == "flash":
            for t in range(before, before + int(rng.integers(1, 4))):
                frames[t] = cv2.addWeighted(frames[t], 0.35, np.full_like(frames[t], 255), 0.65, 0)
        elif kind.comes == "lights":
            gain, tint = float(rng.choice([rng.uniform(0.55, 0.75), rng.uniform(1.2, 1.4)])), rng.uniform(0.9, 1.1, 3)
            frames[before:] = [np.clip(frame * gain * tint, 0, 255).astype(np.uint8) for frame in frames[before:]]
        return frames, before
    lead = kind.reach
    first = shot(rng, seed, person, before + lead, kind.size)
    second = shot(rng, seed, other if kind.behind == OTHER else person, after + lead, kind.size)
    one = [first.frame(t)[0] for t in range(before + lead)]
    two = [second.frame(t)[0] for t in range(after + lead)]
    if kind.comes == "hard cut":
        return one + two, before
    if kind.comes == "dissolve":
        weights = np.arange(1, SOFT + 1) / (SOFT + 1)
        blend = [cv2.addWeighted(one[before + t], 1 - new, two[t], new, 0) for t, new in enumerate(weights)]
        return one[:before] + blend + two[SOFT:], before + SOFT // 2
    down = [cv2.convertScaleAbs(one[before + t], alpha=1 - (t + 1) / SOFT) for t in range(SOFT)]
    up = [cv2.convertScaleAbs(two[t], alpha=(t + 1) / SOFT) for t in range(SOFT)]
    return one[:before] + down + up + two[SOFT:], before + SOFT


def closer(clip: Clip, start: int, stop: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Return frames of a shot as a second camera has them: half as near again, and off to a side."""
    width, height = clip.plan.size
    large = Clip(replace(clip.plan, size=(width * 3 // 2, height * 3 // 2)))
    off = width * 15 // SMALL[0]
    left, top = (int(rng.integers(side // 4 - off, side // 4 + off + 1)) for side in (width, height))
    shots = [large.frame(t)[0] for t in range(start, stop)]
    return [np.ascontiguousarray(frame[top : top + height, left : left + width]) for frame in shots]
