"""`evaluate`: a run's models, scored again: on their own test halves, on another cache, on shuffled or blackened clips.

On the run's own cache, wherever it lies now, each model sees the clips that its part tested, and the scores are pooled as they were. On
another cache every model sees every clip; classes are matched by name, and those that the run lacks are left out and counted, or scored as
errors when asked.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from ..cache import Cache, open_cache
from ..encoders.device import parse_device
from ..encoders.precision import why_emulated
from ..errors import EstError, UsageError, counted, quoted, some
from .data.clipset import ClipSet, warn_of_rates
from .data.data import Loaded, locate_rows
from .data.feature_arrays import black_row
from .data.sampler import Sampler
from .data.sampling import sampler_of
from .data.windows import load_features
from .evaluated import MEAN, Change, Evaluation, as_command
from .evaluation_leaks import leaks_elsewhere, own_leaks, warn_of_datasets, warn_of_learnt
from .folds.annotations import Annotations
from .folds.labels import Aligned, align_truth, match_labels
from .folds.leaks import expect_none
from .loop.checkpoint import load_model
from .loop.predict import ClipView, explain_rows, likeliest, predict_rows
from .loop.trainer import reproducible
from .loop.watch import TrainingWatch
from .models.finetuned import FinetunedModel
from .models.model import Model
from .provenance import arrays_for, describe_clips, is_own, own_cache, shape_of, source_of
from .results.details import Details
from .results.groups import group_scores, read_column
from .results.intervals import score_intervals
from .results.metrics import AnswerScore, Scores, score, spread
from .results.predictions import Predictions, read_predictions
from .runs.run import CHECKPOINT, Run, other_clips

Unknown = Literal["exclude", "wrong"]
_Found = tuple[str, np.ndarray, np.ndarray]  # of a part: its name, the rows that it saw, their probabilities


@dataclass(frozen=True, kw_only=True, eq=False)
class _Target(Loaded):
    """The clips that are looked at."""

    rows: np.ndarray  # of the table
    side: int  # of a crop
    feature: str | None  # that is read; none where a backbone looks at frames
    truth: np.ndarray  # of the rows, in `labels`
    labels: tuple[str, ...]


def evaluate(
    run: Run | Path | str,
    cache: Cache | Path | str | None = None,
    *,
    change: Change | None = None,
    split: Sequence[str] | None = None,
    aliases: Mapping[str, str] | None = None,
    unknown: Unknown = "exclude",
    groups: Sequence[str] = (),
    device: str = "auto",
    allow_leak: bool = False,
    watch: TrainingWatch | None = None,
) -> Evaluation:
    """Score the models of a run again: on their own test halves, or on another cache.

    `cache` is another cache, whose clips every model sees; `split` takes some of it, `aliases` are its names of classes → the run's,
    and clips of `unknown` classes are left out ("exclude") or count as errors ("wrong"). `change` shuffles, blackens or shifts clips.
    `groups` names columns of the clips by which scores are told, too. Clips that the features have learnt from need `allow_leak`.

    >>> found = est.evaluate_run("runs/first")
    >>> found.scores.total
    4
    >>> found.to_pandas().shape  # a row for each clip: part, id, subject, truth, prediction and four probabilities
    (4, 9)
    """
    run = run if isinstance(run, Run) else Run.open(run)
    change, watch = change or Change(), watch or TrainingWatch()
    if not run.complete:
        raise UsageError(f"{run.path} is not complete.", remedy=f"est train --resume --out {quoted(run.path)}")
    own = cache is None
    if not isinstance(cache, Cache):
        cache = own_cache(run) if cache is None else open_cache(cache)
    reads = arrays_for(run, cache, watch)
    own = own or is_own(run, cache)
    if own and (split or aliases or unknown != "exclude"):
        raise UsageError(
            "A split, aliases and unknown classes are for another cache: the run's own test halves are fixed.",
            remedy=f"est evaluate {quoted(run.path)} without --split, --alias and --unknown",
        )
    sampler = sampler_of(run.config.sampling, run.config.model.shown)
    view = _view(run, sampler, change)
    black = _count_black(sampler, view)
    table = Annotations.from_cache(cache)
    where = parse_device(device)
    aligned = None if own else _aligned(run, table, split, aliases, unknown)
    tested = {name: tested_rows(run, name, table) for name in run.parts} if own else {}
    rows = np.unique(np.concatenate(list(tested.values()))) if aligned is None else aligned.rows
    columns = [read_column(cache, name, table.ids[rows].tolist()) for name in dict.fromkeys(groups)]
    leaks = (
        own_leaks(run, cache, table, tested, reads) if own else leaks_elsewhere(run, cache, table, rows, reads, watch)
    )
    expect_none(leaks, allow=allow_leak, remedy="another cache, or weights that have not seen these clips")
    warn_of_datasets(run, cache, reads, watch)
    target = _load(run, cache, table, rows, aligned, where, reads.get(run.parts[0]))
    watch.say(target.clips.residency)
    if reason := why_emulated(run.facts["precision"], where):
        watch.warn(f"The run's models were trained in {run.facts['precision']}, and are scored in it. {reason}")
    if not own:
        warn_of_learnt(run, table, rows, watch)
        if warning := warn_of_rates(np.array([run.facts["frame_rate"]]), target.clips.fps):
            watch.warn(warning)
    models: dict[str, Scores] = {}
    intervals: dict[str, dict[str, tuple[float, float]]] = {}
    found: list[_Found] = []
    answers: dict[str, list[np.ndarray]] = {}
    choices: dict[str, int] = {}
    details: dict[str, Details] = {}
    with reproducible(where, run.facts["threads"]):
        for name in run.parts:
            chosen = tested.get(name, rows)
            if reads.get(name) != target.feature:
                target = _load(run, cache, table, rows, aligned, where, reads.get(name))
            seen = _blacked(view, cache, reads.get(name))
            model = _model(run, name, target, where)
            probabilities, told = _predict(run, model, target, chosen, sampler, seen)
            if own and change == Change() and target.visible(chosen).any():
                details[name] = explain_rows(model, target, chosen, sampler, precision=run.facts["precision"])
            truth, guess = _truth(target, chosen), likeliest(probabilities)
            models[name] = score(truth, guess, target.labels)
            people = table.subject[chosen]
            intervals[name] = score_intervals(truth, guess, people if (people != "").all() else None, target.labels)
            found.append((name, chosen, probabilities))
            for question, hits in told.items():
                answers.setdefault(question, []).append(hits)
                choices[question] = model.on_features.choices[question]
    mine = {seed: [one for one in found if one[0] in run.parts_of(seed)] for seed in run.config.seeds}
    if not own:
        mine = {seed: [_mean(parts, rows)] for seed, parts in mine.items() if parts}
        found = [_mean(found, rows)]
    by_seed = _predictions(run, target, mine)
    predictions = by_seed if own else _predictions(run, target, {run.config.seeds[0]: found})
    command = as_command(run, None if own else cache, change, split, aliases, unknown, groups, allow_leak=allow_leak)
    return Evaluation(
        run=run,
        command=command,
        cache=cache.path,
        what=change.describe(black),
        black=black,
        own=own,
        models=models,
        model_intervals=intervals,
        predictions=predictions,
        by_seed=by_seed,
        groups=tuple(group_scores(predictions, column) for column in columns),
        spread={key: spread([getattr(one, key) for one in models.values()]) for key in ("war", "uar")},
        answers=tuple(
            AnswerScore(
                question=question,
                right=int(sum(one.sum() for one in found_right)),
                total=sum(len(one) for one in found_right),
                choices=choices[question],
            )
            for question, found_right in answers.items()
        ),
        leaks=leaks,
        excluded={} if aligned is None else aligned.excluded,
        unlabelled=0 if aligned is None else aligned.unlabelled,
        header=["part", "id", "subject", "truth", "prediction", *(f"p_{label}" for label in run.labels)],
        details=details,
        rows=[
            line for name, chosen, probabilities in found for line in _lines(run, target, name, chosen, probabilities)
        ],
    )


def _view(run: Run, sampler: Sampler, change: Change) -> ClipView:
    """Return how clips are looked at, or why they cannot be."""
    if change.shuffle and not run.config.model.shuffles:
        raise UsageError(
            f"{run.path} was trained without shuffled clips; there is no order to shuffle by.",
            remedy="leave --shuffle-test out",
        )
    if change.start is not None:
        sampler.expect_start("--start", change.start)
    if change.zero is not None and run.config.model.reads:
        raise UsageError(
            f"{run.path} reads {run.config.model.reads}, and no cache has a record of these for a black image.",
            remedy="leave --zero-middle out",
        )
    if change.zero is None:
        return ClipView(start=change.start, shuffled=change.shuffle)
    blacked = sampler.middle(start=change.start) if change.zero == "middle" else change.zero
    if not sampler.slots(*blacked, start=change.start).any():
        raise UsageError(
            f"The test view shows none of the frames {blacked[0]}:{blacked[1]}.",
            remedy=f"--zero-middle {sampler.example(start=change.start)}",
        )
    return ClipView(start=change.start, shuffled=change.shuffle, blacked=blacked)


def _count_black(sampler: Sampler, view: ClipView) -> tuple[int, int] | None:
    """Count the frames of the test view that are blackened, and all."""
    if view.blacked is None:
        return None
    slots = sampler.slots(*view.blacked, start=view.start)
    return int(slots.sum()), slots.numel()


def _blacked(view: ClipView, cache: Cache, feature: str | None) -> ClipView:
    """Return what a black crop is in an array; a backbone of the run's own says it itself."""
    if view.blacked is None or feature is None:
        return view
    return replace(view, black=black_row(cache, feature))


