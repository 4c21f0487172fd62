"""`est evaluate`: a run's models, scored again."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ...errors import UsageError, counted
from ..detectortable import table
from ..options import examples
from ..panels import CLIPS, INPUT, MACHINE, OUTPUT
from ..screen import Screen

if TYPE_CHECKING:
    from ...train.evaluated import Evaluation
    from ...train.results.groups import Grouping

SHOWN_GROUPS = 20  # on a terminal

RunPath = Annotated[Path, typer.Argument(metavar="RUN", help="The folder that est train made.", rich_help_panel=INPUT)]
CachePath = Annotated[
    Path | None,
    typer.Option(
        "--cache", "-c", help="Another cache, with the same features. [default: the run's]", rich_help_panel=INPUT
    ),
]
Shuffle = Annotated[
    bool, typer.Option("--shuffle-test", help="Shuffle clips as the model does in training.", rich_help_panel=CLIPS)
]
ZeroMiddle = Annotated[
    str | None,
    typer.Option(
        "--zero-middle",
        metavar="A:B",
        help="Blacken these frames of the 105; auto: the middle snippet.\n\n"
        "auto: those that the middle snippet spans (Table 9 of the paper).",
        rich_help_panel=CLIPS,
    ),
]
Start = Annotated[
    int | None,
    typer.Option("--start", help="First of the 75 frames, 0 to 30 (Fig. 6). [default: 15]", rich_help_panel=CLIPS),
]
Split = Annotated[
    list[str] | None,
    typer.Option(
        "--split", help="Only clips of this split of --cache; may be repeated.", metavar="NAME", rich_help_panel=CLIPS
    ),
]
Alias = Annotated[
    list[str] | None,
    typer.Option(
        "--alias", metavar="THEIRS=OURS", help="Classes that mean the same; may be repeated.", rich_help_panel=CLIPS
    ),
]
Unknown = Annotated[
    Literal["exclude", "wrong"],
    typer.Option(
        "--unknown",
        help="Exclude clips of classes that the run lacks, or count them wrong.\n\nExcluded clips are counted too.",
        rich_help_panel=CLIPS,
    ),
]
AllowLeak = Annotated[
    bool,
    typer.Option(
        "--allow-leak",
        help="Score clips that the features were trained on; the result says so.",
        rich_help_panel=CLIPS.rare,
    ),
]
Group = Annotated[
    list[str] | None,
    typer.Option(
        "--group",
        metavar="COLUMN",
        help="Scores by group of a column of the cache, and the largest gap.\n\n"
        "extra:NAME, subject, split, …; may be repeated.",
        rich_help_panel=OUTPUT,
    ),
]
Latex = Annotated[
    bool, typer.Option("--latex", help="Print a table for a paper, in LaTeX, and nothing else.", rich_help_panel=OUTPUT)
]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out", "-o", "--output", help="A folder for metrics.json, predictions.csv and tables.", rich_help_panel=OUTPUT
    ),
]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.", rich_help_panel=MACHINE)]


@examples(
    "est evaluate runs/mine",
    "est evaluate runs/mine --cache other.zarr --alias surprised=surprise --out on-other",
    "est evaluate runs/mine --shuffle-test",
)
def evaluate(
    screen: Screen,
    *,
    run: RunPath,
    cache: CachePath = None,
    shuffle_test: Shuffle = False,
    zero_middle: ZeroMiddle = None,
    start: Start = None,
    split: Split = None,
    alias: Alias = None,
    unknown: Unknown = "exclude",
    allow_leak: AllowLeak = False,
    group: Group = None,
    latex: Latex = False,
    out: Out = None,
    device: Device = "auto",
) -> int:
    """Score a run's models again, on this or another cache. Also on shuffled or blackened clips."""
    from ...train.evaluated import Change, expect_free_for
    from ...train.evaluation import evaluate as score_again
    from ...train.folds.labels import parse_aliases
    from ...train.runs.run import Run

    if out is not None:
        expect_free_for(out, Run.open(run))
    change = Change(shuffle=shuffle_test, zero=parse_range(zero_middle), start=start)
    with screen.watching() as watch:
        found = score_again(
            run,
            cache,
            change=change,
            split=split,
            aliases=parse_aliases(alias or ()),
            unknown=unknown,
            groups=group or (),
            device=device,
            allow_leak=allow_leak,
            watch=watch,
        )
    found.save_details()
    if out is not None:
        found.save(out)
    written = [f"written to {out}"] if out is not None else []
    if latex:
        screen.result({**found.to_json(), "latex": found.latex()}, found.latex().rstrip("\n"))
        for line in written:
            screen.note(line)
    else:
        screen.result(found.to_json(), "\n".join([*lines(found), *written]))
    return 0


