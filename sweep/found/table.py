"""The trials of a sweep as a table: trials.csv, and the lines of a terminal."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from ...train.results.pages.summary import percent
from .record import Record, StudyRecord, Sweep
from .scales import exact, keys_of, shown, varied

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
    """Return the lines that a terminal shows: a row per study, and the pace of the whole sweep."""
    rows = [["study", "best value", "trials", "per minute", "settings"]]
    for study in sweep.studies:
        best, pace = study.best, study.per_minute
        rows.append(
            [
                study.name,
                percent(best.value if best else None),
                counts(study),
                f"{pace:.1f}" if pace is not None else "–",
                settings_text(best, study) if best else "no complete trial",
            ]
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    shown_rows = [
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
    ended = sum(len(study.records) - study.running for study in sweep.studies)
    pace = f", {60 * ended / sweep.seconds:.1f} per minute" if sweep.seconds > 0 else ""
    return [sweep.heading, *shown_rows, f"  {ended} trials in {sweep.seconds:.0f} s{pace}"]


def counts(study: StudyRecord) -> str:
    """Say how many trials ended how: 20 complete, 4 pruned."""
    numbers = {name: getattr(study, name) for name in ("complete", "pruned", "failed", "running")}
    return ", ".join(f"{number} {name}" for name, number in numbers.items() if number or name == "complete")


def settings_of(record: Record, study: StudyRecord) -> dict[str, str]:
    """Return the settings of a trial that differ between the trials of its study; all of them where none does."""
    keys: Sequence[str] = varied([one.values for one in study.records]) or tuple(record.values)
    return {key: shown(record.values[key]) for key in keys if key in record.values}


def settings_text(record: Record, study: StudyRecord) -> str:
    """Write these settings in one line."""
    return ", ".join(f"{key} {value}" for key, value in settings_of(record, study).items()) or "none"
