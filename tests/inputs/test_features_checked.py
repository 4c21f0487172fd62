"""Importing features: labels do not become features, recipes say what rows hang on, and what changed since an import is noticed."""

from __future__ import annotations

import os

import numpy as np
import pytest
from import_samples import openface, windows
from refusals import differs

import est
from est.cache import Watch, open_cache
from est.cache.changes.convert import convert_cache as convert
from est.errors import CacheError, RecipeMismatch, UsageError
from est.inputs.features.config import ImportConfig
from est.inputs.features.plan import plan_import

FPS = {"by": "a test", "fps": 25.0}


def imported(source, out, *, lists=(), filling=False, watch=None, **config):
    sources = source if isinstance(source, list) else [source]
    return est.import_features(
        sources, out, ImportConfig(**{**FPS, **config}), lists=lists, filling=filling, watch=watch
    )


class Stopping(Watch):
    """Interrupts an import behind its second clip."""

    def progress(self, progress):
        if progress.done == 2:
            raise KeyboardInterrupt


def arrays(folder, **rows):
    """Write an .npy for each name."""
    folder.mkdir(exist_ok=True)
    for name, values in rows.items():
        np.save(folder / f"{name}.npy", np.asarray(values, np.float32))
    return folder


def later(path):
    """Let a file look as written later, whatever the clock's grain is."""
    told = path.stat()
    os.utime(path, ns=(told.st_atime_ns, told.st_mtime_ns + 10**9))


@pytest.mark.parametrize(
    ("columns", "features", "named"),
    [
        ((), ("x", "y"), ("Unnamed: 0", "frame", "Label", "subject", "__index_level_0__")),
        (("*",), ("x", "note", "clip_name", "y"), ("Unnamed: 0", "frame", "Label", "subject", "__index_level_0__")),
        (("y", "Label"), ("y", "Label"), ()),
    ],
)
def test_labels_people_and_indices_are_no_features(tmp_path, columns, features, named):
    header = ["Unnamed: 0", "frame", "Label", "subject", "x", "note", "clip_name", "y", "__index_level_0__"]
    (tmp_path / "a.csv").write_text(
        ",".join(header) + "\n0,1,3,6,0.5,,006_1_2,0.25,0\n1,2,3,6,0.5,good,006_1_2,0.25,1\n"
    )
    plan = plan_import([tmp_path / "a.csv"], ImportConfig(**FPS, columns=columns))
    assert (plan.columns.features, plan.columns.named) == (features, named)
    assert any("left out because of their names: Unnamed: 0, frame, Label" in line for line in plan.lines) == bool(
        named
    )
    if not columns:
        assert plan.columns.left_out == ("note", "clip_name")


def test_no_number_has_an_underscore(tmp_path):
    for name, cell in (("a", "10"), ("b", "1_0")):
        (tmp_path / f"{name}.csv").write_text(f"x,y\n1,2\n3,{cell}\n")
    report = imported(tmp_path, tmp_path / "c.zarr")
    assert [one.error for one in report.failures] == ["row 2, column 'y': expected a number, found '1_0'"]


def test_the_recipe_says_rates_and_scores(tmp_path):
    windows(tmp_path, "a")
    told = {"window": (8,), "stride": (4,)}
    imported(tmp_path / "w4", tmp_path / "c.zarr", **told, rate=(25.0,))
    with pytest.raises(
        RecipeMismatch,
        match=differs("features.window", "8 frames, step 4, 25 a second", "8 frames, step 4, 50 a second"),
    ):
        imported(tmp_path / "w4", tmp_path / "c.zarr", **told, rate=(50.0,))
    places = {"start": [0, 4], "stop": [4, 8], "hz": [25.0, 25.0], "other": [50.0, 50.0]}
    np.savez(tmp_path / "p.npz", rows=np.ones((2, 3)), **places)
    told = {"array": "rows", "start_column": "start", "stop_column": "stop"}
    imported(tmp_path / "p.npz", tmp_path / "p.zarr", **told, rate_column="hz")
    for rate in ({"rate_column": "other"}, {"rate": (25.0,)}):
        with pytest.raises(RecipeMismatch, match="rate of hz, you asked for"):
            imported(tmp_path / "p.npz", tmp_path / "p.zarr", **told, **rate)
    with pytest.raises(UsageError, match="have one --rate"):
        ImportConfig(**FPS, **told, rate=(25.0, 50.0))
    (tmp_path / "s.csv").write_text("x,sure,also\n1,0.5,\n")
    report = imported(tmp_path / "s.csv", tmp_path / "s.zarr", columns=("x",), score_column="sure")
    assert not report.notes
    with pytest.raises(RecipeMismatch, match=r"score of sure.*score of also"):
        imported(tmp_path / "s.csv", tmp_path / "s.zarr", columns=("x",), score_column="also")
    report = imported(tmp_path / "s.csv", tmp_path / "d.zarr", columns=("x",), score_column="also")
    assert report.notes == {"frames without a score, taken as 0": 1}


