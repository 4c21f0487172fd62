"""The sets that the demo renders and trains on, each with the settings of its training.

Frames are few, because extraction takes most of the time: 10 or 15 a second, and clips of two to three seconds. The face is as large as in
the renderer's 640 × 360; only the background is cut.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from .spec import RenderSpec

POINTS = 5.0  # by which EST should be above the control where time tells something
SETTINGS = {"loop.epochs": 15, "loop.warmup": 2, "protocol.kind": "kfold", "protocol.folds": 4, "eval_every": 0}
# Shuffled snippets that get the code of their new place hide from the model what tells such classes apart: docs/log.md.
OF_TIME = {"model.position": "snippet", "loop.epochs": 30}
# After so few steps three layers have not learnt even the training clips; one has: docs/log.md.
ONE_LAYER = {"model.layers": 1, "data.scaling": True}
OF_DYNAMICS = {**ONE_LAYER, "model.position": "snippet", "loop.epochs": 60, "loop.warmup": 3}
SIZE = (360, 360)


@dataclass(frozen=True, kw_only=True)
class DemoSet:
    """One row of the demo: what is rendered, and how EST is trained on it."""

    name: str  # of its folder, too
    spec: RenderSpec
    settings: Mapping[str, Any] = field(default_factory=dict)  # of the training, above the preset `fast`
    told_by_time: bool = False  # the classes differ in the course of their clips alone

    def changed(self, *, settings: Mapping[str, Any], **spec: Any) -> DemoSet:
        """Return the same set with other numbers; None leaves one as it is."""
        given = {name: value for name, value in spec.items() if value is not None}
        return replace(self, spec=replace(self.spec, **given), settings={**self.settings, **settings})


POSED = DemoSet(
    name="posed",
    spec=RenderSpec(subjects=8, clips_per_subject=7, frames=(20, 24), size=SIZE, fps=10),
    settings={**SETTINGS, **ONE_LAYER},
)
DYNAMICS = DemoSet(
    name="dynamics",
    spec=RenderSpec(subjects=12, clips_per_subject=6, dynamics=True, difficulty=0.3, size=SIZE, fps=15),
    settings={**SETTINGS, **OF_DYNAMICS},
    told_by_time=True,
)
PAIRS = DemoSet(
    name="pairs",
    spec=RenderSpec(subjects=12, clips_per_subject=6, temporal_pairs=True),
    settings={**SETTINGS, **OF_TIME},
    told_by_time=True,
)
