"""One input on its way to pictures of its flow: decode, find the face in the onset frame, compare that frame with later ones in one square.

Only grey squares are held; those of a clip that is too long are decoded a second time, the eleven that are wanted alone.
"""

from __future__ import annotations

import numpy as np

from ...cache.schema import DETECTED, INTERPOLATED
from ...cache.sources import source_of
from ...inputs.input import Input
from ..config import FORWARD_BYTES, ExtractConfig
from ..faces.detect.base import Detections
from ..faces.detect.no_detector import WholeFrame
from ..faces.detection_frames import shrink
from ..faces.face_linking import area
from ..flow import selection
from ..flow.columns import cells
from ..flow.field import FIELD
from ..flow.pictures import MIRRORED, PLAIN, FlowPictures, Wanted, fields_of
from ..flow.selection import Moments
from ..flow.square import cut, grey, square_of
from ..video.info import Video
from ..video.source import open_source
from .at_hand import at_hand
from .messages import Finished, Found, TrackRows, Work
from .task import Line, StageError, Task

STAGE = "flow"
NO_FACE_STAGE = "no face"


def wanted_of(config: ExtractConfig) -> Wanted:
    """Return what is made of a clip's flow for a new cache."""
    tracks = [PLAIN] if config.encoded or config.crops else []
    return Wanted(
        tracks=(*tracks, *([MIRRORED] if config.encoded and config.flip else [])),
        encoded=bool(config.encoded),
        fields=FIELD in config.features,
        quality=config.crop_quality if config.crops else 0,
    )


