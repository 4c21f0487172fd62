"""A worker process: decodes one input after the other, asks for faces, and cuts the crops.

Full-size frames never leave it. Up to 256 MB of them are held until the faces are known; a longer clip is decoded a second time. Only
shrunk pictures for the detector and crops for the backbone travel. A decoder that crashes or hangs takes this process with it, not the run.
"""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from multiprocessing.connection import Connection

import cv2
import numpy as np

from ...cache.sources import source_of
from ...crops.crop import crop_face
from ...crops.jpeg import decode_crop, encode_crop
from ...inputs.input import Input
from ..config import FORWARD_BYTES, ExtractConfig
from ..faces.detect.base import Detections
from ..faces.detect.no_detector import WholeFrame
from ..faces.detection_frames import DetectionFrames
from ..faces.face_linking import MOST_FACES
from ..faces.looks import Looks
from ..faces.people import UNKNOWN, Selection, select_people
from ..faces.track import CutDetector, Track, tracks_of, whole_track
from .at_hand import at_hand
from .flow_task import FlowTask
from .messages import Finished, Found, Recrop, TrackRows, Work
from .recrop import RecropTask
from .task import Line, StageError, Task

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)  # what people and clusters send


def work(connection: Connection, config: ExtractConfig, crop_batch: int) -> None:
    """Serve the pipeline until it says stop or goes away."""
    for number in STOPPING:
        signal.signal(number, signal.SIG_IGN)  # the pipeline decides when to stop
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)  # they were held back until here
    cv2.setNumThreads(1)
    line = Line(connection)
    try:
        while True:
            message = line.receive()
            if isinstance(message, Work):
                task = FlowTask if config.modality == "flow" else ClipTask
                line.connection.send(task(line, config, crop_batch, message).run())
            elif isinstance(message, Recrop):
                line.connection.send(RecropTask(line, config, crop_batch, message).run())
    except (EOFError, BrokenPipeError):
        os._exit(0)


