"""What a Python caller gives as inputs: what was found already, or what is still to be looked through."""

from __future__ import annotations

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