def test_what_was_filled_from_files_that_changed_is_refused(tmp_path):
    rows = {name: np.full((3, 2), number + 1) for number, name in enumerate("abc")}
    imported(arrays(tmp_path / "x", **rows), tmp_path / "c.zarr")
    more = arrays(tmp_path / "y", **rows)
    fill = {"filling": True, "feature": "more"}
    with pytest.raises(KeyboardInterrupt):
        imported(more, tmp_path / "c.zarr", watch=Stopping(), **fill)
    arrays(more, a=np.full((3, 2), 9))
    with pytest.raises(
        CacheError, match=r"1 clip got 'more' before .* was stopped, with other rows than are in these files now: 'a'"
    ) as stopped:
        imported(more, tmp_path / "c.zarr", **fill)
    assert "est cache convert" in stopped.value.remedy
    convert(tmp_path / "c.zarr", tmp_path / "copy.zarr")
    assert imported(more, tmp_path / "copy.zarr", **fill).clips == 3
    arrays(more, a=rows["a"])
    assert imported(more, tmp_path / "c.zarr", **fill).clips == 1
    assert imported(more, tmp_path / "c.zarr", **fill).unchanged == 3
    arrays(more, b=np.zeros((3, 2)))
    with pytest.raises(CacheError, match=r"1 of 3 clips of .* have other rows of 'more' than these files: 'b'"):
        imported(more, tmp_path / "c.zarr", **fill)
    np.testing.assert_array_equal(open_cache(tmp_path / "c.zarr").clip("b").features["more"], rows["b"])


def test_arrays_of_another_name_are_refused(tmp_path):
    for name, array in (("a", "x"), ("b", "x"), ("c", "logits")):
        np.savez(tmp_path / f"{name}.npz", **{array: np.ones((2, 2))})
    report = imported(tmp_path, tmp_path / "c.zarr")
    assert [(one.id, one.error) for one in report.failures] == [
        ("c", "its features are the array 'logits', and those of 2 other files 'x'")
    ]
    (tmp_path / "b.npz").unlink()
    with pytest.raises(UsageError, match=r"arrays of differing names: 'x' in .*, 'logits' in"):
        imported(tmp_path, tmp_path / "d.zarr")


def test_windows_that_are_too_few_for_their_clip(tmp_path):
    arrays(tmp_path / "w", a=np.ones((3, 2)), b=np.ones((3, 2)))
    told = {"window": (16,), "stride": (4,), "lists": [tmp_path / "list.csv"]}
    (tmp_path / "list.csv").write_text(
        "id,num_frames\na,100\nb,28\n"
    )  # of b one is missing: some tools leave out the last
    report = imported(tmp_path / "w", tmp_path / "c.zarr", **told)
    assert "it has 3 windows, and 100 frames hold 22 (16 frames, step 4, 25 a second)" in report.failures[0].error
    assert report.notes == {"clips without the last window that their frames hold": 1}
    (tmp_path / "list.csv").write_text("id,num_frames\na,24\nb,24\n")
    assert imported(tmp_path / "w", tmp_path / "c.zarr", **told).clips == 2
    assert np.asarray(open_cache(tmp_path / "c.zarr").clips.columns["count"]).tolist() == [24, 24]
    (tmp_path / "list.csv").write_text("id,num_frames\na,10\nb,24\n")
    report = imported(tmp_path / "w", tmp_path / "c.zarr", **told)
    assert "the clip has 10" in report.failures[0].error
    assert (report.outdated, report.unchanged) == (["a"], 1)
    assert "1 clip failed now, and the rows of an earlier import stay: 'a'" in report.lines()


