"""Labelled single images: a list in memory, and their pictures, decoded ahead by threads.

Whatever a picture's size and colours are, the encoder sees a square of RGB: grey is repeated, another shape is stretched.

Legend: N images, C classes, B images of a batch, S side.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import torch
from torch import Tensor

from ..encoders.device import num_cores
from ..errors import UsageError, some
from ..inputs.stills.stills import Stills
from ..train.data.pixels import AS_IT_IS, augmented
from ..train.data.prefetch import DEPTH, BatchRequest, Prefetcher
from ..train.data.rows import room
from ..train.folds.annotations import Annotations
from ..train.folds.fold import Fold, splits_of
from ..train.models.batch_frames import BatchFrames
from .config import TuneConfig
from .samples import Samples


class StillPictures:
    """The pictures of images: number n as it is, N + n mirrored."""

    def __init__(self, stills: Stills, rows: np.ndarray, side: int, device: torch.device, *, workers: int) -> None:
        workers = workers or num_cores()
        self._stills, self._rows, self._side, self._device = stills, rows, side, device
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="est-stills")
        self._ahead = Prefetcher(self._load)
        self.line = f"images of {stills.root.name}, decoded by {workers} threads, {DEPTH} batches ahead"

    @property
    def waited(self) -> float:
        return self._ahead.waited

    def index(self, frames: np.ndarray, mirrored: np.ndarray | None = None) -> Tensor:
        numbers = frames if mirrored is None else frames + len(self._rows) * mirrored
        return torch.from_numpy(numbers)[:, None, None]

    def take(self, index: Tensor, augmentation: Tensor | None = None) -> BatchFrames:
        found = self._ahead.take(index, augmentation)
        rows, place = (tensor.to(self._device, non_blocking=True) for tensor in (found.rows, found.place))
        return BatchFrames(rows=rows, place=place)

    def expect(self, batches: Iterable[BatchRequest]) -> None:
        self._ahead.expect(batches)

    def _load(self, index: Tensor, augmentation: Tensor | None) -> BatchFrames:
        mirrored, number = np.divmod(index.flatten().numpy(), len(self._rows))
        augmentations = (
            np.broadcast_to(AS_IT_IS, (len(number), 4)) if augmentation is None else augmentation.double().numpy()
        )
        pictures = room(len(number), self._side, self._side, 3, dtype=torch.uint8, device=self._device)
        out = pictures.numpy()

        def fill(at: int) -> None:
            picture = self._stills.picture(int(self._rows[number[at]]), self._side)
            cv2.cvtColor(
                augmented(picture, augmentations[at], mirrored=bool(mirrored[at])), cv2.COLOR_BGR2RGB, dst=out[at]
            )

        for _ in self._pool.map(fill, range(len(number))):
            pass
        return BatchFrames(rows=pictures, place=torch.arange(len(number)).view(index.shape))


def still_samples(stills: Stills, rows: np.ndarray, config: TuneConfig, device: torch.device) -> Samples:
    """Make samples of some images."""
    target = stills.target[rows].astype(np.float32)
    return Samples(
        unit=np.arange(len(rows)),
        weight=np.ones(len(rows)),
        target=target,
        names=np.array(stills.names, str)[rows],
        labels=stills.labels,
        pictures=StillPictures(stills, rows, config.size, device, workers=config.workers),
        side=config.size,
        noun="images",
        facts={
            "from": f"images of {stills.root.name}",
            "dataset": stills.layout,
            "datasets": [stills.layout],
            "identity": f"{stills.layout}, {len(stills.names)} images, {stills.num_bytes} bytes",
            "labels": "soft: a share of each class" if stills.soft else "one class each",
            "licence": stills.licence,
        },
    )


def table_of(stills: Stills) -> Annotations:
    """Return images as a cache lists its clips."""
    codes = stills.target.argmax(1).tolist()
    return Annotations.from_columns(
        ids=list(stills.names),
        label=[stills.labels[code] for code in codes],
        labels=stills.labels,
        subject=stills.subject or None,
        split=stills.split or None,
        digest=stills.digests,
    )


def split_of(stills: Stills) -> Fold:
    """Divide by the splits that the images come with: test is left alone; all are learnt from where there are none."""
    rows = np.arange(len(stills.names))
    none = rows[:0]
    if not stills.split:
        return Fold(name="", train=rows, test=none)
    splits = splits_of(table_of(stills), rows)
    train = rows[splits == "train"]
    if not len(train):
        raise UsageError(
            f"No image of {stills.root} is in the split train; there are {some(np.unique(splits))}.",
            remedy="name the split of each image train, val or test; or leave the column out",
        )
    return Fold(name="", train=train, val=rows[splits == "val"], test=none)
