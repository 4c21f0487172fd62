"""Relabelling: what changes and what must not, what is refused; in both stores, for clips and failures."""

from __future__ import annotations

import csv
import os
import signal

import pytest
from cache_samples import contents, leftovers, make_clip, make_failure, sample_recipes
from train_samples import learning_cache

from est.cache import CacheWriter, Failure, open_cache, verify_cache
from est.errors import CacheError, CacheLocked, UsageError
from est.inputs.relabelling import annotations, plan_relabelling
from est.train import ProtocolConfig
from est.train.folds.annotations import Annotations
from est.train.folds.protocols import plan_folds

COLUMNS = ("label", "subject", "split", "fold")


@pytest.fixture
def cache(cache_path, make_cache):
    """Eight clips and two failures; a third failure has the id of a clip, and is only an earlier attempt."""
    make_cache(cache_path, range(8), crops=True, failures=(11, 12))
    return cache_path


def write_list(path, rows, *, delimiter=","):
    """Write rows of cells, the header first."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter=delimiter).writerows(rows)
    return path


def written(folder, *rows, name="list.csv"):
    return write_list(folder / name, rows)


def said(cache):
    found = annotations(open_cache(cache))
    return {clip_id: {name: values[name] for name in COLUMNS} for clip_id, values in found.items()}


def ids(numbers):
    return [f"set/clip {number:03d}" for number in numbers]


def test_everything_changes_and_nothing_else_does(cache, tmp_path):
    before, old = contents(cache), said(cache)
    wanted = {
        clip_id: {"label": ("sad", "fear", "anger")[n % 3], "subject": f"new {n}", "split": "val", "fold": n % 3 + 7}
        for n, clip_id in enumerate(old)
    }
    rows = [(clip_id, *values.values()) for clip_id, values in wanted.items()]
    found = plan_relabelling(cache, [written(tmp_path, ("id", *COLUMNS), *rows)])
    assert contents(cache) == before, "a plan writes nothing"
    assert {(change.id, change.column): (change.before, change.after) for change in found.changes} == {
        (clip_id, column): (old[clip_id][column], wanted[clip_id][column])
        for clip_id in old
        for column in COLUMNS
        if old[clip_id][column] != wanted[clip_id][column]
    }
    assert found.failures == frozenset(ids((11, 12)))
    found.write()
    assert said(cache) == wanted
    after = contents(cache)
    assert after["labels"][0] == ("happy", "sad", "neutral", "anger", "fear"), "new ones behind, in the order of names"
    for name in before:
        if name not in (*COLUMNS, "labels", "failures"):
            assert after[name] == before[name], name
    for one, two in zip(before["failures"], after["failures"], strict=True):
        assert one.split("label=")[0] == two.split("label=")[0]
        assert one.split("source=")[1] == two.split("source=")[1]
    assert verify_cache(cache).problems == []
    assert leftovers(cache) == []
    again = plan_relabelling(cache, [tmp_path / "list.csv"])
    assert again.changes == ()
    again.write()
    assert contents(cache) == after


def test_it_is_one_commit(cache, tmp_path, monkeypatch):
    """Whatever a reader sees is the cache as it was, or as it should be."""
    states = []
    commit = CacheWriter.commit

    def spy(writer):
        commit(writer)
        states.append({clip_id: values["fold"] for clip_id, values in said(cache).items()})

    before = {clip_id: values["fold"] for clip_id, values in said(cache).items()}
    found = plan_relabelling(cache, [written(tmp_path, ("id", "fold"), *((clip_id, 3) for clip_id in before))])
    monkeypatch.setattr(CacheWriter, "commit", spy)
    found.write()
    assert len(found.changes) > 5
    assert all(state in (before, dict.fromkeys(before, 3)) for state in states)


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_a_ctrl_c_changes_all_or_nothing(cache, tmp_path, monkeypatch):
    found = plan_relabelling(cache, [written(tmp_path, ("id", "fold"), *((clip_id, 3) for clip_id in said(cache)))])
    update, calls = CacheWriter.update, []

    def interrupted(writer, clip_id, **values):
        calls.append(clip_id)
        if len(calls) == 3:
            signal.raise_signal(signal.SIGINT)
        return update(writer, clip_id, **values)

    monkeypatch.setattr(CacheWriter, "update", interrupted)
    with pytest.raises(KeyboardInterrupt):
        found.write()
    assert {values["fold"] for values in said(cache).values()} == {3}


def test_a_failure_that_is_a_clip_by_now_is_left_alone(cache, tmp_path):
    with CacheWriter.open(cache) as writer:
        writer.fail(make_failure(3, version=1))
    assert len(open_cache(cache).failures) == 3
    plan_relabelling(cache, [written(tmp_path, ("id", "label"), ("set/clip 003", "fear"))]).write()
    opened = open_cache(cache)
    assert opened.clips.row("set/clip 003")["label"] == "fear"
    assert {failure.id: failure.label for failure in opened.failures}["set/clip 003"] == "happy"
    again = plan_relabelling(cache, [tmp_path / "list.csv"])
    assert (again.changes, len(again.known)) == ((), 10)


def test_failures_are_told_columns_of_text(cache, tmp_path):
    first, second = (f"set/clip {number:03d}" for number in (11, 12))
    path = written(tmp_path, ("id", "extra:database", "extra:age"), (first, "SMIC", 3), ("set/clip 001", "SAMM", 4))
    plan_relabelling(cache, [path]).write()
    assert {failure.id: failure.extra for failure in open_cache(cache).failures} == {
        first: {"database": "SMIC"},
        second: {},
    }
    assert not plan_relabelling(cache, [path]).changes
    assert not verify_cache(cache).problems


def test_an_empty_cell_leaves_and_clears_only_when_asked(cache, tmp_path):
    old = said(cache)
    path = written(
        tmp_path,
        ("id", "label", "fold", "split"),
        ("set/clip 001", "", "", ""),
        ("set/clip 002", "", "nan", "x"),
        ("set/clip 011", "", "-1", ""),
    )
    found = plan_relabelling(cache, [path])
    assert [(change.id, change.column) for change in found.changes] == [("set/clip 002", "split")]
    found = plan_relabelling(cache, [path], clear=True)
    assert found.kinds("fold") == {"cleared": 3}
    found.write()
    now = said(cache)
    for clip_id in ids((1, 2, 11)):
        assert (now[clip_id]["label"], now[clip_id]["fold"]) == (None, -1)
        assert now[clip_id]["subject"] == old[clip_id]["subject"], "a column that the list lacks is not cleared"
    assert [now[clip_id]["split"] for clip_id in ids((1, 2, 11))] == ["", "x", ""]
    assert now["set/clip 003"] == old["set/clip 003"]


def test_only_some_columns_and_several_lists(cache, tmp_path):
    one = written(tmp_path, ("id", "label", "fold"), ("set/clip 001", "fear", 9), ("set/clip 002", "fear", 8))
    two = written(tmp_path, ("path", "subject"), ("/videos/clip 001 – é.mp4", "Z"), name="two.csv")
    found = plan_relabelling(cache, [one, two], only=["fold", "subject"])
    assert found.columns == ("subject", "fold")
    assert {(change.id[-1], change.column): change.after for change in found.changes} == {
        ("1", "fold"): 9,
        ("2", "fold"): 8,
        ("1", "subject"): "Z",
    }
    assert found.matched() == {"id": 1, "path": 1}, "each clip once, as it was told last"
    found = plan_relabelling(cache, [one, two], clear=True)
    assert found.kinds("label") == {"changed": 2}, "a list clears no column that it lacks"


def test_a_list_may_be_the_one_of_the_extraction(tmp_path):
    """By the ids that extraction gives to listed paths, segments too, wherever the videos are by now."""
    path = tmp_path / "c.zarr"
    with CacheWriter.open(path, sample_recipes()) as writer:
        for clip_id in ("in/one", "in/two#0-1.5", "in/two#1.5-3"):
            writer.add(make_clip(2, id=clip_id, path=""))
        writer.fail(Failure(id="in/gone", path="", stage="input", error="absent"))
    rows = [("File Name", "Start", "end", "Emotion"), ("in/one.mp4", "", "", "a"), ("in/two.mp4", "", "1.5", "b")]
    rows += [("in/two.mp4", "0:01.5", "3", "c"), ("in/gone.avi", "", "", "d")]
    found = plan_relabelling(path, [write_list(tmp_path / "list.tsv", rows, delimiter="\t")])
    assert found.unmatched == ()
    found.write()
    assert {clip_id: values["label"] for clip_id, values in said(path).items()} == {
        "in/one": "a",
        "in/two#0-1.5": "b",
        "in/two#1.5-3": "c",
        "in/gone": "d",
    }


@pytest.mark.parametrize(
    ("rows", "options", "words"),
    [
        ([("id", "label")], {}, "None of 0 lines names a clip (they are empty)"),
        ([("id", "label"), ("nobody", "x")], {}, "None of 1 lines names a clip ('nobody'); "),
        ([("id", "lbel"), ("set/clip 001", "x")], {}, "has no column label or subject or split or fold"),
        ([("id", "label"), ("set/clip 001", "x")], {"only": ["fold"]}, "has no column fold"),
        ([("id", "label"), ("set/clip 001", "x")], {"only": ["label", "fold"]}, "No list has a column 'fold'"),
        ([("id", "label"), ("set/clip 001", "x")], {"only": ["path"]}, "--only takes label, subject, split, fold"),
        ([("label", "fold"), ("x", "1")], {}, "a list has a column `id` or `path`, found 'label', 'fold'"),
        ([("id", "path", "label"), ("", "", "x")], {}, "line 2: the id and the path is empty"),
        ([("id", "fold"), ("set/clip 001", "first")], {}, "line 2: fold: expected a whole number, found 'first'"),
        (
            [("id", "label"), ("set/clip 001", "x"), ("set/clip 002", "x"), ("set/clip 001", "y")],
            {},
            "list.csv, line 4 disagree on the label of 'set/clip 001': 'x' and 'y'",
        ),
        (
            [("id", "path", "fold"), ("set/clip 001", "", "3"), ("", "/videos/clip 001 – é.mp4", "4")],
            {},
            "line 3 disagree on the fold of 'set/clip 001': 3 and 4",
        ),
        (
            [("id", "label"), ("set/clip 001", "x"), ("nobody", "x")],
            {"strict": True},
            "--strict: 1 line names no clip ('nobody'); 9 clips are on no line ('set/clip 000', ",
        ),
    ],
)
def test_lists_that_make_no_sense_are_refused(make_cache, tmp_path, rows, options, words):
    cache = make_cache(tmp_path / "c.zarr", range(8), failures=(11, 12))
    with pytest.raises(UsageError) as caught:
        plan_relabelling(cache, [written(tmp_path, *rows)], **options)
    assert words in caught.value.message
    assert caught.value.remedy or "empty" in words or "whole number" in words


def test_hints(make_cache, tmp_path):
    cache = make_cache(tmp_path / "c.zarr", range(8))
    with pytest.raises(UsageError) as caught:
        plan_relabelling(cache, [written(tmp_path, ("id", "lbel"), ("set/clip 001", "x"))])
    assert caught.value.remedy == "is 'lbel' the label?"
    with pytest.raises(UsageError) as caught:
        plan_relabelling(cache, [tmp_path / "list.csv"], only=["lbels"])
    assert caught.value.remedy == "--only label"
    with pytest.raises(UsageError, match="does not exist"):
        plan_relabelling(cache, [tmp_path / "absent.csv"])
    with pytest.raises(UsageError, match="Which list"):
        plan_relabelling(cache, [])
    # the delimiter is the one that finds an id
    (tmp_path / "semicolon.csv").write_text("id;label, as told, by one\nset/clip 001;x\n", encoding="utf-8")
    with pytest.raises(UsageError, match="its columns: 'id', 'label, as told, by one'"):
        plan_relabelling(cache, [tmp_path / "semicolon.csv"])
    # lines that agree may stand twice
    rows = [("id", "label"), ("set/clip 001", "fear"), ("set/clip 001", "fear"), ("set/clip 001", "")]
    assert len(plan_relabelling(cache, [written(tmp_path, *rows)]).changes) == 1


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (["Happy", "sad"], "'Happy' is another class than 'happy'"),
        (["neutrall"], "'neutrall' is another class than 'neutral'"),
        (["surprise", "surpriise"], "'surpriise' is another class than 'surprise'"),
        (["1", "2"], "the labels 1, 2: a cache holds names"),
        (["calm", "fear"], ""),
    ],
)
def test_labels_that_look_like_a_slip_are_warned_about(make_cache, tmp_path, labels, words):
    cache = make_cache(tmp_path / "c.zarr", range(8))
    rows = [(clip_id, label) for clip_id, label in zip(ids(range(1, 8)), labels, strict=False)]
    warnings = plan_relabelling(cache, [written(tmp_path, ("id", "label", "note"), *rows)]).warnings
    assert "columns that are not used: note" in warnings[0]
    assert words in " ".join(warnings[1:])
    assert bool(warnings[1:]) == bool(words)


def test_a_label_that_is_renamed_everywhere_is_no_slip(make_cache, tmp_path):
    cache = make_cache(tmp_path / "c.zarr", range(8))
    rows = [(i, values["label"].title()) for i, values in said(cache).items() if values["label"]]
    assert plan_relabelling(cache, [written(tmp_path, ("id", "label"), *rows)]).warnings == ()


def test_counts_are_those_of_clips_and_failures(cache, tmp_path):
    path = written(
        tmp_path, ("id", "label"), ("set/clip 001", "fear"), ("set/clip 005", "fear"), ("set/clip 012", "sad")
    )
    found = plan_relabelling(cache, [path])
    before = [values["label"] for values in said(cache).values()]
    assert found.kinds("label") == {"changed": 2, "set": 1}
    counts = found.counts("label")
    assert {label: pair[0] for label, pair in counts.items() if pair[0]} == {
        name: before.count(name) for name in set(before)
    }
    found.write()
    after = [values["label"] for values in said(cache).values()]
    assert {label: pair[1] for label, pair in counts.items()} == {name: after.count(name) for name in counts}


def test_a_cache_that_has_changed_meanwhile_is_left_alone(cache, tmp_path):
    found = plan_relabelling(cache, [written(tmp_path, ("id", "fold"), ("set/clip 001", 4))])
    with CacheWriter.open(cache) as writer:
        with pytest.raises(CacheLocked):
            found.write()
        writer.update("set/clip 002", subject="somebody else")
    before = contents(cache)
    with pytest.raises(CacheError, match="has changed since it was compared"):
        found.write()
    assert contents(cache) == before
    assert leftovers(cache) == []


def test_an_hdf5_cache_that_is_not_folded(make_cache, tmp_path):
    """What an interrupted extraction leaves: a file and a staging beside it."""
    cache = make_cache(tmp_path / "c.h5", range(4))
    writer = CacheWriter.open(cache)
    writer.add(make_clip(5))
    writer.close(folding=False)
    assert leftovers(cache)
    rows = [(clip_id, "fear") for clip_id in ids((1, 5))]
    plan_relabelling(cache, [written(tmp_path, ("id", "label"), *rows)]).write()
    assert [said(cache)[clip_id]["label"] for clip_id in ids((1, 5))] == ["fear"] * 2
    assert leftovers(cache) == []
    assert verify_cache(cache).problems == []


def test_folds_from_a_list_are_a_protocol(tmp_path):
    """What it is for: what a cache lacks is given to it, and the protocol that asked for it is content."""
    cache = learning_cache(tmp_path / "c.zarr", 24, failures=[("gone", "anger", "P9", "")])

    def plan():
        table = Annotations.from_cache(open_cache(cache))
        return plan_folds(table, ProtocolConfig(kind="official"), seed=0, validation=False)

    rows = [(name, number // 3 % 2 + 1) for number, name in enumerate(said(cache))]
    assert plan().kind == "split"
    plan_relabelling(cache, [written(tmp_path, ("id", "split"), *((name, "") for name, _ in rows))], clear=True).write()
    with pytest.raises(UsageError, match="carry neither folds nor") as caught:
        plan()
    assert caught.value.remedy.startswith("est cache relabel CACHE LIST, with a column `fold` on the list")
    plan_relabelling(cache, [written(tmp_path, ("id", "fold"), *rows)]).write()
    found = plan()
    assert [(fold.name, len(fold.test)) for fold in found.folds] == [("fold1", 13), ("fold2", 12)]
    assert "1 labelled input gave no frames: counted as wrong in a test half." in found.notes
