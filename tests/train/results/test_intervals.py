"""Intervals of scores: what is known at the border, what a unit is, and how often they hold the truth."""

import numpy as np
import pytest
from scipy import stats

from est.train.results.intervals import METRICS, PSEUDO, limits, number_units, score_intervals, tallies, tally_limits
from est.train.results.metrics import score


def simulated(seed, people=12, clips=8, classes=4):
    """Draw truth, predictions and people, some of whom are easier than others."""
    rng = np.random.default_rng(seed)
    person = np.repeat(np.arange(people), clips)
    truth = rng.integers(0, classes, people * clips)
    predicted = np.where(rng.random(people)[person] < 0.8 * rng.random(people * clips) + 0.1, truth, 0)
    return truth, predicted, np.array([f"p{one}" for one in person])


def width(ends):
    return ends[1] - ends[0]


def test_all_right_of_three_people_gives_no_interval():
    truth = np.zeros(21, int)
    assert score_intervals(truth, truth, np.arange(21) % 3, "ab") == {}
    assert score_intervals(truth, truth, ["anna"] * 21, "ab") == {}
    assert score_intervals(truth[:0], truth[:0], None, "ab") == {}
    assert score_intervals(truth, truth, np.arange(21) % 4, "ab") == {}
    assert set(score_intervals(truth, truth, np.arange(21) % 5, "ab")) == set(METRICS)


def test_the_border_is_exact_on_people():
    truth = np.arange(42) % 2
    groups = np.arange(42) // 7
    for low, high in score_intervals(truth, truth, groups, "ab").values():
        assert (low, high) == (pytest.approx(0.025 ** (1 / 6)), 1)
    for low, high in score_intervals(truth, 1 - truth, groups, "ab").values():
        assert (low, high) == (0, pytest.approx(1 - 0.025 ** (1 / 6)))
    seeds = np.stack([truth] * 3)  # the clips of a person under all seeds are one unit
    assert score_intervals(truth, seeds, groups, "ab") == score_intervals(truth, truth, groups, "ab")


