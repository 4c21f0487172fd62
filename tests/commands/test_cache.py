"""`est cache` and `est extract` on the command line: what they print, and how they end."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from est.cache import open_cache
from est.cli import main
from est.commands.caches.infopage import size


@pytest.fixture
def est(capsys):
    """Run `est` in this process; return its status, its JSON result or text, and stderr."""

    def run(*arguments) -> tuple[int, object, str]:
        with pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        if "--json" in arguments:
            events = [json.loads(line) for line in out.splitlines()]
            return stop.value.code, events[-1], err
        return stop.value.code, out, err

    return run


@pytest.fixture
def cache(cache_path, make_cache):
    make_cache(cache_path, range(5), crops=True)
    return cache_path


def test_info_is_a_page_and_json(est, cache):
    status, text, _ = est("cache", "info", cache)
    assert status == 0
    opened = open_cache(cache)
    assert f"clips       {len(opened)}" in text
    for label in opened.labels:
        assert label in text
    assert opened.recipes.frames.fingerprint in text
    status, data, _ = est("cache", "info", cache, "--json")
    assert (status, data["clips"], data["frames"]) == (0, len(opened), int(opened.clips.count.sum()))
    assert data["bytes"] == sum(data["array_bytes"].values())
    files = [cache] if cache.is_file() else [path for path in cache.rglob("*") if path.is_file()]
    assert data["disk_bytes"] == sum(path.stat().st_size for path in files) != data["bytes"]
    assert f"size        {size(data['disk_bytes'])} on disk; arrays {size(data['bytes'])}\n" in text


def test_ls_lists_clips_failures_and_caches(est, cache):
    opened = open_cache(cache)
    status, text, _ = est("cache", "ls", cache)
    assert (status, [line.split("\t")[0] for line in text.splitlines()]) == (0, opened.ids)
    label = next(name for name in opened.clips.label_names if name is not None)
    _, data, _ = est("cache", "ls", cache, "--label", label, "--json")
    assert {row["label"] for row in data["clips"]} == {label}
    assert est("cache", "ls", cache, "--label", "nonsense")[0] == 2
    assert est("cache", "ls", cache, "--failures")[0] == 0
    _, data, _ = est("cache", "ls", cache.parent, "--json")
    assert data["caches"] == [str(cache)]


def test_verify_names_damage_and_repairs_it(est, cache):
    assert est("cache", "verify", cache)[0] == 0
    opened = open_cache(cache)
    rows = opened.load().rows
    victim = next(index for index in range(len(opened)) if opened.clip(index).mask.any())
    needle = rows[opened.clips.start[victim] :][opened.clip(victim).mask.argmax()].tobytes()
    files = [cache] if cache.is_file() else sorted((cache / "frames" / "gap").glob("c.*"))
    for file in files:
        data = file.read_bytes()
        if needle in data:
            place = data.index(needle)
            file.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
            break
    status, text, _ = est("cache", "verify", cache)
    assert status == 1
    assert opened.ids[victim] in text
    assert "--repair" in text
    assert est("cache", "verify", cache, "--repair")[0] == 0
    assert est("cache", "verify", cache)[0] == 0
    assert opened.ids[victim] not in open_cache(cache).ids


def test_merge_convert_and_drop(est, cache, make_cache, tmp_path, store):
    other, merged, small = tmp_path / f"other{store}", tmp_path / f"merged{store}", tmp_path / f"small{store}"
    make_cache(other, range(5, 8), crops=True)
    status, data, _ = est("cache", "merge", cache, other, "--out", merged, "--json")
    assert (status, data["clips"]) == (0, 8)
    assert est("cache", "merge", cache, cache, "--out", tmp_path / f"twice{store}")[0] == 1
    assert est("cache", "merge", cache, other, "--out", merged)[0] == 2
    ids = open_cache(merged).ids
    status, data, _ = est("cache", "drop", merged, ids[0], "--json")
    assert (status, data["removed"], data["clips"]) == (0, 1, 7)
    assert est("cache", "drop", merged, ids[0])[0] == 2
    assert est("cache", "drop", merged)[0] == 2
    status, data, _ = est("cache", "convert", merged, small, "--no-crops", "--dtype", "float32", "--json")
    assert (status, data["clips"]) == (0, 7)
    assert not open_cache(small).has_crops
    assert open_cache(small).load().rows.dtype == np.float32
    assert est("cache", "convert", merged, small)[0] == 2
    assert est("cache", "convert", merged, tmp_path / f"x{store}", "--dtype", "int8")[0] == 2


def test_extract_on_the_line(est, tmp_path):
    folder = tmp_path / "clips" / "fear" / "one"
    folder.mkdir(parents=True)
    for number in range(3):
        cv2.imwrite(str(folder / f"{number}.png"), np.full((64, 64, 3), 40 * number, np.uint8))
    (tmp_path / "clips" / "broken.mp4").write_text("no video")
    out = tmp_path / "cache.zarr"
    options = ("--weights", "random", "--size", "64", "--detector", "none", "--labels", "folders", "--json")
    status, data, _ = est("extract", tmp_path / "clips", "--dry-run", "--out", out, *options)
    assert status == 3
    assert {row["id"]: row["label"] for row in data["inputs"]}["fear/one"] == "fear"
    assert [row["id"] for row in data["problems"]] == ["broken"]
    assert (data["estimate"]["clips"], data["estimate"]["frames_per_clip"]) == (2, 3)
    assert not out.exists()
    status, data, _ = est("extract", tmp_path / "clips", "--out", out, *options)
    assert status == 3
    assert (data["clips"], data["frames"], [f["id"] for f in data["failures"]]) == (1, 3, ["broken"])
    assert open_cache(out).clips.label_names == ["fear"]
    status, data, _ = est("extract", tmp_path / "clips" / "fear", "--out", tmp_path / "good.h5", *options)
    assert (status, data["clips"]) == (0, 1)
    assert est("extract", tmp_path / "clips")[0] == 2
    assert est("extract", tmp_path / "nowhere", "--out", out)[0] == 2
    assert est("extract", tmp_path / "clips", "--out", out, *options, "--detect-every", "0")[0] == 2
    assert est("extract", tmp_path / "clips", "--out", tmp_path / "new.zarr", "--weights", "synfce")[0] == 2
    status, error, _ = est("extract", tmp_path / "clips", "--out", out, *options, "--margin", "0.5")
    assert status == 1
    assert "margin" in error["message"]
