"""`watch_camera`: apparent expressions in front of a camera, in a window; nothing is stored unless it is asked for."""

from __future__ import annotations

import csv
import os
import sys
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import IO, Any, Protocol

import cv2
import numpy as np

from ...cache.schema import DETECTED
from ...cache.watch import Watch
from ...encoders.device import parse_device
from ...errors import EstError, UsageError
from ...extract.video.stream import prepare_opencv
from ...train.runs.run import Run
from .config import PredictConfig
from .live_faces import LiveFaces
from .output import OutputFolder
from .pictures.overlay import Face, Overlay
from .recipe import recipe_of
from .tables import BOX, STATES, TIMELINE, names_of, timeline_columns
from .windows import cutting_of

TITLE = "est: apparent expression (q ends)"
VIDEO = "camera.annotated.mp4"
QUIT = (ord("q"), 27)


class Capture(Protocol):
    """A camera, or what stands for one."""

    def read(self) -> tuple[bool, Any]:
        """Return whether there is a picture, and the picture.  # (H, W, 3) BGR"""
        ...

    def release(self) -> None:
        """Close it."""
        ...


@dataclass(frozen=True, kw_only=True)
class Watched:
    """What a camera has shown."""

    pictures: int
    faces: int
    seconds: float
    out: Path | None


def watch_camera(
    camera: int,
    run: Run | Path | str,
    *,
    out: Path | str | None = None,
    config: PredictConfig | None = None,
    overwrite: bool = False,
    watch: Watch | None = None,
    open_capture: Callable[[int], Capture] | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Watched:
    """Predict what a camera sees until the window is closed, `q` is pressed, or the pictures end; with `out` the result is stored."""
    config, watch = config or PredictConfig(), watch or Watch()
    run = run if isinstance(run, Run) else Run.open(run)
    shown = has_display()
    if not shown and out is None:
        raise UsageError(
            "There is no display for a window (neither DISPLAY nor WAYLAND_DISPLAY is set).",
            remedy="--save --out FOLDER writes the annotated video without one, until Ctrl-C",
        )
    cutting = cutting_of(run, config)
    began = datetime.now().isoformat(timespec="seconds")
    config = replace(config, device=str(parse_device(config.device.split(",")[0])))
    with ExitStack() as held, ExitStack() as stack:
        folder = None
        if out is not None:
            folder = OutputFolder(Path(out), {"camera": camera, "began": began}, overwrite=overwrite)
            held.callback(folder.close)
        capture = (open_capture or open_camera)(camera)
        stack.callback(capture.release)
        recipe = recipe_of(run, config)
        for line in recipe.lines:
            watch.say(line)
        if cutting.note:
            watch.say(cutting.note)
        watch.say(f"the last {cutting.window:.3g} s of each face, every {cutting.stride:.2g} s")
        watch.say(f"stored in {out}" if out is not None else "nothing is stored")
        faces = LiveFaces(recipe, cutting)
        stack.callback(faces.close)
        record = None
        if folder is not None:
            folder.begin()
            record = stack.enter_context(recording(folder, run.labels, f"camera{camera}"))
        begin = clock()
        pictures = known = 0
        moment = 0.0
        overlay: Overlay | None = None
        try:
            while True:
                there, frame = capture.read()
                if not there or frame is None:
                    break
                moment = clock() - begin
                found = faces.see(frame, moment)
                known = max([known, *(face.number for face in found)])
                overlay = overlay or Overlay(run.labels, frame.shape[1::-1], strips=0)
                picture = overlay.draw(frame, found, [], moment=moment, end=moment)
                if record is not None:
                    record.add(pictures, moment, picture, found)
                pictures += 1
                if shown and not show(picture):
                    break
        except KeyboardInterrupt:
            watch.say("ended by Ctrl-C")
        stack.close()  # the recording is whole
        if not pictures:
            raise EstError(
                f"Camera {camera} gave no picture.", remedy="another --camera, or close the program that uses it"
            )
        if folder is not None:
            folder.finish(
                {
                    "run": str(run.path),
                    "heading": run.facts["heading"],
                    "labels": list(run.labels),
                    "camera": camera,
                    **recipe.ways,
                    "began": began,
                    "pictures": pictures,
                    "faces": known,
                    "seconds": round(moment, 3),
                }
            )
    return Watched(pictures=pictures, faces=known, seconds=moment, out=None if out is None else Path(out))


def open_camera(number: int) -> Capture:
    """Open a camera of this machine."""
    prepare_opencv()  # a camera that is not there is told by an exception
    capture = cv2.VideoCapture(number)
    if not capture.isOpened():
        capture.release()
        raise UsageError(
            f"There is no camera {number}, or another program uses it.", remedy="--camera with another number"
        )
    capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # the newest picture, not one that has waited
    return capture


def has_display() -> bool:
    """Return whether a window can be shown: asked before OpenCV is, which ends the process where there is no display."""
    return sys.platform != "linux" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def show(picture: np.ndarray) -> bool:
    """Show a picture in the window; say whether the window stays open."""
    try:
        cv2.imshow(TITLE, picture)
        return cv2.waitKey(1) & 0xFF not in QUIT and cv2.getWindowProperty(TITLE, cv2.WND_PROP_VISIBLE) >= 1
    except cv2.error as error:
        raise EstError(
            "This build of OpenCV opens no windows (opencv-python-headless).",
            remedy="--save --out FOLDER with DISPLAY unset, or pip install opencv-python in its place",
        ) from error


class Recording:
    """The annotated pictures and the timeline of a camera, written as they come."""

    def __init__(self, path: Path, stack: ExitStack, table: IO[str], labels: tuple[str, ...], name: str) -> None:
        self._path, self._stack, self._labels, self._name = path, stack, labels, name
        self._table = csv.writer(table, lineterminator="\n")
        self._table.writerow(timeline_columns(None, labels))
        self._video: Any = None

    def add(self, number: int, moment: float, picture: np.ndarray, faces: list[Face]) -> None:
        """Write a picture, and a row for each face in it."""
        if self._video is None:
            from .pictures.annotated_video import VideoFile

            size = (picture.shape[1], picture.shape[0])
            self._video = self._stack.enter_context(VideoFile(self._path, size, fps=0.0))
        self._video.add(picture, moment)
        for face in faces:
            box = [f"{edge:.1f}" for edge in face.box.tolist()]
            label = names_of(face.probabilities[None], self._labels)[0]
            shares = [f"{share:.6g}" for share in face.probabilities.tolist()]
            state = STATES[DETECTED]
            self._table.writerow(
                [self._name, face.number, number, f"{moment:.3f}", *box[: len(BOX)], state, label, *shares]
            )


@contextmanager
def recording(folder: OutputFolder, labels: tuple[str, ...], name: str) -> Generator[Recording]:
    """Yield a recording into a folder."""
    with ExitStack() as stack:
        table = stack.enter_context(open(folder.file(f"{TIMELINE}.csv"), "w", newline="", encoding="utf-8"))
        yield Recording(folder.file(VIDEO), stack, table, labels, name)
