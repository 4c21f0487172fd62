"""Scores against scikit-learn, over random cases with absent classes and missing predictions."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import (
    accuracy_score,
    confusion_matrix,
    f1_score,
    precision_score,
    recall_score,
)

from est.train.results.intervals import score_intervals
from est.train.results.metrics import AnswerScore, by_bins, score, spread


@st.composite
def cases(draw):
    """Draw classes, truth and predictions; some classes are absent from the truth, some predictions are missing."""
    num_classes = draw(st.integers(2, 8))
    classes = draw(st.lists(st.integers(0, num_classes - 1), min_size=1, max_size=num_classes))
    pairs = draw(
        st.lists(st.tuples(st.sampled_from(classes), st.integers(-1, num_classes - 1)), min_size=1, max_size=60)
    )
    truth, predicted = np.array(pairs).T
    return [f"class {n}" for n in range(num_classes)], truth, predicted


@settings(max_examples=150)
@given(cases())
def test_scores_are_those_of_scikit_learn(case):
    labels, truth, predicted = case
    found = score(truth, predicted, labels)
    every, present = np.arange(len(labels)), np.unique(truth)
    guess = np.where(predicted < 0, len(labels), predicted)  # a class of its own, that no clip has
    settings_ = {"labels": every, "average": None, "zero_division": np.nan}
    np.testing.assert_array_equal(
        found.confusion, confusion_matrix(truth, guess, labels=np.arange(len(labels) + 1))[: len(labels)]
    )
    assert found.war == pytest.approx(accuracy_score(truth, guess))
    assert (found.right, found.total) == ((truth == predicted).sum(), len(truth))
    assert found.unpredicted == (predicted < 0).sum()
    np.testing.assert_allclose(found.recall, recall_score(truth, guess, **settings_))
    np.testing.assert_allclose(found.precision, precision_score(truth, guess, **settings_))
    np.testing.assert_allclose(found.f1, f1_score(truth, guess, **settings_))
    assert found.uar == pytest.approx(recall_score(truth, guess, labels=present, average="macro"))
    assert found.uf1 == pytest.approx(f1_score(truth, guess, labels=present, average="macro", zero_division=0))
    np.testing.assert_array_equal(np.flatnonzero(found.present), present)


@settings(max_examples=50)
@given(cases(), st.randoms(use_true_random=False))
def test_order_of_labels_and_clips_never_matters(case, random):
    labels, truth, predicted = case
    found = score(truth, predicted, labels)
    new = list(range(len(labels)))
    random.shuffle(new)  # new[k] is the place of old class k
    renamed = [labels[new.index(place)] for place in range(len(labels))]
    clips = np.array(random.sample(range(len(truth)), len(truth)))
    code = np.array([*new, -1])
    other = score(code[truth][clips], code[predicted][clips], renamed)
    assert (other.war, other.uar, other.uf1) == pytest.approx((found.war, found.uar, found.uf1))
    groups = np.array([f"s{n % 6}" if n % 3 else "" for n in range(len(truth))])
    one = score_intervals(truth, predicted, groups, labels)
    assert score_intervals(code[truth][clips], code[predicted][clips], groups[clips], renamed) == one


def test_uf1_is_of_the_pooled_counts_and_no_mean_over_folds():
    labels = ("negative", "positive", "surprise")
    folds = [([0, 0, 1], [0, 0, 1]), ([2, 0], [0, 0]), ([1], [2])]
    parts = [score(np.array(t), np.array(p), labels) for t, p in folds]
    # pooled: TP 3, 1, 0; FP 1, 0, 1; FN 0, 1, 1
    pooled = score(*(np.array([value for fold in folds for value in fold[at]]) for at in (0, 1)), labels)
    assert pooled.uf1 == pytest.approx((6 / 7 + 2 / 3 + 0) / 3)
    assert pooled.uar == pytest.approx((1 + 1 / 2 + 0) / 3)
    assert np.mean([part.uf1 for part in parts]) != pytest.approx(pooled.uf1, abs=0.02)


def test_numerators_and_denominators_are_kept():
    predicted = np.array([0] * 191 + [1] * 150 + [-1] * 11)
    found = score(np.zeros(352, int), predicted, ("a", "b", "c")).to_json()
    assert found["war"] == {"value": pytest.approx(0.5426, abs=5e-5), "right": 191, "total": 352}
    assert found["uar"] == {"value": pytest.approx(191 / 352), "classes": 1, "of_classes": 3}
    assert found["unpredicted"] == 11
    assert found["per_class"][1] == {
        "label": "b", "right": 0, "total": 0, "predicted": 150, "recall": None, "precision": 0.0, "f1": 0.0,
    }  # fmt: skip
    assert found["per_class"][2]["f1"] is None
    json.dumps(found, allow_nan=False)


def test_nothing_to_score_is_no_number():
    found = score(np.empty(0, int), np.empty(0, int), ("a", "b"))
    assert math.isnan(found.war)
    assert math.isnan(found.uar)
    assert found.to_json()["war"] == {"value": None, "right": 0, "total": 0}


def test_spread_is_that_of_a_sample():
    found = spread([0.5, 0.6, 0.7])
    assert (found.mean, found.sd, found.number) == (pytest.approx(0.6), pytest.approx(0.1), 3)
    assert spread([0.5]).sd is None


def test_bins_hold_every_clip_once():
    values = np.array([3, 16, 23.5, 24, 24, 200, np.nan])
    hits = np.array([True, True, False, True, False, True, False])
    rows = [(row.text, row.right, row.total) for row in by_bins(values, hits, (16, 24), unit=" frames")]
    assert rows == [
        ("< 16 frames", 1, 1), ("16 to < 24 frames", 1, 2), ("≥ 24 frames", 2, 3), ("unknown", 0, 1),
    ]  # fmt: skip


def test_order_accuracy_stands_beside_chance():
    found = AnswerScore(question="order", right=554, total=1000, choices=10)
    assert (found.accuracy, found.chance) == (0.554, 0.1)
