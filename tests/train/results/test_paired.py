"""Two models on the same clips: intervals, sign flips, seeds, and the sentence."""

import itertools
import re
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from est.train.results.metrics import score
from est.train.results.paired import Difference, compare_paired, estimate, mcnemar, sign_flip, uar_weights

PEOPLE = np.repeat([f"p{number:02}" for number in range(12)], 8)


def models(seed, first=0.8, second=0.6, seeds=1, groups=PEOPLE):
    rng = np.random.default_rng(seed)
    return rng.random((seeds, len(groups))) < first, rng.random((seeds, len(groups))) < second


def brute_force(gains):
    """Flip every subset of units."""
    sums = [abs(np.dot(signs, gains)) for signs in itertools.product((1, -1), repeat=len(gains))]
    return np.mean(np.array(sums) >= abs(gains.sum()) - 1e-9)


def test_the_value_is_the_difference_of_the_scores():
    first, second = models(0, seeds=3)
    found = compare_paired(first, second, PEOPLE)
    assert found.value == pytest.approx(first.mean() - second.mean())
    assert found.low < found.value < found.high
    assert (found.units, found.unit, found.seeds, found.seeds_counted) == (12, "people", (3, 3), True)
    assert not compare_paired(first[0], second, PEOPLE).seeds_counted
    back = compare_paired(second, first, PEOPLE)
    assert (back.value, back.low, back.high) == pytest.approx((-found.value, -found.high, -found.low))
    assert (back.p, back.detectable) == pytest.approx((found.p, found.detectable))


def test_weights_make_it_the_difference_of_uar():
    rng = np.random.default_rng(1)
    truth = rng.choice(3, 96, p=(0.7, 0.2, 0.1))
    first, second = (np.where(rng.random(96) < share, truth, 0) for share in (0.8, 0.5))
    found = compare_paired(first == truth, second == truth, PEOPLE, weights=uar_weights(truth))
    assert found.value == pytest.approx(score(truth, first, "abc").uar - score(truth, second, "abc").uar)
    assert found.low < found.value < found.high


def test_with_equal_people_the_interval_is_nearly_that_of_students_t():
    first, second = models(2)
    gains = (first[0].astype(float) - second[0]).reshape(12, 8).mean(axis=1)
    low, high = stats.t.interval(0.95, 11, gains.mean(), stats.sem(gains))
    found = compare_paired(first, second, PEOPLE)
    assert (found.high - found.low) == pytest.approx(high - low, rel=0.05)
    assert found.high - found.low > high - low, "one more clip each way is counted"


def test_people_of_unequal_weight_are_fewer():
    """Degrees of freedom are 1 / Σ w² − 1: the ratio of two quantiles of t tells how many were taken."""
    clips = np.array([40, *[4] * 11])
    first, second = models(2, groups=np.arange(84))
    found = compare_paired(first, second, np.repeat(np.arange(12), clips))
    df = 1 / ((clips / 84) ** 2).sum() - 1
    assert df < 3
    assert found.high < 1
    ratio = 1 + stats.t.ppf(0.8, df) / stats.t.ppf(0.975, df)
    assert found.detectable / (found.high - found.value) == pytest.approx(ratio)


def test_below_five_units_there_is_no_interval():
    first, second = models(3, groups=np.arange(24))
    found = compare_paired(first, second, np.arange(24) % 4)
    assert (found.low, found.high, found.detectable, found.better) == (None, None, None, 0)
    assert compare_paired(first, second, np.arange(24) % 5).low is not None


def test_models_that_never_differ_are_only_known_on_so_many_people():
    right = np.ones(96, bool)
    found = compare_paired(right, right, PEOPLE)
    assert (found.value, found.p, found.better) == (0, 1, 0)
    assert (found.low, found.high) == (pytest.approx(0.025 ** (1 / 12) - 1), pytest.approx(1 - 0.025 ** (1 / 12)))
    assert found.detectable > found.high


