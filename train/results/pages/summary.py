"""The summary of a run: what was measured, how, and the baselines."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ....errors import counted
from ...folds.leaks import describe_leaks, leaks_of_fold
from ...folds.published import convention, named, result_lines
from ..metrics import Bin, Spread, number
from .megc import TITLE, megc_cells, megc_notes

if TYPE_CHECKING:
    from ...folds.leaks import Leak
    from ..predictions import Predictions
    from ..results import Results

WORDS = (
    "*WAR is the share of clips that are recognised, UAR the mean over classes of the share of each, UF1 the mean of their F1. "
    "{range}The control uses mean, deviation, minimum and maximum of a clip's features and ignores the order of frames.*"
)
RANGES = {
    "subjects": "95 %: where these scores lie with other people like these. ",
    "clips": "95 %: where these scores lie with other clips like these; too narrow where clips come in groups, of people or films. ",
}
SHOWN_PARTS = 20  # on a terminal


def percent(value: float | None) -> str:
    """Write a share as 65.85 %, and nothing to divide by as a dash."""
    return "–" if value is None or math.isnan(value) else f"{100 * value:.2f} %"


def interval(ends: tuple[float, float] | None) -> str:
    """Write the ends of an interval."""
    return f"{100 * ends[0]:.1f} to {100 * ends[1]:.1f}" if ends else "–"


def plus_minus(value: Spread) -> str:
    """Write mean ± sd."""
    return percent(value.mean) if value.sd is None else f"{100 * value.mean:.2f} ± {100 * value.sd:.2f} %"


def headline(results: Results) -> list[str]:
    """Return the lines that a terminal shows at the end of a run."""
    run = results.run
    lines = [*leak_lines(results.leaks), *score_lines(results.predictions)]
    most = results.scores.truth.max() / results.scores.total
    lines.append(
        f"always the most frequent class: WAR {percent(most)}, UAR {percent(1 / results.scores.present.sum())}"
    )
    for one in results.answers:
        what = run.config.model.questions[one.question]
        lines.append(f"{what}: {percent(one.accuracy)} ({one.right}/{one.total}), chance {percent(one.chance)}")
    if results.control is not None and results.gain is not None:
        control = results.control
        lines.append(
            f"control (pooled statistics, linear): WAR {percent(control.war)} ({control.right}/{control.total}), UAR "
            f"{percent(control.uar)}"
        )
        lines.append(results.gain.sentence(run.config.model.title, "control"))
    if results.unseen:
        lines.append(f"counted as wrong: {counted(len(results.unseen), 'clip')} without a face or without frames")
    protocol = run.facts["protocol"]
    shown = named(run.config.protocol.kind, protocol["kind"])
    lines.append(f"protocol {shown}, independence {protocol['independence']}")
    return lines


def score_lines(found: Predictions) -> list[str]:
    """Return the scores, their intervals and their spread over folds: of several seeds means, which make no clip two."""
    scores, seeds, over = found.scores, len(found.seeds), found.over_seeds
    classes = f"over {int(scores.present.sum())} of {len(scores.labels)} classes"
    if seeds == 1:
        line = (
            f"WAR {percent(scores.war)} ({scores.right}/{scores.total}), UAR {percent(scores.uar)} {classes}, UF1 "
            f"{percent(scores.uf1)}"
        )
    else:
        war, uar, uf1 = (plus_minus(over[name]) for name in ("war", "uar", "uf1"))
        line = f"WAR {war}, UAR {uar} {classes}, UF1 {uf1}: mean ± sd of {seeds} seeds on {scores.total} clips"
    lines = [line]
    what = found.describe_units()
    if ends := found.intervals:
        lines.append(f"95 % over {what}: WAR {interval(ends['war'])}, UAR {interval(ends['uar'])}")
    else:
        lines.append(f"no interval: {what}: too few for an interval")
    folds = found.over_folds
    if (count := folds["war"].number) > 1:
        lines.append(f"its {count} folds by themselves: WAR {plus_minus(folds['war'])}, UAR {plus_minus(folds['uar'])}")
    return lines


def leak_lines(leaks: Sequence[Leak]) -> list[str]:
    """Say in words, above any score, that it is none of clips that nothing had seen."""
    return [f"LEAK: {line}" for line in describe_leaks(leaks)]


def part_lines(results: Results) -> list[str]:
    """Return a line for each part of several, as a terminal shows them below the pooled scores."""
    if len(results.parts) < 2:
        return []
    rows = [["part", "WAR", "right / clips", "95 %", "UAR", "95 %", *(["leaks"] if results.leaks else [])]]
    for part in results.parts[:SHOWN_PARTS]:
        found = results.part_intervals[part["part"]]
        counts = f"{part['right']} / {part['total']}"
        rows.append(
            [
                *(part["part"], percent(part["war"]), counts, interval(found.get("war"))),
                *(percent(part["uar"]), interval(found.get("uar"))),
                *([leaks_of_fold(results.leaks, part["fold"])] if results.leaks else []),
            ]
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  " + "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
    left = len(results.parts) - SHOWN_PARTS
    return [*lines, f"  … and {left} more in summary.md"] if left > 0 else lines


def summary(results: Results) -> str:
    """Return the page as Markdown."""
    run, scores = results.run, results.scores
    mean = f" (mean of {len(run.config.seeds)} seeds)" if len(run.config.seeds) > 1 else ""
    cache = run.facts["cache"]
    blocks = [
        f"# {run.path.name}",
        f"**{run.facts['heading']}.** Trained on `{cache['path']}`, features `{run.config.feature}`.",
        "\n".join(f"- {line}" for line in headline(results)),
        WORDS.format(range=RANGES[results.units] if results.intervals else ""),
        *_published(run.config.protocol.kind),
        *_megc(results),
        "![Confusion matrix](confusion.svg)",
        "## Classes",
        _table(
            ["class", "recall", f"right{mean} / clips", "precision", "F1"],
            [
                [label, percent(recall), f"{number(hits)} / {truth}", percent(precision), percent(f1)]
                for label, recall, hits, truth, precision, f1 in zip(
                    scores.labels, scores.recall, scores.hits, scores.truth, scores.precision, scores.f1, strict=True
                )
            ],
        ),
        "## Parts",
        _table(
            [
                *("part", "trained on", "WAR", "95 %", "UAR", "95 %", "epoch", "control", "oracle", "seconds"),
                *(["leaks"] if results.leaks else []),
            ],
            [
                [
                    part["part"],
                    counted(part["train_clips"], "clip"),
                    f"{percent(part['war'])} ({part['right']}/{part['total']})",
                    interval(results.part_intervals[part["part"]].get("war")),
                    percent(part["uar"]),
                    interval(results.part_intervals[part["part"]].get("uar")),
                    f"{part['selected']['epoch']} (by {part['selected']['by']})",
                    percent(part["control"]["war"]) if "control" in part else "–",
                    percent(part["oracle"]["right"] / part["oracle"]["total"]) if "oracle" in part else "–",
                    f"{part['seconds']:.1f}",
                    *([leaks_of_fold(results.leaks, part["fold"])] if results.leaks else []),
                ]
                for part in results.parts
            ],
        ),
    ]
    if results.oracle is not None:
        right, total = results.oracle
        counts = f" ({right}/{total})" if len(run.config.seeds) == 1 else ", the mean over seeds"
        blocks.append(
            f"Oracle: {percent(right / total)}{counts}. It picks each part's best epoch on the test half itself. It is no "
            "result of the model, but it is what most published numbers are; compare like with like."
        )
    blocks += [
        "## The same run by other conventions",
        _table(
            ["convention", "WAR", "UAR", "what it is"],
            [[one.title, percent(one.war), percent(one.uar), one.what] for one in results.conventions],
        ),
        "## Training",
        "![Loss and WAR by epoch](curves.svg)",
    ]
    blocks += ["## WAR by length and by face coverage", _bins(results.by_length), _bins(results.by_coverage)]
    if results.unseen:
        shown = ", ".join(f"`{name}`" for name in results.unseen[:20]) + (" …" if len(results.unseen) > 20 else "")
        blocks.append(f"No face, or no frames, and therefore wrong in every number above: {shown}")
    blocks += ["## How", "\n".join(f"- {line}" for line in how_lines(results))]
    return "\n\n".join(blocks) + "\n"


def _published(protocol: str) -> list[str]:
    """Return what is published of the protocol's data set, as a block."""
    lines = result_lines(protocol)
    return ["\n".join(f"- {line}" for line in lines)] if lines else []


