"""Importing features: what is written is what was in the files, whatever their kind; and everything that does not fit is named."""

from __future__ import annotations

import csv
import pickle

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from import_samples import AUS, STEPS, WINDOW, openface, windows
from refusals import differs

import est
from est.cache import open_cache, verify_cache
from est.errors import CacheError, RecipeMismatch, SourceError, UsageError
from est.inputs.features import tables
from est.inputs.features.config import ImportConfig
from est.inputs.features.plan import plan_import

FPS = {"by": "a test", "fps": 25.0}
FLOATS = st.floats(-1e6, 1e6, width=32)


def imported(source, out, *, lists=(), filling=False, **config):
    sources = source if isinstance(source, list) else [source]
    settings = ImportConfig(**{**FPS, **config})
    return est.import_features(sources, out, settings, lists=lists, filling=filling)


def written(path, rows):
    """Write rows in the form that the suffix says."""
    names = [f"f{number}" for number in range(rows.shape[1])]
    match path.suffix:
        case ".npy":
            np.save(path, rows)
        case ".npz":
            np.savez_compressed(path, features=rows, other=np.zeros(3))
        case ".csv":
            with open(path, "w", newline="") as file:
                csv.writer(file).writerows([names, *[[repr(float(cell)) for cell in row] for row in rows]])
        case ".parquet":
            columns = {name: rows[:, number] for number, name in enumerate(names)}
            pyarrow.parquet.write_table(pyarrow.table(columns), path)
    return path


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".csv", ".parquet"])
@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=npst.arrays(np.float32, st.tuples(st.integers(1, 9), st.integers(1, 4)), elements=FLOATS),
    fps=st.floats(1, 120),
)
def test_what_is_written_is_read(tmp_path_factory, suffix, rows, fps):
    folder = tmp_path_factory.mktemp("trip")
    written(folder / f"é clip{suffix}", rows)
    report = imported(folder / f"é clip{suffix}", folder / "c.zarr", fps=fps, feature="mine")
    cache = open_cache(folder / "c.zarr")
    clip = cache.clip("é clip")
    assert (report.clips, report.frames) == (1, len(rows))
    np.testing.assert_array_equal(clip.features["mine"], rows)
    np.testing.assert_allclose(clip.time, np.arange(len(rows)) / fps)
    assert clip.mask.all()
    assert not verify_cache(folder / "c.zarr", sources=True).problems


def test_openface_is_recognised(tmp_path):
    rows, found = openface(tmp_path / "a.csv")
    imported(tmp_path / "a.csv", tmp_path / "c.zarr", fps=None, columns=("AU*_r",), by="OpenFace 2.2")
    cache = open_cache(tmp_path / "c.zarr")
    clip = cache.clip("a")
    np.testing.assert_array_equal(clip.features["features"], rows * found[:, None])
    assert clip.mask.tolist() == found.astype(bool).tolist()
    np.testing.assert_allclose(clip.time, np.arange(12) / 25)
    np.testing.assert_allclose(clip.score, 0.98 * found, rtol=1e-6)
    recipe = cache.recipes.features["features"]
    assert (recipe.backbone, recipe.weights, recipe.tap) == ("imported", "OpenFace 2.2", ", ".join(AUS))
    assert cache.recipes.frames.tracking == "above 0 in success, score of confidence"
    assert float(np.asarray(cache.clips.fps)[0]) == pytest.approx(25)


def test_one_table_of_many_clips(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "BLOCK_ROWS", 3)  # so that clips lie across blocks
    rng = np.random.default_rng(1)
    counts = {"b": 5, "a/x": 1, "c": 8}
    rows = rng.normal(size=(14, 2)).astype(np.float32)
    ids = [name for name, count in counts.items() for _ in range(count)]
    for suffix in (".csv", ".parquet"):
        table = pyarrow.table({"clip": ids, "u": rows[:, 0], "v": rows[:, 1], "note": ["x"] * 14})
        path = tmp_path / f"all{suffix}"
        if suffix == ".csv":
            lines = [f"{name};{u!r};{v!r};x" for name, (u, v) in zip(ids, rows.tolist(), strict=True)]
            path.write_text("clip;u;v;note\n" + "\n".join(lines) + "\n")
        else:
            pyarrow.parquet.write_table(table, path)
        out = tmp_path / f"c{suffix}.zarr"
        assert imported(path, out, id_column="clip").clips == 3
        cache = open_cache(out)
        assert cache.ids == list(counts)
        first = 0
        for name, count in counts.items():
            np.testing.assert_array_equal(cache.clip(name).features["features"], rows[first : first + count])
            first += count
        assert np.asarray(cache.clips.first_frame).tolist() == [0, 5, 6]
    assert imported(tmp_path / "all.csv", tmp_path / "c.csv.zarr", id_column="clip").unchanged == 3


