"""The groups of `est cache duplicates`, as JSON and as text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...cache.reading.duplicates import ClipList, Group
from .infopage import annotated


def duplicate_groups(clips: ClipList, groups: Sequence[Group]) -> list[dict[str, Any]]:
    """Return what `--json` says of each group."""
    return [
        {
            "kind": "same frames" if group.similarity is None else "near",
            **({} if group.similarity is None else {"similarity": round(group.similarity, 3)}),
            "contradicts": group.contradictions(clips),
            "clips": [clips.told(row) for row in group.rows],
        }
        for group in groups
    ]


def duplicates_page(groups: Sequence[dict[str, Any]], *, num_clips: int, num_caches: int, unknown: int) -> str:
    """Show groups one below the other, and count them."""
    lines = []
    for group in groups:
        alike = f"look alike ({group['similarity']:.2f})" if "similarity" in group else "show the same frames"
        against = f"; they contradict each other in {', '.join(group['contradicts'])}" if group["contradicts"] else ""
        lines.append(f"{len(group['clips'])} clips {alike}{against}")
        for clip in group["clips"]:
            where = f"\t{clip['cache']}" if num_caches > 1 else ""
            lines.append(f"  {annotated(clip)}\tframes {clip['first']}-{clip['stop'] - 1}{where}")
    of = f"{num_clips:,} clips" + (f" of {num_caches} caches" if num_caches > 1 else "")
    near = sum("similarity" in group for group in groups)
    doubtful = sum(bool(group["contradicts"]) for group in groups)
    parts = [f"{len(groups):,} {'group' if len(groups) == 1 else 'groups'} of duplicates among {of}"]
    parts += [f", {near:,} of them by features"] if near else []
    parts += [f"; {doubtful:,} with contradictions"] if doubtful else []
    lines.append("".join(parts) if groups else f"No duplicates among {of}.")
    if unknown:
        clips = (
            "1 clip has no digest of its source: whether it is"
            if unknown == 1
            else f"{unknown:,} clips have no digest of their source: whether they are"
        )
        lines.append(f"{clips} there twice is not known")
    return "\n".join(lines)
