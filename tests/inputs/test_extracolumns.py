"""Extra columns and moments of lists: their types, on their way into a cache and by relabelling, and what is refused."""

from __future__ import annotations

import csv
from dataclasses import replace

import cv2
import numpy as np
import pytest
from cache_samples import make_clip, sample_recipes
from video_samples import make_video, picture
from watch_samples import Calling

from est.cache import CacheWriter, open_cache
from est.cache.schema import ColumnSpec
from est.cache.stores.manifest import Manifest
from est.cli import main
from est.errors import CacheError, RecipeMismatch, UsageError
from est.extract.config import ExtractConfig
from est.extract.extraction import extract_videos
from est.inputs.csvlist import read_list
from est.inputs.extracolumns import column_specs, typed_cells
from est.inputs.input import find_inputs
from est.inputs.relabelling import plan_relabelling

CROPS = ExtractConfig(weights="random", size=32, detector="none", precision="fp32", workers=1)


def listed(path, *rows):
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    return path


@pytest.mark.parametrize(
    ("texts", "dtype", "shape"),
    [
        (["1", "-2", ""], "int64", ()),
        (["1", "2.5", "nan"], "float64", ()),
        (["0.1 0.2", "3;4"], "float64", (2,)),
        (["1", "old"], "string", ()),
        (["1 2", "1 2 3"], "string", ()),
        (["123456789012345678901"], "string", ()),
        (["007", "12"], "string", ()),
        (["2020_01"], "string", ()),
        (["1e3", ".5"], "float64", ()),
    ],
)
def test_the_type_is_that_of_all_cells(texts, dtype, shape):
    assert column_specs({"x": text} for text in texts) == {"x": ColumnSpec(dtype=dtype, shape=shape)}


def test_columns_in_which_nothing_stands_are_none():
    known = {"y": ColumnSpec(dtype="int64")}
    assert column_specs([{"x": "", "y": "NA"}], known) == known


def test_cells_have_the_type_of_the_column():
    specs = {
        "a": ColumnSpec(dtype="int64"),
        "b": ColumnSpec(dtype="float64"),
        "c": ColumnSpec(dtype="float64", shape=(2,)),
        "d": ColumnSpec(dtype="string"),
    }
    found = typed_cells({"a": "3", "b": "3", "c": "1; 2", "d": "3"}, specs, "line 2")
    assert found == {"a": 3, "b": 3.0, "c": (1.0, 2.0), "d": "3"}
    assert typed_cells(dict.fromkeys("abcd", ""), specs, "line 2") == {}
    for name, text in (("a", "3.5"), ("b", "much"), ("c", "1")):
        with pytest.raises(UsageError, match=f"line 2: extra:{name} is .* in this cache, found {text!r}"):
            typed_cells({name: text}, specs, "line 2")


@pytest.mark.parametrize("header", ["extra:a b", "extra:", "extra:é"])
def test_names_that_no_column_can_have_are_refused(tmp_path, header):
    with pytest.raises(UsageError, match="extra columns have names of letters"):
        read_list(listed(tmp_path / "l.csv", ("path", header), ("a.mp4", "1")))


def test_one_name_twice_is_refused(tmp_path):
    with pytest.raises(UsageError, match="each once; found age twice"):
        read_list(listed(tmp_path / "l.csv", ("path", "extra:age", "extra:age"), ("a.mp4", "1", "2")))


