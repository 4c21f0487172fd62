"""`predict`: videos → apparent expressions over time, by the models of a run: everything that `est predict` does, as one call."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...cache import Failure
from ...cache.checksum import of_file
from ...cache.interrupt import listening
from ...cache.sources import source_of
from ...cache.watch import Watch
from ...errors import EstError, UsageError, counted, grouped
from ...extract.clip_pipeline import ClipPipeline
from ...extract.extraction import at_work
from ...extract.threads import default_workers
from ...extract.workers.clip_worker import STOPPING
from ...inputs.given import as_found
from ...inputs.input import FoundInputs, Input
from ...train.data.clipset import warn_of_rates
from ...train.runs.run import CHECKPOINT, CONFIG, Run
from .config import PredictConfig
from .drawing import DRAWN, Drawings, draw_video
from .output import OutputFolder, writing
from .recipe import RunRecipe, parts_asked, recipe_of
from .sink import PredictionSink
from .tables import TIMELINE, Table, TableFiles, expect_pyarrow, read_table, timeline_columns, window_columns
from .track import PredictedVideo
from .windows import Cutting, cutting_of

if TYPE_CHECKING:
    import pandas

    from ...inputs.tablelist import Given

NOTE = "Apparent expressions, as a model reads them from faces; not what anybody feels."


@dataclass(frozen=True, kw_only=True, eq=False)
class Predictions:
    """What was predicted: iterating gives a row for each window of each face."""

    labels: tuple[str, ...]
    windows: Table
    videos: Sequence[dict[str, Any]]  # of each its faces, in a few numbers
    failures: Sequence[Failure]
    before: int  # videos that an interrupted call had predicted
    frames: int  # that were predicted now
    seconds: float
    out: Path | None
    lines: Sequence[str]  # what was said of the drawings
    _timeline: Table | None = None

    @property
    def timeline(self) -> Table:
        """Return a row for each frame of each face; of predictions that were written to a folder it is read from there."""
        if self._timeline is not None:
            return self._timeline
        assert self.out is not None
        return read_table(self.out / f"{TIMELINE}.csv")

    def __len__(self) -> int:
        return len(self.windows)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.windows)

    def to_pandas(self) -> pandas.DataFrame:
        """Return a row for each window of each face; needs pandas. `timeline.to_pandas()` has one for each frame."""
        return self.windows.to_pandas()

    @property
    def faceless(self) -> list[str]:
        """Name the videos that show no face."""
        return [video["id"] for video in self.videos if not video["tracks"]]


def predict(
    videos: Given | FoundInputs,
    run: Run | Path | str,
    *,
    out: Path | str | None = None,
    config: PredictConfig | None = None,
    overwrite: bool = False,
    watch: Watch | None = None,
) -> Predictions:
    """Predict the apparent expressions in videos by the models of a run; with `out` into a folder, else in memory alone.

    `videos` are videos, folders, lists and data frames, one or several, or what `find_inputs` found; they become features by the
    extraction that the run has learnt from. `config` says which faces, over which windows, by which of the models. The same call resumes
    a folder that was started; `overwrite` replaces one that holds other predictions.

    >>> found = est.predict("videos/anger/s001_01.mp4", "runs/first", config=est.PredictConfig(device="cpu"))
    >>> found.to_pandas()[["video", "track", "first_frame"]].values.tolist()  # a row for each window of each face
    [['s001_01', 1, 0]]
    >>> len(found.timeline.to_pandas()) == found.frames  # a row for each frame of each face
    True
    """
    start, watch, config = time.monotonic(), watch or Watch(), config or PredictConfig()
    run = (
        run if isinstance(run, Run) else Run.open(run)
    )  # before the videos: a folder of many takes time to look through
    found = as_found(videos, watch)
    expect_here(found)
    if config.parquet:
        expect_pyarrow()
    cutting = cutting_of(run, config)
    with _folder(out, _settings(run, config, cutting), overwrite=overwrite) as folder, writing(folder.path):
        recipe = recipe_of(run, config)
        for line in (*recipe.lines, cutting.describe(), *([cutting.note] if cutting.note else [])):
            watch.say(line)
        for warning in _warnings(recipe):
            watch.warn(warning)
        folder.begin(recipe.computed)
        known = _known(folder, found.inputs)
        before = len(known)
        frames, failures = _extract(found, known, recipe, cutting, folder, watch)
        kept = [known[source.id] for source in found.inputs if source.id in known]
        if not kept and folder.replaces:
            folder.give_up()
            raise EstError(
                f"Nothing could be predicted, and {out} keeps the earlier predictions: "
                f"{grouped((one.id, one.error) for one in failures)}.",
                remedy="other videos, or another --out",
            )
        drawings = Drawings(
            picture=len(found.inputs) == 1 if config.picture is None else config.picture,
            video=len(found.inputs) == 1 if config.video is None else config.video,
        )
        summaries, windows, timelines, said = [], [window_columns(None, run.labels)], [], []
        if out is None:
            timelines.append(timeline_columns(None, run.labels))
            for path in kept:
                video = PredictedVideo.load(path)
                summaries.append(summary_of(video, run.labels))
                windows.append(window_columns(video, run.labels))
                timelines.append(timeline_columns(video, run.labels))
        else:
            tables = TableFiles(folder.path, run.labels, parquet=config.parquet)
            for name in tables.names:
                folder.file(name)
            with tables:
                for path in kept:
                    video = PredictedVideo.load(path)
                    tables.add(video)
                    windows.append(window_columns(video, run.labels))
                    summaries.append(summary_of(video, run.labels))
            for path, summary in zip(kept, summaries, strict=True):
                video = PredictedVideo.load(path)
                drawn = draw_video(video, run.labels, folder, drawings, drawn_note=path.with_suffix(DRAWN), watch=watch)
                summary |= drawn.files
                said += drawn.lines
                failures += drawn.failures
            folder.finish(
                {
                    "note": NOTE,
                    "run": str(run.path),
                    "heading": run.facts["heading"],
                    "models": list(recipe.models),
                    "labels": list(run.labels),
                    "cutting": {**cutting.facts, "note": cutting.note},
                    "face": config.face,
                    **recipe.ways,
                    "videos": summaries,
                    "failures": [
                        {"id": one.id, "path": one.path, "stage": one.stage, "error": one.error} for one in failures
                    ],
                }
            )
    return Predictions(
        labels=run.labels,
        windows=Table.of(windows),
        videos=summaries,
        failures=failures,
        before=before,
        frames=frames,
        seconds=time.monotonic() - start,
        out=None if out is None else Path(out),
        lines=said,
        _timeline=Table.of(timelines) if timelines else None,
    )


def summary_of(video: PredictedVideo, labels: Sequence[str]) -> dict[str, Any]:
    """Return what is said of a video in a few numbers."""
    tracks = []
    for track in video.tracks:
        mean, shares = track.mean(video.time), track.shares(video.time)
        tracks.append(
            {
                "track": track.number,
                "start": round(float(video.time[track.first]), 3),
                "end": round(float(video.time[track.stop - 1]), 3),
                "frames": int((track.state != 0).sum()),
                "windows": len(track.windows),
                "apparent_expression": labels[int(mean.argmax())],
                "probabilities": {name: round(float(p), 6) for name, p in zip(labels, mean, strict=True)},
                "share_of_time": {name: round(float(p), 4) for name, p in zip(labels, shares, strict=True)},
            }
        )
    return {
        "id": video.id,
        "path": video.path,
        "frames": len(video.time),
        "seconds": round(video.seconds, 3),
        "fps": video.fps,
        "size": list(video.size),
        "decoder": video.decoder,
        "missing": video.missing,
        "decode_errors": video.decode_errors,
        "tracks": tracks,
    }


@contextmanager
def _folder(out: Path | str | None, settings: dict[str, Any], *, overwrite: bool) -> Generator[OutputFolder]:
    """Yield the folder of the output, or one that goes away."""
    with ExitStack() as stack:
        if out is None:
            out = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="est-predict-"))) / "predictions"
        folder = OutputFolder(Path(out), settings, overwrite=overwrite)
        stack.callback(folder.close)
        yield folder


def expect_here(found: FoundInputs) -> None:
    """Refuse videos at URLs: they are read twice, and drawn on."""
    if remote := [one.place for one in found.inputs if one.remote is not None]:
        raise UsageError(
            f"A prediction reads videos of this machine, found {remote[0]}.", remedy="download it, and name the file"
        )


def _settings(run: Run, config: PredictConfig, cutting: Cutting) -> dict[str, Any]:
    """Return what must be the same for a prediction to be resumed."""
    rows = ("face", "part", "weights", "detector", "precision", "engine")
    files = [run.path / CONFIG, *(run.part(part) / CHECKPOINT for part in parts_asked(run, config.part))]
    return {
        "run": str(run.path.absolute()),
        "labels": list(run.labels),
        "files": {str(path.relative_to(run.path)): of_file(path).hex() for path in files if path.is_file()},
        "cache_fingerprints": run.facts["cache"]["fingerprints"],
        **cutting.facts,
        **{name: getattr(config, name) for name in rows},
    }


def _warnings(recipe: RunRecipe) -> Iterator[str]:
    """Warn if the run's detector and crops may differ from what a user expects."""
    if recipe.extraction.frames_are_crops:
        yield (
            f"{recipe.run.path} was trained on face crops, so each frame is taken as one: "
            "--detector retinaface looks for faces in whole pictures."
        )
    elif recipe.extraction.detector != recipe.frames.detector:
        yield (
            f"Faces are found by {recipe.extraction.detector}; the run was trained on faces found by {recipe.frames.detector}."
        )