def test_windows_of_several_kinds(tmp_path):
    windows(tmp_path, "a", frames=31)
    sources = [tmp_path / f"w{step}" for step in STEPS]
    report = imported(sources, tmp_path / "c.zarr", window=(WINDOW,), stride=STEPS, feature="vmae")
    found = open_cache(tmp_path / "c.zarr").windows("a")
    start = [*range(0, 21, 4), *range(0, 17, 8)]
    assert report.windows == len(start)
    assert found.start.tolist() == start
    assert (found.stop - found.start == WINDOW).all()
    assert (found.rate == 25).all()
    wanted = np.concatenate([np.load(one / "a.npy") for one in sources])
    np.testing.assert_array_equal(found.features["vmae"], wanted)
    assert (
        open_cache(tmp_path / "c.zarr").recipes.features["vmae"].window
        == "8 frames, step 4, 25 a second + 8 frames, step 8, 25 a second"
    )


def test_places_of_windows_from_columns(tmp_path):
    arrays = {"first": [4, 0, 0], "last": [8, 4, 8], "hz": [25.0, 25.0, 12.5]}
    rows = np.arange(6, dtype=np.float32).reshape(3, 2)
    np.savez(tmp_path / "a.npz", rows=rows, **{name: np.array(values) for name, values in arrays.items()})
    columns = {"start_column": "first", "stop_column": "last", "rate_column": "hz"}
    imported(tmp_path / "a.npz", tmp_path / "c.zarr", array="rows", **columns)
    found = open_cache(tmp_path / "c.zarr").windows("a")
    assert list(zip(found.start, found.stop, found.rate, strict=True)) == [(0, 4, 25), (4, 8, 25), (0, 8, 12.5)]
    np.testing.assert_array_equal(found.features["features"], rows[[1, 0, 2]])


def test_one_row_a_clip_and_maps(tmp_path):
    np.save(tmp_path / "row.npy", np.arange(3, dtype=np.int64))
    imported(tmp_path / "row.npy", tmp_path / "c.zarr", fps=None)
    assert open_cache(tmp_path / "c.zarr").clip("row").features["features"].tolist() == [[0, 1, 2]]
    maps = np.random.default_rng(0).normal(size=(5, 2, 3, 3)).astype(np.float16)
    np.save(tmp_path / "m.npy", maps)
    imported(tmp_path / "m.npy", tmp_path / "m.h5", dtype="float16", feature="layer3")
    np.testing.assert_array_equal(open_cache(tmp_path / "m.h5").clip("m").features["layer3"], maps)


def test_lists_are_matched_and_what_fits_nothing_is_named(tmp_path):
    for name in ("happy/a1", "happy/a2", "sad/b1"):
        (tmp_path / "npy" / name).parent.mkdir(parents=True, exist_ok=True)
        np.save(tmp_path / "npy" / f"{name}.npy", np.ones((4, 2), np.float32))
    lines = ["path,label,subject,fold,extra:age,onset", "videos/a1.mp4,joy,S1,1,31,2", "videos/b11.mp4,sad,S2,2,40,"]
    (tmp_path / "list.csv").write_text("\n".join(lines))
    report = imported(tmp_path / "npy", tmp_path / "c.zarr", lists=[tmp_path / "list.csv"])
    cache = open_cache(tmp_path / "c.zarr")
    assert cache.ids == ["happy/a1"]
    row = cache.clips.row(0)
    assert (cache.labels, row["subject"], row["fold"], row["onset"]) == (("joy", "sad"), "S1", 1, 2)
    assert cache.clips.extra["age"].tolist() == [31]
    assert [one.id for one in cache.failures] == ["videos/b11"]
    assert "line 3 of the list names no features: no such clip" in report.failures[0].error
    assert any("2 clips are left out, as no line of the list names them: 'happy/a2'" in w for w in report.warnings)
    (tmp_path / "wrong.csv").write_text("id,label\nhappy/a1,x\nhappy/a1,y\n")
    with pytest.raises(UsageError, match=r"line 2 and .*line 3 both name the clip 'happy/a1'"):
        imported(tmp_path / "npy", tmp_path / "d.zarr", lists=[tmp_path / "wrong.csv"])
    (tmp_path / "other.csv").write_text("id,label\nzzz,x\n")
    with pytest.raises(UsageError, match="None of 1 lines names a clip that has features"):
        imported(tmp_path / "npy", tmp_path / "d.zarr", lists=[tmp_path / "other.csv"])


