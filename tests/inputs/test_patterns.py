"""Labels, subjects, splits and folds by patterns: one that gives several, and everything about a pattern that is refused."""

from __future__ import annotations

import re

import pytest

from est.errors import UsageError
from est.inputs.features.config import ImportConfig
from est.inputs.features.plan import plan_import
from est.inputs.input import find_inputs
from est.inputs.pathreading import read_columns

BOTH = r"(?P<subject>S\d+)_(?P<label>[a-z]+)"


def tree(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"\x47 some bytes \x00\x01")
    return root


@pytest.fixture
def clips(tmp_path):
    return tree(tmp_path / "in", "S01_happy.mp4", "deep/S02_sad.mp4", "S02_happy.mp4")


def read(*paths, **options):
    found = find_inputs(list(paths), **options).inputs
    return {clip.id: (clip.label, clip.subject, clip.split, clip.fold) for clip in found}


@pytest.mark.parametrize("options", [{"labels": BOTH}, {"subjects": BOTH}, {"labels": BOTH, "subjects": BOTH}])
def test_one_pattern_gives_labels_and_subjects_whichever_option_has_it(clips, options):
    assert read(clips, **options) == {
        "S01_happy": ("happy", "S01", "", -1),
        "deep/S02_sad": ("sad", "S02", "", -1),
        "S02_happy": ("happy", "S02", "", -1),
    }


def test_a_pattern_gives_splits_and_folds_too(tmp_path):
    root = tree(tmp_path / "in", "train/fold2/a_1.mp4", "test/fold10/b_2.mp4")
    pattern = r"^(?P<split>\w+)/fold(?P<fold>\d+)/(?P<label>[ab])_"
    assert read(root, labels=pattern, subjects=r"_(\d)$") == {
        "test/fold10/b_2": ("b", "2", "test", 10),
        "train/fold2/a_1": ("a", "1", "train", 2),
    }


def test_two_options_share_the_work(tmp_path):
    root = tree(tmp_path / "in", "happy/s01_x.mp4", "sad/s02_y.mp4")
    assert read(root, labels="folders", subjects=r"(?P<subject>s\d+)_") == {
        "happy/s01_x": ("happy", "s01", "", -1),
        "sad/s02_y": ("sad", "s02", "", -1),
    }


def test_what_a_list_says_goes_before_and_needs_no_match(tmp_path):
    tree(tmp_path, "S01_happy.mp4", "odd.mp4")
    (tmp_path / "l.csv").write_text("path,label,subject\nS01_happy.mp4,calm,\nodd.mp4,sad,X\n")
    found = find_inputs([tmp_path / "l.csv"], labels=BOTH)
    assert {clip.id: (clip.label, clip.subject) for clip in found.inputs} == {
        "S01_happy": ("calm", "S01"),
        "odd": ("sad", "X"),
    }
    assert found.reading.sources == {
        "label": f"the list, else --labels '{BOTH}'",
        "subject": f"the list, else --labels '{BOTH}'",
    }


def test_the_same_name_found_twice_is_one(tmp_path):
    root = tree(tmp_path / "in", "S01/S01_happy.mp4")
    assert read(root, subjects=r"(S\d+)") == {"S01/S01_happy": (None, "S01", "", -1)}


def test_unreadable_clips_are_annotated_as_far_as_their_path_goes(tmp_path):
    root = tree(tmp_path / "in", "S01_happy.mp4")
    (root / "S02_sad.mp4").symlink_to(root / "nowhere.mp4")
    (root / "other.mp4").symlink_to(root / "nowhere.mp4")
    problems = find_inputs([root], labels=BOTH).problems
    assert {(one.id, one.label, one.subject) for one in problems} == {("S02_sad", "sad", "S02"), ("other", None, "")}


