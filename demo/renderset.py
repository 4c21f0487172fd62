"""A rendered set on disk: MP4 files by label, and the manifest that makes them a set.

A video is written under a name that no reader takes for a video and renamed when it is whole; the manifest comes last. What an
interrupted render leaves is therefore whole clips and no manifest. Rendering again with `overwrite` removes only what a manifest,
or the list of an unfinished render, names.
"""

import csv
import os
import re
import shutil
import signal
import tempfile
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from multiprocessing.synchronize import Event
from pathlib import Path

import cv2

from ..cache.processes import nameless_main
from ..cache.watch import Progress, Watch
from ..errors import EstError, UsageError, quoted
from .clip import render_clip
from .course import plan_span
from .spec import ClipPlan, RenderSpec, plan_set

MANIFEST = "manifest.csv"
COLUMNS = ("path", "label", "subject", "split", "onset", "apex", "offset", "seed")
DATABASE = "extra:database"  # of micro-expressions, another column
UNFINISHED = ".render-unfinished"  # what a render is about to write, there until the manifest is
CLIP_NAME = re.compile(r"[a-z-]+/s\d{3,}_\d{2,}\.mp4")  # what a render calls its clips, and nothing outside the folder


def render_set(
    spec: RenderSpec,
    out: Path | str,
    *,
    overwrite: bool = False,
    workers: int | None = None,
    watch: Watch | None = None,
) -> list[ClipPlan]:
    """Render labelled videos of faces into a folder, with a list of them; on all cores by default.

    >>> plans = est.render_set(est.RenderSpec(subjects=1, clips_per_subject=1, frames=(15, 15)), "drawn", workers=1)
    >>> [(plan.path, plan.num_frames) for plan in plans]
    [('disgust/s000_00.mp4', 15)]
    """
    out = Path(out)
    if workers is not None and workers < 1:
        raise UsageError(f"workers: expected a whole number from 1, found {workers}")
    plans = plan_set(spec)
    watch = watch or Watch()
    try:
        _prepare_folder(out, plans, overwrite)
        with tempfile.TemporaryDirectory(prefix="est-render-") as links:
            try:
                workers = min(workers or _num_cores(), len(plans))
                if workers == 1:
                    for done, plan in enumerate(plans, start=1):
                        write_clip(plan, out, Path(links))
                        watch.progress(Progress(what="Rendering", unit="videos", done=done, total=len(plans)))
                else:
                    _write_clips(plans, out, Path(links), workers, watch)
            finally:
                for plan in plans:
                    _partial(out / plan.path).unlink(missing_ok=True)
        _write_manifest(out, plans)
    except OSError as error:
        message = f"cannot write to {out}: {error.strerror or error}"
        raise EstError(message, remedy="free some space, or choose another folder") from error
    return plans


def write_clip(plan: ClipPlan, out: Path, links: Path, stop: Event | None = None) -> None:
    """Render one clip into its file, whole or not at all; `links` is a folder for names that must end in .mp4."""
    target = out / plan.path
    partial = _partial(target)
    # OpenCV chooses the container by the file's suffix, and that suffix must not be seen in the set's folder before the video is
    # whole: it is written through a link that lies elsewhere.
    link = links / f"{plan.id.replace('/', '_')}.mp4"
    try:
        target.parent.mkdir(exist_ok=True)
        partial.touch()
        link.symlink_to(partial.resolve())
        writer = cv2.VideoWriter(str(link), cv2.VideoWriter.fourcc(*"mp4v"), float(plan.fps), plan.size)
        if not writer.isOpened():
            raise EstError(
                f"OpenCV cannot write MPEG-4 video (codec mp4v) to {target}",
                remedy="install an OpenCV built with FFmpeg: pip install opencv-python",
            )
        try:
            for frame, _ in render_clip(plan):
                if stop is not None and stop.is_set():
                    return
                writer.write(frame)
        finally:
            writer.release()
        _expect_whole(link, target, plan)
        partial.rename(target)
    finally:
        link.unlink(missing_ok=True)
        partial.unlink(missing_ok=True)


