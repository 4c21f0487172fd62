"""`est cache ls`, `est cache show`, `est report` and the faces of `est cache info`, as they are typed."""

from __future__ import annotations

import csv
import io
import json
import webbrowser

import pytest
from cache_samples import make_cache
from shown_samples import shown_cache

from est.cache import CacheWriter, open_cache
from est.cli import main


@pytest.fixture
def est(capsys):
    """Run `est` in this process; return its status, stdout and stderr."""

    def run(*arguments):
        with pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return stop.value.code, out, err

    return run


@pytest.fixture
def cache(cache_path):
    return make_cache(cache_path, range(12), failures=(20, 21, 22))


def ids(text):
    return [line.split("\t")[0] for line in text.splitlines()]


def test_ls_shows_quality_in_columns_of_their_own(est, cache):
    clip = open_cache(cache).clips.row("set/clip 004")
    line = est("cache", "ls", cache)[1].splitlines()[4].split("\t")
    assert line[5:8] == [
        f"{clip['count']} frames",
        f"coverage {clip['coverage']:.3f}",
        f"jitter {clip['box_jitter']:.4f}",
    ]
    assert line[8:10] == ["tracks -", "identity changes -"]


def test_ls_filters_sorts_and_limits(est, cache):
    clips = open_cache(cache).clips
    status, text, _ = est("cache", "ls", cache, "--where", "coverage > 70% and not split = test", "--sort", "coverage")
    wanted = [place for place in range(12) if clips.coverage[place] > 0.7 and clips.split[place] != "test"]
    assert (status, ids(text)) == (0, [clips.ids[n] for n in sorted(wanted, key=lambda n: clips.coverage[n])])
    text = est("cache", "ls", cache, "--sort", "count", "--reverse", "--limit", 3, "--label", "sad")[1]
    sad = [place for place in range(12) if clips.label_names[place] == "sad"]
    assert ids(text) == [clips.ids[n] for n in sorted(sad, key=lambda n: -clips.count[n])[:3]]
    assert est("cache", "ls", cache, "--where", "coverage > 1")[1] == "No clips.\n"
    assert len(est("cache", "ls", cache, "--failures", "--limit", 2)[1].splitlines()) == 2


def test_ls_writes_a_table(est, cache, tmp_path):
    status, text, _ = est("cache", "ls", cache, "--csv", "-", "--sort", "id", "--limit", 5)
    rows = list(csv.DictReader(io.StringIO(text)))
    data = json.loads(est("cache", "ls", cache, "--json", "--sort", "id", "--limit", 5)[1])["clips"]
    assert status == 0
    assert [{name: str("" if value is None else value) for name, value in row.items()} for row in data] == rows
    known = open_cache(cache).clips.row(data[2]["id"])
    assert data[2]["coverage"] == known["coverage"] > 0
    assert {name: data[2][name] for name in ("label", "path", "fold", "fps")} == {
        name: known[name] for name in ("label", "path", "fold", "fps")
    }
    assert (known["tracks"], data[2]["tracks"], rows[2]["tracks"]) == (-1, None, "")
    path = tmp_path / "clips.csv"
    status, said, _ = est("cache", "ls", cache, "--csv", path, "--sort", "id", "--limit", 5)
    assert (status, path.read_text(encoding="utf-8")) == (0, text)
    assert "5 clips in" in said
    assert est("cache", "ls", cache, "--csv", path)[0] == 2  # is there already
    assert est("cache", "ls", cache, "--csv", path, "--overwrite")[0] == 0
    assert len(path.read_text(encoding="utf-8").splitlines()) == 13


