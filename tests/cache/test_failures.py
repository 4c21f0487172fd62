"""Failures keep what is known of the clips that they are not, whatever happens to a cache: label, subject, split and fold."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from cache_samples import LABELS, SMALL, leftovers, make_cache, make_clip, make_failure, sample_recipes, stored_arrays

from est.cache import CacheWriter, Failure, Source, convert_cache, merge_caches, open_cache, verify_cache
from est.cache.changes.repair import repair_cache
from est.cache.schema import ColumnSpec
from est.cache.writing.table import Table
from est.cli import main
from est.errors import CacheDamaged, CacheError, UsageError

ANNOTATIONS = {"label": "awe", "subject": "Åse", "split": "val", "fold": 7}


def sound(path):
    """Open a cache that verifies and beside which nothing is left."""
    assert verify_cache(path).problems == []
    assert leftovers(path) == []
    return open_cache(path)


def annotated(failure):
    return (failure.label, failure.subject, failure.split, failure.fold)


def test_what_is_left_out_is_unknown():
    assert annotated(Failure(id="a", path="", stage="decode", error="")) == (None, "", "", -1)


def test_a_label_that_only_a_failure_has_is_a_label(cache_path):
    failures = [make_failure(4), replace(make_failure(30), **ANNOTATIONS), make_failure(5)]
    with CacheWriter.open(cache_path, sample_recipes(), labels=LABELS) as writer:
        writer.add(make_clip(3))
        for failure in failures:
            writer.fail(failure)
            assert writer.failure(failure.id) == failure
        assert writer.failure(make_clip(3).id) is None
    cache = sound(cache_path)
    assert cache.labels == (*LABELS, "awe")
    assert cache.failures == failures
    assert [failure.label for failure in cache.failures] == ["sad", "awe", None]
    assert cache.select(label="awe").tolist() == []  # known, though no clip has it
    with CacheWriter.open(cache_path) as writer:
        writer.add(make_clip(6, label="z"))
        assert [writer.failure(failure.id) for failure in failures] == failures
    assert sound(cache_path).labels == (*LABELS, "awe", "z")
    assert sound(cache_path).failures == failures


def test_labels_of_failures_are_merged_by_name(tmp_path, store):
    known = [("a", ["sad", "happy"], 30, "happy"), ("b", ["awe", "happy", "sad"], 31, "awe"), ("c", [], 32, "rage")]
    for name, labels, index, label in known:
        with CacheWriter.open(tmp_path / f"{name}.zarr", sample_recipes(), labels=labels) as writer:
            writer.add(make_clip(index - 25, label="sad"))
            writer.fail(replace(make_failure(index), label=label))
            writer.fail(replace(make_failure(index + 10), label=None))
    out = tmp_path / f"out{store}"
    merge_caches([tmp_path / f"{name}.zarr" for name, *_ in known], out)
    cache = sound(out)
    assert cache.labels == ("sad", "happy", "awe", "rage")
    assert {failure.id: failure.label for failure in cache.failures} == {
        make_failure(index).id: label
        for index, label in [(30, "happy"), (40, None), (31, "awe"), (41, None), (32, "rage"), (42, None)]
    }
    assert cache.clips.label_names == ["sad"] * 3


def test_copies_keep_failures_as_they_are(cache_path, tmp_path):
    failures = [replace(make_failure(30), **ANNOTATIONS), make_failure(31)]
    with CacheWriter.open(cache_path, sample_recipes()) as writer:
        writer.add(make_clip(3))
        writer.fail(failures[0])
    with CacheWriter.open(cache_path) as writer:  # the second goes through another fold
        writer.fail(failures[1])
    for suffix in (".zarr", ".h5"):
        cache = sound(convert_cache(cache_path, tmp_path / f"copy{suffix}"))
        assert cache.failures == failures
        assert cache.labels == open_cache(cache_path).labels


def test_a_failure_behind_a_clip_is_not_shared_as_one_more(tmp_path, store):
    source, out = tmp_path / "source.zarr", tmp_path / f"out{store}"
    with CacheWriter.open(source, sample_recipes()) as writer:
        writer.add(make_clip(3))
        writer.fail(make_failure(3, version=1))  # its source has changed, and cannot be read any more
        writer.fail(make_failure(30))
    assert len(open_cache(source).failures) == 2
    convert_cache(source, out, share=True)
    (shared,) = sound(out).failures
    assert shared.subject.startswith("person-")
    assert annotated(shared) == annotated(replace(make_failure(30), subject=shared.subject))


def test_updates_of_failures_say_what_changed(cache_path):
    make_cache(cache_path, range(3), failures=[30, 31, 2], targets=("x", "y"))
    failure = make_failure(31)
    with CacheWriter.open(cache_path) as writer:
        assert writer.update(failure.id, label=failure.label, subject=failure.subject, fold=failure.fold) == []
        assert writer.update(failure.id, path="/new", **ANNOTATIONS) == [
            f"path: {failure.path} → /new",
            "label: sad → awe",
            "subject: S3 → Åse",
            "split: test → val",
            "fold: 1 → 7",
        ]
        assert writer.update(make_failure(30).id, label="sad") == ["label: None → sad"]
        assert writer.update(make_clip(2).id, subject="the clip's") == ["subject: S2 → the clip's"]
    updated = replace(failure, path="/new", **ANNOTATIONS)
    cache = sound(cache_path)
    assert cache.failures == [replace(make_failure(30), label="sad"), updated, make_failure(2)]
    assert cache.clips.row(make_clip(2).id)["subject"] == "the clip's"
    assert cache.labels == (*LABELS, "awe")
    before = stored_arrays(cache_path)
    wrong = [
        ({"stage": "decode"}, "Failure 'set/clip 031': its stage cannot be updated: it belongs to the extraction"),
        ({"fold": "second"}, "fold: expected int32, found 'second'"),
        ({"label": "joy", "subject": None}, "its subject is a text"),
        ({"target": [1.0, 0.0]}, "its target cannot be updated"),
    ]
    with CacheWriter.open(cache_path) as writer:
        for values, message in wrong:
            with pytest.raises(CacheError, match=message):
                writer.update(failure.id, **values)
        with pytest.raises(UsageError, match="has no clip 'nobody'"):
            writer.update("nobody", fold=1)
    assert stored_arrays(cache_path) == before


def test_a_record_can_be_taken_back(cache_path):
    make_cache(cache_path, range(2), failures=[30, 31])
    with CacheWriter.open(cache_path) as writer:
        writer.forget(make_failure(30).id)
        writer.forget("nobody")
        writer.fail(make_failure(32))
        writer.forget(make_failure(32).id)
        assert writer.failure(make_failure(30).id) is None
        assert writer.status(make_failure(30).id, make_failure(30).source) == "new"
    assert sound(cache_path).failures == [make_failure(31)]


def test_a_reader_keeps_the_failures_that_it_opened(cache_path):
    make_cache(cache_path, range(2), failures=[30, 31])
    with CacheWriter.open(cache_path) as writer:
        writer.commit()
        reader = open_cache(cache_path)
        writer.update(make_failure(31).id, label="a new one", fold=9)
        writer.forget(make_failure(30).id)
        for _ in range(3):  # from the second on the arrays hold what the first has carried
            writer.commit()
            assert reader.failures == [make_failure(30), make_failure(31)]
        assert open_cache(cache_path).failures == [replace(make_failure(31), label="a new one", fold=9)]
    assert reader.failures == [make_failure(30), make_failure(31)]


@pytest.mark.parametrize("column", ["label", "subject", "split", "fold"])
def test_damage_of_an_annotation_is_found_and_repaired(column, tmp_path):
    path = make_cache(tmp_path / "a.zarr", range(3), failures=[31, 33])
    chunk = path / "failures" / column / "c.0"
    data = bytearray(chunk.read_bytes())
    place = 2 if column in ("label", "fold") else data.index(b"S3" if column == "subject" else b"test")
    data[place] ^= 1
    chunk.write_bytes(data)
    assert [problem.what for problem in verify_cache(path).problems] == [
        "row 0 of the failures does not match its checksum"
    ]
    if column == "label":
        with pytest.raises(CacheDamaged, match="label of the failure 'set/clip 031' is number 65537 of 3") as caught:
            open_cache(path)
        assert caught.value.remedy == f"est cache verify {path} --repair"
    repair_cache(path)
    assert sound(path).failures == [make_failure(33)]
    assert len(open_cache(path)) == 3


def test_a_label_that_is_none_of_the_cache_is_found_and_repaired(cache_path, monkeypatch):
    append = Table.append
    with CacheWriter.open(cache_path, sample_recipes(), labels=LABELS, layout=SMALL) as writer:
        writer.fail(make_failure(31))
        monkeypatch.setattr(Table, "append", lambda table, row: append(table, {**row, "label": 3}))  # as no writer does
        writer.fail(make_failure(33))
    monkeypatch.undo()
    assert [problem.what for problem in verify_cache(cache_path).problems] == [
        "row 1 of the failures: its label is number 3 of 3"
    ]
    repair_cache(cache_path)
    assert sound(cache_path).failures == [make_failure(31)]


def test_the_command_line_shows_whose_clips_are_missing(cache_path, capsys):
    make_cache(cache_path, range(3), failures=[30, 31, 32, 34])

    def est(*arguments):
        with pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in arguments])
        return stop.value.code, capsys.readouterr().out

    lines = est("cache", "ls", cache_path, "--failures")[1].splitlines()
    assert lines[0].split("\t") == ["set/clip 030", "-", "S2", "train", "0", "decode", "no frame 30 – ü"]
    assert lines[1].split("\t")[:5] == ["set/clip 031", "sad", "S3", "test", "1"]
    clips = est("cache", "ls", cache_path)[1].splitlines()
    assert clips[1].split("\t")[:7] == ["set/clip 001", "sad", "S1", "test", "1", "1 frames", "coverage 0.000"]
    assert clips[1].split("\t")[7:] == ["jitter -", "tracks -", "identity changes -", "incomplete: 1 of 2"]
    found = json.loads(est("cache", "ls", cache_path, "--failures", "--subject", "S2", "--json")[1].splitlines()[-1])
    assert [(row["id"][-3:], row["label"], row["split"], row["fold"]) for row in found["failures"]] == [
        ("030", None, "train", 0),
        ("034", "sad", "train", 4),
    ]
    assert len(est("cache", "ls", cache_path, "--failures", "--label", "sad", "--fold", "1")[1].splitlines()) == 1
    assert est("cache", "ls", cache_path, "--failures", "--label", "nonsense")[0] == 2
    data = json.loads(est("cache", "info", cache_path, "--json")[1].splitlines()[-1])
    assert data["failures"] == {"decode": 4}
    assert data["failed_labels"] == {"sad": 2, "neutral": 1}
    shown = est("cache", "info", cache_path)[1].partition("failures by label\n")[2].splitlines()
    assert [line.split()[:2] for line in shown[:3]] == [["sad", "2"], ["neutral", "1"], ["(none)", "1"]]


def test_sources_of_failures_come_back_beside_what_is_known(cache_path):
    wide = Failure(
        id="a", path="", stage="input", error="", fold=2**31 - 1, source=Source(num_bytes=2**62, mtime_ns=-5)
    )
    with CacheWriter.open(cache_path, sample_recipes()) as writer:
        writer.fail(wide)
    (found,) = sound(cache_path).failures
    assert found == wide
    assert not isinstance(found.fold, np.integer)


def test_extra_columns_of_text_that_failures_have(tmp_path, store):
    columns = {
        "site": ColumnSpec(dtype="string", failures=True),
        "age": ColumnSpec(dtype="int64"),
        "note": ColumnSpec(dtype="string"),
    }
    paths = [tmp_path / f"{name}{store}" for name in ("a", "b", "merged", "shared")]
    for number, path in enumerate(paths[:2]):
        told = replace(make_failure(4 + number), extra={"site": f"s{number}", "age": 3, "note": "x"})
        untold = make_failure(40 + number)
        with CacheWriter.open(path, sample_recipes(), labels=LABELS, columns=columns) as writer:
            writer.add(make_clip(3 + 10 * number))
            for failure in (told, untold):
                writer.fail(failure)
            kept = replace(told, extra={"site": f"s{number}"})
            assert writer.failure(told.id) == kept
        assert sound(path).failures == [kept, untold]
    merge_caches(paths[:2], paths[2])
    assert [failure.extra for failure in sound(paths[2]).failures] == [{"site": "s0"}, {}, {"site": "s1"}, {}]
    convert_cache(paths[0], paths[3], share=True)
    assert all(not failure.extra for failure in sound(paths[3]).failures)


def test_a_reason_that_quotes_bytes_of_a_file_is_escaped(tmp_path, sample_recipes):
    """A damaged video may name its tracks `vid` and a NUL, or hold what a terminal takes for a command."""
    failure = Failure(id="a", path="a.mp4", stage="decode", error="tracks: vid\0, \x1b[2J, \x9b, \ud800, ü\u202f\n")
    assert failure.error == "tracks: vid\\x00, \\x1b[2J, \\x9b, \\ud800, ü\u202f\n"
    with CacheWriter.open(tmp_path / "a.zarr", sample_recipes()) as writer:
        writer.fail(failure)
        assert writer.failure("a") == failure
    assert open_cache(tmp_path / "a.zarr").failures == [failure]
