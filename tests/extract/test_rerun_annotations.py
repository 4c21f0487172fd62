"""A rerun of `est extract` changes what it is told, and leaves labels, subjects, splits, folds and extra columns that it is not told."""

from __future__ import annotations

import shutil
from dataclasses import replace

import cv2
import numpy as np
import pytest
from watch_samples import Counting

from est.cache import CacheWriter, open_cache, verify_cache
from est.extract.config import ExtractConfig
from est.extract.extraction import extract_videos
from est.inputs.input import find_inputs

CROPS = ExtractConfig(weights="random", size=32, detector="none", precision="fp32", workers=1)
HEADER = "path,label,subject,split,fold,extra:age\n"


def draw(folder, grey=127):
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(2):
        cv2.imwrite(str(folder / f"{number}.png"), np.full((32, 32, 3), grey, np.uint8))


def said(path):
    """Return what a cache says of its clips and failures."""
    cache = open_cache(path)
    rows = [cache.clips.row(place) for place in range(len(cache))]
    found = {row["id"]: (row["label"], row["subject"], row["split"], row["fold"]) for row in rows}
    return found | {one.id: (one.label, one.subject, one.split, one.fold) for one in cache.failures}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A cache of two clips and two failures, made from folders SUBJECT/LABEL/clip, with splits and folds that it was relabelled with."""
    folder = tmp_path_factory.mktemp("made")
    for name in ("s1/happy/a", "s2/sad/b"):
        draw(folder / "in" / name)
    (folder / "in" / "s1" / "sad").mkdir()
    (folder / "in" / "s1" / "sad" / "broken.mp4").write_bytes(b"no video at all")
    (folder / "in" / "s1" / "sad" / "gone.mp4").symlink_to("nowhere")
    out = folder / "c.zarr"
    found = find_inputs([folder / "in"], labels="folders", subjects="folders")
    assert len(extract_videos(found, out, CROPS).failures) == 2
    with CacheWriter.open(out) as writer:
        for clip_id in said(out):
            writer.update(clip_id, split="test", fold=3)
    return folder


@pytest.fixture
def annotated(made, tmp_path):
    """Return a copy of the cache, beside one of its inputs."""
    shutil.copytree(made, tmp_path, symlinks=True, dirs_exist_ok=True)
    return tmp_path / "c.zarr"


def test_what_is_not_told_stays(annotated, tmp_path):
    before = said(annotated)
    assert before["s1/happy/a"] == ("happy", "s1", "test", 3)
    assert before["s1/sad/gone"] == before["s1/sad/broken"] == ("sad", "s1", "test", 3)
    for retry in (False, True):
        report = extract_videos(find_inputs([tmp_path / "in"]), annotated, CROPS, retry_failed=retry)
        assert (report.relabelled, report.clips) == ([], 0)
        assert said(annotated) == before
        assert {one.id: (one.label, one.fold) for one in report.failures} == {
            "s1/sad/broken": ("sad", 3),
            "s1/sad/gone": ("sad", 3),
        }
    report = extract_videos(find_inputs([tmp_path / "in"]), annotated, replace(CROPS, features=("gap", "layer3")))
    assert report.filled == 2
    assert said(annotated) == before, "as docs/extract.md recommends for another feature"
    assert verify_cache(annotated).problems == []


def test_a_changed_source_is_extracted_again_and_keeps_them(annotated, tmp_path):
    before = said(annotated)
    for number in range(2):
        cv2.imwrite(str(tmp_path / "in" / "s1" / "happy" / "a" / f"{number}.png"), np.full((34, 34, 3), 9, np.uint8))
    assert extract_videos(find_inputs([tmp_path / "in"]), annotated, CROPS).clips == 1
    assert said(annotated) == before


def test_what_is_told_and_differs_is_updated(annotated, tmp_path):
    before = said(annotated)
    found = find_inputs([tmp_path / "in"], subjects=r"/([^/]+)/")
    report = extract_videos(found, annotated, CROPS)
    assert sorted(report.relabelled) == [
        "s1/happy/a: subject: s1 → happy",
        "s1/sad/broken: subject: s1 → sad",
        "s1/sad/gone: subject: s1 → sad",
        "s2/sad/b: subject: s2 → sad",
    ]
    assert said(annotated) == {one: (values[0], one.split("/")[1], *values[2:]) for one, values in before.items()}


def test_a_list_without_a_column_leaves_it(tmp_path):
    draw(tmp_path / "a")
    listed, out = tmp_path / "l.csv", tmp_path / "c.zarr"
    header = HEADER.replace("\n", ",extra:light\n")
    listed.write_text(header + "a,happy,s1,test,2,33,bright\n")
    extract_videos(find_inputs([listed]), out, CROPS)
    for text in ("path\na\n", header + "a,,,,-1,,\n"):
        listed.write_text(text)
        assert extract_videos(find_inputs([listed]), out, CROPS).relabelled == []
    listed.write_text(header + "a,,,,-1,,dim\n")  # told of a clip that is extracted again
    draw(tmp_path / "a", grey=9)
    (tmp_path / "a" / "2.png").write_bytes((tmp_path / "a" / "0.png").read_bytes())
    assert extract_videos(find_inputs([listed]), out, CROPS).clips == 1
    assert said(out) == {"a": ("happy", "s1", "test", 2)}
    assert open_cache(out).clips.row("a")["extra"] == {"age": 33, "light": "dim"}


def test_a_long_list_of_changes_is_cut_and_says_so(annotated, tmp_path):
    found = find_inputs([tmp_path / "in"])
    seen = Counting()
    report = extract_videos(replace(found, inputs=found.inputs[:1], problems=()), annotated, CROPS, watch=seen)
    assert seen.seen == [], "no progress of nothing"
    assert "1 input was there already" in report.lines()
    few = replace(report, relabelled=[f"c{number}: fold: 0 → 1" for number in range(20)]).lines()
    many = replace(report, relabelled=[f"c{number}: fold: 0 → 1" for number in range(27)]).lines()
    assert sum(line.startswith("relabelled ") for line in few) == 20
    assert not any(line.startswith("and ") for line in few)
    assert sum(line.startswith("relabelled ") for line in many) == 20
    assert any(line.startswith("27 values changed") for line in many)
    assert any(line.startswith("and 7 more (est cache ls") for line in many)
