"""What is drawn of a video that has been predicted: its timeline, and the video itself once more, decoded a frame at a time."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ...cache import Failure
from ...cache.schema import NO_FACE
from ...cache.stores.disk import Disk
from ...cache.watch import Progress, Watch
from ...errors import EstError
from ...extract.video.source import open_source
from .output import OutputFolder, file_name
from .pictures.overlay import Face, Overlay, strip_of
from .pictures.timeline_picture import save_timeline
from .track import FaceTrack, PredictedVideo, lanes_of

PICTURE, VIDEO = ".timeline.png", ".annotated.mp4"
DRAWN = ".drawn"  # suffix of the note that the annotated video is whole; it holds what was said of it
EVERY = 25  # frames between two words on how far it is


@dataclass(frozen=True, kw_only=True)
class Drawings:
    """What is drawn."""

    picture: bool
    video: bool


@dataclass(kw_only=True)
class Drawn:
    """Files, messages and failures of one video's drawings."""

    files: dict[str, str] = field(default_factory=dict)  # picture, video → name in the folder
    lines: list[str] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)


def draw_video(
    video: PredictedVideo,
    labels: Sequence[str],
    folder: OutputFolder,
    drawings: Drawings,
    *,
    drawn_note: Path,
    watch: Watch,
) -> Drawn:
    """Draw what is wanted of a video; one that cannot be decoded a second time is a failure, and the tables stay.

    An annotated video is kept only where the note beside this very prediction says that it was drawn from it.
    """
    drawn = Drawn()
    if drawings.picture:
        drawn.files["picture"] = name = file_name(video.id, PICTURE)
        save_timeline(video, labels, folder.file(name))
    if drawings.video:
        name = file_name(video.id, VIDEO)
        try:
            path = folder.file(name)
            if not (path.exists() and drawn_note.exists()):
                path.unlink(missing_ok=True)
                lines = save_video(video, labels, path, watch=watch)
                Disk().write(drawn_note, json.dumps(lines).encode())  # whole, or not there
            drawn.lines += json.loads(drawn_note.read_text(encoding="utf-8"))
            drawn.files["video"] = name
        except EstError as error:
            drawn.failures.append(Failure(id=video.id, path=video.path, stage="annotated video", error=error.message))
    return drawn


def save_video(video: PredictedVideo, labels: Sequence[str], path: Path, *, watch: Watch) -> list[str]:
    """Write the annotated video; return what is to be said of its sound."""
    from .pictures.annotated_video import VideoFile, open_audio  # here: PyAV is needed for nothing else

    lanes = sorted(lanes_of(video.tracks), key=_weight, reverse=True)
    overlay = Overlay(labels, video.size, strips=max(1, len(lanes)))
    time, begin = video.time - video.time[0], float(video.time[0])
    shown = sorted(lanes[: overlay.num_strips], key=lambda lane: lane[0].number)
    strips = [strip_of(lane, time, overlay.strip_width, overlay.colours) for lane in shown]
    end = float(time[-1])
    with ExitStack() as stack:
        audio, problem = None, ""
        if video.kind == "video":
            audio, problem = open_audio(video.path, begin, video.end, stack)
        file = stack.enter_context(VideoFile(path, overlay.size, fps=video.fps, audio=audio))
        for number, (frame, faces) in enumerate(zip(_frames(video), _faces(video), strict=True)):
            picture = overlay.draw(frame, faces, strips, moment=float(time[number]), end=end)
            file.add(picture, float(time[number]))
            if number % EVERY == 0 or number + 1 == len(time):
                watch.progress(
                    Progress(what="Drawing", unit="frames", done=number + 1, total=len(time), stage=video.id)
                )
        problem = problem or file.audio_problem
    lines = [f"{video.id}: {problem}; the annotated video has none"] if problem else []
    if len(lanes) > len(shown):
        lines.append(
            f"{video.id}: the annotated video has room for the timelines of {len(shown)} faces at a time, of {len(lanes)}; "
            "timeline.csv and the picture of the timeline have all"
        )
    return lines


def _weight(lane: Sequence[FaceTrack]) -> tuple[int, float]:
    """Return how much of a video a lane fills: its frames, then the largest of its faces, as the panel chooses whom it tells of."""
    frames = sum(len(track.state) for track in lane)
    sides = [track.box[track.state != NO_FACE] for track in lane]
    areas = [float(np.mean((box[:, 2] - box[:, 0]) * (box[:, 3] - box[:, 1]))) for box in sides if len(box)]
    return frames, max(areas, default=0.0)


def _frames(video: PredictedVideo) -> Iterator[np.ndarray]:
    """Decode a video once more: as many frames as were predicted, of the size of the first."""
    decoder: Any = video.decoder if video.kind == "video" else "auto"
    source = open_source(
        Path(video.path),
        video.kind,  # ty: ignore[invalid-argument-type]
        decoder=decoder,
        start=video.start,
        end=video.end,
        sizes_may_differ=True,
    )
    count = 0
    with source:
        for frame, _ in source.frames():
            if count == len(video.time):
                break
            if frame.shape[1::-1] != video.size:
                frame = cv2.resize(frame, video.size)
            yield frame
            count += 1
    if count < len(video.time):
        raise EstError(f"Decoding {video.path} twice gave {len(video.time)} frames, then {count}.")


def _faces(video: PredictedVideo) -> Iterator[list[Face]]:
    """Yield the faces that each frame shows."""
    waiting = sorted(video.tracks, key=lambda track: track.first, reverse=True)
    there: list[FaceTrack] = []
    for frame in range(len(video.time)):
        while waiting and waiting[-1].first <= frame:
            there.append(waiting.pop())
        there = [track for track in there if frame < track.stop]
        yield [
            Face(
                number=track.number,
                box=track.box[frame - track.first],
                probabilities=track.probabilities[frame - track.first],
                weight=track.mass,
            )
            for track in there
            if not np.isnan(track.probabilities[frame - track.first, 0])
        ]
