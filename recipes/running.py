"""`run_recipe`: extract, train, control and evaluate under the protocol of a data set; ends in a result card.

Each step is one library call that resumes: calling it again resumes an interrupted run, and another model uses the same cache.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path

from ..cache import CacheWriter, open_cache
from ..cache.clip import Failure
from ..encoders.weights import load_weights
from ..errors import EstError, RecipeMismatch, UsageError, counted, differing, some
from ..extract.config import ExtractConfig
from ..extract.extraction import extract_videos
from ..inputs.input import Input
from ..train.config.config import TrainConfig
from ..train.config.configfile import differences
from ..train.fitting import fit
from ..train.folds.annotations import Annotations
from ..train.loop.watch import TrainingWatch
from ..train.preparation import plan_of
from ..train.provenance import describe_halves, expect_same
from ..train.results.results import Results, collect
from ..train.runs.files import write
from ..train.runs.run import FACTS, Run
from .card import Card
from .cardpage import card_page
from .choice import RecipeChoice
from .clips import RecipeClips, find_clips
from .folder import EXTRACTION, VIDEOS, RecipeFolder
from .making import make_card
from .plan import (
    BATCH,
    Pending,
    RecipePlan,
    count_folds,
    estimate_frames,
    find_pending,
    fit_batch,
    licence_of,
)
from .recipe import DatasetRecipe
from .registry import recipe_named
from .rendering import expect_no_root, find_rendered


@dataclass(frozen=True, kw_only=True)
class RecipeOutcome:
    """The result of a call; without a card it was a dry run."""

    plan: RecipePlan
    card: Card | None = None
    path: Path | None = None  # of the card
    failed: int = 0  # clips that count as wrong because they could not be read


def run_recipe(
    recipe: DatasetRecipe | str,
    root: Path | str | None = None,
    out: Path | str | None = None,
    choice: RecipeChoice | None = None,
    *,
    limit: int | None = None,
    dry_run: bool = False,
    watch: TrainingWatch | None = None,
) -> RecipeOutcome:
    """Run a recipe, or the one of that name, into a folder, by default recipe-NAME; calling it again resumes.

    `root` is the folder of the data set, `limit` takes a few of its clips, a dry run only plans. Ctrl-C saves and raises KeyboardInterrupt.

    >>> outcome = est.run_recipe("rendered", out="recipe", choice=est.RecipeChoice(model="gru"), dry_run=True)
    >>> outcome.plan.trainings, outcome.card
    (12, None)
    """
    watch, choice = watch or TrainingWatch(), choice or RecipeChoice()
    recipe = recipe_named(recipe) if isinstance(recipe, str) else recipe
    root = None if root is None else Path(root)
    out = Path(f"recipe-{recipe.name}" if out is None else out)
    config = choice.training(recipe)
    if recipe.rendering is not None:
        expect_no_root(recipe, root)
        folder = RecipeFolder.at(out, recipe, limit, choice.extraction_config(recipe, config, are_crops=False))
        if not dry_run:
            folder.note()  # before a clip is rendered: the folder is this recipe's
        clips = find_rendered(recipe, out / VIDEOS, limit, dry_run=dry_run, watch=watch)
    else:
        clips = find_clips(recipe, _expect_root(recipe, root), limit)
    config, smaller = fit_batch(recipe, clips, config, is_set=choice.sets(BATCH))
    extraction = choice.extraction_config(recipe, config, are_crops=clips.found.are_crops)
    folder = RecipeFolder.at(out, recipe, limit, extraction)
    _expect_run(folder, config)
    extracted = folder.is_extracted(clips.digest, extraction.features) and not other_clips(folder.cache, clips)
    pending = Pending() if extracted else find_pending(folder.cache, clips, extraction.features)
    plan = RecipePlan(
        recipe=recipe,
        clips=clips,
        config=config,
        preset=choice.preset or recipe.preset,
        weights=extraction.weights,
        licence=folder.facts.get("weights", {}).get("licence", "") or licence_of(extraction.weights),
        out=out,
        extracted=extracted,
        pending=pending,
        frames=estimate_frames(pending.inputs),
        trained=(folder.run(config.model.name) / FACTS).is_file(),
        rate=folder.facts.get("rate", 0.0),
        folds=count_folds(recipe, clips),
    )
    if dry_run:
        return RecipeOutcome(plan=plan)
    if not extracted:  # missing weights are an error before anything else is done
        weights = load_weights(extraction.weights, normalize=extraction.normalize, models_dir=extraction.models_dir)
        plan = replace(plan, licence=weights.licence or plan.licence)
        folder.note(weights={"name": weights.name, "digest": weights.digest, "licence": weights.licence})
        del weights
    for line in plan.lines():
        watch.say(line)
    if smaller:
        watch.warn(smaller)
    for finding in clips.findings:
        (watch.say if finding.is_expected else watch.warn)(finding.line())
    try:
        if not extracted:
            _extract(folder, clips, extraction, watch)
            _expect_clips(folder, clips)
        results = _train(folder, config, watch)
    except KeyboardInterrupt:
        watch.stopped(f"stopped; running the same command again resumes: {out} keeps what is done")
        raise
    cache = open_cache(folder.cache)
    card = make_card(
        recipe,
        clips,
        cache,
        results,
        preset=plan.preset,
        weights=folder.facts["weights"],
        code=folder.code_of(config.model.name),
        seconds={"extract": folder.facts.get("seconds", 0.0), "train": results.seconds},
    )
    path = folder.card(config.model.name)
    card.write(path)
    write(path.with_suffix(".md"), card_page(card))
    return RecipeOutcome(plan=plan, card=card, path=path, failed=len(cache.failures))


def _expect_root(recipe: DatasetRecipe, root: Path | None) -> Path:
    if root is None:
        raise UsageError(
            f"No folder of {recipe.title} is given: --root names it.", remedy=f"est recipe run {recipe.name} --root DIR"
        )
    return root


def _extract(folder: RecipeFolder, clips: RecipeClips, config: ExtractConfig, watch: TrainingWatch) -> None:
    """Extract what is not in the cache yet."""
    begun = time.monotonic()
    report = extract_videos(clips.found, folder.cache, config, watch=watch)
    spent = folder.facts.get("seconds", 0.0) + time.monotonic() - begun
    rate = report.frames / report.running if report.frames and report.running else folder.facts.get("rate", 0.0)
    folder.note(seconds=round(spent, 1), rate=round(rate, 2))
    if report.interrupted:
        raise KeyboardInterrupt
    errors = {failure.id: failure.error for failure in open_cache(folder.cache).failures} if report.kept else {}
    for failure in report.failures:
        watch.warn(f"{failure.id}: {errors.get(failure.id, failure.error)}; it counts as wrong")
    if len(report.failures) >= len(clips.everything):
        raise EstError(
            f"None of {counted(len(clips.everything), 'clip')} could be extracted: {report.failures[0].error}.",
            remedy="est extract --compare-detectors 5 looks at a few of them",
        )
    if dropped := _drop_failed(folder.cache):
        watch.warn(f"removed from {folder.cache}, because their files can no longer be read: {some(dropped)}")
    folder.note_code(EXTRACTION)
    features = {*folder.facts.get("extracted", {}).get("features", ()), *config.features}
    folder.note(extracted={"clips": clips.digest, "features": sorted(features)})


def _drop_failed(path: Path) -> list[str]:
    """Remove clips whose files have failed since: a cache keeps them beside the failure, and here they count as wrong."""
    cache = open_cache(path)
    failed = sorted({*cache.ids} & {failure.id for failure in cache.failures})
    if failed:
        with CacheWriter.open(path) as writer:
            writer.remove(failed)
    return failed


def other_clips(path: Path, clips: RecipeClips) -> list[str]:
    """Return the ids that a cache and a recipe do not have in common, or of which they say different things; and clips that have failed."""
    cache = open_cache(path)
    table = cache.clips
    there = zip(table.ids, table.label_names, table.subject, table.split, table.fold, strict=True)
    known = {clip: (label, str(subject), str(split), int(fold)) for clip, label, subject, split, fold in there}
    known |= {one.id: _annotations(one) for one in cache.failures}
    wanted = {one.id: _annotations(one) for one in clips.everything}
    both = {*table.ids} & {one.id for one in cache.failures}
    return sorted(both | {name for name in known.keys() | wanted.keys() if known.get(name) != wanted.get(name)})


def _annotations(one: Input | Failure) -> tuple[str | None, str, str, int]:
    return one.label, one.subject, one.split, one.fold


def _expect_clips(folder: RecipeFolder, clips: RecipeClips) -> None:
    """Refuse a cache that was changed: other clips are another measurement."""
    if others := other_clips(folder.cache, clips):
        raise EstError(
            f"{folder.cache} does not hold the clips of the protocol: {len(others)} are others ({some(others)}).",
            remedy="--out another folder; or est train --cache CACHE, which takes any clips and makes no card",
        )


def _expect_run(folder: RecipeFolder, config: TrainConfig) -> None:
    """Refuse a run of other settings, before anything is extracted."""
    path = folder.run(config.model.name)
    if not (path / FACTS).is_file():
        return
    if changed := differences(_comparable(Run.open(path).config), _comparable(config)):
        raise UsageError(
            differing(path, changed),
            remedy=f"--out another folder, or the earlier settings; without {path} the same command trains it again",
        )


def _comparable(config: TrainConfig) -> TrainConfig:
    return replace(config, device="auto")


def _train(folder: RecipeFolder, config: TrainConfig, watch: TrainingWatch) -> Results:
    """Train and score what is not yet; a run whose clips are others by now is set aside, and a new one trained."""
    model = config.model.name
    path = folder.run(model)
    is_begun = (path / FACTS).is_file()
    if is_begun:
        run, cache = Run.open(path), open_cache(folder.cache)
        table = Annotations.from_cache(cache)
        try:
            expect_same(run, cache, table, describe_halves(plan_of(cache, table, run.config), table))
        except EstError as error:
            kept = folder.set_aside(model, "features-changed" if isinstance(error, RecipeMismatch) else "clips-changed")
            watch.warn(f"{error.message} That run is kept as {kept}, and a new one is trained.")
            is_begun = False
        else:
            if run.complete:
                watch.say(f"{path} is trained")
                return collect(run)
    results = fit(folder.cache, path, None if is_begun else config, resume=is_begun, watch=watch)
    folder.note_code(model)
    return results
