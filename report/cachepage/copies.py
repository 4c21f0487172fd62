"""Clips that are there twice, and clips that look alike and may be copies, for the page: those across splits, folds or people first."""

from __future__ import annotations

from dataclasses import dataclass

from ...cache.reading.duplicates import ClipList, find_duplicates
from ...cache.reading.near_duplicates import SIMILARITY, compare, feature_of, unknown_pairs, whiten
from ...cache.reading.reader import Cache
from ...cache.watch import Watch
from ...errors import UsageError, quoted

NEAR_CLIPS = 20_000  # up to which copies are looked for by features: the means of all pairs are compared
PAIRS = 5_000  # that are compared frame by frame: the most alike


@dataclass(frozen=True, kw_only=True)
class Copies:
    """Clips that show the same frames, or look alike, and the columns in which the cache contradicts itself about them."""

    clips: tuple[int, ...]  # their places
    similarity: float | None  # of features; None: frames and faces are known to be the same
    contradictions: tuple[str, ...]  # subject, label, split, fold

    @property
    def leak(self) -> bool:
        """Return whether a model may be tested on clips that it was trained on."""
        return bool({"split", "fold", "subject"} & set(self.contradictions))


def find_copies(cache: Cache, watch: Watch | None = None) -> tuple[list[Copies], str]:
    """Return the groups of copies, leaks first, and which copies were not looked for; empty where all were."""
    clips = ClipList.of([cache])
    groups, why = find_duplicates(clips), ""
    all_pairs = f"est cache duplicates {quoted(cache.path)} --near compares all."
    if len(cache) > NEAR_CLIPS:
        why = (
            f"Copies that were encoded again were not looked for: there are more than {NEAR_CLIPS:,} clips. {all_pairs}"
        )
    else:
        try:
            looks = whiten(clips, feature_of(clips), watch)
            pairs = unknown_pairs(looks, SIMILARITY, groups)
            groups = groups + compare(looks, pairs[:PAIRS], SIMILARITY, watch)
            if len(pairs) > PAIRS:
                why = f"Of {len(pairs):,} pairs with similar means the {PAIRS:,} most alike were compared frame by frame. {all_pairs}"
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
