"""What cannot be searched is refused with its remedy; a trial that fails is recorded; a storage that fails ends the sweep."""

from __future__ import annotations

import errno
import os
import re
import shutil
import sys
import time

import pytest
from swept import RATES, base_config, folded_cache, number_of, rates_space, swept, trials_of
from train_samples import learning_cache

from est.cluster.sweeping import submit_sweep
from est.errors import EstError, UsageError
from est.sweep.search import storage
from est.sweep.search.settings import SweepConfig
from est.sweep.search.study import StudiesUnreachable
from est.train import FinetuneConfig, ProtocolConfig

ONE = ProtocolConfig(only=("fold0",))
HUGE = {
    "loop": {"optimizer": "adamw", "weight_decay": 10.0, "learning_rate": [3e-3, 10.0]}
}  # weights grow a hundredfold a step


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return folded_cache(tmp_path_factory.mktemp("bad") / "cache.zarr")


def refusal(*arguments, kind=EstError, **settings):
    """Return the message and the remedy with which a sweep is refused."""
    with pytest.raises(kind) as refused:
        swept(*arguments, **settings)
    return refused.value.message, refused.value.remedy


def test_optuna_is_asked_for(cache, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert refusal(cache, tmp_path / "sweep") == (
        "est sweep needs the package optuna; optuna is not installed.",
        "pip install 'est-fer[sweep]'",
    )
    assert not (tmp_path / "sweep").exists()


@pytest.mark.parametrize("stack", ["auto", pytest.param("off", marks=pytest.mark.slow)])
def test_a_trial_that_runs_away_is_recorded_and_the_sweep_goes_on(cache, tmp_path, stack):
    base = base_config(stack=stack, protocol=ONE)
    found = swept(cache, tmp_path / "sweep", base=base, space=rates_space(**HUGE), sampler="grid", control=False)
    (study,) = found.studies
    good, bad = sorted(study.records, key=lambda record: record.values["loop.learning_rate"])
    assert (good.state, good.error) == ("complete", "")
    assert (bad.state, bad.value) == ("failed", None)
    assert bad.error.startswith("Training diverged: the mean loss of epoch ")
    assert study.best == good
    assert "Training diverged: the mean loss of epoch" in (tmp_path / "sweep" / "trials.csv").read_text()
    again = swept(cache, tmp_path / "sweep", base=base, space=rates_space(**HUGE), sampler="grid", control=False)
    assert len(again.studies[0].records) == 2  # a trial that failed is not tried again


def test_all_trials_fail(cache, tmp_path):
    space = rates_space(loop={**HUGE["loop"], "learning_rate": [5.0, 10.0]})
    message, remedy = refusal(cache, tmp_path / "sweep", base=base_config(protocol=ONE), space=space, sampler="grid")
    states = trials_of(tmp_path / "sweep")["fold0"]
    assert [trial.state.name for trial in states] == ["FAIL", "FAIL"]
    error = states[0].user_attrs["error"]
    assert message.startswith("No trial of fold0 is complete; 2 failed, 0 were pruned: ")
    assert error.startswith("Training diverged: ")
    assert error in message
    assert remedy == "more --trials, --pruner none, or another --space"
    assert (tmp_path / "sweep" / "trials.csv").read_text().count("failed") == 2


def test_a_disk_that_is_full_ends_a_sweep_which_then_goes_on(cache, tmp_path, monkeypatch):
    base, out = base_config(stack="off", protocol=ONE), tmp_path / "sweep"
    from optuna.storages.journal import JournalFileBackend

    append, calls = JournalFileBackend.append_logs, []

    def full(backend, logs):
        calls.append(logs)
        if len(calls) < 30:
            return append(backend, logs)
        with open(out / storage.JOURNAL, "ab") as file:
            file.write(b'{"op_code":4,"half a li')  # what there was room for
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(JournalFileBackend, "append_logs", full)
    message, remedy = refusal(cache, out, base=base, trials=4, control=False, kind=StudiesUnreachable)
    assert len(calls) >= 30
    assert message == "The studies cannot be written: No space left on device."
    assert (
        remedy == "free some space or check the permissions, then run the same command again: finished trials are kept"
    )
    monkeypatch.undo()
    then = trials_of(out)["fold0"]
    complete = {trial.number: trial.value for trial in then if trial.state.name == "COMPLETE"}
    assert complete
    assert not [trial for trial in then if trial.user_attrs.get("error")]  # no trial failed for it
    (study,) = swept(cache, out, base=base, trials=4, control=False).studies
    assert number_of(study) == len(study.records) == 4
    assert complete.items() <= {record.number: record.value for record in study.records}.items()


def test_a_lock_that_cannot_be_taken_is_a_sentence(tmp_path):
    lock = storage.KernelLock(tmp_path / "none" / "studies.lock")
    with (
        pytest.raises(StudiesUnreachable, match=r"cannot be locked: No such file or directory\.") as caught,
        lock.held(),
    ):
        pass
    assert "finished trials are kept" in caught.value.remedy


def test_a_disk_without_room_for_checkpoints(cache, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=10_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: usage)
    message, remedy = refusal(cache, tmp_path / "sweep", keep=3)
    assert message.startswith("The checkpoints of the best trials need 0.0 GB, and 0.0 GB are free in ")
    assert remedy == "--keep 0 keeps none, or --out on another disk"
    assert number_of(swept(cache, tmp_path / "none", keep=0, trials=1).studies[1]) == 1


@pytest.mark.parametrize(
    "url", ["studies.db", "sqlite:///{}/no/such/folder/studies.db", "mysql+nodriver://me:secret@host/db"]
)
def test_a_storage_that_cannot_be_reached(cache, tmp_path, url):
    message, remedy = refusal(cache, tmp_path / "sweep", storage=url.format(tmp_path))
    assert "secret" not in message + str(remedy)
    if "://" not in url:
        assert message == "--storage is the URL of a database, found 'studies.db'."
        assert remedy == "--storage sqlite:///studies.db, for example"
    else:
        shown = url.format(tmp_path).replace("secret", "…")
        assert message == f"The storage {shown} cannot be opened."
        assert remedy.startswith("check that the database runs, and the name, user and password")
    swept(
        cache, tmp_path / "sweep", base=base_config(protocol=ONE), trials=1, control=False
    )  # the folder is still free


def test_a_password_is_written_nowhere(cache, tmp_path, monkeypatch):
    database = f"sqlite:///{tmp_path}/studies.db"
    opened = storage._database
    monkeypatch.setattr(storage, "_database", lambda found, url: opened(found, database))
    out = tmp_path / "sweep"
    swept(cache, out, base=base_config(protocol=ONE), trials=1, control=False, storage="postgresql://me:secret@host/db")
    written = [path for path in out.rglob("*") if path.is_file() and b"secret" in path.read_bytes()]
    assert written == []
    assert "postgresql://me:…@host/db" in (out / "settings.json").read_text()


@pytest.mark.parametrize(
    ("url", "told", "remedy"),
    [
        ("postgresql+psycopg://me@localhost/a", "needs the package psycopg", "pip install 'psycopg[binary]'; without"),
        ("mysql+pymysql://me@localhost/a", "needs the package pymysql", "pip install pymysql; without"),
        ("postgres://me@localhost/a", "cannot be opened", "--storage postgresql+psycopg://…"),
    ],
)
def test_a_database_without_its_driver(monkeypatch, tmp_path, url, told, remedy):
    """It is named as pip calls it."""
    for name in ("psycopg", "pymysql"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(EstError, match=re.escape(f"The storage {url} {told}.")) as refused:
        storage.open_storage(tmp_path, url)
    assert refused.value.remedy.startswith(remedy)


def test_jobs_are_given_no_password(cache, tmp_path):
    """They read the URL from a file of the submission."""
    out = tmp_path / "sweep"
    with pytest.raises(UsageError, match=r"--storage postgresql://me:…@host/db holds a password") as refused:
        submit_sweep(cache, out, engine="debug", storage="postgresql://me:secret@host/db")
    assert "~/.pgpass" in refused.value.remedy
    assert "secret" not in str(refused.value)
    assert not list(tmp_path.glob("sweep*"))


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("sqlite:///a.db", "sqlite:///a.db"),
        ("postgresql://me:p@ss:word@host:5/db", "postgresql://me:…@host:5/db"),
        ("postgresql://me@host/db", "postgresql://me@host/db"),
        ("mysql://host/db?user=me&password=secret&ssl=1", "mysql://host/db?user=me&password=…&ssl=1"),
        ("sqlite:////data/me@work/a.db", "sqlite:////data/me@work/a.db"),
    ],
)
def test_passwords_are_hidden(url, shown):
    assert storage.without_password(url) == shown