class FlowTask(Task):
    """One input on its way to eleven rows."""

    def __init__(self, line: Line, config: ExtractConfig, crop_batch: int, work: Work) -> None:
        super().__init__(line, config, crop_batch, work.index)
        self._input: Input = work.input
        self._moments = Moments(onset=work.input.onset, apex=work.input.apex)
        self._rule = self._moments.rule(config.flow_frames)
        self._detections: Detections | None = None
        self._size: tuple[int, ...] = ()

    def _finish(self) -> Finished:
        with at_hand(self._input) as self._input:
            return self._made()

    def _made(self) -> Finished:
        if problem := self._moments.problem(self._rule):
            raise StageError(STAGE, problem)
        reference = self._moments.reference(self._rule)
        with self._open(self._input) as video:
            found = self._watch(video, reference)
            info, missing, decode_errors = video.info, video.missing, video.decode_errors
        if missing and self._config.incomplete == "fail":
            raise StageError("decode", f"{missing} of {len(found.times) + missing} frames could not be decoded")
        try:
            places = selection.positions(self._moments, self._rule, len(found.times))
        except selection.FrameError as error:
            raise StageError(STAGE, f"{error.message}. Try: {error.remedy}") from error
        assert found.onset is not None  # the onset is among the frames
        later = found.later if found.later is not None else self._again(found, places)
        pictures = FlowPictures(self._config.size, self._add_crop, wanted_of(self._config))
        for moved in fields_of(found.onset, later, places):
            with self._clock("crop"):
                pictures.add(moved)
        self._expect_fits(pictures)
        self._send_rest()
        return Finished(
            index=self._index,
            info=info,
            decoded=len(places),
            missing=missing,
            decode_errors=decode_errors,
            time=np.interp(places, np.arange(len(found.times)), found.times),
            tracks=[found.rows(places, pictures)],
            num_tracks=found.num_faces,
            extra=cells(self._moments, self._rule, places),
            digest=source_of(self._input.path).digest,
            seconds=self._seconds,
        )

    def _open(self, source: Input) -> Video:
        """Open the input; sizes are compared here, because no option lets them differ."""
        return open_source(
            source.path,
            source.kind,
            decoder=self._config.decoder,
            start=source.start,
            end=source.end,
            sizes_may_differ=True,
        )

    def _watch(self, video: Video, reference: int) -> Watched:
        """Decode once: find the face in the onset frame, hold the squares of later ones while they fit."""
        found = Watched()
        first = selection.first_position(self._moments, self._rule)
        last = selection.last_position(self._moments, self._rule)
        for number, (frame, moment) in enumerate(self._timed(video.frames())):
            found.times.append(moment)
            if number == reference:
                self._size = frame.shape[:2]
                self._find_face(frame, reference, found)
            elif number > reference:
                self._expect_size(frame, number)
            if number >= first and (last is None or number <= last) and found.later is not None:
                with self._clock("crop"):
                    found.later[number] = grey(cut(frame, found.square))
                found.num_bytes += found.later[number].nbytes
                if found.num_bytes > FORWARD_BYTES:
                    found.later = None
        return found

    def _find_face(self, frame: np.ndarray, reference: int, found: Watched) -> None:
        """Lay the square around the largest face of the onset frame."""
        if self._config.frames_are_crops:
            detections = WholeFrame().detect(frame[None])[0]
        else:
            picture, scale = shrink(frame, self._config.detect_size)
            self.detect([reference], [picture], scale, last=True)
            while self._detections is None:
                self._receive()
            detections = self._detections
            found.num_faces = len(detections.boxes)
        if not len(detections.boxes):
            raise StageError(
                NO_FACE_STAGE,
                f"no face was found in its onset frame, {reference}. Try: --detector none where frames are face crops; "
                f"a score below --score-threshold {self._config.score_threshold:g}; or another onset",
            )
        largest = int(area(detections.boxes.astype(float)).argmax())
        found.landmarks, found.score = detections.landmarks[largest], float(detections.scores[largest])
        found.square = square_of(detections.boxes[largest], found.landmarks, self._config.crop_margin)
        found.onset = grey(cut(frame, found.square))

    def _expect_size(self, frame: np.ndarray, number: int) -> None:
        if frame.shape[:2] != self._size:
            (height, width), (high, wide) = frame.shape[:2], self._size
            raise StageError(
                STAGE,
                f"its frame {number} is {width}×{height}, and its onset frame is {wide}×{high}: flow compares pixels in one place. "
                "Try: bring the pictures of a clip to one size",
            )

    def _expect_fits(self, pictures: FlowPictures) -> None:
        """Refuse flow that the cache's type cannot hold: it would become infinite."""
        most = max((float(np.abs(rows).max()) for rows in pictures.features.values()), default=0.0)
        if not most <= float(np.finfo(self._config.dtype).max):
            raise StageError(
                STAGE,
                f"a pixel has a flow of {most:g} pixels, which {self._config.dtype} cannot hold. Try: --dtype float32",
            )

    def _again(self, found: Watched, places: np.ndarray) -> dict[int, np.ndarray]:
        """Decode a second time for the frames that are wanted."""
        wanted = {frame for place in places.tolist() for frame, _ in selection.neighbours(place)}
        later: dict[int, np.ndarray] = {}
        count = 0
        with self._open(self._input) as video:
            for frame, _ in self._timed(video.frames()):
                if count in wanted:
                    later[count] = grey(cut(frame, found.square))
                count += 1
        if count != len(found.times):
            raise StageError("decode", f"decoding twice gave {len(found.times)} frames, then {count}")
        return later

    def _know(self, found: Found) -> None:
        self._detections = found.detections[0]


class Watched:
    """What was seen of a clip while it was decoded."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.square = np.zeros(4, np.float32)
        self.landmarks = np.full((5, 2), np.nan, np.float32)
        self.score = 0.0
        self.num_faces = -1
        self.onset: np.ndarray | None = None
        self.later: dict[int, np.ndarray] | None = {}  # None: they did not fit
        self.num_bytes = 0  # of them

    def rows(self, places: np.ndarray, pictures: FlowPictures) -> TrackRows:
        """Return what the cache says of each row: one square, and whether the row is interpolated."""
        count = len(places)
        return TrackRows(
            state=np.where(selection.is_between(places), INTERPOLATED, DETECTED).astype(np.uint8),
            box=np.tile(self.square, (count, 1)),
            landmarks=np.tile(self.landmarks.astype(np.float32), (count, 1, 1)),
            score=np.full(count, self.score, np.float32),
            crops=pictures.jpegs if pictures.wanted.quality else None,
            features=pictures.features,
        )
