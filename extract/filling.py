"""New features for clips that are in a cache: another tap, mirrored crops, other weights, views.

It is the pipeline of new clips without the detector: clip workers bring the crops, device workers encode them, one thread writes, in the
order of the table. The crops come from this cache, or from the one that it is made of. A feature is visible when every clip has it; until
then what is committed waits, and running the same command again resumes. One clip whose crops cannot be made again stops the filling,
because a feature that some clips lack is none.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from ..cache import Cache, CacheWriter, FeatureRecipe, open_cache
from ..cache.interrupt import Stop
from ..cache.schema import FeatureSpec
from ..cache.stores.manifest import Manifest
from ..cache.watch import Watch
from ..cache.writing.filling import FeatureFiller
from ..crops.views import ViewConfig
from ..errors import CacheError, RecipeMismatch, differing, quoted, some
from ..inputs.input import Input
from .config import ExtractConfig
from .flow.field import FIELD
from .flow.pictures import MIRRORED, PLAIN, Wanted
from .workers.device_worker import FLIP, DeviceWorker, Encoding
from .workers.messages import Crops, Failed, Recrop, Recropped
from .workers.pipeline import Pipeline
from .workers.recrop import source_change
from .workers.stages import InHand

SHOWN = 5  # clips that a message names


@dataclass(frozen=True, kw_only=True)
class NewArrays:
    """Arrays that are filled in one pass over the clips, and what their rows are made of."""

    recipes: Mapping[str, FeatureRecipe]
    black: Mapping[str, tuple[float, ...]]  # their rows of a black crop
    crops: Path  # the cache whose clips are read
    encoder_of: Mapping[str, int] = field(
        default_factory=dict
    )  # clip → which of the device workers' encoders, where not the first
    view_config: ViewConfig = ViewConfig()  # of views


class FillPipeline(Pipeline):
    """One run over clips of a cache; an `Input` is a clip and the place where its source lies now."""

    def __init__(
        self,
        clips: Sequence[Input],
        new: NewArrays,
        fillers: Mapping[str, FeatureFiller],
        writer: CacheWriter,
        device_workers: list[DeviceWorker],
        config: ExtractConfig,
        workers: int,
        stop: Stop,
    ) -> None:
        specs = {made_as(each): FeatureSpec(dtype=each.dtype, shape=each.shape) for each in new.recipes.values()}
        made = {name: (track_of(recipe), made_as(recipe)) for name, recipe in new.recipes.items()}
        of_view: dict[int, tuple[str, ...]] = {}  # what device workers make of its crops
        for view, one in sorted(made.values()):
            of_view[view] = tuple(dict.fromkeys((*of_view.get(view, ()), one)))

        def encoding(message: Crops) -> Encoding:
            encoder = new.encoder_of.get(clips[message.index].id, 0)
            return Encoding(encoder=encoder, names=of_view[message.track])

        super().__init__(clips, specs, device_workers, config, workers, stop, encoding=encoding)
        self.names = tuple(fillers)
        self.stage = f"adding {', '.join(fillers)}"
        self._new = new
        self._writer = writer
        self._fillers = fillers
        self._flow = flow_wanted(new.recipes.values())
        self._made, self._of_view = made, of_view

    def _work(self, index: int) -> Recrop:
        return Recrop(
            index=index,
            cache=self._new.crops.absolute(),
            clip=self._inputs[index],
            views=tuple(self._of_view),
            view_config=self._new.view_config,
            flow=self._flow,
        )

    def _write_one(self, source: Input, ended: InHand | Failed) -> None:
        if isinstance(ended, Failed):
            raise cannot_fill(self._writer.path, self._new.crops, self.names, {source.id: ended.error})
        assert isinstance(ended.finished, Recropped)
        state = ended.finished.state
        for name, filler in self._fillers.items():
            if filler.next_clip == source.id:  # one that was started earlier may be ahead of the others
                view, made = self._made[name]
                rows = ended.finished.features.get(name)
                filler.add(source.id, ended.rows.of_track(view, state, made) if rows is None else rows, state)
        self.clips += 1
        self.frames += len(state)
        self._commit_if_due()

    def _commit_if_due(self) -> None:
        self._writer.commit_if_due()


def made_as(recipe: FeatureRecipe) -> str:
    """Return what a device worker calls the rows of an array; pictures of flow come to it mirrored already."""
    return recipe.tap + (FLIP if recipe.mirrored and not recipe.modality else "")


def track_of(recipe: FeatureRecipe) -> int:
    """Return the track of the pictures of an array: its view, or which pictures of flow."""
    return (MIRRORED if recipe.mirrored else PLAIN) if recipe.modality else recipe.view


def flow_wanted(recipes: Collection[FeatureRecipe]) -> Wanted:
    """Return what is to be made of flow for arrays."""
    encoded = [recipe for recipe in recipes if recipe.tap != FIELD]
    return Wanted(
        tracks=tuple(sorted({track_of(recipe) for recipe in encoded})),
        fields=any(recipe.tap == FIELD for recipe in recipes),
    )


def expect_fillings(path: Path, manifest: Manifest, wanted: Mapping[str, FeatureRecipe]) -> None:
    """Refuse to leave features incomplete that an earlier run started to add, or to resume them with other settings."""
    for name, filling in manifest.filling.items():
        state = f"{name} is incomplete in {path}: {filling.clips} of {manifest.commit.counts.clips} clips have it"
        leave = f"est cache convert {quoted(path)} NEW makes a cache without it"
        if name not in wanted:
            raise RecipeMismatch(
                f"{state}, and --features does not name it.", remedy=f"add it to --features to resume; {leave}"
            )
        if differences := filling.recipe.differences(wanted[name]):
            pairs = {what: (getattr(filling.recipe, what), getattr(wanted[name], what)) for what in differences}
            told = differing(f"{name} in {path}", pairs, more=[state])
            raise RecipeMismatch(told, remedy=f"use the same settings; {leave}")


def fill_features(
    writer: CacheWriter,
    new: NewArrays,
    device_workers: list[DeviceWorker],
    config: ExtractConfig,
    *,
    workers: int,
    stop: Stop,
    known: Mapping[str, Path] | None = None,
    watch: Watch | None = None,
) -> FillPipeline:
    """Fill arrays for all clips of a cache; `known` says where the source of a clip lies now, if elsewhere than on record."""
    names = list(new.recipes)
    writer.commit()
    clips = clips_of_cache(open_cache(writer.path), first=first_lacking(writer, names), known=known)
    expect_crops(open_cache(new.crops), writer.path, names, clips)
    fillers = {name: writer.fill(name, recipe) for name, recipe in new.recipes.items()}
    writer.manifest = replace(writer.manifest, black={**writer.manifest.black, **new.black})
    pipeline = FillPipeline(clips, new, fillers, writer, device_workers, config, workers, stop)
    pipeline.run(watch or Watch())
    if not pipeline.left:
        writer.commit()  # readers see them from here on
    return pipeline


def first_lacking(writer: CacheWriter, names: Sequence[str]) -> int:
    """Return the first row of the clip table that lacks one of the features."""
    begun = writer.manifest.filling
    return min(begun[name].clips if name in begun else 0 for name in names)


def clips_of_cache(cache: Cache, *, first: int = 0, known: Mapping[str, Path] | None = None) -> list[Input]:
    """Return the clips from a row of the table on, each with the place where its source lies now."""
    clips: list[Input] = []
    for place in np.flatnonzero(cache.clips.rows >= first).tolist():
        clip_id = cache.clips.ids[place]
        path = (known or {}).get(clip_id, Path(cache.clips.path[place]))
        clips.append(Input(id=clip_id, path=path, kind="frames" if path.is_dir() else "video"))
    return clips


def expect_crops(cache: Cache, out: Path, names: Sequence[str], clips: Sequence[Input]) -> None:
    """Refuse to begin where crops are to be cut again and a source is not what it was."""
    if cache.has_crops:
        return
    problems = {}
    for clip in clips:
        row = cache.clips.row(cache.clips.index(clip.id))
        if problem := source_change(clip.path, row["source_bytes"], row["source_mtime_ns"]):
            problems[clip.id] = problem
    if problems:
        raise cannot_fill(out, cache.path, names, problems)


def cannot_fill(out: Path, crops: Path, names: Sequence[str], problems: Mapping[str, str]) -> CacheError:
    """Return which clips stand in the way of a feature, and that it is not there."""
    told = [f"{clip_id}: {problem}" for clip_id, problem in problems.items()]
    shown = some(told, SHOWN, joint="; ")
    drop = f"est cache drop {crops} {next(iter(problems))!r}"
    otherwise = (
        f"{drop}, and the same command extracts what is there now"
        if out == crops
        else f"extract with --crops into a new cache, which then needs no sources; or {drop}, and choose another --out"
    )
    return CacheError(
        f"The crops of {len(told)} {'clip' if len(told) == 1 else 'clips'} of {crops} cannot be cut again, and so nothing of "
        f"{', '.join(names)} is in {'it' if out == crops else out}. {shown}.",
        remedy=f"restore the sources; or {otherwise}",
    )