def _write_clips(plans: list[ClipPlan], out: Path, links: Path, workers: int, watch: Watch) -> None:
    """Render clips in processes; what they render does not depend on which one does it."""
    context = get_context("spawn")
    stop = context.Event()
    with ProcessPoolExecutor(workers, context, initializer=_start_worker, initargs=(stop,)) as pool:
        try:
            with nameless_main():
                futures: list[Future[None]] = [pool.submit(_work, plan, out, links) for plan in plans]
            for done, future in enumerate(as_completed(futures), start=1):
                future.result()
                watch.progress(Progress(what="Rendering", unit="videos", done=done, total=len(plans)))
        except BrokenProcessPool as error:
            message = "a rendering process ended abruptly"
            raise EstError(message, remedy="free some memory, or use fewer workers") from error
        finally:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)


_stop: Event | None = None  # in a worker: the parent has given up


def _start_worker(stop: Event) -> None:
    global _stop  # noqa: PLW0603 (an executor's initializer can hand over in no other way)
    _stop = stop
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    cv2.setNumThreads(1)


def _work(plan: ClipPlan, out: Path, links: Path) -> None:
    if _stop is None or not _stop.is_set():
        write_clip(plan, out, links, _stop)


def _expect_whole(link: Path, target: Path, plan: ClipPlan) -> None:
    """OpenCV does not say when a write fails, as on a full disk: the index at the file's end tells."""
    reader = cv2.VideoCapture(str(link))
    found = int(reader.get(cv2.CAP_PROP_FRAME_COUNT)) if reader.isOpened() else 0
    readable = reader.isOpened() and reader.read()[0]
    reader.release()
    if found != plan.num_frames or not readable:
        free = shutil.disk_usage(target.parent).free / 1e6
        raise EstError(
            f"{target} could not be written completely: expected {plan.num_frames} frames, found {found} ({free:.0f} MB are free)",
            remedy="free some space, or choose another folder",
        )


def _prepare_folder(out: Path, plans: list[ClipPlan], overwrite: bool) -> None:
    """Make the folder ready, removing at most what an earlier render made."""
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out}: expected a folder to render into, found a file", remedy="choose another --out")
    if out.is_dir() and any(out.iterdir()) and not overwrite:
        state = "holds an unfinished render" if (out / UNFINISHED).exists() else "is not empty"
        replacing = "; or --overwrite, which replaces the clips of the earlier render" if _own_clips(out) else ""
        raise UsageError(f"{out} {state}: expected an empty or new folder", remedy=f"--out another folder{replacing}")
    try:
        out.mkdir(parents=True, exist_ok=True)
        own = _own_clips(out)
        foreign = [plan.path for plan in plans if plan.path not in own and (out / plan.path).exists()]
        if foreign:
            raise UsageError(
                f"{out / foreign[0]} exists, and is not listed in the manifest of a render",
                remedy=f"--out another folder; or, if the folder has nothing but rendered clips: rm -r {quoted(out)}",
            )
        # The list comes before any removal and any clip: whatever happens next, a later run knows what is ours.
        (out / UNFINISHED).write_text("\n".join(sorted(own | {plan.path for plan in plans})) + "\n")
    except (PermissionError, NotADirectoryError, FileExistsError) as error:
        raise UsageError(f"{out}: cannot write there ({error.strerror})", remedy="choose another --out") from error
    (out / MANIFEST).unlink(missing_ok=True)
    for path in sorted(own):
        (out / path).unlink(missing_ok=True)
        _partial(out / path).unlink(missing_ok=True)
    for folder in {(out / path).parent for path in own}:
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def _own_clips(out: Path) -> set[str]:
    """Return the paths that an earlier render listed as its own."""
    listed: list[str] = []
    if (out / MANIFEST).is_file():
        with (out / MANIFEST).open(newline="") as file:
            listed += [row.get("path") or "" for row in csv.DictReader(file)]
    if (out / UNFINISHED).is_file():
        listed += (out / UNFINISHED).read_text().splitlines()
    return {path for path in listed if CLIP_NAME.fullmatch(path)}


def _write_manifest(out: Path, plans: list[ClipPlan]) -> None:
    partial = _partial(out / MANIFEST)
    with partial.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        has_databases = any(plan.database for plan in plans)
        writer.writerow([*COLUMNS, DATABASE] if has_databases else COLUMNS)
        for plan in plans:
            onset, offset = plan_span(plan) or ("", "")
            row = [plan.path, plan.label, plan.subject, plan.split, onset, plan.apex, offset, plan.seed]
            writer.writerow([*row, plan.database] if has_databases else row)
        file.flush()
        os.fsync(file.fileno())
    partial.rename(out / MANIFEST)
    (out / UNFINISHED).unlink()


def _partial(target: Path) -> Path:
    return target.with_name(f".{target.name}.partial")


def _num_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
