"""Data sets as they lie on disks: official labels, folds and splits of each, and where what is missing goes."""

from __future__ import annotations

import shutil
from collections import Counter

import pytest
from dataset_trees import (
    MAKERS,
    dfew_label,
    dfew_list,
    edit,
    fold_of,
    frames,
    make_afew,
    make_bu4dfe,
    make_ckplus,
    make_cremad,
    make_dfew,
    make_ferv39k,
    make_mafw,
    make_mmi,
    make_ravdess,
    text,
    video,
)
from micro_trees import MICRO

from est.errors import UsageError
from est.inputs.published import DATASETS, afew, dataset_named, find_dataset, mafw
from est.train.config.protocol import ProtocolConfig
from est.train.folds.annotations import Annotations
from est.train.folds.protocols import plan_folds

PROTOCOLS = {
    "dfew": ("folds", {}, 5), "afew": ("split", {}, 1), "ferv39k": ("split", {}, 1), "mafw": ("folds", {}, 5),
    "bu4dfe": ("kfold", {"kind": "kfold", "folds": 4}, 4), "mmi": ("kfold", {"kind": "kfold", "folds": 4}, 4),
    "ck+": ("kfold", {"kind": "kfold", "folds": 2}, 2), "ravdess": ("kfold", {"kind": "kfold", "folds": 6}, 6),
    "crema-d": ("kfold", {"kind": "kfold", "folds": 5}, 5),
    **{name: ("loso", {"kind": "loso"}, 9 if name == "megc" else 3) for name in MICRO},
}  # fmt: skip
MAKERS = MAKERS | MICRO


def find(name, root, **options):
    return find_dataset(dataset_named(name), root, **options)


def findings(found):
    """Return what a check says, by kind."""
    return {finding.kind: finding for finding in found.check.findings}


def counts(found):
    """Return listed and present of each row of a check."""
    return {row.name: (row.listed, row.present) for row in found.check.rows}


def by_id(found):
    return {clip.id: clip for clip in (*found.inputs, *found.problems)}


def annotations(found):
    """Return the table that training would see after an extraction."""
    everything = [*found.inputs, *found.problems]
    missing = [False] * len(found.inputs) + [True] * len(found.problems)
    columns = {name: [getattr(clip, name) for clip in everything] for name in ("label", "subject", "split", "fold")}
    return Annotations.from_columns(
        ids=[clip.id for clip in everything], labels=found.labels, missing=missing, **columns
    )


@pytest.mark.parametrize("name", MAKERS)
def test_a_whole_tree_is_found_without_a_warning(name, tmp_path):
    found = find(name, MAKERS[name](tmp_path / "with space é"))
    unexpected = {kind for kind, finding in findings(found).items() if not finding.is_expected}
    assert unexpected == {"counts"}  # the trees are small
    assert not found.problems
    assert all(row.listed == row.present for row in found.check.rows)
    assert found.labels == dataset_named(name).labels
    assert {clip.label for clip in found.inputs} - {None} <= set(found.labels)


@pytest.mark.parametrize("name", MAKERS)
def test_the_root_may_be_one_folder_higher_and_no_other(name, tmp_path):
    inner = MAKERS[name](tmp_path / "data" / "release")
    assert [clip.id for clip in find(name, inner).inputs] == [clip.id for clip in find(name, inner.parent).inputs]
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.pdf").touch()
    with pytest.raises(UsageError, match=r"looked for .* found notes\.pdf") as caught:
        find(name, tmp_path / "empty")
    assert caught.value.remedy
    for wrong, what in (("nowhere", "does not exist"), ("empty/notes.pdf", "is a file")):
        with pytest.raises(UsageError, match=what):
            find(name, tmp_path / wrong)


