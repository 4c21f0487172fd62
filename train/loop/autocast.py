"""In which numbers a model computes: fp32 as they are, bf16 and fp16 by autocast."""

from __future__ import annotations

import torch

from ...encoders.precision import DTYPES, Precision


def casting(device: torch.device, precision: Precision) -> torch.autocast:
    """Return the block in which operations compute in a precision."""
    if precision == "fp32":
        return torch.autocast(device.type, enabled=False)
    return torch.autocast(device.type, DTYPES[precision])
