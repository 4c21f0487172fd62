"""`probe_run`: whether a run's models use the order of frames, and the right moment.

Each clip is measured by the model of the part that tested it, as it is and changed.

Legend: N clips of the run, S seeds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...cache import Cache, open_cache
from ...cache.watch import Progress
from ...encoders.device import parse_device
from ...errors import UsageError
from ...train.folds.annotations import Annotations
from ...train.loop.trainer import reproducible
from ...train.loop.watch import TrainingWatch
from ...train.models.contract import ALPHA, ATTENTION, CROPS
from ...train.provenance import own_cache
from ...train.results.compare import UNITS
from ...train.results.paired import compare_paired
from ...train.results.predictions import Predictions
from ...train.runs.run import Run
from ..own_clips import OwnClips, open_complete, own_clips
from .evidence import SNIPPET, Agreement, agreement, clip_auc, frames_auc
from .measuring import APEX, CHANGES, DELETED, UNCHANGED, Measured, measure
from .pairs import find_pairs, within_pairs
from .probe import Changed, Probe
from .resting import MOMENTS, moments, resting_faces
from .windows import LENGTH, evidence_share, in_windows

TEXTS = {
    "one frame": "the middle frame of the view in every place",
    "reversed": "from the end to the beginning",
    "frames shuffled": "the frames shown in random order, mean of 5 orders",
    "snippets shuffled": "snippets (of a view without snippets its sevenths) in random order, mean of 5 orders",
    "halves exchanged": "the second half of the view first",
    DELETED: "a window of 15 % held at the frame before it; mean over windows",
    APEX: "the frame nearest to the planted apex in every place; of the clips whose apex is known",
}
BRIEF, HELD, WITHOUT = "brief", "held", "without"  # evidence of at most 15 % of the clip; longer; none is known


@dataclass(frozen=True, kw_only=True, eq=False)
class _Found:
    """What was measured of a part, and its clips."""

    own: OwnClips
    measured: Measured
    moments: np.ndarray  # (rows, 3)
    auc: dict[str, np.ndarray]  # measure → (N,)


def probe_run(
    run: Run | Path | str,
    cache: Cache | Path | str | None = None,
    *,
    pairs: Sequence[tuple[str, str]] = (),
    windows: bool = True,
    device: str = "auto",
    watch: TrainingWatch | None = None,
) -> Probe:
    """Ask whether the models of a run use the order of frames, and whether they look at the right moment, on their own test clips.

    `pairs` are classes that differ only in their course over time, besides those whose names say so; `windows` deletes parts of clips, too.

    >>> found = est.probe_run("runs/first", windows=False)
    >>> found.save().name
    'probe'
    """
    run, watch = open_complete(run), watch or TrainingWatch()
    if run.config.model.of_windows:
        raise UsageError(
            f"{run.path} reads windows, and probes shuffle and delete frames.", remedy="est probe of a run on frames"
        )
    if not isinstance(cache, Cache):
        cache = own_cache(run) if cache is None else open_cache(cache)
    table = Annotations.from_cache(cache)
    where = parse_device(device)
    predictions = Predictions.of_run(run)
    known = find_pairs(run.labels, pairs)
    notes: list[str] = []
    refusal = _why_no_resting(run, cache, predictions)
    found: dict[str, _Found] = {}
    strangers: set[str] = set()
    with reproducible(where, run.facts["threads"]):
        for part in run.parts:
            own = own_clips(run, part, cache, table, device=where, watch=watch)
            told = moments(cache, own.ids.tolist())
            resting = None
            if not refusal:
                resting, strange = resting_faces(cache, str(own.feature), table.subject[own.rows].tolist())
                strangers |= set(own.ids[strange].tolist())
            what = f"Probing {part}"

            def tick(done: int, what: str = what, total: int = len(own.rows)) -> None:
                watch.progress(Progress(what=what, unit="clips", done=done, total=total))

            measured = measure(own, apex=told[:, 1], resting=resting, windows=windows, tick=tick)
            found[part] = _Found(own=own, measured=measured, moments=told, auc=_aucs(own, measured, told))
    if strangers:
        notes.append(
            f"{len(strangers)} of {len(predictions)} clips have no resting face of their person; the mean of all people is used"
        )
    if refusal:
        notes.append(refusal)
    return _summary(run, predictions, found, known, notes)


def _why_no_resting(run: Run, cache: Cache, predictions: Predictions) -> str:
    """Return why deleted frames cannot become a resting face; nothing where they can."""
    told = moments(cache, predictions.ids.tolist())
    onset, _, offset = told.T
    if not ((onset >= 0) & (offset >= onset)).any():
        return (
            "No clip has a known onset and offset: attention, α and deletion cannot be compared with planted evidence. "
            f"est cache relabel CACHE LIST adds the columns {', '.join(MOMENTS)} (frames of the clip, from 0)"
        )
    if run.config.model.reads == CROPS:
        return "The model reads crops: deletion by resting faces and insertion are left out"
    if run.config.finetune.on:
        return (
            "Features are those of the run's own encoder, of shown frames alone: deletion by resting faces and "
            "insertion are left out"
        )
    if run.config.model.reads:
        return f"The model reads maps ({run.config.model.reads}): deletion by resting faces and insertion are left out"
    return ""


def _aucs(own: OwnClips, measured: Measured, told: np.ndarray) -> dict[str, np.ndarray]:
    """Return the AUC of each measure for each clip that shows a face; NaN where its evidence is not known or not shown."""
    onset, _, offset = told[own.visible(own.rows)].T[:, :, None]
    position = measured.position.reshape(len(measured.position), -1)
    valid = position >= 0
    planted = valid & (onset <= position) & (position <= offset) & (onset >= 0) & (offset >= onset)
    known = ((onset >= 0) & (offset >= onset))[:, 0]
    share = evidence_share(in_windows(position, valid, measured.bounds), planted)
    share = np.where(known[:, None], share, np.nan)
    found = {name: clip_auc(value, share) for name, value in measured.drop.items()}
    by_part = planted.reshape(measured.position.shape)
    if ATTENTION in measured.details:
        filled = (measured.position >= 0).sum(2)
        parts = np.where(known[:, None] & (filled > 0), by_part.sum(2) / np.maximum(filled, 1), np.nan)
        found[ATTENTION] = clip_auc(measured.details[ATTENTION].mean(1), parts, least=SNIPPET)
    if ALPHA in measured.details:
        alpha = np.where(measured.position >= 0, measured.details[ALPHA], np.nan)
        found[ALPHA] = np.where(known, frames_auc(alpha, by_part), np.nan)
    return found


def _kind(told: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Say of what kind each clip's planted evidence is.  # (N, 3), (N,) → (N,)"""
    onset, _, offset = told.T
    known = (onset >= 0) & (offset >= onset)
    return np.where(known, np.where(offset - onset + 1 <= LENGTH * counts, BRIEF, HELD), WITHOUT)