def test_the_order_of_clips_changes_nothing():
    first, second = models(4, seeds=2)
    order = np.random.default_rng(0).permutation(96)
    one = compare_paired(first, second, PEOPLE)
    other = compare_paired(first[:, order], second[:, order], PEOPLE[order])
    assert (other.value, other.low, other.high, other.p) == pytest.approx((one.value, one.low, one.high, one.p))


@pytest.mark.parametrize("units", [1, 5, 9, 11])
def test_sign_flips_are_exact(units):
    rng = np.random.default_rng(units)
    for gains in (rng.normal(0.3, 1, units), rng.integers(-1, 3, units) / 40):
        assert sign_flip(gains, seed=0) == pytest.approx(brute_force(gains))


def test_many_units_are_flipped_at_random():
    gains = np.random.default_rng(0).normal(0.5, 1, 15)
    assert sign_flip(gains, seed=1) == pytest.approx(brute_force(gains), abs=0.01)
    assert sign_flip(gains, seed=1) == sign_flip(gains, seed=1)
    assert sign_flip(np.ones(40), seed=1) == 1 / 20_001, "never 0"


def test_clips_as_units_give_mcnemars_p():
    first, second = models(5, 0.7, 0.6, groups=np.arange(40))
    differ = (first != second).sum()
    assert differ > 5
    exact = stats.binomtest(int((first & ~second).sum()), int(differ)).pvalue
    assert mcnemar(first[0], second[0]) == pytest.approx(exact)
    assert compare_paired(first, second, None, unit="clips").p == pytest.approx(exact, abs=0.015)
    few = slice(14)  # these are enumerated
    assert sign_flip(first[0, few] * 1.0 - second[0, few], seed=0) == pytest.approx(
        mcnemar(first[0, few], second[0, few])
    )


def test_mcnemar_of_known_tables():
    def of(only_a, only_b):
        a = np.array([True] * only_a + [False] * only_b + [True] * 5)
        return mcnemar(a, np.array([False] * only_a + [True] * only_b + [True] * 5))

    assert of(0, 0) == 1
    assert of(3, 3) == 1
    assert of(5, 0) == pytest.approx(0.0625)
    assert of(8, 1) == pytest.approx(0.0390625)
    assert of(1, 8) == pytest.approx(0.0390625)


def test_seeds_that_differ_widen_the_interval_and_raise_p():
    rng = np.random.default_rng(6)
    easy = rng.random(96)
    alike = np.stack([easy < 0.80, easy < 0.80, easy < 0.80])
    apart = np.stack([easy < 0.65, easy < 0.80, easy < 0.95])
    second = np.stack([easy < 0.6] * 3)
    calm, wild = compare_paired(alike, second, PEOPLE), compare_paired(apart, second, PEOPLE)
    assert calm.value == pytest.approx(wild.value, abs=0.03)
    assert wild.high - wild.low > 2 * (calm.high - calm.low)
    assert wild.p > 10 * calm.p
    assert wild.detectable > 2 * calm.detectable
    assert calm.better == 1
    assert wild.better == 0


def test_the_luck_of_training_is_what_people_share():
    """Seeds move the score of all people by 0.1, and that of each person by 0.17: only the former is variation between trainings."""
    rng = np.random.default_rng(8)
    a = (
        rng.normal(0.6, 0.2, (4000, 1, 12)) + rng.normal(0, 0.1, (4000, 6, 1)) + rng.normal(0, 0.17, (4000, 6, 12))
    ) / 12
    found = estimate(a, np.zeros((4000, 1, 12)), np.full(12, 1 / 12), clip=0.0)
    assert (found.training**2).mean() == pytest.approx(0.1**2 / 6, rel=0.06)


