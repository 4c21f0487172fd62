"""Calibration: whether a prediction with probability 0.8 is right 80 times of 100, from the probabilities in predictions.csv.

The expected calibration error (ECE) is the mean over predictions of how far a bin's share of right ones is from its mean confidence, in
`BINS` bins of equal width (Guo et al. 2017). Few predictions make it too large by chance: `expected_by_chance` says what models of the
same confidences would show if they were calibrated perfectly.

Legend: P predictions, B bins.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...train.results.metrics import spread
from ...train.results.pages.summary import plus_minus
from ..page import Cell, Section, figure, percent, table, text
from ..plots import AXIS, COLOURS, GRID
from ..svg import DARK, line, picture
from ..svg import text as words_at
from .opened import Opened

BINS = 10
DRAWS = 400


@dataclass(frozen=True, kw_only=True)
class Bin:
    """Predictions of about one confidence."""

    low: float
    high: float
    number: int
    right: int
    confidence: float | None  # their mean; none in an empty bin

    @property
    def accuracy(self) -> float | None:
        """Return the share of right ones."""
        return self.right / self.number if self.number else None


def bins_of(confidence: np.ndarray, right: np.ndarray, number: int = BINS) -> list[Bin]:
    """Put predictions (P,) into bins of equal width by their confidence; the last one holds 1."""
    place = np.minimum((confidence * number).astype(int), number - 1)
    return [
        Bin(
            low=one / number,
            high=(one + 1) / number,
            number=int((inside := place == one).sum()),
            right=int(right[inside].sum()),
            confidence=float(confidence[inside].mean()) if inside.any() else None,
        )
        for one in range(number)
    ]


def calibration_error(confidence: np.ndarray, right: np.ndarray, number: int = BINS) -> float:
    """Return the expected calibration error of predictions (P,)."""
    if not len(confidence):
        return float("nan")
    place = np.minimum((confidence * number).astype(int), number - 1)
    off = np.bincount(place, weights=right.astype(float) - confidence, minlength=number)
    return float(np.abs(off).sum() / len(confidence))


def expected_by_chance(confidence: np.ndarray, *, draws: int = DRAWS, seed: int = 0) -> float:
    """Return the mean error of predictions that are right exactly as often as their confidence (P,) says."""
    if not len(confidence):
        return float("nan")
    rng = np.random.default_rng(seed)
    found = [calibration_error(confidence, rng.random(len(confidence)) < confidence) for _ in range(draws)]
    return float(np.mean(found))


def calibration_section(opened: Opened) -> Section:
    """Return how far probabilities may be taken for shares."""
    assert opened.results is not None
    found = opened.results.predictions
    known = np.asarray(np.isfinite(opened.probabilities).all(axis=2))  # (S, N)
    title = "Calibration"
    if not known.any():
        return Section(title=title, parts=[text("No prediction of this run has probabilities.")])
    confidence = np.where(known, opened.probabilities.max(axis=2, initial=0), 0)
    single = [
        calibration_error(confidence[seed][known[seed]], found.right[seed][known[seed]])
        for seed in range(len(found.seeds))
        if known[seed].any()
    ]
    pooled, right = confidence[known], found.right[known]
    bins = bins_of(pooled, right)
    per_seed = [expected_by_chance(confidence[seed][known[seed]]) for seed in range(len(known)) if known[seed].any()]
    gap = float(pooled.mean() - right.mean())
    without = int((~known).sum())
    says = [
        f"Expected calibration error (ECE): {plus_minus(spread(single))}, in {BINS} bins of equal width"
        f"{f'; mean ± sd of {len(single)} seeds' if len(single) > 1 else ''}. With as many clips and the same confidences, perfectly "
        f"calibrated predictions would show {percent(float(np.mean(per_seed))).words} by chance; only more than that is miscalibration.",
        f"Mean confidence {percent(float(pooled.mean())).words}, right {percent(float(right.mean())).words}: "
        + ("too confident" if gap > 0 else "not confident enough")
        + f" by {abs(100 * gap):.1f} points on average.",
    ]
    if without:
        says.append(f"{without} predictions without a face have no probabilities and are left out here.")
    rows = [
        [
            Cell(words=f"{100 * one.low:.0f} to {100 * one.high:.0f} %", value=one.low),
            one.number,
            percent(one.confidence),
            percent(one.accuracy),
            Cell(words=f"{one.right} / {one.number}", value=one.right),
        ]
        for one in bins
    ]
    header = ["Confidence", "Predictions", "Mean confidence", "Right", "Right / predictions"]
    caption = f"{len(pooled)} predictions by confidence" + (
        f", of {len(found.seeds)} seeds" if len(found.seeds) > 1 else ""
    )
    return Section(
        title=title,
        parts=[
            *map(text, says),
            figure(
                reliability_picture(bins),
                "Reliability: share of right predictions by confidence; on the dashed line they agree",
            ),
            table(header, rows, caption=caption),
        ],
    )


def reliability_picture(bins: list[Bin]) -> str:
    """Draw a bar for each bin up to its share of right predictions, a dot at its mean confidence, and the diagonal."""
    side, left, top = 300.0, 58.0, 34.0
    bottom = top + side

    def x_of(share: float) -> float:
        return left + side * share

    def y_of(share: float) -> float:
        return bottom - side * share

    found = [words_at(left, 18, "right, %", colour=DARK)]
    for tick in (0, 0.2, 0.4, 0.6, 0.8, 1):
        found += [
            line(left, y_of(tick), left + side, y_of(tick), colour=GRID),
            words_at(left - 8, y_of(tick) + 4, f"{100 * tick:.0f}", anchor="end"),
            words_at(x_of(tick), bottom + 18, f"{100 * tick:.0f}", anchor="middle"),
        ]
    most = max((one.number for one in bins), default=1) or 1
    for one in bins:
        if one.accuracy is None or one.confidence is None:
            continue
        width = x_of(one.high) - x_of(one.low) - 4
        found.append(
            f'<rect x="{x_of(one.low) + 2:.1f}" y="{y_of(one.accuracy):.1f}" width="{width:.1f}" '
            f'height="{bottom - y_of(one.accuracy):.1f}" fill="{COLOURS[0]}" fill-opacity="{0.25 + 0.5 * one.number / most:.2f}"/>'
        )
        found.append(
            f'<circle cx="{x_of(one.confidence):.1f}" cy="{y_of(one.accuracy):.1f}" r="4" fill="{COLOURS[1]}" stroke="white"/>'
        )
        found.append(
            words_at((x_of(one.low) + x_of(one.high)) / 2, bottom - 6, str(one.number), anchor="middle", colour=DARK)
        )
    found.append(line(x_of(0), y_of(0), x_of(1), y_of(1), colour=AXIS, more=' stroke-dasharray="6 4"'))
    found.append(words_at(left + side, bottom + 34, "confidence, % (below the bars: predictions)", anchor="end"))
    told = " ".join(
        f"Confidence {100 * one.low:.0f} to {100 * one.high:.0f} %: {percent(one.accuracy).words} of {one.number} right."
        for one in bins
        if one.number
    )
    return picture(left + side + 20, bottom + 44, "Reliability diagram", found, told=told)
