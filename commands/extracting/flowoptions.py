"""`--modality` and `--flow-frames` of est extract: face crops, or the flow from a clip's onset."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer

from ...errors import UsageError
from ..panels import FEATURES


class Pictures(StrEnum):
    """What encoders see."""

    face = "face"
    flow = "flow"


class Places(StrEnum):
    """Which frames are compared with the onset."""

    apex = "apex"
    whole = "whole"
    auto = "auto"


PicturesOption = Annotated[
    Pictures,
    typer.Option(
        "--modality",
        help="Face crops, or optical flow (micro-expressions).\n\n"
        "face: a crop of every frame; flow: optical flow from a clip's onset to eleven later frames, as in SLSTT. Onset and apex come "
        "from a list's columns or a --dataset.",
        rich_help_panel=FEATURES,
    ),
]
FlowPlaces = Annotated[
    Places | None,
    typer.Option(
        "--flow-frames",
        help="With --modality flow: which frames are compared with the onset. [default: apex]\n\n"
        "apex: 11 frames from 5 before the annotated apex on; whole: 11 evenly over the clip after its onset, or its "
        "first frame, without an apex; auto: apex where a clip has one, else whole (MEGC 2019: SMIC has none).",
        rich_help_panel=FEATURES.rare,
    ),
]


def flow_settings(modality: Pictures, places: Places | None) -> dict[str, Any]:
    """Return what the two options say, for the configuration of an extraction."""
    if places is not None and modality is not Pictures.flow:
        raise UsageError(
            "--flow-frames needs --modality flow.", remedy="add --modality flow, or leave out --flow-frames"
        )
    return {"modality": modality.value, "flow_frames": (places or Places.apex).value}