def test_a_rerun_reads_what_is_new_or_changed(tmp_path):
    folder = tmp_path / "npy"
    folder.mkdir()
    for name in ("a", "b"):
        np.save(folder / f"{name}.npy", np.ones((4, 2), np.float32))
    (folder / "bad.npy").write_bytes(b"no array")
    first = imported(folder, tmp_path / "c.zarr")
    assert (first.clips, first.unchanged, [one.id for one in first.failures]) == (2, 0, ["bad"])
    np.save(folder / "b.npy", np.full((5, 2), 2, np.float32))
    np.save(folder / "bad.npy", np.zeros((3, 2), np.float32))
    again = imported(folder, tmp_path / "c.zarr")
    assert (again.clips, again.unchanged, again.failures) == (2, 1, [])
    cache = open_cache(tmp_path / "c.zarr")
    assert ((cache.clip("b").features["features"] == 2).all(), list(cache.failures)) == (True, [])
    with pytest.raises(RecipeMismatch, match=differs("features.weights", "a test", "another tool")):
        imported(folder, tmp_path / "c.zarr", by="another tool")
    with pytest.raises(UsageError, match="has the features features, and not 'more'") as refused:
        imported(folder, tmp_path / "c.zarr", feature="more")
    assert "--into" in refused.value.remedy


def test_one_more_feature_of_the_same_frames(tmp_path):
    _, found = openface(tmp_path / "a.csv")
    imported(tmp_path / "a.csv", tmp_path / "c.zarr", fps=None, columns=("AU*_r",))
    (tmp_path / "npy").mkdir()
    more = np.random.default_rng(3).normal(size=(12, 5)).astype(np.float32)
    np.save(tmp_path / "npy" / "a.npy", more[:11])
    with pytest.raises(CacheError, match=r"it has 11 rows, and the clip 12 frames \(a\)"):
        imported(tmp_path / "npy", tmp_path / "c.zarr", filling=True, feature="gaze")
    assert open_cache(tmp_path / "c.zarr").features == ["features"]
    np.save(tmp_path / "npy" / "a.npy", more)
    report = imported(tmp_path / "npy", tmp_path / "c.zarr", filling=True, feature="gaze")
    cache = open_cache(tmp_path / "c.zarr")
    assert cache.features == ["features", "gaze"]
    np.testing.assert_array_equal(cache.clip("a").features["gaze"], more * found[:, None])
    assert report.notes == {"rows left out, of frames without a face in the cache": 1}
    assert imported(tmp_path / "npy", tmp_path / "c.zarr", filling=True, feature="gaze").unchanged == 1
    with pytest.raises(UsageError, match="Windows cannot be added to the clips"):
        imported(tmp_path / "npy", tmp_path / "c.zarr", filling=True, feature="w", window=(2,), stride=(1,))
    np.save(tmp_path / "npy" / "a.npy", more)
    (tmp_path / "npy" / "a.npy").rename(tmp_path / "npy" / "a1.npy")
    with pytest.raises(CacheError, match=r"1 of 1 clips of .* have no features: 'a'; the nearest is 'a1'"):
        imported(tmp_path / "npy", tmp_path / "c.zarr", filling=True, feature="other")


def failure(tmp_path, source, **config):
    """Import good files and a bad one; return why it failed."""
    report = imported(source, tmp_path / "c.zarr", **config)
    assert len(report.failures) == 1, report.failures
    assert report.clips >= 1
    return report.failures[0].error


@pytest.fixture
def folder(tmp_path):
    """A folder with a good file of three columns."""
    path = tmp_path / "files"
    path.mkdir()
    (path / "a.csv").write_text("time,success,u,v\n0,1,1,2\n0.1,1,3,4\n")
    return path


