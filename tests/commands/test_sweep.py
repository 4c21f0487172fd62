"""`est sweep` on the command line: what it prints, what it ends with, and which flags reach the sweep."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from swept import arguments, base_config, folded_cache, number_of, space_file
from train_samples import read_csv, read_lines

from est.cli import main
from est.commands.training.sweep import default_folder
from est.commands.training.sweepview import LineSweep, repeat_command
from est.sweep.found.record import Sweep
from est.sweep.search.settings import SweepConfig
from est.train import Run
from est.train.config.configfile import resolve, to_flat, to_toml

# Flags of `est sweep`, a value of each, and what they set of the base configuration, of how is searched, or of the call.
BASE = {
    "--model gru --hidden 64": {"model.name": "gru", "model.hidden": 64},
    "--preset small --model gru": {"loop.optimizer": "adamw"},
    "--set loop.epochs=7": {"loop.epochs": 7},
    "--feature map": {"data.feature": "map"},
    "--balanced": {"data.balanced": True},
    "--folds 3": {"protocol.kind": "kfold", "protocol.folds": 3},
    "--loso": {"protocol.kind": "loso"},
    "--holdout --by clip": {"protocol.kind": "holdout", "protocol.by": "clip"},
    "--protocol official": {"protocol.kind": "official"},
    "--fold fold1 --fold fold2": {"protocol.only": ("fold1", "fold2")},
    "--precision bf16": {"loop.precision": "bf16"},
    "--device cuda:3": {"device": "cuda:3"},
    "--threads 2": {"loop.threads": 2},
    "--stack off": {"loop.stack": "off"},
    "--allow-leak": {"allow_leak": True},
}
HOW = {
    "": {"trials": 20, "minutes": 0.0},
    "--trials 7": {"trials": 7},
    "--minutes 5": {"trials": 0, "minutes": 5.0},
    "--minutes 5 --trials 3": {"trials": 3, "minutes": 5.0},
    "--sampler random": {"sampler": "random"},
    "--pruner hyperband": {"pruner": "hyperband"},
    "--objective war": {"objective": "war"},
    "--inner 4": {"inner": 4},
    "--keep 0": {"keep": 0},
    "--no-control": {"control": False},
    "--seed 9": {"seed": 9},
}
CALL = {
    "": {"models": (), "storage": "", "workers": 0, "retrain_seeds": 0, "space": None},
    "--model est --model gru": {"models": ("est", "gru")},
    "--storage sqlite:///a.db": {"storage": "sqlite:///a.db"},
    "--workers 3": {"workers": 3},
    "--retrain-best": {"retrain_seeds": 3},
    "--retrain-best --seeds 5": {"retrain_seeds": 5},
    "--seeds 5": {"retrain_seeds": 0},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("sweep command")


@pytest.fixture(scope="module")
def cache(folder):
    return folded_cache(folder / "cache é.zarr")


@pytest.fixture(scope="module")
def space(folder):
    return space_file(folder / "space.toml")


@pytest.fixture
def est(capsys):
    """Run `est` in this process; return its status, stdout and stderr."""

    def call(*words):
        with pytest.raises(SystemExit) as stop:
            main([str(word) for word in words])
        out, err = capsys.readouterr()
        return stop.value.code, out, err

    return call


@pytest.fixture
def asked(monkeypatch):
    """What `sweep_cache` is called with, instead of searching."""
    calls = []

    class Enough(Exception):
        pass

    def fake(cache, out, base, space, how, **settings):
        calls.append({"cache": cache, "out": out, "base": base, "space": space, "how": how, **settings})
        raise Enough

    monkeypatch.setattr("est.sweep.search.sweeping.sweep_cache", fake)

    def ask(*words):
        with pytest.raises(Enough):
            main(["sweep", "--cache", "data/faces.zarr", *map(str, words)])
        return calls.pop()

    return ask


@pytest.mark.parametrize("flags", BASE)
def test_flags_of_the_base_configuration_arrive(asked, flags):
    found = to_flat(asked(*flags.split())["base"])
    assert {key: found[key] for key in BASE[flags]} == BASE[flags]


@pytest.mark.parametrize("flags", HOW)
def test_flags_of_the_search_arrive(asked, flags):
    assert asked(*flags.split())["how"] == SweepConfig(**HOW[flags])


@pytest.mark.parametrize("flags", CALL)
def test_other_flags_arrive(asked, flags):
    found = asked(*flags.split())
    assert {key: found[key] for key in CALL[flags]} == CALL[flags]


def test_a_configuration_file_and_a_space_arrive(asked, tmp_path, space):
    (tmp_path / "base.toml").write_text(to_toml(base_config(epochs=9)))
    found = asked("--config", tmp_path / "base.toml", "--space", space)
    assert found["base"] == base_config(epochs=9)
    assert [setting.name for setting in found["space"].settings] == ["loop.learning_rate"]
    assert found["space"].fixed["loop.epochs"] == 3


@pytest.mark.parametrize(
    ("cache", "expected"),
    [
        ("data/faces.zarr", "sweeps/faces"),
        ("a/b/crops.h5", "sweeps/crops"),
        ("x/v1.2.zarr/", "sweeps/v1.2"),
        ("plain", "sweeps/plain"),
    ],
)
def test_the_default_folder_has_the_name_of_the_cache(cache, expected):
    assert default_folder(Path(cache)) == Path(expected)


def test_the_folder_is_the_default_one_or_that_of_out(asked, tmp_path):
    assert asked()["out"] == Path("sweeps/faces")
    assert asked("--out", tmp_path)["out"] == tmp_path


def test_a_sweep_in_json(est, cache, space, tmp_path):
    out = tmp_path / "sweep"
    status, said, errors = est(*arguments(cache, out, space, trials=2), "--retrain-best", "--seeds", 2, "--json")
    assert (status, errors) == (0, "")
    events = read_lines(said)
    assert [event["event"] for event in events].count("result") == 1
    result = events[-1]
    assert result["event"] == "result"
    assert result["sweep"] == str(out)
    studies = [event for event in events if event["event"] == "study"]
    assert {event["study"] for event in studies} == {"fold0", "fold1", "fold0/control", "fold1/control"}
    assert studies[-1]["ended"] == 2
    assert studies[-1]["best"] == max(record["value"] for record in result["studies"][-1]["records"])
    on_disk = json.loads((out / "sweep.json").read_text())
    assert {key: result[key] for key in on_disk} == on_disk
    found = Sweep.from_json(on_disk)
    assert [number_of(study) for study in found.studies] == [2, 2, 2, 2]
    assert found.retrained["clips"] == 54
    assert len(read_csv(out / "trials.csv")) == 8
    assert Run.open(out / "retrained" / "fold0").config.seeds == (3456, 3457)
    # and again: nothing is searched, nothing is trained
    status, again, _ = est(*arguments(cache, out, space, trials=2), "--retrain-best", "--seeds", 2, "--json")
    assert status == 0
    assert read_lines(again)[-1] == result


def test_what_a_terminal_is_told(est, cache, space, tmp_path):
    out = tmp_path / "sweep"
    status, said, errors = est(*arguments(cache, out, space, trials=2, keep=0), "--no-control")
    assert status == 0
    assert "sweep: 2 outer folds, each with a study of its own, 2 trials in each" in errors
    assert "no test half is read" in errors
    assert "loop.learning_rate: 0.001 to 0.03 (log)" in errors
    assert "Traceback" not in errors
    lines = said.splitlines()
    assert lines[0] == "Sweep of GRU on cache é.zarr"
    assert re.match(r"  fold0 +\d+\.\d\d % +2 complete +\d+\.\d +loop.learning_rate 0\.0\d+$", lines[2])
    assert repeat_command(cache, out / "best" / "fold0-inner1.toml") in said
    assert f"page: {out / 'sweep.html'}" == lines[-1]
    assert (out / "sweep.html").read_text().startswith("<!")
    assert not (out / "kept").exists()


def test_the_command_that_is_printed_trains_alone(est, cache, space, tmp_path):
    out = tmp_path / "sweep"
    _, said, _ = est(*arguments(cache, out, space, trials=1, inner=2), "--no-control")
    (line, *_) = [line for line in said.splitlines() if line.startswith("  est train ")]
    assert "'" in line  # the path has a space
    config = out / "best" / "fold0-inner1.toml"
    status, _, _ = est("train", "--cache", cache, "--config", config, "--out", tmp_path / "run", "--quiet")
    assert status == 0
    assert Run.open(tmp_path / "run").config == resolve(None, config)


def test_a_quiet_sweep(est, cache, space, tmp_path):
    status, said, errors = est(*arguments(cache, tmp_path / "sweep", space, trials=1), "--quiet")
    assert status == 0
    assert said.startswith("Sweep of GRU on cache é.zarr\n")
    assert "sweep: 2 outer folds" not in errors
    assert errors.startswith("Warning: 54 of 54 clips have no digest of their source")
    assert (tmp_path / "sweep" / "sweep.json").is_file()


BAD = {
    "no cache": (("sweep", "--cache", "gone.zarr"), 2, "gone.zarr"),
    "no end": (("--trials", "0"), 2, "A sweep has an end: a number of trials or of minutes, found neither."),
    "negative trials": (("--trials", "-3"), 2, "--trials"),
    "negative minutes": (("--minutes", "-1"), 2, "--minutes"),
    "sampler": (("--sampler", "annealing"), 2, "annealing"),
    "finetune": (("--finetune", "layer4"), 2, "--finetune"),
    "set finetune": (("--set", "finetune.learns=layer4"), 2, "A sweep trains on cached features"),
    "models and a space": (
        ("--model", "est"),
        2,
        "--space says which models are searched, and several --model do, too.",
    ),
    "storage": (
        ("--storage", "mysql+nodriver://me:secret@host/db"),
        1,
        "mysql+nodriver://me:…@host/db cannot be opened",
    ),
    "grid": (("--sampler", "grid"), 2, "A grid has countable values"),
    "inner": (("--inner", "50"), 2, "50 folds need 50 subjects"),
}


@pytest.mark.parametrize("what", BAD)
def test_what_is_refused(est, cache, space, tmp_path, what):
    more, expected, message = BAD[what]
    words = more if more[0] == "sweep" else [*arguments(cache, tmp_path / "sweep", space), *more]
    status, out, err = est(*words)
    assert (status, out) == (expected, "")
    assert message in " ".join(err.split())
    assert "secret" not in err
    assert "Traceback" not in err


SPACES = {
    "[loop]\nlearning_rat = [1e-3, 1e-2]": "learning_rat",
    "[loop]\nlearning_rate = {low = 1e-3, high = 1e-3}": "has low below high, found 0.001 to 0.001",
    "[loop]\nlearning_rate = {low = 1e-2, high = 1e-3}": "has low below high, found 0.01 to 0.001",
    "[loop]\nlearning_rate = []": "loop.learning_rate has neither choices nor a range",
    "[loop]\nepochs = 3": "The search space varies nothing",
    "[loop\n": "is not TOML",
}


@pytest.mark.parametrize("text", SPACES)
def test_a_space_that_cannot_be_searched(est, cache, tmp_path, text):
    (tmp_path / "bad.toml").write_text(text)
    status, _, err = est(*arguments(cache, tmp_path / "sweep", tmp_path / "bad.toml"))
    assert status == 2
    assert f"{tmp_path / 'bad.toml'}" in err
    assert SPACES[text] in " ".join(err.split())
    assert not (tmp_path / "sweep").exists()


def test_refusals_in_json(est, cache, space, tmp_path):
    status, out, err = est(*arguments(cache, tmp_path / "sweep", space, trials=0), "--json")
    assert status == 2
    (event,) = [json.loads(line) for line in (out + err).splitlines()]
    assert event["remedy"] == "--trials 20"


def test_another_sweep_in_the_folder_is_refused(est, cache, space, tmp_path):
    out = tmp_path / "sweep"
    assert est(*arguments(cache, out, space, trials=1), "--no-control")[0] == 0
    status, _, err = est(*arguments(cache, out, space, trials=1, objective="war"), "--no-control")
    assert status == 2
    assert "--objective uar, you asked for war" in " ".join(err.split())


def test_a_line_says_how_far_a_sweep_is(est, cache, space, tmp_path):
    est(*arguments(cache, tmp_path / "sweep", space, trials=2), "--quiet")
    found = Sweep.from_json(json.loads((tmp_path / "sweep" / "sweep.json").read_text()))
    line = LineSweep(None)
    line.first = 8
    best = [study.best.value for study in found.studies_of(control=False)]
    assert line.state(found) == f"trials: 8/8; best so far {sum(best) / 2:.1%} (mean of 2 folds)"
