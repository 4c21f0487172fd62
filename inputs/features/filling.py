"""Imported features as one more array of a cache: of the same clips, with as many rows as these have frames.

A feature that some clips lack is none: it is visible when every clip has it, and running the same command again resumes. Rows that were
added before are compared with what their files hold now.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from ...cache import Cache, CacheWriter, Progress, Watch, open_cache
from ...cache.schema import NO_FACE
from ...errors import CacheError, RecipeMismatch, SourceError, UsageError, counted, differing, grouped, quoted, some
from .frames import ClipRows
from .listed import naming_nearest
from .plan import ImportPlan, Wanted
from .recipes import feature_recipe
from .report import ImportReport
from .trial import ReadClips, common_remedy, said

CORRECT = "correct the file: the same command then resumes"


def fill_cache(plan: ImportPlan, out: Path, read_clips: ReadClips, watch: Watch) -> ImportReport:
    """Add a feature to every clip of a cache, in the order of its table."""
    config = plan.config
    report = ImportReport(out=out, feature=config.feature, filling=True, warnings=list(plan.warnings))
    if config.of_windows:
        raise UsageError(
            f"Windows cannot be added to the clips of {out}: a cache gets them when it is made.", remedy="--out ANOTHER"
        )
    with CacheWriter.open(out) as writer:
        cache = open_cache(out)
        recipe = feature_recipe(plan, cache.recipes.frames.fingerprint)
        there = cache.recipes.features.get(config.feature)
        if there is not None:
            if there != recipe:
                pairs = {name: (getattr(there, name), getattr(recipe, name)) for name in there.differences(recipe)}
                raise RecipeMismatch(differing(f"{config.feature!r} in {out}", pairs), remedy="--feature ANOTHER")
            ids = set(cache.ids)
            compared = [clip for clip in plan.clips if clip.id in ids]
            changed = _changed(
                plan, cache, compared, read_clips, lambda name, rows: _is_held(cache, name, config.feature, rows)
            )
            if changed:
                raise CacheError(
                    f"{len(changed)} of {len(cache)} clips of {out} have other rows of {config.feature!r} than these files: "
                    f"{some(map(repr, changed))}.",
                    remedy="--feature ANOTHER adds what the files hold now; or restore the earlier files",
                )
            report.unchanged = len(compared)
            report.not_here = sorted(ids - {clip.id for clip in compared})
            return report
        if others := sorted(writer.manifest.filling.keys() - {config.feature}):
            raise CacheError(
                f"{', '.join(map(repr, others))} is not complete in {out}: only some clips have it.",
                remedy="finish that one first, by the command that started it",
            )
        begun = writer.manifest.filling.get(config.feature)
        first = begun.clips if begun else 0
        wanted = [cache.ids[place] for place in np.flatnonzero(cache.clips.rows >= first).tolist()]
        clips = _in_order(plan, cache, wanted)
        _expect_all(plan, cache, clips, read_clips)  # a feature that was started cannot take other settings
        filler = writer.fill(config.feature, recipe)
        row_of = dict(zip(cache.ids, cache.clips.rows.tolist(), strict=True))
        before = [clip for clip in plan.clips if row_of.get(clip.id, first) < first]
        if changed := _changed(
            plan, cache, before, read_clips, lambda name, rows: filler.holds(row_of[name], rows.astype(config.dtype))
        ):
            raise CacheError(
                f"{counted(len(changed), 'clip')} got {config.feature!r} before this import of {out} was stopped, with other rows "
                f"than are in these files now: {some(map(repr, changed))}.",
                remedy=f"restore the earlier files; or start again in a copy without it: est cache convert {quoted(out)} COPY.zarr",
            )
        for done, (clip, read) in enumerate(read_clips(plan, clips), start=1):
            state = cache.clip(clip.id, []).state
            try:
                rows, zeroed = _rows(read(), state)
            except (SourceError, OSError) as error:
                raise CacheError(
                    f"{clip.id}: {clip.pieces[0].path}: {said(error)}; nothing of {config.feature!r} is visible in {out}.",
                    remedy=CORRECT,
                ) from error
            filler.add(clip.id, rows.astype(config.dtype), state)
            report.clips += 1
            report.frames += len(state)
            if zeroed:
                report.notes["rows left out, of frames without a face in the cache"] += zeroed
            writer.commit_if_due()
            watch.progress(Progress(what=f"Adding {config.feature}", unit="clips", done=done, total=len(clips)))
        writer.commit()
    return report


def _expect_all(plan: ImportPlan, cache: Cache, clips: Sequence[Wanted], read_clips: ReadClips) -> None:
    """Refuse features of which some do not fit their clips, before anything is written."""
    wrong: dict[str, Exception] = {}
    for clip, read in read_clips(plan, clips):
        try:
            _rows(read(), cache.clip(clip.id, []).state)
        except (SourceError, OSError) as error:
            wrong[clip.id] = error
    if wrong:
        first = next(one for one in clips if one.id in wrong)
        causes = grouped((name, said(error)) for name, error in wrong.items())
        raise CacheError(
            f"{len(wrong)} of {len(cache)} clips cannot take {plan.config.feature!r}: {causes}; the first is "
            f"{first.pieces[0].path}. Nothing was added to {cache.path}.",
            remedy=common_remedy(wrong.values()) or CORRECT,
        )


def _changed(
    plan: ImportPlan,
    cache: Cache,
    clips: Sequence[Wanted],
    read_clips: ReadClips,
    is_same: Callable[[str, np.ndarray], bool],
) -> list[str]:
    """Return the clips whose files no longer hold the rows that were taken from them."""
    changed = []
    for clip, read in read_clips(plan, clips):
        try:
            rows, _ = _rows(read(), cache.clip(clip.id, []).state)
        except (SourceError, OSError):
            changed.append(clip.id)
            continue
        if not is_same(clip.id, rows):
            changed.append(clip.id)
    return changed


def _is_held(cache: Cache, name: str, feature: str, rows: np.ndarray) -> bool:
    held = cache.clip(name, [feature]).features[feature]
    return np.array_equal(held, rows.astype(held.dtype))


def _in_order(plan: ImportPlan, cache: Cache, wanted: Iterable[str]) -> list[Wanted]:
    """Return the features of clips of a cache; refuse it where one has none, or where a table has them in another order."""
    known = {clip.id: clip for clip in plan.clips}
    unread = {problem.id: problem.error for problem in plan.problems}
    names = list(wanted)
    if missing := [name for name in names if name not in known]:
        told = [
            f"{name!r} ({unread[name]})" if name in unread else f"{name!r}{naming_nearest(name, list(known))}"
            for name in missing[:3]
        ]
        raise CacheError(
            f"{len(missing)} of {len(cache)} clips of {cache.path} have no features: {some([*told, *missing[3:]])}.",
            remedy=f"their files, or a table with their ids; or est cache drop {quoted(cache.path)} {quoted(missing[0])}",
        )
    found = [known[name] for name in names]
    tables = [
        (str(clip.pieces[0].path), clip.pieces[0].span.first) for clip in found if clip.pieces[0].span is not None
    ]
    if tables != sorted(tables, key=lambda one: one[1]) or len({path for path, _ in tables}) > 1:
        raise UsageError(
            f"{cache.path} is filled in the order of its clips, and the table has them in another one.",
            remedy="sort the table by the order of est cache ls, or name a folder with a file for each clip",
        )
    return found


def _rows(found: ClipRows, state: np.ndarray) -> tuple[np.ndarray, int]:
    """Return a clip's rows for the frames that the cache has of it, and how many were left out."""
    assert found.rows is not None
    if len(found.rows) != len(state):
        raise SourceError(
            f"it has {counted(len(found.rows), 'row')}, and the clip {counted(len(state), 'frame')}",
            remedy="files with a row for each frame of the cache's clips; or --out ANOTHER, a cache of these features alone",
        )
    face = state != NO_FACE
    if (lost := np.flatnonzero(face & (found.state == NO_FACE))).size:
        raise SourceError(
            f"{counted(len(lost), 'frame')} with a face in the cache and none here, frame {lost[0]} for one",
            remedy="--nan zero, which takes what is empty as 0; or --out ANOTHER, a cache with faces of its own",
        )
    lone = ~face & found.rows.reshape(len(face), -1).any(axis=1)
    rows = found.rows.copy()
    rows[~face] = 0
    return rows, int(lone.sum())
