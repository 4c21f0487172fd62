"""`est extract --dataset`: from a tree on the disk to the labels, folds, subjects and failures of a cache."""

from __future__ import annotations

import json
import shutil

import pytest
from dataset_trees import MAKERS, dfew_label, dfew_list, fold_of, make_afew, make_cremad, make_dfew, text, video

from est.cache import open_cache
from est.extract.planning import estimate
from est.inputs.published import DATASETS, dfew

QUICK = ("--weights", "random", "--size", "32", "--precision", "fp32", "--workers", "1")


@pytest.fixture
def untried(monkeypatch):
    """A dry run tries the first clips, and those of most trees here are no videos."""
    nothing = estimate.Estimate(inputs=0, there=0, device="cpu", frames=0, rate=0, num_bytes=0, memory=0)
    monkeypatch.setattr(estimate, "plan_extraction", lambda *_, **__: nothing)


def result(out):
    """Return the last event of a run with --json."""
    return json.loads(out.splitlines()[-1])


def test_the_data_sets_are_listed(est):
    status, out, _ = est("extract", "--list-datasets")
    assert status == 0
    for dataset in DATASETS:
        assert f"{dataset.name}\t{dataset.title}" in out
        assert dataset.protocol in out
        assert all(layout in out for layout in dataset.layouts)
        assert dataset.licence in out
    status, out, _ = est("extract", "--list-datasets", "--json")
    listed = {one["name"]: one for one in result(out)["datasets"]}
    assert listed["dfew"]["labels"] == list(dfew.LABELS)
    assert listed["afew"]["published"]["split val"] == [383, 381, 352]


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.usefixtures("untried")
def test_a_dry_run_shows_counts_beside_the_published_ones(name, est, tmp_path):
    root = MAKERS[name](tmp_path)
    status, out, _ = est("extract", "--dataset", name, "--root", root, "--dry-run")
    assert status == 0
    assert "published" in out.splitlines()[1]
    assert "← not as published" in out
    assert "protocol: " in out
    status, out, _ = est("extract", "--dataset", name, "--root", root, "--dry-run", "--json")
    data = result(out)
    total = next(row for row in data["dataset"]["counts"] if row["name"] == "clips")
    assert total["listed"] == total["present"] == len(data["inputs"])
    assert {"split", "fold", "subject", "label"} <= data["inputs"][0].keys()
    crops = [json.loads(line) for line in out.splitlines() if "face crops" in line]
    assert bool(crops) == (name in ("dfew", "afew", "ferv39k", "mafw"))


def test_a_cache_carries_labels_folds_and_failures(est, tmp_path):
    root, cache = make_dfew(tmp_path / "DFEW"), tmp_path / "dfew.zarr"
    shutil.rmtree(root / "Clip/clip_224x224/00003")
    (root / "Clip/clip_224x224/00009/001.jpg").write_bytes(b"no picture")
    command = ("extract", "--dataset", "dfew", "--root", root, "--out", cache, *QUICK)
    status, out, err = est(*command)
    assert status == 3
    assert "dfew: the frames are face crops, so --detector none is used" in err
    assert "Warning: 1 of 35 listed clips are not on the disk" in err
    opened = open_cache(cache)
    assert opened.recipes.frames.detector == "none"
    assert opened.labels == dfew.LABELS
    table = {
        clip_id: (label, fold)
        for clip_id, label, fold in zip(opened.ids, opened.clips.label_names, opened.clips.fold, strict=True)
    }
    assert table == {f"{n:05}": (dfew_label(n), fold_of(n)) for n in range(1, 36) if n not in (3, 9)}
    gone, broken = sorted(opened.failures, key=lambda failure: failure.id)
    assert (gone.id, gone.label, gone.fold, gone.stage) == ("00003", dfew_label(3), fold_of(3), "input")
    assert (broken.id, broken.label, broken.fold) == ("00009", dfew_label(9), fold_of(9))
    recorded = opened.environment["dataset"]
    assert (recorded["name"], recorded["listed"]["fold 1, tested"], recorded["findings"]["folds"]) == ("dfew", 7, 35)

    # The same command goes on: what is there now is extracted, and a corrected list is taken over.
    shutil.copytree(root / "Clip/clip_224x224/00004", root / "Clip/clip_224x224/00003")
    for fold in range(1, 6):
        for half in ("train", "test"):
            path = dfew_list(root, half, fold)
            text(path, [line.replace("00001,1", "00001,7") for line in path.read_text().split("\n")])
    status, out, err = est(*command, "--strict")
    assert status == 3
    assert "another environment" not in err
    assert "relabelled 00001: label" in out
    opened = open_cache(cache)
    assert len(opened) == 34
    assert opened.clips.label_names[list(opened.ids).index("00001")] == "Fear"
    assert [failure.id for failure in opened.failures] == ["00009"]


