"""The built-in search spaces: every point can be trained, few clips have few shapes, and the base is one of the points."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, replace
from typing import ClassVar

import optuna
import pytest
from made_model import register
from space_samples import drawn

from est.errors import UsageError
from est.sweep.search.sweeping import first_point
from est.sweep.space.built_in import CHOICES, FIXED, built_in
from est.train.config.config import DataConfig, LoopConfig, TrainConfig
from est.train.config.configfile import known_keys, resolve, to_flat
from est.train.models.contract import CLIPS_FOR_SIZES, CROPS, Evenly, ModelConfig
from est.train.models.registry import MODELS as ALL
from est.train.models.registry import config_class, model_config

MODELS = [name for name in ALL if config_class(name)().reads != CROPS]  # sweeps learn from cached features
BASE = TrainConfig()
IMPLIED = {name: {} for name in MODELS} | {"est": {"model.order_weight": 1 / 7}}  # what None stands for
BUILT_IN = [(name,) for name in MODELS] + [tuple(MODELS)]


@pytest.mark.parametrize("clips", [60, CLIPS_FOR_SIZES])
@pytest.mark.parametrize("models", BUILT_IN, ids="+".join)
def test_built_in_spaces_can_be_trained(models, clips):
    space = built_in(models, BASE, clips)
    assert space.models == models
    found = drawn(space, 50 if len(models) == 1 else 150, optuna.samplers.RandomSampler(seed=1))
    assert {values["model.name"] for _, values in found} == set(models)
    for params, values in found:
        config = space.configure(BASE, values)
        assert space.point_of(config) == params
        assert values.items() >= FIXED.items()
        dropouts = [value for key, value in values.items() if "dropout" in key]
        assert dropouts
        assert set(dropouts) <= {0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6}
        rates = (3e-5, 1e-3) if config.model.name == "est" and clips >= CLIPS_FOR_SIZES else (1e-4, 3e-3)
        assert rates[0] <= config.loop.learning_rate <= rates[1]


def sizes(name, clips, **settings):
    """Return the choices of whole numbers of a model's built-in space: its shapes."""
    space = built_in((name,), TrainConfig(model=model_config(name, **settings)), clips)
    return {s.key: s.choices for s in space.settings if s.key.startswith("model.") and known_keys(name)[s.key] is int}


def test_few_clips_have_few_shapes():
    assert sizes("est", 999, layers=1) == {"model.layers": (1, 2)}
    assert sizes("est", 999) == {"model.layers": (1, 2)}
    assert sizes("est", 1000, layers=2, dim=128) == {"model.layers": (1, 2), "model.dim": (128, 256, 512)}
    assert sizes("est", 1000, heads=3, dim=96) == {"model.layers": (1, 2, 3), "model.dim": (96,)}
    assert sizes("gru", 999, hidden=64) == {"model.hidden": (64, 128)}
    assert sizes("gru", 1000) == {"model.hidden": (128, 256)}


def test_few_clips_have_the_sizes_of_the_preset_small():
    small = config_class("est").presets["small"]
    widths = {f"model.{name}": small[name] for name in ("dim", "ffn", "order_hidden")}
    assert widths["model.dim"] == 128
    assert built_in(("est",), BASE, CLIPS_FOR_SIZES - 1).fixed.items() >= widths.items()
    for own in ({"dim": 64}, {"layers": 1}, {"order_hidden": 32}):  # sizes that somebody has set stay
        base = TrainConfig(model=model_config("est", **own))
        space = built_in(("est",), base, 60)
        assert not space.fixed.keys() & widths.keys()
        assert space.configure(base, {}).model == base.model
    many = built_in(("est",), BASE, CLIPS_FOR_SIZES)
    assert "model.dim" in [setting.key for setting in many.settings]


def test_dropouts_are_choices_of_which_one_is_none():
    for name in MODELS:
        for clips in (60, CLIPS_FOR_SIZES):
            space = built_in((name,), BASE, clips)
            found = {s.key: s.choices for s in space.settings if "dropout" in s.key}
            assert found
            assert all(0.0 in choices and len(choices) > 1 for choices in found.values())
    own = TrainConfig(model=model_config("gru", dropout=0.17))
    assert 0.17 in next(s.choices for s in built_in(("gru",), own, 60).settings if s.key == "model.dropout")