def _summary(
    run: Run,
    predictions: Predictions,
    found: dict[str, _Found],
    known: tuple[tuple[str, str], ...],
    notes: list[str],
) -> Probe:
    """Put the parts together: each clip once, the mean over seeds."""
    parts = {one["name"]: one for one in run.facts["parts"]}
    place = {
        (fold, clip): row
        for row, (fold, clip) in enumerate(zip(predictions.folds.tolist(), predictions.ids.tolist(), strict=True))
    }
    seed = {value: number for number, value in enumerate(run.config.seeds)}
    shape = (len(run.config.seeds), len(predictions))
    names = [UNCHANGED, *CHANGES, *([DELETED] if any(DELETED in one.measured.right for one in found.values()) else [])]
    right = {name: np.zeros(shape) for name in [*names, APEX]}  # clips without a face are wrong in every way
    aucs: dict[str, np.ndarray] = {}
    kinds = np.full(len(predictions), WITHOUT, dtype="<U8")
    told = np.zeros(len(predictions), bool)  # whose apex is known
    columns = [*names, *([APEX] if any((one.moments[:, 1] >= 0).any() for one in found.values()) else [])]
    header, rows = _header(columns, found), []
    for part, one in found.items():
        number = seed[parts[part]["seed"]]
        clips = one.own.table.ids[one.measured.rows].tolist()
        at = np.array([place[parts[part]["fold"], clip] for clip in clips], int)
        for name, values in one.measured.right.items():
            right[name][number, at] = values
        for name, values in one.auc.items():
            aucs.setdefault(name, np.full(shape, np.nan))[number, at] = values
        every = [place[parts[part]["fold"], clip] for clip in one.own.ids.tolist()]
        told[every] = one.moments[:, MOMENTS.index(APEX)] >= 0
        visible = one.own.visible(one.own.rows)
        count = one.own.clips.count.cpu().numpy()[one.own.place[one.measured.rows]]
        kind = _kind(one.moments[visible], count)
        kinds[at] = kind
        rows += _rows(run, part, parts[part]["seed"], one, columns, header, kind, one.moments[visible])
    groups, unit = predictions.groups, UNITS[predictions.units]
    mean = {name: values.mean(0) for name, values in right.items()}
    shown = [name for name in names if name != UNCHANGED]
    changes = [
        Changed(
            name=name,
            text=TEXTS[name],
            war=float(mean[name].mean()),
            lost=compare_paired(mean[UNCHANGED], mean[name], groups, unit=unit, fixed=True),
        )
        for name in shown
    ]
    if told.any():
        lost = compare_paired(mean[UNCHANGED][told], mean[APEX][told], groups[told], unit=unit, fixed=True)
        changes.append(Changed(name=APEX, text=TEXTS[APEX], war=float(mean[APEX][told].mean()), lost=lost))
    return Probe(
        run=run,
        clips=len(predictions),
        people=predictions.describe_units(),
        war=float(mean[UNCHANGED].mean()),
        changes=tuple(changes),
        agreements=tuple(_agreements(aucs, right[UNCHANGED], kinds, groups)),
        pairs=tuple(within_pairs(predictions, known, unit)) if known else (),
        planted={kind: int((kinds == kind).sum()) for kind in (BRIEF, HELD, WITHOUT)},
        notes=tuple(notes),
        header=header,
        rows=rows,
        arrays={part: _arrays(one) for part, one in found.items()},
    )


