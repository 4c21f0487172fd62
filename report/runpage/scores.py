"""The scores of a run: with denominators and intervals, against the control, by class, fold and seed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...errors import UsageError
from ...train.folds.leaks import leaks_of_fold
from ...train.folds.published import result_lines
from ...train.results.compare import PERMUTED_LABELS, Duel, compare_runs
from ...train.results.intervals import score_intervals
from ...train.results.metrics import Bin, Scores, number
from ...train.results.pages.megc import TITLE, megc_cells, megc_notes
from ...train.results.pages.pictures import NO_PREDICTION
from ...train.results.pages.summary import RANGES, WORDS, headline, interval, leak_lines, plus_minus
from ...train.results.paired import Difference
from ...train.results.predictions import Predictions
from ...train.results.results import Results
from ..page import Cell, Section, details, figure, heading, items, percent, table, text, warning
from ..plots import shaded_matrix, share_chart
from .opened import Opened

SHOWN_SEEDS = 6  # confusion matrices of single seeds that are drawn
MEASURES = {"war": "WAR", "uar": "UAR", "uf1": "UF1"}


def warnings_of(results: Results) -> list[str]:
    """Return the warnings that stand above every score: leaks and permuted labels."""
    found = [warning(line) for line in leak_lines(results.leaks)]
    return [*found, *([warning(f"This run {PERMUTED_LABELS}.")] if results.run.permuted else [])]


def score_section(results: Results) -> Section:
    """Return the scores, and what they mean."""
    scores, found = results.scores, results.predictions
    right = f"{number(scores.right)} / {scores.total} clips"
    averaged = f"mean of {int(scores.present.sum())} of {len(scores.labels)} classes"
    seeds, folds = results.over_seeds, results.over_folds
    rows = [
        [
            name,
            percent(seeds[key].mean, 2),
            right if key == "war" else averaged,
            _ends(results.intervals.get(key)),
            plus_minus(seeds[key]) if seeds[key].sd is not None else None,
            plus_minus(folds[key]) if key in folds and folds[key].sd is not None else None,
        ]
        for key, name in MEASURES.items()
    ]
    header = ["Measure", "Score", "Of", "95 % interval", "Over seeds, ± sd", "Over folds, ± sd"]
    over = f" over {found.describe_units()}" if results.intervals else f": none, {found.describe_units()} are too few"
    caption = f"Scores on {scores.total} clips, pooled over folds, {_seeds(found)}; intervals{over}"
    words = WORDS.format(range=RANGES[results.units] if results.intervals else "").strip("*")
    published = result_lines(results.run.config.protocol.kind)
    return Section(
        title="Scores",
        parts=[
            table(header, rows, caption=caption, sortable=False),
            items(headline(results)),
            text(words),
            *_megc(results),
            *([heading("Published results on this data set"), items(published)] if published else []),
            *_unseen(results),
        ],
    )


def control_section(opened: Opened) -> Section:
    """Return the paired comparison with the control, which ignores the order of frames."""
    title = "Compared with the control"
    try:
        comparison = compare_runs([opened.path])
    except UsageError as error:
        return Section(title=title, parts=[text(f"{error.message} Remedy: {error.remedy}.")])
    duel = comparison.duels[0]
    words = (
        "The control is a linear classifier on mean, deviation, minimum and maximum of a clip's features: it ignores the order of frames. "
        "Each person's clips under the model are compared with the same clips under the control."
    )
    return Section(
        title=title,
        parts=[
            text(duel.war.sentence(duel.first.name, duel.other.name) + "."),
            text(words),
            *difference_parts(duel),
            *([heading("Notes on the comparison"), items(comparison.notes)] if comparison.notes else []),
        ],
    )


def difference_parts(duel: Duel) -> list[str]:
    """Return picture and table of the differences of two models: WAR, UAR, and the recall of each class."""
    first, other = duel.first.name, duel.other.name
    named = {"WAR": duel.war, "UAR": duel.uar, **{f"recall of {one}": found for one, found in duel.classes.items()}}
    title = f"{first} − {other}"
    most = max(max(map(abs, [one.value, *_known(one)])) for one in named.values())
    limit = min(1.0, max(0.1, np.ceil(10 * most) / 10))
    picture = share_chart(
        [(name, one.value, _both(one)) for name, one in named.items()],
        title=title,
        told=f"Differences with their 95 % intervals; right of the line in the middle {first} is better. "
        + " ".join(f"{name}: {_points(one.value)} points." for name, one in named.items()),
        mark=(0.0, "no difference"),
        low=-limit,
        high=limit,
        unit="",
    )
    rows = [
        [
            name,
            Cell(words=_points(one.value), value=one.value),
            f"{_points(one.low)} to {_points(one.high)}" if one.low is not None and one.high is not None else None,
            Cell(words=f"{one.p:.3g}", value=one.p),
            f"{one.units} {one.unit}",
            {1: f"{first} is better", -1: f"{other} is better", 0: "cannot tell"}[one.better],
        ]
        for name, one in named.items()
    ]
    header = ["Difference in", "Points", "95 % interval", "p", "Over", "Verdict"]
    caption = f"{title}, in points; the interval decides, not p. The verdicts are not corrected for being several"
    return [figure(picture, f"{title}: points, with 95 % intervals"), table(header, rows, caption=caption)]


def confusion_section(results: Results) -> Section:
    """Return the confusion matrices, pooled and of each seed."""
    found = results.predictions
    single = []
    if len(found.seeds) > 1:
        shown = list(zip(found.seeds, found.by_seed, strict=True))[:SHOWN_SEEDS]
        more = f" The first {SHOWN_SEEDS} of {len(found.seeds)} seeds." if len(found.seeds) > SHOWN_SEEDS else ""
        figures = [
            figure(_confusion(one, f"Confusion, seed {seed}"), f"Seed {seed}: clips.{more}") for seed, one in shown
        ]
        single = [details(f"Each of {len(shown)} seeds", *figures)]
    mean = f", mean of {len(found.seeds)} seeds" if len(found.seeds) > 1 else ""
    return Section(
        title="Confusion",
        parts=[
            figure(
                _confusion(results.scores, "Confusion, pooled over folds"),
                f"Rows: the label. Columns: what was predicted. Numbers are clips, pooled over folds{mean}; shade is the share of the row.",
            ),
            details("The same as a table", _confusion_table(results.scores)),
            *single,
        ],
    )


def class_section(results: Results) -> Section:
    """Return recall of each class with its interval, precision and F1."""
    found, scores = results.predictions, results.scores
    ends = {}
    for code, label in enumerate(scores.labels):
        own = found.truth == code
        ends[label] = (
            score_intervals(found.truth[own], found.predicted[:, own], found.groups[own], found.labels).get("war")
            if own.any()
            else None
        )
    recall = dict(zip(scores.labels, scores.recall.tolist(), strict=True))
    picture = share_chart(
        [(label, None if recall[label] != recall[label] else recall[label], ends[label]) for label in scores.labels],
        title="Recall of each class",
        told=" ".join(f"{label}: {percent(recall[label]).words}." for label in scores.labels),
        mark=(1 / max(len(scores.labels), 1), "chance"),
    )
    rows = [
        [
            label,
            percent(recall[label]),
            _ends(ends[label]),
            Cell(words=f"{number(hits)} / {truth}", value=float(hits)),
            Cell(words=f"{number(told)}", value=float(told)),
            percent(precision),
            percent(f1),
        ]
        for label, hits, truth, told, precision, f1 in zip(
            scores.labels, scores.hits, scores.truth, scores.predicted, scores.precision, scores.f1, strict=True
        )
    ]
    header = ["Class", "Recall", "95 % interval", "Right / clips", "Predicted", "Precision", "F1"]
    caption = f"Classes, pooled over folds, {_seeds(found)}; intervals over {results.units}, none below 5 of them"
    return Section(
        title="Classes",
        parts=[
            figure(picture, "Recall with 95 % intervals; a class without an interval has fewer than 5 people or clips"),
            table(header, rows, caption=caption),
            heading("By length and by face coverage"),
            _bins(results.by_length, "Clips by their number of frames", "Frames"),
            _bins(results.by_coverage, "Clips by the share of their frames that show a face", "Coverage"),
        ],
    )


def part_section(results: Results) -> Section:
    """Return each fold under each seed, each seed, and the same run by other conventions."""
    found = results.predictions
    rows = []
    for part in results.parts:
        ends = results.part_intervals[part["part"]]
        oracle = part["oracle"]["right"] / part["oracle"]["total"] if "oracle" in part else None
        rows.append(
            [
                part["part"],
                part["train_clips"],
                percent(part["war"]),
                f"{part['right']} / {part['total']}",
                _ends(ends.get("war")),
                percent(part["uar"]),
                f"{part['selected']['epoch']} (by {part['selected']['by']})",
                percent(part["control"]["war"]) if "control" in part else None,
                percent(oracle),
                round(part["seconds"], 1),
                *([leaks_of_fold(results.leaks, part["fold"])] if results.leaks else []),
            ]
        )
    header = [
        "Part",
        "Learnt from, clips",
        "WAR",
        "Right / clips",
        "95 %",
        "UAR",
        "Epoch",
        "Control",
        "Oracle",
        "Seconds",
    ]
    header += ["Leaks"] if results.leaks else []
    seeds = [
        [str(seed), percent(one.war), f"{one.right} / {one.total}", percent(one.uar), percent(one.uf1)]
        for seed, one in zip(found.seeds, found.by_seed, strict=True)
    ]
    conventions = [[one.title, percent(one.war), percent(one.uar), one.what] for one in results.conventions]
    oracle = (
        "The oracle picks each part's best epoch on the test half itself. It is no result of the model, but it is what most published "
        "numbers are; compare like with like."
    )
    return Section(
        title="Folds and seeds",
        parts=[
            table(header, rows, caption="Each fold under each seed, scored on its own test half"),
            *([text(oracle)] if results.oracle else []),
            table(["Seed", "WAR", "Right / clips", "UAR", "UF1"], seeds, caption="Each seed, pooled over its folds"),
            table(
                ["Convention", "WAR", "UAR", "What it is"],
                conventions,
                caption="The same run by other conventions; only like numbers compare",
                sortable=False,
            ),
        ],
    )


def _confusion(scores: Scores, title: str) -> str:
    columns = [*scores.labels, NO_PREDICTION] if scores.unpredicted else list(scores.labels)
    counts = scores.confusion[:, : len(columns)]
    totals = np.maximum(scores.truth, 1)[:, None]
    words = [[f"{number(cell):g}" for cell in row] for row in counts.round(1)]
    best = " ".join(
        f"{label}: {number(hits)} of {total} right."
        for label, hits, total in zip(scores.labels, scores.hits, scores.truth, strict=True)
    )
    return shaded_matrix(scores.labels, columns, counts / totals, words, title=title, told=best, across="predicted as")


def _confusion_table(scores: Scores) -> str:
    columns = [*scores.labels, NO_PREDICTION]
    rows = [
        [label, *(number(cell) for cell in row)] for label, row in zip(scores.labels, scores.confusion, strict=True)
    ]
    return table(
        ["Label", *columns], rows, caption="Confusion: clips of each label (rows) by what was predicted (columns)"
    )


def _bins(rows: Sequence[Bin], caption: str, name: str) -> str:
    shown = [[one.text, percent(one.right / one.total), f"{one.right} / {one.total}"] for one in rows if one.total]
    return table([name, "WAR", "Right / clips"], shown, caption=caption, sortable=False)


def _megc(results: Results) -> list[str]:
    """Return the table of MEGC 2019, where the protocol has it."""
    if results.megc is None:
        return []
    header, rows = megc_cells(results.megc)
    caption = "UF1 and UAR of all clips and of each database; intervals over people, none below 5 of them"
    return [heading(TITLE), table(header, rows, caption=caption, sortable=False), items(megc_notes(results.megc))]


def _unseen(results: Results) -> list[str]:
    if not results.unseen:
        return []
    shown = ", ".join(results.unseen[:20]) + (" …" if len(results.unseen) > 20 else "")
    return [warning(f"No face, or no frames, and therefore wrong in every number: {shown}")]


def _seeds(found: Predictions) -> str:
    return f"mean of {len(found.seeds)} seeds" if len(found.seeds) > 1 else f"seed {found.seeds[0]}"


def _ends(ends: Sequence[float] | None) -> Cell | None:
    return Cell(words=interval((ends[0], ends[1])) + " %", value=ends[0]) if ends else None


def _known(one: Difference) -> list[float]:
    return [end for end in (one.low, one.high) if end is not None]


def _both(one: Difference) -> tuple[float, float] | None:
    return (one.low, one.high) if one.low is not None and one.high is not None else None


def _points(share: float | None) -> str:
    return "–" if share is None else f"{round(100 * share, 1) + 0.0:+.1f}".replace("-", "−")