def test_a_class_of_one_clip_leaves_little_known_of_uar():
    truth = np.array([1] + [0] * 41)
    found = score_intervals(truth, truth, np.arange(42) // 7, "ab")
    assert found["war"] == (pytest.approx(0.025 ** (1 / 6)), 1)
    weights = np.array([(6 / 41 + 1) / 2, *[7 / 41 / 2] * 5])  # of people in UAR: one has the only clip of its class
    units = np.sqrt(6 / (weights**2).sum())  # between six people and as many as their weights are worth
    assert found["uar"] == (pytest.approx(0.025 ** (1 / min(units, 4 / (1 + 1 / 41)))), 1)


def test_people_who_are_all_alike_are_as_many_units_as_people():
    truth = np.zeros(48, int)
    half = np.tile([0, 0, 0, 0, 1, 1, 1, 1], 6)
    low, high = score_intervals(truth, half, np.arange(48) // 8, "ab")["war"]
    assert (low, high) == pytest.approx((0.1181, 0.8819), abs=1e-4)  # of Clopper and Pearson, 3 of 6


def test_few_people_widen_the_interval_by_students_t():
    """The method of the module's docstring, written out for equal people."""
    clips, right = 12, np.array([10, 6, 8, 12, 5, 9, 11])
    truth = np.zeros(7 * clips, int)
    predicted = (np.arange(clips) >= right[:, None]).astype(int).ravel()
    found = score_intervals(truth, predicted, np.arange(7 * clips) // clips, "ab")["war"]
    share = right.sum() / (7 * clips)
    near = (7 * share + PSEUDO) / (7 + 2 * PSEUDO)
    variance = (right / clips).var(ddof=1) / 7 + PSEUDO * (share**2 + (1 - share) ** 2) / 7**2
    size = near * (1 - near) / variance * (stats.t.ppf(0.975, 7 * clips - 1) / stats.t.ppf(0.975, 6)) ** 2
    hits, misses = size * share, size * (1 - share)
    exact = stats.beta.ppf(0.025, hits, misses + 1), stats.beta.ppf(0.975, hits + 1, misses)
    assert found == pytest.approx(exact, abs=1e-6)


def test_independent_clips_have_nearly_the_exact_interval():
    truth = np.zeros(200, int)
    low, high = score_intervals(truth, (np.arange(200) >= 150).astype(int), None, "ab")["war"]
    exact = (0.6841, 0.8084)  # of Clopper and Pearson, 150 of 200
    assert (low, high) == pytest.approx(exact, abs=0.003)


def test_a_score_lies_in_its_interval():
    for seed in range(30):
        truth, predicted, groups = simulated(seed, people=5 + seed % 8)
        found, labels = score_intervals(truth, predicted, groups, "abcd"), "abcd"
        for name in METRICS:
            low, high = found[name]
            assert 0 <= low <= getattr(score(truth, predicted, labels), name) <= high <= 1


def test_the_order_of_clips_changes_nothing():
    truth, predicted, groups = simulated(3)
    groups[::5] = ""
    order = np.random.default_rng(0).permutation(len(truth))
    found = score_intervals(truth, predicted, groups, "abcd")
    assert score_intervals(truth[order], predicted[order], groups[order], "abcd") == found


def test_the_variance_is_that_of_leaving_people_out():
    truth, predicted, groups = simulated(1)
    people = np.unique(groups)
    low, high = tally_limits(tallies(truth, predicted, groups, "abcd"))
    values = np.array([[getattr(score(truth, predicted, "abcd"), name) for name in METRICS]])
    without = np.array(
        [
            [getattr(score(truth[groups != one], predicted[groups != one], "abcd"), name) for name in METRICS]
            for one in people
        ]
    )
    variance = (len(people) - 1) * without.var(axis=0)
    balanced = 16 / sum(1 / (truth == label).sum() for label in range(4))
    shares = np.array(
        [[(truth[groups == one] == label).sum() / (truth == label).sum() for label in range(4)] for one in people]
    )
    war, uar = np.array([(groups == one).mean() for one in people]), shares.mean(axis=1)
    units = 1 / np.array([(war**2).sum(), (uar**2).sum(), (uar**2).sum()])
    expected = limits(values[0], variance, np.array([len(truth), balanced, balanced]), len(people), units)
    np.testing.assert_allclose((low, high), expected, atol=1e-9)


def test_twice_the_clips_of_the_same_people_tell_little_more():
    truth, predicted, groups = simulated(2)
    once = score_intervals(truth, predicted, groups, "abcd")
    twice = score_intervals(np.tile(truth, 2), np.tile(predicted, 2), np.tile(groups, 2), "abcd")
    for name in METRICS:
        assert width(twice[name]) == pytest.approx(width(once[name]), rel=0.05)


def test_several_seeds_are_their_mean():
    truth, predicted, groups = simulated(4)
    one = score_intervals(truth, predicted, groups, "abcd")
    for name, ends in score_intervals(truth, np.stack([predicted] * 3), groups, "abcd").items():
        assert ends == pytest.approx(one[name])
    other = simulated(5)[1]
    low, high = score_intervals(truth, np.stack([predicted, other]), groups, "abcd")["war"]
    assert low < ((predicted == truth).mean() + (other == truth).mean()) / 2 < high


def test_people_widen_an_interval():
    rng = np.random.default_rng(0)
    person = np.repeat(np.arange(20), 30)
    truth = rng.integers(0, 3, 600)
    predicted = np.where(rng.random(20)[person] < 0.5, truth, (truth + 1) % 3)  # right or wrong as a person
    by_clip = score_intervals(truth, predicted, None, "abc")["war"]
    assert width(score_intervals(truth, predicted, person.astype(str), "abc")["war"]) > 2.5 * width(by_clip)


def test_clips_without_a_subject_are_units_by_themselves():
    truth, predicted = np.random.default_rng(1).integers(0, 3, (2, 80))
    nobody = score_intervals(truth, predicted, [""] * 80, "abc")
    assert nobody == score_intervals(truth, predicted, None, "abc")
    mixed = ["anna"] * 40 + [""] * 40
    named = ["anna"] * 40 + [f"clip {n}" for n in range(40)]
    assert score_intervals(truth, predicted, mixed, "abc") == score_intervals(truth, predicted, named, "abc")
    assert sorted(set(number_units(mixed, 80))) == list(range(41))


@pytest.mark.parametrize(("people", "accuracy"), [(5, 0.95), (8, 0.5), (12, 0.85), (24, 0.95)])
def test_intervals_hold_the_truth_at_least_as_often_as_they_say(people, accuracy):
    rng = np.random.default_rng(people)
    clips = np.resize((6, 9, 7, 10, 8), people)
    chance = rng.beta(accuracy * 7 / 3, (1 - accuracy) * 7 / 3, (400, people))  # clips of a person correlate by 0.3
    right = rng.binomial(clips, chance)
    count = np.broadcast_to(clips, right.shape)
    low, high = tally_limits(np.stack([right, count, count], axis=-1)[:, :, None, :, None])
    assert ((low[:, 0] <= accuracy) & (accuracy <= high[:, 0])).mean() >= 0.93
    assert (high - low)[:, 0].mean() < 0.8, "an interval of everything is none"
