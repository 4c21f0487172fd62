"""Clips of people who take turns, from the worker's task to the cache: planted faces, no processes."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from people_samples import SIDE, detections, look_of_colour, recipes_for, run_task, write_clips, write_people

from est.cache import CacheWriter, open_cache
from est.errors import RecipeMismatch, UsageError
from est.extract import command
from est.extract.annotations import relabel
from est.extract.begun import as_begun
from est.extract.command import expect_as_made, options_of_frames
from est.extract.config import ExtractConfig
from est.extract.faces import looks
from est.extract.modality import Faces
from est.extract.report import Report
from est.extract.workers.recrop import Stored, cut_again

PEOPLE = "A" * 9 + "B" * 12 + "A" * 6 + "-" * 6 + "A" * 3
SPLIT = ExtractConfig(size=SIDE, across_cuts="split")
TOLD = {"label": "happy", "subject": "s1", "onset": 2, "apex": 11, "offset": 24}


@pytest.fixture(autouse=True)
def planted(monkeypatch):
    monkeypatch.setattr(looks, "look_at", look_of_colour)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_people(tmp_path_factory.mktemp("people") / "film", PEOPLE)


def cached(path, done):
    with CacheWriter.open(path, recipes_for(done[3]), labels=["happy"]) as writer:
        pipeline = write_clips(writer, done)
    return open_cache(path), pipeline


def test_keeping_everybody_warns(folder, tmp_path):
    cache, pipeline = cached(tmp_path / "c.zarr", run_task(folder, **TOLD))
    row = cache.clips.row("film")
    assert (row["identity_changes"], row["count"], row["onset"]) == (2, len(PEOPLE), 2)
    assert pipeline.changed == ["film"]
    assert (pipeline.clips, pipeline.frames) == (1, len(PEOPLE))
    assert cache.clip("film").mask.tolist() == [person != "-" for person in PEOPLE]


def test_the_longest_person_is_kept(folder, tmp_path):
    config = dataclasses.replace(SPLIT, across_cuts="longest")
    cache, pipeline = cached(tmp_path / "c.zarr", run_task(folder, config=config))
    assert cache.clip("film").mask.tolist() == [person == "A" for person in PEOPLE]
    assert cache.clips.row("film")["identity_changes"] == 0
    assert dict(pipeline.left_out) == {"film": 12}
    assert pipeline.changed == []


def test_a_clip_for_each_person_in_turn(folder, tmp_path):
    done = run_task(folder, config=SPLIT, **TOLD)
    cache, pipeline = cached(tmp_path / "c.zarr", done)
    assert cache.ids == ["film#1", "film#2", "film#3"]
    assert (pipeline.clips, pipeline.frames, pipeline.parted) == (3, len(PEOPLE), ["film"])
    rows = [cache.clips.row(clip) for clip in cache.ids]
    assert [(row["first_frame"], row["count"], row["declared"]) for row in rows] == [
        (0, 9, 9),
        (9, 12, 12),
        (21, 15, 15),
    ]
    assert [(row["label"], row["subject"], row["identity_changes"]) for row in rows] == [("happy", "s1", 0)] * 3
    assert [(row["onset"], row["apex"], row["offset"]) for row in rows] == [(2, -1, -1), (-1, 2, -1), (-1, -1, 3)]
    np.testing.assert_allclose(cache.clip("film#2").time, np.arange(9, 21) / 25)
    # The features are those of the frames, and the crops can be cut again.
    for number, clip_id in enumerate(cache.ids):
        clip = cache.clip(clip_id)
        first = rows[number]["first_frame"]
        shown = np.flatnonzero(clip.mask)
        np.testing.assert_array_equal(clip.features["gap"][shown, 0], shown + first)
        again = dict(cut_again(Stored(cache), clip, folder))
        assert list(again) == shown.tolist()
        for frame, crop in again.items():
            np.testing.assert_array_equal(crop[..., ::-1], done[1].crops[number, frame + first])


def test_faces_are_looked_at_in_the_shrunk_picture(folder, monkeypatch):
    """Boxes and landmarks lie in pixels of the frame, the look in the picture that the detector was given."""
    looked: list[tuple[tuple[int, ...], np.ndarray]] = []

    def look(picture, landmarks):
        looked.append((picture.shape, landmarks))
        return look_of_colour(picture, landmarks)

    monkeypatch.setattr(looks, "look_at", look)
    done, *_ = run_task(folder, config=ExtractConfig(size=SIDE, detect_size=48))
    assert done.identity_changes == 2
    assert {shape for shape, _ in looked} == {(32, 48, 3)}
    told = detections((10, 8, 42, 40)).landmarks[0] / 2
    for _, landmarks in looked:
        np.testing.assert_allclose(landmarks, told)


@pytest.mark.parametrize("across_cuts", ["keep", "split", "longest"])
@pytest.mark.parametrize(
    ("people", "changes"),
    [
        ("AAABBB" * 6, {-1}),  # looks like flashes, and then like fast motion
        ("AABB" * 8, {-1}),
        ("AAAABBBB" * 5, {-1, 1, 2, 3, 4, 5}),  # what is seen of them, or nothing is known
        ("A" * 12 + "BBB" + "A" * 12, {0}),  # one flash
        ("A" * 12 + "BBB" + "A" * 12 + "BBB" + "A" * 12, {0}),
        ("A" * 30, {0}),
    ],
)
def test_of_very_short_scenes_changes_are_not_known(tmp_path, people, changes, across_cuts):
    config = dataclasses.replace(SPLIT, across_cuts=across_cuts)
    done, *_ = run_task(write_people(tmp_path / "film", people), config=config)
    assert done.identity_changes in changes


def test_one_person_keeps_the_id(tmp_path):
    cache, pipeline = cached(tmp_path / "c.zarr", run_task(write_people(tmp_path / "film", "AAAA"), config=SPLIT))
    assert cache.ids == ["film"]
    assert pipeline.parted == []


def test_frames_that_are_missing_are_those_at_the_end(folder, tmp_path):
    said, line, source, config = run_task(folder, config=SPLIT)
    short = dataclasses.replace(said, missing=4)
    cache, _ = cached(tmp_path / "c.zarr", (short, line, source, config))
    assert np.asarray(cache.clips.declared).tolist() == [9, 12, 19]


def test_every_face_has_the_rows_of_its_track(tmp_path):
    folder = write_people(tmp_path / "film", "-" * 6 + "A" * 12 + "-" * 6)
    two = detections((10, 8, 42, 40), (60, 20, 80, 40))
    config = ExtractConfig(size=SIDE, face="all", min_face_size=25)
    cache, pipeline = cached(tmp_path / "c.zarr", run_task(folder, two, config=config))
    row = cache.clips.row("film#1")
    assert (cache.ids, row["first_frame"], row["count"], row["tracks"]) == (["film#1"], 6, 12, 2)
    assert cache.clip("film#1").mask.all()
    both = dataclasses.replace(config, min_face_size=0)
    cache, pipeline = cached(tmp_path / "d.zarr", run_task(folder, two, config=both))
    assert (len(cache), pipeline.clips, pipeline.frames) == (2, 2, 24)  # frames count once
    assert cache.clips.row("film#1")["identity_changes"] == -1


def test_caches_of_earlier_code_go_on_with_rows_of_all_frames(tmp_path):
    folder = write_people(tmp_path / "film", "-" * 6 + "A" * 12 + "-" * 6)
    asked = ExtractConfig(size=SIDE, face="all")
    earlier = dataclasses.replace(asked, trim=False)
    path = tmp_path / "c.zarr"
    cache, _ = cached(path, run_task(folder, config=earlier))
    assert cache.recipes.frames.tracking == "gap 15, iou 0.3, length 10"
    assert cache.clips.row("film#1")["count"] == 24
    assert as_begun(asked, path).trim is False
    now = tmp_path / "d.zarr"
    cached(now, run_task(folder, config=asked))
    assert as_begun(asked, now).trim is True


@pytest.mark.parametrize(
    ("begun", "asked", "remedy"),
    [
        ({"across_cuts": "split"}, {}, "--across-cuts split"),
        ({}, {"across_cuts": "longest"}, "--across-cuts keep"),
        ({"face": "all", "min_track": 25}, {"face": "all"}, "--min-track 25"),
        ({"face": "all"}, {"face": "all", "min_face_size": 40}, "--min-face-size 0"),
    ],
)
def test_other_choices_are_refused(tmp_path, monkeypatch, begun, asked, remedy):
    monkeypatch.setattr(command, "has_clips", lambda path: True)
    config = ExtractConfig(size=SIDE, **begun)
    CacheWriter.open(tmp_path / "c.zarr", recipes_for(config), labels=[]).close()
    with pytest.raises(RecipeMismatch) as caught:
        expect_as_made(ExtractConfig(size=SIDE, features=("layer3",), **asked), tmp_path / "c.zarr", None)
    assert remedy in caught.value.remedy
    given = " ".join(options_of_frames(recipes_for(config).frames))
    assert (remedy in given) == (remedy.rpartition(" ")[2] not in ("keep", "0"))  # defaults are left out


def test_a_rerun_tells_parts_labels_and_no_moments(folder, tmp_path):
    done = run_task(folder, config=SPLIT)
    with CacheWriter.open(tmp_path / "c.zarr", recipes_for(SPLIT), labels=["sad"]) as writer:
        write_clips(writer, done)
        told = dataclasses.replace(done[2], label="sad", onset=20)
        changes, misplaced = relabel([told], writer, Faces())
    assert len(changes) == 3
    assert misplaced == []
    cache = open_cache(tmp_path / "c.zarr")
    assert [cache.clips.row(clip)["label"] for clip in cache.ids] == ["sad"] * 3
    assert np.asarray(cache.clips.onset).tolist() == [-1] * 3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"detector": "none", "across_cuts": "split"}, "finds none to follow"),
        ({"modality": "flow", "across_cuts": "split"}, "one square"),
        ({"across_cuts": "split", "face": "largest"}, "needs --face main"),
        ({"min_track": 25}, "--min-track 25"),
    ],
)
def test_settings_that_do_not_go_together(settings, message):
    with pytest.raises(UsageError, match=message):
        ExtractConfig(**settings)


@pytest.mark.parametrize("no_face", ["keep", "skip", "fail"])
def test_small_faces_are_not_called_none(tmp_path, no_face):
    """The planted face has 32 pixels."""
    config = ExtractConfig(size=SIDE, face="all", min_face_size=33, no_face=no_face)
    done = run_task(write_people(tmp_path / "film", "A" * 12), config=config)
    with CacheWriter.open(tmp_path / "c.zarr", recipes_for(config), labels=[]) as writer:
        pipeline = write_clips(writer, done)
    assert (pipeline.no_face, pipeline.only_small, pipeline.clips) == ([], ["film"], int(no_face == "keep"))
    told = [failure.error for failure in pipeline.failures]
    assert told == ["all faces are smaller than --min-face-size 33"] * (no_face == "fail")
    found = run_task(write_people(tmp_path / "grey", "-" * 12), config=config)
    with CacheWriter.open(tmp_path / "d.zarr", recipes_for(config), labels=[]) as writer:
        assert (write_clips(writer, found).no_face, found[0].dropped) == (["grey"], 0)


def test_faces_that_do_not_last_are_counted(tmp_path):
    config = ExtractConfig(size=SIDE, face="all")
    done = run_task(write_people(tmp_path / "film", "A" * 12 + "B" * 6 + "C" * 12), config=config)
    with CacheWriter.open(tmp_path / "c.zarr", recipes_for(config), labels=[]) as writer:
        pipeline = write_clips(writer, done)
    assert (dict(pipeline.dropped), pipeline.only_small, pipeline.clips) == ({"film": 1}, [], 2)


def test_the_report_says_what_to_do():
    counts = dict.fromkeys(("clips", "frames", "unchanged", "removed", "left"), 0)
    lists = {name: [] for name in ("relabelled", "no_face", "incomplete", "failures")}
    report = Report(
        **counts, **lists, interrupted=False, seconds=1.0, running=1.0, stages={},
        changed=["a"], parted=["b", "c"], left_out={"d": 7, "e": 5}, crowded=["f"],
        dropped={"g": 2, "h": 1}, only_small=["h"], min_face_size=40, min_track=10,
    )  # fmt: skip
    text = "\n".join(report.lines())
    assert "1 clip shows another person from some cut on" in text
    assert "--across-cuts longest" in text
    assert "2 clips show several people in turn" in text
    assert "12 in all: d, e" in text
    assert "1 clip shows only faces that are smaller than --min-face-size 40: h" in text
    assert (
        "1 clip has faces that are smaller than --min-face-size 40 or shorter than --min-track 10, and gave no clips, 2 in all: g"
        in text
    )
    assert "more than 256 faces in a frame" in text