def test_too_few_subjects_for_the_inner_folds(tmp_path):
    cache = learning_cache(
        tmp_path / "cache.zarr", 36, subjects=4, fields={i: {"fold": i // 3 % 4 // 2} for i in range(36)}
    )
    message, remedy = refusal(cache, tmp_path / "sweep", inner=3)
    assert message == "3 folds need 3 subjects, and there are 2."
    assert remedy == "2 inner folds at most (--inner of est sweep, protocol.val_part)"
    assert not (tmp_path / "sweep").exists()
    found = swept(cache, tmp_path / "sweep", base=base_config(batch=4), inner=2, trials=1)
    assert [number_of(study) for study in found.studies] == [1] * 4


def test_one_subject(tmp_path):
    cache = learning_cache(tmp_path / "cache.zarr", 24, subjects=1)
    message, remedy = refusal(
        cache, tmp_path / "sweep", base=base_config(protocol=ProtocolConfig(kind="kfold", folds=2))
    )
    assert "subject" in message
    assert "--by clip" in remedy


def test_a_validation_part_of_one_class(tmp_path):
    labels = ("anger", "happiness")
    fields = {i: {"fold": i % 4 // 2, "subject": f"P{i % 2}{i % 4}"} for i in range(32)}
    cache = learning_cache(tmp_path / "cache.zarr", 32, labels=labels, fields=fields)
    message, _ = refusal(cache, tmp_path / "sweep", base=base_config(batch=4))
    assert "all" in message
    assert "class" in message


def test_a_sweep_has_an_end():
    with pytest.raises(
        UsageError, match="A sweep has an end: a number of trials or of minutes, found neither"
    ) as refused:
        SweepConfig(trials=0)
    assert refused.value.remedy == "--trials 20"


def test_minutes_alone_search_the_model_too(cache, tmp_path):
    start = time.monotonic()
    found = swept(cache, tmp_path / "sweep", trials=0, minutes=0.02, base=base_config(stack="off", epochs=1))
    assert time.monotonic() - start < 30
    assert found.trials == 0
    counts = [len(study.records) for study in found.studies]
    assert min(counts) >= 2
    assert max(counts) - min(counts) <= 1  # they take turns, the control with the model
    assert all(number_of(study, "running") == 0 for study in found.studies)


def test_torchrun_is_refused(cache, tmp_path, monkeypatch):
    for name, value in {
        "WORLD_SIZE": "2",
        "RANK": "0",
        "LOCAL_RANK": "0",
        "MASTER_ADDR": "x",
        "MASTER_PORT": "1",
    }.items():
        monkeypatch.setenv(name, value)
    assert refusal(cache, tmp_path / "sweep", kind=UsageError) == (
        "A sweep starts its own processes, and torchrun has started several.",
        "est sweep without torchrun",
    )


def test_a_backbone_that_learns_is_refused(cache, tmp_path):
    base = base_config(finetune=FinetuneConfig(learns="layer4"))
    message, remedy = refusal(cache, tmp_path / "sweep", base=base, space=rates_space(), kind=UsageError)
    assert message == "A sweep trains on cached features, and --finetune trains the backbone."
    assert remedy == "est sweep without --finetune; est train --finetune with the settings that it finds"


def test_a_grid_of_a_range_is_refused(cache, tmp_path):
    message, remedy = refusal(cache, tmp_path / "sweep", sampler="grid", kind=UsageError)
    assert message == "A grid has countable values, and these have a range without steps: loop.learning_rate."
    assert "loop.learning_rate = [0.001, 0.03]" in remedy
    assert RATES["low"] == 0.001


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_made_without_rights(cache, tmp_path):
    tmp_path.chmod(0o500)
    try:
        message, remedy = refusal(cache, tmp_path / "sweep")
    finally:
        tmp_path.chmod(0o700)
    assert message == f"{tmp_path / 'sweep'} cannot be made: Permission denied."
    assert remedy == "--out another folder"


def test_a_folder_that_cannot_be_made(cache, tmp_path):
    (tmp_path / "file").write_text("")
    message, remedy = refusal(cache, tmp_path / "file" / "sweep")
    assert message == f"{tmp_path / 'file' / 'sweep'} cannot be made: Not a directory."
    assert remedy == "--out another folder"
