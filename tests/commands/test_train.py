"""`est train` and `est evaluate` on the command line: every flag arrives, every error names what is wrong, and what is shown."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import typer
from train_samples import Recorder, learning_cache, read_csv, read_lines, tiny_config

from est.cache import Source
from est.cli import app, main
from est.train import Run, TrainConfig, fit
from est.train.config.configfile import differences, to_flat, to_toml
from est.train.models.registry import config_class

# Every flag of `est train` that is a setting, a value of it, and the keys that it sets.
FLAGS = {
    "--epochs 3": {"loop.epochs": 3},
    "--batch 4": {"loop.batch": 4},
    "--lr 3e-5": {"loop.learning_rate": 3e-5},
    "--seeds 1,2,3": {"seeds": (1, 2, 3)},
    "--model gru": {"model.name": "gru"},
    "--model transformer --tokens frames": {"model.name": "transformer", "model.tokens": "frames"},
    "--model gru --hidden 64": {"model.name": "gru", "model.hidden": 64},
    "--model gru --one-way": {"model.name": "gru", "model.bidirectional": False},
    "--model gru --pooling max": {"model.name": "gru", "model.pooling": "max"},
    "--model clip-temporal --class-vectors texts.npz": {
        "model.name": "clip-temporal",
        "model.class_vectors": str(Path("texts.npz").absolute()),
    },
    "--snippets 5": {"model.snippets": 5},
    "--frames 3": {"model.frames": 3},
    "--layers 2": {"model.layers": 2},
    "--heads 2": {"model.heads": 2},
    "--orders 4": {"model.orders": 4},
    "--position slot": {"model.position": "slot"},
    "--aggregation se": {"model.aggregation": "se"},
    "--no-ssop": {"model.ssop": False},
    "--feature map": {"data.feature": "map"},
    "--flip": {"data.mirrored": True},
    "--views": {"data.views": True},
    "--balanced": {"data.balanced": True},
    "--class-weights": {"data.class_weights": True},
    "--label-smoothing 0.1": {"data.label_smoothing": 0.1},
    "--votes votes.csv": {"data.votes": str(Path("votes.csv").absolute())},
    "--focal 2": {"loss.focal": 2.0},
    "--protocol split": {"protocol.kind": "split"},
    "--protocol official": {"protocol.kind": "official"},
    "--protocol dfew": {"protocol.kind": "dfew"},
    "--protocol ck+": {"protocol.kind": "ck+", "protocol.folds": 10},
    "--folds 3": {"protocol.kind": "kfold", "protocol.folds": 3},
    "--loso": {"protocol.kind": "loso"},
    "--holdout": {"protocol.kind": "holdout"},
    "--by clip": {"protocol.by": "clip"},
    "--fold fold1 --fold fold2": {"protocol.only": ("fold1", "fold2")},
    "--select val": {"select": "val"},
    "--precision bf16": {"loop.precision": "bf16"},
    "--device cuda:3": {"device": "cuda:3"},
    "--threads 2": {"loop.threads": 2},
    "--stack off": {"loop.stack": "off"},
    "--no-control": {"control": False},
    "--finetune layer4": {"finetune.learns": "layer4"},
    "--finetune all --weights synface": {"finetune.learns": "all", "finetune.weights": "synface"},
    "--finetune all --normalize none": {"finetune.learns": "all", "finetune.normalize": "none"},
    "--finetune all --init runs/a": {"finetune.learns": "all", "finetune.init": "runs/a"},
    "--allow-leak": {"allow_leak": True},
    "--tensorboard": {"tensorboard": True},
}
OTHERS = {
    "--cache",
    "--out",
    "--resume",
    "--describe",
    "--list-protocols",
    "--list-models",
    "--preset",
    "--config",
    "--set",
    "--json",
    "--quiet",
    "--debug",
    "--help-all",
}
ALIASES = {"--output", "--batch-size", "--learning-rate", "--features"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("cli")


@pytest.fixture(scope="module")
def cache(folder):
    return learning_cache(folder / "cache é.zarr", strength=0.25, black=(0.5,) * 16)


@pytest.fixture(scope="module")
def settings(folder):
    """A configuration that trains in a second, as a file."""
    file = folder / "tiny.toml"
    file.write_text(to_toml(tiny_config()), encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def run(cache, folder):
    return fit(cache, folder / "run", tiny_config()).run


@pytest.fixture
def est(capsys):
    """Run `est` in this process; return its status, stdout and stderr."""

    def call(*arguments):
        with pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return stop.value.code, out, err

    return call


@pytest.fixture
def asked(monkeypatch):
    """What `fit` is called with, instead of training."""
    calls = []

    class Enough(Exception):
        pass

    def fake(cache, out, config, *, resume, watch):
        calls.append({"cache": cache, "out": out, "config": config, "resume": resume})
        raise Enough

    monkeypatch.setattr("est.train.fitting.fit", fake)

    def ask(*arguments):
        with pytest.raises(Enough):
            main([str(argument) for argument in arguments])
        return calls.pop()

    return ask


def options_of(*path):
    command = typer.main.get_command(app)
    for name in path:
        command = command.commands[name]
    return {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}


def test_the_flags_above_are_all_there_are():
    named = {word for flag in FLAGS for word in flag.split() if word.startswith("--")}
    switches = {
        "--bidirectional",
        "--ssop",
        "--no-flip",
        "--no-views",
        "--no-balanced",
        "--no-class-weights",
        "--control",
        "--no-tensorboard",
        "--no-allow-leak",
    }
    assert options_of("train") == named | switches | OTHERS | ALIASES | {"-c", "-o", "-q"}


@pytest.mark.parametrize("flag", FLAGS)
def test_a_flag_sets_its_setting_and_no_other(asked, flag):
    call = asked("train", "--cache", "c", *flag.split())
    flat = to_flat(call["config"])
    default = to_flat(TrainConfig(model=config_class(flat["model.name"])())) | {"model.name": "est"}
    assert {key: flat[key] for key in flat if flat[key] != default[key]} == FLAGS[flag]
    assert (str(call["cache"]), call["out"], call["resume"]) == ("c", None, False)


@pytest.mark.parametrize(
    ("flag", "key", "value"),
    [
        ("--ssop", "model.ssop", True),
        ("--no-flip", "data.mirrored", False),
        ("--no-balanced", "data.balanced", False),
        ("--no-class-weights", "data.class_weights", False),
        ("--control", "control", True),
        ("--no-tensorboard", "tensorboard", False),
    ],
)
def test_a_switch_has_two_sides(asked, flag, key, value):
    opposite = f"{key}={str(not value).lower()}"
    assert to_flat(asked("train", "--cache", "c", "--set", opposite)["config"])[key] is not value
    assert to_flat(asked("train", "--cache", "c", "--set", opposite, flag)["config"])[key] is value


def test_file_preset_set_and_flags_in_this_order(asked, tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text("[loop]\nbatch = 32\nlearning_rate = 0.5\nepochs = 77\nclip_norm = 0.3\n", encoding="utf-8")
    line = ["train", "-c", "c", "--config", file, "--preset", "fast", "--set", "loop.epochs=5", "--set", "loop.batch=3"]
    loop = asked(*line, "--batch", "2")["config"].loop
    assert (loop.batch, loop.epochs, loop.learning_rate, loop.clip_norm) == (2, 5, 3e-4, 0.3)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("train", "No cache is given: --cache names it."),
        ("train --cache absent.zarr", "absent.zarr"),
        ("train --cache c --folds 3 --loso", "--folds and --loso ask for different protocols"),
        ("train --cache c --holdout --loso", "--loso and --holdout ask for different protocols"),
        ("train --cache c --protocol split --folds 3", "--folds and --protocol ask for different protocols"),
        ("train --cache c --protocol ck+ --folds 3", "--folds and --protocol ask for different protocols"),
        ("train --cache c --protocol mmi --set protocol.by=clip", "The protocol mmi goes by subject"),
        ("train --cache c --protocol dfe", "--protocol dfew"),
        ("train --cache c --loso --by clip", "Leave-one-subject-out goes by subject"),
        ("train --cache c --folds 1", "protocol.folds is 2 or more"),
        ("train --cache c --seeds 1,x", "--seeds is whole numbers with commas between"),
        ("train --cache c --seeds 1,1", "each seed once"),
        ("train --cache c --set loop.epoch=3", "did you mean loop.epochs?"),
        ("train --cache c --set epochs", "KEY=VALUE"),
        ("train --cache c --preset quick", "found 'quick'"),
        ("train --cache c --config absent.toml", "absent.toml cannot be read"),
        ("train --cache c --focal -1", "--focal goes from 0 to 10, found -1.\n  try: --focal 0"),
        ("train --cache c --epochs 0", "--epochs goes from 1 to 100000, found 0.\n  try: --epochs 160"),
        ("train --cache c --set loss.focal=-1", "Error: loss.focal goes from 0 to 10"),
        ("train --cache c --model stt --feature gap", "stt reads layer3: --feature gap has no effect"),
        ("audit c --out o --model stt --feature gap", "stt reads layer3: --feature gap has no effect"),
        ("train --cache .", "est extract . --out"),
        ("train --cache c --batch 1", "at least two clips at a time"),
        ("train --cache c --balanced --class-weights", "they correct twice"),
        ("train --cache c --position here", "found 'here'"),
        ("train --cache c --select best", "select is last or val, found 'best'"),
        ("train --cache c --epoch 3", "--epochs"),
        ("train --cache c --epochs many", "--epochs"),
        ("train --resume --out absent", "absent is not a run"),
        ("evaluate absent", "absent is not a run"),
        ("evaluate absent --unknown perhaps", "--unknown is exclude or wrong"),
        ("evaluate absent --zero-middle 5", "--zero-middle is A:B or auto"),
        ("evaluate absent --zero-middle b:a", "--zero-middle is A:B or auto"),
        ("evaluate absent --alias calm", "An alias is THEIRS=OURS"),
    ],
)
def test_wrong_usage_says_what_is_wrong(est, line, expected, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, out, err = est(*line.split())
    assert status == 2
    assert out == ""
    assert expected in err
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


def test_protocol_and_its_short_form_may_agree(asked):
    assert asked("train", "-c", "c", "--protocol", "kfold", "--folds", "3")["config"].protocol.folds == 3


def test_train_resume_and_evaluate(est, cache, settings, tmp_path):
    status, out, err = est("train", "--cache", cache, "--config", settings, "--out", tmp_path / "run")
    assert status == 0
    lines = out.splitlines()
    assert lines[0] == "EST on a frozen backbone: the published training is end to end"
    run = Run.open(tmp_path / "run")
    pooled = json.loads((run.path / "metrics.json").read_text(encoding="utf-8"))["pooled"]
    assert f"({pooled['war']['right']}/{pooled['war']['total']})" in lines[1]
    assert lines[-1] == f"summary: {run.path / 'summary.md'}"
    for words in ("in memory", "1 threads", "source frames", "protocol: split", f"run: {run.path}", "split: WAR"):
        assert words in err
    assert est("train", "--cache", cache, "--config", settings, "--out", run.path)[0] == 2
    status, _, err = est("train", "--resume", "--out", run.path)
    assert status == 2
    assert f"{run.path} is complete" in err
    status, out, _ = est("evaluate", run.path, "--json")
    (result,) = [event for event in read_lines(out) if event["event"] == "result"]
    assert (status, result["scores"]) == (0, pooled)
    status, out, _ = est("evaluate", run.path)
    assert f"({pooled['war']['right']}/{pooled['war']['total']})" in out
    for label in run.labels:
        assert label in out


def test_resume_knows_the_settings(est, asked, cache, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        fit(cache, tmp_path / "run", tiny_config(), watch=Recorder(3))
    call = asked("train", "--resume", "--out", tmp_path / "run")
    assert call == {"cache": None, "out": tmp_path / "run", "config": tiny_config(), "resume": True}
    call = asked("train", "--resume", "--out", tmp_path / "run", "--lr", "0.5", "--cache", "elsewhere")
    assert differences(tiny_config(), call["config"]) == {"loop.learning_rate": (0.003, 0.5)}
    assert str(call["cache"]) == "elsewhere"


def test_resume_with_another_setting_is_refused(est, cache, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        fit(cache, tmp_path / "run", tiny_config(), watch=Recorder(3))
    status, _, err = est("train", "--resume", "--out", tmp_path / "run", "--preset", "fast", "--no-control")
    assert status == 2
    for words in (r"loop.epochs +4 +30", r"control +True +False", "resume without them"):
        assert re.search(words, err)
    assert est("train", "--resume", "--out", tmp_path / "run", "--threads", "1", "--quiet")[0] == 0


def test_json_is_lines_that_end_in_the_result(est, cache, settings, tmp_path):
    line = ["train", "--cache", cache, "--config", settings, "--out", tmp_path / "run", "--folds", "2", "--json"]
    status, out, err = est(*line)
    assert (status, err) == (0, "")
    events = read_lines(out)
    kinds = [event["event"] for event in events]
    assert kinds[-1] == "result"
    assert [kind for kind in kinds if kind not in ("note", "warning")] == [
        *(["part"] + ["epoch"] * 4 + ["part_result"]) * 2,
        "result",
    ]
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text(encoding="utf-8"))
    assert events[-1] == {"event": "result", "run": str(tmp_path / "run"), **metrics}
    epochs = [event for event in events if event["event"] == "epoch"]
    for event, row in zip(epochs, read_csv(tmp_path / "run" / "history.csv"), strict=True):
        assert {name: str(value) for name, value in event.items() if name != "event"} == row
        assert all(isinstance(value, int | float) for name, value in event.items() if name not in ("event", "part"))
    begun = [event for event in events if event["event"] == "part"]
    assert [(event["name"], event["index"], event["total"], event["first_epoch"]) for event in begun] == [
        ("fold1", 0, 2, 1),
        ("fold2", 1, 2, 1),
    ]


def test_quiet_says_the_result_alone(est, settings, tmp_path):
    """Of clips whose sources are known by their content: else a warning says that copies would not be seen."""
    known = {index: {"source": Source(digest=bytes([index + 1] * 16))} for index in range(54)}
    cache = learning_cache(tmp_path / "known.zarr", fields=known)
    status, out, err = est("train", "-c", cache, "--config", settings, "-o", tmp_path / "run", "--epochs", "1", "-q")
    assert (status, err) == (0, "")
    assert out.startswith("EST on a frozen backbone")


def test_evaluate_passes_everything_on(est, run, cache, tmp_path):
    renamed = {index: {"id": f"new{index}", "label": ("calm", "anger", "odd")[index % 3]} for index in range(18)}
    other = learning_cache(
        tmp_path / "other.zarr", 18, listed=("odd", "calm", "anger"), fields=renamed, black=(0.5,) * 16
    )
    line = ["evaluate", run.path, "--cache", other, "--split", "train", "--alias", "calm=happiness", "--json"]
    line += ["--shuffle-test", "--zero-middle", "50:55", "--start", "15", "--device", "cpu"]
    status, out, _ = est(*line, "--unknown", "wrong", "--out", tmp_path / "out")
    result = read_lines(out)[-1]
    assert status == 0
    assert result["what"] == "snippets shuffled, frames 50 to 54 black (2 of the 35 frames shown), from frame 15"
    assert result["scores"]["labels"] == [*run.labels, "odd"]
    totals = {one["label"]: one["total"] for one in result["scores"]["per_class"]}
    assert totals == {"anger": 4, "happiness": 4, "surprise": 0, "odd": 4}
    assert result["order"]["total"] == 12
    assert json.loads((tmp_path / "out" / "metrics.json").read_text(encoding="utf-8"))["scores"] == result["scores"]
    assert len(read_csv(tmp_path / "out" / "predictions.csv")) == 12
    status, out, _ = est(*line)
    assert read_lines(out)[-1]["excluded"] == {"odd": 4}
    status, out, _ = est(*[word for word in line if word != "--json"])
    assert "left out, classes that the run lacks: odd 4" in out
    assert "UAR" in out
    assert "over 2 of 3 classes" in out
    status, _, err = est("evaluate", run.path, "--out", run.path)
    assert (status, "is a run" in err) == (2, True)


def test_describe(est, cache, run):
    status, out, _ = est("train", "--describe", "--json")
    (found,) = read_lines(out)
    assert (status, found["with_backbone"]["parameters"]) == (0, 42_775_761)
    assert found["with_backbone"]["macs"] == pytest.approx(63.89e9, abs=0.01e9)
    found = read_lines(est("train", "--describe", "--json", "--no-ssop")[1])[0]
    assert found["with_backbone"]["parameters"] == 34_374_343
    text = est("train", "--describe")[1]
    assert "42,775,761" in text
    assert "ResNet-18, 35 frames of 224 × 224" in text
    fan = ["--model", "fan", "--describe", "--cache", cache]
    assert "MACs are of" in est("train", *fan)[1].splitlines()[-1]
    assert "the mean of the cache's clips" in est("train", *fan)[1]
    small = ["--set", "model.dim=16", "--heads", "2", "--cache", cache, "--json"]
    found = read_lines(est("train", "--describe", *small)[1])[0]
    assert "backbone" not in found
    assert found["parts"][0]["part"] != "projection", "features of width 16 need none"
    status, _, err = est("train", "--describe", "--cache", cache, "--feature", "map")
    assert (status, "gap" in err) == (2, True)


def test_describe_what_is_computed_of_crops_in_training(est, cache):
    """Maps that the cache does not hold: a backbone that learns makes them."""
    line = ["train", "--describe", "--json", "--cache", cache, "--model", "former-dfer"]
    assert est(*line)[0] == 2
    status, out, _ = est(*line, "--finetune", "all")
    assert (status, read_lines(out)[0]["parameters"] > 15_000_000) == (0, True)


def test_describe_shows_the_model_of_a_run(est, cache, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        fit(cache, tmp_path / "run", tiny_config(), watch=Recorder(3))
    found = read_lines(est("train", "--describe", "--json", "--resume", "--out", tmp_path / "run", "--cache", cache)[1])
    model = read_lines(
        est("train", "--describe", "--json", "--config", tmp_path / "run" / "config.toml", "--cache", cache)[1]
    )
    assert found == model
    assert found[0]["parameters"] < 20_000_000
