"""Lists of clips: every dialect that spreadsheets write, and a message with a line for what makes no sense."""

from __future__ import annotations

import unicodedata

import pytest

from est.errors import UsageError
from est.inputs.csvlist import ALIASES, read_list
from est.inputs.input import find_inputs


@pytest.fixture
def listed(tmp_path):
    """`listed(content, name="list.csv", encoding="utf-8", files=…)` writes a list beside files and returns what is found."""

    def find(content, *, name="list.csv", encoding="utf-8", files=("a.mp4", "sub/b.mp4"), **options):
        for file in files:
            (tmp_path / file).parent.mkdir(exist_ok=True)
            (tmp_path / file).write_bytes(b"x")
        data = content if isinstance(content, bytes) else content.encode(encoding)
        (tmp_path / name).write_bytes(data)
        return find_inputs([tmp_path / name], **options)

    return find


def test_all_columns(listed, tmp_path):
    found = listed("path,label,subject,split,fold,start,end\na.mp4,happy,s1,train,2,0.5,1.25\nsub/b.mp4,,,,,,\n")
    a, b = found.inputs
    assert (a.id, a.path, a.kind) == ("a#0.5-1.25", tmp_path / "a.mp4", "video")
    assert (a.label, a.subject, a.split, a.fold, a.start, a.end) == ("happy", "s1", "train", 2, 0.5, 1.25)
    assert (b.id, b.label, b.subject, b.split, b.fold, b.start, b.end) == ("sub/b", None, "", "", -1, None, None)
    assert not found.problems
    assert not found.unused_columns


@pytest.mark.parametrize("delimiter", list(",;\t|"))
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_delimiters_and_encodings(listed, delimiter, encoding, newline):
    lines = [["Path", "Emotion"], ["müde.mp4", "überrascht"], ["sub/b.mp4", "sad"]]
    text = newline.join(delimiter.join(line) for line in lines)
    found = listed(text, encoding=encoding, files=("müde.mp4", "sub/b.mp4"))
    assert [(clip.id, clip.label) for clip in found.inputs] == [("müde", "überrascht"), ("sub/b", "sad")]


def test_quotes_hold_delimiters_newlines_and_quotes(listed):
    names = ("a, b.mp4", "two\nlines.mp4", 'say "cheese".mp4')
    found = listed('path,label\n"a, b.mp4",x\n"two\nlines.mp4","y, z"\n"say ""cheese"".mp4",w\n', files=names)
    assert {clip.path.name: clip.label for clip in found.inputs} == dict(zip(names, ("x", "y, z", "w"), strict=True))


@pytest.mark.parametrize(
    ("column", "alias"), [(column, alias) for column in ALIASES for alias in ALIASES[column].split()]
)
def test_aliases(tmp_path, column, alias):
    header = alias.upper().replace("ID", "_ID")
    cells = {"fold": "3", "start": "1", "end": "9", "onset": "2", "apex": "4", "offset": "6"}
    text = f"{header}\nv.mp4\n" if column == "path" else f"path,{header}\nv.mp4,{cells.get(column, 'word')}\n"
    (tmp_path / "list.csv").write_text(text)
    (row,) = read_list(tmp_path / "list.csv").rows
    expected = {"path": "v.mp4", "fold": 3, "start": 1.0, "end": 9.0, "onset": 2, "apex": 4, "offset": 6}.get(
        column, "word"
    )
    assert getattr(row, column) == expected


def test_the_plainest_name_wins_and_the_rest_is_listed(listed, tmp_path):
    found = listed("video,path,emotion,label,onset_frame,apex,seed\nno.mp4,a.mp4,1,happy,17,3,4\n")
    (clip,) = found.inputs
    assert (clip.id, clip.label, clip.onset, clip.apex) == ("a", "happy", 17, 3)
    assert found.unused_columns == {str(tmp_path / "list.csv"): ("video", "emotion")}


def test_segments_of_one_file(listed):
    found = listed("file;begin;stop\na.mp4;0;1,5\na.mp4;1,5;1:02\na.mp4;1:00:00;\n")
    assert [(clip.id, clip.start, clip.end) for clip in found.inputs] == [
        ("a#0-1.5", None, 1.5),
        ("a#1.5-62", 1.5, 62.0),
        ("a#3600-", 3600.0, None),
    ]


def test_own_ids_are_kept(listed):
    found = listed("id,path\nsecond,a.mp4\nfirst,a.mp4\n")
    assert [clip.id for clip in found.inputs] == ["first", "second"]


