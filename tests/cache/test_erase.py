"""Erasing people: their rows, crops and names are gone from every file, everybody else is as before, whatever interrupts it."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from cache_samples import contents, make_clip, make_failure, put_copy, sample_recipes
from cache_sessions import FaultyDisk
from format_page import compare

from est.cache import CacheWriter, erase_clips, open_cache, verify_cache
from est.cache.changes import rewriting
from est.cache.changes.rewriting import add_columns
from est.cache.recipe import Recipes
from est.cache.schema import ColumnSpec
from est.cache.stores.snapshot import is_hdf5
from est.cache.trained import TrainedOn
from est.cli import main
from est.errors import CacheDamaged, CacheError, CacheLocked, UsageError
from est.train.runs.search import runs_that_know

CLIPS = range(2, 10)


@pytest.fixture
def tmp_path(ram_path):
    return ram_path


def people(path):
    """Write clips and failures of four people, S0 to S3; features have learnt from some."""
    record = TrainedOn(
        clips=tuple(make_clip(index).id for index in CLIPS),
        digests=[make_clip(index).source.digest.hex() for index in CLIPS],
        subjects=("S1", "S2"),
        how="est tune",
    )
    recipes = sample_recipes()
    gap = replace(recipes.features["gap"], trained_on=record.fingerprint)
    recipes = Recipes(frames=recipes.frames, features={"gap": gap})
    settings = {"crops": True, "labels": ("happy", "sad", "neutral"), "trained_on": [record]}
    with CacheWriter.open(path, recipes, **settings) as writer:
        for index in CLIPS:
            writer.add(make_clip(index, crops=True))
        for index in (20, 21):
            writer.fail(make_failure(index))
        writer.remove([make_clip(9).id])  # of S1: its bytes are there still
    return path


def marks(index):
    """Return bytes that tell a clip: its rows, its pictures, its name and its digest."""
    clip = make_clip(index, crops=True)
    found = [clip.features["gap"].tobytes(), clip.id.encode(), clip.path.encode(), clip.source.digest]
    return [*found, clip.source.digest.hex().encode(), *(crop for crop in clip.crops if len(crop) > 12)]


def everything(path):
    """Return all bytes of a cache."""
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    return b"\0".join(file.read_bytes() for file in files)


def test_no_byte_of_a_person_is_left(cache_path):
    people(cache_path)
    before = everything(cache_path)
    assert all(mark in before for index in (5, 9) for mark in marks(index))
    others = dict(zip(open_cache(cache_path).ids, contents(cache_path)["clips"], strict=True))
    found = erase_clips(cache_path, subjects=["S1"])
    assert found.clips == (make_clip(5).id,)
    assert found.failures == (make_failure(21).id,)
    assert (found.left, found.features) == (6, ("gap",))
    after = everything(cache_path)
    for mark in (*marks(5), *marks(9), b"S1", make_failure(21).path.encode()):
        assert mark not in after
    assert all(mark in after for mark in marks(6))
    assert not verify_cache(cache_path).problems
    compare(cache_path)
    left = open_cache(cache_path)
    for clip, values in zip(left.ids, contents(cache_path)["clips"], strict=True):
        assert values == others[clip]
    record = left.trained_on("gap")
    assert record.subjects == ("S2",)
    assert make_clip(6).id in record.clips
    assert [file.name for file in cache_path.parent.iterdir()] == [cache_path.name]


def test_a_source_that_others_share_stays_in_the_record(tmp_path):
    path = tmp_path / "c.zarr"
    record = TrainedOn(clips=("a", "b"), digests=(make_clip(4).source.digest.hex(),))
    recipes = sample_recipes()
    gap = replace(recipes.features["gap"], trained_on=record.fingerprint)
    with CacheWriter.open(path, Recipes(frames=recipes.frames, features={"gap": gap}), trained_on=[record]) as writer:
        for name in "ab":
            writer.add(make_clip(4, id=name))
    erase_clips(path, ["a"])
    assert open_cache(path).trained_on("gap") == replace(record, clips=("b",))


@pytest.mark.parametrize(
    ("ids", "subjects", "message"),
    [
        (["nobody"], [], "has no clip 'nobody'; nothing is erased"),
        ([], ["S9"], "has no subject 'S9'; nothing is erased"),
        ([], [], "Expected a subject or a clip"),
    ],
)
def test_who_is_not_there_cannot_be_erased(tmp_path, ids, subjects, message):
    path = people(tmp_path / "c.zarr")
    before = everything(path)
    with pytest.raises(UsageError, match=message):
        erase_clips(path, ids, subjects=subjects)
    assert everything(path) == before


def test_nobody_is_erased_while_a_writer_is_at_work(cache_path):
    people(cache_path)
    with CacheWriter.open(cache_path), pytest.raises(CacheLocked):
        erase_clips(cache_path, subjects=["S1"])
    assert len(open_cache(cache_path)) == 7


@pytest.mark.slow
def test_an_interrupted_erasure_leaves_one_of_the_two_states(cache_path, tmp_path):
    kept = people(tmp_path / f"kept{cache_path.suffix}")
    put_copy(cache_path, kept)
    counting = FaultyDisk()
    erase_clips(cache_path, subjects=["S1"], disk=counting)
    wanted = contents(cache_path)
    before = contents(kept)
    steps = range(1, len(counting.said) + 1)
    for stop in [*steps[:: len(steps) // 3], *steps[-6:]]:
        put_copy(cache_path, kept)
        with pytest.raises(CacheError):
            erase_clips(cache_path, subjects=["S1"], disk=FaultyDisk(stop, lasting=True))
        old = cache_path.with_name(f".{cache_path.stem}.replaced{cache_path.suffix}")
        assert cache_path.exists() or (old.exists() and not is_hdf5(cache_path))
        if cache_path.exists():
            assert contents(cache_path) in (before, wanted)
        if not cache_path.exists() or contents(cache_path) == before:
            erase_clips(cache_path, subjects=["S1"])
        assert contents(cache_path) == wanted
        with pytest.raises(UsageError, match="has no subject"):
            erase_clips(cache_path, subjects=["S1"])
        assert not old.exists()


def test_columns_are_added_to_a_cache(cache_path):
    people(cache_path)
    before = contents(cache_path)
    add_columns(cache_path, {"site": ColumnSpec(dtype="string"), "age": ColumnSpec(dtype="int64")})
    compare(cache_path)
    cache = open_cache(cache_path)
    assert list(cache.clips.extra["site"]) == [""] * 7
    assert contents(cache_path)["clips"] == before["clips"]
    with CacheWriter.open(cache_path) as writer:
        writer.update(make_clip(4).id, **{"extra/site": "Oulu"})
    assert "Oulu" in open_cache(cache_path).clips.extra["site"]


def test_the_command_erases_and_names_the_runs(tmp_path, capsys):
    path = people(tmp_path / "c.zarr")
    for name, known, cache in (("mine", 5, path), ("others", 5, tmp_path / "other.zarr"), ("without", 6, path)):
        run = tmp_path / "runs" / name
        run.mkdir(parents=True)
        facts = {
            "format": "est-run",
            "version": 1,
            "complete": True,
            "heading": "EST",
            "labels": [],
            "parts": [],
            "protocol": {},
            "cache": {"path": str(cache)},
        }
        (run / "run.json").write_text(json.dumps(facts))
        (run / "config.toml").write_text("")
        halves = {"fold1": {"train": [make_clip(known).id], "val": [], "test": [make_clip(2).id]}}
        (run / "folds.json").write_text(json.dumps(halves))
    with pytest.raises(SystemExit) as refused:
        main(["cache", "erase", str(path), "--subject", "S1", "--json"])
    assert refused.value.code == 2
    assert "--yes" in capsys.readouterr().out
    with pytest.raises(SystemExit) as done:
        main(["cache", "erase", str(path), "--subject", "S1", "--yes", "--json", "--runs", str(tmp_path / "runs")])
    assert done.value.code == 0
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()][-1]
    counts = {"learnt": 1, "tested": 0}
    assert told["runs"] == {
        str(tmp_path / "runs" / "mine"): {**counts, "same_cache": True},
        str(tmp_path / "runs" / "others"): {**counts, "same_cache": False},  # of what this one was merged from, say
    }
    assert told["features"] == ["gap"]
    assert (told["clips"], told["left"]) == ([make_clip(5).id], 6)
    assert np.asarray(open_cache(path).clips.subject).tolist().count("S1") == 0


def test_a_writer_makes_no_new_cache_where_one_was_being_rewritten(tmp_path):
    path = people(tmp_path / "c.zarr")
    path.rename(tmp_path / ".c.replaced.zarr")
    with pytest.raises(UsageError, match=r"that rewrote .* was interrupted"):
        CacheWriter.open(path, sample_recipes())
    assert erase_clips(path, subjects=["S1"]).left == 6
    assert [file.name for file in tmp_path.iterdir()] == ["c.zarr"]


def test_other_clips_are_never_removed_as_leftovers(tmp_path):
    path = people(tmp_path / "c.zarr")
    put_copy(tmp_path / ".c.replaced.zarr", path)
    with CacheWriter.open(path) as writer:
        writer.add(make_clip(12, crops=True))
    with pytest.raises(UsageError, match="with other clips"):
        erase_clips(path, subjects=["S1"])
    assert len(open_cache(path)) == 8


def test_a_change_meanwhile_is_not_overwritten(cache_path, monkeypatch):
    people(cache_path)
    named = rewriting._named

    def slow(cache, *rest):
        with CacheWriter.open(cache_path) as writer:
            writer.add(make_clip(12, crops=True))
        return named(cache, *rest)

    monkeypatch.setattr(rewriting, "_named", slow)
    with pytest.raises(CacheError, match="has changed meanwhile; nothing was rewritten"):
        erase_clips(cache_path, subjects=["S1"])
    assert make_clip(12).id in open_cache(cache_path).ids


def test_an_open_reader_is_told(tmp_path):
    path = people(tmp_path / "c.zarr")
    cache = open_cache(path)
    erase_clips(path, subjects=["S1"])
    with pytest.raises(CacheDamaged, match="was rewritten after it was opened") as refused:
        cache.clip(0)
    assert refused.value.remedy == "open it again"
    assert len(open_cache(path)) == 6


def test_through_a_link_the_cache_itself_is_erased(cache_path, tmp_path):
    people(cache_path)
    link = tmp_path / f"link{cache_path.suffix}"
    link.symlink_to(cache_path)
    erase_clips(link, subjects=["S1"])
    assert link.is_symlink()
    assert marks(5)[0] not in everything(cache_path)


def test_people_who_were_dropped_before_can_be_erased(cache_path):
    people(cache_path)
    with CacheWriter.open(cache_path) as writer:
        writer.remove([make_clip(5).id])
        writer.forget(make_failure(21).id)
    found = erase_clips(cache_path, subjects=["S1"])
    assert (found.clips, found.left) == ((), 6)
    after = everything(cache_path)
    assert not any(mark in after for mark in (*marks(5), b"S1"))


def test_what_still_has_a_name_is_said(tmp_path):
    path = tmp_path / "c.zarr"
    environment = {"merged": [{"cache": "anna_1.zarr", "difference": "device: cpu here, cuda there"}], "torch": "2.7"}
    with CacheWriter.open(path, sample_recipes(), labels=("Anna", "annabel"), environment=environment) as writer:
        writer.add(replace(make_clip(2), subject="anna"))
        writer.add(replace(make_clip(3), subject="7"))
    found = erase_clips(path, subjects=["anna"])
    assert (found.traces, found.labels) == (("the environment 'anna_1.zarr'",), ("Anna",))
    assert erase_clips(path, subjects=["7"]).traces == ()


def test_failures_that_go_are_those_of_the_erased_and_all_are_named(cache_path):
    """A failure under the id of a clip that goes is of the same input; one under the id of a clip that stays is its own."""
    record = TrainedOn(clips=(make_clip(4).id,), how="est tune")
    recipes = sample_recipes()
    gap = replace(recipes.features["gap"], trained_on=record.fingerprint)
    recipes = Recipes(frames=recipes.frames, features={"gap": gap})
    with CacheWriter.open(cache_path, recipes, trained_on=[record]) as writer:
        for index in (2, 4, 5):
            writer.add(make_clip(index))
        writer.remove([make_clip(5).id])
        writer.fail(replace(make_failure(5), subject="somebody"))
        writer.fail(replace(make_failure(4), subject="S1"))  # the clip is of S0
    found = erase_clips(cache_path, subjects=["S1"])
    assert set(found.failures) == {make_failure(4).id, make_failure(5).id}
    cache = open_cache(cache_path)
    assert cache.ids == [make_clip(2).id, make_clip(4).id]
    assert list(cache.failures) == []
    assert cache.trained_on("gap") == record, "a clip that stays is still known as learnt from"


def test_rights_stay_and_nobody_without_a_name_is_erased(tmp_path):
    path = people(tmp_path / "c.zarr")
    path.chmod(0o700)
    with pytest.raises(UsageError, match="found an empty one"):
        erase_clips(path, subjects=[""])
    erase_clips(path, subjects=["S1"])
    assert path.stat().st_mode & 0o777 == 0o700


def test_runs_that_cannot_be_read_are_named(tmp_path):
    for name, facts in (("a", {}), ("b", {"cache": None}), ("c", {"version": 99})):
        run = tmp_path / name
        run.mkdir()
        (run / "run.json").write_text(json.dumps({"format": "est-run", "version": 1, "complete": True, **facts}))
        (run / "config.toml").write_text("")
    assert runs_that_know([tmp_path], {"x"}, tmp_path / "c.zarr") == (
        {},
        [tmp_path / "a", tmp_path / "b", tmp_path / "c"],
    )
