"""Protocols: halves that share nobody, every clip tested once, the same whatever the order, and refusals that name the way out."""

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from est.cache import CacheWriter, open_cache
from est.errors import UsageError
from est.train.config.protocol import ProtocolConfig
from est.train.folds.annotations import Annotations
from est.train.folds.protocols import plan_folds

NAMES = ("happy", "sad", "neutral", "fear")


def people(num_subjects=12, clips=6, classes=3, **columns: Any):
    """Return a balanced set: each subject shows each class equally often."""
    number = num_subjects * clips
    columns = {"subject": [f"s{n // clips:02d}" for n in range(number)]} | columns
    return Annotations.from_columns(
        ids=[f"clip {n:03d}" for n in range(number)],
        label=[NAMES[n % classes] for n in range(number)],
        labels=NAMES[:classes],
        **columns,
    )


def plan(table, *, seed=0, validation=False, **config):
    return plan_folds(table, ProtocolConfig(**config), seed=seed, validation=validation)


def named(table, found):
    """Return a plan's halves by the ids of clips."""
    return [
        (fold.name, *(sorted(table.ids[half].tolist()) for half in (fold.train, fold.val, fold.test)))
        for fold in found.folds
    ]


def permuted(table, clips, classes):
    """Return the same clips in another order, their labels numbered in another way."""
    new = np.argsort(classes)
    names = ("ids", "subject", "split", "fold", "path", "digest", "span", "missing")
    columns = {name: getattr(table, name)[clips] for name in names}
    labels = tuple(table.labels[old] for old in classes)
    code = np.where(table.label < 0, -1, new[table.label])[clips]
    return Annotations(**columns, labels=labels, label=code, place=np.arange(len(clips)))


@st.composite
def tables(draw):
    """Draw uneven sets: subjects of any size, rare classes, clips without a label, inputs without frames."""
    sizes = draw(st.lists(st.integers(1, 9), min_size=6, max_size=20))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    subject = np.repeat([f"s{n}" for n in range(len(sizes))], sizes)
    number = len(subject)
    label = rng.choice(len(NAMES), number, p=(0.5, 0.3, 0.15, 0.05))
    label[0], label[-1] = 0, 1
    names = [NAMES[code] if rng.random() < 0.95 or at in (0, number - 1) else None for at, code in enumerate(label)]
    return Annotations.from_columns(
        ids=[f"clip {n}" for n in rng.permutation(number)],
        label=names,
        labels=NAMES,
        subject=subject.tolist(),
        missing=(rng.random(number) < 0.05).tolist(),
    )


@settings(max_examples=40)
@given(tables(), st.sampled_from(["kfold", "loso", "kfold by clip"]), st.integers(0, 5), st.booleans())
def test_every_clip_is_tested_once_and_by_somebody_else(table, kind, seed, validation):
    by = "clip" if kind.endswith("clip") else "subject"
    try:
        found = plan(table, kind=kind.split()[0], by=by, folds=3, seed=seed, validation=validation)
    except UsageError as error:
        if "takes two classes" not in error.message:
            raise
        reject()  # so few clips that a half has one class: rare, or Hypothesis would complain
    labelled = np.flatnonzero(table.label >= 0)
    np.testing.assert_array_equal(np.sort(np.concatenate([fold.test for fold in found.folds])), labelled)
    for fold in found.folds:
        halves = [set(half.tolist()) for half in (fold.train, fold.val, fold.test)]
        assert len(set.union(*halves)) == sum(map(len, halves))
        assert not table.missing[np.concatenate([fold.train, fold.val])].any()
        expected = set(labelled[~table.missing[labelled]].tolist()) - halves[2]
        assert halves[0] | halves[1] == expected
        assert bool(halves[1]) == validation
        if by == "subject":
            subjects = [set(table.subject[list(half)].tolist()) for half in halves]
            assert len(set.union(*subjects)) == sum(map(len, subjects))
    if by == "subject":
        assert found.independence == "by subject"


