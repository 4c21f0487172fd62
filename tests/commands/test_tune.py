"""`est tune` on the command line: every flag arrives, two sources are refused, and what is shown."""

from __future__ import annotations

import json

import pytest
import typer
from train_samples import read_lines
from tune_samples import SIDE, colour_cache, write_images

import est.tune.encoder as encoder
from est.cli import app, main
from est.encoders.weights import load_weights
from est.train.config.protocol import ProtocolConfig
from est.tune import TuneConfig, read_card

# Every flag that is a setting, a value of it, and what it sets.
FLAGS = {
    "--weights synface": {"weights": "synface"},
    "--normalize none": {"normalize": "none"},
    "--epochs 3": {"epochs": 3},
    "--batch 4": {"batch": 4},
    "--lr 3e-5": {"learning_rate": 3e-5},
    "--encoder-rate 0.5": {"rate": 0.5},
    "--label-smoothing 0.2": {"label_smoothing": 0.2},
    "--batch-norm frozen": {"batch_norm": "frozen"},
    "--no-balanced": {"balanced": False},
    "--frames-per-clip 2": {"frames_per_clip": 2},
    "--together 3": {"together": 3},
    "--average 0.99": {"average": 0.99},
    "--apex end": {"apex": "end"},
    "--no-mirror": {"mirrored": False},
    "--shift 0": {"shift": 0.0},
    "--zoom 0.2": {"zoom": 0.2},
    "--brightness 0.1": {"brightness": 0.1},
    "--occlusion 0": {"occlusion": 0.0},
    "--select last": {"select": "last"},
    "--by clip": {"by": "clip"},
    "--seed 5": {"seed": 5},
    "--precision fp16": {"precision": "fp16"},
    "--device cuda:1": {"device": "cuda:1"},
    "--threads 2": {"threads": 2},
    "--workers 3": {"workers": 3},
    "--allow-leak": {"allow_leak": True},
}
PROTOCOLS = {
    "": None,
    "--fold fold1": ProtocolConfig(only=("fold1",)),
    "--protocol dfew --fold fold2": ProtocolConfig(kind="dfew", only=("fold2",)),
    "--protocol ck+ --fold fold2": ProtocolConfig(kind="ck+", folds=10, only=("fold2",)),
    "--folds 3 --fold fold2": ProtocolConfig(kind="kfold", folds=3, only=("fold2",)),
    "--loso --fold P1": ProtocolConfig(kind="loso", only=("P1",)),
    "--holdout": ProtocolConfig(kind="holdout"),
}
OTHERS = {"--out", "--cache", "--images", "--votes", "--size", "--split", "--json", "--quiet", "--debug", "--help-all"}
ALIASES = {"--output", "--batch-size", "--learning-rate", "--num-workers"}


def run(arguments):
    """Run a command; return its exit status."""
    with pytest.raises(SystemExit) as stopped:
        main([str(argument) for argument in arguments])
    return stopped.value.code


def test_every_flag_is_tried():
    command = typer.main.get_command(app).commands["tune"]
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    tried = {word for flags in (*FLAGS, *PROTOCOLS) for word in flags.split() if word.startswith("--")}
    counterparts = {"--balanced", "--mirror", "-q", "-o", "-c"}
    assert known - counterparts - ALIASES == tried | OTHERS
    assert known > ALIASES


@pytest.fixture
def called(monkeypatch):
    """Catch what would be learnt, instead of learning it."""
    calls = []

    def catch(*arguments, **options):
        calls.append((arguments, options))
        raise KeyboardInterrupt

    monkeypatch.setattr(encoder, "tune_cache", catch)
    monkeypatch.setattr(encoder, "tune_stills", catch)
    return calls


@pytest.mark.parametrize("flags", FLAGS)
def test_flags_become_settings(called, flags):
    assert run(["tune", "--cache", "c.zarr", "--out", "o.safetensors", *flags.split()]) == 130
    assert called[0][0][2] == TuneConfig(**FLAGS[flags])


@pytest.mark.parametrize("flags", PROTOCOLS)
def test_protocols_arrive(called, flags):
    run(["tune", "--cache", "c.zarr", "--out", "o.safetensors", *flags.split()])
    assert called[0][1]["protocol"] == PROTOCOLS[flags]


def test_a_split_and_a_size_arrive(called, tmp_path):
    run(["tune", "--cache", "c.zarr", "--out", "o.safetensors", "--split", "train"])
    assert called[0][1]["split"] == "train"
    write_images(tmp_path / "i" / "red", 1)
    run(["tune", "--images", tmp_path / "i", "--out", "o.safetensors", "--size", "48"])
    stills, _, config = called[1][0]
    assert stills.labels == ("red",)
    assert config.size == 48


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--cache c --images i", "Expected a cache or images to learn from"),
        ("", "No training data is given"),
        ("--cache c --votes v", "--votes can be used only with --images"),
        ("--cache c --size 48", "--size can be used only with --images"),
        ("--images i --fold fold1 --apex end", "--fold, --apex can be used only with --cache"),
        ("--images i --loso", "--loso can be used only with --cache"),
        ("--cache c --folds 3 --loso", "ask for different protocols"),
        ("--images nowhere", "There are no images at nowhere"),
    ],
)
def test_what_does_not_go_together_is_refused(capsys, arguments, message):
    assert run(["tune", "--out", "o.safetensors", *arguments.split()]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert "try:" in said


def test_from_the_cache_to_the_weights(tmp_path, capsys):
    cache, out = colour_cache(tmp_path / "c.zarr", 12), tmp_path / "tuned.safetensors"
    line = [
        "tune",
        "--cache",
        cache,
        "--out",
        out,
        "--epochs",
        1,
        "--batch",
        12,
        "--frames-per-clip",
        2,
        "--threads",
        1,
    ]
    assert run([*line, "--json"]) == 0
    events = read_lines(capsys.readouterr().out)
    assert [event["event"] for event in events].count("epoch") == 1
    assert events[-1]["event"] == "result"
    assert events[-1]["weights"] == str(out)
    assert events[-1]["card"] == read_card(out)
    assert load_weights(str(out)).backbone.normalization.name == "none"
    assert run(line) == 0  # it is there
    shown = capsys.readouterr()
    assert f"weights: {out}" in shown.out
    assert "validation, clips: WAR" in shown.out
    assert "exists already" in shown.err


def test_progress_off_a_terminal_is_lines(tmp_path, capsys):
    for label in ("blue", "green", "red"):
        write_images(tmp_path / "i" / label, 4)
    line = ["tune", "--images", tmp_path / "i", "--out", tmp_path / "a.safetensors", "--epochs", 1, "--size", SIDE]
    assert run([*line, "--weights", "random", "--batch", 4, "--select", "last", "--threads", 1]) == 0
    shown = capsys.readouterr()
    assert "folders: 12 images, labels of 3 classes" in shown.err
    assert "frames/s" in shown.err
    assert "the last epoch is kept" in shown.err
    assert json.dumps(read_card(tmp_path / "a.safetensors"))
    assert "learnt from 12 clips" in shown.out
