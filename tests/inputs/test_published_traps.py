"""Wrong lists: each is refused or told in a sentence that names the trap and the way out of it."""

from __future__ import annotations

import os

import pytest
from dataset_trees import dfew_list, edit, frames, make_afew, make_dfew, make_ferv39k, make_mafw, text, video

from est.errors import UsageError
from est.inputs.folders import key_of
from est.inputs.published import Request, dataset_named, find_dataset
from est.inputs.published.base import known_label


def find(name, root, **options):
    return find_dataset(dataset_named(name), root, **options)


def findings(found):
    return {finding.kind: finding for finding in found.check.findings}


def shift(lines):
    """Make the copy of a list that counts from 0."""
    pairs = [line.split(",") for line in lines[1:]]
    return [lines[0], *(f"{name},{int(label) - 1}" for name, label in pairs)]


@pytest.mark.parametrize("half", ["train", "test"])
def test_a_copy_that_counts_from_0_is_refused(half, tmp_path):
    make_dfew(tmp_path)
    edit(dfew_list(tmp_path, half, 3), lambda lines: shift([line.rstrip("\r") for line in lines]))
    with pytest.raises(
        UsageError, match=r"set_3.csv: its labels go from 0 to 6 .* go from 1 to 7 \(1 Happy, .* 7 Fear\)"
    ) as caught:
        find("dfew", tmp_path)
    assert "counts from 0" in caught.value.message
    assert "add 1 to every label" in caught.value.remedy


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("00001,1", "00001,8", "line 2: the label 8 is none of DFEW"),
        ("00001,1", "00001,happy", "line 2: DFEW numbers its labels from 1 to 7, found 'happy'"),
        ("00001,1", "00001,", "line 2: DFEW numbers its labels"),
        ("00001,1", "00001", "line 2: expected a name and a label, found '00001'"),
        ("00001,1", "00001,2", "the clip 00001 is .* in .*lists of different releases"),
    ],
)
def test_a_line_that_makes_no_sense_is_named(old, new, message, tmp_path):
    make_dfew(tmp_path)
    edit(dfew_list(tmp_path, "test", 2), lambda lines: [line.rstrip("\r").replace(old, new) for line in lines])
    with pytest.raises(UsageError, match=message) as caught:
        find("dfew", tmp_path)
    assert caught.value.remedy


def test_a_list_without_its_header_keeps_its_first_clip(tmp_path):
    whole = find("dfew", make_dfew(tmp_path))
    edit(dfew_list(tmp_path, "test", 2), lambda lines: lines[1:])
    found = find("dfew", tmp_path)
    assert found.inputs == whole.inputs
    assert findings(found)["header"].examples == ("test set_2",)


def test_overlapping_halves_and_folds_are_refused(tmp_path):
    make_dfew(tmp_path)
    path, tested = dfew_list(tmp_path, "train", 1), dfew_list(tmp_path, "test", 1)
    before = path.read_bytes()
    edit(path, lambda lines: [*lines, "00005,1"])
    with pytest.raises(UsageError, match=r"fold 1 tests 1 clip that it also learns from \(00005\)"):
        find("dfew", tmp_path)
    path.write_bytes(before)
    dfew_list(tmp_path, "test", 4).write_bytes(tested.read_bytes())
    dfew_list(tmp_path, "train", 4).write_bytes(before)
    with pytest.raises(
        UsageError, match=r"folds 1 and 4 both test 7 clips \(.* and 2 more\).*another release"
    ) as caught:
        find("dfew", tmp_path)
    assert caught.value.remedy == "take all fold lists from one release"


def test_a_fold_list_cut_short_or_of_another_release_is_refused(tmp_path):
    make_dfew(tmp_path)
    edit(dfew_list(tmp_path, "train", 5), lambda lines: lines[:-4])
    with pytest.raises(UsageError, match="lists of fold 5 name 31 clips, those of all folds 35; they lack"):
        find("dfew", tmp_path)


def test_folds_may_be_absent_and_halves_may_not(tmp_path):
    make_dfew(tmp_path)
    for fold in (2, 3, 4, 5):
        for half in ("train", "test"):
            dfew_list(tmp_path, half, fold).unlink()
    found = find("dfew", tmp_path)
    assert findings(found)["folds absent"].text == "no lists of fold 2, 3, 4, 5"
    assert findings(found)["untested"].count == 28
    assert {clip.fold for clip in found.inputs} == {1, -1}
    dfew_list(tmp_path, "train", 1).unlink()
    with pytest.raises(UsageError, match=r"fold 1 has a test list in .* and no other half"):
        find("dfew", tmp_path)


