"""How far a submission is, for people: a line for each part that is not done, and what to do next."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...errors import STATUS_FAILED, STATUS_INTERRUPTED, STATUS_PARTIAL, counted, quoted
from ..screen import Screen, clock, columns

if TYPE_CHECKING:
    from ...cluster.status import Part, Submission

SHOWN = 40  # parts that have a line
COUNTED = ("clips", "failures", "trials")  # of a result
LOGS = 3  # of which the log's end is shown


def show(screen: Screen, submission: Submission) -> int:
    """Show what a call has come to, and return its exit status."""
    screen.result(submission.to_json(), page(submission))
    if submission.is_done:
        return STATUS_PARTIAL if submission.result.get("failures") else 0
    if submission.engine == "slurm":
        return 0
    return STATUS_INTERRUPTED if not any(part.state == "failed" for part in submission.parts) else STATUS_FAILED


def page(submission: Submission) -> str:
    """Lay it out."""
    counts = ", ".join(f"{count} {state}" for state, count in submission.counts.items())
    done = f"{submission.inputs - submission.left}/{submission.inputs}"
    unit = "inputs" if submission.kind == "extract" else "jobs"
    head = f"{submission.out}: {counted(len(submission.parts), submission.unit)}: {counts}; {done} {unit}"
    parts = [
        part for part in (*submission.parts, submission.last) if part.state not in ("done", "missing") or part.error
    ]
    lines = [head]
    if parts:
        rows = [("part", "state", unit, "attempt", "where", "heartbeat", "")]
        lines += columns([*rows, *(_row(part) for part in parts[:SHOWN])])
    if len(parts) > SHOWN:
        lines.append(f"and {len(parts) - SHOWN} more (--json shows all)")
    for part in [part for part in parts if part.state == "failed"][:LOGS]:
        lines += [f"{part.log} {'ends:' if part.tail else 'is empty'}", *(f"  {line}" for line in part.tail)]
    return "\n".join([*lines, *_next(submission)])


def _row(part: Part) -> tuple[str, ...]:
    done = f"{'?' if part.left is None else part.inputs - part.left}/{part.inputs}" if part.inputs else ""
    where = " ".join(filter(None, (part.host, f"job {part.job}" if part.job else "")))
    heartbeat = "" if part.heartbeat is None else f"{clock(part.heartbeat)} ago"
    return part.name, part.state, done, str(part.attempt or ""), where, heartbeat, part.error


def _next(submission: Submission) -> Iterator[str]:
    """Say how it ended, or what to do next."""
    out = quoted(submission.out)
    if submission.is_done:
        known = submission.result
        failures = known.get("failures", 0)
        yield ", ".join(counted(known[name], name[:-1]) for name in COUNTED if name in known)
        if "page" in known:
            yield f"page: {known['page']}"
        yield from (f"failed {failure.id}: {failure.stage}: {failure.error}" for failure in submission.failures)
        if failures > len(submission.failures) > 0:
            yield f"and {failures - len(submission.failures)} more"
        if submission.kind == "extract":
            yield (
                f"cache: {submission.out}"
                if known.get("kept", True)
                else f"no cache: nothing was extracted, and none was left at {submission.out}"
            )
        if failures and known.get("kept"):
            yield f"est cache ls {out} --failures names them; est extract … --out {out} --retry-failed tries them again"
        elif failures:
            yield f"once the videos are mended: the same est submit extract again, or est extract … --out {out} --retry-failed"
    elif submission.open or submission.last.state == "failed":
        working = submission.counts.keys() & {"running", "queued"}
        first = ("once the others have ended, " if submission.engine == "local" else "wait, or ") if working else ""
        yield f"next: {first}est submit retry {out}"
    elif submission.engine == "slurm" or submission.counts.keys() & {"running", "queued"}:
        yield f"est submit status {out} shows how far it is; est submit cancel {out} stops it"
