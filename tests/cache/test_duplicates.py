"""Clips that are there twice: by content, frames and faces; and nearly, by their features."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from cache_samples import make_clip, sample_recipes

from est.cache import CacheWriter, Source, open_cache
from est.cache.reading.duplicates import ClipList, find_duplicates, joined, overlapping
from est.cache.reading.near_duplicates import close_pairs, course_similarity, find_near_duplicates
from est.errors import UsageError

FRAMES = 20


def source(number):
    """Return the source of number `number`; the first has no digest."""
    return Source(num_bytes=number, mtime_ns=1, digest=bytes([number] * 16))


def write(path, clips, *, recipes=None):
    """Write clips given as (id, source, first frame, number of the face), each in front of a camera of its own."""
    with CacheWriter.open(path, recipes or sample_recipes(), labels=["happy", "sad", "neutral"]) as writer:
        for clip_id, content, first, face in clips:
            clip = make_clip(len(writer) + 2, frames=FRAMES)
            state = np.ones(FRAMES, np.uint8) if face is not None else np.zeros(FRAMES, np.uint8)
            box = np.full((FRAMES, 4), np.nan, np.float32)
            if face is not None:
                box[:] = np.array([10, 10, 60, 60]) + 100 * face
            rows = np.random.default_rng(len(writer)).normal(size=(FRAMES, 16)).astype(np.float16)
            writer.add(
                replace(
                    clip,
                    id=clip_id,
                    first_frame=first,
                    source=source(content),
                    state=state,
                    box=box,
                    landmarks=np.where(state[:, None, None] > 0, 1, np.nan)
                    .astype(np.float32)
                    .repeat(5, 1)
                    .repeat(2, 2),
                    features={"gap": rows * (state[:, None] > 0)},
                )
            )
    return path


def groups(*paths):
    """Return the ids in each group of duplicates."""
    clips = ClipList.of([open_cache(path) for path in paths])
    return [tuple(clips.id(row) for row in group.rows) for group in find_duplicates(clips)]


def test_the_same_frames_of_the_same_content(cache_path):
    clips = [("a/x", 1, 0, 0), ("b", 2, 0, 0), ("c/y", 1, 0, 0), ("later", 1, FRAMES, 0), ("joining", 1, FRAMES - 1, 0)]
    write(cache_path, [*clips, ("unknown", 0, 0, 0), ("unknown too", 0, 0, 0)])
    assert groups(cache_path) == [
        ("a/x", "c/y", "later", "joining")
    ]  # which shares one frame with the first, and others with `later`
    write(cache_path.with_stem("apart"), clips[:4])
    assert groups(cache_path.with_stem("apart")) == [("a/x", "c/y")]


def test_faces_of_one_video_are_different_clips(tmp_path):
    """Copies of a video with two faces: each is the other's copy, and nobody else's; whatever their ids are."""
    path = write(
        tmp_path / "c.zarr", [("x#1", 1, 0, 0), ("x#2", 1, 0, 1), ("y#1", 1, 0, 0), ("y#2", 1, 0, 1), ("z", 1, 0, 1)]
    )
    assert groups(path) == [("x#1", "y#1"), ("x#2", "y#2", "z")]
    faceless = write(tmp_path / "d.zarr", [("x", 1, 0, None), ("y", 1, 0, None), ("z", 1, 0, 0)])
    assert groups(faceless) == [("x", "y")]


def test_across_caches_of_both_stores(tmp_path):
    one = write(tmp_path / "one.zarr", [("a", 1, 0, 0), ("b", 2, 0, 0)])
    other = write(tmp_path / "other.h5", [("c", 3, 0, 0), ("a", 2, 5, 0)])
    assert groups(one, other) == [("b", "a")]
    clips = ClipList.of([open_cache(one), open_cache(other)])
    (group,) = find_duplicates(clips)
    assert [(told["cache"], told["first"], told["stop"]) for told in map(clips.told, group.rows)] == [
        (str(one), 0, FRAMES),
        (str(other), 5, FRAMES + 5),
    ]
    assert group.contradictions(clips) == []  # the samples' second clips of four agree: S3, neutral


def test_contradictions_are_between_what_is_known(tmp_path):
    path = write(tmp_path / "c.zarr", [("a", 1, 0, 0), ("b", 1, 0, 0)])
    with CacheWriter.open(path) as writer:
        writer.update("a", subject="S1", label="sad", split="train", fold=1)
        writer.update("b", subject="S2", label="sad", split="", fold=-1)
    clips = ClipList.of([open_cache(path)])
    (group,) = find_duplicates(clips)
    assert group.contradictions(clips) == ["subject"]


def test_overlapping_pairs_are_those_of_a_plain_search(tmp_path):
    rng = np.random.default_rng(3)
    path = write(
        tmp_path / "c.h5", [(f"c{n}", int(rng.integers(0, 4)), int(rng.integers(0, 60)), 0) for n in range(40)]
    )
    clips = ClipList.of([open_cache(path)])
    expected = [
        [a, b]
        for a in range(40)
        for b in range(a + 1, 40)
        if clips.digest[a] == clips.digest[b] != "" and abs(int(clips.span[a, 0] - clips.span[b, 0])) < FRAMES
    ]
    assert len(expected) > 20
    assert overlapping(clips).tolist() == expected
    assert joined(np.array([[0, 4], [1, 2], [2, 4], [5, 6]])) == [(0, 1, 2, 4), (5, 6)]


def test_blocks_find_what_one_product_finds(monkeypatch):
    rows = np.random.default_rng(1).normal(size=(50, 6))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    expected = np.argwhere(np.triu(rows @ rows.T >= 0.5, 1)).tolist()
    monkeypatch.setattr("est.cache.reading.near_duplicates.BLOCK", 7)
    assert sorted(close_pairs(rows, 0.5).tolist()) == expected
    assert len(expected) > 10


def test_courses_are_compared_at_their_best_offset_and_the_lower_rate():
    rows, time = np.random.default_rng(2).normal(size=(60, 8)).cumsum(axis=0), np.arange(60) / 25
    assert course_similarity(rows, time, rows[7:], time[7:]) == pytest.approx(1)
    assert course_similarity(rows, time, rows[::2], time[::2]) == pytest.approx(1)
    assert course_similarity(rows[:1], time[:1], rows[:1], time[3:4]) == pytest.approx(1)
    noise = np.random.default_rng(4).normal(size=(2, 60, 8))
    assert course_similarity(noise[0], time, noise[1], time) < 0.5


def test_near_duplicates_need_one_kind_of_features(tmp_path):
    one = write(tmp_path / "one.zarr", [("a", 1, 0, 0)])
    other = write(tmp_path / "other.zarr", [("a", 1, 0, 0)], recipes=sample_recipes(dtype="float32"))
    clips = ClipList.of([open_cache(one), open_cache(other)])
    with pytest.raises(UsageError, match="not comparable"):
        find_near_duplicates(clips)
    with pytest.raises(UsageError, match="asked for 'nonsense'"):
        find_near_duplicates(clips, "nonsense")
    with pytest.raises(UsageError, match="--similarity goes from"):
        find_near_duplicates(ClipList.of([open_cache(one)]), similarity=2)
    faceless = write(tmp_path / "no.zarr", [("a", 1, 0, None), ("b", 2, 0, None)])
    assert find_near_duplicates(ClipList.of([open_cache(faceless)])) == []
