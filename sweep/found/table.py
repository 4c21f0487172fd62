"""The trials of a sweep as a table: trials.csv, and the lines of a terminal, with the scores of retrained choices."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from ...errors import counted
from ...train.results.pages.summary import interval, percent
from .record import Record, StudyRecord, Sweep
from .scales import exact, keys_of, shown, varied

MODEL_NAME = "model.name"
SCORES = {"score": "model", "control": "control", "default control": "default control"}  # keys of `retrained`, names
DIFFERENCES = ("difference", "difference to the default control")
ESTIMATES = "Only these are estimates: the values above chose the settings."
COLUMNS = ("study", "fold", "control", "number", "state", "value", "loss", "epochs", "seconds", "together", "error")


def trials_csv(sweep: Sweep) -> str:
    """Return trials.csv: a line per trial, a column per setting, blank where a trial has none."""
    keys = keys_of(record.values for study in sweep.studies for record in study.records)
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([*COLUMNS, *keys])
    for study in sweep.studies:
        for record in study.records:
            writer.writerow(
                [
                    *(study.name, study.fold, exact(study.control), record.number, record.state),
                    *("" if number is None else repr(number) for number in (record.value, record.loss)),
                    *(record.epochs, f"{record.seconds:.3f}", record.together, record.error),
                    *(exact(record.values[key]) if key in record.values else "" for key in keys),
                ]
            )
    return file.getvalue()


def lines(sweep: Sweep) -> list[str]:
    """Return the lines that a terminal shows: a row per study, the pace of the whole sweep, and why it ended early."""
    rows = [["study", "best value", "trials", "per minute", "settings"]]
    for study in sweep.studies:
        best, pace = study.best, study.per_minute
        rows.append(
            [
                study.name,
                percent(best.value if best else None),
                counts(study),
                f"{pace:.1f}" if pace is not None else "–",
                settings_text(best, study, sweep) if best else "no complete trial",
            ]
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    shown_rows = [
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
    ended = sum(study.ended for study in sweep.studies)
    pace = f", {60 * ended / sweep.seconds:.1f} per minute" if sweep.seconds > 0 else ""
    last = f"  {counted(ended, 'trial')} in {sweep.seconds:.0f} s{pace}"
    return [sweep.heading, *shown_rows, last, *([sweep.ended] if sweep.ended else [])]


def score_lines(sweep: Sweep) -> list[str]:
    """Return what a terminal shows of the retrained choices: scores, differences, and what they are; nothing before retraining."""
    found = sweep.retrained
    if not found:
        return []
    said = [*score_items(found), ESTIMATES, *([found["note"]] if found.get("note") else [])]
    return ["Retrained, and scored once on the test halves:", *(f"  {one}" for one in said)]


def score_items(retrained: Mapping[str, Any]) -> list[str]:
    """Return a line per score of model and controls, then the differences between them."""
    scores = [f"{name}: {score_text(retrained[key])}" for key, name in SCORES.items() if retrained.get(key)]
    return scores + [retrained[key] for key in DIFFERENCES if retrained.get(key)]


def score_text(score: Mapping[str, Any]) -> str:
    """Write WAR and UAR with their intervals; a single interval is that of the WAR."""
    ends = score.get("interval") or {}
    by_metric = ends if isinstance(ends, Mapping) else {"war": ends}
    texts = []
    for metric in ("war", "uar"):
        limits = by_metric.get(metric)
        between = f" (95 % {interval((limits[0], limits[1]))})" if limits and None not in limits else ""
        texts.append(f"{metric.upper()} {percent(score.get(metric))}{between}")
    return ", ".join(texts)


def counts(study: StudyRecord) -> str:
    """Return how many trials ended how: 20 complete, 4 pruned."""
    numbers = {name: getattr(study, name) for name in ("complete", "pruned", "failed", "running")}
    return ", ".join(f"{number} {name}" for name, number in numbers.items() if number or name == "complete")


def settings_shown(sweep: Sweep, *, control: bool) -> tuple[str, ...]:
    """Name the settings that vary among all trials of the model, or of the control, in any of the studies; the model's name first."""
    settings = [record.values for study in sweep.studies_of(control=control) for record in study.records]
    keys = varied(settings)
    if not control and len(sweep.models) > 1 and MODEL_NAME in keys_of(settings):
        keys = (MODEL_NAME, *keys)  # in all trials of a short sweep it may be the same
    return tuple(dict.fromkeys(sorted(keys, key=lambda key: key != MODEL_NAME)))


def settings_of(record: Record, study: StudyRecord, sweep: Sweep | None = None) -> dict[str, str]:
    """Return the settings of a trial that vary in its sweep, or in its study where no sweep is given; all of them where none does."""
    keys: Sequence[str] = (
        varied([one.values for one in study.records]) if sweep is None else settings_shown(sweep, control=study.control)
    )
    return {key: shown(record.values[key]) for key in keys or tuple(record.values) if key in record.values}


def settings_text(record: Record, study: StudyRecord, sweep: Sweep | None = None) -> str:
    """Write these settings in one line."""
    return ", ".join(f"{key} {value}" for key, value in settings_of(record, study, sweep).items()) or "none"
