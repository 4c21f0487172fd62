"""Clips are read before anything is made: where none fits, an option is missing or wrong, and a cache would keep it as its recipe."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence

from ...errors import EstError, SourceError, UsageError, grouped
from .frames import ClipRows
from .plan import ImportPlan, Wanted

ReadClips = Callable[[ImportPlan, Sequence[Wanted]], Iterator[tuple[Wanted, Callable[[], ClipRows]]]]


def expect_one_that_fits(plan: ImportPlan, read_clips: ReadClips) -> None:
    """Refuse an import of which every clip would fail; no more is read than the clips before the first that fits."""
    failed: list[tuple[str, Exception]] = []
    for clip, read in read_clips(plan, plan.clips):
        try:
            read()
        except (SourceError, OSError) as error:
            failed.append((clip.id, error))
        else:
            return
    causes = [(name, said(error)) for name, error in failed] + [(one.id, one.error) for one in plan.problems]
    raise UsageError(
        f"No clip of {len(causes)} can be imported: {grouped(causes)}. Nothing was written.",
        remedy=common_remedy([error for _, error in failed]),
    )


def common_remedy(errors: Iterable[Exception]) -> str | None:
    """Return the remedy that is given for most of the errors."""
    remedies = Counter(error.remedy for error in errors if isinstance(error, EstError) and error.remedy)
    return remedies.most_common(1)[0][0] if remedies else None


def told(error: Exception) -> str:
    """Return why a clip failed, and how to fix it: options that change its rows need another cache."""
    remedy = error.remedy if isinstance(error, EstError) else None
    return said(error) + (f" (try: {remedy}; with another --out)" if remedy else "")


def said(error: Exception) -> str:
    """Return why a clip failed."""
    return error.message if isinstance(error, EstError) else str(error)
