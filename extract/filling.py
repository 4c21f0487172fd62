"""New features for clips that are in a cache: another tap, mirrored crops. The rows are those of an extraction with all features at once.

It is the pipeline of new clips without the detector: workers bring the crops, lanes encode them, one thread writes, in the order of the
table. A feature is seen when every clip has it; until then what is committed waits, and the same command goes on there. One clip
whose crops cannot be had again stops the filling, because a feature that some clips lack is none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..cache import CacheWriter, FeatureRecipe, open_cache
from ..cache.filling import FeatureFiller
from ..cache.schema import FeatureSpec
from ..errors import CacheError, RecipeMismatch
from .config import ExtractConfig
from .inputs import Input
from .lane import Lane
from .messages import Failed, Recrop, Recropped
from .pipeline import InHand, Pipeline, Stop
from .progress import Progress
from .recrop import source_change

SHOWN = 5  # clips that a message names


class FillPipeline(Pipeline):
    """One run over clips of a cache; an `Input` is a clip and the place where its source lies now."""

    def __init__(
        self,
        clips: Sequence[Input],
        fillers: Mapping[str, FeatureFiller],
        writer: CacheWriter,
        lanes: list[Lane],
        config: ExtractConfig,
        workers: int,
        stop: Stop,
    ) -> None:
        super().__init__(clips, writer, lanes, config, workers, stop)
        self.arrays = self.names = tuple(fillers)
        self.what = f"adding {', '.join(fillers)}"
        self._fillers = fillers
        recipes = {name: filler.recipe for name, filler in fillers.items()}
        self._specs = {name: FeatureSpec(dtype=made.dtype, shape=made.shape) for name, made in recipes.items()}

    def _work(self, index: int) -> Recrop:
        return Recrop(index=index, cache=self._writer.path.absolute(), clip=self._inputs[index])

    def _write_one(self, source: Input, ended: InHand | Failed) -> None:
        if isinstance(ended, Failed):
            raise cannot_fill(self._writer.path, self.names, {source.id: ended.error})
        assert isinstance(ended.finished, Recropped)
        state = ended.finished.state
        for name, filler in self._fillers.items():
            if filler.next_clip == source.id:  # one that was begun earlier may be ahead of the others
                filler.add(source.id, ended.rows.of_track(0, state, name), state)
        self.clips += 1
        self.frames += len(state)
        self._writer.commit_if_due()


def expect_fillings(writer: CacheWriter, wanted: Mapping[str, FeatureRecipe]) -> None:
    """Refuse to leave features half-way that an earlier run began to add, or to go on with them in another way."""
    for name, filling in writer.manifest.filling.items():
        state = f"{writer.path} is half-way to {name}: {filling.clips} of {writer.clips.length} clips have it"
        leave = f"est cache convert {writer.path} NEW makes a cache without it"
        if name not in wanted:
            raise RecipeMismatch(f"{state}, and it is not asked for.", remedy=f"ask for it too to go on; {leave}")
        if differences := filling.recipe.differences(wanted[name]):
            then, now = filling.recipe.identity(), wanted[name].identity()
            told = ", ".join(f"{field}: {then[field]} there, {now[field]} asked for" for field in differences)
            raise RecipeMismatch(f"{state}, in another way: {told}.", remedy=f"use the same settings; {leave}")


def fill_features(
    writer: CacheWriter,
    lanes: list[Lane],
    config: ExtractConfig,
    *,
    known: Mapping[str, Path],
    black: Mapping[str, tuple[float, ...]],
    workers: int,
    stop: Stop,
    on_progress: Callable[[Progress], None] | None = None,
) -> FillPipeline | None:
    """Compute the features that are asked for and not there for all clips that are; None where there are none such.

    `known` says where the source of a clip lies now, if that is another place than the one on record; `black` are rows of black crops.
    """
    wanted = dict(writer.missing_features)
    if not wanted:
        return None
    writer.commit()
    clips = _clips_to_fill(writer, list(wanted), known, checking=not config.crops)
    fillers = {name: writer.fill(name, recipe) for name, recipe in wanted.items()}
    new_black = {name: row for name, row in black.items() if name in wanted}
    writer.manifest = replace(writer.manifest, black={**writer.manifest.black, **new_black})
    pipeline = FillPipeline(clips, fillers, writer, lanes, config, workers, stop)
    pipeline.run(on_progress)
    if not pipeline.left:
        writer.commit()  # readers see them from here on
    return pipeline


def _clips_to_fill(
    writer: CacheWriter, names: Sequence[str], known: Mapping[str, Path], *, checking: bool
) -> list[Input]:
    """Return the clips that lack one of the features, in the order of the table; `checking` that their sources are what they were."""
    cache = open_cache(writer.path)
    begun = writer.manifest.filling
    first = min(begun[name].clips if name in begun else 0 for name in names)
    clips: list[Input] = []
    problems: dict[str, str] = {}
    for place in np.flatnonzero(cache.clips.rows >= first).tolist():
        row = cache.clips.row(place)
        path = known.get(row["id"], Path(row["path"]))
        clips.append(Input(id=row["id"], path=path, kind="frames" if path.is_dir() else "video"))
        if checking and (problem := source_change(path, row["source_bytes"], row["source_mtime_ns"])):
            problems[row["id"]] = problem
    if problems:
        raise cannot_fill(writer.path, names, problems)
    return clips


def cannot_fill(path: Path, names: Sequence[str], problems: Mapping[str, str]) -> CacheError:
    """Say which clips stand in the way of a feature, and that it is not there."""
    told = [f"{clip_id}: {problem}" for clip_id, problem in problems.items()]
    shown = "; ".join(told[:SHOWN]) + (f"; and {len(told) - SHOWN} more" if len(told) > SHOWN else "")
    return CacheError(
        f"The crops of {len(told)} {'clip' if len(told) == 1 else 'clips'} of {path} cannot be had again, and so nothing of "
        f"{', '.join(names)} is in it. {shown}.",
        remedy=f"bring the sources back as they were; or est cache drop {path} {next(iter(problems))!r}, and the same command extracts "
        "what is there now",
    )
