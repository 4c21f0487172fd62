"""Before the first frame: what is refused without loading anything, how long clips are, and an estimate that holds."""

from __future__ import annotations

import os
import re
import shutil
import signal
from collections import namedtuple
from dataclasses import replace

import cv2
import numpy as np
import pytest
from video_samples import make_video

from est.cache import CacheWriter, Failure, Watch, open_cache
from est.cache.stores.lock import WriterLock
from est.cache.stores.manifest import Extraction
from est.errors import CacheError, CacheLocked, EstError, UsageError
from est.extract.config import ExtractConfig
from est.extract.extraction import extract_videos
from est.extract.planning import estimate, preparation
from est.extract.planning.estimate import Estimate, plan_extraction, told_seconds
from est.extract.planning.lengths import frames_of
from est.extract.planning.output import expect_out, expect_room, told_bytes
from est.extract.planning.trial import Trial
from est.extract.workers import device_worker
from est.inputs.input import Input, find_inputs

CROPS = ExtractConfig(weights="random", size=32, detector="none", precision="fp32", workers=1)
Usage = namedtuple("Usage", "total used free")


def draw(folder, count, side=64):
    folder.mkdir(parents=True)
    for number in range(count):
        cv2.imwrite(str(folder / f"{number}.png"), np.full((side, side, 3), 20 * number, np.uint8))


@pytest.fixture
def clips(tmp_path):
    """Three folders of frames."""
    for name, count in (("a", 4), ("b", 6), ("c", 5)):
        draw(tmp_path / "in" / name, count)
    return find_inputs([tmp_path / "in"])


@pytest.fixture
def unloaded(monkeypatch):
    """Nothing is to be loaded."""

    def load(*_, **__):
        raise AssertionError("weights were loaded")

    monkeypatch.setattr(preparation, "load_weights", load)


@pytest.mark.parametrize(
    ("name", "error", "message", "remedy"),
    [
        ("c", UsageError, r"named \.zarr, \.h5 or \.hdf5, found 'c'", r"c\.zarr"),
        ("c.npz", UsageError, r"found 'c\.npz'", r"c\.zarr"),
        ("no/c.zarr", UsageError, r"The folder .*no does not exist", r"mkdir -p"),
        ("file/c.zarr", UsageError, r"Expected a folder for --out .*file is a file", r"--out in an existing folder"),
        ("file.zarr", UsageError, r"is a file; a \.zarr cache is a directory", r"rename it"),
        ("other.zarr", UsageError, r"is not a cache", r"est extract"),
    ],
)
def test_a_cache_that_cannot_be_is_refused_before_weights_are_loaded(
    clips, tmp_path, unloaded, name, error, message, remedy
):
    for file in ("file", "file.zarr"):
        (tmp_path / file).write_text("text")
    (tmp_path / "other.zarr").mkdir()
    for act in (
        lambda: extract_videos(clips, tmp_path / name, CROPS),
        lambda: plan_extraction(clips, tmp_path / name, CROPS),
    ):
        with pytest.raises(error, match=message) as refused:
            act()
        assert re.search(remedy, refused.value.remedy)


def test_a_folder_without_the_right_to_write_and_one_that_is_written_are_refused(tmp_path, monkeypatch):
    lock = WriterLock(tmp_path / "c.zarr")
    lock.acquire()
    with pytest.raises(CacheLocked, match=f"is being written by process {os.getpid()}"):
        expect_out(tmp_path / "c.zarr")
    lock.release()
    expect_out(tmp_path / "c.zarr")
    expect_out(tmp_path / "c.h5")
    monkeypatch.setattr(os, "access", lambda place, mode: place != tmp_path)
    with pytest.raises(CacheError, match=r"c\.zarr cannot be written: this user has no permission") as refused:
        expect_out(tmp_path / "c.zarr")
    assert "--out in another folder" in refused.value.remedy


@pytest.mark.parametrize(
    ("changes", "message", "remedy"),
    [
        ({"detector": "retinafaec"}, "A detector is retinaface, insightface:PACK or none; found 'retinafaec'", "--detector retinaface"),
        ({"score_threshold": 1.0, "detector": "retinaface"}, "between 0 and 1; found 1.0", "--score-threshold 0.8"),
        ({"features": ("gap", "layer5")}, "--features names gap, .*or cls of an encoder; found 'layer5'", "--features gap,layer"),
        ({"features": ("Gap",)}, "found 'Gap'", "--features gap"),
        ({"features": ("cls",)}, "ResNet-18 has no class token", "--features gap"),
        ({"device": "gpu"}, "device", None),
        ({"engine": "onnxruntime", "precision": "bf16"}, "onnxruntime", None),
    ],
)  # fmt: skip
def test_settings_that_nothing_can_meet_are_refused_before_weights_are_loaded(
    clips, tmp_path, unloaded, changes, message, remedy
):
    config = replace(CROPS, **changes)
    for act in (extract_videos, plan_extraction):
        with pytest.raises(EstError, match=message) as refused:
            act(clips, tmp_path / "c.zarr", config)
        assert remedy is None or remedy in refused.value.remedy
    assert not (tmp_path / "c.zarr").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"decoder": "decord"}, "--decoder is auto, opencv or pyav, found 'decord'"),
        ({"size": 8}, "--size goes from 32"),
    ],
)
def test_settings_out_of_range_are_refused_by_the_configuration(changes, message):
    with pytest.raises(UsageError, match=message):
        replace(CROPS, **changes)


