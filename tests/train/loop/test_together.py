"""Several processes learn together what one learns alone; one that is lost ends the run, which goes on from its checkpoint."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from finetune_samples import SMALL, tuning_cache, tuning_config
from train_samples import Recorder

from est.train import Run, fit
from est.train.config.configfile import to_flat
from est.train.runs.run import HISTORY

STILL = replace(SMALL, dropout=0.0, head_dropout=0.0)  # each process draws its own dropout


def task(cache, out, config, *, lost=0, seconds=60.0):
    return {"cache": str(cache), "out": str(out), "config": to_flat(config), "lost": lost, "seconds": seconds}


def losses(path):
    run = Run.open(path)
    return [json.loads(line)["loss"] for line in (run.part(run.parts[0]) / HISTORY).read_text().splitlines()]


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tuning_cache(tmp_path_factory.mktemp("together"))


@pytest.mark.slow
def test_two_processes_learn_what_one_learns(trainings, cache, tmp_path):
    settings = {"model": STILL, "learning_rate": 1e-5, "class_weights": True, "epochs": 1}
    configs = {
        "all": tuning_config("all", **settings),  # batch norms of the backbone take the statistics of both halves
        # without the order head: the batch norm of two clips would magnify what is rounding here
        "parts": tuning_config(
            "layer4", batch_norm="frozen", average=0.9, accumulate=2, **settings | {"model": replace(STILL, ssop=False)}
        ),
        "none": tuning_config("none", select="val", **settings),
    }
    odd = tuning_config("all", batch=5, **{name: settings[name] for name in ("model", "epochs")})
    tasks = [task(cache, tmp_path / name, config) for name, config in configs.items()]
    said, ended = trainings.together(*tasks, task(cache, tmp_path / "odd", odd))
    assert ended == [0, 0]
    assert said[0] == said[1]
    kind, message, remedy = said[0].pop()
    assert (kind, remedy) == ("UsageError", "--batch 6")
    assert "2 processes cannot share a batch of 5 clips" in message
    assert not (tmp_path / "odd").exists()
    for (name, config), found in zip(configs.items(), said[0], strict=True):
        alone = fit(cache, tmp_path / f"{name}-alone", config, watch=Recorder())
        np.testing.assert_allclose(
            losses(tmp_path / name), losses(alone.run.path), rtol=2e-3 if name == "all" else 1e-4, err_msg=name
        )
        assert found == [alone.scores.right, alone.scores.total, True], name
        assert Run.open(tmp_path / name).facts["processes"] == 2


@pytest.mark.slow
def test_a_lost_process_ends_the_run_which_goes_on_from_its_checkpoint(trainings, cache, tmp_path):
    config = tuning_config("layer4", model=STILL, learning_rate=1e-5, epochs=2)
    said, ended = trainings.together(task(cache, tmp_path / "run", config, lost=4, seconds=0.0))
    assert ended == [0, -signal.SIGKILL]
    kind, message, remedy = said[0][0]
    assert kind == "EstError"
    assert "a process of 2 is gone" in message
    assert "est train --resume" in remedy
    assert not Run.open(tmp_path / "run").complete
    watch = Recorder()
    resumed = fit(None, tmp_path / "run", resume=True, watch=watch)
    assert any("2 × cpu" in text for text in watch.warned)
    assert watch.steps <= 3  # of six
    alone = fit(cache, tmp_path / "alone", config, watch=Recorder())
    np.testing.assert_allclose(losses(resumed.run.path), losses(alone.run.path), rtol=2e-3)


@pytest.mark.slow
def test_torchrun_trains(cache, tmp_path):
    call = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        "-m",
        "est",
        "train",
    ]
    call += ["--cache", str(cache), "--finetune", "all", "--out", str(tmp_path / "run"), "--holdout", "--batch", "4"]
    call += ["--epochs", "1", "--layers", "1", "--device", "cpu"]
    done = subprocess.run(call, capture_output=True, text=True, check=False, env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    assert Run.open(tmp_path / "run").complete
    assert done.stdout.count("summary:") == 1
