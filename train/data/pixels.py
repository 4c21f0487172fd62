"""Pictures of faces for a backbone that learns: the cache's JPEG crops, or crops cut once more from the sources.

Either are the pictures that the cached features were made of. Threads decode them; a picture that is mirrored, moved, scaled or lit is so
by one map and one table of brightness, on its bytes. The output depends only on the request, for any number of threads.

Legend: K rows asked for, U different pictures, B clips of a batch, n snippets, J frames of a snippet, S side, T rows of all clips.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from threading import Lock
from typing import Literal, Protocol

import cv2
import numpy as np
import torch
from torch import Tensor

from ...cache import Cache
from ...cache.recipe import IMPORTED
from ...cache.schema import NO_FACE
from ...crops.jpeg import decode_crop
from ...crops.views import View, show
from ...encoders.backbone import Backbone
from ...encoders.device import num_cores
from ...encoders.taps import MAPS
from ...errors import CacheDamaged, CacheError, EstError, UsageError, quoted, some
from ...extract.workers.recrop import Stored, cut_again, source_change
from ...extract.workers.task import StageError
from ..config.finetune import Learns, Source
from ..models.batch_frames import BatchFrames
from .feature_arrays import mirrored_name
from .memory import free_memory
from .prefetch import DEPTH, BatchRequest, Prefetcher
from .rows import SHARE, ClipRows, Rows, room

PIECE = 16  # stored crops that a thread decodes at a time
NEAR = 4  # rows: to read the crops between takes less time than to read twice
KEPT_BYTES = 2**30  # of crops that were cut, so that a clip of a small set is decoded once
KEPT_AT_LEAST = 8  # clips that fit into it; longer ones are not kept
SHOWN = 5  # clips that a message names
AS_IT_IS = np.array([0.0, 0.0, 1.0, 1.0])  # a look: moved by x, by y (in sides), scaled, lit
KEEP_CROPS = "est extract … --crops into a new cache"


class Crops(Protocol):
    """Where pictures come from."""

    def jobs(self, rows: np.ndarray) -> list[slice]:
        """Cut ascending rows into what one thread brings."""
        ...

    def bring(self, rows: np.ndarray) -> Iterator[np.ndarray]:
        """Yield the BGR pictures of one job's rows, black where there is no face.  # (K,) → K × (S, S, 3)"""
        ...