def test_a_pack_that_is_not_here_is_refused_before_weights_are_loaded(clips, tmp_path, unloaded, monkeypatch):
    pytest.importorskip("insightface")
    monkeypatch.setattr("est.extract.faces.detect.pack.DEFAULT_ROOT", tmp_path / "insightface")
    for folder in (tmp_path, None):  # the second: where insightface keeps its own
        with pytest.raises(EstError, match="Detector pack buffalo_l: expected the folder"):
            extract_videos(
                clips, tmp_path / "c.zarr", replace(CROPS, detector="insightface:buffalo_l", models_dir=folder)
            )


def test_a_disk_that_is_too_small_is_refused_before_a_cache_is_made(clips, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda place: Usage(100_000, 99_000, 1000))
    with pytest.raises(CacheError, match=r"c\.zarr will need at least 6\.\d MB, and 1\.0 kB are free") as refused:
        extract_videos(clips, tmp_path / "c.zarr", CROPS)
    assert "--out on a larger disk" in refused.value.remedy
    assert not (tmp_path / "c.zarr").exists()
    monkeypatch.setattr(shutil, "disk_usage", lambda place: Usage(10**9, 0, 10**9))
    expect_room(tmp_path / "c.zarr", 10**9)
    with pytest.raises(CacheError, match=r"will need about 1\.1 GB, and 1\.0 GB are free"):
        expect_room(tmp_path / "c.zarr", 1_100_000_000)


def test_an_estimate_is_of_what_an_extraction_does(clips, tmp_path, monkeypatch):
    out = tmp_path / "c.zarr"
    planned = plan_extraction(clips, out, replace(CROPS, crops=True))
    assert not out.exists()
    assert (planned.inputs, planned.there, planned.frames, planned.failures) == (3, 0, 5.0, ())
    assert planned.rate > 0
    assert planned.seconds == pytest.approx(15 / planned.rate)
    assert planned.memory > 50e6
    text = "\n".join(planned.lines())
    assert f"3 clips x 5 frames at {planned.rate:.3g} frames/s: about " in text
    assert "on this processor" in text
    extract_videos(clips, out, replace(CROPS, crops=True))
    written = sum(file.stat().st_size for file in out.rglob("*") if file.is_file())
    assert 0.5 < planned.num_bytes / written < 2
    draw(tmp_path / "in" / "d", 7)
    monkeypatch.setattr(estimate, "try_clips", lambda inputs, *_, **__: planned.trial)
    more = plan_extraction(find_inputs([tmp_path / "in"]), out, replace(CROPS, crops=True))
    assert (more.inputs, more.there, more.frames) == (1, 3, 7.0)
    assert "3 inputs are in the cache already, or on record as failed" in more.lines()
    again = plan_extraction(clips, out, replace(CROPS, crops=True, features=("gap", "layer1")))
    assert again.lines()[-1] == "nothing is left to extract"
    assert again.adding == ("layer1",)


def test_a_dry_run_refuses_to_continue_what_an_extraction_does_not(clips, tmp_path, monkeypatch):
    """Other bytes of weights, another environment, features that are left out, and crops that cannot be cut again."""
    out = tmp_path / "c.zarr"
    extract_videos(clips, out, CROPS)
    other = replace(preparation.load_weights("random"), digest="5" * 32)
    current = device_worker.current_environment
    plain = replace(CROPS, weights="file.safetensors")

    def refusals(config, message):
        for act in (plan_extraction, extract_videos):
            with pytest.raises(EstError, match=message):
                act(clips, out, config)

    with monkeypatch.context() as patched:
        patched.setattr(preparation, "load_weights", lambda *_, **__: other)
        refusals(plain, "weights_digest")
    with monkeypatch.context() as patched:
        patched.setattr(
            device_worker, "current_environment", lambda *names, **more: current(*names, **more, python="2")
        )
        refusals(replace(CROPS, strict=True), "was started in another environment: python")
    refusals(replace(CROPS, features=("layer1",)), "also has the features gap")
    (tmp_path / "in" / "a" / "0.png").unlink()
    refusals(replace(CROPS, features=("gap", "layer1")), "The crops of 1 clip of .* cannot be cut again")
    assert list(open_cache(out).features) == ["gap"]