def parse_range(text: str | None) -> tuple[int, int] | Literal["middle"] | None:
    """Read A:B, or auto."""
    if text is None or text == "auto":
        return None if text is None else "middle"
    first, colon, stop = text.partition(":")
    if not (colon and all(re.fullmatch("[0-9]{1,9}", place) for place in (first, stop))):
        raise UsageError(f"--zero-middle is A:B or auto, found {text!r}.", remedy="--zero-middle 45:60")
    return int(first), int(stop)


def lines(found: Evaluation) -> list[str]:
    """Format an evaluation as text."""
    from ...train.folds.published import result_lines
    from ...train.results.metrics import number
    from ...train.results.pages.megc import megc_lines
    from ...train.results.pages.summary import leak_lines, percent, plus_minus, score_lines

    scores = found.scores
    shown = [
        found.run.facts["heading"],
        *leak_lines(found.leaks),
        f"{found.run.path} on {found.cache}: {found.what}",
        *score_lines(found.predictions),
    ]
    if len(found.models) > 1:
        how = "pooled over the models' own test halves" if found.own else "mean probabilities of all models"
        shown.append(
            f"{how}; single models: WAR {plus_minus(found.spread['war'])}, UAR {plus_minus(found.spread['uar'])}"
        )
    shown += [
        f"{one.question}: {percent(one.accuracy)} ({one.right}/{one.total}), chance {percent(one.chance)}"
        for one in found.answers
    ]
    if scores.unpredicted:
        shown.append(f"counted as wrong: {counted(scores.unpredicted, 'clip')} without a face or without frames")
    if found.excluded:
        shown.append(
            "left out, classes that the run lacks: " + ", ".join(f"{name} {n}" for name, n in found.excluded.items())
        )
    if found.unlabelled:
        shown.append(f"left out, no label: {found.unlabelled}")
    if found.published:
        shown += result_lines(found.run.config.protocol.kind)
    width = max(map(len, scores.labels))
    shown += [
        f"  {label:<{width}}  {percent(recall):>9}  {number(hits)}/{truth}"
        for label, recall, hits, truth in zip(scores.labels, scores.recall, scores.hits, scores.truth, strict=True)
    ]
    if (megc := found.megc) is not None:
        shown += megc_lines(megc)
    return [*shown, *(line for one in found.groups for line in group_lines(one))]


def group_lines(found: Grouping) -> list[str]:
    """Format the groups of a column as text, with the interval of the largest gap."""
    from ...train.results.metrics import number
    from ...train.results.pages.summary import interval, percent

    unit = {"subjects": "people"}.get(found.unit, found.unit)
    rows: list[tuple[str, ...]] = [("group", "WAR", "right / clips", "95 %", "UAR", "classes", unit)]
    for one in found.groups[:SHOWN_GROUPS]:
        scores = one.scores
        counts = f"{number(scores.right)}/{scores.total}"
        classes = f"{sum(one.classes)} of {len(one.classes)}"
        shown = (one.name, percent(scores.war), counts, interval(one.interval), percent(scores.uar), classes)
        rows.append((*shown, str(one.units)))
    lines = [f"by {found.column}" + (f": {found.note}" if found.note else ""), *table(rows)]
    if (left := len(found.groups) - SHOWN_GROUPS) > 0:
        lines.append(f"  … and {left} more in groups.csv of --out")
    for name, gap in found.gaps.items():
        ends = "–" if gap.interval is None else f"{100 * gap.interval[0]:.1f} to {100 * gap.interval[1]:.1f}"
        which = f"{gap.best!r} against {gap.worst!r}"
        lines.append(
            f"  largest gap in {name.upper()}: {100 * gap.value:.1f} points, {which} (95 % over {unit}: {ends})"
        )
    if found.warning:
        lines.append(f"  {found.warning}")
    return lines
