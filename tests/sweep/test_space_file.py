"""A space file: what it means, and every mistake in it, refused before anything is trained with the words that mend it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

import pytest
from made_model import register

from est.errors import UsageError
from est.sweep.space.setting import Setting
from est.sweep.space.space import Space
from est.sweep.space.tables import read_space
from est.sweep.space.unvaried import UNVARIED
from est.train.config.config import TrainConfig
from est.train.config.configfile import from_flat, known_keys, read_toml, to_toml
from est.train.models.contract import ModelConfig
from est.train.models.registry import model_config


@pytest.fixture
def read(tmp_path):
    """Read a space from text."""

    def from_text(text, model="est", **options):
        path = tmp_path / "space.toml"
        path.write_text(text, encoding="utf-8")
        return read_space(path, model=model, **options)

    return from_text


EVERYTHING = """
[model]
name = ["est", "gru"]
dropout = {low = 0.05, high = 0.5}
layers = [1, 2]

[model.est]
ssop = [true, false]
order_weight = {choices = ["none", 0.1], when = {model.ssop = true}}

[model.gru]
layers = {low = 1, high = 3}
loop.learning_rate = {low = 1e-4, high = 1e-2, log = true}

[loop]
optimizer = ["adam", "adamw"]
learning_rate = [1e-4, 1]
batch = 16

