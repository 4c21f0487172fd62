"""What cannot be extracted is recorded with the label, subject, split and fold that its clip would have, and kept up to date."""

from __future__ import annotations

import os
from dataclasses import replace

import cv2
import numpy as np
import pytest
from extract_samples import face_frames

from est.cache import open_cache, verify_cache
from est.extract.config import ExtractConfig
from est.extract.extraction import extract_videos
from est.inputs.input import find_inputs

CROPS = ExtractConfig(weights="random", size=64, detector="none", precision="fp32", workers=1)
COLUMNS = "path,label,subject,split,fold,start,end\n"


def draw(folder, grey=127, count=2):
    """Make a folder of frames."""
    folder.mkdir(parents=True)
    for number in range(count):
        cv2.imwrite(str(folder / f"{number}.png"), np.full((64, 64, 3), grey, np.uint8))


def known(failures):
    return {failure.id: (failure.label, failure.subject, failure.split, failure.fold) for failure in failures}


@pytest.fixture
def listed(tmp_path):
    """A list of a sound clip, one without a single frame in it, one that is not there, a folder without pictures."""
    draw(tmp_path / "sound")
    (tmp_path / "broken.mp4").write_bytes(b"no video at all")
    (tmp_path / "empty").mkdir()
    (tmp_path / "clips.csv").write_text(
        COLUMNS + "sound,happy,S1,train,1,,\nbroken.mp4,sad,S2,test,2,,\ngone.mp4,awe,S3,val,3,0.5,2\nempty,rage,,,,,\n"
    )
    return tmp_path / "clips.csv"


def test_failures_are_annotated_and_a_rerun_brings_them_up_to_date(listed, tmp_path):
    cache_path = tmp_path / "cache.zarr"
    first = extract_videos(find_inputs([listed]), cache_path, CROPS)
    before = open_cache(cache_path)
    expected = {
        "broken": ("sad", "S2", "test", 2),
        "gone#0.5-2": ("awe", "S3", "val", 3),
        "empty": ("rage", "", "", -1),
    }
    assert known(before.failures) == known(first.failures) == expected
    stages = {failure.id: failure.stage for failure in before.failures}
    assert stages == {"broken": "decode", "gone#0.5-2": "input", "empty": "input"}
    assert before.labels == ("awe", "happy", "rage", "sad")
    assert before.clips.label_names == ["happy"]
    again = extract_videos(find_inputs([listed]), cache_path, CROPS)
    assert again.relabelled == []
    assert open_cache(cache_path).commit_id == before.commit_id  # nothing was written
    assert known(again.failures) == known(before.failures)  # also of those that are not tried again
    text = listed.read_text().replace(",sad,S2,", ",fear,Ü,").replace(",awe,", ",happy,").replace("train,1", "train,4")
    listed.write_text(text)
    report = extract_videos(find_inputs([listed]), cache_path, CROPS)
    assert sorted(report.relabelled) == [
        "broken: label: sad → fear",
        "broken: subject: S2 → Ü",
        "gone#0.5-2: label: awe → happy",
        "sound: fold: 1 → 4",
    ]
    assert report.clips == 0
    cache = open_cache(cache_path)
    expected = {
        "broken": ("fear", "Ü", "test", 2),
        "gone#0.5-2": ("happy", "S3", "val", 3),
        "empty": ("rage", "", "", -1),
    }
    assert known(cache.failures) == known(report.failures) == expected
    counts = cache.snapshot.manifest.commit.counts
    assert counts == before.snapshot.manifest.commit.counts  # rows were changed, none was added
    assert cache.labels == ("awe", "happy", "rage", "sad", "fear")
    assert verify_cache(cache_path).problems == []


def test_what_is_tried_again_takes_the_new_annotations(listed, tmp_path):
    cache_path = tmp_path / "cache.zarr"
    extract_videos(find_inputs([listed]), cache_path, CROPS)
    listed.write_text(listed.read_text().replace(",sad,", ",fear,").replace(",rage,", ",awe,"))
    report = extract_videos(find_inputs([listed]), cache_path, CROPS, retry_failed=True)
    cache = open_cache(cache_path)
    assert known(cache.failures) == known(report.failures)
    assert known(cache.failures)["broken"] == ("fear", "S2", "test", 2)
    assert known(cache.failures)["empty"][0] == "awe"


@pytest.mark.parametrize(("policy", "counted"), [("skip", 0), ("fail", 1)])
def test_clips_without_a_face_are_annotated(policy, counted, tmp_path):
    cache_path = tmp_path / "cache.h5"
    draw(tmp_path / "wall", count=1)
    listed = tmp_path / "clips.csv"
    (tmp_path / "shown").mkdir()
    cv2.imwrite(str(tmp_path / "shown" / "0.png"), face_frames(1)[0])  # a cache without any clip is not kept
    listed.write_text(COLUMNS + "wall,happy,S1,train,0,,\nshown,calm,S2,train,0,,\n")
    config = replace(CROPS, detector="retinaface", no_face=policy)
    report = extract_videos(find_inputs([listed]), cache_path, config)
    assert len(report.failures) == counted
    assert known(open_cache(cache_path).failures) == {"wall": ("happy", "S1", "train", 0)}
    if policy == "fail":
        return
    listed.write_text(listed.read_text().replace("happy", "sad"))
    report = extract_videos(find_inputs([listed]), cache_path, config)
    assert report.relabelled == ["wall: label: happy → sad"]
    assert known(open_cache(cache_path).failures) == {"wall": ("sad", "S1", "train", 0)}


def test_a_mended_input_with_several_faces_is_no_failure(tmp_path):
    cache_path = tmp_path / "cache.zarr"
    draw(tmp_path / "set" / "pair")
    frame = tmp_path / "set" / "pair" / "0.png"
    good = frame.read_bytes()
    frame.write_bytes(b"no picture")
    (tmp_path / "set" / "pair" / "1.png").unlink()
    config = replace(CROPS, face="all")
    found = find_inputs([tmp_path / "set"], labels="folders")
    assert known(extract_videos(found, cache_path, config).failures) == {"pair": ("set", "", "", -1)}
    frame.write_bytes(good)
    assert extract_videos(found, cache_path, config).clips == 1
    cache = open_cache(cache_path)
    assert (cache.ids, cache.failures) == (["pair#1"], [])


def test_folders_give_labels_to_what_lies_in_them(tmp_path, monkeypatch):
    root = tmp_path / "in"
    for name in ("happy/1.mp4", "happy/clip/1.jpg", "happy/unread/1.jpg", "locked/2.mp4"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"\x47 some bytes")
    (root / "happy" / "clip 2").mkdir()
    for name in ("happy/gone.mp4", "sad/gone.mp4"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).symlink_to("nowhere")
    scandir = os.scandir

    def refusing(path):
        if os.path.basename(path) in ("locked", "unread"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    found = find_inputs([root], labels="folders")
    assert {problem.id: problem.label for problem in found.problems} == {
        "happy/gone": "happy",
        "happy/clip 2": "happy",
        "happy/unread": "happy",
        "sad/gone": "sad",
        "locked": None,  # a whole class, for all that is known
    }
    assert {problem.label for problem in find_inputs([root]).problems} == {None}


def test_a_list_goes_before_the_folders(tmp_path):
    (tmp_path / "clips.csv").write_text("path,label\nhappy/1.mp4,sad\nhappy/2.mp4,\nclips.csv,other\n")
    found = find_inputs([tmp_path / "clips.csv"], labels="folders")
    assert {problem.id: problem.label for problem in found.problems} == {"happy/1": "sad", "happy/2": "happy"}
