"""Labelled single images: a list in memory, and their pictures, decoded ahead by threads.

Whatever a picture's size and colours are, the encoder sees a square of RGB: grey is repeated, another shape is stretched.

Legend: N images, C classes, B images of a batch, S side.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from ..cache import checksum
from ..encoders.device import num_cores
from ..errors import SourceError, UsageError
from ..train.data.frames import Asked, Frames
from ..train.data.pixels import AS_IT_IS, look_at
from ..train.data.prefetch import DEPTH, Ahead
from ..train.data.rows import room
from ..train.folds.annotations import Annotations
from ..train.folds.fold import Fold, some, splits_of
from .config import TuneConfig
from .samples import Samples

HASHED_BYTES = 2**30  # of files whose content is looked at for the record


@dataclass(frozen=True, kw_only=True, eq=False)
class Stills:
    """Images, each with a share of every class."""

    layout: str  # "RAF-DB"
    root: Path
    names: Sequence[str]  # all different
    pictures: Sequence[Path] | np.ndarray  # files, or (N, h, w) uint8 grey
    labels: tuple[str, ...]
    target: np.ndarray  # (N, C) rows sum to 1
    soft: bool = False  # whether shares are other than all or nothing
    split: Sequence[str] = ()  # empty: there are none
    subject: Sequence[str] = ()
    box: np.ndarray | None = (
        None  # (N, 4) left, top, width, height of the face in the picture; the whole where a width is 0
    )
    licence: str = ""
    notes: tuple[str, ...] = ()  # what was left out

    def __post_init__(self) -> None:
        if not len(self.names):
            raise UsageError(f"{self.root} ({self.layout}) has no labelled image.", remedy="check the list")
        if len(set(self.names)) < len(self.names):
            raise UsageError(
                f"{self.root} names an image twice: {some(_repeated(self.names))}.", remedy="keep one line of each"
            )
        assert self.target.shape == (len(self.names), len(self.labels))
        assert np.allclose(self.target.sum(1), 1, atol=1e-4)
        if not isinstance(self.pictures, np.ndarray):
            missing = [str(path) for path in self.pictures if not path.is_file()]
            if missing:
                raise UsageError(
                    f"{len(missing)} of {len(self.names)} images of {self.root} are not there: {some(missing)}.",
                    remedy="bring them, or take their lines off the list",
                )

    def lines(self) -> list[str]:
        """Say what was found."""
        kind = "soft labels" if self.soft else "labels"
        lines = [f"{self.layout}: {len(self.names)} images, {kind} of {len(self.labels)} classes"]
        lines += self.notes
        if self.licence:
            lines.append(f"licence of the images: {self.licence}")
        return lines

    def table(self) -> Annotations:
        """Return the images as a cache lists its clips."""
        codes = self.target.argmax(1).tolist()
        return Annotations.from_columns(
            ids=list(self.names),
            label=[self.labels[code] for code in codes],
            labels=self.labels,
            subject=self.subject or None,
            split=self.split or None,
            digest=self.digests,
        )

    def fold(self) -> Fold:
        """Divide by the splits that the images come with: test is left alone; all are learnt from where there are none."""
        rows = np.arange(len(self.names))
        none = rows[:0]
        if not self.split:
            return Fold(name="", train=rows, test=none)
        splits = splits_of(self.table(), rows)
        train = rows[splits == "train"]
        if not len(train):
            raise UsageError(
                f"No image of {self.root} is in the split train; there are {some(np.unique(splits))}.",
                remedy="name the split of each image train, val or test; or leave the column out",
            )
        return Fold(name="", train=train, val=rows[splits == "val"], test=none)

    @cached_property
    def digests(self) -> list[str]:
        """Return the digest of each file's content; none where there is too much to read, or there are no files."""
        if isinstance(self.pictures, np.ndarray) or self.num_bytes > HASHED_BYTES:
            return [""] * len(self.names)
        return [checksum.of_file(path).hex() for path in self.pictures]

    @cached_property
    def num_bytes(self) -> int:
        """Add the sizes of all pictures up."""
        if isinstance(self.pictures, np.ndarray):
            return self.pictures.nbytes
        return sum(path.stat().st_size for path in self.pictures)

    def picture(self, number: int, side: int) -> np.ndarray:
        """Bring one picture.  # → (S, S, 3) BGR"""
        found = self.pictures[number]
        if isinstance(found, np.ndarray):
            picture = cv2.cvtColor(found, cv2.COLOR_GRAY2BGR)
        else:
            picture = cv2.imread(str(found), cv2.IMREAD_COLOR)
            if picture is None:
                raise SourceError(
                    f"{found} is no picture that OpenCV reads.", remedy="mend it, or take its line off the list"
                )
        if self.box is not None and self.box[number, 2] > 0:
            left, top, width, height = self.box[number].tolist()
            part = picture[max(top, 0) : top + height, max(left, 0) : left + width]
            picture = part if part.size else picture
        shrinks = min(picture.shape[:2]) > side
        return cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


class StillPictures:
    """The pictures of images: number n as it is, N + n mirrored."""

    def __init__(self, stills: Stills, rows: np.ndarray, side: int, device: torch.device, *, workers: int) -> None:
        workers = workers or num_cores()
        self._stills, self._rows, self._side, self._device = stills, rows, side, device
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="est-stills")
        self._ahead = Ahead(self._load)
        self.line = f"images of {stills.root.name}, decoded by {workers} threads, {DEPTH} batches ahead"

    @property
    def waited(self) -> float:
        return self._ahead.waited

    def index(self, frames: np.ndarray, mirrored: np.ndarray | None = None) -> Tensor:
        numbers = frames if mirrored is None else frames + len(self._rows) * mirrored
        return torch.from_numpy(numbers)[:, None, None]

    def take(self, index: Tensor, look: Tensor | None = None) -> Frames:
        found = self._ahead.take(index, look)
        rows, place = (tensor.to(self._device, non_blocking=True) for tensor in (found.rows, found.place))
        return Frames(rows=rows, place=place)

    def expect(self, batches: Iterable[Asked]) -> None:
        self._ahead.expect(batches)

    def _load(self, index: Tensor, look: Tensor | None) -> Frames:
        mirrored, number = np.divmod(index.flatten().numpy(), len(self._rows))
        looks = np.broadcast_to(AS_IT_IS, (len(number), 4)) if look is None else look.double().numpy()
        pictures = room(len(number), self._side, self._side, 3, dtype=torch.uint8, device=self._device)
        out = pictures.numpy()

        def fill(at: int) -> None:
            picture = self._stills.picture(int(self._rows[number[at]]), self._side)
            cv2.cvtColor(look_at(picture, looks[at], mirrored=bool(mirrored[at])), cv2.COLOR_BGR2RGB, dst=out[at])

        for _ in self._pool.map(fill, range(len(number))):
            pass
        return Frames(rows=pictures, place=torch.arange(len(number)).view(index.shape))


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
            "identity": f"{stills.layout}, {len(stills.names)} images, {stills.num_bytes} bytes",
            "labels": "soft: a share of each class" if stills.soft else "one class each",
            "licence": stills.licence,
        },
    )


def hard_target(codes: np.ndarray, num_classes: int) -> np.ndarray:
    """Give each image's class the whole share.  # (N,) → (N, C)"""
    target = np.zeros((len(codes), num_classes), np.float32)
    target[np.arange(len(codes)), codes] = 1
    return target


def _repeated(names: Sequence[str]) -> list[str]:
    return [name for name, times in Counter(names).items() if times > 1]
