"""What inputs tell of clips and failures that a cache has already: what is told is brought up to date, all else stays as it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeVar

from ..cache import CacheWriter
from ..cache.clip import Failure
from ..cache.schema import EXTRA, MOMENTS, NO_LABEL
from ..inputs.input import ANNOTATIONS, UNTOLD, Input
from .clip_pipeline import clips_of

Found = TypeVar("Found", Input, Failure)


def relabel(inputs: Sequence[Input | Failure], writer: CacheWriter) -> tuple[list[str], list[str]]:
    """Bring what is told of clips and failures that are there up to date; return what changed, and clips that end before a moment."""
    said, misplaced = [], []
    for source in inputs:
        clips = clips_of(source.id, writer)
        more = source.told if isinstance(source, Input) and writer.manifest.version > 1 else {}
        for clip_id in clips or ([source.id] if writer.failure(source.id) else []):
            late = [n for n in MOMENTS if clips and more.get(n, -1) >= writer.num_frames(clip_id)]
            known = {name: value for name, value in more.items() if clips and name not in late}
            misplaced += [clip_id] if late else []
            said += [f"{clip_id}: {change}" for change in writer.update(clip_id, **told(source), **known)]
    return said, misplaced


def told(source: Input | Failure) -> dict[str, Any]:
    """Return label, subject, split and fold, as far as they are told."""
    found = {name: getattr(source, name) for name in ANNOTATIONS}
    return {name: value for name, value in found.items() if value != UNTOLD[name]}


def completed(source: Found, writer: CacheWriter) -> Found:
    """Return what is to be extracted again, or has failed, with what the cache says of it where the source tells nothing.

    Moments are not taken over: they are frames of the file as it was.
    """
    clips, failure = clips_of(source.id, writer), writer.failure(source.id)
    if clips:
        known = {name: writer.cell(clips[0], name) for name in ANNOTATIONS}
        code = int(known["label"])
        known |= {"label": None if code == NO_LABEL else writer.manifest.labels[code], "fold": int(known["fold"])}
    elif failure is not None:
        known = {name: getattr(failure, name) for name in ANNOTATIONS}
    else:
        return source
    changes = known | told(source)
    if clips and isinstance(source, Input):
        extra = {name: writer.cell(clips[0], EXTRA + name) for name in writer.manifest.schema.extra}
        changes["extra"] = extra | dict(source.extra)
    return replace(source, **changes)
