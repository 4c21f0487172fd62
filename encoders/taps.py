"""What a frame encoder gives besides its pooled features, by name. No torch."""

from __future__ import annotations

STAGES = {"layer1": 64, "layer2": 128, "layer3": 256, "layer4": 512}  # name → channels


TAPS = ("gap", *STAGES, "pyramid4x4")


MAPS = "layer3"  # the feature that the last stage of a backbone sees
