"""Clips that are there twice, or look so, for the page: those across splits, folds or people first."""

from __future__ import annotations

from dataclasses import dataclass

from ...cache.duplicates import ClipList, find_duplicates
from ...cache.near_duplicates import find_near_duplicates
from ...cache.reader import Cache
from ...cache.watch import Watch
from ...errors import UsageError

NEAR_CLIPS = 20_000  # up to which copies are looked for by features: all pairs are compared


@dataclass(frozen=True, kw_only=True)
class Copies:
    """Clips that show the same, and what the cache tells differently of them."""

    clips: tuple[int, ...]  # their places
    similarity: float | None  # None: frames and faces are known to be the same
    contradictions: tuple[str, ...]  # subject, label, split, fold

    @property
    def leak(self) -> bool:
        """Say whether a model may be tested on what it has learnt from."""
        return bool({"split", "fold", "subject"} & set(self.contradictions))


def find_copies(cache: Cache, watch: Watch | None = None) -> tuple[list[Copies], str]:
    """Return the groups of copies, leaks first, and why copies that were encoded again were not looked for; empty where they were."""
    clips = ClipList.of([cache])
    groups, why = find_duplicates(clips), ""
    if len(cache) > NEAR_CLIPS:
        why = (
            f"Copies that were encoded again were not looked for: the cache has more than {NEAR_CLIPS:,} clips. "
            f"est cache duplicates {cache.path} --near does."
        )
    else:
        try:
            groups = groups + find_near_duplicates(clips, known=groups, watch=watch)
        except UsageError as error:
            why = f"Copies that were encoded again were not looked for: {error}"
    found = [
        Copies(
            clips=tuple(int(clips.place[row]) for row in group.rows),
            similarity=group.similarity,
            contradictions=tuple(group.contradictions(clips)),
        )
        for group in groups
    ]
    return sorted(found, key=lambda one: (not one.leak, one.similarity is not None, one.clips)), why