@pytest.mark.parametrize("name", MAKERS)
def test_the_protocol_tests_every_clip_once_and_no_subject_twice(name, tmp_path):
    kind, settings, number = PROTOCOLS[name]
    table = annotations(find(name, MAKERS[name](tmp_path)))
    plan = plan_folds(table, ProtocolConfig(**settings), seed=1, validation=False)
    assert (plan.kind, len(plan.folds)) == (kind, number)
    tested = Counter(row for fold in plan.folds for row in fold.test.tolist())
    assert set(tested.values()) == {1}
    labelled = (table.label >= 0).sum()
    assert len(tested) == (labelled if kind != "split" else labelled / 2)
    for fold in plan.folds:
        assert not set(fold.train) & set(fold.test)
        if kind == "kfold":
            assert not set(table.subject[fold.train]) & set(table.subject[fold.test])


@pytest.mark.parametrize("form", ["frames", "videos"])
@pytest.mark.parametrize("filled", [True, False])
def test_dfew_has_the_same_ids_in_every_form(form, filled, tmp_path):
    found = find("dfew", make_dfew(tmp_path, form=form, filled=filled))
    clips = by_id(found)
    assert list(clips) == [f"{number:05}" for number in range(1, 36)]
    for number in range(1, 36):
        assert (clips[f"{number:05}"].label, clips[f"{number:05}"].fold) == (dfew_label(number), fold_of(number))
    assert {clip.kind for clip in found.inputs} == {"frames" if form == "frames" else "video"}
    assert found.are_crops == (form == "frames")
    names = ("00036", "00037") if filled and form == "frames" else ("36", "37")
    assert findings(found)["unlisted"].examples == (names if form == "frames" else ("36.mp4", "37.mp4"))
    assert found.ignored == {"clips on no list": 2}


def test_dfew_names_on_the_lists_may_lack_their_zeros(tmp_path):
    whole = find("dfew", make_dfew(tmp_path))
    for fold in range(1, 6):
        edit(dfew_list(tmp_path, "test", fold), lambda lines: [lines[0], *(line.lstrip("0") for line in lines[1:])])
    assert find("dfew", tmp_path).inputs == whole.inputs


def test_dfew_takes_all_frames_before_sixteen_and_frames_before_videos(tmp_path):
    make_dfew(tmp_path)
    make_dfew(tmp_path, form="videos")
    shutil.copytree(tmp_path / "Clip/clip_224x224", tmp_path / "Clip/clip_224x224_16f")
    assert find("dfew", tmp_path).check.layout.startswith("all frames in Clip/clip_224x224,")
    assert {clip.path.suffix for clip in find("dfew", tmp_path, media="videos").inputs} == {".mp4"}
    assert not find("dfew", tmp_path, media="videos").are_crops
    shutil.rmtree(tmp_path / "Clip/clip_224x224")
    found = find("dfew", tmp_path)
    assert "16 frames" in findings(found)["frames kept"].text
    shutil.rmtree(tmp_path / "Clip/original")
    with pytest.raises(UsageError, match="asked for videos, found frames in") as caught:
        find("dfew", tmp_path, media="videos")
    assert caught.value.remedy == "--frames"


def test_what_is_listed_and_gone_is_a_failure_that_keeps_its_place(tmp_path):
    make_dfew(tmp_path)
    shutil.rmtree(tmp_path / "Clip/clip_224x224/00003")
    for path in (tmp_path / "Clip/clip_224x224/00009").iterdir():
        path.unlink()
    found = find("dfew", tmp_path)
    gone, empty = found.problems
    assert (gone.id, gone.label, gone.fold) == ("00003", dfew_label(3), fold_of(3))
    assert gone.error == "test(single-labeled)/set_4.csv, line 2 names it, and Clip/clip_224x224/00003 is not there"
    assert (empty.id, empty.label, empty.error) == ("00009", dfew_label(9), "the folder holds no pictures")
    assert findings(found)["missing"].examples == ("00003",)
    assert findings(found)["unreadable"].count == 1
    assert counts(found)["clips"] == (35, 33)
    assert counts(found)["fold 4, tested"] == (7, 6)
    plan = plan_folds(annotations(found), ProtocolConfig(), seed=1, validation=False)
    assert sum(len(fold.test) for fold in plan.folds) == 35