def _aligned(
    run: Run,
    table: Annotations,
    split: Sequence[str] | None,
    aliases: Mapping[str, str] | None,
    unknown: Unknown,
) -> Aligned:
    """Return which rows of another cache are scored, and as what."""
    chosen = np.ones(len(table), bool)
    if split:
        chosen = np.isin(table.split, list(split))
        if not chosen.any():
            there = sorted(set(table.split.tolist()) - {""})
            raise UsageError(
                f"No clip has the split {' or '.join(split)}.", remedy=f"the splits are {', '.join(there) or 'unknown'}"
            )
    names = [
        table.labels[code] if code >= 0 and use else None
        for code, use in zip(table.label.tolist(), chosen, strict=True)
    ]
    present = [label for label in table.labels if label in set(names)]
    aligned = align_truth(names, run.labels, match_labels(run.labels, present, aliases), unknown=unknown)
    return Aligned(
        labels=aligned.labels,
        rows=aligned.rows,
        truth=aligned.truth,
        excluded=aligned.excluded,
        unlabelled=int((table.label[chosen] < 0).sum()),
    )


def tested_rows(run: Run, part: str, table: Annotations) -> np.ndarray:
    """Return the rows that a part tested; refuse a cache in which they are no longer what they were."""
    where = {name: row for row, name in enumerate(table.ids.tolist())}
    truth = {row["id"]: row["truth"] for row in read_predictions(run, part)}
    names = (*table.labels, "")  # −1 is no label
    for what, changed in (
        ("are no longer in its cache", [name for name in truth if name not in where]),
        ("are other videos now", sorted({*other_clips(run.clips(), describe_clips(table))} & truth.keys())),
        ("have other labels now", [name for name in truth if names[table.label[where.get(name, 0)]] != truth[name]]),
    ):
        if changed:
            raise EstError(
                f"Clips that {run.path} tested {what} ({counted(len(changed), 'clip')}): {some(changed)}.",
                remedy="evaluate on the cache as it was when the run was started",
            )
    return np.array([where[name] for name in truth])