class StoredCrops:
    """The JPEG crops of a cache."""

    def __init__(self, clips: ClipRows) -> None:
        expect_crops(clips.cache)
        self._clips = clips
        self._side = clips.cache.recipes.frames.size

    def jobs(self, rows: np.ndarray) -> list[slice]:
        return [slice(begin, begin + PIECE) for begin in range(0, len(rows), PIECE)]

    def bring(self, rows: np.ndarray) -> Iterator[np.ndarray]:
        shape = (self._side, self._side, 3)
        for row, data in self._read(self._clips.locate(rows)[1]):
            try:
                picture = decode_crop(data) if len(data) else np.zeros(shape, np.uint8)
            except CacheDamaged as error:
                raise self._damaged(row, error.message) from error
            if picture.shape != shape:
                raise self._damaged(row, f"It is {picture.shape[1]}×{picture.shape[0]}, and not {shape[1]}×{shape[0]}.")
            yield picture

    def _read(self, rows: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """Yield rows of the cache with their JPEGs; those that are near each other are read together, with what lies between."""
        for near in np.split(rows, np.flatnonzero(np.diff(rows) > NEAR) + 1):
            start, stop = int(near[0]), int(near[-1]) + 1
            data, offsets = self._clips.cache.crop_rows(start, stop)
            ends = offsets[1:] - offsets[0]
            begins = offsets[:-1] - offsets[0]
            for row in near.tolist():
                yield row, data[begins[row - start] : ends[row - start]]

    def _damaged(self, row: int, message: str) -> CacheDamaged:
        cache = self._clips.cache
        place, frame = self._clips.frame_of(row)
        return CacheDamaged(
            f"{cache.path}: the crop of clip {cache.ids[place]!r}, frame {frame}, does not match its checksum. {message}",
            remedy=f"est cache verify {quoted(cache.path)}",
        )


class CutCrops:
    """Crops that are cut from the sources again, along the boxes in the cache; those of the last clips are kept."""

    def __init__(self, clips: ClipRows, *, max_bytes: int = KEPT_BYTES) -> None:
        self._clips = clips
        self._side = clips.cache.recipes.frames.size
        self._stored = Stored(clips.cache)
        self._max_bytes = min(max_bytes, int(SHARE * free_memory(torch.device("cpu"))))
        self._kept: OrderedDict[int, np.ndarray] = OrderedDict()  # clip → its crops, the last used behind
        self._kept_bytes = 0
        self._lock = Lock()
        expect_sources(clips.cache, [clips.frame_of(first)[0] for first in clips.start.tolist()])

    def jobs(self, rows: np.ndarray) -> list[slice]:
        breaks = [0, *(np.flatnonzero(np.diff(self._clips.locate(rows)[0])) + 1).tolist(), len(rows)]
        return [slice(begin, end) for begin, end in pairwise(breaks)]

    def bring(self, rows: np.ndarray) -> Iterator[np.ndarray]:
        clip = int(self._clips.locate(rows[:1])[0][0])
        frames = rows - self._clips.first[clip]
        with self._lock:
            kept = self._kept.get(clip)
            if kept is not None:
                self._kept.move_to_end(clip)
        if kept is None:
            # A long clip would be all that is kept, and as many are under way as there are threads.
            keeping = int(self._clips.count[clip]) * self._side**2 * 3 <= self._max_bytes // KEPT_AT_LEAST
            wanted = np.arange(self._clips.count[clip]) if keeping else frames
            found = self._cut(clip, wanted)
            if not keeping:
                return iter(found)
            kept = self._keep(clip, found)
        return iter(kept[frames])

    def _cut(self, clip: int, wanted: np.ndarray) -> np.ndarray:
        """Decode a clip's source and return the crops of some of its frames.  # (K,) → (K, S, S, 3)"""
        cache = self._clips.cache
        place, _ = self._clips.frame_of(int(self._clips.start[clip]))
        crops = np.zeros((len(wanted), self._side, self._side, 3), np.uint8)
        slot = {frame: number for number, frame in enumerate(wanted.tolist())}
        try:
            stored = self._stored.clip(cache.ids[place])
            if (stored.state != NO_FACE).any():
                for frame, crop in cut_again(self._stored, stored, Path(cache.clips.path[place])):
                    if frame in slot:
                        crops[slot[frame]] = crop
        except (StageError, EstError, OSError, cv2.error) as error:
            told = error.message if isinstance(error, EstError) else str(error)
            raise CacheError(
                f"The crops of clip {cache.ids[place]!r} of {cache.path} cannot be cut again: {told.rstrip('.')}.",
                remedy=(error.remedy if isinstance(error, EstError) else None)
                or f"restore its source; or {KEEP_CROPS}, which then needs no sources",
            ) from error
        return crops

    def _keep(self, clip: int, crops: np.ndarray) -> np.ndarray:
        """Keep a clip's crops, and drop those that were used longest ago."""
        with self._lock:
            if clip not in self._kept:
                self._kept[clip] = crops
                self._kept_bytes += crops.nbytes
            while self._kept_bytes > self._max_bytes:
                self._kept_bytes -= self._kept.popitem(last=False)[1].nbytes
        return crops


class PixelRows(Rows):
    """Pictures by the number of their row; those of mirrored crops have the numbers from T on."""

    on_device = False

    def __init__(
        self, clips: ClipRows, source: Literal["crops", "videos"], device: torch.device, *, workers: int = 0
    ) -> None:
        workers = workers or num_cores()
        self._num_rows, self._side = clips.num_rows, clips.cache.recipes.frames.size
        self._pictures: Crops = StoredCrops(clips) if source == "crops" else CutCrops(clips)
        self._device = device
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="est-pixels")
        self._ahead = Prefetcher(self._load)
        how = f"decoded by {workers} {'thread' if workers == 1 else 'threads'}, {DEPTH} batches ahead"
        self.line = {
            "crops": f"frames: JPEG crops of {clips.cache.path}, {how}",
            "videos": f"frames: crops of {len(clips.count)} clips, cut again from their sources, {how}; {KEEP_CROPS} once is faster",
        }[source]

    @property
    def waited(self) -> float:
        return self._ahead.waited

    def take(self, index: Tensor, augmentation: Tensor | None = None) -> BatchFrames:
        frames = self._ahead.take(index, augmentation)
        rows, place = (tensor.to(self._device, non_blocking=True) for tensor in (frames.rows, frames.place))
        return BatchFrames(rows=rows, place=place)

    def expect(self, batches: Iterable[BatchRequest]) -> None:
        self._ahead.expect(batches)

    def _load(self, index: Tensor, augmentation: Tensor | None) -> BatchFrames:
        """Load each different picture once: of a row, or of a row in a clip of the batch where each clip has its look."""
        numbers, each = index.cpu().numpy(), 2 * self._num_rows
        if augmentation is not None:
            numbers = numbers + each * np.arange(len(numbers)).reshape(-1, *[1] * (numbers.ndim - 1))
        keys, place = np.unique(numbers, return_inverse=True)
        clip, row = np.divmod(keys, each)
        mirrored, row = np.divmod(row, self._num_rows)
        augmentations = (
            np.broadcast_to(AS_IT_IS, (len(keys), 4))
            if augmentation is None
            else augmentation.cpu().double().numpy()[clip]
        )
        pictures = room(len(keys), self._side, self._side, 3, dtype=torch.uint8, device=self._device)
        out = pictures.numpy()
        rows, inverse = np.unique(row, return_inverse=True)
        shown = np.split(np.argsort(inverse, kind="stable"), np.cumsum(np.bincount(inverse))[:-1])

        def fill(job: slice) -> None:
            for places, picture in zip(shown[job], self._pictures.bring(rows[job]), strict=True):
                for u in places.tolist():
                    seen = augmented(picture, augmentations[u], mirrored=bool(mirrored[u]))
                    cv2.cvtColor(seen, cv2.COLOR_BGR2RGB, dst=out[u])

        for _ in self._pool.map(fill, self._pictures.jobs(rows)):
            pass
        return BatchFrames(rows=pictures, place=torch.from_numpy(place.reshape(index.shape)))


