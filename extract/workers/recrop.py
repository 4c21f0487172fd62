"""A clip of a cache once more: the same crops, for a feature that is computed later.

Where the cache keeps its crops they are read. Elsewhere the source is decoded again and cut along the boxes that are stored: nothing is
detected, and the pixels are those of the first time, because boxes are stored as they were used. That it is the same source, decoded in
the same way, is made sure of: its size and time of change, the size of its frames, their number, and when each is shown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from ...cache import Cache, FramesRecipe, checksum, open_cache
from ...cache.reading.reader import ClipFrames
from ...cache.remote.address import repair_of
from ...cache.schema import CHECKSUMS, NO_FACE
from ...cache.sources import source_of
from ...crops.crop import crop_face
from ...crops.jpeg import decode_crop, encode_crop
from ...crops.views import draw_view, show
from ...errors import CacheDamaged
from ..config import ExtractConfig
from ..flow.pictures import PLAIN, FlowPictures, Wanted
from ..video.source import open_source
from .flow_again import fields_again
from .messages import Found, Recrop, Recropped
from .task import Line, StageError, Task, Timed

JPEG = "jpeg "  # before the quality, in the recipe of crops
CHECKED = ("state", "box", "landmarks")  # what crops are cut along


class RecropTask(Task):
    """One clip of a cache, on its way to its crops."""

    def __init__(self, line: Line, config: ExtractConfig, crop_batch: int, job: Recrop) -> None:
        super().__init__(line, config, crop_batch, job.index)
        self._job = job

    def _finish(self) -> Recropped:
        stored = open_stored(self._job.cache)
        clip = stored.clip(self._job.clip.id)
        if stored.cache.recipes.frames.flow:
            return self._flow(stored, clip)
        if (clip.state != NO_FACE).any():
            again = cut_again(stored, clip, self._job.clip.path, timed=self._timed, clock=self._clock)
            views = {number: draw_view(self._job.clip.id, number, self._job.view_config) for number in self._job.views}
            for frame, crop in self._read(stored, clip) if stored.cache.has_crops else again:
                for number, view in views.items():
                    with self._clock("crop"):
                        seen = show(crop, view)
                    self._add_crop(number, frame, seen)
            self._send_rest()
        return Recropped(index=self._index, state=clip.state, seconds=self._seconds)

    def _flow(self, stored: Stored, clip: ClipFrames) -> Recropped:
        """Bring pictures of flow: plain ones as they are stored, all else from the source."""
        wanted = self._job.flow
        if stored.cache.has_crops and PLAIN in wanted.tracks:
            for number, picture in self._read(stored, clip):
                self._add_crop(PLAIN, number, picture)
            wanted = replace(wanted, tracks=tuple(track for track in wanted.tracks if track != PLAIN))
        recipe, made = stored.cache.recipes.frames, {}
        if wanted.tracks or wanted.fields:
            pictures = FlowPictures(recipe.size, self._add_crop, replace(wanted, quality=quality_of(recipe)))
            row = stored.cache.clips.row(clip.index)
            expect_source(row, self._job.clip.path)
            for moved in fields_again(clip, row, recipe, self._job.clip.path, timed=self._timed):
                with self._clock("crop"):
                    pictures.add(moved)
            made = pictures.features
        self._send_rest()
        return Recropped(index=self._index, state=clip.state, features=made, seconds=self._seconds)

    def _read(self, stored: Stored, clip: ClipFrames) -> Iterator[tuple[int, np.ndarray]]:
        """Yield the stored crops with the numbers of their frames."""
        for number, jpeg in enumerate(stored.crops(clip)):
            if len(jpeg):
                with self._clock("crop"):
                    crop = decode_crop(jpeg)
                yield number, crop

    def _know(self, found: Found) -> None:
        raise AssertionError("no faces are detected")


class Stored:
    """The cache as a worker reads it: what is damaged is not used."""

    def __init__(self, cache: Cache) -> None:
        self.cache = cache
        columns = cache.schema.clip_columns()
        names = [*CHECKED, *(["crops"] if cache.has_crops else [])]
        self._checksums = {name: np.asarray(cache.snapshot.column(columns[CHECKSUMS + name])) for name in names}

    def clip(self, clip_id: str) -> ClipFrames:
        """Read where a clip's faces are."""
        clip = self.cache.clip(clip_id, features=[])
        for name in CHECKED:
            self._expect(clip, name, checksum.of_rows(getattr(clip, name)))
        return clip

    def crops(self, clip: ClipFrames) -> list[np.ndarray]:
        """Read a clip's crops, as JPEG; empty where there is no face."""
        start = int(self.cache.clips.start[clip.index])
        data, offsets = self.cache.crop_rows(start, start + len(clip.state))
        self._expect(clip, "crops", checksum.of_crops(data, offsets))
        return [data[a:b] for a, b in pairwise((offsets - offsets[0]).tolist())]

    def _expect(self, clip: ClipFrames, name: str, found: int) -> None:
        if found != int(self._checksums[name][self.cache.clips.rows[clip.index]]):
            raise CacheDamaged(
                f"its {name} in the cache do not match their checksum",
                remedy=repair_of(self.cache.path),
            )