def _load(
    run: Run,
    cache: Cache,
    table: Annotations,
    rows: np.ndarray,
    aligned: Aligned | None,
    device: torch.device,
    feature: str | None,
) -> _Target:
    if aligned is None:
        truth, labels = np.array([run.labels.index(table.labels[code]) for code in table.label[rows]]), run.labels
    else:
        truth, labels = aligned.truth, aligned.labels
    clips, place = load_clips(run, cache, table, rows, device, feature)
    return _Target(
        side=cache.recipes.frames.size,
        feature=feature,
        table=table,
        rows=rows,
        truth=truth,
        labels=labels,
        clips=clips,
        place=place,
    )


def load_clips(
    run: Run, cache: Cache, table: Annotations, rows: np.ndarray, device: torch.device, feature: str | None
) -> tuple[ClipSet, np.ndarray]:
    """Load what a run's models look at of rows: an array, or none where a backbone looks at frames; and where each row is in the set."""
    which, place = locate_rows(table, rows)
    if not len(which):
        raise EstError(f"None of {counted(len(rows), 'clip')} of {cache.path} to be scored has frames.")
    no_face, told = run.config.sampling.no_face, run.config.model.told
    if feature is not None:
        clips = load_features(cache, which, run.config.model, feature, device, no_face=no_face)
    else:
        source = source_of(run, cache)
        workers = run.config.finetune.workers
        clips = ClipSet.for_tuning(
            cache, which, source, device, shape=shape_of(run), no_face=no_face, workers=workers, told=told
        )
    return clips, place


