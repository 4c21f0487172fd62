"""The options that say what computes the frame encoder, and in which precision."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer


class Engines(StrEnum):
    """What computes the encoder."""

    auto = "auto"
    torch = "torch"
    onnxruntime = "onnxruntime"


EngineOption = Annotated[
    Engines,
    typer.Option(
        "--engine",
        help="What computes the encoder: torch, onnxruntime (on the processor, in fp32 or int8), or auto: what is fast here, "
        "or that of the cache that is resumed.",
    ),
]
EncoderPrecision = Annotated[
    str,
    typer.Option(
        "--precision",
        help="auto, fp32, bf16, fp16 or int8; auto takes bf16 where the hardware is fast at it, and int8 never; "
        "or that of the cache that is resumed.",
    ),
]