def test_afew_counts_videos_without_aligned_faces(tmp_path):
    make_afew(tmp_path)
    aligned = tmp_path / "Val_AFEW/AlignedFaces_LBPTOP_Points_Val/AlignedFaces_LBPTOP_Points_Val"
    shutil.rmtree(aligned / "2000000")
    frames(aligned / "9999999")
    found = find("afew", tmp_path)
    (gone,) = found.problems
    assert (gone.id, gone.label, gone.split) == ("val/Angry/2000000", "Angry", "val")
    assert "its video is on the disk" in gone.error
    assert counts(found)["split val"] == (14, 13)
    assert "validation is 14 clips here" in findings(found)["denominator"].text
    assert findings(found)["unlisted"].examples == ("9999999",)
    assert found.are_crops
    videos = find("afew", tmp_path, media="videos")
    assert counts(videos)["split val"] == (14, 14)
    assert not videos.are_crops
    assert {clip.path.suffix for clip in videos.inputs} == {".avi"}


def test_afew_takes_a_list_before_its_folders(tmp_path):
    make_afew(tmp_path)
    names = sorted(path for label in afew.LABELS for path in (tmp_path / "Val_AFEW" / label).iterdir())
    lines = [f"{path.parent.name}/{path.stem} {path.parent.name}" for path in names[:-3]]
    lines[0] = lines[0].replace(" Angry", " Sad")
    text(tmp_path / "afew_val_list.txt", lines)
    found = find("afew", tmp_path)
    assert counts(found)["split val"] == (11, 11)
    assert counts(found)["split train"] == (14, 14)
    assert by_id(found)["val/Angry/2000000"].label == "Sad"
    assert findings(found)["folder"].examples == ("Angry/2000000 is Sad",)
    assert findings(found)["unlisted"].count == 3
    text(tmp_path / "other_val.txt", lines)
    with pytest.raises(UsageError, match="both look like the list of the val half"):
        find("afew", tmp_path)


def test_afew_without_videos_needs_a_list(tmp_path):
    make_afew(tmp_path)
    for label in afew.LABELS:
        shutil.rmtree(tmp_path / "Train_AFEW" / label)
    with pytest.raises(UsageError, match=r"no class folders .* and no list gives the labels"):
        find("afew", tmp_path)


def test_ferv39k_takes_its_first_line_for_a_clip(tmp_path):
    make_ferv39k(tmp_path)
    found = find("ferv39k", tmp_path)
    assert by_id(found)["Action/Happy/0001"].split == "train"
    assert counts(found)["split train"] == counts(found)["split test"] == (14, 14)
    edit(tmp_path / "4_setups/All_scenes/train_All.csv", lambda lines: ["name label", *lines])
    with_header = find("ferv39k", tmp_path)
    assert with_header.inputs == found.inputs
    assert "has a header" in findings(with_header)["header"].text
    videos = find("ferv39k", tmp_path, media="videos")
    assert by_id(videos)["Action/Happy/0001"].path.name == "0001.mp4"
    assert [clip.id for clip in videos.inputs] == [clip.id for clip in found.inputs]


def test_ferv39k_says_where_list_and_folder_differ(tmp_path):
    make_ferv39k(tmp_path)
    edit(tmp_path / "4_setups/All_scenes/test_All.csv", lambda lines: [lines[0].replace(" Happy", " Sad"), *lines[1:]])
    found = find("ferv39k", tmp_path)
    assert findings(found)["folder"].examples == ("Action/Happy/0050 is Sad",)
    assert by_id(found)["Action/Happy/0050"].label == "Sad"


def test_mafw_reads_plain_and_captioned_lists_alike(tmp_path):
    plain = find("mafw", make_mafw(tmp_path / "plain"))
    captioned = find("mafw", make_mafw(tmp_path / "captioned", captions=True))
    assert [(c.id, c.label, c.fold) for c in plain.inputs] == [(c.id, c.label, c.fold) for c in captioned.inputs]
    assert by_id(plain)["00055"].label == mafw.LABELS[-1]
    assert "captions" in findings(captioned)
    assert plain.are_crops
    assert findings(plain)["unlisted"].examples == ("00056",)
    assert not find("mafw", tmp_path / "plain", media="videos").are_crops


