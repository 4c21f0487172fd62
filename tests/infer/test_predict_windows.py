"""Windows cover every frame, long tracks alone are cut, and a timeline is the mean of what covers a frame."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from predict_samples import LENGTHS, QUIET

from est.cache import Clip
from est.infer.prediction.predicting import predict
from est.infer.prediction.recipe import recipe_of
from est.infer.prediction.sink import BATCH_ROWS, PredictionSink, batches
from est.infer.prediction.windows import Cutting, cut, cutting_of, smoothed, spread
from est.inputs.input import Input
from est.train import Run

CUTTING = Cutting(window=1.0, stride=0.25, smooth=0.0, whole=1.5)


def shown(count, *, first=0, stop=None):
    state = np.zeros(count, np.uint8)
    state[first:stop] = 1
    return np.arange(count) / 20, state


def test_up_to_the_longest_clips_a_video_is_one_window():
    assert cut(*shown(30), CUTTING).tolist() == [[0, 30]]
    assert cut(*shown(30, first=7, stop=9), CUTTING).tolist() == [[0, 30]]  # as est evaluate sees it
    assert cut(*shown(100, first=40, stop=60), CUTTING).tolist() == [[40, 60]]
    assert len(cut(*shown(30, stop=0), CUTTING)) == 0
    assert cut(np.zeros(1), np.ones(1, np.uint8), CUTTING).tolist() == [[0, 1]]


def test_windows_of_a_long_track():
    windows = cut(*shown(47, first=3), CUTTING)
    assert windows.tolist() == [[3, 23], [8, 28], [13, 33], [18, 38], [23, 43], [27, 47]]


@given(
    count=st.integers(2, 200),
    step=st.floats(0.01, 0.5),
    window=st.floats(0.2, 5),
    share=st.floats(0.05, 1),
    jitter=st.floats(0, 0.4),
)
def test_every_frame_that_shows_the_face_is_covered(count, step, window, share, jitter):
    rng = np.random.default_rng(count)
    time = (np.arange(count) + jitter * rng.random(count)) * step
    state = (rng.random(count) < 0.7).astype(np.uint8)
    windows = cut(time, state, Cutting(window=window, stride=share * window, smooth=0, whole=window))
    covered = np.zeros(count, bool)
    for first, stop in windows.tolist():
        assert stop > first
        assert state[first:stop].any()
        covered[first:stop] = True
    assert covered[state > 0].all()


def test_a_frame_has_the_mean_of_the_windows_that_cover_it():
    time, state = shown(6)
    state[5] = 0
    found = spread(np.array([[1.0, 0.0], [0.0, 1.0]], np.float32), np.array([[0, 4], [2, 6]]), state, time, 0.0)
    np.testing.assert_allclose(
        found[:5, 0], [1, 1, 4 / 7, 4 / 7, 0], atol=1e-6
    )  # by what they show of the face: 4 frames, 3
    assert np.isnan(found[5]).all()


def test_smoothing_keeps_sums_and_ignores_what_is_unknown():
    values = np.stack([np.arange(40) % 2, 1 - np.arange(40) % 2], axis=1).astype(float)
    known = np.ones(40, bool)
    known[10:15] = False
    values[~known] = 7.0
    found = smoothed(values, known, np.arange(40) / 25, 2 / 25)
    np.testing.assert_allclose(found.sum(1), 1)
    assert np.abs(found[20:30] - 0.5).max() < 0.05
    np.testing.assert_array_equal(smoothed(values[:1], known[:1], np.zeros(1), 3.0), values[:1])


def test_windows_are_predicted_a_few_thousand_rows_at_a_time():
    windows = np.array([[place, place + BATCH_ROWS // 3] for place in range(7)])
    assert batches(windows) == [slice(0, 3), slice(3, 6), slice(6, 7)]
    assert batches(np.array([[0, 3 * BATCH_ROWS], [0, 1]])) == [slice(0, 1), slice(1, 2)]
    assert batches(np.zeros((0, 2), int)) == []


def test_the_default_window_is_the_median_clip_of_the_training(sample):
    run = Run.open(sample.run)
    found = cutting_of(run, QUIET)
    assert found.window == pytest.approx(np.median(LENGTHS) / 25)
    assert found.stride == pytest.approx(found.window / 4)
    assert found.whole == pytest.approx(1.5 * found.window)
    given_ = cutting_of(run, replace(QUIET, window=0.4, stride=0.1, smooth=0.0))
    assert (given_.window, given_.whole, given_.stride, given_.smooth) == (0.4, 0.4, 0.1, 0.0)


def test_a_window_is_predicted_as_a_clip_of_its_own(sample, tmp_path):
    """The same frames as a list's segment: found and followed alike, because the first are the same."""
    config = replace(QUIET, window=0.32, stride=0.08, part=Run.open(sample.run).parts[0])
    found = predict(sample.video, sample.run, config=config)
    assert len(found) == 5
    assert found.windows["first_frame"].tolist() == [0, 2, 4, 6, 8]
    assert found.windows["last_frame"].tolist() == [7, 9, 11, 13, 15]
    timeline = found.timeline
    first = timeline.probabilities()[0]
    assert not np.allclose(first, timeline.probabilities()[-1])
    np.testing.assert_allclose(timeline.probabilities().sum(1), 1, atol=1e-5)


@pytest.mark.slow
def test_three_hours_take_no_memory_but_for_their_rows(sample):
    run = Run.open(sample.run)
    config = replace(QUIET, stride=0.3, window=0.6, part=run.parts[0])
    found, count = [], 3 * 3600 * 30
    into = PredictionSink(
        recipe_of(run, config),
        cutting_of(run, config),
        [Input(id="long", path=Path("long.mp4"), kind="video")],
        found.append,
    )
    clip = Clip(
        id="long",
        path="long.mp4",
        state=np.ones(count, np.uint8),
        time=np.arange(count) / 30,
        box=np.zeros((count, 4), np.float32),
        landmarks=np.zeros((count, 5, 2), np.float32),
        score=np.ones(count, np.float32),
        features={"gap": np.zeros((count, 512), np.float16)},
    )
    tracemalloc.start()
    try:
        into.add(clip, replacing=True)
        into.forget("long")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(found[0].tracks[0].windows) == 35999
    assert peak < 0.4 * clip.features["gap"].nbytes  # batches, and the timeline of a few numbers a frame
