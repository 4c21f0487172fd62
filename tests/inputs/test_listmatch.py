"""Which clips the lines of a list mean: by id, by path, by name, and never one too many."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from est.inputs.csvlist import Row
from est.inputs.listmatch import Line, match_lines

LINES = {  # line → the clips of the cache below that it means, and how they are told
    "id:a/1": ("id", ["a/1"]),
    "id:face": ("id", ["face#1", "face#2"]),
    "id:face#2": ("id", ["face#2"]),
    "/data/a/1.mp4": ("path", ["a/1"]),
    "a/1.mp4": ("path", ["a/1"]),
    "./a/../a/1.MP4": ("path", ["a/1"]),
    "a\\1.mp4": ("path", ["a/1"]),
    "/data/face.mp4": ("path", ["face#1", "face#2"]),
    "/data/cut.mp4 2-4.5": ("path", ["cut#2-4.5"]),
    "cut.mp4 0-2": ("path", ["cut#0-2"]),
    unicodedata.normalize("NFD", "über.mp4"): ("path", ["über"]),
    "/elsewhere/only.avi": ("name", ["deep/down/only"]),
    "/elsewhere/ONLY": ("name", ["deep/down/only"]),
    "00042.mp4": ("name", ["x/42"]),
    "/elsewhere/face.avi": ("name", ["face#1", "face#2"]),
    "/elsewhere/kept as.mp4": ("name", ["mine"]),
    "/elsewhere/frames.of.a.folder": ("name", ["frames.of.a.folder"]),
    "/elsewhere/1.mp4": ("2 clips have that name", []),
    "cut.mp4": ("no such clip", []),
    "cut.mp4 0-3": ("no such clip", []),
    "a/7.mp4": ("no such clip", []),
    "id:a/7": ("no such clip", []),
}
CLIPS = {
    "a/1": "/data/a/1.mp4",
    "b/1": "/data/b/1.mp4",
    "face#1": "/data/face.mp4",
    "face#2": "/data/face.mp4",
    "cut#0-2": "/data/cut.mp4",
    "cut#2-4.5": "/data/cut.mp4",
    "über": "/data/über.mp4",
    "deep/down/only": "/data/deep/down/only.mp4",
    "x/42": "",
    "mine": "/data/kept as.mp4",
    "frames.of.a.folder": "/data/frames.of.a.folder",
}


def line(text, *, number=2, folder="/lists"):
    """Return the line that a key of `LINES` describes."""
    if text.startswith("id:"):
        return Line(list=Path(folder, "list.csv"), row=Row(line=number, path="", id=text[3:]))
    path, _, cut = text.partition(" ") if "-" in text else (text, "", "")
    start, end = (float(part) for part in cut.split("-")) if cut else (None, None)
    return Line(list=Path(folder, "list.csv"), row=Row(line=number, path=path, start=start or None, end=end))


@pytest.mark.parametrize("text", LINES)
def test_which_clips_a_line_means(text):
    how, expected = LINES[text]
    matches, unmatched = match_lines([line(text)], CLIPS.items())
    if expected:
        assert [(match.how, list(match.ids)) for match in matches] == [(how, expected)]
    else:
        assert not matches
        assert unmatched[0].why.startswith(how)


def test_a_guess_does_not_stand_beside_knowledge():
    both = [line("b/only.mp4", number=2), line("/data/deep/down/only.mp4", number=3)]
    matches, unmatched = match_lines(both, CLIPS.items())
    assert [(match.line.row.line, match.how) for match in matches] == [(3, "path")]
    assert unmatched[0].why == "'deep/down/only' is what line 3 names"
    matches, unmatched = match_lines([line("p/only.mp4"), line("q/only.mp4")], CLIPS.items())
    assert not matches
    assert [one.why for one in unmatched] == ["2 files on the list have that name"] * 2
    # on another list the same name may stand again
    matches, unmatched = match_lines([line("only.mp4"), line("q/only.mp4", folder="/others")], CLIPS.items())
    assert [match.ids for match in matches] == [("deep/down/only",)] * 2


@settings(max_examples=30)
@given(st.data())
def test_no_line_gets_a_clip_that_is_not_its_own(data):
    """Planted truth: a list of clips that are there and clips that are not, whatever part of their path is written."""
    names = data.draw(st.lists(st.tuples(*[st.sampled_from("abcd")] * 3), min_size=1, max_size=12, unique=True))
    split = data.draw(st.integers(1, len(names)))
    there, all_of = names[:split], names
    clips = {"/".join(parts): "/data/" + "/".join(parts) + ".mp4" for parts in there}
    depth = data.draw(st.integers(1, 3))
    lines = [
        line("/".join(parts[-depth:]) + ".mp4", number=n, folder="/data" if depth == 3 else "/lists")
        for n, parts in enumerate(all_of)
    ]
    matches, unmatched = match_lines(lines, clips.items())
    assert len(matches) + len(unmatched) == len(lines)
    if depth == 3:
        named = {match.line.row.line for match in matches if match.how == "path"}
        assert named == set(range(split)), "a whole path is enough"
    for match in matches:
        (clip_id,) = match.ids
        ending = match.line.row.path.removesuffix(".mp4")
        if match.how == "path":
            assert clip_id == "/".join(all_of[match.line.row.line])
        else:
            assert clip_id.split("/")[-1] == ending.split("/")[-1]
            assert sum(other.split("/")[-1] == clip_id.split("/")[-1] for other in clips) == 1