def _model(run: Run, part: str, target: _Target, device: torch.device) -> Model:
    """Load the model of a part; refuse crops of a size that its backbone cannot see."""
    model = load_model(run.part(part) / CHECKPOINT)[0].to(device)
    if isinstance(model, FinetunedModel):
        model.backbone.shape_of("gap", target.side)
        if model.tap != "gap" and model.backbone.shape_of(model.tap, target.side)[1:] != model.maps:
            side = run.facts["cache"]["recipes"]["frames"]["size"]
            raise UsageError(
                f"The models of {run.path} are for crops of {side} pixels, and these have {target.side}.",
                remedy=f"est extract … --size {side} into a cache of its own",
            )
    return model


def _predict(
    run: Run, model: Model, target: _Target, rows: np.ndarray, sampler: Sampler, view: ClipView
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return a model's probabilities of rows, NaN where nothing shows a face, and what it answered to further questions."""
    if isinstance(model, FinetunedModel) and view.blacked is not None:
        view = replace(view, black=model.black(target.side))
    return predict_rows(model, target, rows, sampler, precision=run.facts["precision"], view=view)


def _truth(target: _Target, rows: np.ndarray) -> np.ndarray:
    return target.truth[np.searchsorted(target.rows, rows)]


def _mean(found: Sequence[_Found], rows: np.ndarray) -> _Found:
    """Make one model of several, by their mean probabilities."""
    return MEAN, rows, np.mean([probabilities for _, _, probabilities in found], axis=0)


def _predictions(run: Run, target: _Target, found: Mapping[int, Sequence[_Found]]) -> Predictions:
    """Put the models' predictions together: each clip once, under each seed."""
    fold = {part["name"]: part["fold"] for part in run.facts["parts"]} | {MEAN: ""}
    by_seed = []
    for mine in found.values():
        rows = np.concatenate([chosen for _, chosen, _ in mine])
        guesses = np.concatenate([likeliest(probabilities) for _, _, probabilities in mine])
        folds = np.concatenate([np.full(len(chosen), fold[name]) for name, chosen, _ in mine])
        by_seed.append((rows, folds, guesses))
    rows, folds, _ = by_seed[0]
    assert all((other == rows).all() for other, _, _ in by_seed), "every seed tests the same clips in the same order"
    return Predictions(
        labels=target.labels,
        seeds=tuple(found),
        ids=target.table.ids[rows],
        subjects=target.table.subject[rows],
        folds=folds,
        truth=_truth(target, rows),
        predicted=np.stack([guesses for _, _, guesses in by_seed]),
    )


def _lines(run: Run, target: _Target, part: str, rows: np.ndarray, probabilities: np.ndarray) -> list[list[Any]]:
    lines = []
    for row, truth, guess, shares in zip(
        rows.tolist(), _truth(target, rows), likeliest(probabilities), probabilities.tolist(), strict=True
    ):
        shown = ["" if math.isnan(share) else f"{share:.6g}" for share in shares]
        name = run.labels[guess] if guess >= 0 else ""
        lines.append([part, target.table.ids[row], target.table.subject[row], target.labels[truth], name, *shown])
    return lines
