"""A complete run knows the digest of each of its files: what differs is refused where it is read, and named by `est runs --verify`."""

from __future__ import annotations

import json
import shutil

import pytest
from train_samples import Recorder, learning_cache, tiny_config, without_digests

from est.cli import main
from est.errors import EstError, UsageError
from est.train import ProtocolConfig, Run, evaluate, fit
from est.train.results.predictions import Predictions
from est.train.runs.run import FACTS, RESULT
from est.train.runs.table import list_runs, verify_runs


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("digests")
    cache = learning_cache(folder / "c.zarr", 24)
    fit(cache, folder / "run", tiny_config(epochs=2, protocol=ProtocolConfig(kind="kfold", folds=2)))
    return folder / "run"


@pytest.fixture
def run(trained, tmp_path):
    """A copy that a test may damage."""
    return shutil.copytree(trained, tmp_path / "runs" / "one")


def flip(path):
    """Change the last digit of a file, where it has one."""
    data = bytearray(path.read_bytes())
    place = max((place for place, byte in enumerate(data) if chr(byte).isdigit()), default=0)
    data[place] ^= 1
    path.write_bytes(data)


def test_each_file_has_a_digest(run):
    names = {str(path.relative_to(run)) for path in run.rglob("*") if path.is_file()}
    assert set(Run.open(run).digests) == names - {FACTS}


@pytest.mark.parametrize("name", ["config.toml", "run.json", "folds.json", "clips.json", "metrics.json"])
def test_a_changed_file_of_the_run_is_refused(run, name):
    flip(run / name)
    with pytest.raises(EstError, match=f"{name} does not match its checksum"):
        (opened := Run.open(run)).halves(), opened.clips(), opened.metrics()


@pytest.mark.parametrize("name", ["history.jsonl", "result.json", "predictions.csv"])
def test_a_changed_file_of_a_part_is_refused_and_trained_again(run, name):
    flip(run / "parts" / "fold2" / name)
    opened = Run.open(run)
    with pytest.raises(EstError, match=f"{name} does not match its checksum") as refused:
        Predictions.of_run(opened), opened.history("fold2"), opened.result("fold2")
    assert f"rm -r {run}/parts/fold2 and est train --resume --out {run}" in refused.value.remedy
    shutil.rmtree(run / "parts" / "fold2")
    again = fit(None, run, resume=True).run
    assert verify_runs(list_runs(run))[0].files == 1 + len(again.digests)


def test_what_stays_is_as_it_was_when_a_part_is_trained_again(run):
    """Else damage of other parts would get a digest of its own."""
    shutil.rmtree(run / "parts" / "fold2")
    before = (run / FACTS).read_bytes()
    for name in ("predictions.csv", "checkpoint.safetensors"):
        whole = (run / "parts" / "fold1" / name).read_bytes()
        flip(run / "parts" / "fold1" / name)
        with pytest.raises(EstError, match=f"cannot be resumed: parts/fold1/{name} does not match") as refused:
            fit(None, run, resume=True)
        assert f"rm -r {run}/parts/fold1 and the same command again" in refused.value.remedy
        assert (run / FACTS).read_bytes() == before
        (run / "parts" / "fold1" / name).write_bytes(whole)
    with pytest.raises(KeyboardInterrupt):
        fit(None, run, resume=True, watch=Recorder(1))
    flip(run / "parts" / "fold1" / "result.json")
    with pytest.raises(EstError, match=r"cannot be resumed: parts/fold1/result\.json"):
        fit(None, run, resume=True)
    shutil.rmtree(run / "parts" / "fold1")
    assert not fit(None, run, resume=True).run.verify()


def test_a_damaged_table_is_written_again(run):
    before = (run / "metrics.json").read_bytes()
    with pytest.raises(UsageError, match="is complete"):
        fit(None, run, resume=True)
    flip(run / "metrics.json")
    (run / "summary.md").unlink()
    (row,) = list_runs(run)
    assert (row.status, "metrics.json does not match" in row.problem) == ("damaged", True)
    assert not fit(None, run, resume=True).run.verify()
    assert (run / "metrics.json").read_bytes() == before
    assert (run / "summary.md").is_file()


@pytest.mark.parametrize("name", ["clips.json", "folds.json", "parts/fold1/history.jsonl"])
def test_a_file_that_is_gone_is_no_older_run(run, name):
    (run / name).unlink()
    with pytest.raises(EstError, match=f"{name} is missing"):
        (opened := Run.open(run)).halves(), opened.clips(), opened.history("fold1")


def test_every_file_is_verified(run, capsys):
    names = [name for name in Run.open(run).digests if not name.endswith("svg")]
    for name in names:
        before = (run / name).read_bytes()
        flip(run / name)
        status, said = est("runs", run.parent, "--verify", capsys=capsys)
        assert status == 1, name
        assert f"{name} does not match its checksum" in said.out
        (run / name).write_bytes(before)
    status, said = est("runs", run.parent, "--verify", capsys=capsys)
    assert status == 0
    assert f"verified: {len(Run.open(run).digests) + 1} files of 1 run match their checksums, 0 damaged" in said.out
    (run / "summary.md").unlink()
    status, said = est("runs", run.parent, "--verify", "--json", capsys=capsys)
    assert status == 1
    (row,) = json.loads(said.out.splitlines()[-1])["runs"]
    assert (row["status"], row["problem"]) == ("damaged", "summary.md is missing")


def test_a_run_of_before_has_none_and_one_that_is_not_complete_not_yet(run, tmp_path, capsys):
    without_digests(run)
    flip(run / "metrics.json")
    evaluate(run)
    unfinished = shutil.copytree(run, run.with_name("half"))
    (unfinished / "parts" / "fold2" / RESULT).unlink()
    status, said = est("runs", run.parent, "--verify", capsys=capsys)
    assert status == 0
    assert "without checksums, of before 2026-11-30: one" in said.out
    assert "not complete, so without checksums yet: half" in said.out


def test_a_part_that_is_gone_or_half_a_run_is_damage(run, capsys):
    (run / "parts" / "fold2" / RESULT).unlink()
    status, said = est("runs", run.parent, "--verify", capsys=capsys)
    assert status == 1
    assert "one: parts/fold2/result.json is missing" in said.out
    assert "est train --resume --out RUN" in said.out
    (run / "config.toml").unlink()
    with pytest.raises(EstError, match=r"config\.toml is missing"):
        Run.open(run)


def test_a_damaged_part_of_a_complete_run_is_named_by_its_resume(run):
    flip(run / "parts" / "fold2" / "predictions.csv")
    with pytest.raises(EstError, match="cannot be resumed: parts/fold2/predictions") as refused:
        fit(None, run, resume=True)
    assert f"rm -r {run}/parts/fold2" in refused.value.remedy


def test_what_is_removed_from_the_facts_is_missed(run):
    facts = json.loads((run / FACTS).read_text(encoding="utf-8"))
    del facts["digest"]
    (run / FACTS).write_text(json.dumps(facts), encoding="utf-8")
    with pytest.raises(EstError, match="does not match its checksum"):
        Run.open(run)


def est(*words, capsys):
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    return ended.value.code, capsys.readouterr()
