"""A sweep that was stopped goes on: no complete trial is lost, interrupted ones are tried again, and another sweep is refused."""

from __future__ import annotations

import json
import shutil
import signal
from dataclasses import replace

import numpy as np
import pytest
from swept import (
    GRU,
    RATES,
    Watch,
    arguments,
    base_config,
    essence,
    folded_cache,
    journal_lines,
    num_complete,
    number_of,
    rates_space,
    space_file,
    start,
    swept,
    trials_of,
    wait_for,
)
from train_samples import LABELS

from est.cache import open_cache
from est.errors import EstError, UsageError
from est.sweep.found.record import Sweep
from est.sweep.search.begun import covered
from est.sweep.search.identity import HOW, identity
from est.sweep.search.settings import SweepConfig
from est.sweep.search.storage import JOURNAL, open_storage
from est.sweep.space.built_in import built_in
from est.train.folds.annotations import Annotations
from est.train.models.registry import model_config


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return folded_cache(tmp_path_factory.mktemp("resumed") / "cache.zarr")


@pytest.fixture(scope="module")
def whole(cache, tmp_path_factory):
    """A sweep that ran without interruption, and its folder."""
    out = tmp_path_factory.mktemp("whole") / "sweep"
    return swept(cache, out), out


@pytest.fixture
def copied(whole, tmp_path):
    """A copy of its folder."""
    return shutil.copytree(whole[1], tmp_path / "copy")


def expect_whole(then, out, found, trials):
    """Check that nothing was lost of the trials before, and that what was interrupted was tried again with the same settings."""
    assert len(then) == len(found.studies)
    for study in found.studies:
        assert number_of(study) == len(study.records) == trials
        before = [trial for trial in then[study.name] if trial.state.name == "COMPLETE"]
        now = {record.number: record.value for record in study.records}
        assert {trial.number: trial.value for trial in before}.items() <= now.items()
        after = trials_of(out)[study.name]
        for trial in after:
            if trial.user_attrs.get("interrupted"):
                assert trial.state.name == "FAIL"
                again = [other for other in after if other.number > trial.number and other.params == trial.params]
                assert [other.state.name for other in again].count("COMPLETE") == 1


def in_a_trial(out):
    """Say whether the last that a journal tells is one of the first values of a training."""
    codes = [line["op_code"] for line in journal_lines(out)]
    return 7 in codes[-3:] and 7 not in codes[-6:-4]


@pytest.mark.slow
def test_a_killed_sweep_loses_nothing(cache, tmp_path):
    out, space = tmp_path / "sweep", space_file(tmp_path / "space.toml", epochs=100)
    words = arguments(cache, out, space, trials=4, stack="off")
    process = start(*words)
    wait_for(lambda: (num_complete(out) >= 6 and in_a_trial(out)) or process.poll() is not None)
    process.kill()
    process.communicate()
    then = trials_of(out)
    states = [trial.state.name for trials in then.values() for trial in trials]
    assert "RUNNING" in states, "the sweep was killed too late"
    complete = states.count("COMPLETE")
    assert 6 <= complete < 16
    again = start(*words, "--json")
    said, errors = again.communicate()
    assert again.returncode == 0, errors
    events = [json.loads(line) for line in said.splitlines()]
    assert any("interrupted, and are repeated" in str(event) for event in events), events
    found = Sweep.from_json(json.loads((out / "sweep.json").read_text()))
    expect_whole(then, out, found, 4)
    assert sum(trial.user_attrs.get("interrupted", False) for ts in trials_of(out).values() for trial in ts) >= 1


@pytest.mark.slow
def test_ctrl_c_ends_a_sweep_in_order(cache, tmp_path):
    out, space = tmp_path / "sweep", space_file(tmp_path / "space.toml", epochs=200)
    process = start(*arguments(cache, out, space, trials=3))
    wait_for(lambda: num_complete(out) >= 2 or process.poll() is not None)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate()
    assert process.returncode == 130, errors
    assert f"the same command with --out {out} resumes" in errors
    assert "Traceback" not in errors
    states = [trial.state.name for trials in trials_of(out).values() for trial in trials]
    assert "RUNNING" not in states  # they are given back at once
    assert "WAITING" in states


