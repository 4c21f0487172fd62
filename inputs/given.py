"""What a Python caller gives as inputs: what was found already, or what is still to be looked through."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ..cache.watch import Watch
from ..errors import UsageError
from .input import FoundInputs, find_inputs
from .pathrule import NONE

if TYPE_CHECKING:
    from .tablelist import Given


def as_found(inputs: Given | FoundInputs, watch: Watch, *, labels: str = NONE, subjects: str = NONE) -> FoundInputs:
    """Return inputs that were found as they are; find the others, and report likely mistakes."""
    if isinstance(inputs, FoundInputs):
        if (labels, subjects) != (NONE, NONE):
            raise UsageError(
                "labels and subjects say how paths are read, and these inputs were found before.",
                remedy="est.find_inputs(…, labels=…, subjects=…)",
            )
        return inputs
    found = find_inputs(inputs, labels=labels, subjects=subjects)
    for path, unused in found.unused_columns.items():
        watch.say(f"{path}: columns that are not used: {', '.join(unused)}")
    for warning in found.warnings:
        watch.warn(warning)
    return found


def parse_shard(text: str) -> tuple[int, int]:
    """Read i/n, counted from 1, as people write it; return (i - 1, n)."""
    found = re.fullmatch(r"\s*(\d{1,18})\s*/\s*(\d{1,18})\s*", text, re.ASCII)
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        raise UsageError(f"A shard is i/n with i from 1 to n, found {text!r}.", remedy="--shard 1/4 … --shard 4/4")
    return int(found[1]) - 1, int(found[2])