@pytest.mark.parametrize(
    ("options", "message", "remedy"),
    [
        ({"subjects": r"(Z\d+)"}, r"finds no subject in 3 of 3 clips: deep/S02_sad, S01_happy, S02_happy", "first group"),
        ({"labels": r"(?P<label>sad)"}, r"finds no label in 2 of 3 clips: S01_happy, S02_happy", "the group label"),
        ({"labels": r"(?P<label>[a-z]+)"}, r"more than one label in 1 of 3 clips: 'deep/S02_sad' \(deep and sad\)", r"\^"),
        ({"labels": r"S\d+(?P<label>[0-9]*)"}, r"an empty label in 3 of 3 clips", r"\(\?P<label>\[a-z\]\+\)"),
        ({"subjects": r"(s\d+)_"}, r"finds no subject in 3 of 3 clips", r"^--subjects '\(\?i\)\(s\\d\+\)_': they differ only in upper"),
        ({"labels": r"(?P<fold>[a-z]+)$|(?P<label>x)"}, r"folds that are no whole numbers.*'S01_happy' \('happy'\)", "fold"),
        ({"subjects": r"S\d+"}, r"none or folders, or a pattern with a group", r"\(\?P<subject>"),
        ({"labels": "folder"}, r"none or folders, or a pattern with a group", "--labels folders"),
        ({"subjects": r"(?P<subjekt>S\d+)"}, r"a group is named label, subject, split or fold; found 'subjekt'", "<subject>"),
        ({"labels": r"(?P<subject>S\d+)"}, r"names the group subject, and none is the label", r"--subjects '\(\?P<subject>"),
        ({"labels": r"(?P<fold>\d)"}, r"names the group fold, and none is the label", r"\(\?P<label>"),
        ({"labels": r"(\w+"}, r"no regular expression \(.*at character 1: '\(\\\\w\+'", "--labels"),
        ({"subjects": r"S(\d+)_[a"}, r"no regular expression \(.*at character 8: '\[a'", "--subjects"),
        ({"labels": "folders", "subjects": BOTH}, r"both give the label of a clip", "leave the group label out"),
        ({"labels": BOTH, "subjects": r"(S\d)"}, r"both give the subject of a clip", "leave the group subject"),
    ],
)  # fmt: skip
def test_patterns_that_cannot_be_meant_are_refused(clips, options, message, remedy):
    with pytest.raises(UsageError, match=message) as refused:
        find_inputs([clips], **options)
    assert re.search(remedy, refused.value.remedy), refused.value.remedy


@pytest.mark.parametrize(
    ("names", "labels", "warning"),
    [
        ("S1_a_1 S1_b_1 S2_a_2 S2_b_2", r"(?P<subject>S\d)_(?P<label>\w+)", r"Each of 4 clips has a label of its own by .*: a_1, "),
        ("S1_a_1 S1_b_1 S2_a_1 S2_b_1", r"S\d_(?P<label>[a-z]+)", None),
        ("S1_a_1 S1_a_2 S2_a_1 S2_a_2", r"S\d_(?P<label>[a-z]+)", r"All 4 clips have the label 'a' by --labels"),
        ("S1_a_1 S1_b_1 S2_c_1", r"S\d_(?P<label>[a-z]+)", None),
        ("S1_a_1 S1_b_1", "folders", r"All 2 clips have the label 'in': they are in one folder"),
        ("a/1 b/1 c/1 d/1", "folders", r"Each of 4 clips has a label of its own by --labels folders"),
        ("S1_a_1 S1_b_1 S2_a_1 S2_b_1", "none", None),
    ],
)  # fmt: skip
def test_labels_that_are_one_or_as_many_as_clips_are_doubted(tmp_path, names, labels, warning):
    root = tree(tmp_path / "in", *(f"{name}.mp4" for name in names.split()))
    found = find_inputs([root], labels=labels).warnings
    assert len(found) == (warning is not None)
    assert warning is None or re.search(warning, found[0]), found


def test_two_clips_of_one_id_are_refused(tmp_path):
    root = tree(tmp_path / "in", "S01_happy.mp4", "S01_happy.avi")
    with pytest.raises(UsageError, match=r"Two inputs have the id 'S01_happy': .*avi and .*mp4") as refused:
        find_inputs([root], labels=BOTH)
    assert "rename one" in refused.value.remedy


def test_incomplete_readings_are_kept_to_be_looked_at(clips):
    found = find_inputs([clips], labels=r"(?P<label>sad)", complete=False)
    assert [clip.label for clip in found.inputs] == ["sad", None, None]
    (label,) = read_columns(found.inputs, found.reading.sources)
    assert (label.values, label.lacking) == ({"sad": (1, "deep/S02_sad")}, ("S01_happy", "S02_happy"))
    with pytest.raises(UsageError, match="finds no label in 2 of 3"):
        found.reading.expect_all()


def test_imported_features_are_read_alike(tmp_path):
    import numpy as np

    for name in ("S01_happy", "S02_sad"):
        np.save(tmp_path / f"{name}.npy", np.ones((3, 2), np.float32))
    plan = plan_import([tmp_path], ImportConfig(by="me", fps=25.0), labels=BOTH)
    assert {one.input.id: (one.input.label, one.input.subject) for one in plan.clips} == {
        "S01_happy": ("happy", "S01"),
        "S02_sad": ("sad", "S02"),
    }
    with pytest.raises(UsageError, match="finds no subject in 2 of 2"):
        plan_import([tmp_path], ImportConfig(by="me", fps=25.0), subjects="(Z)")
