"""Going on: after kills at any moment, after Ctrl-C, on a full disk; and what is not gone on with."""

from __future__ import annotations

import errno
import json
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys

import pytest
import torch
from refusals import differs
from train_samples import Recorder, learning_cache, outcome, read_lines, tiny_config, without_digests

from est.cache import CacheWriter, open_cache
from est.cache.stores.disk import Disk
from est.encoders import precision as precisions
from est.errors import EstError, RecipeMismatch, UsageError
from est.train import ProtocolConfig, Run, evaluate, fit
from est.train.config.configfile import to_toml
from est.train.loop import checkpoint, epochs, training
from est.train.loop.checkpoint import load_checkpoint
from est.train.runs.files import read_json, write_json
from est.train.runs.run import CHECKPOINT, CONFIG, FACTS, HISTORY, RESULT, latest_unfinished, new_path

FOLDS = ProtocolConfig(kind="kfold", folds=2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("resume")


@pytest.fixture(scope="module")
def cache(folder):
    return learning_cache(folder / "cache.zarr", 24, strength=0.25, failures=[("gone", "anger", "P2", "test")])


def stopped(cache, out, config=None, after=5):
    """Return a run that was interrupted after some steps."""
    watch = Recorder(after)
    with pytest.raises(KeyboardInterrupt):
        fit(cache, out, config or tiny_config(), watch=watch)
    assert f"est train --resume --out {out}" in watch.said[-1]
    return out


def killed_again_and_again(trainings, cache, out, config, moments):
    """Train with a kill at each moment; return how often it was killed."""
    kills = 0
    for stop in (*moments, 0):
        begun = (out / FACTS).exists()
        if begun and Run.open(out).complete:
            break
        status, _ = trainings.run(out, cache=cache, config=None if begun else config, stop=stop)
        assert status in (0, -signal.SIGKILL)
        kills += status != 0
    assert Run.open(out).complete
    return kills


@pytest.mark.parametrize(("seed", "rounds"), [(0, 1), pytest.param(1, 40, marks=pytest.mark.slow)])
def test_killed_at_any_moment_it_goes_on_as_if_nothing_had_been(trainings, cache, folder, tmp_path, seed, rounds):
    config = tiny_config(epochs=2, select="val", noise=0.1, protocol=ProtocolConfig(kind="kfold", folds=2, by="clip"))
    whole = folder / "whole"
    if not whole.exists():
        assert trainings.run(whole, cache=cache, config=config)[0] == 0
    rng, kills = random.Random(seed), 0
    for number in range(rounds):
        out = tmp_path / str(number)
        lives = [rng.randrange(1, 60), *(rng.randrange(1, 25) for _ in range(3))]  # one may be long
        kills += killed_again_and_again(trainings, cache, out, config, lives)
        assert outcome(out) == outcome(whole)
        assert not list(out.rglob("*.partial"))
        shutil.rmtree(out)
    assert kills >= 2 * rounds


@pytest.mark.slow
def test_killed_at_every_moment(trainings, cache, folder, tmp_path):
    config = tiny_config(epochs=2)
    whole = tmp_path / "whole"
    status, moments = trainings.run(whole, cache=cache, config=config)
    assert status == 0
    for stop in range(1, moments + 1):
        out = tmp_path / str(stop)
        assert killed_again_and_again(trainings, cache, out, config, [stop]) == 1
        assert outcome(out) == outcome(whole)
        shutil.rmtree(out)


def test_checkpoints_are_written_when_they_are_due(trainings, cache, tmp_path):
    """With the usual minute between them a short run writes the last alone; with none, one after every step."""
    config = tiny_config(epochs=2, control=False)
    seldom = trainings.run(tmp_path / "seldom", cache=cache, config=config, seconds=60.0)[1]
    always = trainings.run(tmp_path / "always", cache=cache, config=config, seconds=0.0)[1]
    assert always == seldom + 3 * 3, "two steps an epoch: three moments for each of all four but the last"
    assert outcome(tmp_path / "always") == outcome(tmp_path / "seldom")


def test_parts_that_are_done_are_left_alone(cache, tmp_path):
    config = tiny_config(epochs=2, protocol=FOLDS, seeds=(1, 2), control=False)
    out = stopped(cache, tmp_path / "run", config, after=2 * 2 + 1)  # two steps are an epoch here
    run = Run.open(out)
    done = [name for name in run.parts if (run.part(name) / RESULT).exists()]
    assert 1 <= len(done) < 4
    before = {name: (run.part(name) / CHECKPOINT).stat().st_mtime_ns for name in done}
    watch = Recorder()
    fit(None, out, resume=True, watch=watch)
    assert [name for name, _ in watch.parts] == run.parts[len(done) :]
    assert {name: (run.part(name) / CHECKPOINT).stat().st_mtime_ns for name in done} == before
    fit(cache, tmp_path / "whole", config)
    assert outcome(out) == outcome(tmp_path / "whole")


def test_a_part_that_is_removed_is_trained_again(cache, tmp_path):
    config = tiny_config(epochs=2, protocol=FOLDS)
    results = fit(cache, tmp_path / "run", config)
    before = outcome(tmp_path / "run")
    with pytest.raises(UsageError, match="is complete"):
        fit(None, tmp_path / "run", resume=True)
    path = results.run.part("fold2") / CHECKPOINT
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(EstError, match="damaged") as caught:
        evaluate(tmp_path / "run")
    assert f"remove the folder {path.parent}" in caught.value.remedy
    shutil.rmtree(path.parent)
    watch = Recorder()
    fit(None, tmp_path / "run", resume=True, watch=watch)
    assert [name for name, _ in watch.parts] == ["fold2"]
    assert outcome(tmp_path / "run") == before


def test_a_second_ctrl_c_does_not_wait_and_costs_no_more_than_the_steps(cache, tmp_path):
    class Impatient(Recorder):
        def step(self, epoch, step):
            super().step(epoch, step)
            if self.steps == 3:
                signal.raise_signal(signal.SIGINT)
                signal.raise_signal(signal.SIGINT)
                raise AssertionError("not reached")

    watch = Impatient()
    with pytest.raises(KeyboardInterrupt):
        fit(cache, tmp_path / "run", tiny_config(), watch=watch)
    assert "resumes" in watch.said[-1]
    assert not (tmp_path / "run" / "parts" / "split" / CHECKPOINT).exists()
    fit(None, tmp_path / "run", resume=True)
    fit(cache, tmp_path / "whole", tiny_config())
    assert outcome(tmp_path / "run") == outcome(tmp_path / "whole")


def test_sigterm_saves_too_and_handlers_are_put_back(cache, tmp_path):
    class Terminated(Recorder):
        def step(self, epoch, step):
            if (epoch, step) == (1, 1):
                signal.raise_signal(signal.SIGTERM)

    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(KeyboardInterrupt):
        fit(cache, tmp_path / "run", tiny_config(), watch=Terminated())
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
    meta = load_checkpoint(tmp_path / "run" / "parts" / "split" / CHECKPOINT).meta
    assert (meta["epoch"], meta["step"], len(meta["history"])) == (1, 1, 1)


@pytest.mark.slow
def test_ctrl_c_in_a_terminal(cache, tmp_path):
    """A real process and a real signal. What it says is read no faster than here, so that it cannot be done before the signal comes."""
    out = tmp_path / "run"
    (tmp_path / "c.toml").write_text(
        to_toml(tiny_config(epochs=40, batch=16, control=False, eval_every=0)), encoding="utf-8"
    )
    call = [sys.executable, "-m", "est", "train", "--cache", str(cache), "--out", str(out), "--json"]
    call += ["--config", str(tmp_path / "c.toml")]
    process = subprocess.Popen(call, stdout=subprocess.PIPE, text=True, pipesize=4096)
    events = []
    for line in process.stdout:
        events.append(json.loads(line))
        if [event["event"] for event in events].count("epoch") == 3:
            process.send_signal(signal.SIGINT)
            break
    rest, _ = process.communicate(timeout=120)
    assert process.returncode == 130
    notes = [event["message"] for event in read_lines(rest) if event["event"] == "note"]
    assert notes[-2:] == [f"stopped; est train --resume --out {out} resumes", "Interrupted."]
    meta = load_checkpoint(out / "parts" / "split" / CHECKPOINT).meta
    assert 3 <= meta["epoch"] < 40
    watch = Recorder()
    fit(None, out, resume=True, watch=watch)
    assert watch.parts == [("split", meta["epoch"] + 1)]
    assert Run.open(out).complete


def test_other_settings_are_refused_and_listed(cache, tmp_path):
    out = stopped(cache, tmp_path / "run")
    with pytest.raises(UsageError) as caught:
        fit(None, out, tiny_config(epochs=7, noise=0.5), resume=True)
    for told in (differs("loop.epochs", 4, 7), differs("data.noise", 0.0, 0.5)):
        assert re.search(told, caught.value.message)
    config = (out / CONFIG).read_text("utf-8")
    (out / CONFIG).write_text(config.replace("epochs = 4", "epochs = 9"), "utf-8")
    with pytest.raises(EstError, match=differs("loop.epochs", 4, 9)):
        fit(None, out, resume=True)
    (out / CONFIG).write_text(config, encoding="utf-8")
    assert fit(None, out, tiny_config(), resume=True).run.complete


def changed(path, tmp_path, change):
    copy = tmp_path / f"changed {change.__name__}.zarr"
    shutil.copytree(path, copy)
    with CacheWriter.open(copy, open_cache(copy).recipes) as writer:
        change(writer)
    return copy


def relabelled(writer):
    writer.update("clip000", label="surprise")


def of_another_person(writer):
    writer.update("clip000", subject="P5")


def with_fewer(writer):
    writer.remove(["clip007"])


@pytest.mark.parametrize("change", [relabelled, of_another_person, with_fewer])
def test_other_annotations_are_refused(cache, tmp_path, change):
    out = stopped(cache, tmp_path / "run")
    with pytest.raises(EstError, match="have changed since"):
        fit(changed(cache, tmp_path, change), out, resume=True)


def test_other_features_are_refused_and_a_moved_cache_is_not(cache, tmp_path):
    out = stopped(cache, tmp_path / "run")
    common = {"clips": 24, "strength": 0.25, "failures": [("gone", "anger", "P2", "test")]}
    other = learning_cache(tmp_path / "other.zarr", **common, weights={"weights": "imagenet"})
    with pytest.raises(RecipeMismatch, match=r"has weights random, you asked for imagenet\."):
        fit(other, out, resume=True)
    frames = learning_cache(tmp_path / "frames.zarr", **common, weights={"frames": {"decoder": "pyav"}})
    with pytest.raises(RecipeMismatch, match=differs("decoder", "opencv", "pyav")):
        fit(frames, out, resume=True)
    moved = learning_cache(tmp_path / "moved.h5", **common)
    fit(moved, out, resume=True)
    fit(cache, tmp_path / "whole", tiny_config())
    assert outcome(out) == outcome(tmp_path / "whole")


def test_precision_and_threads_are_those_that_it_was_begun_with(cache, tmp_path, monkeypatch):
    """What `auto` comes to on another machine has no say; another device is told."""
    monkeypatch.setattr(precisions, "fast_bf16_flags", list)
    out = stopped(cache, tmp_path / "run", tiny_config(precision="auto", threads=0))
    facts = read_json(without_digests(out) / FACTS)
    assert (facts["threads"], facts["precision"]) == (torch.get_num_threads(), "fp32")
    write_json(out / FACTS, {**facts, "threads": facts["threads"] + 1, "device": "cuda:7"})
    monkeypatch.setattr(precisions, "fast_bf16_flags", lambda: ["amx_bf16"])
    watch = Recorder()
    fit(None, out, resume=True, watch=watch)
    assert f"cpu, fp32 (as asked), {facts['threads'] + 1} threads" in watch.said
    assert any("started on 1 × cuda: on 1 × cpu its numbers will not be bit-identical" in text for text in watch.warned)


def test_a_cache_that_is_gone_is_named(cache, tmp_path):
    shutil.copytree(cache, tmp_path / "copy.zarr")
    out = stopped(tmp_path / "copy.zarr", tmp_path / "run")
    shutil.rmtree(tmp_path / "copy.zarr")
    with pytest.raises(EstError, match=r"copy\.zarr"):
        fit(None, out, resume=True)
    assert fit(cache, out, resume=True).run.complete


def test_the_latest_unfinished_run_is_the_one(cache, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="no unfinished run in runs"):
        fit(resume=True)
    first = stopped(cache, new_path())
    second = stopped(cache, new_path())
    assert first != second
    assert first.parent == second.parent
    stamp = (first / CONFIG).stat().st_mtime_ns
    os.utime(second / CONFIG, ns=(stamp + 10**9, stamp + 10**9))
    damaged = new_path()
    (damaged / FACTS).write_text("{", encoding="utf-8")
    assert latest_unfinished() == second
    with Run.open(second).alone():
        assert latest_unfinished() == first, "the other is being trained"
        with pytest.raises(EstError, match="is being trained by another process"):
            fit(None, second, resume=True)
        with Run.open(first).alone(), pytest.raises(UsageError, match="but for 2 that are being trained"):
            fit(resume=True)
    assert fit(resume=True).run.path == second
    assert fit(resume=True).run.path == first
    with pytest.raises(UsageError, match="no unfinished run"):
        fit(resume=True)


def test_a_folder_that_holds_something_is_left_alone(cache, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("…", encoding="utf-8")
    (tmp_path / "file").write_text("…", encoding="utf-8")
    for name in ("mine", "file"):
        with pytest.raises(UsageError, match="exists already") as caught:
            fit("no such cache", tmp_path / name, tiny_config())
        assert caught.value.remedy == "--out another folder"
    (tmp_path / "empty").mkdir()
    assert fit(cache, tmp_path / "empty", tiny_config(epochs=1)).run.complete
    with pytest.raises(UsageError, match="is not a run"):
        fit(None, tmp_path / "mine", resume=True)


def test_a_run_of_another_version_is_refused(cache, tmp_path):
    out = stopped(cache, tmp_path / "run")
    write_json(out / FACTS, {**read_json(out / FACTS), "version": 9})
    with pytest.raises(EstError, match="is a run of version 9, expected 1"):
        fit(None, out, resume=True)


@pytest.mark.parametrize("damage", [lambda data: data[:1000], lambda data: data[:-9] + b"x" + data[-8:]])
def test_a_damaged_checkpoint_names_the_remedy_and_the_remedy_helps(cache, tmp_path, damage):
    out = stopped(cache, tmp_path / "run")
    path = out / "parts" / "split" / CHECKPOINT
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(EstError, match="damaged") as caught:
        fit(None, out, resume=True)
    assert f"remove the folder {path.parent}" in caught.value.remedy
    shutil.rmtree(path.parent)
    assert fit(None, out, resume=True).run.complete


@pytest.mark.parametrize("place", ["save_file", "write", "append"])
def test_a_full_disk_costs_nothing_that_was_saved(cache, tmp_path, monkeypatch, place):
    out = stopped(cache, tmp_path / "run", tiny_config(), after=3)
    path = out / "parts" / "split" / CHECKPOINT
    before = path.read_bytes()

    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        if place == "append":
            patched.setattr("est.train.runs.files.open", full, raising=False)
        else:
            patched.setattr(*((checkpoint, "save_file") if place == "save_file" else (Disk, "write")), full)
        with pytest.raises(EstError, match="no space is left") as caught:
            fit(None, out, resume=True)
    assert "--resume" in caught.value.remedy
    assert path.read_bytes() == before
    fit(None, out, resume=True)
    fit(cache, tmp_path / "whole", tiny_config())
    assert outcome(out) == outcome(tmp_path / "whole")


def test_a_checkpoint_that_the_system_cuts_off(cache, tmp_path, monkeypatch):
    out = stopped(cache, tmp_path / "run", after=3)
    path = out / "parts" / "split" / CHECKPOINT
    before = path.read_bytes()
    monkeypatch.setattr(epochs, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, limits[1]))
    try:
        with pytest.raises(EstError, match=r"could not be saved: .*too large.* The earlier one is intact"):
            fit(None, out, resume=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before
    assert fit(None, out, resume=True).run.complete


def test_weights_that_run_away_spare_the_earlier_checkpoint(cache, tmp_path, monkeypatch):
    """The rate explodes after the second epoch: the checkpoint of the second stays, and is not written over mid-epoch either."""
    monkeypatch.setattr(epochs, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    rate = training.Trainer.learning_rate
    monkeypatch.setattr(training.Trainer, "learning_rate", lambda *at: 1e30 if at[1] == 2 else rate(*at))
    with pytest.raises(EstError, match="epoch 3, step 1") as caught:
        fit(cache, tmp_path / "run", tiny_config())
    assert "--lr" in caught.value.remedy
    found = load_checkpoint(tmp_path / "run/parts/split" / CHECKPOINT)
    assert (found.meta["epoch"], found.meta["step"]) == (2, 0)
    assert all(tensor.isfinite().all() for tensor in found.tensors.values() if tensor.is_floating_point())
    assert len(read_lines((tmp_path / "run/parts/split" / HISTORY).read_text())) == 2
    monkeypatch.undo()
    fit(None, tmp_path / "run", resume=True)
    assert outcome(tmp_path / "run") == outcome(fit(cache, tmp_path / "whole", tiny_config()).run.path)
