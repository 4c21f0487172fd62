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
        "What computes the encoder; auto: the fastest here, or the engine of the cache that is resumed. "
        "onnxruntime runs on the CPU, in fp32 or int8.",
        rich_help_panel=MACHINE,
    ),
]
EncoderPrecision = Annotated[
    RowsPrecision,
    typer.Option(
        "--precision",
        metavar="NAME",
        help="auto, fp32, bf16, fp16 or int8.\n\n"
        "auto: bf16 if the hardware is fast at it, else fp32, never int8; or the precision of the cache that is resumed.",
        rich_help_panel=MACHINE,
    ),
]