TIMED = {"fps": None, "time_column": "time", "state_column": "success"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "time,success,u,v\n0,1,1,2\n0.1,1,,4\n",
            "row 2, column 'u' is empty or NaN (try: --nan zero to take it as 0, --nan no-face",
        ),
        ("time,success,u,v\n0,1,1,nan\n", "row 1, column 'v' is empty or NaN"),
        ("time,success,u,v\n0,1,1,inf\n", "row 1, column 'v' is infinite"),
        ("time,success,u,v\n0,1,1,two\n", "row 1, column 'v': expected a number, found 'two'"),
        ("time,success,u,v\n0,1,1,2\n0,1,1\n", "row 2: expected 4 cells, found 3"),
        ("time,success,u\n0,1,1\n", "it lacks the column 'v'"),
        ("time,success,u,v,w\n0,1,1,2,3\n", "w are in this one alone; --columns chooses"),
        ("time,seen,u,v\n0,1,1,2\n", "it has no column 'success' (--state-column)"),
        ("time,success,u,v\n0.2,1,1,2\n0.1,1,1,2\n", "row 2: its time, 0.1 s, is before that of the row above"),
        ("time,success,u,v\n,1,1,2\n", "row 1: its time is empty, NaN or infinite"),
        ("time,success,u,v\n", "a header and no rows"),
        ("", "the file is empty"),
        ("time,success,u,u\n", "two columns are named 'u'"),
    ],
)
def test_a_table_that_makes_no_sense_is_a_failure_of_its_clip(tmp_path, folder, text, said):
    (folder / "b.csv").write_text(text)
    assert said in failure(tmp_path, folder, **TIMED)


@pytest.mark.parametrize(("nan", "frames"), [("zero", [[1, 2], [0, 4]]), ("no-face", [[1, 2], [0, 0]])])
def test_nan_is_what_was_asked_for(tmp_path, folder, nan, frames):
    (folder / "a.csv").write_text("u,v\n1,2\n,4\n")
    report = imported(folder, tmp_path / "c.zarr", nan=nan)
    cache = open_cache(tmp_path / "c.zarr")
    clip = cache.clip("a")
    assert clip.features["features"].tolist() == frames
    assert clip.mask.tolist() == [True, nan == "zero"]
    assert list(report.notes.values()) == [1]
    assert cache.recipes.features["features"].normalize.startswith("NaN as")


def saved(path, value):
    with open(path, "wb") as file:
        pickle.dump(value, file)


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (lambda path: np.save(path, np.ones((3, 5))), "its rows have 5 numbers, and 2 other files 2"),
        (lambda path: np.save(path, np.array([{}], object)), "it holds Python objects, which only unpickling reads"),
        (lambda path: saved(path, [1, 2]), "it cannot be read as an array"),
        (lambda path: np.save(path, np.zeros((0, 2))), "it is empty: its shape is (0, 2)"),
        (lambda path: np.save(path, np.ones((2, 2, 2))), "its shape is (2, 2, 2); expected (rows, width)"),
        (lambda path: np.save(path, np.array([["a", "b"]])), ", not numbers"),
        (lambda path: path.write_bytes(b""), "it cannot be read as an array"),
        (lambda path: np.save(path, np.array([[1, np.nan]])), "row 1, number 2 is empty or NaN"),
        (lambda path: np.save(path, np.array([[1, 1e300]])), "row 1, number 2 is infinite, or too large for float32"),
    ],
)
def test_an_array_that_makes_no_sense_is_a_failure_of_its_clip(tmp_path, write, said):
    folder = tmp_path / "npy"
    folder.mkdir()
    for name in ("a", "c"):
        np.save(folder / f"{name}.npy", np.ones((3, 2)))
    write(folder / "b.npy")
    assert said in failure(tmp_path, folder)


def test_windows_that_do_not_fit_their_clip(tmp_path):
    for name in ("a", "b"):
        windows(tmp_path, name)
    (tmp_path / "list.csv").write_text("id,num_frames\na,30\nb,27\n")
    sources = [tmp_path / f"w{step}" for step in STEPS]
    told = {"window": (WINDOW,), "stride": STEPS, "lists": [tmp_path / "list.csv"]}
    report = imported(sources, tmp_path / "c.zarr", **told)
    assert (
        "a window covers frames 20 to 27, and the clip has 27: 1 of 9 windows end after it" in report.failures[0].error
    )
    cut = imported(sources, tmp_path / "d.zarr", past_end="cut", **told)
    assert cut.notes == {"windows shortened to the end of their clip": 1}
    assert open_cache(tmp_path / "d.zarr").windows("b").stop.max() == 27
    (tmp_path / "w8" / "b.npy").unlink()
    assert "SOURCE 2 has no file of this clip" in imported(sources, tmp_path / "e.zarr", **told).failures[0].error