@settings(max_examples=25)
@given(tables(), st.randoms(use_true_random=False))
def test_the_order_of_clips_and_labels_never_matters(table, random):
    clips = np.array(random.sample(range(len(table)), len(table)))
    other = permuted(table, clips, np.array(random.sample(range(4), 4)))
    for config in ({"kind": "kfold", "folds": 3}, {"kind": "kfold", "by": "clip", "folds": 3}, {"kind": "holdout"}):
        for validation in (False, True):
            try:
                expected = named(table, plan(table, validation=validation, **config))
            except UsageError as error:
                if "takes two classes" not in error.message:
                    raise
                reject()
            assert named(other, plan(other, validation=validation, **config)) == expected


@pytest.mark.parametrize("by", ["subject", "clip"])
def test_a_seed_is_a_division(by):
    table = people(30)
    config = {"kind": "kfold", "by": by, "validation": True}
    first, second, third = (named(table, plan(table, seed=seed, **config)) for seed in (1, 1, 2))
    assert first == second
    assert [one[3] for one in first] != [one[3] for one in third]
    # a fold is the same when it runs alone
    alone = named(table, plan(table, seed=1, only=("fold3",), **config))
    assert alone == [first[2]]


@pytest.mark.parametrize("folds", [2, 3, 6])
def test_folds_by_subject_are_even(folds):
    def imbalance(fold_of_clip, label):  # how far apart the largest and the smallest fold are, class by class
        return sum(np.ptp(np.bincount(fold_of_clip[label == code], minlength=folds)) for code in range(4))

    ours, at_random = [], []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        sizes = rng.integers(5, 20, 40)
        subject = np.repeat([f"s{n}" for n in range(40)], sizes).tolist()
        label = [NAMES[c] for c in rng.choice(4, len(subject), p=(0.4, 0.3, 0.2, 0.1))]
        table = Annotations.from_columns(ids=[f"c{n}" for n in range(len(subject))], label=label, subject=subject)
        tested = [fold.test for fold in plan(table, kind="kfold", folds=folds, seed=seed).folds]
        assert np.ptp([len(rows) for rows in tested]) <= sizes.max()
        fold_of_clip = np.argmax([np.isin(np.arange(len(subject)), rows) for rows in tested], 0)
        ours.append(imbalance(fold_of_clip, table.label))
        at_random.append(imbalance(np.repeat(rng.permutation(40) % folds, sizes), table.label))
    assert np.mean(ours) < 0.45 * np.mean(at_random)


def test_folds_by_clip_are_even_to_one_clip():
    rng = np.random.default_rng(0)
    label = [NAMES[c] for c in rng.choice(4, 203, p=(0.6, 0.25, 0.1, 0.05))]
    table = Annotations.from_columns(ids=[f"c{n}" for n in range(203)], label=label)
    tested = [fold.test for fold in plan(table, kind="kfold", by="clip", folds=4).folds]
    assert np.ptp([len(rows) for rows in tested]) <= 1
    for code in range(4):
        assert np.ptp([(table.label[rows] == code).sum() for rows in tested]) <= 1


@pytest.mark.parametrize("by", ["subject", "clip"])
def test_a_share_is_held_out_and_classes_stay_in_proportion(by):
    table = people(40, clips=6, classes=3)
    (fold,) = plan(table, kind="holdout", by=by, test_share=0.25, val_share=0.2, validation=True).folds
    assert (len(fold.test), len(fold.val), len(fold.train)) == (60, 36, 144)
    for half in (fold.test, fold.val, fold.train):
        counts = np.bincount(table.label[half])
        assert np.ptp(counts) == 0, counts
    assert fold.name == "holdout"


def test_uneven_people_are_held_out_evenly():
    rng = np.random.default_rng(0)
    subject, label = [], []
    for person in range(30):  # everybody shows mostly one emotion
        clips = int(rng.integers(4, 12))
        subject += [f"s{person}"] * clips
        label += [NAMES[code] for code in np.where(rng.random(clips) < 0.8, person % 3, rng.integers(0, 3, clips))]
    table = Annotations.from_columns(ids=[f"c{n}" for n in range(len(label))], label=label, subject=subject)
    total = np.bincount(table.label)
    for seed in range(10):
        (fold,) = plan(table, kind="holdout", test_share=0.2, seed=seed).folds
        assert len(set(table.subject[fold.test].tolist())) == 6
        share = np.bincount(table.label[fold.test], minlength=3) / total
        assert np.abs(share - 0.2).max() < 0.06, share


