"""`est cache relabel` on the command line: what it shows, when it writes, and how it ends."""

from __future__ import annotations

import csv
import json

import pytest
from cache_samples import contents

from est.cache import open_cache
from est.cli import main
from est.inputs.relabelling import annotations


@pytest.fixture
def est(capsys):
    """Run `est` in this process; return its status, stdout and stderr."""

    def call(*arguments):
        with pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return stop.value.code, out, err

    return call


@pytest.fixture
def cache(cache_path, make_cache):
    """Eight clips and two failures; a third failure has the id of a clip, and is only an earlier attempt."""
    make_cache(cache_path, range(8), crops=True, failures=(11, 12))
    return cache_path


def written(folder, *rows):
    """Write rows of cells, the header first."""
    with open(folder / "list.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    return folder / "list.csv"


def said(cache):
    return annotations(open_cache(cache))


def test_a_list_that_cannot_be_read_says_what_mends_it(est, cache, tmp_path):
    written(tmp_path, ("id", "label"))
    status, _, err = est("cache", "relabel", cache, tmp_path / "lists.csv")
    assert status == 2
    assert f"{tmp_path / 'lists.csv'} does not exist.\n  try: {tmp_path / 'list.csv'}, the nearest name" in err
    (tmp_path / "folder.csv").mkdir()
    status, _, err = est("cache", "relabel", cache, tmp_path / "folder.csv")
    assert status == 2
    assert f"try: a list (.csv, .tsv, .txt) in {tmp_path / 'folder.csv'}" in err


def test_the_command_shows_asks_and_writes(est, cache, tmp_path, monkeypatch):
    path = written(
        tmp_path, ("id", "label", "fold"), ("set/clip 001", "fear", 1), ("set/clip 012", "sad", ""), ("no", "x", "")
    )
    before = contents(cache)
    status, out, err = est("cache", "relabel", cache, path, "--dry-run")
    assert (status, contents(cache)) == (0, before)
    for words in (
        "2 of 10 clips (with 2 failures) are on the lists: 2 by id",
        "label: 2 changed",
        "set/clip 001: sad → fear",
        "fear           0 →       1",
        "fold: nothing changes",
        "8 clips are on no line, and left unchanged: 'set/clip 000',",
        "line 4: no: no such clip",
    ):
        assert words in out, words
    status, out, err = est("cache", "relabel", cache, path)
    assert (status, contents(cache)) == (2, before), "the confirmation needs a terminal"
    assert "label: 2 changed" in out
    assert "--yes writes" in err
    assert est("cache", "relabel", cache, path, "--yes", "--dry-run")[0] == 2
    for stream in ("stdin", "stderr"):
        monkeypatch.setattr(f"sys.{stream}.isatty", lambda: True, raising=False)
    monkeypatch.setattr("sys.stdin.readline", lambda: "n\n", raising=False)
    status, out, err = est("cache", "relabel", cache, path)
    assert (status, contents(cache)) == (0, before)
    assert "Write this to" in err
    assert "Nothing is written." in err
    monkeypatch.setattr("sys.stdin.readline", lambda: "y\n", raising=False)
    status, out, err = est("cache", "relabel", cache, path)
    assert status == 0
    assert f"2 clips are relabelled in {cache}" in err
    assert said(cache)["set/clip 012"]["label"] == "sad"
    status, out, err = est("cache", "relabel", cache, path)
    assert (status, "nothing changes" in out, "Write this" in err) == (0, True, False)


def test_the_command_for_machines(est, cache, tmp_path):
    path = written(tmp_path, ("id", "label"), ("set/clip 001", "Happy"), ("set/clip 000", ""), ("no", "x"))
    line = ("cache", "relabel", cache, path, "--json")
    status, out, err = est(*line)
    events = [json.loads(text) for text in out.splitlines()]
    assert (status, err, events[-1]["event"]) == (2, "", "error")
    assert events[-2]["written"] is False
    status, out, _ = est(*line, "--yes", "--only", "label,label")
    events = [json.loads(text) for text in out.splitlines()]
    assert status == 0
    assert "is it a misspelling" in events[0]["message"]
    result = events[-1]
    assert result["written"] is True
    assert result["changes"] == [
        {"id": "set/clip 001", "column": "label", "before": "sad", "after": "Happy", "kind": "changed"}
    ]
    assert result["unmatched"] == [{"list": str(path), "line": 4, "clip": "no", "why": "no such clip"}]
    assert result["matched"] == {"id": 2}
    assert len(result["unnamed"]) == 8
    assert {row["value"]: (row["before"], row["after"]) for row in result["counts"]["label"]}["Happy"] == (0, 1)
    assert said(cache)["set/clip 001"]["label"] == "Happy"
    assert est(*line, "--yes", "--strict")[0] == 2
    assert est(*line, "--yes", "--only", "lbel")[0] == 2
    status, out, _ = est(*line, "--yes", "--clear")
    assert json.loads(out.splitlines()[-1])["changes"] == [], "what is empty is not cleared again"


def test_many_changes_are_shown_in_short(est, make_cache, tmp_path):
    cache = make_cache(tmp_path / "c.zarr", range(1, 41))
    rows = [(clip_id, f"s{n:03d}", "") for n, clip_id in enumerate(said(cache))]
    path = written(tmp_path, ("id", "subject", "label"), *rows)
    _, out, _ = est("cache", "relabel", cache, path, "--dry-run")
    assert "subject: 40 changed" in out
    assert "… and 35 more" in out
    assert "4 values before, 40 after" in out
    assert len(out.splitlines()) < 20
