"""Scores by group: who is in which, what each scores, and how far a gap can be believed."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from est.train.results.groups import UNKNOWN, gap_interval, group_scores, make_column
from est.train.results.intervals import tallies
from est.train.results.metrics import score
from est.train.results.predictions import Predictions

LABELS = ("anger", "joy")


def predictions(truth, predicted, people):
    """Return those of clips c0, c1, …."""
    predicted = np.atleast_2d(predicted)
    number = len(truth)
    return Predictions(
        labels=LABELS,
        seeds=tuple(range(len(predicted))),
        ids=np.array([f"c{n}" for n in range(number)]),
        subjects=np.array(people, str),
        folds=np.array(["fold1"] * number),
        truth=np.array(truth),
        predicted=predicted,
    )


def drawn(num_people=24, clips=6, seeds=2):
    """Return clips of people of two sexes, of whom the second are recognised less often."""
    rng = np.random.default_rng(5)
    people = np.repeat([f"P{n:02d}" for n in range(num_people)], clips)
    truth = np.tile([0, 1], num_people * clips // 2)
    second = np.array([int(name[1:]) % 2 for name in people])
    right = rng.random((seeds, len(truth))) < np.where(second, 0.4, 0.8)
    found = predictions(truth, np.where(right, truth, 1 - truth), people)
    return found, dict(zip(found.ids.tolist(), np.where(second, "m", "f").tolist(), strict=True))


def test_text_and_few_numbers_are_groups_as_they_are():
    column = make_column("extra:site", {"a": "north", "b": None, "c": "east", "d": "north"})
    assert column.order == ("east", "north", UNKNOWN)
    assert column.group == {"a": "north", "b": UNKNOWN, "c": "east", "d": "north"}
    assert column.note == ""
    assert make_column("fold", {"a": 10.0, "b": 2.0, "c": 2.0, "d": 2.5}).order == ("2", "2.5", "10")


def test_many_numbers_are_cut_into_four_parts_and_it_is_said():
    ages = {f"c{n}": float(20 + n) for n in range(40)} | {"x": None}
    column = make_column("extra:age", ages)
    assert column.order == ("below 30", "30 to below 40", "40 to below 50", "from 50", UNKNOWN)
    assert "40 different numbers, cut into 4 parts" in column.note
    sizes = [list(column.group.values()).count(name) for name in column.order]
    assert sizes == [10, 10, 10, 10, 1]
    assert (column.group["c9"], column.group["c10"]) == ("below 30", "30 to below 40")


def test_numbers_of_which_most_are_equal_still_give_two_parts():
    column = make_column("extra:beard", {f"c{n}": float(max(0, n - 80)) for n in range(100)})
    assert column.order == ("below 1", "from 1")
    assert list(column.group.values()).count("from 1") == 19


def test_a_group_scores_as_its_clips_do():
    found, sex = drawn()
    grouped = group_scores(found, make_column("extra:sex", sex))
    assert [one.name for one in grouped.groups] == ["f", "m"]
    for one in grouped.groups:
        inside = np.array([sex[name] == one.name for name in found.ids])
        alone = [score(found.truth[inside], seed[inside], LABELS) for seed in found.predicted]
        assert one.scores.war == pytest.approx(np.mean([each.war for each in alone]))
        assert one.scores.uar == pytest.approx(np.mean([each.uar for each in alone]))
        assert (one.scores.total, one.units) == (72, 12)
        assert one.interval[0] < one.scores.war < one.interval[1]
    gap = grouped.gaps["war"]
    assert (gap.best, gap.worst, gap.pairs) == ("f", "m", 1)
    assert gap.interval[0] > 0, "a planted gap of 0.4 is seen"
    assert grouped.warning == ""


def test_the_interval_of_a_gap_is_the_jackknife_by_hand():
    found, sex = drawn()
    gap = group_scores(found, make_column("extra:sex", sex)).gaps["war"]
    member = np.array([sex[name] for name in found.ids])
    right = found.right.mean(axis=0)

    def difference(kept):
        return right[kept & (member == "f")].mean() - right[kept & (member == "m")].mean()

    people = np.unique(found.subjects)
    without = np.array([difference(found.subjects != one) for one in people])
    variance = (len(people) - 1) / len(people) * ((without - without.mean()) ** 2).sum()
    half = stats.t.ppf(0.975, 11) * math.sqrt(variance)
    assert gap.value == pytest.approx(difference(np.ones(len(right), bool)))
    assert gap.interval == pytest.approx((gap.value - half, gap.value + half), abs=1e-7)


def test_a_person_in_both_groups_is_one_person():
    """Every person is better in one half by 0.5: the difference is known exactly, though people differ much."""
    people, truth, predicted, half = [], [], [], {}
    for person in range(8):
        for part, hits in (("day", 4 if person % 2 else 3), ("night", 2 if person % 2 else 1)):
            for clip in range(4):
                half[f"c{len(truth)}"] = part
                people.append(f"P{person}")
                truth.append(0)
                predicted.append(0 if clip < hits else 1)
    gap = group_scores(predictions(truth, predicted, people), make_column("light", half)).gaps["war"]
    assert gap.value == pytest.approx(0.5)
    known = 1 - 0.025 ** (1 / 8)  # nobody differs from the others, which is all that 8 people can say
    assert gap.interval == pytest.approx((0.5 - known, 0.5 + known))


def test_below_five_people_there_is_no_interval():
    found, sex = drawn(num_people=8)
    grouped = group_scores(found, make_column("extra:sex", sex))
    assert grouped.gaps["war"].interval is None
    assert all(one.interval is None for one in grouped.groups)
    assert grouped.to_json()["largest_gap"]["war"]["interval"] is None
    assert grouped.groups[0].row("extra:sex")[6:8] == ["", ""]


def test_the_largest_of_several_gaps_is_warned_of_and_unknown_takes_no_part():
    found, sex = drawn()
    names = {one: ("a", "b", "c", None)[int(one[1:]) // 6 % 4] for one in sex}
    grouped = group_scores(found, make_column("extra:site", names))
    gap = grouped.gaps["war"]
    assert gap.pairs == 3
    assert UNKNOWN not in (gap.best, gap.worst)
    values = {one.name: one.scores.war for one in grouped.groups if one.name != UNKNOWN}
    assert gap.value == pytest.approx(max(values.values()) - min(values.values()))
    assert "3 gaps between 3 groups is large by chance too" in grouped.warning
    assert grouped.to_json()["warning"] == grouped.warning


def test_uar_is_compared_between_groups_of_the_same_classes():
    found = predictions([0, 0, 1, 1, 0, 0], [0, 1, 1, 1, 0, 0], list("abcdef"))
    names = dict(zip(found.ids.tolist(), ["x", "x", "x", "x", "y", "y"], strict=True))
    grouped = group_scores(found, make_column("site", names))
    assert set(grouped.gaps) == {"war"}
    assert "uar" not in grouped.to_json()["largest_gap"]


@pytest.mark.parametrize(("first", "second"), [(8, 8), (5, 30)])
def test_intervals_of_gaps_hold_the_truth_about_as_often_as_they_say(first, second):
    """People of two groups, 10 clips each, no true gap; people differ."""
    rng = np.random.default_rng(11)
    number = first + second
    people, truth = np.repeat([f"P{n:02d}" for n in range(number)], 10), np.zeros(10 * number, int)
    held = 0
    for _ in range(400):
        share = np.clip(rng.normal(0.6, 0.15, number), 0, 1)
        right = rng.random((number, 10)) < share[:, None]
        whole = tallies(truth, np.where(right, 0, 1).reshape(-1), people, LABELS)
        a, b = whole.copy(), whole.copy()
        a[first:], b[:first] = 0, 0
        low, high = gap_interval(a, b, "war")
        held += low <= 0 <= high
    assert 0.93 <= held / 400 <= 0.995