def test_leaving_one_subject_out_names_folds_for_folders():
    subjects = ["S 1", "S/1", "s_1", "..", "Zoë", "日本"]
    table = Annotations.from_columns(
        ids=[f"c{n}" for n in range(12)], label=["happy", "sad"] * 6, subject=[s for s in subjects for _ in range(2)]
    )
    names = [fold.name for fold in plan(table, kind="loso").folds]
    assert len({name.casefold() for name in names}) == 6
    assert not any("/" in name or name.startswith(".") or " " in name for name in names)
    assert {"Zoë", "日本", "S_1"} <= set(names)


def test_auto_takes_what_the_cache_carries():
    fold = [n % 3 + 1 for n in range(72)]
    split = ["Train" if n % 4 else "Val" for n in range(72)]
    assert plan(people()).kind == "kfold"
    assert plan(people(split=split)).kind == "split"
    found = plan(people(split=split, fold=fold))
    assert found.kind == "folds"
    assert [one.name for one in found.folds] == ["fold1", "fold2", "fold3"]
    assert plan(people(split=split, fold=fold), kind="loso").kind == "loso"
    unknown = people(subject=None)
    with pytest.raises(UsageError, match="neither folds nor train and test splits, and 72 of 72 have no subject") as e:
        plan(unknown)
    assert str(e.value.remedy).startswith("--folds 5 --by clip")
    assert plan(unknown, by="clip").kind == "kfold"


def test_given_folds_are_taken_at_their_word():
    fold = [-1] * 12 + [n % 2 for n in range(60)]
    table = people(fold=fold)
    found = plan(table)
    for number, one in enumerate(found.folds):
        np.testing.assert_array_equal(one.test, np.flatnonzero(table.fold == number))
        np.testing.assert_array_equal(one.train, np.flatnonzero(table.fold != number))
    assert "12 clips are in no fold: learnt from in all, tested in none." in found.notes
    assert found.independence == "subjects shared (10)"
    assert any(note.startswith("10 subjects are in both halves: s02, s03, s04 and 7 more") for note in found.notes)


def test_splits_in_all_their_spellings():
    split = [("training", "TEST", "Validation", "extra")[n % 4] for n in range(72)]
    table = people(subject=None, split=split)
    found = plan(table)
    (fold,) = found.folds
    assert (fold.name, len(fold.train), len(fold.val), len(fold.test)) == ("split", 18, 0, 18)
    assert any("validation split (18 clips) is neither" in note for note in found.notes)
    assert any("18 clips are in neither half; their splits: extra" in note for note in found.notes)
    (fold,) = plan(table, validation=True).folds
    np.testing.assert_array_equal(fold.val, np.arange(2, 72, 4))
    # without a test split the validation split is the test, and an inner one comes out of training
    table = people(split=["train" if n < 48 else "dev" for n in range(72)])
    found = plan(table, validation=True)
    np.testing.assert_array_equal(found.folds[0].test, np.arange(48, 72))
    assert set(found.folds[0].val.tolist()) < set(range(48))
    assert found.independence == "by subject"
    with pytest.raises(UsageError, match=r"Expected the splits train and test \(or val\), found train"):
        plan(people(split=["train"] * 72), kind="split")