def test_mafw_compound_labels_are_told_apart(tmp_path):
    root = make_mafw(tmp_path)
    single = tmp_path / "Train & Test Set/single"
    edit(single / "no_caption/set_1/test.txt", lambda lines: [lines[0].replace("anger", "anger_disgust"), *lines[1:]])
    with pytest.raises(UsageError, match="'anger_disgust' is no label of MAFW") as caught:
        find("mafw", root)
    assert "single-label list" in caught.value.remedy
    single.rename(single.with_name("compound"))
    with pytest.raises(UsageError, match="only compound labels"):
        find("mafw", root)


def test_bu4dfe_takes_people_from_folders(tmp_path):
    make_bu4dfe(tmp_path)
    (tmp_path / "F002/Happy").rename(tmp_path / "F002/Happiness")
    shutil.rmtree(tmp_path / "M001/Fear")
    frames(tmp_path / "M002/Bored")
    for path in (tmp_path / "M002/Sad").iterdir():
        path.unlink()
    found = find("bu4dfe", tmp_path)
    assert by_id(found)["F002/Happy"].label == "Happy"
    assert {clip.subject for clip in found.inputs} == {"F001", "F002", "M001", "M002"}
    assert findings(found)["absent"].examples == ("M001/Fear",)
    assert findings(found)["unlisted"].examples == ("Bored",)
    assert [(p.id, p.subject) for p in found.problems] == [("M002/Sad", "M002")]
    assert not found.are_crops
    with pytest.raises(UsageError, match="it has no videos"):
        find("bu-4dfe", tmp_path, media="videos")


def test_mmi_reads_what_its_sessions_tell(tmp_path):
    make_mmi(tmp_path)
    first = tmp_path / "Sessions/1"
    text(first / "session.xml", ['<session subjectID="7"><emotion>happy</emotion></session>'])
    video(first / "S001-002.avi")
    text(tmp_path / "Sessions/2/session.xml", ["<session><unclosed>"])
    text(tmp_path / "Sessions/3/session.xml", ['<session><subject id="1"/><emotion value="boredom"/></session>'])
    found = find("mmi", tmp_path)
    clips = by_id(found)
    assert (clips["1/S001-001"].label, clips["1/S001-001"].subject) == ("Happiness", "7")
    assert clips["1/S001-002"].label == "Happiness"
    assert findings(found)["several videos"].examples == ("1",)
    assert "session.xml cannot be read" in clips["2/S001-002"].error
    assert clips["2/S001-002"].subject == "S001"
    assert (clips["3/S001-003"].label, findings(found)["other emotions"].examples) == (None, ("3 (boredom)",))
    assert findings(found)["unlabelled"].count == 6


def test_mmi_guesses_no_numbers_and_no_labels(tmp_path):
    make_mmi(tmp_path / "numbers", emotions=range(1, 7))
    with pytest.raises(UsageError, match="as a number") as caught:
        find("mmi", tmp_path / "numbers")
    assert "--label-names" in caught.value.remedy
    named = find("mmi", tmp_path / "numbers", label_names=["f", "e", "d", "c", "b", "a"])
    assert by_id(named)["1/S001-001"].label == "f"
    assert named.labels == ("f", "e", "d", "c", "b", "a")
    make_mmi(tmp_path / "nothing", emotions=(None,))
    with pytest.raises(UsageError, match="no clip has a label") as caught:
        find("mmi", tmp_path / "nothing")
    assert "CSV" in caught.value.remedy