def test_the_luck_of_training_is_known_from_so_many_seeds():
    rng = np.random.default_rng(9)
    luck = rng.normal(0, 0.1, (4, 1))
    a, shares = (rng.normal(0.6, 1e-4, 12) + luck + rng.normal(0, 1e-4, (4, 12))) / 12, np.full(12, 1 / 12)
    one = estimate(a, np.zeros((1, 12)), shares, clip=0.0)
    assert one.training == pytest.approx(luck.std(ddof=1) / 2, rel=1e-3)
    assert (one.training_df, one.df) == (pytest.approx(3), pytest.approx(3, rel=1e-3))
    assert one.detectable == pytest.approx((stats.t.ppf(0.975, 3) + stats.t.ppf(0.8, 3)) * one.error, rel=1e-3)
    both = estimate(a, a + rng.normal(0, 1e-4, 12) / 12, shares, clip=0.0)
    assert both.training == pytest.approx(one.training * np.sqrt(2))
    assert (both.training_df, both.df) == (pytest.approx(6), pytest.approx(6, rel=1e-3))


@pytest.mark.parametrize(("seeds", "common"), [(1, 0.0), (3, 0.0), (3, 0.6)])
def test_two_runs_of_one_model_are_seldom_called_different(seeds, common):
    rng = np.random.default_rng(7)
    difficulty = rng.normal(0.8, 1, (400, 1, 12, 1)) + rng.normal(0, 1, (400, 1, 12, 8))
    runs = [
        difficulty + rng.normal(0, 0.7, (400, seeds, 12, 8)) + rng.normal(0, common, (400, seeds, 1, 1)) > 0
        for _ in range(2)
    ]
    low, high = estimate(*(run.sum(axis=-1) / 96 for run in runs), np.full(12, 1 / 12), clip=1 / 96**2).ends
    assert ((low > 0) | (high < 0)).mean() <= 0.05


def made(**changed):
    known = {"value": 0.012, "low": -0.028, "high": 0.051, "detectable": 0.0531, "units": 12, "unit": "people"}
    return Difference(**{**known, "p": 0.5, "seeds": (1, 1), **changed})


def test_the_page_shows_the_sentence():
    """docs/train.md prints one and explains its words."""
    page = (Path(__file__).parents[3] / "docs" / "train.md").read_text(encoding="utf-8")
    shown, sentence = (re.sub(r"[+−]?\d+(?:\.\d+)?", "N", text) for text in (page, made().sentence("EST", "GRU")))
    assert f"WAR: {sentence}" in shown
    assert "*would have been detected*" in " ".join(page.split())


def test_the_sentence():
    assert made().sentence("EST", "GRU") == (
        "EST − GRU = +1.2 points (95 % −2.8 to 5.1; 12 people): cannot tell them apart; a difference of 6 or more would have been detected"
    )
    assert made(value=0.08, low=0.031, high=0.129).sentence("EST", "GRU") == (
        "EST − GRU = +8.0 points (95 % 3.1 to 12.9; 12 people): EST is better"
    )
    assert made(value=-0.08, low=-0.129, high=-0.031, units=900, unit="clips").sentence("EST", "GRU") == (
        "EST − GRU = −8.0 points (95 % −12.9 to −3.1; 900 clips): GRU is better"
    )
    assert made(low=None, high=None, detectable=None, units=3).sentence("EST", "GRU") == (
        "EST − GRU = +1.2 points (3 people: too few for an interval): cannot tell"
    )
    assert made(value=-0.0001, detectable=0.06).sentence("A", "B") == (
        "A − B = +0.0 points (95 % −2.8 to 5.1; 12 people): cannot tell them apart; a difference of 6 or more would have been detected"
    )


def test_the_words_agree_with_the_interval():
    for seed in range(40):
        first, second = models(seed, 0.75, 0.65)
        found = compare_paired(first, second, PEOPLE)
        apart = found.low > 0 or found.high < 0
        assert apart == (found.better != 0) == ("is better" in found.sentence("A", "B"))
