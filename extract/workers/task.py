"""What a worker process does for any clip: send pictures while it may, take the answers, count its time, say what went wrong."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection

import cv2
import numpy as np

from ...errors import EstError
from ...inputs.input import Input
from ..config import ExtractConfig
from ..video.info import Video
from ..video.source import open_source
from .messages import (
    BLOCKS_UNDER_WAY,
    Crops,
    DetectRequest,
    Failed,
    Finished,
    Found,
    Recrop,
    Recropped,
    SharedPictures,
    Taken,
    Work,
)

Timed = Callable[[Iterator[tuple[np.ndarray, float]]], Iterator[tuple[np.ndarray, float]]]


class StageError(Exception):
    """A clip that failed, and where."""

    def __init__(self, stage: str, message: str) -> None:
        super().__init__(message)
        self.stage = stage


class Line:
    """The connection, and how many blocks are under way on it: a clip's last crops may still be when the next begins."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._under_way = 0

    def receive(self) -> Work | Recrop | Found | None:
        """Take one message; None for an answer that needs nothing more."""
        message = self.connection.recv()
        if message is None:
            os._exit(0)
        if not isinstance(message, Work | Recrop):
            self._under_way -= 1
        return None if isinstance(message, Taken) else message

    @property
    def is_full(self) -> bool:
        """Return whether an answer must come before the next block."""
        return self._under_way >= BLOCKS_UNDER_WAY

    def send(self, message: DetectRequest | Crops) -> None:
        """Send a block."""
        self.connection.send(message)
        self._under_way += 1


class Task:
    """One clip on its way."""

    def __init__(self, line: Line, config: ExtractConfig, crop_batch: int, index: int) -> None:
        self._line = line
        self._config = config
        self._crop_batch = crop_batch
        self._index = index
        self._waiting: dict[int, tuple[list[int], list[np.ndarray]]] = {}  # track → rows, crops
        self._seconds: dict[str, float] = {"decode": 0.0, "crop": 0.0, "wait": 0.0}

    def run(self) -> Finished | Recropped | Failed:
        """Do it, or say why not."""
        try:
            return self._finish()
        except StageError as error:
            return self._fail(error.stage, str(error))
        except EstError as error:
            return self._fail("decode", f"{error.message} Try: {error.remedy}" if error.remedy else error.message)
        except (OSError, MemoryError, cv2.error) as error:
            return self._fail("decode", f"{type(error).__name__}: {error}")

    def _finish(self) -> Finished | Recropped:
        raise NotImplementedError

    def _fail(self, stage: str, message: str) -> Failed:
        return Failed(index=self._index, stage=stage, error=message)

    def _open(self, source: Input) -> Video:
        """Open an input; only pictures that are crops by themselves may differ in size."""
        return open_source(
            source.path,
            source.kind,
            decoder=self._config.decoder,
            start=source.start,
            end=source.end,
            sizes_may_differ=self._config.frames_are_crops,
        )

    def _timed(self, frames: Iterator[tuple[np.ndarray, float]]) -> Iterator[tuple[np.ndarray, float]]:
        while True:
            with self._clock("decode"):
                found = next(frames, None)
            if found is None:
                return
            yield found

    def _add_crop(self, track: int, row: int, crop: np.ndarray) -> None:
        """Let a BGR crop wait for the batch of its track to be full."""
        rows, crops = self._waiting.setdefault(track, ([], []))
        rows.append(row)
        crops.append(crop)
        if len(rows) == self._crop_batch:
            self._send_crops(track)

    def _send_waiting(self, track: int) -> None:
        """Send what waits of a track."""
        if track in self._waiting:
            self._send_crops(track)

    def _send_rest(self) -> None:
        for track in list(self._waiting):
            self._send_crops(track)

    def _send_crops(self, track: int) -> None:
        rows, crops = self._waiting.pop(track)
        self._send(
            lambda: Crops(index=self._index, track=track, rows=rows, pictures=SharedPictures.share(crops, as_rgb=True))
        )

    def detect(self, frames: list[int], pictures: list[np.ndarray], scale: tuple[float, float], *, last: bool) -> None:
        """Ask for the faces in some frames, shrunk by `scale` in width and height."""
        self._send(
            lambda: DetectRequest(
                index=self._index, frames=frames, scale=scale, pictures=SharedPictures.share(pictures), last=last
            )
        )

    def _send(self, make: Callable[[], DetectRequest | Crops]) -> None:
        """Make a block and send it, once fewer than the permitted number are under way."""
        while self._line.is_full:
            self._receive()
        self._line.send(make())
        while self._line.connection.poll():
            self._receive()

    def _receive(self) -> None:
        """Take one answer."""
        with self._clock("wait"):
            message = self._line.receive()
        if isinstance(message, Found) and message.index == self._index:  # else an answer to a clip that failed
            self._know(message)

    def _know(self, found: Found) -> None:
        """Take the faces that were asked for."""
        raise NotImplementedError

    @contextmanager
    def _clock(self, name: str) -> Generator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self._seconds[name] += time.perf_counter() - start
