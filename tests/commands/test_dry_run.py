"""`est extract --dry-run`: what would be read, what it would take, and what stands in its way, with nothing written."""

from __future__ import annotations

import json
import urllib.error

import cv2
import numpy as np
import pytest
import torch

from est.extract.planning import estimate

QUICK = ("--weights", "random", "--size", "32", "--detector", "none", "--precision", "fp32", "--workers", "1")
BOTH = r"(?P<subject>S\d+)_(?P<label>[a-z]+)"


@pytest.fixture
def clips(tmp_path):
    """Folders of frames, SUBJECT_LABEL."""
    for name in ("S01_happy", "S01_sad", "S02_happy", "odd"):
        (tmp_path / "clips" / name).mkdir(parents=True)
        for number in range(2):
            cv2.imwrite(str(tmp_path / "clips" / name / f"{number}.png"), np.full((48, 48, 3), 90 * number, np.uint8))
    return tmp_path / "clips"


@pytest.fixture
def untried(monkeypatch):
    """The estimate has tests of its own."""
    planned = estimate.Estimate(
        inputs=3, there=0, device="cpu", frames=2.0, rate=4.0, num_bytes=5_100_000, memory=2**30
    )
    monkeypatch.setattr(estimate, "plan_extraction", lambda *_, **__: planned)


@pytest.mark.usefixtures("untried")
def test_a_table_shows_what_is_read_and_what_is_not(est, clips):
    status, out, err = est("extract", clips, "--labels", BOTH, "--dry-run")
    lines = out.splitlines()
    assert status == 2
    assert "finds no label in 1 of 4 clips: odd" in err or "finds no subject in 1 of 4 clips: odd" in err
    assert "S01_happy\tframes\thappy\tS01" in lines
    (label,) = [line for line in lines if line.startswith("label ")]
    assert label.split()[:6] == ["label", "--labels", f"'{BOTH}'", "2", "3", "of"]
    assert label.endswith("  happy 2 (S01_happy), sad 1 (S01_sad)")
    assert "no subject in 1 clip: odd" in lines
    assert not any("frames/s" in line for line in lines), "what is refused is not tried"


@pytest.mark.usefixtures("untried")
def test_machines_are_told_the_same(est, clips):
    (clips / "odd").rename(clips / "S03_calm")
    status, out, _ = est("extract", clips, "--subjects", BOTH, "--dry-run", "--json")
    data = json.loads(out.splitlines()[-1])
    assert status == 0
    assert {row["name"]: [one["value"] for one in row["values"]] for row in data["read"]} == {
        "label": ["happy", "calm", "sad"],
        "subject": ["S01", "S02", "S03"],
    }
    assert data["read"][0]["values"][0] == {"value": "happy", "clips": 2, "first": "S01_happy"}
    assert (data["estimate"]["seconds"], data["estimate"]["bytes"]) == (1.5, 5_100_000)
    status, out, _ = est("extract", clips, "--dry-run")
    assert "3 clips x 2 frames at 4 frames/s: about 2 seconds on this processor, 5.1 MB" in out.splitlines()


@pytest.mark.usefixtures("untried")
def test_a_listed_file_that_cannot_be_read_is_status_3_as_in_the_extraction(est, clips):
    (clips / "list.csv").write_text("path\nS01_happy\ngone.mp4\n")
    status, out, _ = est("extract", clips / "list.csv", "--dry-run")
    assert status == 3
    assert "1 input: 0 videos, 1 frame folder, 1 problem" in out.splitlines()


@pytest.mark.usefixtures("untried")
def test_of_many_inputs_the_first_are_named(est, tmp_path):
    for number in range(25):
        (tmp_path / f"{number}.mp4").write_bytes(b"\x47 some bytes")
    _, out, _ = est("extract", tmp_path, "--dry-run")
    assert [line for line in out.splitlines() if "video\t" in line][-1].startswith("19\t")
    assert "and 5 more (--json has them all)" in out.splitlines()


def test_it_really_tries_the_clips_and_writes_nothing(est, clips, tmp_path):
    (clips / "broken.mp4").write_bytes(b"no video at all")
    before = sorted(tmp_path.rglob("*"))
    status, out, err = est("extract", clips, *QUICK, "--out", tmp_path / "c.zarr", "--dry-run")
    assert status == 3
    assert "trying the first clips for about 2 s" in err
    assert [line for line in out.splitlines() if line.startswith("will fail: broken: ")]
    assert [line for line in out.splitlines() if line.startswith("5 clips x 2 frames at ")]
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("line", "status", "message", "remedy"),
    [
        ("--weights random --out c", 2, "A cache is named .zarr, .h5 or .hdf5, found 'c'", "c.zarr"),
        ("--weights random --out no/c.zarr", 2, "does not exist", "mkdir -p"),
        ("--weights nothing.pth", 2, "there is no file 'nothing.pth'", "the path of the file"),
        ("--weights hsemotion", 2, "there is no file 'hsemotion'", "--weights hsemotion:b0"),
        ("--weights random --decoder decord", 2, "--decoder is auto, opencv or pyav, found 'decord'", "--decoder"),
        ("--weights random --detector mtcnn", 2, "A detector is retinaface, insightface:PACK or none", "--detector"),
        ("--weights random --features gapp", 2, "found 'gapp'", "--features gap"),
        ("--weights random --size 20", 2, "--size goes from 32 to 1024, found 20", "--size 224"),
    ],
)
def test_what_an_extraction_would_refuse_is_refused_in_a_dry_run(
    est, clips, tmp_path, monkeypatch, line, status, message, remedy
):
    monkeypatch.chdir(tmp_path)
    for more in (["--dry-run"], [] if "--out" in line else ["--out", "c.zarr"]):
        found, _, err = est("extract", clips, *line.split(), *more)
        assert (found, message in err, remedy in err.partition("try: ")[2]) == (status, True, True), err
    assert [path.name for path in tmp_path.iterdir()] == ["clips"]


def test_weights_that_no_network_brings_are_refused_and_what_was_found_is_shown(est, clips, tmp_path, monkeypatch):
    def download(*_, **__):
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    status, out, err = est("extract", clips, "--dry-run")
    assert status == 1
    assert "4 inputs: 0 videos, 4 frame folders, 0 problems" in out.splitlines()
    assert "The ImageNet weights are not at" in err
    assert "est doctor --fetch downloads them; or --weights FILE" in err


def test_a_run_in_which_nothing_succeeded_says_that_there_is_no_cache(est, tmp_path):
    (tmp_path / "broken.mp4").write_bytes(b"no video at all")
    (tmp_path / "list.csv").write_text("path\nbroken.mp4\n")
    out = tmp_path / "c.zarr"
    status, text, _ = est("extract", tmp_path / "list.csv", *QUICK, "--out", out)
    assert status == 3
    assert text.splitlines()[-1] == f"no cache: nothing was extracted, and none was left at {out}"
    assert not out.exists()
    status, text, _ = est("extract", tmp_path / "broken.mp4", *QUICK, "--out", out, "--json")
    assert (status, json.loads(text.splitlines()[-1])["out"]) == (3, None)
