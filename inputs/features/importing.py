"""`import_features`: everything that `est cache import` does, as one call.

Clips are written one by one, and so are committed as those of an extraction: the same command again skips what is there. In memory is
never more than the rows of one clip, those that wait for a commit, and a block of a table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...cache import CacheWriter, Clip, Failure, Progress, Source, Watch, current_environment, open_cache
from ...cache.checksum import of_file
from ...cache.schema import MOMENTS, UNKNOWN, ColumnSpec
from ...cache.sources import source_of
from ...cache.stores.snapshot import staging_path
from ...cache.writing.restart import has_clips, remove_without_clips
from ...errors import SourceError, UsageError, quoted
from ..extracolumns import column_specs, typed_cells
from ..input import ANNOTATIONS, UNTOLD
from .config import ImportConfig
from .filling import fill_cache
from .frames import ClipRows, of_frames, of_windows
from .listed import STAGE
from .plan import ImportPlan, Wanted, of_each_table, plan_import
from .recipes import recipes_of
from .report import ImportReport
from .rows import Rows, read_array, read_spans, read_table
from .trial import expect_one_that_fits, told

if TYPE_CHECKING:
    from ..tablelist import Given

Read = Callable[[], ClipRows]


def import_features(
    sources: Path | str | Sequence[Path | str],
    out: Path | str,
    config: ImportConfig,
    *,
    lists: Given = (),
    labels: str = "none",
    subjects: str = "none",
    filling: bool = False,
    watch: Watch | None = None,
) -> ImportReport:
    """Import features that other software made into a cache, which is resumed if it is there; nothing is extracted.

    `sources` are tables or arrays, files or folders, one or several; `lists` name the clips, their labels and people, as files or data
    frames; else `labels` and `subjects` read them from paths. With `filling` the features become one more array of a cache with the same
    frames.

    >>> import numpy as np, pathlib
    >>> pathlib.Path("theirs").mkdir(exist_ok=True)
    >>> np.save("theirs/a.npy", np.ones((20, 5), np.float32))
    >>> how = est.ImportConfig(by="our network", fps=25)
    >>> est.import_features("theirs", "imported.zarr", how, lists={"id": ["a"], "label": ["happiness"]}).clips
    1
    """
    plan = plan_import(sources, config, lists=lists, labels=labels, subjects=subjects)
    return run_import(plan, Path(out), filling=filling, watch=watch)


def run_import(plan: ImportPlan, out: Path, *, filling: bool = False, watch: Watch | None = None) -> ImportReport:
    """Read and write what a plan found."""
    watch = watch or Watch()
    if filling:
        return fill_cache(plan, out, read_clips, watch)
    exists = out.exists() or staging_path(out).exists()
    if not has_clips(out):
        expect_one_that_fits(plan, read_clips)
        columns = column_specs(clip.input.extra for clip in plan.clips)
        if exists and remove_without_clips(out, recipes_of(plan), columns):
            watch.say(f"{out} had no clips, and is made again with these settings")
    else:
        _expect_room(plan, out)
        columns = column_specs((clip.input.extra for clip in plan.clips), open_cache(out).schema.extra)
    report = ImportReport(out=out, feature=plan.config.feature, warnings=list(plan.warnings))
    environment = current_environment(("numpy",), imported_by=plan.config.by)
    with CacheWriter.open(
        out, recipes_of(plan), labels=plan.labels, columns=columns, environment=environment
    ) as writer:
        for problem in plan.problems:
            if writer.failure(problem.id) != problem:
                writer.fail(problem)
            report.failures.append(problem)
        described = {clip.id: _source(clip) for clip in plan.clips}
        todo = [clip for clip in plan.clips if not _is_there(writer, clip, described[clip.id])]
        waiting = {clip.id for clip in todo}
        for clip in plan.clips:
            if clip.id not in waiting:
                report.unchanged += 1
                report.relabelled += [f"{clip.id}: {change}" for change in writer.update(clip.id, **_told(clip))]
        if exists:
            here = {*(clip.id for clip in plan.clips), *(problem.id for problem in plan.problems)}
            report.not_here = [name for name in open_cache(out).ids if name not in here]
        digests: dict[Path, bytes] = {}
        for done, (clip, read) in enumerate(read_clips(plan, todo), start=1):
            try:
                rows = read()
                path = clip.pieces[0].path
                if path not in digests:
                    digests = {path: of_file(path)}
                source = replace(described[clip.id], digest=digests[path])
                writer.add(_clip(clip, rows, source, columns, plan.config), replacing=clip.id in writer)
                report.add(rows)
            except (SourceError, OSError) as error:
                failure = _failed(clip, error, described[clip.id])
                writer.fail(failure)
                report.failures.append(failure)
            watch.progress(
                Progress(what="Importing", unit="clips", done=done, total=len(todo), failed=len(report.failures))
            )
        report.outdated = [failure.id for failure in report.failures if failure.id in writer]
    return report


def _is_there(writer: CacheWriter, clip: Wanted, source: Source) -> bool:
    """Return whether a clip is in the cache as its files are, with the frames and moments of the list by which rows are checked."""
    if clip.id not in writer or writer.status(clip.id, source) != "unchanged":
        return False
    moments = clip.input.moments()
    return clip.num_frames in (UNKNOWN, writer.num_frames(clip.id)) and all(
        writer.cell(clip.id, name) == moment for name, moment in moments.items()
    )


def read_clips(plan: ImportPlan, clips: Sequence[Wanted]) -> Iterator[tuple[Wanted, Read]]:
    """Yield clips, each with what reads its rows; a table of many is read in one pass, block by block."""
    if not plan.config.id_column:
        yield from ((clip, partial(_read_files, plan, clip)) for clip in clips)
        return
    assert plan.columns is not None
    for path, of_one in of_each_table(clips).items():
        spans = [clip.pieces[0].span for clip in of_one if clip.pieces[0].span is not None]
        try:
            for clip, rows in zip(of_one, read_spans(path, plan.columns, spans), strict=True):
                yield clip, partial(_finish, plan, clip, [rows])
        except SourceError as error:  # of a cell: the clip that it is of, and those behind, are not read
            raise UsageError(
                f"{path}: {error.message}.",
                remedy="correct the table: the clips above that row are in the cache, and the same command resumes",
            ) from error


def _read_files(plan: ImportPlan, clip: Wanted) -> ClipRows:
    parts = []
    for piece in clip.pieces:
        rows = read_table(piece.path, plan.columns) if plan.columns else read_array(piece.path, plan.config)
        if rows.features.shape[1:] != plan.shape:
            raise SourceError(f"its rows have the shape {rows.features.shape[1:]}, and others {plan.shape}")
        parts.append(rows)
    return _finish(plan, clip, parts)


def _finish(plan: ImportPlan, clip: Wanted, parts: list[Rows]) -> ClipRows:
    if not plan.config.of_windows:
        return of_frames(parts[0], plan.config, clip.num_frames)
    levels = [(rows, plan.levels[number] if plan.levels else None) for number, rows in enumerate(parts)]
    return of_windows(levels, plan.config, clip.num_frames, plan.config.feature)


def _expect_room(plan: ImportPlan, out: Path) -> None:
    """Refuse a cache that has other arrays: one more is filled in."""
    found, feature = open_cache(out).recipes.features, plan.config.feature
    if feature not in found and found:
        raise UsageError(
            f"{out} has the features {', '.join(found)}, and not {feature!r}.",
            remedy=f"--into {quoted(out)} adds {feature!r} to its clips; or another --out",
        )


def _source(clip: Wanted) -> Source:
    """Describe the files of a clip: the first one, and when any of them was last changed."""
    found = [source_of(piece.path, digest=False) for piece in clip.pieces]
    return replace(found[0], mtime_ns=max(source.mtime_ns for source in found))


def _told(clip: Wanted) -> dict[str, Any]:
    """Return what is told of a clip, but for its rows and its extra columns."""
    known = {name: getattr(clip.input, name) for name in ANNOTATIONS}
    return {name: value for name, value in known.items() if value != UNTOLD[name]} | clip.input.moments()


def _clip(clip: Wanted, rows: ClipRows, source: Source, columns: dict[str, ColumnSpec], config: ImportConfig) -> Clip:
    count, one = len(rows.state), clip.input
    if late := [name for name in MOMENTS if getattr(one, name) >= count]:
        raise SourceError(f"the list says {late[0]} {getattr(one, late[0])}, and the clip has {count} frames")
    told = [name for name in MOMENTS if getattr(one, name) >= 0]
    if rows.gap and told:
        raise SourceError(
            f"its rows leave frames out ({rows.gap}), and the list says {told[0]} {getattr(one, told[0])}, which "
            "counts all frames: a row for each frame, or a list without onset, apex and offset"
        )
    span = clip.pieces[0].span
    return Clip(
        id=clip.id,
        path=str(one.path),
        **one.annotations,
        **one.moments(),
        extra=typed_cells(one.extra, columns, clip.id),
        fps=rows.fps,
        declared=clip.num_frames if clip.num_frames >= 0 else None,
        first_frame=0 if span is None else span.first,
        source=source,
        state=rows.state,
        time=rows.time,
        score=rows.score,
        features={} if rows.rows is None else {config.feature: rows.rows},
        windows=rows.windows,
        **rows.without_face,
    )


def _failed(clip: Wanted, error: Exception, source: Source) -> Failure:
    return Failure(
        id=clip.id, path=str(clip.input.path), stage=STAGE, error=told(error), source=source, **clip.input.annotations
    )
