"""`ClipSink`: where the clips of new videos go; a cache's writer is one, and whatever else does this is another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from ..cache import Clip, Failure
from ..cache.schema import FeatureSpec


class ClipSink(Protocol):
    """Takes clips one after the other, in the order of the inputs; all calls during a run come from one thread."""

    @property
    def features(self) -> Mapping[str, FeatureSpec]:
        """The arrays that each clip is to have."""
        ...

    def __contains__(self, clip_id: str) -> bool:
        """Return whether it has a clip, from an earlier run."""
        ...

    def add(self, clip: Clip, *, replacing: bool) -> None:
        """Take a clip; with `replacing` in the place of the one of that id."""
        ...

    def remove(self, clip_ids: Sequence[str]) -> None:
        """Remove clips that it has."""
        ...

    def fail(self, failure: Failure) -> None:
        """Record an input that gave no clip."""
        ...

    def forget(self, clip_id: str) -> None:
        """Remove the record of a failure, if there is one."""
        ...

    def commit_if_due(self) -> None:
        """Make durable what was taken, if it is time; called often."""
        ...
