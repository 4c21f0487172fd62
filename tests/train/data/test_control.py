"""The control: statistics against a literal reference, the classifier's optimum against scikit-learn's."""

import numpy as np
import pytest
import torch
from cache_samples import make_cache
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from est.cache import open_cache
from est.train.data import control
from est.train.data.control import L2, ClipStatistics, fit_control, fitted_on, pooled


def literal(features, start, count, mask):
    """Look at each clip by itself, in float64."""
    rows = []
    for first, number in zip(start, count, strict=True):
        clip = np.asarray(features[first : first + number], np.float64)[mask[first : first + number]]
        parts = (
            [f(axis=0) for f in (clip.mean, clip.std, clip.min, clip.max)]
            if len(clip)
            else [np.zeros(clip.shape[1])] * 4
        )
        rows.append(np.concatenate(parts))
    return np.array(rows).reshape(len(start), -1)


@settings(max_examples=40)
@given(st.lists(st.integers(0, 12), min_size=1, max_size=25), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_statistics_are_those_of_each_clip(counts, chunk, seed):
    rng = np.random.default_rng(seed)
    count = np.array(counts)
    features = rng.normal(3, 2, (count.sum(), 5)).astype(np.float16)
    mask = rng.random(count.sum()) < 0.7
    features[~mask] = 0
    start = np.cumsum(count) - count
    order = rng.permutation(len(count))  # clips need not be neighbours
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(control, "FRAMES_A_CHUNK", chunk)
        found = pooled(features, start[order], count[order], mask)
        of_tensors = pooled(torch.from_numpy(features), start[order], count[order], torch.from_numpy(mask))
    assert found.dtype == np.float32
    assert found.shape == (len(count), 20)
    np.testing.assert_allclose(found, literal(features, start[order], count[order], mask), rtol=2e-6, atol=2e-5)
    np.testing.assert_array_equal(of_tensors, found)
    assert not found[[not mask[s : s + n].any() for s, n in zip(start[order], count[order], strict=True)]].any()


def samples(num_clips, width, num_classes, seed):
    """Return correlated statistics on very different scales, some of them constant, and noisy labels."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, num_classes, num_clips)
    hidden = rng.normal(size=(num_classes, 8))[label] + 2 * rng.normal(size=(num_clips, 8))
    found = hidden @ rng.normal(size=(8, width)) + rng.normal(size=(num_clips, width))
    found = found * 10.0 ** rng.uniform(-3, 3, width) + rng.normal(0, 100, width)
    found[:, 0] = 7.7
    return found.astype(np.float32), label


@pytest.mark.parametrize(("num_clips", "width", "l2"), [(150, 400, L2), (600, 60, L2), (300, 100, 0.003)])
def test_the_optimum_is_that_of_scikit_learn(num_clips, width, l2):
    statistics, label = samples(num_clips, width, 5, seed=width)
    fresh = samples(100, width, 5, seed=width + 1)[0]
    found = fit_control(statistics, label, 5, l2=l2)
    mean, std = statistics.mean(axis=0, dtype=np.float64), statistics.std(axis=0, dtype=np.float64)
    std[0] = 1
    scaled = (statistics - mean) / std
    other = LogisticRegression(C=1 / (l2 * num_clips), tol=1e-8, max_iter=5000).fit(scaled, label)
    for rows in (statistics, fresh):
        expected = other.predict_proba((rows - mean) / std)
        np.testing.assert_allclose(found.predict_proba(rows), expected, atol=1e-3)
        assert (found.predict(rows) == expected.argmax(axis=1)).mean() > 0.98


def test_a_statistic_that_never_changed_says_nothing():
    statistics, label = samples(120, 30, 3, seed=2)
    found = fit_control(statistics, label, 3)
    other = statistics.copy()
    other[:, 0] += 5
    np.testing.assert_array_equal(found.predict_proba(other), found.predict_proba(statistics))


def test_fitting_twice_is_the_same_bit_for_bit():
    statistics, label = samples(120, 50, 3, seed=0)
    one, two = (fit_control(statistics, label, 3) for _ in range(2))
    np.testing.assert_array_equal(one.weight, two.weight)
    np.testing.assert_array_equal(one.predict_proba(statistics), two.predict_proba(statistics))


def test_scale_and_offset_of_a_statistic_never_matter():
    statistics, label = samples(200, 30, 3, seed=3)
    statistics = (statistics - statistics.mean(axis=0)) / np.maximum(statistics.std(axis=0), 1e-3)
    one = fit_control(statistics, label, 3).predict_proba(statistics)
    scale = np.float32(2.0) ** np.arange(-15, 15)
    two = fit_control(statistics * scale + 3 * scale, label, 3).predict_proba(statistics * scale + 3 * scale)
    np.testing.assert_allclose(two, one, atol=1e-3)


def test_a_class_never_seen_is_never_predicted():
    statistics, label = samples(200, 20, 4, seed=1)
    some = np.isin(label, (1, 3))
    found = fit_control(statistics[some], label[some], 6)
    probabilities = found.predict_proba(statistics)
    assert probabilities.shape == (200, 6)
    assert not probabilities[:, [0, 2, 4, 5]].any()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)
    assert set(found.predict(statistics).tolist()) <= {1, 3}
    again = fit_control(statistics[some], (label[some] == 3).astype(int), 2)
    np.testing.assert_array_equal(probabilities[:, [1, 3]], again.predict_proba(statistics))


def test_it_learns_and_does_not_learn_noise():
    rng = np.random.default_rng(0)
    label = rng.integers(0, 4, 900)
    signal = rng.normal(size=(4, 200))[label] * 0.35 + rng.normal(size=(900, 200))
    train, test = slice(0, 500), slice(500, 900)
    right = fit_control(signal[train], label[train], 4).predict(signal[test]) == label[test]
    assert right.mean() > 0.9
    noise = fit_control(rng.normal(size=(500, 200)), label[train], 4).predict(rng.normal(size=(400, 200)))
    assert 0.17 < (noise == label[test]).mean() < 0.33


def test_statistics_of_clips_together_are_those_of_each_alone_bit_for_bit(tmp_path):
    cache = open_cache(make_cache(tmp_path / "some.zarr"))
    places = np.array([5, 1, 2, 3, 7, 0])  # some are neighbours
    together = ClipStatistics(cache, places, "gap")[np.arange(len(places))]
    for row, place in zip(together, places.tolist(), strict=True):
        clip = cache.clip(place, ["gap"])
        alone = pooled(clip.features["gap"], np.array([0]), np.array([len(clip.mask)]), clip.mask)[0]
        np.testing.assert_array_equal(row, alone)


def test_deviations_in_parts_are_those_of_the_whole_bit_for_bit(monkeypatch):
    statistics, label = samples(300, 1030, 3, seed=4)
    monkeypatch.setattr(control, "MAX_STEPS", 1)
    expected = statistics.std(axis=0, dtype=np.float64).astype(np.float32)
    expected[0] = 1  # it never changes
    np.testing.assert_array_equal(fit_control(statistics, label, 3).deviation, expected)


def test_statistics_that_do_not_fit_are_read_again(tmp_path, monkeypatch):
    cache = open_cache(make_cache(tmp_path / "some.zarr"))
    places = np.array([5, 1, 2, 7])
    kept = ClipStatistics(cache, places, "gap")
    monkeypatch.setattr(control, "KEPT_BYTES", 100)
    monkeypatch.setattr(control, "BLOCK", 2)
    read = ClipStatistics(cache, places, "gap")
    chosen = np.array([3, 0, 0, 2, 1])
    np.testing.assert_array_equal(read[chosen], kept[chosen])
    assert kept[chosen].any()
    blocks = list(read.blocks(chosen))
    assert [len(block) for block in blocks] == [2, 2, 1]
    np.testing.assert_array_equal(np.concatenate(blocks), kept[chosen])
    assert [block.shape for block in read.blocks(chosen[:0])] == [(0, read.shape[1])]
    assert read._kept is None


def test_many_clips_are_drawn_evenly_and_alike(monkeypatch):
    rows = np.arange(100, 1100)
    assert fitted_on(rows) is rows
    monkeypatch.setattr(control, "MOST_FITTED", 200)
    drawn = fitted_on(rows)
    np.testing.assert_array_equal(drawn, fitted_on(rows))
    assert len(np.unique(drawn)) == 200
    assert set(drawn) <= set(rows)
    assert all(30 <= count <= 70 for count in np.histogram(drawn, bins=4, range=(100, 1100))[0])
