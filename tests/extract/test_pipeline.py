"""`est extract` as a whole: planted truth, the same bytes whatever happens, and inputs that cannot be extracted."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from watch_samples import Calling

from est.cache import open_cache, verify_cache
from est.cache.schema import FRAME_COLUMNS
from est.cli import main
from est.crops.crop import crop_face
from est.crops.jpeg import decode_crop
from est.demo import RenderSpec, plan_set, render_set
from est.demo.clip import Clip
from est.encoders.encoder import Encoder
from est.encoders.weights import load_weights
from est.errors import EstError, RecipeMismatch, UsageError
from est.extract.config import ExtractConfig
from est.extract.extraction import extract_videos
from est.extract.video.source import open_source
from est.inputs.input import find_inputs

SPEC = RenderSpec(subjects=1, clips_per_subject=3, seed=3, size=(256, 192), fps=25)
QUICK = ExtractConfig(weights="random", size=64, workers=2, precision="fp32")


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    render_set(SPEC, folder, workers=1)
    return folder


@pytest.fixture(scope="module")
def cache_path(videos, tmp_path_factory) -> Path:
    """An undisturbed extraction, with crops, mirrored features and maps."""
    path = tmp_path_factory.mktemp("undisturbed") / "cache.zarr"
    report = extract_videos(find_inputs([videos]), path, full(QUICK))
    assert not report.failures
    assert report.clips == len(plan_set(SPEC))
    return path


def full(config: ExtractConfig, **changes) -> ExtractConfig:
    from dataclasses import replace

    return replace(config, crops=True, flip=True, features=("gap", "layer3", "pyramid4x4"), **changes)


def extract(source, out, config=QUICK, **more):
    return extract_videos(find_inputs([source] if isinstance(source, Path) else source), out, config, **more)


def contents(path: Path) -> dict[str, np.ndarray]:
    """Return every array of a cache."""
    cache = open_cache(path)
    arrays = {name: cache.load(name).rows for name in cache.features}
    arrays |= {name: cache.load_column(name) for name in FRAME_COLUMNS}
    if cache.has_crops:
        arrays["crops"] = cache.crop_rows(0, cache.num_frames)[0]
    return arrays | {name: np.asarray(column) for name, column in cache.clips.columns.items()}


def assert_same(one: Path, two: Path) -> None:
    a, b = contents(one), contents(two)
    assert a.keys() == b.keys()
    for name, array in a.items():
        np.testing.assert_array_equal(array, b[name], err_msg=name)


def test_rows_are_those_of_the_renderer(videos, cache_path):
    cache = open_cache(cache_path)
    plans = {plan.id: plan for plan in plan_set(SPEC)}
    assert set(cache.ids) == set(plans)
    for clip in cache.iterate():
        plan = plans[clip.id]
        row = cache.clips.row(clip.id)
        assert (row["label"], row["subject"], row["split"]) == (plan.label, plan.subject, plan.split)
        assert (row["declared"], row["decoded"], row["fps"]) == (plan.num_frames, plan.num_frames, plan.fps)
        np.testing.assert_allclose(clip.time, np.arange(plan.num_frames) / plan.fps, atol=1e-3)
        studio = Clip(plan)
        truths = [studio.frame(t)[1] for t in range(0, plan.num_frames, 7)]
        seen = [
            (clip.box[t], truth) for t, truth in zip(range(0, plan.num_frames, 7), truths, strict=True) if truth.visible
        ]
        overlaps = [overlap(box, np.array(truth.box)) for box, truth in seen]
        assert np.mean(overlaps) > 0.8
        assert clip.mask.mean() > 0.9


def overlap(one: np.ndarray, two: np.ndarray) -> float:
    low, high = np.maximum(one[:2], two[:2]), np.minimum(one[2:], two[2:])
    common = np.prod(np.clip(high - low, 0, None))
    return float(common / (np.prod(one[2:] - one[:2]) + np.prod(two[2:] - two[:2]) - common))


def test_features_are_those_of_the_stored_pixels(videos, cache_path):
    cache = open_cache(cache_path)
    clip = cache.clip(0)
    crops = cache.crops(0)
    shown = np.flatnonzero(clip.mask)[:20]
    pixels = np.stack([decode_crop(crops[frame]) for frame in shown])[..., ::-1]
    backbone = load_weights("random").backbone
    with torch.inference_mode():
        images = torch.from_numpy(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2).float() / 255
        plain = backbone.taps(images, ("gap", "layer3", "pyramid4x4"))
        mirrored = backbone.taps(images.flip(3), ("gap",))["gap"]
    for name, rows in plain.items():
        np.testing.assert_allclose(
            clip.features[name][shown].astype(np.float32), rows.numpy(), rtol=2e-3, atol=2e-3, err_msg=name
        )
    np.testing.assert_allclose(
        clip.features["gap_flip"][shown].astype(np.float32), mirrored.numpy(), rtol=2e-3, atol=2e-3
    )
    assert np.abs(clip.features["gap_flip"][shown] - clip.features["gap"][shown]).max() > 0.01
    assert not clip.features["gap"][~clip.mask].any()
    with torch.inference_mode():
        black = backbone(torch.zeros(1, 3, 64, 64))[0].numpy()
    np.testing.assert_allclose(cache.black["gap"], black, rtol=2e-3, atol=2e-3)
    assert set(cache.black) == {"gap", "gap_flip"}  # maps are left out


def test_crops_are_cut_from_their_frames(videos, cache_path):
    cache = open_cache(cache_path)
    clip = cache.clip(0)
    with open_source(Path(cache.clips.row(0)["path"]), "video") as video:
        frames = [frame for frame, _ in video.frames()]
    for number in np.flatnonzero(clip.mask)[::9]:
        crop, matrix = crop_face(
            frames[number], clip.box[number], clip.landmarks[number], align="box", margin=0.2, size=64
        )
        stored = decode_crop(cache.crops(0)[number])
        assert np.abs(stored.astype(int) - crop.astype(int)).mean() < 4  # JPEG
        corners = np.array([clip.box[number][:2], clip.box[number][2:]])
        inside = corners @ matrix[:, :2].T + matrix[:, 2]
        assert inside.min() > -1
        assert inside.max() < 65


@pytest.mark.parametrize("change", [{"workers": 3}, pytest.param({"workers": 1}, marks=pytest.mark.slow)])
def test_bytes_do_not_depend_on_the_number_of_workers(change, videos, cache_path, tmp_path):
    extract(videos, tmp_path / "other.h5", full(QUICK, **change))
    assert_same(cache_path, tmp_path / "other.h5")


def test_a_second_run_does_nothing_and_other_settings_are_refused(videos, tmp_path):
    path = tmp_path / "cache.zarr"
    first = extract(videos, path)
    before = contents(path)
    again = extract(videos, path)
    assert (first.clips, again.clips, again.unchanged) == (3, 0, 3)
    with pytest.raises(RecipeMismatch, match="size"):
        extract(videos, path, ExtractConfig(weights="random", size=96))
    assert all(
        np.array_equal(array, contents(path)[name], equal_nan=array.dtype.kind == "f") for name, array in before.items()
    )


def test_changed_sources_are_replaced_and_labels_brought_up_to_date(videos, tmp_path):
    import shutil

    folder = tmp_path / "set"
    shutil.copytree(videos, folder)
    path = tmp_path / "cache.zarr"
    extract(folder, path)
    names = sorted(folder.rglob("*.mp4"))
    shutil.copy(names[1], names[0])
    table = (folder / "manifest.csv").read_text().replace(",s000,", ",anna,")
    (folder / "manifest.csv").write_text(table)
    report = extract(folder, path)
    assert report.clips == 1
    cache = open_cache(path)
    assert set(cache.clips.columns["subject"]) == {"anna"}
    assert len(report.relabelled) == 2
    assert len(cache) == 3
    assert not verify_cache(path).problems


def test_bad_inputs_are_recorded_and_stop_nothing(videos, tmp_path):
    folder = tmp_path / "pile"
    (folder / "frames" / "one").mkdir(parents=True)
    good = next(videos.rglob("*.mp4"))
    (folder / "good 🙂.mp4").write_bytes(good.read_bytes())
    (folder / "empty.mp4").touch()
    (folder / "text.mp4").write_text("this is no video")
    (folder / "cut.mp4").write_bytes(good.read_bytes()[:2000])
    noise = np.random.default_rng(0).integers(0, 255, (5, 120, 160, 3)).astype(np.uint8)
    for number, picture in enumerate(noise):
        cv2.imwrite(str(folder / "frames" / "one" / f"{number}.png"), picture)
    path = tmp_path / "cache.zarr"
    report = extract(folder, path)
    failed = {failure.id: failure.error for failure in report.failures}
    assert set(failed) == {"empty", "text", "cut"}
    assert all(failed.values())
    cache = open_cache(path)
    assert set(cache.ids) == {"good 🙂", "frames/one"}
    assert report.no_face == ["frames/one"]
    assert not cache.clip("frames/one").mask.any()
    assert {failure.id for failure in cache.failures} == set(failed)
    again = extract(folder, path)
    assert (again.clips, len(again.failures)) == (0, 3)
    (folder / "text.mp4").write_bytes(good.read_bytes())  # mended: no flag needed
    assert extract(folder, path).clips == 1
    assert extract(folder, path, retry_failed=True).clips == 0
    assert {failure.id for failure in open_cache(path).failures} == {"empty", "cut"}


@pytest.mark.parametrize(("policy", "failures"), [("skip", 0), ("fail", 1)])
def test_no_face_policies(policy, failures, tmp_path):
    folder = tmp_path / "clip"
    folder.mkdir()
    for number in range(3):
        cv2.imwrite(str(folder / f"{number}.png"), np.full((90, 120, 3), 127, np.uint8))
    config = ExtractConfig(weights="random", size=64, no_face=policy, precision="fp32")
    report = extract(folder, tmp_path / "cache.zarr", config)
    assert (report.clips, len(report.failures), len(report.no_face)) == (0, failures, 1)
    assert [failure.stage for failure in report.failures] == ["no face"] * failures
    assert not (tmp_path / "cache.zarr").exists(), "nothing was extracted"


def test_without_a_detector_the_frame_is_the_face(videos, tmp_path):
    folder = tmp_path / "clip"
    folder.mkdir()
    pictures = np.random.default_rng(0).integers(0, 255, (4, 64, 64, 3)).astype(np.uint8)
    for number, picture in enumerate(pictures):
        cv2.imwrite(str(folder / f"{number}.png"), picture)
    config = ExtractConfig(weights="random", size=64, detector="none", margin=0.0, precision="fp32")
    extract(folder, tmp_path / "cache.zarr", config)
    clip = open_cache(tmp_path / "cache.zarr").clip(0)
    assert clip.state.tolist() == [1] * 4
    encoder = Encoder(load_weights("random").backbone, ("gap",), device=torch.device("cpu"), precision="fp32")
    expected = encoder.encode(np.ascontiguousarray(pictures[..., ::-1]))["gap"]
    np.testing.assert_array_equal(clip.features["gap"], expected.astype(np.float16))


def test_several_faces_become_several_clips(videos, tmp_path):
    with open_source(next(videos.rglob("*.mp4")), "video") as video:
        frames = [frame for frame, _ in video.frames()][:20]
    folder = tmp_path / "pair"
    folder.mkdir()
    for number, frame in enumerate(frames):
        cv2.imwrite(str(folder / f"{number:03d}.png"), np.hstack([frame, frame[:, ::-1]]))
    path = tmp_path / "cache.zarr"
    config = ExtractConfig(weights="random", size=64, face="all", detect_size=0, precision="fp32")
    assert extract(folder, path, config).clips == 2
    cache = open_cache(path)
    assert cache.ids == ["pair#1", "pair#2"]
    centres = [np.nanmean(cache.clip(i).box[:, [0, 2]]) for i in range(2)]
    assert abs(centres[0] - centres[1]) > 150
    assert extract(folder, path, config).unchanged == 1


COMMAND = [sys.executable, "-m", "est", "extract"]
OPTIONS = ["--weights", "random", "--size", "64", "--precision", "fp32", "--json"]


SIGNALS = [
    pytest.param(signal.SIGTERM, id="SIGTERM", marks=pytest.mark.slow),
    pytest.param(signal.SIGKILL, id="SIGKILL"),
    pytest.param(signal.SIGINT, id="SIGINT", marks=pytest.mark.slow),
    pytest.param(signal.SIGUSR1, id="SIGUSR1", marks=pytest.mark.slow),
]


@pytest.mark.parametrize("number", SIGNALS)
def test_a_stopped_run_goes_on(number, videos, cache_path, tmp_path):
    path = tmp_path / "cache.zarr"
    command = [
        *COMMAND,
        str(videos),
        "--out",
        str(path),
        *OPTIONS,
        "--crops",
        "--flip",
        "--features",
        "gap,layer3,pyramid4x4",
    ]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert running.stdout is not None
    for line in running.stdout:  # the first clip is made; whether it is committed, chance decides
        event = json.loads(line)
        if event["event"] == "progress" and event["done"] >= 1:
            break
    running.send_signal(number)
    rest = running.stdout.read()
    code = running.wait(60)
    running.stdout.close()
    if number != signal.SIGKILL and code != 0:  # 0: it was faster than the signal
        assert code == 130
        (result,) = [event for line in rest.splitlines() if (event := json.loads(line))["event"] == "result"]
        assert result["interrupted"]
    with pytest.raises(SystemExit) as done:  # the same command, in this process
        main(command[len(COMMAND) - 1 :])
    assert done.value.code == 0
    assert not verify_cache(path).problems
    assert_same(cache_path, path)


def test_a_worker_that_dies_costs_one_input(videos, tmp_path):
    path = tmp_path / "cache.zarr"
    killed = []

    def kill_once(progress):
        if not killed:
            workers = multiprocessing.active_children()
            if workers:
                killed.append(workers[0])
                os.kill(workers[0].pid, signal.SIGKILL)

    report = extract(videos, path, QUICK, watch=Calling(progress=kill_once))
    assert killed
    assert report.clips + len(report.failures) == 3
    assert all("crashed (SIGKILL)" in failure.error for failure in report.failures)
    assert extract(videos, path, retry_failed=True).clips == len(report.failures)
    assert len(open_cache(path)) == 3


def test_a_worker_that_hangs_is_replaced(tmp_path):
    """A named pipe that nobody writes: opening it blocks in native code."""
    pipe = tmp_path / "pile" / "hangs.mp4"
    pipe.parent.mkdir()
    os.mkfifo(pipe)
    found = find_inputs([pipe.parent])
    start = time.monotonic()
    if found.inputs:
        report = extract_videos(found, tmp_path / "cache.zarr", ExtractConfig(weights="random", size=64, timeout=3))
        assert "made no progress for 3 s" in report.failures[0].error
        assert time.monotonic() - start < 60
    else:
        assert found.problems  # refused before it can hang


def test_wrong_settings_say_what_is_wrong(videos, tmp_path):
    with pytest.raises(UsageError, match="--align 5point needs landmarks"):
        ExtractConfig(align="5point", detector="none")
    with pytest.raises(UsageError, match="--size goes from 32"):
        ExtractConfig(size=2)
    with pytest.raises(UsageError, match="--features names gap"):
        extract(videos, tmp_path / "a.zarr", ExtractConfig(weights="random", features=("gap", "nose")))
    with pytest.raises(UsageError, match="there is no file"):
        extract(videos, tmp_path / "a.zarr", ExtractConfig(weights="nowhere.pth"))
    if not torch.cuda.is_available():
        with pytest.raises(EstError, match="cuda"):
            extract(videos, tmp_path / "a.zarr", ExtractConfig(weights="random", device="cuda"))
    assert not (tmp_path / "a.zarr").exists()