def test_ckplus_keeps_what_has_no_emotion(tmp_path):
    make_ckplus(tmp_path)
    shutil.rmtree(tmp_path / "cohn-kanade-images/S010/003")
    found = find("ckplus", tmp_path)
    clips = by_id(found)
    assert [clips[f"S005/00{number}"].label for number in (1, 2, 7, 8)] == ["anger", "contempt", "surprise", None]
    assert counts(found)["clips"] == (16, 15)
    assert counts(found)["labelled clips"] == (14, 13)
    assert findings(found)["unlabelled"].count == 2
    assert [(p.id, p.label, p.subject) for p in found.problems] == [("S010/003", "disgust", "S010")]
    text(tmp_path / "Emotion/S005/001/S005_001_00000012_emotion.txt", ["   8.0"])
    with pytest.raises(UsageError, match=r"a number from 0 \(neutral\) to 7 \(surprise\), found '8.0'"):
        find("ck+", tmp_path)
    shutil.rmtree(tmp_path / "Emotion")
    with pytest.raises(UsageError, match="the emotions, without which nothing has a label"):
        find("ck+", tmp_path)


def test_ravdess_takes_every_performance_once(tmp_path):
    make_ravdess(tmp_path)
    video(tmp_path / "Actor_02" / "02-01-01-01-01-01-01.mp4")  # actor 1, and there a second time
    video(tmp_path / "Actor_02" / "02-01-01-02-01-01-01.mp4")  # actor 1, nowhere else
    video(tmp_path / "Actor_02" / "trailer.mp4")
    (tmp_path / "Actor_03" / "03-01-01-01-01-01-03.wav").write_bytes(b"sound")
    found = find("ravdess", tmp_path)
    clips = by_id(found)
    assert len(clips) == 6 * 9 + 1
    assert clips["Actor_05/01-02-01-01-01-05"].path.name.startswith("02-")  # without sound where both are
    assert clips["Actor_05/02-03-01-01-01-05"].path.name.startswith("01-")
    assert (clips["Actor_05/01-02-01-01-01-05"].label, clips["Actor_05/01-02-01-01-01-05"].subject) == ("calm", "05")
    assert {clip.split for clip in found.inputs} == {"speech", "song"}
    assert findings(found)["modalities"].count == 48
    assert findings(found)["duplicates"].count == 1
    assert findings(found)["folder"].count == 2
    assert findings(found)["unlisted"].examples == ("trailer.mp4",)


def test_cremad_tells_pointers_and_empty_files_before_any_is_decoded(tmp_path):
    folder = make_cremad(tmp_path) / "VideoFlash"
    video(folder / "1001_DFA_ANG_XX.flv", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    video(folder / "1002_DFA_SAD_XX.flv", b"")
    video(folder / "readme_first.flv")
    found = find("cremad", tmp_path)
    pointer, empty = found.problems
    assert (pointer.label, pointer.subject) == ("angry", "1001")
    assert "git lfs pull" in pointer.error
    assert (empty.label, empty.error.split(":")[0]) == ("sad", "the file is empty")
    assert findings(found)["unlisted"].examples == ("readme_first.flv",)
    assert len(found.inputs) == 28
    shutil.move(folder, tmp_path / "flat")
    assert len(find("crema-d", tmp_path / "flat").inputs) == 28


def test_published_counts_add_up():
    for dataset in DATASETS:
        classes = [row for row in dataset.published if row.startswith("class ")]
        folds = [row for row in dataset.published if row.startswith("fold ")]
        for rows in (classes, folds):
            total = dataset.published.get("labelled clips", dataset.published.get("clips"))
            if rows and total:
                assert sum(dataset.published[row][-1] for row in rows) == total[-1], dataset.name
        assert {row.removeprefix("class ") for row in classes} <= set(dataset.labels)


def test_a_data_set_goes_by_several_names():
    assert dataset_named("CK Plus").name == "ck+"
    assert dataset_named("BU_4DFE").name == "bu4dfe"
    with pytest.raises(UsageError, match="No data set 'ravdes'") as caught:
        dataset_named("ravdes")
    assert caught.value.remedy == "--dataset ravdess"
