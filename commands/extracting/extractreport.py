"""How an extraction ended, as JSON and as text."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import STATUS_INTERRUPTED, STATUS_PARTIAL
from ..screen import Screen

if TYPE_CHECKING:
    from ...extract.report import Report


def show_report(screen: Screen, report: Report, out: Path) -> int:
    """Show it, and return the exit status."""
    data = {
        "out": str(out) if report.kept else None,
        **({"from": report.source} if report.source else {}),
        "clips": report.clips,
        "frames": report.frames,
        "filling": list(report.filling),
        "filled": report.filled,
        "unchanged": report.unchanged,
        "relabelled": report.relabelled,
        "no_face": report.no_face,
        "incomplete": report.incomplete,
        "decoders": dict(report.decoders),
        "damaged": list(report.damaged),
        "misplaced": list(report.misplaced),
        "disordered": list(report.disordered),
        "changed": list(report.changed),
        "parted": list(report.parted),
        "left_out": dict(report.left_out),
        "dropped": dict(report.dropped),
        "only_small": list(report.only_small),
        "crowded": list(report.crowded),
        "failures": [{"id": f.id, "path": f.path, "stage": f.stage, "error": f.error} for f in report.failures],
        "interrupted": report.interrupted,
        "left": report.left,
        "unfilled": report.unfilled,
        "seconds": round(report.seconds, 2),
        "stages": {name: round(seconds, 2) for name, seconds in report.stages.items()},
    }
    screen.result(
        data,
        "\n".join(
            [
                *report.lines(),
                f"cache: {out}" if report.kept else f"no cache: nothing was extracted, and none was left at {out}",
            ]
        ),
    )
    if report.interrupted:
        return STATUS_INTERRUPTED
    return STATUS_PARTIAL if report.failures else 0