def test_the_closest_windows_come_first(tmp_path):
    for step in (8, 4):
        arrays(tmp_path / f"w{step}", a=np.full((3, 2), step))
    sources = [tmp_path / "w8", tmp_path / "w4"]
    imported(sources, tmp_path / "c.zarr", window=(8,), stride=(8, 4))
    found = open_cache(tmp_path / "c.zarr").windows("a")
    assert found.start.tolist() == [0, 4, 8, 0, 8, 16]
    assert found.features["features"][:, 0].tolist() == [4, 4, 4, 8, 8, 8]
    assert imported(sources[::-1], tmp_path / "c.zarr", window=(8,), stride=(4, 8)).unchanged == 1


def test_kinds_of_windows_that_nothing_tells_apart_are_refused(tmp_path):
    arrays = {"start": [0, 4, 0, 8], "stop": [4, 8, 8, 16]}
    np.savez(tmp_path / "a.npz", rows=np.ones((4, 2)), **{name: np.array(values) for name, values in arrays.items()})
    told = {"array": "rows", "start_column": "start", "stop_column": "stop"}
    with pytest.raises(
        UsageError, match="row 3: its window begins at frame 0, as that of row 1 does, and at the same rate"
    ):
        imported(tmp_path / "a.npz", tmp_path / "c.zarr", **told)


def test_files_that_went_and_second_files_that_changed_are_noticed(tmp_path):
    for name in ("a", "b"):
        windows(tmp_path, name)
    sources, told = [tmp_path / "w4", tmp_path / "w8"], {"window": (8,), "stride": (4, 8)}
    assert imported(sources, tmp_path / "c.zarr", **told).clips == 2
    later(tmp_path / "w8" / "b.npy")
    for folder in sources:
        (folder / "a.npy").unlink()
    report = imported(sources, tmp_path / "c.zarr", **told)
    assert (report.clips, report.unchanged, report.not_here) == (1, 0, ["a"])
    assert any("1 clip of the cache without a file here, kept: 'a'" in line for line in report.lines())


@pytest.mark.parametrize("wrong", ["two,1", "1"])
def test_clips_above_a_cell_that_makes_no_sense_are_kept(tmp_path, wrong):
    path = tmp_path / "all.csv"
    path.write_text(f"clip,u,v\na,1,2\na,3,4\nb,5,6\nb,{wrong}\nc,7,8\n")
    with pytest.raises(UsageError, match="row 4") as refused:
        imported(path, tmp_path / "c.zarr", id_column="clip", columns=("u", "v"))
    assert wrong == "1" or "clips above that row are in the cache" in refused.value.remedy
    if wrong == "two,1":
        cache = open_cache(tmp_path / "c.zarr")
        assert cache.ids == ["a"]
        assert cache.clip("a").features["features"].tolist() == [[1, 2], [3, 4]]


def test_moments_need_a_row_for_each_frame(tmp_path):
    for name, frames in (("a", (1, 2, 50, 51)), ("b", (1, 2, 3, 4))):
        (tmp_path / f"{name}.csv").write_text("frame,x\n" + "".join(f"{frame},1\n" for frame in frames))
    told = {"frame_column": "frame"}
    imported(tmp_path, tmp_path / "c.zarr", **told)
    assert open_cache(tmp_path / "c.zarr").clip("a").time.tolist() == [0, 0.04, 1.96, 2]
    (tmp_path / "list.txt").write_text("id,onset\na,2\nb,2\n")
    report = imported(tmp_path, tmp_path / "c.zarr", lists=[tmp_path / "list.txt"], **told)
    assert report.clips == 1
    assert "its rows leave frames out (frame 50 follows frame 2), and the list says onset 2" in report.failures[0].error


def test_numbers_that_float16_cannot_hold_are_told(tmp_path):
    arrays(tmp_path / "x", a=[[1e-9, 1.0]], b=[[1.0, 70000.0]])
    report = imported(tmp_path / "x", tmp_path / "c.zarr", dtype="float16")
    assert report.notes == {"numbers too small for float16, taken as 0": 1}
    assert [one.error for one in report.failures] == [
        "row 1, number 2 is 70000, too large for float16 (try: --dtype float32; with another --out)"
    ]


def test_openface_without_a_face_has_no_score_to_tell(tmp_path):
    openface(tmp_path / "a.csv")
    assert not imported(tmp_path / "a.csv", tmp_path / "c.zarr", fps=None, columns=("AU*_r",)).notes
