"""Learning curves of a run: loss and WAR by epoch, from the histories of its parts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ...train.config.loss import BESIDE
from ..page import Section, details, figure, table, text
from ..plots import Curve, line_chart

SHOWN_PARTS = 30  # thin lines; the mean is of all
HALVES = {"train": "training", "val": "validation", "test": "test (never used to choose)"}
Histories = Mapping[str, Sequence[Mapping[str, Any]]]


def curve_section(histories: Histories) -> Section:
    """Return the curves of all parts, and their means as a table."""
    title = "Learning curves"
    if not histories:
        return Section(title=title, parts=[text("No epoch was finished yet.")])
    beside = [curve_of(histories, f"{name} loss", value_of(f"{name}_loss")) for name in BESIDE]
    losses = [curve_of(histories, "loss", value_of("loss")), *(curve for curve in beside if curve.mean)]
    halves = [curve_of(histories, name, share_of(half)) for half, name in HALVES.items()]
    shown = [curve for curve in halves if curve.mean]
    parts = len(histories)
    thin = (
        f"thin: {f'{SHOWN_PARTS} of ' if parts > SHOWN_PARTS else ''}{parts} parts; thick: the mean of all"
        if parts > 1
        else "one part"
    )
    top = max((value for curve in losses for line in (curve.mean, *curve.thin) for _, value in line), default=1.0)
    loss = line_chart(losses, title="Loss", told=_told(losses, ""), top=top or 1.0, unit="")
    war = line_chart(shown, title="WAR", told=_told(shown, " %"), top=100.0, unit="%")
    return Section(
        title=title,
        parts=[
            '<div class="pairs">',
            figure(loss, f"Loss in training by epoch; {thin}"),
            *([figure(war, f"WAR by epoch; {thin}")] if shown else []),
            "</div>",
            details("The means as a table", _table([*losses, *shown])),
        ],
    )


def curve_of(
    histories: Histories, name: str, read: Callable[[Mapping[str, Any]], float | None], *, thin: bool = True
) -> Curve:
    """Collect a value of every part by epoch, and its mean over the parts that have it."""
    parts = [
        [(float(record["epoch"]), float(value)) for record in history if (value := read(record)) is not None]
        for history in histories.values()
    ]
    parts = [part for part in parts if part]
    by_epoch: dict[float, list[float]] = {}
    for part in parts:
        for epoch, value in part:
            by_epoch.setdefault(epoch, []).append(value)
    mean = [(epoch, float(np.mean(by_epoch[epoch]))) for epoch in sorted(by_epoch)]
    return Curve(name=name, mean=mean, thin=parts[:SHOWN_PARTS] if thin and len(parts) > 1 else ())


def value_of(key: str) -> Callable[[Mapping[str, Any]], float | None]:
    """Return how to read a number from a record."""
    return lambda record: record.get(key)


def share_of(half: str) -> Callable[[Mapping[str, Any]], float | None]:
    """Return how to read the WAR of a half from a record, in percent."""

    def read(record: Mapping[str, Any]) -> float | None:
        clips = record.get(f"{half}_clips")
        return 100 * record[f"{half}_right"] / clips if clips and f"{half}_right" in record else None

    return read


def _told(curves: Sequence[Curve], unit: str) -> str:
    """Return where curves begin and end."""
    return " ".join(
        f"{curve.name}: from {curve.mean[0][1]:.3g}{unit} in epoch {curve.mean[0][0]:g} "
        f"to {curve.mean[-1][1]:.3g}{unit} in epoch {curve.mean[-1][0]:g}."
        for curve in curves
        if curve.mean
    )


def _table(curves: Sequence[Curve]) -> str:
    values = [dict(curve.mean) for curve in curves]
    epochs = sorted({epoch for one in values for epoch in one})
    header = ["Epoch", *(curve.name if curve.name.endswith("loss") else f"WAR, {curve.name}, %" for curve in curves)]
    rows = [[int(epoch), *(one.get(epoch) for one in values)] for epoch in epochs]
    return table(header, rows, caption="Means over the parts that have a value, by epoch")