def test_a_call_goes_on_after_ctrl_c(cache, whole, tmp_path, monkeypatch):
    monkeypatch.setattr("est.sweep.search.begun.SECONDS_BETWEEN_WRITES", 0.0)
    out, base = tmp_path / "sweep", base_config(stack="off")
    with pytest.raises(KeyboardInterrupt):
        swept(cache, out, base=base, watch=Watch(interrupt_after=3))
    then = trials_of(out)
    assert sum(trial.state.name == "COMPLETE" for trials in then.values() for trial in trials) < 8
    found = swept(cache, out, base=base)
    expect_whole(then, out, found, 2)
    for study in found.studies:
        first = whole[0].study(study.fold, control=study.control).records[0]
        assert first.values in [record.values for record in study.records]


def test_a_process_that_ends_itself_in_a_trial_is_not_waited_for(cache, tmp_path, monkeypatch):
    """A bug leaves a trial behind; the next call of the same process tries it again."""
    monkeypatch.setattr("est.sweep.search.searching.keep_best", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        swept(cache, tmp_path / "sweep", control=False)
    monkeypatch.undo()
    then = trials_of(tmp_path / "sweep")
    expect_whole(then, tmp_path / "sweep", swept(cache, tmp_path / "sweep", control=False), 2)


def test_a_torn_last_line_is_survived(cache, whole, copied):
    journal = copied / JOURNAL
    lines = journal.read_bytes()
    journal.write_bytes(lines + b'{"op_code":4,"worker_id":"torn by a los')
    found = swept(cache, copied, trials=3)
    assert journal.read_bytes().startswith(lines)
    assert b"torn by a los" not in journal.read_bytes()
    for study, then in zip(found.studies, whole[0].studies, strict=True):
        assert essence(study)[:2] == essence(then)
        assert number_of(study) == 3


def test_a_line_that_is_torn_while_the_journal_is_open_is_survived(copied):
    journal, storage = copied / JOURNAL, open_storage(copied)
    name, number = next((one.study_name, one._study_id) for one in storage.get_all_studies())
    with open(journal, "ab") as file:
        file.write(b'{"op_code":2,"worker_id":"of a proc')
    storage.set_study_user_attr(number, "after", 7)
    other = open_storage(copied)
    assert other.get_study_user_attrs(other.get_study_id_from_name(name))["after"] == 7


def test_a_journal_of_rubbish_is_refused(cache, copied):
    (copied / JOURNAL).write_bytes(b"rubbish\n" * 3)
    with pytest.raises(EstError, match=r"studies in .*studies.journal cannot be read") as refused:
        swept(cache, copied)
    assert refused.value.remedy == "restore the file, or --out another folder"


def test_a_finished_sweep_is_left_as_it_is(cache, whole, copied):
    journal = (copied / JOURNAL).read_bytes()
    best = {path.name: path.read_bytes() for path in copied.glob("best/*")}
    found = swept(cache, copied)
    assert (copied / JOURNAL).read_bytes() == journal
    assert list(map(essence, found.studies)) == list(map(essence, whole[0].studies))
    assert {path.name: path.read_bytes() for path in copied.glob("best/*")} == best
    assert len(best) == 6
    assert (copied / "trials.csv").read_text() == (whole[1] / "trials.csv").read_text()


def test_more_trials_add_the_difference(cache, whole, copied):
    found = swept(cache, copied, trials=4)
    for study, then in zip(found.studies, whole[0].studies, strict=True):
        assert [record.number for record in study.records] == [0, 1, 2, 3]
        assert essence(study)[:2] == essence(then)
    fewer = swept(cache, copied, trials=1)
    assert list(map(essence, fewer.studies)) == list(map(essence, found.studies))


def test_the_time_of_a_sweep_is_that_of_its_trials(cache, whole, copied):
    spans = [(10.0, 14.0), (0.0, 5.0), (4.0, 8.0), (11.0, 12.0)]
    assert covered(spans) == 8 + 4
    assert covered([]) == 0
    again = swept(cache, copied)
    assert again.seconds == whole[0].seconds > 0


def relabelled(folder):
    """Return a cache in which a clip has another label."""
    return folded_cache(folder / "other.zarr", fields={0: {"label": LABELS[1]}})


OTHERS = {
    "labels": ({"cache": relabelled}, "The cache: clips or labels differ"),
    "features": (
        {"cache": lambda f: folded_cache(f / "o.zarr", strength=2.0)},
        "The cache: the features of some clips differ",
    ),
    "model": ({"base": base_config(model=replace(GRU, hidden=16))}, "model.hidden"),
    "space": (
        {"space": rates_space(loop={"learning_rate": {**RATES, "high": 0.1}})},
        "loop.learning_rate 0.001 to 0.03 (log), you asked for 0.001 to 0.1 (log)",
    ),
    "inner": ({"inner": 3}, "--inner            2       3"),
    "objective": ({"objective": "war"}, "--objective uar, you asked for war"),
    "sampler": ({"sampler": "random"}, "--sampler tpe, you asked for random"),
    "storage": ({"storage": "sqlite:///{}/studies.db"}, "--storage none, you asked for sqlite:///"),
}


@pytest.mark.parametrize("what", OTHERS)
def test_another_sweep_is_refused(cache, copied, tmp_path, what):
    changed, expected = OTHERS[what]
    changed = dict(changed)
    other = changed.pop("cache")(tmp_path) if "cache" in changed else cache
    if "storage" in changed:
        changed["storage"] = changed["storage"].format(tmp_path)
    journal = (copied / JOURNAL).read_bytes()
    with pytest.raises(UsageError) as refused:
        swept(other, copied, **changed)
    assert refused.value.message.startswith(f"{copied} ")
    assert expected in refused.value.message
    assert refused.value.remedy == "--out another folder, or the earlier settings"
    assert (copied / JOURNAL).read_bytes() == journal


def test_class_vectors_of_a_sweep_are_known_by_what_they_hold(cache, tmp_path):
    path, made = tmp_path / "v.npz", []
    base = base_config(model=model_config("clip-temporal", dim=16, heads=2, class_vectors=str(path)))
    for sign in (1, 1, -1):
        np.savez(path, **{name: np.full(16, sign) for name in LABELS})
        space = built_in(("clip-temporal",), base, 60)
        opened = open_cache(cache)
        made.append(identity(opened, Annotations.from_cache(opened), base, space, SweepConfig(), "")["cache"])
    assert made[0] == made[1]
    assert {name for name in made[0] if made[0][name] != made[2][name]} == {"class vectors"} <= HOW.keys()


def test_a_folder_of_something_else_is_refused(cache, tmp_path):
    out = tmp_path / "thesis"
    out.mkdir()
    (out / "chapter1.tex").write_text("Introduction")
    with pytest.raises(UsageError, match="exists already, and contains no sweep") as refused:
        swept(cache, out)
    assert refused.value.remedy == "--out another folder"
    assert [path.name for path in out.iterdir()] == ["chapter1.tex"]
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(UsageError, match="exists already, and contains no sweep"):
        swept(cache, file)


def test_what_a_kill_left_before_a_sweep_began_is_nothing(cache, tmp_path):
    out = tmp_path / "sweep"
    out.mkdir()
    for name in ("studies.lock", "studies.journal", "studies.journal.lock", "settings.json.partial"):
        (out / name).write_bytes(b"")
    assert [number_of(study) for study in swept(cache, out, trials=1).studies] == [1, 1, 1, 1]


def test_a_storage_that_cannot_be_opened_leaves_no_folder(cache, tmp_path):
    with pytest.raises(EstError, match="The storage nope://x cannot be opened"):
        swept(cache, tmp_path / "out", storage="nope://x")
    assert not (tmp_path / "out").exists()
