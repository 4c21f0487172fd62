"""The table of est extract --compare-detectors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import counted

if TYPE_CHECKING:
    from ..extract.compare import Comparison, Row

SHOWN = 5  # inputs that are named


def comparison_data(found: Comparison) -> dict[str, Any]:
    """Return the JSON data."""
    return {
        "inputs": found.inputs,
        "available": found.available,
        "device": found.device,
        "precision": found.precision,
        "settings": [
            {
                "detector": row.setting.detector,
                "detect_size": row.setting.size,
                "detect_every": row.setting.every,
                "reference": number == 0,
                "chosen": row.is_chosen,
                "problem": row.problem or None,
                "licence": row.licence or None,
                "frames": row.frames,
                "coverage": row.coverage,
                "mean_iou": row.mean_iou,
                "frames_per_second": row.rate,
            }
            for number, row in enumerate(found.rows)
        ],
        "failures": [{"id": clip_id, "error": error} for clip_id, error in found.failures],
    }


def comparison_text(found: Comparison) -> str:
    """Format a comparison as text."""
    first = found.rows[0]
    named = ", ".join(found.inputs[:SHOWN]) + (" …" if len(found.inputs) > SHOWN else "")
    lines = [
        f"{len(found.inputs)} of {counted(found.available, 'input')}, {counted(first.frames, 'frame')}; "
        f"{found.device} in {found.precision}",
        f"inputs: {named}",
        "",
        *table(
            [("detector", "searched at", "every", "with a face", "IoU", "frames/s", "")]
            + [cells(row) for row in found.rows]
        ),
        "",
        "with a face: share of frames · IoU: mean overlap with the boxes of the first line · frames/s: of video, detection alone",
    ]
    licences = {row.setting.detector: row.licence for row in found.rows if row.licence}
    lines += [f"{row.setting.detector} could not run: {row.problem}" for row in found.rows if row.problem]
    lines += [f"licence of {name}: {licence}" for name, licence in licences.items()]
    lines += [f"failed {clip_id}: {error}" for clip_id, error in found.failures]
    return "\n".join(lines)


def cells(row: Row) -> tuple[str, ...]:
    """Return a setting's line of the table."""
    return (
        row.setting.detector,
        str(row.setting.size or "full size"),
        str(row.setting.every),
        _number(row.coverage, ".1%"),
        _number(row.mean_iou, ".3f"),
        _number(row.rate, ".0f"),
        "← these options" if row.is_chosen else "",
    )


def table(rows: list[tuple[str, ...]]) -> list[str]:
    """Set cells in columns, the first to the left, numbers to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        parts = [
            row[0].ljust(widths[0]),
            *(cell.rjust(width) for cell, width in zip(row[1:-1], widths[1:-1], strict=True)),
        ]
        lines.append("  ".join([*parts, row[-1]]).rstrip())
    return lines


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)