[loop.weight_decay]
low = 1e-5
high = 0.1
log = true
when = {"loop.optimizer" = "adamw"}
"""


def test_a_file_is_what_it_says(read):
    space = read(EVERYTHING)
    assert space == Space(
        settings=(
            Setting(key="model.name", choices=("est", "gru")),
            Setting(key="model.dropout", low=0.05, high=0.5),
            Setting(key="model.layers", choices=(1, 2)),
            Setting(key="model.ssop", model="est", choices=(True, False)),
            Setting(key="model.order_weight", model="est", choices=(None, 0.1), when={"model.ssop": (True,)}),
            Setting(key="model.layers", model="gru", low=1, high=3),
            Setting(key="loop.learning_rate", model="gru", low=1e-4, high=1e-2, log=True),
            Setting(key="loop.optimizer", choices=("adam", "adamw")),
            Setting(key="loop.learning_rate", choices=(1e-4, 1.0)),
            Setting(key="loop.weight_decay", low=1e-5, high=0.1, log=True, when={"loop.optimizer": ("adamw",)}),
        ),
        fixed={"loop.batch": 16},
    )
    assert [s.name for s in space.settings_of("gru")] == [
        *(
            "model.name",
            "model.dropout",
            "gru:model.layers",
            "gru:loop.learning_rate",
            "loop.optimizer",
            "loop.weight_decay",
        )
    ]
    assert type(space.settings[8].choices[1]) is float


def test_numbers_have_the_type_of_their_key(read):
    space = read("[loop]\nepochs = {low = 10, high = 30, step = 10}\nlearning_rate = {low = 0, high = 1, step = 0.5}")
    epochs, rate = space.settings
    assert (epochs.grid(), rate.grid()) == ((10, 20, 30), (0.0, 0.5, 1.0))
    assert {type(value) for value in epochs.grid()} == {int}
    assert {type(value) for value in rate.grid()} == {float}


@pytest.mark.parametrize(
    ("text", "model", "models"),
    [
        ("[model]\nname = 'gru'", "est", ("gru",)),
        ("[model]\nname = ['gru']", "est", ("gru",)),
        ("[model]\nname = {choices = ['gru', 'est']}", "est", ("gru", "est")),
        ("", "gru", ("gru",)),
    ],
)
def test_the_model_is_the_file_s_or_the_one_asked_for(read, text, model, models):
    assert read(f"loop.batch = [8, 16]\n{text}", model).models == models


def test_a_space_of_one_model_names_its_parameters_plainly(read):
    own = read("[model]\nlayers = [1, 2]\n[model.gru]\nlayers = [2, 3]\nhidden = 64", "gru")
    assert own == read("[model]\nlayers = [2, 3]\nhidden = 64", "gru")
    assert own.settings[0].name == "model.layers"


def test_values_are_tried_over_the_base(read):
    text = "[model]\ndim = [6, 512]"
    assert read(text, base=TrainConfig(model=model_config("est", heads=2))).size() == 2
    with pytest.raises(
        UsageError,
        match=re.escape("model.dim = 6 cannot be trained: model.dim is a multiple of model.heads, found 6 and 4."),
    ):
        read(text)


RATE = "[loop]\nlearning_rate = "
GOOD = "loop.batch = [8, 16]\n"
WRONG = {
    # keys
    "unknown": ("[loop]\nlearning_rte = [1e-4]", "There is no setting 'loop.learning_rte'", "did you mean loop.learning_rate?"),
    "unknown-table": ("[loop.learning_rte]\nlow = 1\nhigh = 2", "There is no setting 'loop.learning_rte'", "loop.learning_rate"),
    "unknown-section": ("[lop]\nbatch = [8]", "There is no setting 'lop.batch'", "did you mean loop.batch?"),
    "other-model": ("[model]\nhidden = [8]", "model.hidden is a setting of the models gru, lstm, slstt, and", "--model gru"),
    "own-section": (GOOD + "[model.est]\nhidden = 64", "setting of the models gru, lstm, slstt, and", "--model gru"),
    "not-searched": (GOOD + "[model.gru]\nhidden = [64]", "[model.gru] is of a model that is not searched", '["est", "gru"]'),
    "no-model": (GOOD + "[model.grw]\nhidden = [64]", "There is no model 'grw'; the models are est, ", "[model.gru]"),
    "no-name": ("[model]\nname = ['gru', 'est1']", "There is no model 'est1'", 'model.name = "est"'),
    "number-name": ("[model]\nname = 3", "There is no model 3", "model.name = "),
    "two-names": ("[model]\nname = ['gru', 'gru']", "model.name has each choice once", "leave one out"),
    "inner-name": (GOOD + "[model.est]\nname = 'est'", "name stands in [model]", "leave name out"),
    "name-range": ("[model]\nname = {low = 1, high = 2}", "model.name is a name or a list of names", "model.name = "),
    "scalar-model": (GOOD + "model = 'gru'", "A model is named by model.name", "--model gru"),
    "twice": ('"loop.batch" = 8\n' + GOOD, "loop.batch is in the search space twice", "leave one out"),
    # tables
    "empty-table": (RATE + "{}", "loop.learning_rate has neither choices nor a range", "learning_rate = [first, second]"),
    "no-choices": (RATE + "[]", "loop.learning_rate has neither choices nor a range", "learning_rate = [first, second]"),
    "misspelt-word": (RATE + "{lo = 1, high = 2}", "found 'lo'", "did you mean low?"),
    "foreign-word": (RATE + "{low = 1, high = 2, xyz = 3}", "found 'xyz'", "leave xyz out"),
    "both": (RATE + "{low = 1, high = 2, choices = [1]}", "has choices and a range", "leave out low and high, or choices"),
    "choices-scalar": (RATE + "{choices = 1}", "choices of loop.learning_rate is a list, found 1", "choices = [1]"),
    "choices-step": (RATE + "{choices = [1, 2], step = 1}", "log and step belong to a range", "leave them out"),
    "no-high": (RATE + "{low = 1}", "a range without high", "high = a number"),
    "no-low": (RATE + "{high = 1, log = true}", "a range without low", "low = a number"),
    "log-only": (RATE + "{log = true}", "neither choices nor a range", "= [first, second]"),
    "log-number": (RATE + "{low = 1, high = 2, log = 1}", "log of loop.learning_rate is true or false, found 1", "log = true"),
    # ranges
    "reversed": (RATE + "{low = 0.1, high = 0.01}", "low below high, found 0.1 to 0.01", "low = 0.01, high = 0.1"),
    "empty": (RATE + "{low = 0.1, high = 0.1}", "low below high, found 0.1 to 0.1", "learning_rate = 0.1 fixes it"),
    "log-zero": (RATE + "{low = 0, high = 1, log = true}", "log range begins above 0", "low = 0.001, or log = false"),
    "log-int": ("loop.epochs = {low = 0, high = 9, log = true}", "log range begins above 0", "low = 1, or log = false"),
    "step-zero": (RATE + "{low = 0, high = 1, step = 0}", "is above 0, found 0", "step = 0.1"),
    "step-below": ("loop.epochs = {low = 1, high = 9, step = -2}", "is above 0, found -2", "step = 1"),
    "step-beside": ("loop.epochs = {low = 1, high = 8, step = 3}", "found 1 left over", "high = 7"),
    "step-long": (RATE + "{low = 0, high = 1, step = 2}", "left over", "step = 0.1"),
    "step-log": (RATE + "{low = 0.1, high = 1, step = 0.1, log = true}", "A log range has no step", "leave out log or step"),
    "word-range": ("loop.optimizer = {low = 1, high = 2}", "loop.optimizer is not a number, so it has no range", "[first, second]"),
    "switch-range": ("data.scaling = {low = 0, high = 1}", "data.scaling is not a number", "scaling = [first, second]"),
    # values
    "twice-choice": (RATE + "[0.1, 1, 0.1]", "each choice once, found 0.1 twice", "leave one out"),
    "same-number": (RATE + "[1, 1.0]", "each choice once, found 1.0 twice", "leave one out"),
    "word": (RATE + "[0.1, 'fast']", "loop.learning_rate is a number, found 'fast'", "write a number there"),
    "fraction": ("loop.epochs = [2.5]", "loop.epochs is a whole number, found 2.5", "write a whole number there"),
    "bound-type": ("loop.epochs = {low = 1.5, high = 3}", "whole number, found 1.5 as low", "write a whole number there"),
    "switch": ("data.scaling = [0, 1]", "data.scaling is true or false, found 0", "write true or false there"),
    "inner-list": (RATE + "[[0.1], [0.2]]", "loop.learning_rate is a number, found [0.1]", "write a number there"),
    "nan": (RATE + "[0.1, nan]", "is a number, found nan", "write a number there"),
    "infinite": (RATE + "{low = 0.1, high = inf}", "is a number, found inf as high", "write a number there"),
    "fixed-type": (GOOD + "loop.epochs = 'many'", "loop.epochs is a whole number, found 'many'", "write a whole number"),
    # what the configuration refuses
    "choices": ("loop.batch = [0, -1]", "loop.batch = 0 cannot be trained", "change loop.batch"),
    "fixed-pair": ("model.heads = 3\nmodel.dim = [96, 256]", "model.dim = 256 cannot be trained: model.dim is a mult", "model.dim"),
    "choice": (
        "loop.optimizer = ['adam', 'lamb']",
        "loop.optimizer = lamb cannot be trained: loop.optimizer is adam, adamw or sgd",
        "change loop.optimizer",
    ),
    "low": (
        "loop.batch = {low = 0, high = 8}",
        "loop.batch = 0 cannot be trained: loop.batch goes from 1 to 65536, found 0",
        "change loop.batch",
    ),
    "high": ("model.dropout = {low = 0, high = 1}", "model.dropout = 1.0 cannot be trained", "change model.dropout"),
    "fixed": (GOOD + "data.mixup = 11", "data.mixup = 11.0 cannot be trained", "change data.mixup"),
    "pair": (
        "[model]\ndim = [96, 256]\nheads = [4, 3]",
        "model.dim = 256 and model.heads = 3 cannot be trained: model.dim is a multiple of model.heads, found 256 and 3",
        "change model.dim or model.heads in the search space, or give one a condition on the other",
    ),
    "switches": (
        "[data]\nbalanced = [false, true]\nclass_weights = [false, true]",
        "data.balanced = true and data.class_weights = true cannot be trained",
        "a condition on the other",
    ),
    # conditions
    "when-word": (
        RATE + "{low = 1, high = 2, when = 'adam'}",
        "when of loop.learning_rate is a table",
        'when = {loop.optimizer = "adamw"}',
    ),
    "when-unknown": (RATE + "{low = 1, high = 2, when = {loop.optimiser = 'adam'}}", "no setting 'loop.optimiser'", "loop.optimizer?"),
    "when-absent": (
        RATE + "{low = 1, high = 2, when = {loop.optimizer = 'adam'}}",
        "has a condition on loop.optimizer, which is not in the search space",
        "add loop.optimizer = [first, second], or leave the condition out",
    ),
    "when-later": (
        RATE + "{low = 1, high = 2, when = {loop.optimizer = 'adam'}}\noptimizer = ['adam', 'adamw']",
        "has a condition on loop.optimizer, which is not drawn before it",
        "put loop.optimizer above loop.learning_rate",
    ),
    "when-itself": (RATE + "{low = 1, high = 2, when = {loop.learning_rate = 1}}", "not drawn before it", "leave the condition out"),
    "when-never": (
        "[loop]\noptimizer = ['adam']\nlearning_rate = {low = 1, high = 2, when = {loop.optimizer = ['adam', 'adamw']}}",
        "The condition of loop.learning_rate cannot hold: loop.optimizer is never adamw",
        "loop.optimizer is adam",
    ),
    "when-fixed": (
        GOOD + "loop.optimizer = 'adam'\nloop.epochs = {choices = [1, 2], when = {loop.optimizer = 'adamw'}}",
        "loop.optimizer is never adamw",
        "loop.optimizer is adam",
    ),
    "when-outside": (GOOD + "loop.epochs = {low = 1, high = 9, when = {loop.batch = 9}}", "loop.batch is never 9", "loop.batch is 8 or 16"),
    "when-between": (
        "loop.epochs = {low = 1, high = 9, step = 2}\nloop.batch = {low = 1, high = 9, when = {loop.epochs = 4}}",
        "loop.epochs is never 4",
        "loop.epochs is 1 to 9 in steps of 2",
    ),
    "when-anywhere": (
        RATE + "{low = 0, high = 1}\nbatch = {low = 8, high = 9, when = {loop.learning_rate = 0.5}}",
        "loop.learning_rate is never 0.5",
        "step = … or choices for loop.learning_rate, which is drawn anywhere from 0.0 to 1.0",
    ),
    "when-empty": (GOOD + "loop.epochs = {low = 1, high = 9, when = {loop.batch = []}}", "has no values in it", "loop.batch is 8 or 16"),
    "when-type": (
        GOOD + "loop.epochs = {low = 1, high = 9, when = {loop.batch = 'x'}}",
        "loop.batch is a whole number, found 'x' as the condition",
        "write a whole number there",
    ),
    "when-model": (
        GOOD + "model.name = ['est', 'gru']\nmodel.gru.hidden = {choices = [8, 9], when = {model.name = 'est'}}",
        "The condition of gru:model.hidden cannot hold: model.name is never est",
        "model.name is gru",
    ),
    # the whole
    "nothing": ("", "The search space varies nothing", "loop.learning_rate = {low = 1e-4, high = 1e-3, log = true}"),
    "one": ("loop.batch = [8]\nloop.epochs = 3", "The search space varies nothing", "a list of choices or a range"),
    "no-toml": ("loop.batch = [8", "is not TOML", "correct "),
    "replaced": (
        "[model]\nname = ['est', 'gru']\nlayers = [1, 2]\n[model.est]\nlayers = [1]\n[model.gru]\nlayers = [2]",
        "model.layers is not used: no model of the space has it, or each has one of its own",
        "leave it out",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_mistakes_are_refused(read, tmp_path, case):
    text, message, remedy = WRONG[case]
    with pytest.raises(UsageError) as refused:
        read(text)
    assert message in refused.value.message
    assert remedy in refused.value.remedy
    assert str(tmp_path / "space.toml") in refused.value.message


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(UsageError, match=r"space\.toml cannot be read") as refused:
        read_space(tmp_path / "space.toml", model="est")
    assert refused.value.remedy == "--space names a TOML file"
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="is not TOML"):
        read_space(tmp_path / "bytes.toml", model="est")


KEYS = [
    key for key in known_keys() if any(key == name or (name[-1] == "." and key.startswith(name)) for name in UNVARIED)
]


@pytest.mark.parametrize("key", [*KEYS, "preset"])
def test_what_decides_the_score_is_not_searched(read, key):
    for form in ("[1, 2]", "1", "{low = 1, high = 2}"):
        with pytest.raises(UsageError, match=f"{key} cannot be in a search space: ") as refused:
            read(f"{GOOD}{key} = {form}")
        assert re.match(r"leave it out; --[a-z].* sets it$", refused.value.remedy)


def test_every_row_of_the_table_is_a_key():
    unknown = [name for name in UNVARIED if not any(key == name or key.startswith(name) for key in known_keys())]
    assert unknown == ["preset"]
    assert {"protocol.kind", "finetune.learns", "seeds", "select", "loop.graph"} <= set(KEYS)
    assert not {"loop.epochs", "data.mixup", "model.layers", "sampling.window"} & set(KEYS)


def test_a_key_that_takes_a_list_is_not_searched(read, monkeypatch):
    @dataclass(frozen=True, kw_only=True)
    class Config(ModelConfig):
        name: ClassVar[str] = "made"
        widths: tuple[int, ...] = (3, 4)

    register(monkeypatch, None, Config)
    for value in ("[3, 4]", "[[3, 4], [5]]", "3"):
        with pytest.raises(
            UsageError, match=r"model\.widths takes a list, and a sweep varies single values"
        ) as refused:
            read(f"{GOOD}[model]\nname = 'made'\nwidths = {value}")
        assert "--set model.widths=" in refused.value.remedy


def test_a_fixed_value_is_written_as_in_a_run_s_config(read, tmp_path):
    """The sections [loop], [data] and [model] of a run's config.toml are a space that fixes them, where they may be in one."""
    config = from_flat({"model.name": "gru", "loop.epochs": 7, "data.scaling": True})
    (tmp_path / "config.toml").write_text(to_toml(config))
    flat = read_toml(tmp_path / "config.toml")
    kept = {
        key: value for key, value in flat.items() if key not in KEYS and key not in ("model.hidden", "model.layers")
    }
    lines = [f"{key} = {value!r}".replace("True", "true").replace("False", "false") for key, value in kept.items()]
    space = read("\n".join([*lines, "model.hidden = [64, 256]"]))
    assert space.fixed == kept
    assert space.point_of(config) == {"model.hidden": 256}
