"""`est cache import` on the command line: OpenFace's tables and folders of windows become caches that train."""

from __future__ import annotations

import json

import numpy as np
import pytest
from import_samples import STEPS, WINDOW, openface, people, windows

from est.cli import main

SMALL = ["--epochs", "1", "--batch", "2", "--folds", "2", "--no-control", "--set", "loop.threads=1", "--device", "cpu"]
TINY = [
    item
    for setting in (
        "num_kinds=2",
        "num_places=8",
        "embed_width=8",
        "mlp_width=8",
        "stem_layers=1",
        "att_heads=2",
        "norm_groups=2",
    )
    for item in ("--set", f"model.{setting}")
]


@pytest.fixture
def est(capsys):
    """Run `est` in this process; return its status, its JSON lines by event, and stderr."""

    def call(*arguments):
        with pytest.raises(SystemExit) as stop:
            main([*map(str, arguments), "--json"])
        out, err = capsys.readouterr()
        events = [json.loads(line) for line in out.splitlines()]
        return stop.value.code, {one["event"]: one for one in events}, err

    return call


def test_openface_tables_become_a_cache_that_trains(est, tmp_path):
    folder = tmp_path / "openface"
    folder.mkdir()
    made = people(
        tmp_path, lambda name, label, seed: len(openface(folder / f"{name}.csv", seed=seed, strength=label)[0])
    )
    call = ["cache", "import", folder, "--by", "OpenFace 2.2", "--columns", "AU*_r", "--list", made]
    status, events, _ = est(*call, "--dry-run")
    assert status == 0
    assert events["result"]["columns"] == ["AU01_r", "AU02_r", "AU12_r"]
    assert events["result"]["roles"]["state"] == "success"
    assert len(events["result"]["clips"]) == 8
    cache = tmp_path / "au.zarr"
    assert not cache.exists()
    assert est(*call, "--out", cache)[1]["result"]["clips"] == 8
    assert est(*call, "--out", cache)[1]["result"]["unchanged"] == 8
    model = ["--model", "gru", "--hidden", "4", "--frames", "9"]
    status, events, _ = est(
        "train", "--cache", cache, *model, *SMALL, "--feature", "features", "--out", tmp_path / "run"
    )
    assert status == 0, events
    status, events, _ = est("train", "--cache", cache, *model, *SMALL, "--out", tmp_path / "other")
    assert (status, events["error"]["remedy"].split(",")[0]) == (2, "--feature features")
    status, events, _ = est("train", "--cache", cache, *model, *SMALL, "--finetune", "all", "--out", tmp_path / "other")
    assert (status, "holds imported features, and no images" in events["error"]["message"]) == (2, True)
    video = tmp_path / "v.mp4"
    video.write_bytes(b"x")
    status, events, _ = est("predict", video, "--run", tmp_path / "run", "--out", tmp_path / "p")
    assert (status, "was imported (by OpenFace 2.2)" in events["error"]["message"]) == (2, True)


def test_folders_of_windows_become_a_cache_that_trains(est, tmp_path):
    made = people(tmp_path, lambda name, label, seed: windows(tmp_path, name, label, 26 + seed, seed))
    sources = [tmp_path / f"w{step}" for step in STEPS]
    kinds = ["--window", WINDOW, "--stride", ",".join(map(str, STEPS)), "--fps", 25]
    cache, run = tmp_path / "w.zarr", tmp_path / "run"
    call = ["cache", "import", *sources, *kinds, "--by", "VideoMAE v2-g", "--feature", "vmae", "--list", made]
    status, events, _ = est(*call, "--out", cache)
    assert (status, events["result"]["clips"]) == (0, 8)
    train = ["train", "--cache", cache, "--model", "window-head", "--feature", "vmae", *TINY, *SMALL]
    assert est(*train, "--out", run)[0] == 0
    status, events, _ = est("evaluate", run)
    assert status == 0
    status, events, _ = est("probe", run)
    assert (status, "reads windows" in events["error"]["message"]) == (2, True)
    status, events, _ = est("train", "--cache", cache, *SMALL, "--out", tmp_path / "x")
    assert (status, "the features vmae of windows" in events["error"]["message"]) == (2, True)
    assert events["error"]["remedy"] == "--model window-head --feature vmae"


@pytest.mark.parametrize(
    ("call", "works"),
    [
        ("cache import a.npy --by me --fps 25", "est.inputs.features.importing.run_import"),
        ("extract a.mp4", "est.extract.extraction.extract_videos"),
    ],
)
def test_who_interrupts_is_told_that_the_same_command_resumes(tmp_path, monkeypatch, capsys, call, works):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    np.save(tmp_path / "a.npy", np.ones((3, 2), np.float32))
    (tmp_path / "a.mp4").write_bytes(b"x")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(works, interrupted)
    with pytest.raises(SystemExit) as stop:
        main([*call.split(), "--out", "c.zarr", "--quiet"])
    assert stop.value.code == 130
    assert capsys.readouterr().err.splitlines()[0] == "stopped; running the same command again resumes"


def test_what_failed_is_named_and_the_status_is_3(est, tmp_path):
    np.save(tmp_path / "a.npy", np.ones((3, 2), np.float32))
    np.save(tmp_path / "b.npy", np.full((3, 2), np.nan, np.float32))
    call = ["cache", "import", tmp_path / "a.npy", tmp_path / "b.npy", "--by", "me", "--fps", 25]
    status, events, _ = est(*call, "--out", tmp_path / "c.zarr")
    assert status == 3
    assert [one["id"] for one in events["result"]["failures"]] == ["b"]
    status, events, _ = est("cache", "info", tmp_path / "c.zarr")
    assert events["result"]["failures"]
    status, events, _ = est(*call, "--out", tmp_path / "c.zarr", "--nan", "zero")
    assert (status, events["error"]["kind"]) == (1, "RecipeMismatch")
    status, events, _ = est(*call)
    assert (status, events["error"]["remedy"]) == (2, "--out cache.zarr")
    status, events, _ = est(*call, "--out", tmp_path / "c.zarr", "--window", "x")
    assert (status, "whole numbers" in events["error"]["message"]) == (2, True)
    status, events, _ = est(*call[:-4], "--out", tmp_path / "d.zarr")
    assert (status, "The tool that made these features is not given" in events["error"]["message"]) == (2, True)