def test_duplicates_count_once(tmp_path):
    whole = find("dfew", make_dfew(tmp_path))
    edit(dfew_list(tmp_path, "test", 1), lambda lines: [*lines, "5,1"])
    found = find("dfew", tmp_path)
    assert found.inputs == whole.inputs
    assert findings(found)["duplicates"].count == 1
    make_ferv39k(tmp_path / "f")
    listed = tmp_path / "f/4_setups/All_scenes/test_All.csv"
    edit(listed, lambda lines: [*lines, lines[0]])
    assert findings(find("ferv39k", tmp_path / "f"))["duplicates"].examples == ("Action/Happy/0050",)
    edit(listed, lambda lines: [*lines, "Action/Happy/0001 Happy"])
    with pytest.raises(UsageError, match=r"Action/Happy/0001 is in .* with the split 'train', and in .* with 'test'"):
        find("ferv39k", tmp_path / "f")


def test_two_releases_in_one_place_are_refused(tmp_path):
    make_dfew(tmp_path / "one")
    frames(tmp_path / "one/Clip/clip_224x224/1")
    with pytest.raises(UsageError, match="holds both 00001 and 1: two releases in one folder"):
        find("dfew", tmp_path / "one")
    make_mafw(tmp_path / "two/old")
    make_mafw(tmp_path / "two/new")
    with pytest.raises(UsageError, match=r"more than once \(new/Train & Test Set and old/") as caught:
        find("mafw", tmp_path / "two")
    assert caught.value.remedy.endswith("two/new")


def test_lists_of_another_release_name_nothing_that_is_there(tmp_path):
    make_dfew(tmp_path)
    (tmp_path / "Clip/clip_224x224").rename(tmp_path / "Clip/other")
    (tmp_path / "Clip/clip_224x224").mkdir()
    with pytest.raises(UsageError, match=r"none of 35 clips is there .*00001: test.*names it") as caught:
        find("dfew", tmp_path)
    assert "--root" in caught.value.remedy
    for number in range(5):
        (tmp_path / "Clip/other" / f"0000{number + 1}").rename(tmp_path / "Clip/clip_224x224" / f"0000{number + 1}")
    assert "unfinished copy" in findings(find("dfew", tmp_path))["missing"].text


def test_what_cannot_be_read_or_stored_is_told(tmp_path, monkeypatch):
    root = make_afew(tmp_path)
    (root / "Train_AFEW/Angry" / os.fsdecode(b"z\xe9.avi")).write_bytes(b"x")
    frames(root / "Train_AFEW/AlignedFaces_LBPTOP_Points/AlignedFaces_LBPTOP_Points" / os.fsdecode(b"z\xe9"))
    for media in ("frames", "videos"):
        (problem,) = find("afew", root, media=media).problems
        assert (problem.id, problem.label) == ("train/Angry/z\\xe9", "Angry")
        assert "not UTF-8" in problem.error
    real = os.scandir

    def scandir(path):
        if os.path.basename(path) == "Fear":
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(UsageError, match=r"Train_AFEW/Fear cannot be read \(Permission denied\)"):
        find("afew", root)


def test_a_root_too_deep_is_pointed_upwards(tmp_path):
    make_dfew(tmp_path / "DFEW")
    with pytest.raises(UsageError, match=r"DFEW is not in .*Clip: looked for the fold lists") as caught:
        find("dfew", tmp_path / "DFEW" / "Clip")
    assert caught.value.remedy == f"--root {tmp_path / 'DFEW'}"


def test_options_that_a_data_set_has_no_use_for_are_refused(tmp_path):
    make_dfew(tmp_path)
    for options, message in (
        ({"label_names": ["a", "b"]}, "has its own label names: Happy"),
        ({"lists": [tmp_path / "list.txt"]}, "finds its own lists"),
    ):
        with pytest.raises(UsageError, match=message):
            find("dfew", tmp_path, **options)
    with pytest.raises(UsageError, match="it has no frames"):
        find("ravdess", tmp_path, media="frames")


def test_shards_part_clips_and_failures_in_one_order(tmp_path):
    make_dfew(tmp_path)
    for number in (7, 8, 9):
        (tmp_path / f"Clip/clip_224x224/0000{number}").rename(tmp_path / f"moved{number}")
    whole = find("dfew", tmp_path)
    parts = [find("dfew", tmp_path, shard=(n, 3)) for n in range(3)]
    assert sorted(clip.id for part in parts for clip in part.inputs) == [clip.id for clip in whole.inputs]
    assert sorted(clip.id for part in parts for clip in part.problems) == [clip.id for clip in whole.problems]
    assert len({str(part.check) for part in parts}) == 1
    assert find("dfew", tmp_path, limit=2).inputs == whole.inputs[:2]


