"""The page of est cache relabel: what would change, and what does not match."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...errors import counted, some

if TYPE_CHECKING:
    from ...inputs.relabelling import Relabelling

EXAMPLES = 5  # of each column's changes, and of each kind of what does not match
SHORT = 30  # values of a column that are worth a table
HOW = {"id": "by id", "path": "by path", "name": "by file name"}


def relabel_page(found: Relabelling) -> str:
    """Format a relabelling as text."""
    told = ", ".join(f"{count} {HOW[how]}" for how, count in found.matched().items())
    named = len(found.known) - len(found.unnamed)
    what = counted(len(found.known), "clip") + (
        f" (with {counted(len(found.failures), 'failure')})" if found.failures else ""
    )
    lines = [f"{found.cache}: {named} of {what} are on the lists: {told}"]
    for column in found.columns:
        lines += ["", *_changes(found, column)]
    if found.unnamed:
        names = [repr(name) for name in found.unnamed]
        lines += ["", f"{counted(len(names), 'clip', 'are')} on no line, and left unchanged: {some(names, EXAMPLES)}"]
    if found.unmatched:
        lines += ["", f"{counted(len(found.unmatched), 'line', 'name')} no clip:"]
        lines += [f"  {one.line.where}: {one.line.says}: {one.why}" for one in found.unmatched[:EXAMPLES]]
        lines += _more(len(found.unmatched))
    return "\n".join(lines)


def _changes(found: Relabelling, column: str) -> list[str]:
    changes = [change for change in found.changes if change.column == column]
    if not changes:
        return [f"{column}: nothing changes"]
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(found.kinds(column).items()))
    lines = [f"{column}: {kinds}"]
    lines += [f"  {one.id}: {_shown(one.before)} → {_shown(one.after)}" for one in changes[:EXAMPLES]]
    lines += _more(len(changes))
    counts = found.counts(column)
    if len(counts) > SHORT:
        before, after = (sum(bool(pair[side]) for pair in counts.values()) for side in (0, 1))
        return [*lines, f"  {before} values before, {after} after"]
    width = max(len(_shown(value)) for value in counts)
    rows = [(_shown(value), str(before), str(after)) for value, (before, after) in counts.items()]
    return [*lines, *(f"  {name:<{width}}  {before:>7} → {after:>7}" for name, before, after in rows)]


def _shown(value: Any) -> str:
    return "(none)" if value in (None, "", -1) else str(value)


def _more(total: int) -> list[str]:
    return [f"  … and {total - EXAMPLES} more"] if total > EXAMPLES else []
