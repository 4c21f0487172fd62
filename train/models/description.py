"""What a model costs, by part: parameters, and multiply-accumulates (MACs) of one video; and the same of ResNet-18."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from ...encoders.backbone import Backbone, tap_shape
from ...encoders.taps import STAGES
from .contract import CROPS, WINDOWS
from .unfilled import Unfilled

IMAGE_SIDE = 224  # of the pictures on which the paper's MACs are counted
WIDTH_OF_WINDOWS = 1408  # of VideoMAE v2-g
SIDE_OF_MAPS = 112  # of the crops for which the published models of maps were made


@dataclass(frozen=True, kw_only=True)
class Row:
    """One part of the model."""

    part: str
    parameters: int
    macs: int


@dataclass(frozen=True, kw_only=True)
class Description:
    """All parts; the backbone only where features are as it gives them."""

    rows: tuple[Row, ...]
    frames: float  # that one video shows the model, and the backbone before it
    frames_are: str = ""  # of a model that is shown all frames: of which video so many are
    backbone: Row | None = None
    side: int = 0  # of the pictures that the backbone sees
    learns: str = "on cached features"  # what all parts are together

    @property
    def parameters(self) -> int:
        """Return what trains on cached features."""
        return sum(row.parameters for row in self.rows)

    @property
    def macs(self) -> int:
        """Return the MACs of one video whose features are cached."""
        return sum(row.macs for row in self.rows)

    @property
    def whole(self) -> Row | None:
        """Return model and backbone together: what the paper counts."""
        if self.backbone is None:
            return None
        return Row(
            part="with backbone",
            parameters=self.parameters + self.backbone.parameters,
            macs=self.macs + self.backbone.macs,
        )

    def lines(self) -> list[str]:
        """Return a table as text."""
        shown = [*self.rows, Row(part=self.learns, parameters=self.parameters, macs=self.macs)]
        if self.backbone is not None and self.whole is not None:
            shown += [self.backbone, self.whole]
        width = max(len(row.part) for row in shown)
        head = f"{'part':<{width}}  {'parameters':>11}  {'MACs a video':>14}"
        lines = [head, *(f"{row.part:<{width}}  {row.parameters:>11,}  {_short(row.macs):>14}" for row in shown)]
        return [*lines, *([f"MACs are of {self.frames:.4g} frames, {self.frames_are}"] if self.frames_are else [])]

    def to_json(self) -> dict[str, Any]:
        """Return the same as JSON data."""
        found: dict[str, Any] = {
            "parts": [_plain(row) for row in self.rows],
            "parameters": self.parameters,
            "macs": self.macs,
            "frames": self.frames,
            "frames_are": self.frames_are,
        }
        if self.backbone is not None and self.whole is not None:
            found["backbone"] = _plain(self.backbone) | {"frames": self.frames, "image_side": self.side}
            found["with_backbone"] = _plain(self.whole)
        return found


def with_backbone(found: Description, tap: str, width: int, maps: tuple[int, ...], side: int = 0) -> Description:
    """Return a description with ResNet-18 up to a tap, on pictures of a side; 0: of the usual one; 1: of none, as imported rows."""
    if side == 1:
        return found
    side = side or image_side(tap, maps)
    return replace(found, backbone=backbone_row(found.frames, width, tap, maps, side), side=side)


def backbone_row(frames: float, width: int, tap: str, maps: tuple[int, ...], side: int) -> Row | None:
    """Count the backbone up to a tap on so many frames; none where features are not of the shape that it gives them."""
    if tap_shape(tap, side) != (width, *maps):
        return None
    with Unfilled():
        trunk = Backbone()
    later = list(STAGES)[num_stages(tap) :]
    parameters = num_parameters(trunk) - sum(num_parameters(getattr(trunk, name)) for name in later)
    until = f" to {tap}" if later else ""
    macs = round(frames * backbone_macs(side, tap))
    return Row(part=f"ResNet-18{until}, {frames:.4g} frames of {side} × {side}", parameters=parameters, macs=macs)


def usual_shape(reads: str) -> tuple[int, ...]:
    """Return the shape of what ResNet-18 gives of a frame to models that read such maps, or gap; of a crop to those that look at crops.

    Of windows it is that of VideoMAE v2-g, on which the published head was learnt.
    """
    if reads == WINDOWS:
        return (WIDTH_OF_WINDOWS,)
    if reads == CROPS:
        return (3, SIDE_OF_MAPS, SIDE_OF_MAPS)
    return tap_shape(reads or "gap", SIDE_OF_MAPS)


def num_stages(tap: str) -> int:
    """Return how many stages of the backbone a tap needs."""
    return list(STAGES).index(tap) + 1 if tap in STAGES else len(STAGES)


def image_side(tap: str, maps: tuple[int, ...]) -> int:
    """Return the usual side of pictures: of which maps of such sides are made, and for vectors what the paper's MACs are of."""
    if tap in STAGES:
        return 2 ** (1 + num_stages(tap)) * maps[0]
    return SIDE_OF_MAPS if maps else IMAGE_SIDE


def linear(inputs: int, outputs: int) -> int:
    """Count one row through a linear layer."""
    return (inputs + 1) * outputs


def backbone_macs(side: int, tap: str = "gap") -> int:
    """Count ResNet-18 without its classifier on one square picture up to a tap: stem, stages of two blocks, pool."""
    side = half(side)
    values = 64 * side**2  # that leave the first convolution
    total = values * 3 * 7**2 + values * (2 + 1)
    total += values  # the max pool reads them
    side = half(side)
    inputs = 64
    for stage, channels in enumerate([*STAGES.values()][: num_stages(tap)]):
        side = half(side) if stage else side
        total += stage_macs(inputs, channels, side**2)
        total += channels * side**2 if tap == "pyramid4x4" else 0  # its pool reads them
        inputs = channels
    return total + (inputs * side**2 if tap == "gap" else 0)


def stage_macs(inputs: int, channels: int, places: int) -> int:
    """Count a stage of two blocks whose maps have so many places."""
    values = channels * places
    total = values * 9 * (inputs + 3 * channels)  # four convolutions of 3 × 3
    total += 4 * values * (2 + 1)  # each with a norm and a ReLU
    if inputs != channels:
        total += values * (inputs + 2)  # the shortcut's 1 × 1 and its norm
    return total


def half(side: int) -> int:
    """Return what a step of two leaves of a side."""
    return (side + 1) // 2


def num_parameters(module: nn.Module) -> int:
    """Count the numbers that a module learns."""
    return sum(parameter.numel() for parameter in module.parameters())


def _short(macs: int) -> str:
    return f"{macs / 1e9:.3f} G" if macs >= 1e9 else f"{macs / 1e6:.2f} M"


def _plain(row: Row) -> dict[str, Any]:
    return {"part": row.part, "parameters": row.parameters, "macs": row.macs}