def test_a_missing_file_is_the_matter_of_its_row(listed, tmp_path):
    found = listed("path,label\nsub/b.mp4,x\ngone.mp4,y\nsub,z\n")
    assert [clip.id for clip in found.inputs] == ["sub/b"]
    errors = {problem.id: problem.error for problem in found.problems}
    assert errors == {
        "gone": "line 3 of the list names a file that does not exist",
        "sub": "the folder holds no pictures",
    }
    assert {problem.stage for problem in found.problems} == {"input"}
    assert str(tmp_path / "gone.mp4") in {problem.path for problem in found.problems}


def test_paths_from_other_systems(listed):
    decomposed = unicodedata.normalize("NFD", "é.mp4")
    found = listed(f"path\nsub\\b.mp4\n{decomposed}\n", files=("sub/b.mp4", unicodedata.normalize("NFC", "é.mp4")))
    assert [clip.id for clip in found.inputs] == ["sub/b", "é"]


def test_absolute_paths_and_paths_that_lead_out(tmp_path, listed):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "c.mp4").write_bytes(b"x")
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "l.csv").write_text(f"path\n{tmp_path / 'elsewhere' / 'c.mp4'}\n")
    assert [clip.id for clip in find_inputs([tmp_path / "lists" / "l.csv"]).inputs] == ["elsewhere/c"]
    (tmp_path / "lists" / "l.csv").write_text("path\n../elsewhere/c.mp4\n")
    assert [clip.id for clip in find_inputs([tmp_path / "lists" / "l.csv"]).inputs] == ["elsewhere/c"]


def test_folders_of_frames_in_a_list(listed):
    found = listed("path,label\nframes/,happy\n", files=("frames/1.jpg",))
    assert [(clip.id, clip.kind, clip.label) for clip in found.inputs] == [("frames", "frames", "happy")]


def test_a_text_file_is_a_path_a_line(listed):
    found = listed(
        "a.mp4\n\n  sub/b.mp4\nodd, name.mp4\n", name="list.txt", files=("a.mp4", "sub/b.mp4", "odd, name.mp4")
    )
    assert [clip.id for clip in found.inputs] == ["a", "odd, name", "sub/b"]
    found = listed("path|label\na.mp4|sad\n", name="list.txt")
    assert [(clip.id, clip.label) for clip in found.inputs] == [("a", "sad")]


def test_excels_first_line(listed):
    found = listed("sep=;\r\npath;label\r\na.mp4;x\r\n")
    assert [(clip.id, clip.label) for clip in found.inputs] == [("a", "x")]


def test_labels_by_folder_fill_what_a_list_leaves_open(listed):
    found = listed("path,label\na.mp4,happy\nsub/b.mp4,\n", labels="folders")
    assert [clip.label for clip in found.inputs] == ["happy", "sub"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has a column `path`, found an empty file"),
        ("emotion,who\nx,y\n", "has a column `path`, found 'emotion', 'who'"),
        ("a.mp4,happy\nsub/b.mp4,sad\n", "has a column `path`, found 'a.mp4', 'happy'"),
        ("path,label\na.mp4,x\na.mp4,y\n", "lines 2 and 3 both give the clip 'a'"),
        ("path,label\n\na.mp4,x\n,y\n", "line 4: the path is empty"),
        ("path,fold\na.mp4,two\n", "line 2: fold: expected a whole number, found 'two'"),
        ("path,fold\na.mp4,3000000000\n", "line 2: fold: expected a whole number, found '3000000000'"),
        ("path,fold\na.mp4,1.5\n", "line 2: fold"),
        ("path,start\na.mp4,soon\n", "line 2: start: expected seconds or a clock .*'soon'"),
        ("path,start\na.mp4,-1\n", "line 2: start"),
        ("path,start,end\na.mp4,3,2\n", "line 2: a segment ends after it starts, found 3 to 2 s"),
        ("path,label\na, b.mp4,x\n", "line 2: expected 2 cells, found 3"),
        ('path,label\na.mp4,x\n"sub/b.mp4,y\n', "line 3: unexpected end of data"),
        (b"path\n\x00\x01\n", "is not text"),
    ],
)
def test_a_list_that_makes_no_sense_is_refused_with_its_line(listed, text, message):
    with pytest.raises(UsageError, match=message):
        listed(text)


def test_numbers_as_tables_of_floats_write_them(listed):
    found = listed("path,fold,start\na.mp4,2.0,nan\nsub/b.mp4,NaN,\n")
    assert [(clip.fold, clip.start) for clip in found.inputs] == [(2, None), (-1, None)]


def test_a_moment_is_a_frame(tmp_path):
    (tmp_path / "list.csv").write_text("path,apex\nv.mp4,1.5\n")
    with pytest.raises(
        UsageError, match=r"line 2: apex: expected a whole number, found '1.5': the frame of the clip"
    ) as refused:
        read_list(tmp_path / "list.csv")
    assert "another name" in refused.value.remedy
