"""What est cache erase says and where it looks: runs, clips of several faces, earlier removals, labels that are names, damage."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from cache_samples import make_clip, make_failure, sample_recipes

from est.cache import CacheWriter, erase_clips, open_cache, verify_cache
from est.cache.changes.rewriting import clips_named
from est.cli import main
from est.errors import CacheDamaged, UsageError
from est.inputs.relabelling import plan_relabelling


@pytest.fixture
def tmp_path(ram_path, monkeypatch):
    monkeypatch.chdir(ram_path)
    return ram_path


@pytest.fixture
def cache(tmp_path, make_cache):
    return make_cache(tmp_path / "c.zarr", range(2, 6), failures=(20,))


def est(capsys, *arguments):
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return ended.value.code, out, err


def make_run(folder, cache, trained):
    folder.mkdir(parents=True)
    facts = {"format": "est-run", "version": 1, "complete": True, "cache": {"path": str(cache)}}
    facts |= {"heading": "EST", "labels": [], "parts": [], "protocol": {}}
    (folder / "run.json").write_text(json.dumps(facts))
    (folder / "config.toml").write_text("")
    halves = {"fold1": {"train": [make_clip(trained).id], "val": [], "test": [make_clip(2).id]}}
    (folder / "folds.json").write_text(json.dumps(halves))


def test_runs_are_looked_for_beside_the_cache_too(cache, tmp_path, capsys):
    make_run(tmp_path / "mine", cache, 5)
    make_run(tmp_path / "audit" / "permuted" / "01", cache, 5)
    make_run(tmp_path / "a" / "b" / "c" / "deep", cache, 5)
    status, out, _ = est(capsys, "cache", "erase", cache, "--subject", "S1", "--yes")
    assert status == 0
    assert f"{tmp_path / 'mine'} has learnt from 1 and tested 0 of them" in out
    assert f"{tmp_path / 'audit' / 'permuted' / '01'} has learnt from 1" in out
    assert "deep" not in out
    assert "there is no folder runs; only the folder of the cache was searched" in out
    assert "knows them" not in out
    assert "the next est extract adds them again" in out


def test_the_folders_that_were_looked_at_are_named(cache, tmp_path, capsys):
    make_run(tmp_path / "runs" / "r", cache, 5)
    make_run(tmp_path / "beside", cache, 5)
    data = json.loads(
        est(capsys, "cache", "erase", cache, "--clip", make_clip(4).id, "--yes", "--json")[1].splitlines()[-1]
    )
    assert (data["runs"], data["looked"]) == ({}, ["runs", str(tmp_path)])
    out = est(capsys, "cache", "erase", cache, "--clip", make_clip(3).id, "--yes")[1]
    assert f"no run below runs or beside the cache (in {tmp_path}) has learnt from them or tested them" in out
    out = est(capsys, "cache", "erase", cache, "--subject", "S1", "--yes", "--runs", tmp_path / "runs")[1]
    assert f"{tmp_path / 'runs' / 'r'} has learnt" in out
    assert "beside" not in out


def test_a_folder_of_runs_that_is_not_there_is_refused_first(cache, tmp_path, capsys):
    status, _, err = est(capsys, "cache", "erase", cache, "--subject", "S1", "--yes", "--runs", tmp_path / "rums")
    assert status == 2
    assert f"there is no folder {tmp_path / 'rums'}; nothing is erased" in err
    assert len(open_cache(cache)) == 4


def test_an_input_of_several_faces_is_erased_with_all_of_them(cache, capsys, monkeypatch):
    with CacheWriter.open(cache) as writer:
        for index, name in enumerate(("two#1", "two#2", "two#0.5-2", "twofold#1", "one", "one#1"), start=6):
            writer.add(make_clip(index, id=name))
    opened = open_cache(cache)
    assert clips_named(opened, ["two", "one", "nobody"]) == ["two#1", "two#2", "one", "nobody"]
    asked = []
    monkeypatch.setattr("est.commands.screen.Screen.confirm", lambda self, question: asked.append(question) or True)
    assert est(capsys, "cache", "erase", cache, "--clip", "two")[0] == 0
    assert "Erase two#1, two#2 from" in asked[0]
    assert set(open_cache(cache).ids) == set(opened.ids) - {"two#1", "two#2"}
    with CacheWriter.open(cache) as writer:
        writer.remove(["twofold#1"])
    assert erase_clips(cache, ["twofold"]).removed == 1
    with pytest.raises(UsageError, match="has no clip 'two'"):
        erase_clips(cache, ["two"])


def test_the_bytes_of_removed_clips_are_counted(cache, capsys):
    with CacheWriter.open(cache) as writer:
        writer.remove([make_clip(5).id])
        writer.add(make_clip(4, version=1), replacing=True)
    out = est(capsys, "cache", "erase", cache, "--subject", "S1", "--yes")[1]
    assert "no clip and no failure of them was left, 3 clips left" in out
    assert "the bytes of 2 clips removed or replaced earlier are gone" in out


def test_a_label_that_is_the_name_of_somebody_goes_once_no_clip_has_it(tmp_path, capsys):
    path = tmp_path / "c.zarr"
    with CacheWriter.open(path, sample_recipes(), labels=("Anna", "happy", "idle", "anna_sad", "sad")) as writer:
        writer.add(replace(make_clip(2), label="Anna", subject="anna"))
        writer.add(replace(make_clip(3), label="sad", subject="bob"))
        writer.add(replace(make_clip(4), label="Anna", subject="bob"))
        writer.fail(replace(make_failure(20), label="happy", subject="bob"))
    found = erase_clips(path, subjects=["anna"])
    assert (found.labels, found.traces) == ((), ("the label 'Anna'", "the label 'anna_sad'")), "a clip has it"
    (tmp_path / "l.csv").write_text(f"id,label\n{make_clip(4).id},sad\n")
    plan_relabelling(path, [tmp_path / "l.csv"]).write()
    out = est(capsys, "cache", "erase", path, "--subject", "anna", "--yes")[1]
    assert "the label 'Anna', which no clip has, is gone, too" in out
    assert "still named: the label 'anna_sad'" in out
    assert "est cache relabel gives the clips of a label another one" in out
    cache = open_cache(path)
    assert cache.labels == ("happy", "idle", "anna_sad", "sad"), "others stay, in their order"
    assert cache.clips.label_names == ["sad", "sad"]
    assert cache.failures[0].label == "happy"
    assert not verify_cache(path).problems
    with pytest.raises(UsageError, match="has no subject 'anna'"):
        erase_clips(path, subjects=["anna"])


@pytest.mark.parametrize("name", ["frames/gap", "clips/subject"])
def test_damage_names_the_command_that_repairs(cache, tmp_path, capsys, name):
    chunk = next(iter(sorted((cache / name).glob("c.*"))))
    chunk.unlink()
    (tmp_path / "l.csv").write_text(f"id,label,extra:age\n{make_clip(4).id},sad,3\n")
    for command in (
        lambda: erase_clips(cache, subjects=["S1"]),
        lambda: plan_relabelling(cache, [tmp_path / "l.csv"]).write(),
    ):
        with pytest.raises(CacheDamaged) as refused:
            command()
        assert f"est cache verify {cache} --repair" in refused.value.remedy
    assert f"est cache verify {cache} --repair" in est(capsys, "cache", "erase", cache, "--subject", "S1", "--yes")[2]