def test_broken_videos_of_cremad_are_failures_with_their_subject(est, tmp_path):
    root, cache = make_cremad(tmp_path / "CREMA-D"), tmp_path / "cremad.h5"
    videos = sorted((root / "VideoFlash").iterdir())
    for path in videos[3:]:
        path.unlink()
    video(videos[2], b"FLV\x01\x05" + bytes(2000))
    video(videos[1], b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    status, _, _ = est("extract", "--dataset", "crema-d", "--root", root, "--out", cache, "--detector", "none", *QUICK)
    assert status == 3
    opened = open_cache(cache)
    assert [*opened.ids] == ["1001_DFA_ANG_XX"]
    assert [*opened.clips.subject] == ["1001"]
    pointer, broken = sorted(opened.failures, key=lambda failure: failure.id)
    assert (pointer.label, pointer.subject, pointer.stage) == ("disgust", "1001", "input")
    assert (broken.label, broken.subject) == ("fear", "1001")
    assert broken.stage != "input"  # it looks like a video; the decoder found out


@pytest.mark.usefixtures("untried")
def test_a_detector_that_is_asked_for_is_taken(est, tmp_path):
    root = make_afew(tmp_path)
    _, _, err = est("extract", "--dataset", "afew", "--root", root, "--dry-run", "--detector", "retinaface")
    assert "face crops" not in err
    _, _, err = est("extract", "--dataset", "afew", "--root", root, "--dry-run", "--videos")
    assert "face crops" not in err
    status, _, err = est("extract", "--dataset", "afew", "--root", root, "--dry-run", "--align", "5point")
    assert status == 2
    assert "--align 5point needs landmarks" in err


@pytest.mark.usefixtures("untried")
def test_generic_lists_are_inputs(est, tmp_path):
    (tmp_path / "clips").mkdir()
    for name in "abcd":
        (tmp_path / "clips" / f"{name}.mp4").write_bytes(b"x" * 2000)
    for half, names in (("train", "abc"), ("test", "d")):
        text(tmp_path / f"{half}.txt", [f"{name}.mp4 {'abcd'.index(name) % 2}" for name in names])
    lists = (tmp_path / "train.txt", tmp_path / "test.txt")
    status, out, _ = est(
        "extract",
        *lists,
        "--dataset",
        "path-label",
        "--root",
        tmp_path / "clips",
        "--label-names",
        "sad,happy",
        "--dry-run",
        "--json",
    )
    assert status == 0
    data = result(out)
    assert {(i["id"], i["label"], i["split"]) for i in data["inputs"]} == {
        ("a", "sad", "train"), ("b", "happy", "train"), ("c", "sad", "train"), ("d", "happy", "test"),
    }  # fmt: skip
    text(tmp_path / "clips/list.csv", ["path,label", "a.mp4,sad"])
    status, out, _ = est("extract", tmp_path / "clips/list.csv", "--dataset", "csv", "--dry-run", "--json")
    assert [i["id"] for i in result(out)["inputs"]] == ["a"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("extract", "No videos are given: INPUT names"),
        ("extract --out x.zarr", "No videos are given: INPUT names"),
        ("extract x --root DIR", "--root needs --dataset"),
        ("extract x --videos", "--frames/--videos needs --dataset"),
        ("extract x --label-names a,b", "--label-names needs --dataset"),
        ("extract --dataset dfew", "No folder of DFEW is given: --root names it"),
        ("extract --dataset dfwe --root .", "No data set 'dfwe'"),
        ("extract --dataset dfew --root . --labels folders", "DFEW has its own labels"),
        ("extract --dataset dfew --root . --subjects folders", "DFEW has its own subjects"),
        ("extract list.txt --dataset dfew --root .", "finds its own lists"),
        ("extract --dataset ravdess --root . --frames", "it has no frames"),
        ("extract --dataset path-label --root .", "takes the lists as INPUT"),
    ],
)
def test_lines_that_make_no_sense_are_refused(line, message, est):
    status, out, err = est(*line.split())
    assert (status, out) == (2, "")
    assert message in err
    assert "\n  try: " in err
