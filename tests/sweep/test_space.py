"""A search space under Optuna: points are drawn, counted, configured and recognised; the built-in spaces can be trained."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import combinations, product

import optuna
import pytest
from space_samples import drawn

from est.errors import UsageError
from est.sweep.space.corners import corners, expect_possible
from est.sweep.space.setting import Setting, key_of, name_of
from est.sweep.space.space import Space
from est.train.config.config import LoopConfig, TrainConfig
from est.train.config.configfile import from_flat, known_keys, to_flat
from est.train.models.registry import model_config

BASE = TrainConfig()
GRID = Space(
    settings=(
        Setting(key="model.name", choices=("est", "gru")),
        Setting(key="loop.optimizer", choices=("adam", "adamw")),
        Setting(key="loop.weight_decay", low=0.0, high=0.3, step=0.1, when={"loop.optimizer": ("adamw",)}),
        Setting(key="data.noise", choices=(0.0, 0.1), when={"loop.weight_decay": (0.1, 0.3)}),
        Setting(key="model.layers", choices=(1, 2)),
        Setting(key="model.layers", model="gru", low=1, high=7, step=3),
        Setting(key="model.ssop", choices=(True, False)),
        Setting(key="model.order_weight", model="est", choices=(None, 0.5), when={"model.ssop": (True,)}),
        Setting(key="loop.batch", low=8, high=9, when={"model.name": ("gru",), "loop.optimizer": ("adam",)}),
    ),
    fixed={"data.scaling": True, "gru:model.hidden": 32},
)
# est: 2 layers × (2 order weights with SSOP, 1 without) = 6; gru: 3 layers. adamw: 2 + 2 × 2 decays and noises = 6; adam: 1, gru 2 batches
POINTS = 6 * (6 + 1) + 3 * (6 + 2)
WIDE = Space(
    settings=(
        Setting(key="model.name", choices=("est", "gru")),
        Setting(key="model.dropout", low=0.05, high=0.5),
        Setting(key="model.layers", model="est", low=1, high=3),
        Setting(key="model.layers", model="gru", low=1, high=16, log=True),
        Setting(key="loop.learning_rate", low=1e-4, high=1e-2, log=True),
        Setting(key="loop.learning_rate", model="gru", choices=(0.1, 1.0)),
        Setting(key="data.mixup", low=0.0, high=1.0, step=0.1),
        Setting(key="model.order_weight", choices=(None, 0.3), when={"data.mixup": (0.3, 0.6, 0.7)}),
    ),
    fixed={"model.ssop": True},
)
SAMPLERS = {
    "tpe": lambda: optuna.samplers.TPESampler(seed=0, n_startup_trials=10),
    "random": lambda: optuna.samplers.RandomSampler(seed=0),
}


@pytest.fixture(scope="module")
def brute():
    """Every point of GRID, as Optuna finds them."""
    with pytest.warns(optuna.exceptions.ExperimentalWarning):
        sampler = optuna.samplers.BruteForceSampler(seed=0)
    return drawn(GRID, None, sampler)


def test_the_size_is_what_optuna_finds(brute):
    assert len({json.dumps(values, sort_keys=True) for _, values in brute}) == len(brute) == GRID.size() == POINTS


def test_conditions_hold_in_every_point(brute):
    for _, values in brute:
        adamw = values["loop.optimizer"] == "adamw"
        assert ("loop.weight_decay" in values) == adamw
        assert ("data.noise" in values) == (values.get("loop.weight_decay") in (0.1, 0.3))
        assert ("model.order_weight" in values) == (values.get("model.ssop") is True)
        assert ("loop.batch" in values) == (values["model.name"] == "gru" and not adamw)
        assert values["data.scaling"] is True


def test_each_model_has_its_own_settings(brute):
    est, gru = ([pair for pair in brute if pair[1]["model.name"] == name] for name in ("est", "gru"))
    assert {values["model.layers"] for _, values in est} == {1, 2}
    assert {values["model.layers"] for _, values in gru} == {1, 4, 7}
    assert {values.get("model.hidden") for _, values in est} == {None}
    assert {values.get("model.hidden") for _, values in gru} == {32}
    assert all({"model.layers", "gru:model.layers"} & set(params) == {"model.layers"} for params, _ in est)
    assert all(
        {"model.layers", "gru:model.layers", "model.ssop"} & set(params) == {"gru:model.layers"} for params, _ in gru
    )


def test_parameters_and_values_belong_together(brute):
    for params, values in brute:
        assert GRID.values_of(params) == values
        assert {key_of(name): value for name, value in params.items()} | GRID.fixed_of(values["model.name"]) == values
    assert key_of("gru:model.layers") == key_of("model.layers") == "model.layers"
    assert (name_of("model.layers", "gru"), name_of("model.layers")) == ("gru:model.layers", "model.layers")


def test_every_point_is_recognised(brute):
    for params, values in brute:
        config = GRID.configure(BASE, values)
        assert to_flat(config).items() >= values.items()
        expected = dict(params)
        if "est:model.order_weight" in params:
            assert params["est:model.order_weight"] in (None, 0.5)
        assert GRID.point_of(config) == expected
        assert not GRID.outside(config)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_drawn_values_are_configured_and_recognised(sampler):
    found = drawn(WIDE, 60, SAMPLERS[sampler]())
    assert {values["model.name"] for _, values in found} == {"est", "gru"}
    weights = 0
    for params, values in found:
        kinds = known_keys(values["model.name"])
        assert set(values) <= set(kinds)
        assert {type(values[key]) for key in values if kinds[key] is int} == {int}
        assert {type(values[key]) for key in values if kinds[key] is float} == {float}
        assert values["data.mixup"] in [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]  # exactly
        assert ("model.order_weight" in values) == (
            values["model.name"] == "est" and values["data.mixup"] in (0.3, 0.6, 0.7)
        )
        weights += "model.order_weight" in values
        assert (values["loop.learning_rate"] in (0.1, 1.0)) == (values["model.name"] == "gru")
        config = WIDE.configure(BASE, values)
        point = WIDE.point_of(config)
        assert point == pytest.approx(params, abs=1e-12)
        assert WIDE.configure(BASE, WIDE.values_of(point)) == config
    assert weights


def test_a_recognised_point_can_be_enqueued():
    point = WIDE.point_of(WIDE.configure(BASE, {"data.mixup": 0.3, "model.order_weight": 0.3}))
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0))
    study.enqueue_trial(point)
    study.optimize(
        lambda trial: float(len(WIDE.suggest(trial))), n_trials=1
    )  # a warning, an error here, where it is outside
    assert study.trials[0].params == point


def test_what_is_outside_is_named():
    config = from_flat({"model.name": "gru", "model.layers": 17, "loop.learning_rate": 0.2, "data.mixup": 0.25})
    assert WIDE.outside(config) == [
        "model.layers = 17, not 1 to 16 (log)",
        "loop.learning_rate = 0.2, not 0.1 or 1.0",
        "data.mixup = 0.25, not 0.0 to 1.0 in steps of 0.1",
    ]
    with pytest.raises(UsageError, match=r"not in the search space: model\.layers = 17, not 1 to 16") as refused:
        WIDE.point_of(config)
    assert refused.value.remedy == "add these values to the space, or change the configuration"
    assert GRID.outside(from_flat({"data.scaling": False})) == [
        "data.scaling = false, not true",
        "model.layers = 3, not 1 or 2",
    ]
    only = Space(settings=(Setting(key="model.layers", choices=(1, 2)),), fixed={"model.name": "gru"})
    assert only.outside(BASE) == ["model.name = est, not gru"]
    assert only.models == ("gru",)
    assert only.suggest(optuna.trial.FixedTrial({"model.layers": 2})) == {"model.name": "gru", "model.layers": 2}


def test_none_is_what_it_stands_for_or_a_choice():
    ranged = Space(settings=(Setting(key="model.order_weight", low=0.01, high=1.0, log=True),))
    assert ranged.point_of(BASE) == {"model.order_weight": 1 / 7}
    listed = Space(settings=(Setting(key="model.order_weight", choices=(1 / 7, None)),))
    assert listed.point_of(BASE) == {"model.order_weight": None}
    base = TrainConfig(model=model_config("est", order_weight=0.5))
    assert to_flat(listed.configure(base, {"model.order_weight": None}))["model.order_weight"] is None


def test_the_model_section_counts_for_its_model_alone():
    base = TrainConfig(model=model_config("gru", layers=3, dropout=0.2), loop=LoopConfig(batch=4))
    same, other = (WIDE.configure(base, {"model.name": name, "model.dropout": 0.1}) for name in ("gru", "est"))
    assert same == replace(base, model=model_config("gru", layers=3, dropout=0.1))
    assert other == replace(base, model=model_config("est", dropout=0.1))
    with pytest.raises(UsageError, match=r"model\.dim is a multiple of model\.heads"):
        WIDE.configure(BASE, {"model.dim": 6})


def test_a_space_is_counted_without_being_walked():
    many = tuple(
        Setting(key=key, low=1, high=1000) for key in ("loop.epochs", "loop.batch", "loop.warmup", "sampling.unified")
    )
    assert Space(settings=many).size() == 1000**4
    log = Space(settings=(Setting(key="loop.epochs", low=4, high=9, log=True),))
    assert (log.finite, log.size()) == (True, 6)


def test_a_grid_of_a_range_without_steps_is_refused():
    assert GRID.finite
    assert not WIDE.finite
    with pytest.raises(UsageError, match=r"range without steps: model\.dropout, loop.learning_rate") as refused:
        WIDE.size()
    assert "step = …" in refused.value.remedy
    assert "model.dropout = [0.05, 0.5]" in refused.value.remedy


@pytest.mark.parametrize("space", [GRID, WIDE])
def test_a_space_survives_json(space):
    again = Space.from_json(json.loads(json.dumps(space.to_json())))
    assert again == space
    assert again.digest() == space.digest()
    assert space.differences(again) == {}


def test_the_digest_is_of_the_content():
    settings = (
        Setting(key="loop.epochs", choices=(3, 4)),
        Setting(key="loop.learning_rate", low=0.1, high=1.0, log=True),
    )
    space = Space(settings=settings, fixed={"loop.batch": 8, "data.noise": 0.1})
    assert space.digest() == "92811be40ea589b11a8983d52627f28d"  # a study of an earlier version has it
    assert (
        replace(space, settings=settings[::-1], fixed={"data.noise": 0.1, "loop.batch": 8}).digest() == space.digest()
    )


def test_differences_are_in_words():
    then = Space(
        settings=(
            Setting(key="loop.epochs", choices=(3, 4)),
            Setting(key="loop.learning_rate", low=0.1, high=1.0, log=True),
            Setting(key="data.mixup", low=0.0, high=1.0),
        )
    )
    now = Space(
        settings=(
            Setting(key="loop.learning_rate", low=0.1, high=1.0),
            Setting(key="loop.warmup", choices=(1, 2)),
            Setting(key="data.mixup", low=0.0, high=1.0, when={"loop.warmup": (1, 2)}),
        ),
        fixed={"loop.epochs": 3},
    )
    assert then.differences(now) == {
        "loop.epochs": ("3 or 4", "fixed at 3"),
        "loop.learning_rate": ("0.1 to 1.0 (log)", "0.1 to 1.0"),
        "data.mixup": ("0.0 to 1.0", "0.0 to 1.0 when loop.warmup is 1 or 2"),
        "loop.warmup": ("not in the space", "1 or 2"),
    }
    assert then.digest() != now.digest()


@pytest.mark.parametrize("change", ["choices", "order", "low", "log", "step", "when", "fixed", "model", "key"])
def test_another_space_has_another_digest(change):
    choices = Setting(key="loop.batch", choices=(1, 2))
    whole = Setting(key="loop.epochs", low=1, high=9)
    other = {
        "choices": (replace(choices, choices=(1, 3)), whole),
        "order": (replace(choices, choices=(2, 1)), whole),
        "low": (choices, replace(whole, low=3)),
        "log": (choices, replace(whole, log=True)),
        "step": (choices, replace(whole, step=2)),
        "when": (choices, replace(whole, when={"loop.batch": (1,)})),
        "model": (choices, replace(whole, model="est")),
        "key": (choices, replace(whole, key="loop.warmup")),
    }
    space = Space(settings=(choices, whole))
    changed = Space(
        settings=other.get(change, (choices, whole)), fixed={"data.noise": 1.0} if change == "fixed" else {}
    )
    assert changed.digest() != space.digest()
    assert space.differences(changed)


def test_spaces_made_in_python_are_checked_too():
    two = Setting(key="loop.batch", choices=(1, 2))
    for settings, fixed, message in [
        ((two, two), {}, "loop.batch is in the search space twice"),
        ((two,), {"loop.batch": 1}, "loop.batch is in the search space twice"),
        ((two, Setting(key="model.name", choices=("est", "gru"))), {}, "model.name comes first"),
        ((two,), {"model.name": "grw"}, "There is no model 'grw'"),
        ((two, Setting(key="model.hidden", choices=(1, 2))), {}, "model.hidden is not used"),
    ]:
        with pytest.raises(UsageError, match=message):
            Space(settings=settings, fixed=fixed)
    for wrong, message in [
        ({"choices": (1, (2, 3))}, "A choice of loop.batch is a single value"),
        ({"choices": (1.0, float("nan"))}, "A choice of loop.batch is finite"),
        ({"low": 0.0, "high": float("inf")}, "The range of loop.batch is finite"),
    ]:
        with pytest.raises(UsageError, match=message):
            Setting(key="loop.batch", **wrong)


@pytest.mark.parametrize("space", [GRID, WIDE])
def test_every_two_ends_meet_in_a_corner(space, brute):
    for model in space.models:
        points = list(corners(space, model))
        settings = [setting for setting in space.settings_of(model) if setting.key != "model.name"]
        possible = [values for _, values in brute if values["model.name"] == model] if space is GRID else None
        for one, other in combinations(settings, 2):
            for a, b in product(one.ends(), other.ends()):
                met = [p for p in points if one.key in p and other.key in p and (p[one.key], p[other.key]) == (a, b)]
                if possible is not None:
                    reachable = any(p.get(one.key, ...) == a and p.get(other.key, ...) == b for p in possible)
                    assert bool(met) == reachable, (one.key, a, other.key, b)
                elif not one.when and not other.when:
                    assert met, (one.key, a, other.key, b)
        assert len(points) <= 40


def test_a_refusal_names_the_fewest_settings():
    space = Space(
        settings=(
            Setting(key="model.layers", choices=(1, 2)),
            Setting(key="loop.batch", choices=(1, 8)),
            Setting(key="loop.epochs", choices=(1, 8)),
            Setting(key="data.mixup", choices=(0.0, 0.5)),
        ),
        fixed={"model.ssop": False},
    )
    with pytest.raises(
        UsageError, match=r"^loop.batch = 1 and data.mixup = 0.5 cannot be trained: data.mixup mixes clips"
    ):
        expect_possible(space, BASE)
