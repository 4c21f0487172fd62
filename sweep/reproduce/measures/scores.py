"""Rows that are trained and scored: WAR and UAR over seeds, intervals, paired differences, the order of snippets, recall of classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ....train.results.metrics import spread
from ....train.results.pages.summary import percent
from ....train.results.paired import Difference
from ....train.results.predictions import Predictions
from ....train.results.results import pool_answers
from ....train.runs.run import Run
from ..cells import difference, ends, millions, named, over_seeds, share
from ..cost import parameters_of
from ..pictures import Curve, Point, curve_picture, row_picture
from ..runs import Runs
from ..sheet import Cell, Line
from ..table import Row, Table
from .measured import Measured, compare, conclusions, paper_cell, paper_remarks


def measure(table: Table, rows: Sequence[Row], runs: Runs) -> Measured:
    """Train, score and compare the rows of a table."""
    trained = {row.label: runs.run(row) for row in rows}
    fixed = {row.label for row in rows if row.settings.get("control")}
    found = {label: predictions_of(run, control=label in fixed) for label, run in trained.items()}
    orders = {label: order_accuracy(run) for label, run in trained.items()}
    differences = compare_rows(table, rows, found, fixed)
    lines: list[Line] = []
    for row in rows:
        run, scored = trained[row.label], found[row.label]
        line: dict[str, Cell] = {"row": named(row.label)}
        if table.classes:
            line["architecture"] = _architecture(run, row.label in fixed)
        if table.sizes and row.label not in fixed:
            line["parameters"] = millions("parameters", parameters_of(run, runs.cache))
        line["WAR"] = over_seeds("war", scored.over_seeds["war"])
        line["95 %"] = ends("war", scored.intervals.get("war"))
        line["UAR"] = over_seeds("uar", scored.over_seeds["uar"])
        if table.order and orders[row.label][0]:
            accuracy, chance = orders[row.label]
            line["order"] = share("order", accuracy)
            line["chance"] = Cell(words=percent(chance), values={"order_chance": chance})
        rival = table.rival(row)
        line[_against(table)] = difference("difference", differences.get((row.label, rival)), rival)
        if table.classes:
            recalls = zip(scored.labels, scored.scores.recall.tolist(), strict=True)
            line |= {name: Cell(words=percent(recall), values={f"recall {name}": recall}) for name, recall in recalls}
        lines.append(line | paper_cell(runs, table, row, "order" if table.name == "order-accuracy" else "war"))
    return Measured(
        lines=lines,
        found=conclusions(differences, asked=table.pairs),
        notes=paper_remarks(runs.dataset, table, rows),
        pictures=pictures(table, rows, found, orders),
    )


def predictions_of(run: Run, *, control: bool) -> Predictions:
    """Return what a run predicted, or what its control said."""
    found = Predictions.of_run(run)
    if control and found.control is not None:
        return replace(found, seeds=found.seeds[:1], predicted=found.control[None], control=None)
    return found


def compare_rows(
    table: Table, rows: Sequence[Row], found: Mapping[str, Predictions], fixed: set[str]
) -> dict[tuple[str, str], Difference]:
    """Compare each row with its rival, and the pairs that are asked for."""
    pairs = [(row.label, table.rival(row)) for row in rows if table.rival(row)]
    return {
        (one, other): compare(found[one], found[other], one_fixed=one in fixed, other_fixed=other in fixed)
        for one, other in dict.fromkeys([*pairs, *table.pairs])
        if one in found and other in found
    }


def order_accuracy(run: Run) -> tuple[list[float], float]:
    """Return how often the order of shuffled snippets was recognised, for each seed, and chance; empty for models without SSOP."""
    found, chance = [], 0.0
    for seed in run.config.seeds:
        parts = [run.result(name) for name in run.parts_of(seed)]
        asked = [name for name in run.config.model.questions if any(name in part for part in parts)]
        if asked:
            answered = pool_answers(parts, asked[0])
            found.append(answered.accuracy)
            chance = answered.chance
    return found, chance


def pictures(
    table: Table, rows: Sequence[Row], found: Mapping[str, Predictions], orders: Mapping[str, tuple[list[float], float]]
) -> dict[str, str]:
    """Draw accuracy by row, or the curves of a figure, and the accuracy of orders where it is its subject."""
    title = f"{table.number}: {table.title}, WAR"
    if not table.axis:
        drawn = [
            (row.label, found[row.label].over_seeds["war"].mean, found[row.label].intervals.get("war")) for row in rows
        ]
        return {".svg": row_picture(drawn, title=title)}
    names = dict.fromkeys(row.curve for row in rows)
    curves = [
        Curve(
            name=name,
            points=[
                Point(
                    x=row.x or 0,
                    value=found[row.label].over_seeds["war"].mean,
                    ends=found[row.label].intervals.get("war"),
                )
                for row in rows
                if row.curve == name
            ],
        )
        for name in names
    ]
    drawn_pictures = {".svg": curve_picture(curves, title=f"{title} with 95 % interval", axis=table.axis)}
    asked = [row for row in rows if orders[row.label][0]]
    if table.order and asked:
        points = []
        for row in asked:
            over = spread(orders[row.label][0])
            reach = over.sd or 0.0
            points.append(
                Point(x=row.x or 0, value=over.mean, ends=(max(over.mean - reach, 0), min(over.mean + reach, 1)))
            )
        chance = [Point(x=row.x or 0, value=orders[row.label][1]) for row in asked]
        drawn_pictures["-order.svg"] = curve_picture(
            [Curve(name="order recognised", points=points), Curve(name="chance", points=chance, faint=True)],
            title=f"{table.number}: accuracy of the order, ± sd over seeds",
            axis=table.axis,
        )
    return drawn_pictures


def _against(table: Table) -> str:
    own = any(row.against for row in table.rows)
    return "difference, points (95 %)" if own else f"against {table.baseline}, points (95 %)"


def _architecture(run: Run, is_control: bool) -> Cell:
    words = "own" if is_control else run.config.model.architecture
    return Cell(words=words, values={"architecture": words})