def _megc(results: Results) -> list[str]:
    """Return the table of MEGC 2019, as blocks, where the protocol has it."""
    if results.megc is None:
        return []
    header, rows = megc_cells(results.megc)
    return [f"## {TITLE}", _table(header, rows), "\n".join(f"- {note}" for note in megc_notes(results.megc))]


def how_lines(results: Results) -> list[str]:
    """Return how a run was made: protocol, seeds, settings, machine."""
    run, protocol = results.run, results.run.facts["protocol"]
    learnt = run.facts["cache"].get("trained_on", {})
    read = dict.fromkeys(run.reads.values()) or [run.config.feature]
    return [
        f"protocol: {named(run.config.protocol.kind, protocol['kind'])}; independence of training and test: {protocol['independence']}",
        *([known] if (known := convention(run.config.protocol.kind)) else []),
        *protocol["notes"],
        *[f"weights behind {feature}: {learnt[feature]}" for feature in read if feature in learnt],
        f"seeds {', '.join(map(str, run.config.seeds))}; {counted(run.config.loop.epochs, 'epoch')}, batch {run.config.loop.batch}, "
        f"learning rate {run.config.loop.learning_rate:g}; every setting in config.toml",
        f"{run.facts['device']}, {run.facts['precision']}, {run.facts['threads']} threads; "
        f"trained in {results.seconds:.1f} s altogether",
        run.config.sampling.sentence(run.config.model.shown),
    ]


def _bins(rows: Sequence[Bin]) -> str:
    shown = [row for row in rows if row.total]
    return _table(
        ["clips", "WAR", "right / clips"],
        [[row.text, percent(row.right / row.total), f"{row.right} / {row.total}"] for row in shown],
    )


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    marked = [[" ".join(cell.split()).replace("|", "\\|") for cell in row] for row in (header, *rows)]
    lines = ["| " + " | ".join(row) + " |" for row in marked]
    return "\n".join([lines[0], "|" + "---|" * len(header), *lines[1:]])
