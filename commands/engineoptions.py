"""The options that say what computes the frame encoder, and in which precision."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from .choices import RowsPrecision
from .panels import MACHINE


class Engines(StrEnum):
    """What computes the encoder."""

    auto = "auto"
    torch = "torch"
    onnxruntime = "onnxruntime"


EngineOption = Annotated[
    Engines,
    typer.Option(
        "--engine",
        "--encoder-engine",
        metavar="NAME",
        help="auto, torch or onnxruntime.\n\n"
        "What computes the encoder; auto: what is fast here, or the engine of the cache that is resumed. "
        "onnxruntime runs on the processor, in fp32 or int8.",
        rich_help_panel=MACHINE,
    ),
]
EncoderPrecision = Annotated[
    RowsPrecision,
    typer.Option(
        "--precision",
        metavar="NAME",
        help="auto, fp32, bf16, fp16 or int8.\n\n"
        "auto takes bf16 where the hardware is fast at it, and int8 never; or that of the cache that is resumed.",
        rich_help_panel=MACHINE,
    ),
]