def test_independence_is_what_the_annotations_show():
    half = ["train"] * 36 + ["test"] * 36
    paths = [f"/videos/{n}.mp4" for n in range(72)]
    assert plan(people(split=half)).independence == "by subject"
    assert plan(people(split=half, subject=None)).independence == "unknown"
    assert plan(people(split=half, subject=None, path=paths)).independence == "by source"
    # one clip without a subject is enough
    partly = ["", *(f"s{n // 6}" for n in range(1, 72))]
    assert plan(people(split=half, subject=partly)).independence == "unknown"
    assert plan(people(split=half, subject=partly, path=paths)).independence == "by source"
    assert plan(people(split=half, subject=partly, path=["", *paths[1:]])).independence == "unknown"
    shared = plan(people(split=half, subject=None, path=[*paths[:-1], paths[0]]))
    assert shared.independence == "unknown"
    assert any(note == "1 source file has clips in both halves: /videos/0.mp4." for note in shared.notes)
    assert plan(people(split=half, subject=["s"] * 72, path=paths)).independence == "subjects shared (1)"
    assert plan(people(), kind="kfold", by="clip").independence == "subjects shared (12)"
    three = people(split=["train"] * 30 + ["val"] * 30 + ["test"] * 12, subject=["a"] * 30 + ["b"] * 36 + ["c"] * 6)
    assert plan(three).independence == "by subject"  # the validation half is not used, and b is in it
    assert plan(three, validation=True).independence == "subjects shared (1)"
    inner = plan(people(split=half), by="clip", validation=True)
    assert inner.independence == "by subject"
    assert any("are learnt from and in the validation half" in note for note in inner.notes)


def test_what_is_left_out_is_said():
    table = people(4)
    label = table.label.copy()
    label[[0, 7]] = -1
    missing = np.zeros(24, bool)
    missing[[7, 8, 9]] = True
    found = plan(replace(table, label=label, missing=missing), kind="loso")
    assert found.notes[:3] == (
        "1 of 24 clips have no label and are left out.",
        "2 labelled inputs gave no frames: counted as wrong in a test half.",
        "1 input gave no frames and had no label: counted nowhere.",
    )
    assert {8, 9} <= set(found.folds[1].test.tolist())
    assert not {8, 9} & {row for fold in found.folds for row in fold.train.tolist()}


def test_absent_classes_are_said():
    table = Annotations.from_columns(
        ids=list("abcdefgh"),
        label=["happy", "sad", "happy", "sad", "happy", "sad", "fear", "happy"],
        labels=("happy", "sad", "fear", "nobody shows it"),
        subject=["s1", "s1", "s2", "s2", "s3", "s3", "s4", "s4"],
    )
    notes = plan(table, kind="loso").notes
    assert "No clip of 'fear' is learnt from in s4." in notes
    assert "The test halves of 4 of 4 folds lack classes: their own UAR covers the others." in notes
    assert not any("nobody" in note for note in notes)
    split = replace(table, split=np.array(["train"] * 2 + ["test"] * 4 + ["train"] * 2))
    assert "No clip of 'fear' is tested: UAR and UF1 average over the classes that are." in plan(split).notes
    assert not plan(people(), kind="kfold", folds=3).notes


def test_folds_are_chosen_by_name():
    table = people(fold=[n % 5 + 1 for n in range(72)])
    found = plan(table, only=("fold4", "fold2"))
    assert [fold.name for fold in found.folds] == ["fold2", "fold4"]
    assert "2 of 5 folds run: fold2, fold4." in found.notes
    with pytest.raises(UsageError, match="no fold 'flod3'; there are fold1, fold2, fold3, fold4, fold5") as caught:
        plan(table, only=("flod3",))
    assert caught.value.remedy == "--fold fold3"


