"""A worker process: decodes one input after the other, asks for faces, and cuts the crops.

Full-size frames never leave it. Up to 256 MB of them are held until the faces are known; a longer clip is decoded a second time. Only
shrunk pictures for the detector and crops for the backbone travel. A decoder that crashes or hangs takes this process with it, not the run.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection

import cv2
import numpy as np

from ..cache.sources import source_of
from ..errors import EstError
from .config import FORWARD_BYTES, ExtractConfig
from .crop import crop_face
from .detect.base import Detections
from .detect.whole import WholeFrame
from .inputs import Input
from .jpeg import decode_crop, encode_crop
from .messages import (
    BLOCK_BYTES,
    BLOCKS_UNDER_WAY,
    Crops,
    Failed,
    Finished,
    Found,
    Look,
    Pictures,
    Taken,
    TrackRows,
    Work,
)
from .track import CutDetector, Track, choose, tracks_of
from .video import open_source

LOOK_BATCH = 8


class StageError(Exception):
    """An input that failed, and where."""

    def __init__(self, stage: str, message: str) -> None:
        super().__init__(message)
        self.stage = stage


def work(connection: Connection, config: ExtractConfig, crop_batch: int) -> None:
    """Serve the pipeline until it says stop or goes away."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)  # the pipeline decides when to stop
    cv2.setNumThreads(1)
    line = Line(connection)
    try:
        while True:
            message = line.receive()
            if isinstance(message, Work):
                line.connection.send(ClipWork(line, config, crop_batch, message).run())
    except (EOFError, BrokenPipeError):
        os._exit(0)


