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
from est.errors import CacheError
from est.infer.prediction import trained_clips as own_clips
from est.infer.prediction.frame_times import shown_seconds, smoothed
from est.infer.prediction.predicting import predict
from est.infer.prediction.recipe import recipe_of
from est.infer.prediction.sink import BATCH_ROWS, PredictionSink, batches
from est.infer.prediction.trained_clips import TrainedClips, trained_clips
from est.infer.prediction.windows import Cutting, cut, cutting_of, spread
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


def test_the_last_window_does_not_nearly_repeat_the_one_before():
    windows = cut(*shown(45, first=3), CUTTING)
    assert windows.tolist() == [[3, 23], [8, 28], [13, 33], [18, 38], [25, 45]]
    assert cut(*shown(21), replace(CUTTING, whole=1.0)).tolist() == [[0, 21]]
    far = replace(CUTTING, stride=0.95, whole=1.0)
    assert cut(*shown(46), far).tolist() == [[0, 20], [19, 39], [26, 46]]
    assert cut(*shown(41), far).tolist() == [
        [0, 20],
        [19, 39],
        [21, 41],
    ]  # without the second, frame 20 would be left out


def test_windows_have_the_least_frames_of_the_model_at_the_end_too():
    windows = cut(*shown(47), Cutting(window=0.1, stride=0.05, smooth=0.0, whole=0.1, least=6))
    assert (np.diff(windows, axis=1) == 6).all()
    assert windows[0].tolist() == [0, 6]
    assert windows[-1].tolist() == [41, 47]


def test_no_window_is_of_a_gap():
    time = np.append(np.arange(40), np.arange(200, 240)) / 20
    windows = cut(time, np.ones(80, np.uint8), CUTTING)
    assert np.diff(windows, axis=1).min() >= 5
    assert windows[windows[:, 0] == 40].tolist() == [[40, 45], [40, 50], [40, 55], [40, 60]]
    gapless = [window for window in windows.tolist() if window[0] >= 40 or window[1] <= 40]
    assert len(gapless) == len(windows)


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


def test_smoothing_counts_seconds_at_any_and_at_changing_rates():
    dense, mixed = np.arange(500) / 50, np.append(np.arange(100) / 50, 2 + np.arange(16) / 2)
    signals = [np.sin(2 * np.pi * time / 8)[:, None] for time in (dense, mixed)]
    every, some = (
        smoothed(signal, np.ones(len(time), bool), time, 0.8)
        for signal, time in zip(signals, (dense, mixed), strict=True)
    )
    there = np.round(mixed * 50).astype(int)
    inside = (mixed > 0.5) & (mixed < 9)
    assert np.abs(every - signals[0]).max() > 0.15  # it does smooth
    assert np.abs(some - every[there])[inside].max() < 0.1
    flat = step_of(mixed)
    held = smoothed(flat, np.ones(len(mixed), bool), mixed, 0.8)
    assert held[100, 0] == pytest.approx(0.5, abs=0.2)  # many short frames before, few long ones after: as much time


def step_of(time):
    """Return 0 up to two seconds, then 1."""
    return (time >= 2).astype(float)[:, None]


def test_a_frame_counts_as_long_as_it_is_shown():
    time = np.append(np.arange(50) / 50, 1 + np.arange(4) / 2)
    np.testing.assert_allclose(shown_seconds(time), [*[0.02] * 50, *[0.5] * 4])
    np.testing.assert_allclose(shown_seconds(np.array([0, 0.1, 0.2, 9, 9.1])), [0.1, 0.1, 1, 0.1, 0.1])  # a gap
    np.testing.assert_allclose(shown_seconds(np.array([0.0, 3, 6])), 3)
    np.testing.assert_allclose(shown_seconds(np.zeros(1)), 1 / 25)
    assert (shown_seconds(np.zeros(3)) > 0).all()


def test_windows_weigh_by_seconds_of_face():
    time = np.append(np.arange(10) / 10, 5 + np.arange(2) / 10)
    found = spread(
        np.array([[1.0, 0], [0, 1.0]], np.float32), np.array([[0, 10], [8, 10]]), np.ones(12, np.uint8), time, 0
    )
    seconds = shown_seconds(time)
    share = seconds[:10].sum() / (seconds[:10].sum() + seconds[8:10].sum())
    np.testing.assert_allclose(found[8:10, 0], share, atol=1e-6)
    np.testing.assert_allclose(found[:8, 0], 1)