def _extract(
    found: FoundInputs,
    known: dict[str, Path],
    recipe: RunRecipe,
    cutting: Cutting,
    folder: OutputFolder,
    watch: Watch,
) -> tuple[int, list[Failure]]:
    """Send the inputs that are not `known` yet through the pipeline, which makes them so; return the frames, and what failed."""
    todo = [source for source in found.inputs if source.id not in known]
    if known:
        watch.say(f"{len(known)} of {counted(len(found.inputs), 'video')} were predicted before and have not changed")
    failures = list(found.problems)
    if not todo:
        return 0, failures
    rates: list[float] = []
    frames: list[int] = []

    def done(video: PredictedVideo) -> None:
        rates.append(video.fps)
        frames.append(len(video.time))
        path = folder.video(by_id[video.id], video.num_bytes, video.mtime_ns)
        video.save(path)
        known[video.id] = path

    by_id = {source.id: source for source in todo}
    device_workers = recipe.device_workers(say=watch.say)
    sink = PredictionSink(recipe, cutting, todo, done)
    workers = recipe.extraction.workers or default_workers(recipe.devices)
    with listening(STOPPING) as stop, at_work(device_workers):
        pipeline = ClipPipeline(todo, sink, list(device_workers), recipe.extraction, workers, stop)
        pipeline.run(_Predicting(watch))
    if stop.wanted:
        watch.say(f"{counted(pipeline.left, 'video', 'are')} left: the same command resumes")
        raise KeyboardInterrupt
    trained = np.array([recipe.run.facts.get("frame_rate") or 0.0])
    if warning := warn_of_rates(trained, np.array(rates)):
        watch.warn(warning.replace("test clips", "videos"))
    for count, what in (
        (pipeline.incomplete, "have fewer frames than their files declare"),
        (pipeline.damaged, "have damaged places that could not be decoded"),
    ):
        if count:
            watch.warn(f"{len(count)} faces are of videos that {what}: {', '.join(count[:5])}")
    return sum(frames), [*failures, *pipeline.failures]


def _known(folder: OutputFolder, inputs: Sequence[Input]) -> dict[str, Path]:
    """Return where what was predicted of inputs before is kept, as far as they are today what they were then."""
    found = {}
    for source in inputs:
        try:
            now = source_of(source.path, digest=False)
        except OSError:
            continue
        path = folder.video(source, now.num_bytes, now.mtime_ns)
        if path.is_file():
            found[source.id] = path
    return found


class _Predicting(Watch):
    """Tells the pipeline's progress as that of a prediction."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self.say, self.warn = watch.say, watch.warn

    def progress(self, progress: Any) -> None:
        self._watch.progress(replace(progress, what="Predicting"))
