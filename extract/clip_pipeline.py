"""Videos and frame folders → clips, each with its tracks, crops and features, handed to a sink."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Mapping, Sequence

import numpy as np

from ..cache import Clip, Failure, Source
from ..cache.interrupt import Stop
from ..errors import CacheError
from ..inputs.input import Input
from .clip_sink import ClipSink
from .config import ExtractConfig
from .modality import modality_of
from .workers.device_worker import DeviceWorker
from .workers.flow_task import NO_FACE_STAGE
from .workers.messages import Failed, Finished, TrackRows, Work
from .workers.pipeline import Pipeline
from .workers.row_buffer import RowBuffer
from .workers.stages import InHand, LocalStages, Stages


class ClipPipeline(Pipeline):
    """One run over videos and frame folders, whose clips go to a sink."""

    def __init__(
        self,
        inputs: Sequence[Input],
        sink: ClipSink,
        device_workers: list[DeviceWorker],
        config: ExtractConfig,
        workers: int,
        stop: Stop,
        stages: Callable[..., Stages] = LocalStages,
    ) -> None:
        self._modality = modality_of(config)
        made = self._modality.encoding
        super().__init__(
            inputs, sink.features, device_workers, config, workers, stop, stages, encoding=lambda message: made
        )
        self._sink = sink
        self.no_face: list[str] = []
        self.incomplete: list[str] = []
        self.decoders: Counter[str] = Counter()  # clips that each has read
        self.damaged: list[str] = []  # clips of which the decoder reported errors
        self.misplaced: list[str] = []  # clips that end before a moment that a list tells of them
        self.changed: list[str] = []  # clips in which another person takes over
        self.parted: list[str] = []  # inputs that gave a clip for each person in turn
        self.left_out: Counter[str] = Counter()  # frames of others than the person who is kept, by input
        self.dropped: Counter[str] = Counter()  # faces that are too small or too short for clips of their own, by input
        self.only_small: list[str] = []  # clips without a row of a face, because all faces are too small
        self.crowded: list[str] = []  # inputs that show more faces than are followed

    def _work(self, index: int) -> Work:
        return Work(index=index, input=self._inputs[index])

    def _commit_if_due(self) -> None:
        self._sink.commit_if_due()

    def _write_one(self, source: Input, ended: InHand | Failed) -> None:
        if isinstance(ended, Failed):
            is_faceless = ended.stage == NO_FACE_STAGE
            self._fail(source, ended.stage, ended.error, counted=not is_faceless or self._config.no_face != "skip")
            self.no_face += [source.id] * is_faceless
            return
        finished = ended.finished
        assert isinstance(finished, Finished)
        faces = [track for track in finished.tracks if track.state.any()]
        if not faces and self._config.no_face != "keep":
            why = f"all faces are smaller than --min-face-size {self._config.min_face_size}"
            why = why if finished.dropped else "no face was found in any frame"
            self._fail(source, NO_FACE_STAGE, why, counted=self._config.no_face == "fail")
            (self.only_small if finished.dropped else self.no_face).append(source.id)
            return
        many = bool(faces) and (self._config.face == "all" or len(finished.tracks) > 1)
        ids = [f"{source.id}#{number + 1}" if many else source.id for number in range(len(finished.tracks))]
        try:
            self._sink.remove([old for old in clips_of(source.id, self._sink) if old not in ids])
            for number, (clip_id, track) in enumerate(zip(ids, finished.tracks, strict=True)):
                self._add(source, clip_id, finished, number, ended.rows)
                if not track.state.any():
                    (self.only_small if finished.dropped else self.no_face).append(clip_id)
            self._sink.forget(source.id)  # recorded before there were several faces to name
            self._tell(source, finished)
        except CacheError as error:
            if error.__cause__ is not None:  # the disk, not this clip
                raise
            self._fail(source, "write", error.message)

    def _tell(self, source: Input, finished: Finished) -> None:
        """Count what an input has given."""
        self.frames += finished.decoded
        self.changed += [source.id] * (finished.identity_changes > 0)
        self.parted += [source.id] * (self._config.across_cuts == "split" and len(finished.tracks) > 1)
        self.crowded += [source.id] * (finished.crowded > 0)
        if finished.dropped:
            self.dropped[source.id] += finished.dropped
        if finished.left_out:
            self.left_out[source.id] += finished.left_out

    def _add(
        self,
        source: Input,
        clip_id: str,
        finished: Finished,
        number: int,
        rows: RowBuffer,
    ) -> None:
        whole = self._config.across_cuts != "split" and not (self._config.face == "all" and self._config.trim)
        track = finished.tracks[number].over(finished.decoded) if whole else finished.tracks[number]
        features = dict(track.features)
        for name in self._specs.keys() - features.keys():
            place, made = self._modality.place_of(name, number)
            features[name] = rows.of_track(place, track.state, made, track.start)
        if finished.missing:
            self.incomplete.append(clip_id)
        if finished.decode_errors > 0:
            self.damaged.append(clip_id)
        if finished.misplaced:
            self.misplaced.append(clip_id)
        self._sink.add(clip_of(source, clip_id, finished, track, features), replacing=True)
        self.decoders[finished.info.decoder] += 1
        self.clips += 1

    def _fail(self, source: Input, stage: str, error: str, *, counted: bool = True) -> None:
        try:
            described = source.describe()
        except OSError:
            described = Source()
        failure = Failure(
            id=source.id,
            path=source.place,
            stage=stage,
            error=error,
            source=described,
            extra=source.extra,
            **source.annotations,
        )
        self._sink.fail(failure)
        if counted:
            self.failures.append(failure)


def clip_of(
    source: Input, clip_id: str, finished: Finished, track: TrackRows, features: Mapping[str, np.ndarray]
) -> Clip:
    """Build the clip of one track: of its rows alone, where those are not the whole source."""
    found = source.describe()
    lost = finished.missing if track.stop == finished.decoded else 0  # frames that are missing are those at the end
    moments = {name: frame - track.start for name, frame in finished.moments.items()}
    return Clip(
        id=clip_id,
        path=source.place,
        label=source.label,
        subject=source.subject,
        split=source.split,
        fold=source.fold,
        fps=finished.info.fps,
        size=finished.info.size,
        rotation=finished.info.rotation,
        mirrored=finished.info.mirrored,
        declared=len(track.state) + lost,
        first_frame=finished.info.first_frame + track.start,
        source=type(found)(num_bytes=found.num_bytes, mtime_ns=found.mtime_ns, digest=finished.digest),
        state=track.state,
        time=finished.time[track.start : track.stop],
        box=track.box,
        landmarks=track.landmarks,
        score=track.score,
        features=features,
        crops=track.crops,
        decoder=finished.info.decoder,
        decode_errors=finished.decode_errors,
        tracks=finished.num_tracks,
        identity_changes=finished.identity_changes,
        extra={**source.extra, **finished.extra},
        **{name: frame for name, frame in moments.items() if 0 <= frame < len(track.state)},
    )


def clips_of(source_id: str, clips: Container[str]) -> list[str]:
    """Name the clips that an input gave: itself, or one for each face."""
    found = [source_id] if source_id in clips else []
    number = 1
    while f"{source_id}#{number}" in clips:
        found.append(f"{source_id}#{number}")
        number += 1
    return found
