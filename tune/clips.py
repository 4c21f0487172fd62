"""Frames of a cache's clips as samples: those that show a face, each with its clip's label.

Where the expression of a clip is strongest is known of some data sets: sequences of CK+ end there, those of MMI and BU-4DFE have it in the
middle. Elsewhere all frames count alike, unless the user knows better.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import get_args

import numpy as np
import torch
from torch import Tensor

from ..cache import Cache
from ..cache.reading.datasets import datasets_of
from ..cache.schema import NO_FACE
from ..errors import UsageError, some
from ..train.data.clipset import ClipSet
from ..train.data.data import locate_rows
from ..train.data.pixels import choose_source
from ..train.data.prefetch import BatchRequest
from ..train.folds.annotations import Annotations
from ..train.folds.fold import relabel
from ..train.models.batch_frames import BatchFrames
from .config import Apex, TuneConfig
from .samples import Samples

APEX_OF: dict[str, Apex] = {"ck+": "end", "mmi": "middle", "bu4dfe": "middle"}  # by the name of an adapter
PEAKS = {"middle": 0.5, "late": 0.7, "end": 1.0}  # where in a clip, from 0 to 1
WIDTH = 0.2  # of the bell around it, one standard deviation
FAINTEST = 1e-3  # a weight that is nothing beside others, and something alone


class ClipPictures:
    """The pictures of frames, by the loader of fine-tuning."""

    def __init__(self, clips: ClipSet, unit: np.ndarray, position: np.ndarray) -> None:
        self._clips, self._unit, self._position = clips, torch.from_numpy(unit), torch.from_numpy(position)
        self.line = clips.residency

    @property
    def waited(self) -> float:
        return self._clips.waited

    def index(self, frames: np.ndarray, mirrored: np.ndarray | None = None) -> Tensor:
        which = torch.from_numpy(frames)
        array = None if mirrored is None else torch.from_numpy(mirrored).long()  # the second shows mirrored crops
        return self._clips.index(self._unit[which], self._position[which][:, None, None], array=array)

    def take(self, index: Tensor, augmentation: Tensor | None = None) -> BatchFrames:
        found = self._clips.take(index, augmentation)
        assert isinstance(found, BatchFrames), "a set for tuning gives frames"
        return found

    def expect(self, batches: Iterable[BatchRequest]) -> None:
        self._clips.expect(batches)


def clip_samples(
    cache: Cache, table: Annotations, rows: np.ndarray, config: TuneConfig, device: torch.device
) -> tuple[Samples, np.ndarray]:
    """Make samples of labelled rows; return them, and the unit of each row of the table, −1 where no frame shows a face."""
    which, place = locate_rows(table, rows)
    source = choose_source(cache, "auto", "all", mirrored=config.mirrored, augments=config.augments)
    positions = face_positions(cache, which)
    shown = np.array([len(found) > 0 for found in positions], bool)
    if not shown.any():
        raise UsageError(
            f"None of {len(rows)} clips of {cache.path} shows a face: there is nothing to learn from.",
            remedy="est extract … with another --detector",
        )
    unit_of = np.full(len(table), -1)
    seen = rows[place[rows] >= 0]
    kept = seen[shown[place[seen]]]
    unit_of[kept] = np.arange(len(kept))
    places = table.place[kept]
    positions = [positions[place[row]] for row in kept.tolist()]
    unit = np.repeat(np.arange(len(kept)), [len(found) for found in positions])
    position = np.concatenate(positions)
    apex = find_apex(cache, config.apex)
    names = sorted({table.labels[code] for code in table.label[kept].tolist()})
    target = np.zeros((len(kept), len(names)), np.float32)
    target[np.arange(len(kept)), [names.index(table.labels[code]) for code in table.label[kept].tolist()]] = 1
    clips = ClipSet.for_tuning(
        cache, places, source, device, mirrored=config.mirrored, no_face="keep", workers=config.workers
    )
    samples = Samples(
        unit=unit,
        weight=weigh(position, np.asarray(cache.clips.count)[places][unit], apex),
        target=target,
        names=table.ids[kept],
        labels=tuple(names),
        pictures=ClipPictures(clips, unit, position),
        side=cache.recipes.frames.size,
        noun="clips",
        facts={
            "from": f"{source} of {cache.path.name}",
            "dataset": dataset_of(cache),
            "datasets": datasets_of(cache),
            "identity": f"frames {cache.recipes.frames.fingerprint[:8]}",
            "labels": "of the clips, each frame with its clip's",
            "apex": apex,
            "licence": "",
        },
    )
    return samples, unit_of


def face_positions(cache: Cache, places: np.ndarray) -> list[np.ndarray]:
    """Return which frames of clips show a face, by the clips' places in the cache."""
    face = cache.load_column("state") != NO_FACE
    starts, counts = (np.asarray(column)[places].tolist() for column in (cache.clips.start, cache.clips.count))
    return [np.flatnonzero(face[start : start + count]) for start, count in zip(starts, counts, strict=True)]


def find_apex(cache: Cache, wanted: Apex) -> Apex:
    """Return where clips have their apex: as asked, else by the name of the data set."""
    assert wanted in get_args(Apex)
    return APEX_OF.get(dataset_of(cache), "uniform") if wanted == "auto" else wanted


def dataset_of(cache: Cache) -> str:
    """Name the data set that a cache is of; empty if not known."""
    return cache.environment.get("dataset", {}).get("name", "")


def weigh(position: np.ndarray, count: np.ndarray, apex: Apex) -> np.ndarray:
    """Weigh frames by where they stand in clips of so many frames.  # (F,), (F,) → (F,)"""
    if apex == "uniform":
        return np.ones(len(position))
    part = position / np.maximum(count - 1, 1)
    return np.maximum(np.exp(-0.5 * ((part - PEAKS[apex]) / WIDTH) ** 2), FAINTEST)


def expect_labels(table: Annotations, rows: np.ndarray) -> None:
    """Refuse clips without a label."""
    lacking = rows[table.label[rows] < 0]
    if len(lacking):
        raise UsageError(
            f"{len(lacking)} of {len(rows)} clips to learn from have no label: {some(table.ids[lacking])}.",
            remedy=f"{relabel('label')}: nothing is extracted again",
        )