def test_where_no_clip_of_a_trial_can_be_read_there_is_no_estimate(tmp_path):
    failures = tuple(Failure(id=name, path="", stage="decode", error="no video") for name in "ab")
    nothing = {"rows": 0, "crop_bytes": 0, "rate": 0.0, "declared": (), "own_bytes": 0, "worker_bytes": 0}
    trial = Trial(clips=0, frames=0, failures=failures, **nothing)
    planned = Estimate(inputs=2, there=0, device="cpu", frames=0, rate=0, num_bytes=0, memory=0, trial=trial)
    assert planned.seconds is None
    assert planned.lines() == ["no estimate: none of the first 2 clips can be read"]


def test_lengths_are_read_without_decoding(tmp_path):
    make_video(tmp_path / "v.mp4", 10)
    draw(tmp_path / "frames", 3)
    (tmp_path / "x.avi").write_bytes(b"RIFF")
    video = Input(id="v", path=tmp_path / "v.mp4", kind="video")
    assert frames_of(video) == 10
    assert frames_of(replace(video, start=0.2)) < 10
    assert frames_of(Input(id="f", path=tmp_path / "frames", kind="frames")) == 3
    assert frames_of(Input(id="x", path=tmp_path / "x.avi", kind="video")) is None
    assert frames_of(Input(id="y", path=tmp_path / "gone.mp4", kind="video")) is None


def test_numbers_are_said_as_people_say_them():
    assert [told_bytes(n) for n in (512, 5_100, 51_000, 5_100_000_000, 2e12)] == [
        "512 bytes",
        "5.1 kB",
        "51 kB",
        "5.1 GB",
        "2.0 TB",
    ]
    assert [told_seconds(n) for n in (0.2, 40, 600, 250_000, 1e6)] == [
        "1 second",
        "40 seconds",
        "10 minutes",
        "69 hours",
        "12 days",
    ]
    large = Estimate(
        inputs=50_000, there=0, device="cpu", frames=100, rate=20, num_bytes=5_100_000_000, memory=2_000_000_000
    )
    assert large.lines()[0] == "50,000 clips x 100 frames at 20 frames/s: about 69 hours on this processor, 5.1 GB"
    assert not any("--workers" in line for line in replace(large, installed=2_000_000_000).lines())
    small = replace(large, installed=1_000_000_000).lines()
    assert small[1:] == ["about 2.0 GB of memory", "this machine has 1.0 GB of memory: fewer --workers need less"]


def test_the_memory_of_this_machine_is_known_where_the_system_tells(monkeypatch):
    monkeypatch.setattr(estimate.os, "sysconf", {"SC_PHYS_PAGES": 1000, "SC_PAGE_SIZE": 4096}.__getitem__)
    monkeypatch.setattr(estimate.os, "sysconf_names", {"SC_PHYS_PAGES": 85})
    assert estimate._installed_memory() == 4_096_000
    monkeypatch.setattr(estimate.os, "sysconf_names", {})
    assert estimate._installed_memory() is None


@pytest.mark.parametrize("store", [".zarr", ".h5"])
def test_a_run_in_which_nothing_succeeded_leaves_no_cache(tmp_path, store):
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    found, out = find_inputs([tmp_path / "broken.mp4"]), tmp_path / f"c{store}"
    for _ in range(2):
        report = extract_videos(found, out, CROPS)
        assert ([failure.id for failure in report.failures], report.kept) == (["broken"], False)
        assert [file.name for file in tmp_path.iterdir()] == ["broken.mp4"]


class Stopping(Watch):
    """Stops as Ctrl-C does when the first clip is done."""

    def progress(self, progress):
        if progress.done:
            signal.raise_signal(signal.SIGINT)


def test_a_cache_knows_what_an_extraction_has_left(clips, tmp_path, monkeypatch):
    out = tmp_path / "c.zarr"
    monkeypatch.setattr("est.extract.workers.pipeline.PROGRESS_SECONDS", 0.0)
    report = extract_videos(clips, out, CROPS, watch=Stopping())
    cache = open_cache(out)
    assert (report.interrupted, report.kept) == (True, True)
    assert cache.extraction == Extraction(inputs=3, left=3 - len(cache))
    extract_videos(clips, out, CROPS)
    assert open_cache(out).extraction.left == 0
    with CacheWriter.open(out) as writer:  # as a run with more inputs that was killed leaves it
        writer.begin(Extraction(inputs=9, left=6))
    extract_videos(clips, out, CROPS)
    assert open_cache(out).extraction == Extraction(inputs=3, left=0)
