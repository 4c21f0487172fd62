"""The words of options that take one of a fixed list: help, completion and errors name them.

Where a config owns such a list, its module is too slow to import for a help; tests compare the lists.
"""

from __future__ import annotations

from typing import Literal

AutoPrecision = Literal["auto", "fp32", "bf16", "fp16"]
RowsPrecision = Literal["auto", "fp32", "bf16", "fp16", "int8"]
GivenPrecision = Literal["fp32", "bf16", "fp16", "int8"]
Dtype = Literal["float16", "float32"]
Selection = Literal["last", "val"]
Stacking = Literal["auto", "on", "off"]
Halves = Literal["subject", "clip"]
Learns = Literal["none", "layer4", "all"]