def test_lists_reach_the_cache_and_a_rerun_changes_what_they_say(tmp_path):
    folder, out = tmp_path / "in", tmp_path / "c.zarr"
    (folder / "b").mkdir(parents=True)
    make_video(folder / "a.mp4", 4)
    cv2.imwrite(str(folder / "b" / "0.png"), picture(0))
    header = ("path", "label", "apex", "onset", "extra:site", "extra:age", "extra:big5")
    rows = [("a.mp4", "sad", 2, 1, "Oulu", 37, "0.1 0.2"), ("b", "calm", "", "", "", "", "")]
    report = extract_videos(find_inputs([listed(folder / "l.csv", header, *rows)]), out, CROPS)
    assert report.failures == []
    first, second = (open_cache(out).clips.row(place) for place in range(2))
    assert (first["onset"], first["apex"], first["offset"], first["decoder"]) == (1, 2, -1, "opencv")
    assert first["extra"] == {"age": 37, "big5": [0.1, 0.2], "site": "Oulu"}
    assert (second["apex"], second["extra"]["site"], second["decoder"]) == (-1, "", "pictures")
    rows[0] = ("a.mp4", "sad", 3, "", "47", 38, "")  # whatever a rerun's cells look like, columns keep their types
    again = extract_videos(find_inputs([listed(folder / "l.csv", header, *rows)]), out, CROPS)
    assert again.unchanged == 2
    changed = open_cache(out).clips.row(0)
    assert (changed["onset"], changed["apex"], changed["extra"]["site"]) == (1, 3, "47")
    with pytest.raises(RecipeMismatch, match="has extra columns age, big5, site, you asked for pain"):
        extract_videos(find_inputs([listed(folder / "l.csv", (*header, "extra:pain"), (*rows[0], 1))]), out, CROPS)


def test_relabelling_adds_columns_and_changes_them(cache_path, make_cache, tmp_path):
    make_cache(cache_path, range(2, 6), crops=True, failures=(11,))
    names = [make_clip(index).id for index in range(2, 6)]
    path = listed(
        tmp_path / "l.csv",
        ("id", "apex", "extra:age", "extra:site", "extra:pair"),
        *((name, index, 30 + index, "Oulu" if index else "", f"{index} 0.5") for index, name in enumerate(names)),
    )
    found = plan_relabelling(cache_path, [path])
    assert set(found.new_columns) == {"age", "site", "pair"}
    assert found.kinds("extra:age") == {"set": 4}
    assert found.kinds("extra:site") == {"set": 3}
    assert open_cache(cache_path).clips.extra == {}, "a plan writes nothing"
    found.write()
    cache = open_cache(cache_path)
    assert np.asarray(cache.clips.extra["age"]).tolist() == [30, 31, 32, 33]
    assert list(cache.clips.extra["site"]) == ["", "Oulu", "Oulu", "Oulu"]
    assert cache.clips.extra["pair"].tolist() == [[index, 0.5] for index in range(4)]
    assert cache.clips.apex.tolist() == [0, 1, 2, 3]
    assert plan_relabelling(cache_path, [path]).changes == ()
    path = listed(tmp_path / "l.csv", ("id", "extra:age", "extra:site"), (names[1], "", "Köln"))
    found = plan_relabelling(cache_path, [path])
    assert [(change.column, change.before, change.after) for change in found.changes] == [
        ("extra:site", "Oulu", "Köln")
    ]
    plan_relabelling(cache_path, [path], clear=True, only=["extra:age"]).write()
    assert open_cache(cache_path).clips.row(1)["extra"]["age"] is None
    wrong = listed(tmp_path / "l.csv", ("id", "extra:age"), (names[1], "old"))
    with pytest.raises(UsageError, match=r"line 2: extra:age is a whole number in this cache, found 'old'"):
        plan_relabelling(cache_path, [wrong])


def test_the_command_shows_and_writes_them(tmp_path, make_cache, capsys):
    cache = make_cache(tmp_path / "c.zarr", range(2, 4))
    path = listed(tmp_path / "l.csv", ("id", "extra:site"), (make_clip(2).id, "Oulu"))
    with pytest.raises(SystemExit) as done:
        main(["cache", "relabel", str(cache), str(path), "--yes"])
    assert done.value.code == 0
    assert "(none) → Oulu" in capsys.readouterr().out
    assert open_cache(cache).clips.row(0)["extra"] == {"site": "Oulu"}


