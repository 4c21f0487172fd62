"""Training on a cache whose extraction has not ended: it is said, with the number of inputs that are missing, and the run keeps it.

A cache records what its last extraction was to do. Caches of earlier code have no such record, and nothing is said of them unless they are
being written. A run resumes with the clips that it was started on, whatever has been added since.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from ..cache import Cache
from ..cache.stores.lock import writer_of
from ..errors import UsageError, counted
from .runs.run import Run


def notes_on_extraction(cache: Cache) -> list[str]:
    """Return whether a cache is being written, or was left before all inputs were extracted, and how many are missing."""
    is_written, found = writer_of(cache.path) is not None, cache.extraction
    if found is None or not found.left:
        return [f"{cache.path} is being written by another process: clips may be missing."] * is_written
    missing = (
        f"{found.left} of {found.inputs} inputs are missing, and this learns from the "
        f"{counted(len(cache), 'clip')} that are there"
    )
    if is_written:
        return [
            f"{cache.path} is being extracted by another process: {missing}. A run that is started now can be "
            f"resumed later on the same clips."
        ]
    return [
        f"The last extraction into {cache.path} is incomplete: {missing}. The same est extract command extracts the others."
    ]


@contextmanager
def missing_clips_named(cache: Cache) -> Generator[None]:
    """Say of a refusal that clips are missing, where they are: those of one class often come first, so that labels seem to be at fault."""
    try:
        yield
    except UsageError as error:
        found = cache.extraction
        if found is None or not found.left:
            raise
        missing = f"{found.left} of {found.inputs} inputs are missing"
        if writer_of(cache.path) is not None:
            state, remedy = "is being extracted by another process", "wait until the extraction has ended"
        else:
            state, remedy = "is not completely extracted", "the same est extract command again extracts the others"
        otherwise = f"; if it is then still refused: {error.remedy}" if error.remedy else ""
        raise UsageError(f"{error.message} {cache.path} {state}: {missing}.", remedy=f"{remedy}{otherwise}") from error


def clips_besides(run: Run, cache: Cache) -> str:
    """Return a message that a run resumes without the clips that its cache got since; empty if there are none."""
    known = run.clips()
    since = sum(clip not in known for clip in cache.ids) if known else 0
    return (
        f"{cache.path} has {counted(since, 'clip')} more than when {run.path} was started: it resumes without them"
        if since
        else ""
    )