def test_values_of_the_base_are_choices_only_where_it_can_be_a_point():
    def epochs(**sections):
        base = TrainConfig(loop=LoopConfig(epochs=45, **sections.pop("loop", {})), **sections)
        return next(s.choices for s in built_in(("gru",), base, 60).settings if s.key == "loop.epochs")

    scaled = DataConfig(scaling=True)
    assert epochs(loop={"optimizer": "adamw", "warmup": 3}, data=scaled) == (30, 45, 60)
    assert epochs(loop={"optimizer": "adam", "warmup": 3}, data=scaled) == (30, 60)
    assert epochs(loop={"optimizer": "adamw", "warmup": 3}, data=DataConfig(scaling=False)) == (30, 60)


def test_a_small_model_learns_faster_by_default():
    def rate(clips, **settings):
        space = built_in(("est",), TrainConfig(model=model_config("est", **settings)), clips)
        return next((s.low, s.high) for s in space.settings if s.key == "loop.learning_rate")

    assert rate(2000) == rate(2000, dim=128) == rate(60, layers=2) == (3e-5, 1e-3)
    assert rate(60) == rate(60, dim=128) == (1e-4, 3e-3)  # with few clips the sizes are those of the preset small


def test_built_in_spaces_hold_the_base():
    base = TrainConfig(
        loop=LoopConfig(optimizer="adamw", warmup=3, epochs=45),
        data=DataConfig(scaling=True, noise=0.05, mixup=1.0, label_smoothing=0.2),
    )
    for name in MODELS:
        model = config_class(name)()
        mixup = 0.0 if model.told else 1.0  # what is told of frames cannot be mixed
        own = replace(base, model=model, data=replace(base.data, mixup=mixup))
        point = built_in((name,), own, CLIPS_FOR_SIZES).point_of(own)
        assert point["loop.epochs"] == 45
        assert point.get("data.mixup", 0.0) == mixup
    without = TrainConfig(model=model_config("est", ssop=False))
    assert "model.order_weight" not in [s.key for s in built_in(("est",), without, 60).settings]


@pytest.mark.parametrize(
    ("name", "outside"),
    [
        ("est", "model.dim = 512, not 128"),
        ("gru", "model.hidden = 256, not 64 or 128"),
        ("stt", "model.dim = 512, not 128"),
        ("msstnet", "model.dim = 512, not 128"),
    ],
)
def test_few_clips_begin_with_the_preset_small(name, outside):
    base = TrainConfig(model=config_class(name)())
    space = built_in((name,), base, 60)
    assert outside in space.outside(base)
    first = first_point(space, base)
    small = resolve("small", None, (), {"model.name": name})
    assert (first.model, first.loop, first.data) == (small.model, small.loop, small.data)
    tried = space.values_of(space.point_of(first))
    then, now = to_flat(small), to_flat(space.configure(base, tried))
    assert {key: now[key] for key in tried} == {**{key: then[key] for key in tried}, **IMPLIED[name]}
    assert [key for key in then if then[key] != now[key]] == [*IMPLIED[name]]


def test_a_model_is_spared_what_it_refuses(monkeypatch):
    @dataclass(frozen=True, kw_only=True)
    class Config(ModelConfig):
        name: ClassVar[str] = "made"
        layers: int = 1
        told: ClassVar[tuple[str, ...]] = ("mask",)  # no mixup
        shown: ClassVar[Evenly] = Evenly(parts=2)

    register(monkeypatch, None, Config)
    alone = built_in(("made",), BASE, 60)
    rates = {"loop.learning_rate", "loop.weight_decay"}
    assert {s.key for s in alone.settings} == rates | CHOICES.keys() - {"data.mixup"}
    assert dict(alone.fixed) == {"model.name": "made", **FIXED}
    both = built_in(("gru", "made"), BASE, 60)
    assert {s.key for s in both.settings_of("gru")} >= set(CHOICES)
    assert [s.name for s in both.settings if s.key == "data.mixup"] == ["gru:data.mixup"]
    for _, values in drawn(both, 20, optuna.samplers.RandomSampler(seed=0)):
        both.configure(BASE, values)


def test_no_model_no_space():
    with pytest.raises(UsageError, match="at least one model") as refused:
        built_in((), BASE, 60)
    assert refused.value.remedy == "--model est"


def test_a_space_is_read_without_torch_and_optuna():
    script = "import sys, est.sweep.space.built_in; print(sorted({'torch', 'optuna', 'numpy'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