class ClipTask(Task):
    """One input on its way to one or more clips."""

    def __init__(self, line: Line, config: ExtractConfig, crop_batch: int, work: Work) -> None:
        super().__init__(line, config, crop_batch, work.index)
        self._input: Input = work.input
        self._detections: dict[int, Detections] = {}
        self._looks = Looks()
        self._is_hurried = False  # scenes are too short to exclude that another person takes over
        self._asked: dict[int, tuple[np.ndarray, tuple[float, float]]] = {}  # pictures that the detector has, by frame

    def _finish(self) -> Finished:
        with at_hand(self._input) as self._input:
            return self._made()

    def _made(self) -> Finished:
        with self._open(self._input) as video:
            held, times, cuts = self._watch(self._tried(video.frames()))
            info, missing, decode_errors = video.info, video.missing, video.decode_errors
        if missing and self._config.incomplete == "fail":
            raise StageError("decode", f"{missing} of {len(times) + missing} frames could not be decoded")
        found, chosen = self._tracks(len(times), cuts)
        rows = self._cut(chosen.tracks, held, len(times)) or [self._no_face(len(times))]
        moments = self._input.moments(len(times))
        return Finished(
            index=self._index,
            info=info,
            decoded=len(times),
            missing=missing,
            decode_errors=decode_errors,
            time=np.array(times, np.float64),
            tracks=rows,
            num_tracks=found,
            identity_changes=chosen.identity_changes,
            left_out=chosen.left_out,
            dropped=chosen.dropped,
            crowded=sum(len(faces.boxes) > MOST_FACES for faces in self._detections.values()),
            moments=moments,
            misplaced=moments != self._input.moments(),
            digest=source_of(self._input.path, digest=not self._config.trial_frames).digest,
            seconds=self._seconds,
        )

    def _tried(self, frames: Iterator[tuple[np.ndarray, float]]) -> Iterator[tuple[np.ndarray, float]]:
        """Return all frames, or the first where a dry run tries clips."""
        return itertools.islice(frames, self._config.trial_frames or None)

    def _watch(
        self, frames: Iterator[tuple[np.ndarray, float]]
    ) -> tuple[list[np.ndarray] | None, list[float], list[int]]:
        """Decode once: ask for faces, find cuts, hold the frames while they fit."""
        held: list[np.ndarray] | None = []
        num_held = 0
        times: list[float] = []
        cutter, whole = CutDetector(), WholeFrame()
        detection_frames = DetectionFrames(self, longest=self._config.detect_size, every=self._config.detect_every)
        for number, (frame, moment) in enumerate(self._timed(frames)):
            times.append(moment)
            num_held += frame.nbytes
            if num_held > FORWARD_BYTES:
                held = None
            if held is not None:
                held.append(frame)
            if self._config.frames_are_crops:
                self._detections[number] = whole.detect(frame[None])[0]
            else:
                detection_frames.see(number, frame, is_cut=cutter.feed(frame))
        detection_frames.end()
        while detection_frames.expected - self._detections.keys():
            self._receive()
        self._is_hurried = cutter.is_hurried
        return held, times, list(cutter.cuts)

    def _tracks(self, num_frames: int, cuts: list[int]) -> tuple[int, Selection]:
        """Return how many faces were followed, and those that are wanted."""
        if self._config.frames_are_crops:
            whole = whole_track([self._detections[number] for number in range(num_frames)])
            return -1, Selection(tracks=[whole])
        following = self._config.tracking
        found = tracks_of(self._detections, num_frames, cuts, following)
        chosen = select_people(found, self._looks, following)
        if self._is_hurried and chosen.identity_changes == 0:
            chosen = replace(chosen, identity_changes=UNKNOWN)
        return len(found), chosen

    def detect(self, frames: list[int], pictures: list[np.ndarray], scale: tuple[float, float], *, last: bool) -> None:
        """Ask for the faces, and keep the pictures until they are known: whose they are is seen there."""
        if self._config.face == "main":
            self._asked |= {number: (picture, scale) for number, picture in zip(frames, pictures, strict=True)}
        super().detect(frames, pictures, scale, last=last)

    def _again(self, num_frames: int) -> Iterator[np.ndarray]:
        """Decode a second time; another number of frames is a failure."""
        count = 0
        with self._open(self._input) as video:
            for frame, _ in self._timed(self._tried(video.frames())):
                count += 1
                if count <= num_frames:
                    yield frame
        if count != num_frames:
            raise StageError("decode", f"decoding twice gave {num_frames} frames, then {count}")

    def _cut(self, tracks: list[Track], held: list[np.ndarray] | None, num_frames: int) -> list[TrackRows]:
        """Cut the crops of all tracks in one pass over the frames, and send them in batches."""
        encoded: list[list[bytes]] = [[] for _ in tracks]
        waiting = sorted(range(len(tracks)), key=lambda place: (tracks[place].start, place))
        active: list[int] = []
        for number, frame in enumerate(held if held is not None else self._again(num_frames)):
            while waiting and tracks[waiting[0]].start <= number:
                active.append(waiting.pop(0))
            for place in [place for place in active if tracks[place].stop <= number]:
                active.remove(place)
                self._send_waiting(place)  # crops of thousands of tracks would fill the memory
            for place in active:
                track = tracks[place]
                row, jpeg = number - track.start, b""
                if track.state[row]:
                    with self._clock("crop"):
                        crop = crop_face(frame, track.box[row], track.landmarks[row], **self._config.cropping)[0]
                        if self._config.crops:
                            jpeg = encode_crop(crop, self._config.crop_quality)
                            crop = decode_crop(jpeg)
                    self._add_crop(place, number, crop)
                encoded[place].append(b"" if self._config.forget_crops else jpeg)
        self._send_rest()
        return [
            TrackRows(
                start=track.start,
                state=track.state,
                box=track.box,
                landmarks=track.landmarks,
                score=track.score,
                crops=encoded[place] if self._config.crops else None,
            )
            for place, track in enumerate(tracks)
        ]

    def _no_face(self, num_frames: int) -> TrackRows:
        """Return the rows of a clip without a face."""
        return TrackRows(
            state=np.zeros(num_frames, np.uint8),
            box=np.full((num_frames, 4), np.nan, np.float32),
            landmarks=np.full((num_frames, 5, 2), np.nan, np.float32),
            score=np.zeros(num_frames, np.float32),
            crops=[b""] * num_frames if self._config.crops else None,
        )

    def _know(self, found: Found) -> None:
        for number, faces in zip(found.frames, found.detections, strict=True):
            self._detections[number] = faces
            if number in self._asked:
                picture, scale = self._asked.pop(number)
                with self._clock("crop"):
                    self._looks.see(number, picture, faces, scale)
