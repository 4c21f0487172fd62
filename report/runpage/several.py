"""The page of several runs: which is better, clip by clip and person by person, and in what they differ."""

from __future__ import annotations

from collections.abc import Sequence
from os.path import commonpath
from pathlib import Path

import numpy as np

from ...errors import EstError
from ...train.results.compare import Comparison, compare_runs
from ...train.results.pages.summary import interval, plus_minus
from ..page import Cell, Section, figure, heading, items, page, percent, table, text, warning
from ..paged import Column, paged_table
from ..pagedscript import PAGED
from ..plots import line_chart
from ..privacy import FOLDERS, NAMES
from .curves import curve_of, share_of
from .opened import Opened
from .scores import MEASURES, difference_parts
from .setup import cite_section

APPARENT = "Classes are apparent expressions: what a face shows, as the labels have it, and not what somebody feels."


def several_page(runs: Sequence[Opened], *, paths: bool = False) -> str:
    """Return the page."""
    names = [one.name for one in runs]
    title = f"{len(runs)} runs: {', '.join(names)}" if len(runs) <= 4 else f"{len(runs)} runs"
    lead = [text(APPARENT), warning(NAMES), *([] if paths else [text(FOLDERS)])]
    sections = [_runs(runs)]
    whole = [one for one in runs if one.results is not None]
    lead += [
        warning(f"{one.path} is not compared. {one.problem}{f' Remedy: {one.remedy}.' if one.remedy else ''}")
        for one in runs
        if one.results is None
    ]
    try:
        comparison = compare_runs([one.path for one in whole], common=True) if len(whole) > 1 else None
    except EstError as error:
        lead.append(warning(f"These runs cannot be compared clip by clip: {error.message}"))
        lead += [text(f"Remedy: {error.remedy}")] if error.remedy else []
        comparison = None
    if comparison is not None:
        sections += [_scores(comparison), _differences(comparison), _settings(comparison)]
        sections.append(_clips(comparison))
    sections += [_curves(runs), cite_section()]
    begin = [Path(commonpath([one.path.absolute().parent for one in runs]))]
    return page(title, sections, lead=lead, scripts=[PAGED], paths=paths, begin=begin)


def _runs(runs: Sequence[Opened]) -> Section:
    """Return the model, protocol and state of each run, and why it is not compared."""
    rows = []
    for one in runs:
        run, results = one.run, one.results
        cells: list[str | None] = [None] * 4
        if run is not None:
            protocol = run.facts["protocol"]
            seeds = ", ".join(map(str, run.config.seeds))
            cells = [run.config.model.title, protocol["kind"], protocol["independence"], seeds]
        state = "complete" if results is not None else one.problem
        rows.append([one.name, *cells, state, str(one.path)])
    header = ["Run", "Model", "Protocol", "Independence", "Seeds", "State", "Folder"]
    return Section(title="Runs", parts=[table(header, rows, caption="The runs of this page")])


def _scores(found: Comparison) -> Section:
    rows = []
    for one in found.contestants:
        over, ends, scores = one.over_seeds, one.predictions.intervals, one.predictions.scores
        cells: list[Cell | str | None] = [one.name]
        for key in MEASURES:
            cells.append(Cell(words=plus_minus(over[key]), value=over[key].mean))
            cells.append(Cell(words=f"{interval(ends[key])} %", value=ends[key][0]) if key in ends else None)
        rows.append([*cells, f"{scores.right:g} / {scores.total}"])
    header = ["Run", *(cell for name in MEASURES.values() for cell in (name, f"{name}, 95 %")), "Right / clips"]
    caption = f"Scores on {found.clips} clips; mean ± sd over seeds, intervals over {found.units} {_unit(found)}"
    classes = [
        [label, *(percent(one.predictions.scores.recall.tolist()[code]) for one in found.contestants)]
        for code, label in enumerate(found.contestants[0].predictions.labels)
    ]
    return Section(
        title="Scores",
        parts=[
            *([heading("Notes on the comparison"), items(found.notes)] if found.notes else []),
            table(header, rows, caption=caption),
            table(["Class", *(one.name for one in found.contestants)], classes, caption="Recall of each class"),
            text(
                "Intervals of two runs may overlap although their difference is significant: the paired differences below decide."
            ),
        ],
    )


def _differences(found: Comparison) -> Section:
    """Return every run against the first."""
    parts = [
        text(
            f"Each of {found.units} {_unit(found)} is compared with itself: the clips under the first run with the same clips "
            "under the other one."
        )
    ]
    for duel in found.duels:
        parts += [
            heading(f"{duel.first.name} against {duel.other.name}"),
            text(duel.war.sentence(duel.first.name, duel.other.name) + "."),
            *difference_parts(duel),
        ]
    return Section(title="Paired differences", parts=parts)


def _settings(found: Comparison) -> Section:
    title = "Settings that differ"
    if not found.settings:
        return Section(title=title, parts=[text("No setting that decides anything differs.")])
    rows = [[key, *(str(value) for value in values)] for key, values in found.settings.items()]
    header = ["Setting", *(one.name for one in found.contestants)]
    note = "Of different models the settings of the models themselves are left out."
    return Section(title=title, parts=[table(header, rows, caption=f"Settings in which these runs differ. {note}")])


def _curves(runs: Sequence[Opened]) -> Section:
    """Return the mean WAR of the test halves of all runs by epoch, and that of the training halves."""
    parts = []
    names = _distinct([one.name for one in runs])
    for half, what in (("test", "WAR on test halves (never used to choose)"), ("train", "WAR in training")):
        curves = [
            curve_of(one.histories, name, share_of(half), thin=False) for name, one in zip(names, runs, strict=True)
        ]
        shown = [curve for curve in curves if curve.mean]
        if shown:
            told = " ".join(
                f"{curve.name}: {curve.mean[-1][1]:.1f} % in epoch {curve.mean[-1][0]:g}." for curve in shown
            )
            picture = line_chart(shown, title=what, told=told, top=100.0, unit="%")
            parts.append(figure(picture, f"{what}, the mean over parts by epoch"))
    return Section(title="Learning curves", parts=parts or [text("No run has finished an epoch.")])


def _clips(found: Comparison) -> Section:
    """Return the clips on which the runs do not agree."""
    names = [one.name for one in found.contestants]
    first = found.contestants[0].predictions
    shares = [one.predictions.right.mean(axis=0) for one in found.contestants]
    apart = np.max(shares, axis=0) - np.min(shares, axis=0)
    chosen = np.flatnonzero(apart > 1e-9)
    title = "Clips on which the runs differ"
    if not len(chosen):
        return Section(title=title, parts=[text("All runs are right on exactly the same clips.")])
    columns = [
        Column(name="Clip", values=first.ids[chosen].tolist()),
        Column(name="Subject", values=first.subjects[chosen].tolist()),
        Column(name="Label", values=[first.labels[code] for code in first.truth[chosen]]),
        *(
            Column(name=name, values=share[chosen].tolist(), kind="share")
            for name, share in zip(names, shares, strict=True)
        ),
        Column(name="Apart", values=apart[chosen].tolist(), kind="share"),
    ]
    caption = f"{len(chosen)} of {len(first)} clips: the share of each run's seeds that recognise them"
    return Section(title=title, parts=[paged_table("clips-apart", columns, caption=caption, noun="clips")])


def _unit(found: Comparison) -> str:
    return "people" if found.contestants[0].predictions.by_subject else "clips"


def _distinct(names: Sequence[str]) -> list[str]:
    return [name if names.count(name) == 1 else f"{name} ({place + 1})" for place, name in enumerate(names)]
