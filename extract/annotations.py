"""New annotations of clips and failures that a cache has already: given values are updated, all others stay."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from ..cache import CacheWriter
from ..cache.clip import Failure
from ..cache.schema import EXTRA, MOMENTS, NO_LABEL
from ..cache.writing.table import same_cell
from ..inputs.input import ANNOTATIONS, UNTOLD, Input
from .clip_pipeline import clips_of
from .faces.track_config import gives_parts
from .modality import Modality

Found = TypeVar("Found", Input, Failure)


def relabel(inputs: Sequence[Input | Failure], writer: CacheWriter, modality: Modality) -> tuple[list[str], list[str]]:
    """Update the annotations of existing clips and failures; return what changed, and clips that end before a moment."""
    said, misplaced = [], []
    parts = gives_parts(writer.manifest.recipes.frames.tracking)
    for source in inputs:
        clips = clips_of(source.id, writer)
        more = modality.told(source) if isinstance(source, Input) and writer.manifest.version > 1 else {}
        if parts and clips != [source.id]:  # moments are frames of the source, and a part of it begins elsewhere
            more = {name: value for name, value in more.items() if name not in MOMENTS}
        for clip_id in clips or ([source.id] if writer.failure(source.id) else []):
            late = [n for n in MOMENTS if clips and more.get(n, -1) >= writer.num_frames(clip_id)]
            held = more if clips else {EXTRA + name for name in writer.manifest.schema.failure_extra}
            known = {name: value for name, value in more.items() if name in held and name not in late}
            misplaced += [clip_id] if late else []
            said += [f"{clip_id}: {change}" for change in writer.update(clip_id, **told(source), **known)]
    return said, misplaced


def told(source: Input | Failure) -> dict[str, Any]:
    """Return label, subject, split and fold, as far as they are given."""
    found = {name: getattr(source, name) for name in ANNOTATIONS}
    return {name: value for name, value in found.items() if value != UNTOLD[name]}


def completed(source: Found, writer: CacheWriter) -> Found:
    """Return what is to be extracted again, or has failed, with what the cache says of it where the source tells nothing.

    Of an input that gave several faces that is what is said of all of them: which face is whose may change with the file. Moments are not
    taken over: they are frames of the file as it was.
    """
    clips, failure = clips_of(source.id, writer), writer.failure(source.id)
    if clips:
        known = _of_all(clips, ANNOTATIONS, writer)
        if (code := int(known.get("label", NO_LABEL))) == NO_LABEL:
            known.pop("label", None)
        else:
            known["label"] = writer.manifest.labels[code]
        if "fold" in known:
            known["fold"] = int(known["fold"])
    elif failure is not None:
        known = {name: getattr(failure, name) for name in ANNOTATIONS}
        known["extra"] = dict(failure.extra) | dict(source.extra)
    else:
        return source
    changes = known | told(source)
    if clips and isinstance(source, Input):
        columns = {EXTRA + name: name for name in writer.manifest.schema.extra}
        extra = {columns[name]: value for name, value in _of_all(clips, columns, writer).items()}
        changes["extra"] = extra | dict(source.extra)
    return replace(source, **changes)


def recorded(failure: Failure, writer: CacheWriter) -> Failure:
    """Return a failure with those of its cells that the table of failures has a column for."""
    names = writer.manifest.schema.failure_extra
    return replace(failure, extra={name: value for name, value in failure.extra.items() if name in names and value})


def _of_all(clips: Sequence[str], names: Iterable[str], writer: CacheWriter) -> dict[str, Any]:
    """Return the cells that all clips have alike."""
    cells = {name: [writer.cell(clip, name) for clip in clips] for name in names}
    return {name: found[0] for name, found in cells.items() if all(same_cell(found[0], other) for other in found[1:])}