def test_moments_are_frames_of_the_clip(tmp_path, make_cache):
    cache = make_cache(tmp_path / "c.zarr", [2])
    last = open_cache(cache).clips.row(0)["count"] - 1
    late = listed(tmp_path / "l.csv", ("id", "apex"), (make_clip(2).id, last + 1))
    with pytest.raises(UsageError, match=rf"apex of .*: expected one of its {last + 1} frames, counted from 0"):
        plan_relabelling(cache, [late])
    plan_relabelling(cache, [listed(tmp_path / "l.csv", ("id", "apex"), (make_clip(2).id, last))]).write()
    with CacheWriter.open(cache, sample_recipes()) as writer:
        for wrong in (last + 1, -2):
            with pytest.raises(CacheError, match=f"apex: expected one of {last + 1} frames"):
                writer.update(make_clip(2).id, apex=wrong)
            with pytest.raises(CacheError, match="onset: expected one of"):
                writer.add(replace(make_clip(3, frames=4), onset=wrong if wrong < 0 else 4))
    assert open_cache(cache).clips.apex.tolist() == [last]
    with pytest.raises(UsageError, match="apex"):
        read_list(listed(tmp_path / "l.csv", ("path", "apex"), ("a.mp4", -2)))


def test_a_moment_past_the_end_costs_no_clip(tmp_path):
    folder, out = tmp_path / "in", tmp_path / "c.zarr"
    folder.mkdir()
    make_video(folder / "a.mp4", 4)
    for _ in range(2):  # extracted, and there already
        inputs = find_inputs([listed(folder / "l.csv", ("path", "label", "onset", "apex"), ("a.mp4", "sad", 1, 4))])
        report = extract_videos(inputs, out, CROPS)
        assert (report.failures, report.misplaced) == ([], ["a"])
        assert any("before an onset, apex or offset in a list" in line for line in report.lines())
        row = open_cache(out).clips.row(0)
        assert (row["onset"], row["apex"]) == (1, -1)


def test_format_1_names_the_command_that_upgrades(tmp_path, make_cache, monkeypatch):
    made = Manifest.__init__
    monkeypatch.setattr(
        Manifest, "__init__", lambda self, *args, version=1, **more: made(self, *args, version=version, **more)
    )
    cache = make_cache(tmp_path / "c.zarr", range(2, 4))
    monkeypatch.undo()
    path = listed(tmp_path / "l.csv", ("id", "label", "apex"), (make_clip(2).id, "fear", 3))
    with pytest.raises(UsageError, match="has format 1, which has no place for apex") as refused:
        plan_relabelling(cache, [path])
    assert f"est cache convert {cache} NEW" in refused.value.remedy
    plan_relabelling(cache, [path], only=["label"]).write()
    assert open_cache(cache).clips.row(0)["label"] == "fear"


def test_decoders_of_merged_caches(tmp_path):
    from est.cache import merge_caches

    paths = []
    for name, decoder in (("a", "auto"), ("b", "opencv"), ("c", "pyav")):
        paths.append(tmp_path / f"{name}.zarr")
        with CacheWriter.open(paths[-1], sample_recipes(decoder=decoder)) as writer:
            writer.add(replace(make_clip(4), id=name, decoder="opencv" if decoder == "auto" else decoder))
    said = []
    assert merge_caches(paths[:2], tmp_path / "ab.zarr", watch=Calling(say=said.append)) == []
    assert said == ["decoders differ in b.zarr: each clip says which read it"]
    merged = open_cache(tmp_path / "ab.zarr")
    assert merged.recipes.frames.decoder == "auto"
    assert list(merged.clips.decoder) == ["opencv", "opencv"]
    merge_caches([paths[1], paths[2], paths[0]], tmp_path / "bca.zarr")  # in any order
    assert open_cache(tmp_path / "bca.zarr").recipes.frames.decoder == "auto"
    with pytest.raises(RecipeMismatch, match="decoder: opencv here, pyav there"):
        merge_caches(paths[1:], tmp_path / "bc.zarr")
    merge_caches(paths[1:], tmp_path / "bc.zarr", allow=["decoder"])
    assert open_cache(tmp_path / "bc.zarr").recipes.frames.decoder == "auto", "no clip is said to be read by another"
    assert merged.reads_like_opencv
    assert not open_cache(paths[2]).reads_like_opencv
    merge_caches([paths[2], paths[0]], tmp_path / "ca.zarr")
    with pytest.raises(RecipeMismatch, match="decoder: opencv here, pyav there"):
        merge_caches(paths[1:], tmp_path / "bc.zarr")
