"""`est extract --dry-run`: what was found, what was read of it, what an extraction would take, and what stands in its way."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from ...errors import STATUS_PARTIAL, EstError, counted
from ..detectortable import table
from ..screen import Screen
from .datasettable import check_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from ...extract.config import ExtractConfig
    from ...extract.planning.estimate import Estimate
    from ...inputs.input import FoundInputs
    from ...inputs.pathreading import ReadColumn

SHOWN = 20  # inputs that are named
SHOWN_VALUES = 3  # of labels, subjects, …


def show_plan(
    screen: Screen, found: FoundInputs, out: Path | None, config: ExtractConfig, *, retry_failed: bool
) -> int:
    """Show what would be done, then what refuses it, if anything does; return the exit status."""
    from ...extract.modality import modality_of
    from ...extract.planning.estimate import plan_extraction
    from ...inputs.pathreading import read_columns

    pictures = modality_of(config)
    doomed = {one.id: problem for one in found.inputs if (problem := pictures.problem(one))}
    columns = list(read_columns(found.inputs, found.reading.sources)) if found.reading else []
    estimate: Estimate | None = None
    refusal: EstError | None = None
    try:
        if found.reading is not None:
            found.reading.expect_all()
        with screen.watching() as watch:
            estimate = plan_extraction(found, out, config, retry_failed=retry_failed, watch=watch)
    except EstError as error:
        refusal = error
    if estimate is not None:
        doomed |= {failure.id: failure.error for failure in estimate.failures}
    screen.result(plan(found, columns, doomed, estimate), plan_text(found, columns, doomed, estimate))
    if refusal is not None:
        raise refusal
    return STATUS_PARTIAL if doomed or found.problems else 0


def plan(
    found: FoundInputs, columns: Sequence[ReadColumn], doomed: Mapping[str, str], estimate: Estimate | None
) -> dict[str, Any]:
    """Return what a dry run shows; `doomed` says by id why an input will fail, as far as that is known."""
    return {
        "inputs": [
            {"id": i.id, "path": i.place, "kind": i.kind, "label": i.label, "subject": i.subject}
            | {"split": i.split, "fold": i.fold}
            for i in found.inputs
        ],
        "problems": [{"id": p.id, "path": p.path, "error": p.error} for p in found.problems]
        + [{"id": i.id, "path": i.place, "error": doomed[i.id]} for i in found.inputs if i.id in doomed],
        "read": [column.to_json() for column in columns],
        "ignored": dict(found.ignored),
        **({"dataset": found.check.to_json()} if found.check else {}),
        **({"estimate": estimate_data(estimate)} if estimate else {}),
    }


def estimate_data(estimate: Estimate) -> dict[str, Any]:
    """Return the JSON data of an estimate."""
    return {
        "clips": estimate.inputs,
        "there": estimate.there,
        "device": estimate.device,
        "frames_per_clip": round(estimate.frames, 2),
        "frames_per_second": round(estimate.rate, 3),
        "seconds": None if estimate.seconds is None else round(estimate.seconds, 1),
        "bytes": estimate.num_bytes,
        "memory": estimate.memory,
        "installed": estimate.installed,
        "free": estimate.free,
        "adding": list(estimate.adding),
    }


def plan_text(
    found: FoundInputs, columns: Sequence[ReadColumn], doomed: Mapping[str, str], estimate: Estimate | None
) -> str:
    """Format a dry run as text: of a data set its check, which holds all that is long otherwise."""
    failing = [f"will fail: {name}: {problem}" for name, problem in doomed.items()]
    taking = estimate.lines() if estimate else []
    if found.check is not None:
        return "\n".join([check_text(found.check), *cut(failing, SHOWN, "will fail: {} more"), *taking])
    from ...inputs.folders import ignored_text

    inputs = [f"{i.id}\t{i.kind}\t{i.label or '-'}\t{i.subject or '-'}" for i in found.inputs]
    lines = cut(inputs, SHOWN, "and {} more (--json has them all)")
    lines += cut([f"cannot be read: {p.path}: {p.error}" for p in found.problems], SHOWN, "cannot be read: {} more")
    lines += cut(failing, SHOWN, "will fail: {} more")
    if found.ignored:
        lines.append(f"ignored: {ignored_text(found.ignored)}")
    kinds = Counter(i.kind for i in found.inputs)
    problems = counted(len(found.problems) + len(doomed), "problem")
    videos, folders = counted(kinds["video"], "video"), counted(kinds["frames"], "frame folder")
    lines.append(f"{counted(len(found.inputs), 'input')}: {videos}, {folders}, {problems}")
    return "\n".join([*lines, *read_lines(columns, len(found.inputs)), *taking])


def read_lines(columns: Sequence[ReadColumn], total: int) -> Iterator[str]:
    """Lay out what was read of the clips: from where, how many values, the first clips of the first values, and who has none."""
    if not columns:
        return
    cells: list[tuple[str, ...]] = [("read", "from", "values", "clips", "first examples")]
    for column in columns:
        shown = [f"{value} {count} ({first})" for value, (count, first) in list(column.values.items())[:SHOWN_VALUES]]
        more = len(column.values) - SHOWN_VALUES
        examples = ", ".join(shown) + (f" and {more} more" if more > 0 else "")
        with_it = f"{total - len(column.lacking)} of {total}"
        cells.append((column.name, column.source, str(len(column.values)), with_it, examples or "–"))
    yield from table(cells)
    for column in columns:
        if column.lacking:
            named = ", ".join(column.lacking[:SHOWN_VALUES]) + (" …" if len(column.lacking) > SHOWN_VALUES else "")
            yield f"no {column.name} in {counted(len(column.lacking), 'clip')}: {named}"


def cut(lines: list[str], number: int, more: str) -> list[str]:
    """Keep the first lines, and count the others."""
    rest = len(lines) - number
    return lines[:number] + ([more.format(rest)] if rest > 0 else [])
