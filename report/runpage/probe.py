"""The section on time: what `est probe RUN` found, from `RUN/probe/probe.json` (its keys: docs/probe.md), or the command that makes it.

The file is read as it is: nothing of the probe itself is imported, which needs torch.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from ...errors import EstError
from ...train.runs.files import read_json
from ...train.runs.run import Run
from ..page import Cell, Section, code, heading, items, percent, table, text

TITLE = "Does it use time?"
FILE = ("probe", "probe.json")
FORMAT, VERSION = "est-probe", 1
REORDERED = {
    "reversed": "frames reversed",
    "snippets shuffled": "snippets shuffled",
    "halves exchanged": "halves exchanged",
}
Found = Mapping[str, Any]


def probe_section(run: Run) -> Section:
    """Return what a probe of the run found, or how to probe it."""
    path = run.path.joinpath(*FILE)
    command = code(f"est probe {shlex.quote(str(run.path))}")
    if not path.is_file():
        words = "Not probed yet. This command shows the models changed clips, and measures whether the score needs the order of frames:"
        return Section(title=TITLE, parts=[text(words), command])
    try:
        found = read_json(path)
        if (found.get("format"), found.get("version")) != (FORMAT, VERSION):
            words = (
                f"{path} is {found.get('format')!r} version {found.get('version')!r}, expected {FORMAT!r} version {VERSION}. "
                "This probes the run again:"
            )
            return Section(title=TITLE, parts=[text(words), command])
        parts = [*_changes(found), *_pairs(found), *_agreement(found), *_notes(run, found)]
    except (EstError, ValueError, LookupError, TypeError, AttributeError) as error:
        words = f"{path} is not as this release writes it ({error!r}). This probes the run again:"
        return Section(title=TITLE, parts=[text(words), command])
    return Section(title=TITLE, parts=parts)


def _changes(found: Found) -> list[str]:
    """Return the index and the scores of changed clips."""
    index = found["index"]
    rows: list[list[Cell | str | float | None]] = [
        ["as they are", percent(found["war"]), None, None, "the unchanged clips"]
    ]
    rows += [
        [one["name"], percent(one["war"]), _points(one["lost"]["value"]), _interval(one["lost"]), one["text"]]
        for one in found["changes"]
    ]
    caption = (
        f"Changed clips: {found['clips']} clips of {found['people']}, mean of the run's seeds; intervals are "
        f"of paired differences"
    )
    ends = _interval(index)
    return [
        text(
            f"Temporal-reliance index: {_points(index['value']).words} points{f' (95 % {ends})' if ends else ''}. {_verdict(found)} "
            "It is the WAR of the clips as they are, less that of the same clips with their frames in random order."
        ),
        table(["Clips shown", "WAR", "Lost, points", "95 % interval", "Change"], rows, caption=caption),
        text(
            "Models were not trained on changed clips, so a part of each loss may come from clips unlike the training data. "
            "The intervals are over people and do not include the variation between trainings."
        ),
    ]


def _pairs(found: Found) -> list[str]:
    """Return how often models are right within pairs of classes that differ only in their course over time."""
    if not found["pairs"]:
        return []
    names = "; ".join(" / ".join(pair) for pair in found["pairs"][0]["pairs"])
    rows = [
        [
            one["of"],
            percent(one["share"]),
            _interval(one["from_half"], around=0.5) if one["from_half"] else None,
            f"{one['right']:g} / {one['pair_right']:g}",
            one["clips"],
        ]
        for one in found["pairs"]
    ]
    header = ["Of", "Right within pairs", "95 % interval, %", "Right / taken for a class of the pair", "Clips"]
    caption = "Clips taken for either class of their temporal pair: the share that is right; guessing is 50 %"
    return [
        heading("Temporal pairs"),
        text(f"Classes that differ only in their course over time: {names}."),
        table(header, rows, caption=caption),
    ]


def _agreement(found: Found) -> list[str]:
    """Return how well measures find the planted moment."""
    if not found["agreement"]:
        return []
    rows = [
        [
            one["measure"],
            one["kind"],
            Cell(words=f"{one['auc']:.2f}", value=one["auc"]),
            f"{one['low']:.2f} to {one['high']:.2f}" if one["low"] is not None and one["high"] is not None else None,
            one["clips"],
            one["people"],
        ]
        for one in found["agreement"]
    ]
    planted = found["planted"]
    words = (
        f"{planted['brief']} clips have brief planted evidence, {planted['held']} held, of {planted['without']} none is known. "
        "The AUC is how often windows, snippets or frames with evidence have a higher value than those without: 0.5 is chance, "
        "1 is perfect. docs/probe.md explains the measures."
    )
    caption = "Agreement with the planted moment: AUC, mean over recognised clips, intervals over people"
    header = ["Measure", "Evidence", "AUC", "95 % interval", "Clips", "People"]
    return [heading("Does it use the right time?"), text(words), table(header, rows, caption=caption)]


def _notes(run: Run, found: Found) -> list[str]:
    """Return what could not be probed, and whether the run has changed since."""
    notes = [str(one) for one in found["notes"]]
    if list(found["seeds"]) != list(run.config.seeds):
        notes.append("The probe is of other seeds than the run has now: est probe RUN probes it again.")
    return [items(notes)] if notes else []


def _verdict(found: Found) -> str:
    """Return what the index shows, and where its interval leaves it open, whether another order alone loses something."""
    index = found["index"]
    if index["low"] is None or index["high"] is None:
        return "There are too few people for an interval: whether the models use the order of frames is not known."
    if index["low"] > 0:
        return "The models use the order of frames."
    if index["high"] < 0:
        return "The models do better with frames in random order."
    lost = [
        REORDERED[one["name"]] for one in found["changes"] if one["name"] in REORDERED and (one["lost"]["low"] or 0) > 0
    ]
    if lost:
        return (
            f"Its interval contains 0, but clips with {', '.join(lost)} lose more than 0 (not corrected for being several): "
            "the order of frames matters to these models."
        )
    return "Its interval contains 0: use of the order of frames is not shown."


def _points(share: float) -> Cell:
    return Cell(words=f"{round(100 * share, 1) + 0.0:.1f}".replace("-", "−"), value=share)


def _interval(difference: Found, around: float = 0.0) -> str | None:
    """Return the ends of a difference in points; of a share that is compared with `around`, in per cent."""
    low, high = difference["low"], difference["high"]
    if low is None or high is None:
        return None
    if around:
        low, high = max(around + low, 0.0), min(around + high, 1.0)
    return f"{_points(low).words} to {_points(high).words}"