class Line:
    """The connection, and how many blocks are under way on it: a clip's last crops may still be when the next begins."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._under_way = 0

    def receive(self) -> Work | Found | None:
        """Take one message; None for an answer that needs nothing more."""
        message = self.connection.recv()
        if message is None:
            os._exit(0)
        if not isinstance(message, Work):
            self._under_way -= 1
        return None if isinstance(message, Taken) else message

    @property
    def is_full(self) -> bool:
        """Say whether an answer must come before the next block."""
        return self._under_way >= BLOCKS_UNDER_WAY

    def send(self, message: Look | Crops) -> None:
        """Send a block."""
        self.connection.send(message)
        self._under_way += 1


class ClipWork:
    """One input on its way."""

    def __init__(self, line: Line, config: ExtractConfig, crop_batch: int, work: Work) -> None:
        self._line = line
        self._config = config
        self._crop_batch = crop_batch
        self._index = work.index
        self._input: Input = work.input
        self._detections: dict[int, Detections] = {}
        self._seconds: dict[str, float] = {"decode": 0.0, "crop": 0.0, "wait": 0.0}

    def run(self) -> Finished | Failed:
        """Extract the input, or say why not."""
        try:
            return self._finish()
        except StageError as error:
            return self._fail(error.stage, str(error))
        except EstError as error:
            return self._fail("decode", error.message)
        except (OSError, MemoryError, cv2.error) as error:
            return self._fail("decode", f"{type(error).__name__}: {error}")

    def _fail(self, stage: str, message: str) -> Failed:
        return Failed(index=self._index, stage=stage, error=message)

    def _finish(self) -> Finished:
        video = open_source(
            self._input.path,
            self._input.kind,
            decoder=self._config.decoder,
            start=self._input.start,
            end=self._input.end,
        )
        with video:
            held, times, cuts = self._watch(video.frames())
            info, missing = video.info, video.missing
        if missing and self._config.incomplete == "fail":
            raise StageError("decode", f"{missing} of {len(times) + missing} frames could not be decoded")
        following = self._config.tracking
        tracks = choose(tracks_of(self._detections, len(times), cuts, following), following)
        rows = self._cut(tracks, held, len(times)) or [self._no_face(len(times))]
        return Finished(
            index=self._index,
            info=info,
            decoded=len(times),
            missing=missing,
            time=np.array(times, np.float64),
            tracks=rows,
            digest=source_of(self._input.path).digest,
            seconds=self._seconds,
        )

    def _watch(
        self, frames: Iterator[tuple[np.ndarray, float]]
    ) -> tuple[list[np.ndarray] | None, list[float], list[int]]:
        """Decode once: ask for faces, find cuts, hold the frames while they fit."""
        held: list[np.ndarray] | None = []
        num_held = 0
        times: list[float] = []
        cutter = CutDetector()
        looks = Looks(self, self._config)
        last: np.ndarray | None = None
        for number, (frame, moment) in enumerate(self._timed(frames)):
            times.append(moment)
            num_held += frame.nbytes
            if num_held > FORWARD_BYTES:
                held = None
            if held is not None:
                held.append(frame)
            is_cut = cutter.feed(frame)
            if is_cut and last is not None:
                looks.add(number - 1, last)
            if is_cut or number % self._config.detect_every == 0:
                looks.add(number, frame)
            last = frame
        if last is not None:
            looks.add(len(times) - 1, last)
        looks.send(last=True)
        while looks.expected - self._detections.keys():
            self._receive()
        return held, times, list(cutter.cuts)

    def _timed(self, frames: Iterator[tuple[np.ndarray, float]]) -> Iterator[tuple[np.ndarray, float]]:
        while True:
            with self._clock("decode"):
                found = next(frames, None)
            if found is None:
                return
            yield found

    def _again(self, num_frames: int) -> Iterator[np.ndarray]:
        """Decode a second time; another number of frames is a failure."""
        count = 0
        video = open_source(
            self._input.path,
            self._input.kind,
            decoder=self._config.decoder,
            start=self._input.start,
            end=self._input.end,
        )
        with video:
            for frame, _ in self._timed(video.frames()):
                count += 1
                if count <= num_frames:
                    yield frame
        if count != num_frames:
            raise StageError("decode", f"decoding twice gave {num_frames} frames, then {count}")

    def _cut(self, tracks: list[Track], held: list[np.ndarray] | None, num_frames: int) -> list[TrackRows]:
        """Cut the crops of all tracks in one pass over the frames, and send them in batches."""
        size = self._config.size
        waiting: list[tuple[list[int], list[np.ndarray]]] = [([], []) for _ in tracks]
        encoded: list[list[bytes]] = [[] for _ in tracks]
        for number, frame in enumerate(held if held is not None else self._again(num_frames)):
            for place, track in enumerate(tracks):
                jpeg = b""
                if track.state[number]:
                    with self._clock("crop"):
                        crop, _ = crop_face(
                            frame,
                            track.box[number],
                            track.landmarks[number],
                            align=self._config.align,
                            margin=self._config.crop_margin,
                            size=size,
                        )
                        if self._config.crops:
                            jpeg = encode_crop(crop, self._config.crop_quality)
                            crop = decode_crop(jpeg)
                    rows, crops = waiting[place]
                    rows.append(number)
                    crops.append(crop)
                    if len(rows) == self._crop_batch:
                        self._send_crops(place, rows, crops)
                        waiting[place] = ([], [])
                encoded[place].append(jpeg)
        for place, (rows, crops) in enumerate(waiting):
            if rows:
                self._send_crops(place, rows, crops)
        return [
            TrackRows(
                state=track.state,
                box=track.box,
                landmarks=track.landmarks,
                score=track.score,
                crops=encoded[place] if self._config.crops else None,
            )
            for place, track in enumerate(tracks)
        ]

    def _no_face(self, num_frames: int) -> TrackRows:
        """Return the rows of a clip in which nobody was seen."""
        return TrackRows(
            state=np.zeros(num_frames, np.uint8),
            box=np.full((num_frames, 4), np.nan, np.float32),
            landmarks=np.full((num_frames, 5, 2), np.nan, np.float32),
            score=np.zeros(num_frames, np.float32),
            crops=[b""] * num_frames if self._config.crops else None,
        )

    def _send_crops(self, track: int, rows: list[int], crops: list[np.ndarray]) -> None:
        pictures = np.stack(crops)[..., ::-1]  # OpenCV's BGR → RGB
        self.send(lambda: Crops(index=self._index, track=track, rows=rows, pictures=Pictures.share(pictures)))

    def look(self, frames: list[int], pictures: list[np.ndarray], scale: tuple[float, float], *, last: bool) -> None:
        """Ask for the faces in some frames."""
        stacked = np.stack(pictures)
        self.send(
            lambda: Look(index=self._index, frames=frames, scale=scale, pictures=Pictures.share(stacked), last=last)
        )

    def know(self, number: int, detections: Detections) -> None:
        """Take what is known of a frame without asking."""
        self._detections[number] = detections

    def send(self, make: Callable[[], Look | Crops]) -> None:
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
            self._detections.update(zip(message.frames, message.detections, strict=True))

    @contextmanager
    def _clock(self, name: str) -> Generator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self._seconds[name] += time.perf_counter() - start


class Looks:
    """Collects frames for the detector, shrunk, until a message is full."""

    def __init__(self, owner: ClipWork, config: ExtractConfig) -> None:
        self.expected: set[int] = set()
        self._owner = owner
        self._longest = config.detect_size
        self._is_crop = config.detector == "none"
        self._whole = WholeFrame()
        self._frames: list[int] = []
        self._pictures: list[np.ndarray] = []
        self._scale = (1.0, 1.0)

    def add(self, number: int, frame: np.ndarray) -> None:
        """Take a frame, unless it was taken before."""
        if number in self.expected:
            return
        self.expected.add(number)
        if self._is_crop:
            self._owner.know(number, self._whole.detect(frame[None])[0])
            return
        picture, self._scale = shrink(frame, self._longest)
        self._frames.append(number)
        self._pictures.append(picture)
        if len(self._frames) >= LOOK_BATCH or sum(p.nbytes for p in self._pictures) + picture.nbytes > BLOCK_BYTES:
            self.send()

    def send(self, *, last: bool = False) -> None:
        """Send what is waiting."""
        if self._frames:
            self._owner.look(self._frames, self._pictures, self._scale, last=last)
            self._frames, self._pictures = [], []


def shrink(frame: np.ndarray, longest: int) -> tuple[np.ndarray, tuple[float, float]]:
    """Shrink a frame to a longer side; return it with the factors. A smaller one, or size 0, stays as it is."""
    height, width = frame.shape[:2]
    if not longest or max(height, width) <= longest:
        return frame, (1.0, 1.0)
    scale = longest / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return cv2.resize(frame, size, interpolation=cv2.INTER_AREA), (size[0] / width, size[1] / height)