def test_an_unknown_fold_is_an_empty_cell(est, tmp_path):
    path = shown_cache(tmp_path, orientations=[(0, False)])
    (row,) = csv.DictReader(io.StringIO(est("cache", "ls", path, "--csv", "-")[1]))
    assert (row["id"], row["fold"]) == ("turned 0", "")
    (told,) = json.loads(est("cache", "ls", path, "--json")[1])["clips"]
    assert told["fold"] == -1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--where", "covrage < 1"], "found 'covrage'"),
        (["--sort", "frame"], "found 'frame'"),
        (["--limit", "-1"], "--limit is 0 or more"),
        (["--reverse"], "--reverse needs --sort"),
        (["--failures", "--sort", "id"], "--failures lists failures"),
        (["--csv", "-", "--json"], "both write to the screen"),
    ],
)
def test_ls_refuses_what_makes_no_sense(est, cache, options, message):
    status, out, err = est("cache", "ls", cache, *options)
    assert status == 2
    assert message in out + err


def test_show_writes_a_sheet_and_a_page(est, tmp_path, monkeypatch):
    cache = shown_cache(tmp_path, orientations=[(90, False), (0, False)])
    monkeypatch.chdir(tmp_path)
    status, out, _ = est("cache", "show", cache, "turned 90", "--frames", 2)
    assert (status, out) == (0, "1 clip: shown-clips/clips.png, shown-clips/clips.html\n")
    assert (tmp_path / "shown-clips" / "clips.html").read_text(encoding="utf-8").count("<img ") == 2
    assert est("cache", "show", cache)[0] == 2  # is there already
    (tmp_path / "turned 0.mp4").unlink()
    status, out, _ = est("cache", "show", cache, "--out", "b", "--json", "--where", "label = fear", "--every", 2)
    events = [json.loads(line) for line in out.splitlines()]
    assert status == 3
    assert events[-1]["clips"] == ["turned 90", "turned 0"]
    assert "cannot be read" in events[-1]["without_crops"]["turned 0"]
    (tmp_path / "turned 90.mp4").unlink()
    status, _, err = est("cache", "show", cache, "--out", "c")
    assert status == 1
    assert "keeps no crops" in err
    assert "--crops" in err


def test_report_writes_the_page_of_a_cache(est, tmp_path, monkeypatch):
    cache = shown_cache(tmp_path, orientations=[(0, False)], crops=True)
    monkeypatch.chdir(tmp_path)
    opened = []
    monkeypatch.setattr(webbrowser, "open", lambda url: opened.append(url) or True)
    status, out, _ = est("report", cache, "--quiet", "--open")
    assert (status, out) == (0, "page: shown-report.html\n")
    assert opened == [(tmp_path / "shown-report.html").as_uri()]
    assert "data:image/jpeg" not in (tmp_path / "shown-report.html").read_text(encoding="utf-8")
    assert est("report", cache)[0] == 2
    assert est("report", cache, "--overwrite", "--faces", "--quiet")[0] == 0
    assert "data:image/jpeg" in (tmp_path / "shown-report.html").read_text(encoding="utf-8")


def test_report_refuses_what_it_cannot_show(est, cache, tmp_path):
    for arguments, message in (
        ([cache, cache], "A page is of one cache"),
        ([cache, tmp_path], "A page is of one cache"),
        ([tmp_path / "nothing"], "There is no"),
        ([tmp_path / "nothing.zarr"], "does not exist"),
        ([cache, "--cache", cache], "--cache says where the cache of a run is"),
        ([cache, "--out", tmp_path / "page.pdf"], "--out is an HTML file"),
    ):
        status, _, err = est("report", *arguments)
        assert status == 2
        assert message in err


def test_info_says_how_many_faces_are_held_and_how_a_person_is_erased(est, tmp_path):
    path = make_cache(tmp_path / "c.zarr", range(5), crops=True)
    cache = open_cache(path)
    faces = [sum(map(bool, cache.crops(index))) for index in range(5)]
    with CacheWriter.open(path) as writer:
        writer.remove([cache.ids[4]])
    assert faces[4] > 0
    text = est("cache", "info", path)[1]
    assert f"{sum(faces[:4])} face pictures, {faces[4]} more of removed clips" in text
    assert f"est cache erase {path} --subject NAME" in text
    data = json.loads(est("cache", "info", path, "--json")[1])
    assert (data["face_pictures"], data["removed_face_pictures"]) == (sum(faces[:4]), faces[4])
    assert "no face pictures" in est("cache", "info", make_cache(tmp_path / "d.h5"))[1]
