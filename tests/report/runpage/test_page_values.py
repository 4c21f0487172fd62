"""The numbers on a run's page against a computation of their own, from predictions.csv of a run of two seeds that do not agree."""

from __future__ import annotations

import csv
import re
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
from page_tables import HtmlPage
from report_samples import cache_with_crops, reported_run

from est.report.page import page
from est.report.runpage.calibration import calibration_section
from est.report.runpage.page import run_page
from est.train.results.intervals import score_intervals
from est.train.runs.files import read_json

LABELS = ("anger", "happiness", "surprise")
SEEDS = (1, 2)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("values")
    return reported_run(cache_with_crops(folder / "cache.zarr"), folder / "run", seeds=SEEDS, details=False)


@pytest.fixture(scope="module")
def html(run):
    return run_page([run], run.parent / "run.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def shown(html):
    return HtmlPage(html)


@pytest.fixture(scope="module")
def rows(run):
    """Return the rows of predictions.csv by seed, by clip."""
    found = {seed: {} for seed in SEEDS}
    for part in read_json(run / "run.json")["parts"]:
        with (run / "parts" / part["name"] / "predictions.csv").open(encoding="utf-8", newline="") as file:
            found[part["seed"]] |= {row["id"]: row for row in csv.DictReader(file)}
    first, second = (Counter((row["truth"], row["prediction"]) for row in one.values()) for one in found.values())
    assert first != second, "the test needs seeds that do not agree"
    return found


def picture(html, title):
    """Return the SVG of this title."""
    return next(one for one in re.findall(r"<svg.*?</svg>", html, re.DOTALL) if f"<title>{title}</title>" in one)


def mean_counts(rows):
    """Return how often each label was predicted as each, and as nothing, the mean over seeds."""
    counts = Counter((row["truth"], row["prediction"]) for one in rows.values() for row in one.values())
    return [[counts[label, said] / len(rows) for said in (*LABELS, "")] for label in LABELS]


def test_confusion_is_the_mean_of_all_seeds(html, shown, rows):
    counts = mean_counts(rows)
    table = shown.table("Confusion: clips of each label")
    assert [row[0] for row in table[1:]] == list(LABELS)
    assert [[float(cell) for cell in row[1:]] for row in table[1:]] == counts
    words = re.findall(r"<text[^>]*>(\d+(?:\.\d+)?)</text>", picture(html, "Confusion, pooled over folds"))
    assert [float(one) for one in words] == [cell for row in counts for cell in row]
    for seed in SEEDS:
        words = re.findall(r"<text[^>]*>(\d+)</text>", picture(html, f"Confusion, seed {seed}"))
        assert [int(one) for one in words] == [int(n) for row in mean_counts({seed: rows[seed]}) for n in row]


def test_each_class_has_the_interval_of_its_own_clips(html, shown, rows):
    known = list(rows[1].values())
    table = {row[0]: row for row in shown.table("Classes, pooled over folds")[1:]}
    intervals = set()
    for code, label in enumerate(LABELS):
        own = [row for row in known if row["truth"] == label]
        said = [
            [LABELS.index(p) if (p := rows[seed][row["id"]]["prediction"]) else -1 for row in own] for seed in SEEDS
        ]
        low, high = score_intervals(np.full(len(own), code), np.array(said), [row["subject"] for row in own], LABELS)[
            "war"
        ]
        recall = np.mean(np.array(said) == code)
        assert table[label][1:3] == [f"{100 * recall:.1f} %", f"{100 * low:.1f} to {100 * high:.1f} %"]
        intervals.add(table[label][2])
    assert len(intervals) > 1, "the test needs classes that are not recognised equally well"
    drawn = picture(html, "Recall of each class")
    ticks = {int(words): float(x) for x, words in re.findall(r'<text x="([\d.]+)"[^>]*>(\d+) ?%?</text>', drawn)}
    (chance,) = re.findall(r'<line x1="([\d.]+)"[^>]*stroke-dasharray="6 3"', drawn)
    assert (float(chance) - ticks[0]) / (ticks[100] - ticks[0]) == pytest.approx(1 / len(LABELS), abs=2e-3)


def test_the_table_of_clips_has_what_each_said(shown, rows):
    packed = shown.packed()
    first, second = rows[1], rows[2]
    controls = [first[clip]["control"] or "no prediction" for clip in packed["Clip"]]
    assert packed["Control"] == controls
    assert packed["Label"] == [first[clip]["truth"] for clip in packed["Clip"]]
    assert controls != packed["Label"], "the test needs a control that is wrong"
    for place, clip in enumerate(packed["Clip"]):
        right = [one[clip]["prediction"] == one[clip]["truth"] for one in (first, second)]
        assert packed["Verdict"][place] == {2: "right", 1: "right in some seeds", 0: "wrong"}[sum(right)]
        if not first[clip]["prediction"]:
            continue
        mean = {label: (float(first[clip][f"p_{label}"]) + float(second[clip][f"p_{label}"])) / 2 for label in LABELS}
        truth = mean[first[clip]["truth"]]
        assert packed["Predicted"][place] == max(mean, key=mean.get)
        assert packed["Probability"][place] == pytest.approx(max(mean.values()))
        best_wrong = max(value for label, value in mean.items() if label != first[clip]["truth"])
        assert packed["Margin"][place] == pytest.approx(best_wrong - truth)


def expect_calibration(shown, said):
    """Compare the section with (confidence, right) of every prediction of each seed."""
    everything = [one for seed in said for one in seed]
    table = shown.table(f"{len(everything)} predictions by confidence")[1:]
    assert len(table) == 10
    errors = []
    for seed in said:
        bins = [[(c, r) for c, r in seed if min(int(c * 10), 9) == one] for one in range(10)]
        errors.append(sum(abs(sum(r - c for c, r in one)) for one in bins) / len(seed))
    for one, row in enumerate(table):
        inside = [(c, r) for c, r in everything if min(int(c * 10), 9) == one]
        assert row[0] == f"{10 * one} to {10 * one + 10} %"
        assert (row[1], row[4]) == (f"{len(inside)}", f"{sum(r for _, r in inside)} / {len(inside)}")
        if inside:
            means = [sum(column) / len(inside) for column in zip(*inside, strict=True)]
            assert row[2:4] == [f"{100 * mean:.1f} %" for mean in means]
    mean, sd = float(np.mean(errors)), float(np.std(errors, ddof=1))
    assert f"Expected calibration error (ECE): {100 * mean:.2f} ± {100 * sd:.2f} %" in shown.text
    confidence, right = (sum(column) / len(everything) for column in zip(*everything, strict=True))
    verdict = "too confident" if confidence > right else "not confident enough"
    words = f"Mean confidence {100 * confidence:.1f} %, right {100 * right:.1f} %: {verdict} by {100 * abs(confidence - right):.1f} points"
    assert words in shown.text


def test_calibration_is_of_the_predictions_of_all_seeds(shown, rows):
    said = [
        [
            (max(float(row[f"p_{label}"]) for label in LABELS), row["prediction"] == row["truth"])
            for row in one.values()
            if row["prediction"]
        ]
        for one in rows.values()
    ]
    expect_calibration(shown, said)


@pytest.mark.parametrize("rights", [(0.2, 0.9), (0.9, 0.2), (0.9, 0.9), (0.1, 0.1)])
def test_too_confident_or_not_enough_is_said_of_all_seeds(rights):
    rng = np.random.default_rng(3)
    confidence = rng.uniform(0.5, 1, (2, 40))
    confidence[:, 0] = 1.0
    right = rng.random((2, 40)) < np.array(rights)[:, None]
    probabilities = np.stack([confidence, 1 - confidence], axis=2)
    predictions = SimpleNamespace(seeds=SEEDS, right=right)
    section = calibration_section(
        SimpleNamespace(results=SimpleNamespace(predictions=predictions), probabilities=probabilities)
    )
    said = [list(zip(confidence[seed].tolist(), right[seed].tolist(), strict=True)) for seed in (0, 1)]
    expect_calibration(HtmlPage(page("T", [section])), said)
