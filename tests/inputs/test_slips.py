"""What looks like a slip in folders and lists: refused where it cannot be meant, else a warning that names it."""

from __future__ import annotations

import csv

import pytest
from cache_samples import make_clip
from video_samples import make_video

from est.cli import main
from est.errors import UsageError
from est.extract.config import ExtractConfig
from est.extract.extraction import extract_videos
from est.inputs.csvlist import read_list
from est.inputs.input import find_inputs, is_disordered
from est.inputs.relabelling import plan_relabelling

CROPS = ExtractConfig(weights="random", size=32, detector="none", precision="fp32", workers=1)


def listed(path, *rows):
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    return path


def tree(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"\x47 some bytes \x00\x01")
    return root


def test_clips_at_different_depths_are_refused_by_name(tmp_path):
    root = tree(tmp_path / "in", "s1/happy/a.mp4", "s1/sad/b.mp4", "s1/happy/deep/x.mp4")
    with pytest.raises(
        UsageError, match=r"SUBJECT/LABEL/clip, two folders below .* 1 of 3 are deeper: s1/happy/deep/x"
    ):
        find_inputs([root], labels="folders", subjects="folders")
    with pytest.raises(UsageError) as refused:
        find_inputs([root], labels="folders", subjects="folders")
    assert "--labels '^[^/]+/([^/]+)/'" in refused.value.remedy
    found = find_inputs([root], labels="^[^/]+/([^/]+)/", subjects="^([^/]+)/").inputs
    assert {clip.id: (clip.subject, clip.label) for clip in found} == {
        "s1/happy/a": ("s1", "happy"),
        "s1/sad/b": ("s1", "sad"),
        "s1/happy/deep/x": ("s1", "happy"),
    }
    assert len(find_inputs([root], labels="folders").inputs) == 3, "a label alone is that of the clip's own folder"


def test_one_depth_is_taken_and_lists_say_their_own(tmp_path):
    root = tree(tmp_path / "in", "site/s1/happy/a.mp4", "site/s2/sad/b.mp4")
    found = find_inputs([root], labels="folders", subjects="folders").inputs
    assert [(clip.subject, clip.label) for clip in found] == [("s1", "happy"), ("s2", "sad")]
    root = tree(tmp_path / "other", "s1/happy/a.mp4", "x/y/z/b.mp4")
    rows = [("path", "label", "subject"), ("s1/happy/a.mp4", "", ""), ("x/y/z/b.mp4", "sad", "s2")]
    found = find_inputs([listed(root / "l.csv", *rows)], labels="folders", subjects="folders").inputs
    assert [(clip.subject, clip.label) for clip in found] == [("s1", "happy"), ("s2", "sad")]


def test_labels_that_differ_in_case_are_warned_about(tmp_path):
    root = tree(tmp_path / "in", "Happy/a.mp4", "happy/b.mp4", "sad/c.mp4")
    (warning,) = find_inputs([root], labels="folders").warnings
    assert "'Happy' and 'happy' differ only in upper and lower case" in warning
    assert find_inputs([root / "Happy", root / "sad"], labels="folders").warnings == ()


@pytest.mark.parametrize("header", [("path", "label", "Label"), ("path", "apex", "apex"), ("path", "path", "label")])
def test_a_column_that_is_named_twice_is_refused(tmp_path, header):
    with pytest.raises(UsageError, match=f"2 columns are named {header[1]!r}"):
        read_list(listed(tmp_path / "l.csv", header, ("a.mp4", "1", "2")))


def test_of_two_names_for_one_column_the_first_of_the_table_is_used(tmp_path, capsys):
    tree(tmp_path, "a.mp4")
    path = listed(tmp_path / "l.csv", ("path", "emotion", "label", "note", "note"), ("a.mp4", "1", "happy", "x", "y"))
    assert find_inputs([path]).inputs[0].label == "happy"
    with pytest.raises(SystemExit):
        main(["extract", str(path), "--dry-run", "--weights", str(tmp_path / "none.pth")])
    assert "l.csv: columns that are not used: emotion, note" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("moments", "expected"),
    [((1, 2, 3), False), ((2, 2, 2), False), ((-1, 5, -1), False), ((3, -1, 2), True), ((4, 3, 9), True)],
)
def test_moments_follow_each_other(moments, expected):
    assert is_disordered(moments) is expected


def test_moments_out_of_order_are_named(tmp_path, make_cache):
    for name in "ab":
        make_video(tmp_path / f"{name}.mp4", 4)
    rows = [("path", "onset", "apex", "offset"), ("a.mp4", 2, 1, 3), ("b.mp4", 0, 1, 3)]
    report = extract_videos(find_inputs([listed(tmp_path / "l.csv", *rows)]), tmp_path / "c.zarr", CROPS)
    assert report.disordered == ["a"]
    assert any("1 clip has an onset, apex and offset in a list that do not" in line for line in report.lines())
    found = plan_relabelling(tmp_path / "c.zarr", [listed(tmp_path / "l.csv", ("id", "offset"), ("b", 0))])
    assert found.warnings == ("1 clip has an onset, apex and offset that do not follow each other: 'b'",)
    assert (
        plan_relabelling(tmp_path / "c.zarr", [listed(tmp_path / "l.csv", ("id", "offset"), ("b", 2))]).warnings == ()
    )


def test_one_cell_that_makes_a_column_text_is_named(tmp_path, make_cache):
    names = [make_clip(index).id for index in range(2, 8)]
    ages = ["33", "old", "41", "", "29", "50"]
    tree(tmp_path, names[0])  # a list whose files are all elsewhere is refused
    path = listed(tmp_path / "l.csv", ("path", "id", "extra:age"), *zip(names, names, ages, strict=True))
    (warning,) = find_inputs([path]).warnings
    assert warning.startswith(f"{path}: extra:age holds text in line 3 ('old'): the column is text")
    cache = make_cache(tmp_path / "c.zarr", range(2, 8))
    assert plan_relabelling(cache, [path]).warnings == (warning,)
    plan_relabelling(cache, [path]).write()
    assert plan_relabelling(cache, [path]).warnings == (), "the cache has it as text"
    for few in (["33", "old", "", "", "", ""], ["33", "41", "old", "young", "", ""], ["1", "2", "3", "4", "5", ""]):
        path = listed(tmp_path / "l.csv", ("path", "extra:age"), *zip(names, few, strict=True))
        assert find_inputs([path]).warnings == ()


def test_only_says_what_the_lists_have(tmp_path, make_cache):
    cache = make_cache(tmp_path / "c.zarr", range(2, 4))
    path = listed(tmp_path / "l.csv", ("id", "fold", "extra:age", "note"), (make_clip(2).id, 1, 33, "x"))
    with pytest.raises(
        UsageError, match=r"l.csv has no column extra:zzz; its columns: 'fold', 'id', 'extra:age', 'note'"
    ):
        plan_relabelling(cache, [path], only=["extra:zzz"])
    with pytest.raises(UsageError, match="No list has a column 'extra:zzz'; their columns: 'fold', 'id', 'extra:age'"):
        plan_relabelling(cache, [path], only=["fold", "extra:zzz"])
    with pytest.raises(UsageError) as refused:
        plan_relabelling(cache, [path], only=["nonsense"])
    assert refused.value.remedy == "--only fold"
    with pytest.raises(UsageError) as refused:
        plan_relabelling(cache, [path], only=["onsett"])
    assert refused.value.remedy == "--only onset"
