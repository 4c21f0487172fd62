"""What est cache info, drop and merge say; --json with --quiet; what a file that is no video is told."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from cache_samples import make_clip, sample_recipes

from est.cache import CacheWriter, open_cache
from est.cache.schema import ColumnSpec
from est.cache.stores.manifest import Manifest
from est.cli import main
from est.errors import SourceError
from est.extract.video.signature import PLAY, unreadable
from est.report.cachepage.page import cache_page


@pytest.fixture
def est(capsys):
    """Run `est` in this process; return its status, stdout and stderr."""

    def run(*arguments):
        with pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in arguments])
        return stop.value.code, *capsys.readouterr()

    return run


def last(out):
    return json.loads(out.splitlines()[-1])


def test_info_shows_format_extra_columns_and_decoders(est, tmp_path):
    path = tmp_path / "c.zarr"
    columns = {"age": ColumnSpec(dtype="int64"), "pair": ColumnSpec(dtype="float64", shape=(2,))}
    with CacheWriter.open(path, sample_recipes(), columns=columns) as writer:
        for index, decoder in enumerate(("opencv", "pyav", "opencv", ""), start=2):
            writer.add(replace(make_clip(index), decoder=decoder, decode_errors=index - 3))
    _, out, _ = est("cache", "info", path)
    assert "(Zarr, format 2)" in out
    assert "decoders    opencv 2, pyav 1; 2 clips with decode errors" in out
    assert "extra       age (whole numbers), pair (rows of 2 numbers)" in out
    assert "upgrades it" not in out
    data = last(est("cache", "info", path, "--json")[1])
    assert (data["format"], data["decoders"], data["decode_errors"]) == (2, {"opencv": 2, "pyav": 1}, 2)
    assert data["extra"] == {"age": "whole numbers", "pair": "rows of 2 numbers"}


def test_info_of_format_1_names_the_upgrade(est, tmp_path, make_cache, monkeypatch):
    made = Manifest.__init__
    monkeypatch.setattr(
        Manifest, "__init__", lambda self, *args, version=1, **more: made(self, *args, version=version, **more)
    )
    cache = make_cache(tmp_path / "c.zarr", range(2, 4))
    monkeypatch.undo()
    out = est("cache", "info", cache)[1]
    assert "(Zarr, format 1)" in out
    assert f"est cache convert {cache} NEW upgrades it to format 2" in out


@pytest.mark.parametrize("condition", [("--subject", "typo"), ("--split", "tets"), ("--fold", 77), ("--label", "typo")])
def test_drop_refuses_what_no_clip_has(est, tmp_path, make_cache, condition):
    cache = make_cache(tmp_path / "c.zarr", range(2, 6))
    status, _, err = est("cache", "drop", cache, "--subject", "S1", *condition)
    assert status == 2
    assert str(condition[1]) in err
    assert len(open_cache(cache)) == 4


def test_merge_says_what_differs_and_what_is_left_out(est, tmp_path):
    for name, decoder, clips in (("a", "auto", (2, 3, 4)), ("b", "opencv", (3, 4, 5))):
        with CacheWriter.open(tmp_path / f"{name}.zarr", sample_recipes(decoder=decoder)) as writer:
            for index in clips:
                label = "other" if (name, index) == ("b", 4) else "happy"
                writer.add(replace(make_clip(index), decoder="opencv", label=label))
    line = ["cache", "merge", tmp_path / "a.zarr", tmp_path / "b.zarr", "--out"]
    status, _, err = est(*line, tmp_path / "ab.zarr", "--duplicates", "last")
    assert status == 0
    assert "decoders differ in b.zarr: each clip says which read it" in err
    assert "Allowed to differ" not in err
    assert "Warning: left out: 2 clips in several caches; the caches have different labels of 1 clip" in err
    status, out, _ = est(*line, tmp_path / "again.zarr", "--duplicates", "first", "--json", "--quiet")
    assert [json.loads(text)["event"] for text in out.splitlines()] == ["warning", "result"]
    assert last(out)["allowed"] == []


def test_info_says_in_what_merged_caches_differ(est, tmp_path):
    for name, engine in (("a", "torch"), ("b", "onnxruntime")):
        made = sample_recipes()
        features = {tap: replace(recipe, engine=engine) for tap, recipe in made.features.items()}
        with CacheWriter.open(tmp_path / f"{name}.zarr", replace(made, features=features)) as writer:
            writer.add(make_clip(2 + (name == "b")))
    allow = [f"--allow={tap}.engine" for tap in features]
    whole = tmp_path / "ab.zarr"
    assert est("cache", "merge", tmp_path / "a.zarr", tmp_path / "b.zarr", "--out", whole, *allow)[0] == 0
    _, out, _ = est("cache", "info", whole)
    for tap in features:
        assert f"  b.zarr: {tap}.engine: torch here, onnxruntime there" in out.splitlines()
    page = cache_page(whole, tmp_path / "page.html").read_text(encoding="utf-8")
    assert "gap.engine: torch here, onnxruntime there" in page
    _, out, _ = est("cache", "info", tmp_path / "b.zarr")
    assert "merged of caches" not in out


def test_quiet_json_is_the_result_alone(est, tmp_path, make_cache):
    cache = make_cache(tmp_path / "c.zarr", range(2, 6))
    events = {}
    for quiet in ((), ("--quiet",)):
        _, out, _ = est("cache", "verify", cache, "--json", *quiet)
        events[quiet] = [json.loads(text)["event"] for text in out.splitlines()]
    assert set(events[()]) == {"progress", "result"}
    assert events["--quiet",] == ["result"]


@pytest.mark.parametrize(
    ("data", "tracks", "words"),
    [
        (b"this is no video but a note", (), "not a video but text"),
        (b"ID3\x03 some sound", (), "not a video but MP3 sound"),
        (b"\x00\x01\x02\x03", ("audio",), "the file has no video (tracks: audio)"),
    ],
)
def test_what_is_no_video_is_not_to_be_played(tmp_path, data, tracks, words):
    (tmp_path / "a.mp4").write_bytes(data)
    error = unreadable(tmp_path / "a.mp4", "auto", tracks=tracks)
    assert isinstance(error, SourceError)
    assert words in error.message
    assert error.remedy != PLAY
    assert "remove it from the folder or the list" in error.remedy