def cut_again(
    stored: Stored,
    clip: ClipFrames,
    path: Path,
    *,
    timed: Timed = iter,
    clock: Callable[[str], AbstractContextManager[None]] = nullcontext,
) -> Iterator[tuple[int, np.ndarray]]:
    """Decode a clip's source and yield its crops with the numbers of their frames, as the backbone has seen them.

    `path` is where the source lies now; `timed` and `clock` measure decoding and cutting.
    """
    row, recipe = stored.cache.clips.row(clip.index), stored.cache.recipes.frames
    if recipe.flow:
        expect_source(row, path)
        waiting: list[np.ndarray] = []
        pictures = FlowPictures(
            recipe.size, lambda _, __, picture: waiting.append(picture), Wanted(quality=quality_of(recipe))
        )
        for number, moved in enumerate(fields_again(clip, row, recipe, path, timed=timed)):
            with clock("crop"):
                pictures.add(moved)
            yield number, waiting.pop()
        return
    decoder = row.get("decoder")
    cropping: dict[str, Any] = {"align": recipe.align, "margin": recipe.margin, "size": recipe.size}
    seen = 0
    with open_source(
        path,
        "frames" if path.is_dir() else "video",
        decoder=decoder
        if decoder in ("opencv", "pyav")
        else recipe.decoder,  # earlier caches do not say which of `auto` it was
        # From the clip's first frame on, whatever segment of the file it is; a file's own start is no segment.
        start=max(0.0, float(clip.time[0])),
        sizes_may_differ=recipe.detector == "none",
    ) as video:
        if (found := video.info.size) != (was := tuple(row["size"])):
            raise StageError("decode", f"its frames are {found[0]}×{found[1]} now, and were {was[0]}×{was[1]}")
        if (found := video.info.first_frame) != (was := row["first_frame"]):
            raise StageError("decode", f"it begins with frame {found} of its source now, and began with {was}")
        is_whole = video.info.declared == row["declared"]
        for frame, moment in timed(video.frames()):
            if seen == len(clip.time):
                if is_whole:
                    raise StageError("decode", f"it has more frames now than the {seen} that it had")
                break  # the end of a segment, or of what a file without a count had
            if moment != clip.time[seen]:
                was = clip.time[seen]
                raise StageError("decode", f"its frame {seen} is shown at {moment:.6f} s now, and was at {was:.6f}")
            if clip.state[seen]:
                with clock("crop"):
                    crop = crop_face(frame, clip.box[seen], clip.landmarks[seen], **cropping)[0]
                    if recipe.crops:  # they were kept once
                        crop = decode_crop(encode_crop(crop, quality_of(recipe)))
                yield seen, crop
            seen += 1
    if seen < len(clip.time):
        raise StageError("decode", f"it has {seen} frames now, and had {len(clip.time)}")
    expect_source(row, path)


def expect_source(row: Mapping[str, Any], path: Path) -> None:
    """Refuse a source that is not the one that a clip was made of, by size and time."""
    if problem := source_change(path, row["source_bytes"], row["source_mtime_ns"]):
        raise StageError("decode", problem)


def quality_of(recipe: FramesRecipe) -> int:
    """Return the quality of the JPEG that crops have passed through; 0: none."""
    return int(recipe.crops.removeprefix(JPEG)) if recipe.crops else 0


@lru_cache(maxsize=1)
def open_stored(path: Path) -> Stored:
    """Open the cache once a process."""
    return Stored(open_cache(path))


def source_change(path: Path, num_bytes: int, mtime_ns: int) -> str | None:
    """Return how a source differs from the one that a clip was made of, by size and time; None when it does not."""
    try:
        found = source_of(path, digest=False)
    except OSError as error:
        return f"its source {path} cannot be read ({error.strerror})"
    if found.num_bytes != num_bytes:
        return f"its source {path} has {found.num_bytes:,} bytes, and had {num_bytes:,}"
    if found.mtime_ns != mtime_ns:
        return f"its source {path} has been changed since"
    return None
