"""Lists that a Python caller holds: data frames, dictionaries of columns, and whatever else has named columns."""

from __future__ import annotations

import sys
from pathlib import Path

import pandas
import pytest
from cache_samples import make_cache

from est.cache import Watch, open_cache
from est.errors import EstError, UsageError
from est.inputs.given import as_found
from est.inputs.input import find_inputs
from est.inputs.relabelling import plan_relabelling
from est.inputs.tablelist import read_lists

COLUMNS = {
    "path": ["in/b.mp4", "in/a.mp4"],
    "label": ["calm", None],
    "subject": [7, 3],
    "fold": [1, 2],
    "start": [None, 0.5],
}


class Columns:
    """What tables of other libraries have in common with pandas': the names of columns, and cells by name."""

    columns = tuple(COLUMNS)

    def __getitem__(self, name):
        return COLUMNS[name]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The folder in which Python works, with two videos."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    for name in ("a", "b"):
        (tmp_path / "in" / f"{name}.mp4").write_bytes(b"video")
    return tmp_path


def told(found):
    return [(clip.id, clip.path, clip.label, clip.subject, clip.fold, clip.start) for clip in found.inputs]


@pytest.mark.parametrize("kind", [dict, pandas.DataFrame, lambda _: Columns()], ids=["dict", "pandas", "others"])
def test_a_table_says_what_a_list_says(kind, folder):
    pandas.DataFrame(COLUMNS).to_csv("list.csv", index=False)
    found = find_inputs(kind(COLUMNS))
    assert told(found) == told(find_inputs("list.csv"))
    assert told(found) == [
        ("in/a#0.5-", folder / "in" / "a.mp4", None, "3", 2, 0.5),
        ("in/b", folder / "in" / "b.mp4", "calm", "7", 1, None),
    ]


def test_missing_cells_and_indices():
    """pandas makes 3.0 of 3 where a cell is missing, and has several words for missing; an index with a name is a column."""
    frame = pandas.DataFrame(
        {
            "label": pandas.array(["glad", None], dtype="string"),
            "subject": [3, None],
            "fold": pandas.array([2, None], dtype="Int64"),
            "extra:age": [31.0, None],
        },
        index=pandas.Index(["x", "y"], name="id"),
    )
    (read,) = read_lists(frame, keys=("id", "path")).values()
    assert [(row.id, row.label, row.subject, row.fold, row.extra) for row in read.rows] == [
        ("x", "glad", "3", 2, {"age": "31.0"}),
        ("y", None, "", -1, {"age": ""}),
    ]


def test_one_or_several_of_every_kind(folder):
    one = find_inputs("in/a.mp4")
    assert [clip.id for clip in one.inputs] == ["a"]
    assert find_inputs(Path("in/a.mp4")).inputs == find_inputs(["in/a.mp4"]).inputs == one.inputs
    several = find_inputs(("in/a.mp4", {"path": ["in/b.mp4"]}, {"path": ["in/b.mp4"], "id": ["again"]}))
    assert [clip.id for clip in several.inputs] == ["a", "again", "in/b"]


def test_what_was_found_is_taken_as_it_is(folder):
    class Heard(Watch):
        def warn(self, text):
            warned.append(text)

    warned = []
    found = find_inputs("in")
    assert as_found(found, Watch()) is found
    assert as_found("in", Watch(), labels="folders") == find_inputs("in", labels="folders")
    with pytest.raises(UsageError, match="were found before") as error:
        as_found(found, Watch(), labels="folders")
    assert "find_inputs" in error.value.remedy
    as_found({"path": ["in/a.mp4", "in/b.mp4"], "label": ["calm", "Calm"]}, Heard())
    assert len(warned) == 1, "two spellings of a label"
    assert "Calm" in warned[0]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"film": ["in/a.mp4"]}, "data frame: a list has a column `path`, found 'film'"),
        ({"path": ["in/a.mp4", ""]}, "data frame, line 2: the path is empty"),
        ({"path": ["in/a.mp4"], "fold": ["two"]}, "data frame, line 1: fold: expected a whole number, found 'two'"),
        ({"path": ["gone.mp4"]}, "data frame: the file that it names is not there; line 1 is 'gone.mp4'"),
        ({"path": []}, "data frame: the list names no clip"),
        (5, "paths, lists and data frames, found 5"),
        (["in", 5], "paths, lists and data frames, found 5"),
    ],
)
def test_what_makes_no_sense_is_told_with_its_line(given, message, folder):
    with pytest.raises(UsageError, match=message) as error:
        find_inputs(given)
    assert "begin at .," not in str(error.value.remedy)


def test_the_table_of_a_cache_comes_back_as_labels(tmp_path):
    path = make_cache(tmp_path / "c.zarr", failures=[20])
    clips = open_cache(path).clips.to_pandas()
    assert plan_relabelling(path, clips).changes == (), "nothing is changed"
    clips["label"] = "calm"
    found = plan_relabelling(path, clips[["id", "label"]])
    assert {change.after for change in found.changes} == {"calm"}
    found.write()
    assert set(open_cache(path).clips.label_names) == {"calm"}
    assert not plan_relabelling(path, clips.set_index("id")[["label"]]).changes
    with pytest.raises(UsageError, match=r"data frame, line 1 and data frame 2, line 1 disagree on the split"):
        plan_relabelling(path, [{"id": [clips["id"][0]], "split": [name]} for name in ("a", "b")])


def test_a_data_frame_without_pandas_is_told_the_extra(tmp_path, monkeypatch):
    cache = open_cache(make_cache(tmp_path / "c.zarr"))
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(EstError, match="need the package pandas") as error:
        cache.clips.to_pandas()
    assert error.value.remedy == "pip install 'est-fer[tables]'"
    assert plan_relabelling(cache.path, {"id": [cache.ids[3]], "label": ["calm"]}).changes, (
        "and none is needed to give one"
    )