REFUSED = {
    "no labels": (lambda: people(label=[None] * 72), {}, "None of 72 clips has a label"),
    "one class": (lambda: people(classes=1), {}, "All 72 labelled clips are 'happy'"),
    "few subjects": (lambda: people(3), {"kind": "kfold"}, "5 folds need 5 subjects, and there are 3"),
    "few clips": (lambda: people(1), {"kind": "kfold", "by": "clip", "folds": 9}, "9 folds need 9 clips.* are 6"),
    "one subject": (lambda: people(1), {"kind": "loso"}, "two subjects, found only 's00'"),
    "one to hold out": (lambda: people(1), {"kind": "holdout"}, "all 6 clips are of 's00'"),
    "no subjects": (
        lambda: people(subject=["", "", *["s"] * 70]),
        {"kind": "kfold"},
        "2 of 72 have none: clip 000, clip 001",
    ),
    "loso without": (lambda: people(subject=None), {"kind": "loso"}, "72 of 72 have none"),
    "no folds": (people, {"kind": "folds"}, "No clip says in which fold"),
    "one fold": (lambda: people(fold=[1] * 72), {}, "fold1: no clip is left to learn from; 72 are tested"),
    "only missing": (
        lambda: people(split=["train"] * 36 + ["test"] * 36, missing=[True] * 36 + [False] * 36),
        {},
        "split: no clip is left to learn from",
    ),
    "one class learnt": (
        lambda: people(split=["train" if n % 3 == 0 else "test" for n in range(72)]),
        {},
        "split: all 24 clips to learn from are 'happy'",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals(case):
    make, config, message = REFUSED[case]
    if case == "no labels":
        table = replace(people(), label=np.full(72, -1))
    else:
        table = make()
    with pytest.raises(UsageError, match=message) as caught:
        plan(table, **config)
    assert case != "one class" or "est cache relabel" in caught.value.remedy


@pytest.mark.parametrize(
    ("subjects", "message"), [([""] * 72, "36 of 36 have none"), (["a"] * 36 + ["b"] * 36, "all 36 clips are of 'a'")]
)
def test_an_inner_half_needs_subjects_or_leave(subjects, message):
    table = people(split=["train"] * 36 + ["test"] * 36, subject=subjects)
    with pytest.raises(UsageError, match=f"split: an inner validation half.*{message}") as caught:
        plan(table, validation=True)
    assert "--by clip" in str(caught.value.remedy)
    (fold,) = plan(table, validation=True, by="clip").folds
    assert len(fold.val) == 5


@pytest.mark.parametrize(
    "config", [{"kind": "kfolds"}, {"by": "person"}, {"folds": 1}, {"test_share": 0}, {"val_share": 1.0}]
)
def test_a_protocol_that_makes_no_sense_is_refused(config):
    with pytest.raises(UsageError, match=f"protocol.{next(iter(config))}"):
        ProtocolConfig(**config)
    with pytest.raises(UsageError, match="goes by subject"):
        ProtocolConfig(kind="loso", by="clip")


def test_a_cache_is_read_with_its_failures(make_cache, tmp_path):
    path = make_cache(tmp_path / "c.zarr", range(10), failures=(12, 15))
    cache = open_cache(path)
    table = Annotations.from_cache(cache)
    assert table.ids.tolist() == [*cache.ids, "set/clip 012", "set/clip 015"]
    assert table.labels == cache.labels
    names = [None if code < 0 else table.labels[code] for code in table.label.tolist()]
    assert names == [*cache.clips.label_names, "happy", None]  # clip 12 of three labels; every fifth has none
    assert table.subject.tolist() == [f"S{n % 4}" for n in (*range(10), 12, 15)]
    assert table.fold.tolist() == [n % 5 for n in (*range(10), 12, 15)]
    # the first sample clip has no frames: nothing can be said about it, as about a failure
    assert table.missing.tolist() == [True, *[False] * 9, True, True]
    assert table.place.tolist() == [-1, *range(1, 10), -1, -1]
    tested = {fold.name: table.ids[fold.test].tolist() for fold in plan(table).folds}
    assert "set/clip 012" in tested["fold2"]


def test_a_failure_beside_its_clip_counts_once(make_cache, tmp_path):
    from cache_samples import LABELS, SMALL, make_failure, sample_recipes

    path = make_cache(tmp_path / "c.zarr", range(4))
    with CacheWriter.open(path, sample_recipes(), labels=LABELS, layout=SMALL) as writer:
        writer.fail(make_failure(3))
        writer.fail(replace(make_failure(4), label="contempt"))
    table = Annotations.from_cache(open_cache(path))
    assert Counter(table.ids.tolist()).most_common(1)[0][1] == 1
    assert table.missing.tolist() == [True, False, False, False, True]
    assert table.labels[table.label[-1]] == "contempt"
    assert set(LABELS) <= set(table.labels)
