"""`est submit extract --engine ray`: what belongs to Ray, and the one extraction whose work its actors do."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import UsageError
from ..extracting.extractreport import show_report
from ..screen import Screen

if TYPE_CHECKING:
    from ...extract.config import ExtractConfig
    from ...inputs.input import FoundInputs


def expect_no_ray(given: Mapping[str, Any], engine: StrEnum) -> None:
    """Refuse options of Ray where Ray does not do the work."""
    if wrong := [f"--{name.replace('_', '-')}" for name, value in given.items() if value is not None]:
        raise UsageError(
            f"{', '.join(wrong)} {'are options' if len(wrong) > 1 else 'is an option'} of Ray, and --engine {engine.value} is asked for.",
            remedy="--engine ray, or leave out what is Ray's",
        )


def expect_no_shards(given: Mapping[str, Any]) -> None:
    """Refuse options of shards: on Ray there is one extraction, which writes one cache."""
    if wrong := [name for name, value in given.items() if value]:
        raise UsageError(
            f"With --engine ray one cache is written, without shards and jobs: {', '.join(wrong)} has no meaning.",
            remedy=f"leave out {' and '.join(wrong)}; --actors says how much is done at once",
        )


def extract_by_ray(
    screen: Screen, found: FoundInputs, out: Path, config: ExtractConfig, given: Mapping[str, Any]
) -> int:
    """Extract on a cluster of Ray, and show how it ended."""
    from ...cluster.rayengine.extracting import extract_on_ray

    options = {name: value for name, value in given.items() if value is not None}
    with screen.resumable(), screen.watching() as watch:
        report = extract_on_ray(found, out, config, **options, watch=watch)
    return show_report(screen, report, out)