def _agreements(
    aucs: dict[str, np.ndarray], right: np.ndarray, kinds: np.ndarray, groups: np.ndarray
) -> list[Agreement]:
    """Summarise the AUCs of clips that are recognised, by kind of evidence; of several seeds a clip's mean."""
    found = []
    for kind in (BRIEF, HELD):
        for name, values in aucs.items():
            usable = np.isfinite(values) & (right == 1)
            mean = np.where(usable.any(0), np.where(usable, values, 0).sum(0) / np.maximum(usable.sum(0), 1), np.nan)
            one = agreement(name, kind, mean, groups, kinds == kind)
            found += [one] if one is not None else []
    return found


def _header(names: Sequence[str], found: dict[str, _Found]) -> list[str]:
    measures = dict.fromkeys(name for one in found.values() for name in one.auc)
    columns = ["part", "seed", "id", "subject", "truth", "prediction", "evidence", *MOMENTS]
    return [*columns, *(f"right {name}" for name in names), *(f"auc {name}" for name in measures)]


def _rows(
    run: Run,
    part: str,
    seed: int,
    one: _Found,
    names: Sequence[str],
    header: Sequence[str],
    kind: np.ndarray,
    told: np.ndarray,
) -> list[list[Any]]:
    """Return a row of clips.csv for each clip of a part that shows a face."""
    table, measured = one.own.table, one.measured
    rows = []
    for number, row in enumerate(measured.rows.tolist()):
        values: dict[str, Any] = {
            "part": part,
            "seed": seed,
            "id": table.ids[row],
            "subject": table.subject[row],
            "truth": table.labels[table.label[row]],
            "prediction": run.labels[int(measured.probabilities[number].argmax())],
            "evidence": "" if kind[number] == WITHOUT else kind[number],
            **{name: value if value >= 0 else "" for name, value in zip(MOMENTS, told[number].tolist(), strict=True)},
            **{
                f"right {name}": f"{measured.right[name][number]:g}"
                for name in names
                if name != APEX or told[number][1] >= 0
            },
            **{f"auc {name}": f"{value[number]:.4g}" for name, value in one.auc.items() if np.isfinite(value[number])},
        }
        rows.append([values.get(name, "") for name in header])
    return rows


def _arrays(one: _Found) -> dict[str, np.ndarray]:
    """Return what PART.npz holds."""
    measured = one.measured
    return {
        "ids": one.own.table.ids[measured.rows],
        "shown": measured.position.astype(np.int32),
        "windows": measured.bounds.astype(np.int32),
        "moments": one.moments[one.own.visible(one.own.rows)].astype(np.int32),
        "probabilities": measured.probabilities.astype(np.float32),
        **{name: value.astype(np.float32) for name, value in measured.drop.items()},
        **{name: measured.details[name] for name in (ATTENTION, ALPHA) if name in measured.details},
    }