def augmented(picture: np.ndarray, augmentation: np.ndarray, *, mirrored: bool) -> np.ndarray:
    """Return a picture mirrored, scaled about its middle, moved and lit; its border is repeated outside.  # (S, S, 3), (4,) → (S, S, 3)"""
    right, down, zoom, gain = augmentation.tolist()
    return show(picture, View(right=right, down=down, zoom=zoom, gain=gain, mirrored=mirrored))


def expect_crops(cache: Cache) -> None:
    """Refuse a cache without crops."""
    if not cache.has_crops:
        slower = "; or --set finetune.source=videos, which is slower" if any(cache.clips.path) else ""
        raise UsageError(f"{cache.path} has no crops.", remedy=f"{KEEP_CROPS}{slower}")


def expect_sources(cache: Cache, places: Sequence[int]) -> None:
    """Refuse clips, by their places in a cache, whose sources are gone or not what they were, by size and time."""
    problems = []
    for place in places:
        row = cache.clips.row(place)
        problem = "its source is not known"
        if row["path"]:
            problem = source_change(Path(row["path"]), row["source_bytes"], row["source_mtime_ns"])
        if problem:
            problems.append(f"{row['id']}: {problem}")
    if problems:
        raise CacheError(
            f"The crops of {len(problems)} of {len(places)} clips of {cache.path} cannot be cut again. "
            f"{some(problems, SHOWN, joint='; ')}.",
            remedy=f"restore the sources; or {KEEP_CROPS}, which then needs no sources",
        )


def choose_source(
    cache: Cache,
    wanted: Source,
    learns: Learns,
    *,
    mirrored: bool = False,
    augments: bool = False,
) -> Literal["crops", "videos", "maps"]:
    """Decide what a backbone learns from: what is asked for, or what takes least time; refuse what the cache cannot give.

    `mirrored` and `augments` say that pictures will be mirrored, and moved, scaled or lit, which maps cannot be.
    """
    if cache.recipes.frames.decoder == IMPORTED:
        raise UsageError(
            f"{cache.path} holds imported features, and no images that an encoder could read.",
            remedy="leave --finetune out, or a model of features; est extract makes a cache of videos",
        )
    if cache.recipes.frames.flow and (mirrored or augments):
        raise UsageError(
            f"The pictures of {cache.path} are colours of flow: they cannot be mirrored, moved or lit as faces are.",
            remedy="--set data.mirrored=false without augmentation; or train on its features, gap_flip among them "
            "(est extract … --flip)",
        )
    has_maps = MAPS in cache.features and (not mirrored or mirrored_name(cache, MAPS) is not None)
    has_sources = any(cache.clips.path)
    if wanted == "auto":
        if learns == "layer4" and has_maps and not augments:
            return "maps"
        if not (cache.has_crops or has_sources):
            raise UsageError(
                f"{cache.path} has no crops and no record of the sources of its clips: a backbone has no images to read.",
                remedy=KEEP_CROPS,
            )
        return "crops" if cache.has_crops else "videos"
    if wanted == "crops":
        expect_crops(cache)
    if wanted == "videos" and not has_sources:
        raise UsageError(
            f"{cache.path} has no record of the sources of its clips.", remedy="--set finetune.source=auto"
        )
    if wanted == "maps":
        assert learns == "layer4", "the configuration refuses maps where the stages before them learn"
        if augments:
            raise UsageError(
                "Maps are of crops as they are: they cannot be moved, scaled or lit.",
                remedy="--set finetune.source=crops; or shift, zoom and brightness of 0",
            )
        recipes = cache.recipes.features
        others = {recipe.backbone for recipe in recipes.values()} - {Backbone.name}
        if not has_maps and others:
            raise UsageError(
                f"The features of {cache.path} were made by {', '.join(sorted(others))}, which has no maps.",
                remedy="--set finetune.source=auto",
            )
        if not has_maps:
            taps = [name for name, recipe in recipes.items() if not recipe.mirrored]
            flip = " --flip" if mirrored or len(taps) < len(recipes) else ""
            raise UsageError(
                f"{cache.path} has no maps of {MAPS}{' of mirrored crops' if MAPS in taps else ''}.",
                remedy=f"est extract … --features {','.join(dict.fromkeys([*taps, MAPS]))}{flip} adds them",
            )
    return wanted