def test_other_numbers_of_frames_than_a_list_says(tmp_path):
    np.save(tmp_path / "a.npy", np.ones((3, 2)))
    np.save(tmp_path / "b.npy", np.ones((3, 2)))
    (tmp_path / "list.csv").write_text("id,num_frames,apex\na,4,\nb,3,3\n")
    sources = [tmp_path / "a.npy", tmp_path / "b.npy"]
    report = imported(sources, tmp_path / "c.zarr", lists=[tmp_path / "list.csv"])
    assert [one.error for one in report.failures] == [
        "it has 3 rows, and the list says 4 frames (try: --window 16 --stride 4 where rows are of windows; with another --out)",
        "the list says apex 3, and the clip has 3 frames",
    ]


@pytest.mark.parametrize(
    ("files", "config", "said"),
    [
        (("x/a.npy", "y/a.npy"), {}, "Two files are of the clip 'a'"),
        (("x/a.npy", "y/b.csv"), {}, "hold tables and arrays"),
        (("x/a.txt",), {}, "looked for .npy .npz .csv .tsv .parquet; found 1 .txt"),
        (("x/a.npy",), {"window": (4,)}, "--window and --stride"),
        (("x/a.npy",), {"window": (4,), "stride": (1, 2)}, "2 kinds of windows are given, and 1 SOURCE"),
        (("x/a.npy",), {"id_column": "id"}, "these are arrays"),
        (("x/a.npy",), {"fps": None, "window": (4,), "stride": (4,)}, "need --fps"),
        (("x/a.npy",), {"by": " "}, "The tool that made these features is not given"),
        (("x/a.npy",), {"rate": (25.0,)}, "--rate is for windows"),
        (("x/a.csv",), {"columns": ("w*",)}, "no column is 'w\\*'"),
        (("x/a.csv",), {"id_column": "u"}, "rows of '1.0' do not stand together"),
    ],
)
def test_what_makes_no_sense_as_a_whole_is_refused(tmp_path, files, config, said):
    for name in files:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        rows = np.array([[1.0, 2], [3, 4], [1, 5]], np.float32)
        written(path, rows) if path.suffix != ".txt" else path.write_text("x")
        if path.suffix == ".csv":
            path.write_text(path.read_text().replace("f0", "u"))
    with pytest.raises(UsageError, match=said):
        imported(sorted({tmp_path / name.split("/")[0] for name in files}), tmp_path / "c.zarr", **config)
    assert not (tmp_path / "c.zarr").exists()


def test_without_pyarrow_the_extra_is_named(tmp_path, monkeypatch):
    written(tmp_path / "a.parquet", np.ones((2, 2), np.float32))
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(SourceError, match=r"pip install 'est-fer\[tables\]'"):
        tables.open_table(tmp_path / "a.parquet")
    with pytest.raises(UsageError, match="None of 1 files can be read"):
        plan_import([tmp_path / "a.parquet"], ImportConfig(**FPS))


@pytest.mark.slow
def test_a_million_rows_in_bounded_memory(tmp_path):
    import subprocess
    import sys

    path, rows = tmp_path / "all.csv", 1_000_000
    with open(path, "w") as file:
        file.write("clip," + ",".join(f"f{number}" for number in range(16)) + "\n")
        cells = ",".join(f"{number / 7:.5f}" for number in range(16))
        file.writelines(f"clip{row // 500:05d},{cells}\n" for row in range(rows))
    script = (
        "import resource, sys\n"
        "from est.cache import open_cache, CacheWriter\n"
        "from est.inputs.features.importing import import_features\n"
        "from est.inputs.features.config import ImportConfig\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "config = ImportConfig(by='a test', fps=25.0, id_column='clip')\n"
        "report = import_features([sys.argv[1]], sys.argv[2], config)\n"
        "print(report.frames, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, path, tmp_path / "c.zarr"], capture_output=True, text=True, check=True
    )
    frames, grown = map(int, done.stdout.split())
    assert frames == rows
    assert grown < 400  # MB: the table has 130 MB as text, 64 MB of features, and a commit waits for 128 MB
