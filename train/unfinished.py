"""Training on a cache whose extraction has not ended: it is said, with the number of inputs that are missing, and the run keeps it.

A cache records what its last extraction was to do. Caches of earlier code have no such record, and nothing is said of them unless they are
being written. A run goes on with the clips that it was begun on, whatever has been added since.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from ..cache import Cache
from ..cache.stores.lock import writer_of
from ..errors import UsageError, counted
from .results.run import Run


def notes_on_extraction(cache: Cache) -> list[str]:
    """Say whether a cache is being written, or was left before all inputs were extracted, and how many are missing."""
    is_written, found = writer_of(cache.path) is not None, cache.extraction
    if found is None or not found.left:
        return [f"{cache.path} is being written by another process: clips may be missing."] * is_written
    missing = f"{found.left} of {found.inputs} inputs are missing, and this learns from the {counted(len(cache), 'clip')} that are there"
    if is_written:
        return [
            f"{cache.path} is being extracted by another process: {missing}. A run that is begun now can be resumed on them later."
        ]
    return [
        f"The last extraction into {cache.path} did not come to its end: {missing}. The same est extract command extracts the others."
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
            state, remedy = "is not extracted to its end", "the same est extract command again extracts the others"
        otherwise = f"; if it is refused then, too: {error.remedy}" if error.remedy else ""
        raise UsageError(f"{error.message} {cache.path} {state}: {missing}.", remedy=f"{remedy}{otherwise}") from error


def clips_besides(run: Run, cache: Cache) -> str:
    """Say that a run goes on without clips that its cache has been given since; empty where there are none."""
    known = run.clips()
    since = sum(clip not in known for clip in cache.ids) if known else 0
    return (
        f"{cache.path} has {counted(since, 'clip')} more than when {run.path} was begun: it goes on without"
        if since
        else ""
    )