def generic(tmp_path, *, labels=(0, 1, 2), prefix="/data/somebody/clips", count=2):
    """Make lists of three folds in the form of Former-DFER, of another machine; return them."""
    numbers = range(9)
    for number in numbers:
        frames(tmp_path / "clips" / f"{number:05}", count=2)
    lists = []
    for fold in (1, 2, 3):
        for half in ("train", "test"):
            path = tmp_path / "lists" / f"set_{fold}_{half}.txt"
            chosen = [n for n in numbers if (n % 3 + 1 == fold) == (half == "test")]
            text(path, [f"{prefix}/{n:05} {count} {labels[n // 3]}" for n in chosen])
            lists.append(path)
    return lists


def test_lists_of_another_machine_give_folds(tmp_path):
    lists = generic(tmp_path)
    found = find("path-frames-label", tmp_path / "clips", lists=lists, label_names=["fear", "joy", "rage"])
    assert [(c.id, c.label, c.fold) for c in found.inputs] == [
        (f"{n:05}", ("fear", "joy", "rage")[n // 3], n % 3 + 1) for n in range(9)
    ]
    assert findings(found)["prefix"].text == f"/data/somebody/clips on the lists is {tmp_path / 'clips'} here"
    assert "frames" not in findings(found)
    assert found.labels == ("fear", "joy", "rage")
    assert find("path-frames-label", tmp_path, lists=lists).inputs[0].id == "clips/00000"


def test_two_lists_give_halves_and_one_gives_none(tmp_path):
    lists = generic(tmp_path)
    halves = find("path-frames-label", tmp_path / "clips", lists=lists[:2])
    assert {(c.split, c.fold) for c in halves.inputs} == {("train", -1), ("test", -1)}
    text(tmp_path / "all.txt", lists[0].read_text().split("\n"))
    assert {
        (c.split, c.fold) for c in find("path-frames-label", tmp_path / "clips", lists=[tmp_path / "all.txt"]).inputs
    } == {("", -1)}
    with pytest.raises(UsageError, match=r"named after a fold and a half, and all.txt is not"):
        find("path-frames-label", tmp_path / "clips", lists=[*lists, tmp_path / "all.txt"])
    with pytest.raises(UsageError, match="Fold 2 has a train list and no test list"):
        find("path-frames-label", tmp_path / "clips", lists=lists[:3])


def test_halves_and_folds_are_told_by_folders_too_but_not_by_chance(tmp_path):
    lists = generic(tmp_path / "my_test_set_9")
    moved = []
    for number, path in enumerate(lists):
        place = path.parent / f"split{number // 2 + 1:02}" / ("train.csv" if "train" in path.name else "val.csv")
        place.parent.mkdir(exist_ok=True)
        path.rename(place)
        moved.append(place)
    found = find("path-frames-label", tmp_path / "my_test_set_9/clips", lists=moved)
    assert {clip.fold for clip in found.inputs} == {1, 2, 3}
    moved[0].rename(tmp_path / "my_test_set_9" / "list.txt")
    (clip, *_) = find(
        "path-frames-label", tmp_path / "my_test_set_9/clips", lists=[tmp_path / "my_test_set_9/list.txt"]
    ).inputs
    assert (clip.split, clip.fold) == ("", -1)


def test_frame_counts_of_a_list_are_compared_and_the_disk_is_taken(tmp_path):
    found = find("path-frames-label", tmp_path / "clips", lists=generic(tmp_path, count=5))
    assert findings(found)["frames"].count == 9
    assert findings(found)["frames"].examples[0] == "00001: 5 on the list, 2 on the disk"
    assert len(found.inputs) == 9


@pytest.mark.parametrize(
    ("labels", "names", "expected"),
    [
        ((0, 1, 2), None, ("0", "1", "2")),
        ((1, 2, 3), "abc", ("a", "b", "c")),
        ((0, 1, 2), "abc", ("a", "b", "c")),
        ((0, 2, 1), "abcd", ("a", "b", "c", "d")),
        (("sad", "joy", "Fear"), None, ("Fear", "joy", "sad")),
        (("sadness", "joy", "Fear"), ["fear", "happy", "sad"], ("fear", "happy", "sad")),
    ],
)
def test_labels_of_a_generic_list(labels, names, expected, tmp_path):
    found = find(
        "path-frames-label", tmp_path / "clips", lists=generic(tmp_path, labels=labels), label_names=names or ()
    )
    assert found.labels == expected
    assert {clip.label for clip in found.inputs} <= set(expected)
    if labels == (1, 2, 3):
        assert found.inputs[0].label == "a"
    assert ("numbers" in findings(found)) == (names is None and labels[0] == 0)


@pytest.mark.parametrize(
    ("labels", "names", "message"),
    [
        ((1, 2, 3), "abcd", "4 names may count from 0 to 3 or from 1 to 4"),
        ((0, 1, 3), "abc", "the labels go from 0 to 3, and --label-names gives 3 names"),
        ((1, 2, 9), "abc", "the labels go from 1 to 9"),
        (("sad", "joy", "odd"), ["happy", "sad"], "'odd' is none of --label-names happy,sad"),
    ],
)
def test_labels_that_are_not_plain_are_refused(labels, names, message, tmp_path):
    with pytest.raises(UsageError, match=message) as caught:
        find("path-frames-label", tmp_path / "clips", lists=generic(tmp_path, labels=labels), label_names=names)
    assert caught.value.remedy


def test_path_label_lists_may_hold_blanks_commas_and_videos(tmp_path):
    for name in ("a b.mp4", "c, d.mp4", "e.mp4"):
        video(tmp_path / name)
    frames(tmp_path / "f g")
    text(
        tmp_path / "val.txt",
        ["path,label", "a b.mp4,sad", "c, d.mp4 sad", "e.mp4\thappy", "f g happy", "gone.mp4 happy"],
    )
    found = find("path-label", tmp_path, lists=[tmp_path / "val.txt"])
    assert {(c.id, c.label, c.split, c.kind) for c in found.inputs} == {
        ("a b", "sad", "val", "video"),
        ("c, d", "sad", "val", "video"),
        ("e", "happy", "val", "video"),
        ("f g", "happy", "val", "frames"),
    }
    assert [(p.id, p.label, p.split) for p in found.problems] == [("gone", "happy", "val")]


def test_lists_of_the_wrong_shape_are_refused(tmp_path):
    text(tmp_path / "two.txt", ["a.mp4 1"])
    text(tmp_path / "none.txt", [""])
    with pytest.raises(UsageError, match=r"expected <folder> <number of frames> <label>, found 'a.mp4 1'"):
        find("path-frames-label", tmp_path, lists=[tmp_path / "two.txt"])
    with pytest.raises(UsageError, match="the list is empty"):
        find("path-label", tmp_path, lists=[tmp_path / "none.txt"])
    with pytest.raises(UsageError, match="takes the lists as INPUT, found none"):
        find("path-label", tmp_path)
    with pytest.raises(UsageError, match="takes the lists as INPUT, found none"):
        find("csv", tmp_path)
    with pytest.raises(UsageError, match="a list is one of"):
        find("csv", tmp_path, lists=[tmp_path / "a.mp4"])


def test_a_csv_is_read_as_without_a_name_but_below_the_root(tmp_path):
    video(tmp_path / "clips/a.mp4")
    text(
        tmp_path / "list.csv",
        ["file;emotion;person;fold;begin;end;notes", "a.mp4;sad;s1;2;0.5;1.5;x", "b.mp4;happy;s2;1;;;y"],
    )
    found = find("csv", tmp_path / "clips", lists=[tmp_path / "list.csv"])
    (clip,) = found.inputs
    assert (clip.id, clip.label, clip.subject, clip.fold, clip.start, clip.end) == (
        "a#0.5-1.5",
        "sad",
        "s1",
        2,
        0.5,
        1.5,
    )
    assert [(p.id, p.label, p.subject, p.fold) for p in found.problems] == [("b", "happy", "s2", 1)]
    assert findings(found)["columns"].examples == ("notes",)
    assert found.labels == ("happy", "sad")


def test_a_list_broken_at_newlines_only(tmp_path):
    """A byte that Latin-1 takes for the end of a line is none: a caption in another encoding may hold it."""
    from est.inputs.published.textlist import lines_of

    (tmp_path / "list.txt").write_bytes(b"1 a\t\x85\x81\x0c\x1c b\r\n\n2 b")
    assert [number for number, _ in lines_of(tmp_path / "list.txt")] == [1, 3]


def test_spellings_of_names_and_labels():
    assert key_of("00017") == key_of("17.mp4") == key_of("0017.AVI")
    assert key_of("Fear/0003") == key_of("fear\\3") != key_of("Fear/30")
    assert known_label("Happiness", ("Angry", "Happy")) == "Happy"
    assert known_label("ANG", ("anger", "happy")) == "anger"
    assert known_label("calm", ("neutral", "happy")) is None
    assert known_label("disappointment", ("disgust", "disappointment")) == "disappointment"


def test_a_request_is_read_without_touching_the_disk_twice(tmp_path):
    """An adapter may be called by itself: what it returns names every listed clip, there or not."""
    make_dfew(tmp_path)
    (tmp_path / "Clip/clip_224x224/00001").rename(tmp_path / "gone")
    reading = dataset_named("dfew").read(Request(root=tmp_path))
    assert len(reading.entries) == 35
    assert next(e for e in reading.entries if e.id == "00001").path == tmp_path / "Clip/clip_224x224/00001"