def test_almost_all_clips_of_the_training_would_be_predicted_whole(sample, monkeypatch):
    lengths = TrainedClips(np.array([1.0] * 90 + [4.0] * 10), "assumed")
    monkeypatch.setattr("est.infer.prediction.windows.trained_clips", lambda _: lengths)
    found = cutting_of(Run.open(sample.run), QUIET)
    assert (found.window, found.whole, found.note) == (1.0, 4.0, "assumed")
    lengths.seconds[4:] = 1.0
    assert cutting_of(Run.open(sample.run), QUIET).whole == 1.5
    assert cutting_of(Run.open(sample.run), replace(QUIET, window=0.5)).note == ""


def test_lengths_of_clips_are_by_their_own_rates_where_the_cache_is_there(sample, tmp_path, monkeypatch):
    run = Run.open(sample.run)
    np.testing.assert_allclose(np.sort(trained_clips(run).seconds), np.sort(LENGTHS) / 25)
    assert trained_clips(run).note == ""
    frames = {name: count for name, (_, count) in run.clips().items()}
    monkeypatch.setattr(own_clips, "_cached_rates", lambda *_: dict.fromkeys(list(frames)[:3], 50.0))
    found = trained_clips(run)
    assert sorted(found.seconds) == pytest.approx(
        sorted(count / (50 if place < 3 else 25) for place, count in enumerate(frames.values()))
    )
    assert "1 of 4 clips" in found.note
    monkeypatch.undo()
    gone = replace(run, facts={**run.facts, "cache": {**run.facts["cache"], "path": str(tmp_path / "gone.zarr")}})
    assert "25 frames a second, the median of the training, are assumed" in trained_clips(gone).note
    untold = replace(gone, facts={**gone.facts, "frame_rate": None})
    assert "25 frames a second, a guess" in trained_clips(untold).note
    monkeypatch.setattr(Run, "clips", lambda _: {})
    assert "3 s are assumed" in trained_clips(run).note


@pytest.fixture(scope="module")
def recipe(sample):
    run = Run.open(sample.run)
    return recipe_of(run, replace(QUIET, part=run.parts[0]))


def clip_of(state, seed=0):
    count = len(state)
    return Clip(
        id="x",
        path="x.mp4",
        state=state,
        time=np.arange(count) / 25,
        box=np.full((count, 4), np.nan, np.float32),
        landmarks=np.zeros((count, 5, 2), np.float32),
        score=np.ones(count, np.float32),
        features={"gap": np.random.default_rng(seed).random((count, 512)).astype(np.float16)},
    )


def sink_of(recipe, cutting, found):
    return PredictionSink(recipe, cutting, [Input(id="x", path=Path("x.mp4"), kind="video")], found.append)


def test_a_late_face_has_its_own_frames(recipe):
    state = np.zeros(90, np.uint8)
    state[50:80] = 1
    found = []
    into = sink_of(recipe, Cutting(window=0.4, stride=0.2, smooth=0.0, whole=0.4), found)
    into.add(clip_of(state), replacing=False)
    into.forget("x")
    (track,) = found[0].tracks
    assert (track.first, track.stop) == (50, 80)
    assert track.windows[0].tolist() == [50, 60]
    assert track.windows[-1].tolist() == [70, 80]
    assert not np.isnan(track.probabilities).any()
    for frame, window in ((0, 0), (29, -1)):  # the first and the last frame are in one window each
        np.testing.assert_allclose(track.probabilities[frame], track.window_probabilities[window], atol=1e-6)
    assert np.abs(track.window_probabilities[0] - track.window_probabilities[-1]).max() > 1e-4
    means = track.mean(found[0].time)
    np.testing.assert_allclose(means, track.probabilities.mean(0), atol=1e-6)


def test_features_that_are_no_numbers_are_refused_where_they_show_the_face(recipe):
    state = np.ones(20, np.uint8)
    state[:5] = 0
    clip = clip_of(state)
    into = sink_of(recipe, CUTTING, [])
    clip.features["gap"][3] = np.nan
    into.add(clip, replacing=False)
    clip.features["gap"][9, 5] = np.nan
    with pytest.raises(CacheError, match="gap of frame 9 is NaN"):
        into.add(clip, replacing=False)


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
