"""Configurations: every key survives its file, wrong ones are named, presets and precedence."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from est.errors import UsageError
from est.train import (
    PRESETS,
    DataConfig,
    EstConfig,
    FinetuneConfig,
    LoopConfig,
    ProtocolConfig,
    SamplingConfig,
    TrainConfig,
)
from est.train.config.configfile import differences, from_flat, known_keys, resolve, to_flat, to_toml, train_config
from est.train.config.loss import LossConfig
from est.train.models.registry import MODELS

ROOT = Path(__file__).parents[3]

# One value of each setting that is not its default.
OTHERS = {
    "model.snippets": 5,
    "model.frames": 3,
    "model.layers": 1,
    "model.heads": 2,
    "model.ffn": 64,
    "model.dim": 256,
    "model.dropout": 0.25,
    "model.head_dropout": 0.0,
    "model.order_hidden": 64,
    "model.orders": 4,
    "model.position": "slot",
    "model.aggregation": "mean",
    "model.ssop": False,
    "model.order_weight": 1e-5,
    "model.detach_snippets": False,
    "model.order_input": "query",
    "model.include_natural": True,
    "sampling.unify": "native",
    "sampling.unified": 120,
    "sampling.window": 60,
    "sampling.start_range": 7,
    "sampling.test_start": 3,
    "sampling.snippet_window": 9,
    "sampling.no_face": "keep",
    "protocol.kind": "loso",
    "protocol.folds": 3,
    "protocol.by": "clip",
    "protocol.test_share": 0.5,
    "protocol.only": ("fold1", 'a "quoted", odd\\ né\x7f\n'),
    "protocol.val_share": 0.3,
    "protocol.val_part": "2/3",
    "loop.epochs": 3,
    "loop.warmup": 0,
    "loop.batch": 2,
    "loop.learning_rate": 3e-7,
    "loop.weight_decay": 0.0,
    "loop.optimizer": "adamw",
    "loop.momentum": 0.5,
    "loop.schedule": "constant",
    "loop.step_epochs": 7,
    "loop.step_factor": 0.2,
    "loop.clip_norm": 1.5,
    "loop.precision": "bf16",
    "loop.graph": True,
    "loop.threads": 2,
    "loop.stack": "off",
    "data.feature": "layer3",
    "data.residency": "stream",
    "data.scaling": True,
    "data.views": True,
    "data.mirrored": True,
    "data.balanced": True,
    "data.class_weights": True,
    "data.label_smoothing": 0.1,
    "data.noise": 0.5,
    "data.mixup": 0.2,
    "data.votes": str(Path("votes.csv").absolute()),
    "loss.focal": 2.0,
    "loss.effective_number": 0.999,
    "loss.adjustment": 1.0,
    "loss.contrastive": 0.5,
    "loss.temperature": 0.07,
    "loss.compact": 0.1,
    "loss.centre": 0.01,
    "loss.centre_rate": 5.0,
    "seeds": (1, 2, 3),
    "select": "val",
    "eval_every": 0,
    "keep_epochs": True,
    "control": False,
    "tensorboard": True,
    "device": "cuda:1",
    "allow_leak": True,
    "loop.average": 0.99,
    "loop.accumulate": 4,
    "finetune.learns": "layer4",
    "finetune.source": "crops",
    "finetune.weights": "random",
    "finetune.normalize": "imagenet",
    "finetune.init": "runs/before",
    "finetune.rate": 0.5,
    "finetune.batch_norm": "frozen",
    "finetune.head_first": 3,
    "finetune.shift": 0.1,
    "finetune.zoom": 0.1,
    "finetune.brightness": 0.1,
    "finetune.checkpointing": True,
    "finetune.workers": 3,
}


def test_the_list_above_is_complete():
    assert set(OTHERS) == set(known_keys()) - {"model.name"}  # every other model has other keys


@pytest.mark.parametrize("key", OTHERS)
def test_every_setting_survives_its_file(key, tmp_path):
    tuned = {"finetune.learns": "all"} if key.startswith("finetune.") else {}  # else they say nothing, and are refused
    config = from_flat({**tuned, key: OTHERS[key]})
    assert to_flat(config)[key] == OTHERS[key]
    assert list(differences(from_flat(tuned), config)) == [key]
    file = tmp_path / "config.toml"
    file.write_text(to_toml(config), encoding="utf-8")
    again = resolve(file=file)
    assert again == config
    assert to_flat(again) == to_flat(config)
    assert type(to_flat(again)[key]) is type(OTHERS[key])


@given(
    st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=3),
    st.floats(0, 10, exclude_min=True),
    st.floats(0, 0.89),
)
def test_any_text_and_any_number_survive(tmp_path_factory, names, rate, share):
    config = from_flat({"protocol.only": names, "loop.learning_rate": rate, "data.label_smoothing": share})
    file = tmp_path_factory.mktemp("toml") / "config.toml"
    file.write_bytes(to_toml(config).encode())
    assert resolve(file=file) == config


@pytest.mark.parametrize(
    "section",
    [EstConfig, SamplingConfig, ProtocolConfig, LoopConfig, DataConfig, LossConfig, FinetuneConfig, TrainConfig],
)
def test_no_setting_is_ignored(section):
    """Somewhere behind its own class each setting is looked at."""
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "train").rglob("*.py")]
    for item in fields(section):
        read = re.compile(rf"\b(config|loop|data|self|model|inner|settings|finetune)(\.\w+)*\.{item.name}\b")
        checked = re.compile(rf"(expect|if|raise)\w*\W.*self\.{item.name}\b")
        uses = [
            line for text in sources for line in text.splitlines() if read.search(line) and not checked.search(line)
        ]
        assert uses, f"{section.__name__}.{item.name} changes nothing"


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("loop.epochs=many", ["loop.epochs", "whole number", "'many'"]),
        ("loop.epochs=2.5", ["loop.epochs", "whole number", "2.5"]),
        ("loop.epochs=true", ["loop.epochs", "whole number", "True"]),
        ("loop.epochs=0", ["loop.epochs", "1 to", "found 0"]),
        ("loop.learning_rate=fast", ["loop.learning_rate", "number", "'fast'"]),
        ("loop.learning_rate=inf", ["loop.learning_rate", "number", "inf"]),
        ("loop.learning_rate=nan", ["loop.learning_rate", "number", "nan"]),
        ("model.ssop=1", ["model.ssop", "true or false", "1"]),
        ("model.ssop=True", ["model.ssop", "true or false", "'True'"]),
        ("seeds=1,2", ["seeds", "whole number", "'1,2'"]),
        ("seeds=[1, 1]", ["each seed once", "[1, 1]"]),
        ("seeds=[-1]", ["seed", "found -1"]),
        ("seeds=[]", ["each seed once"]),
        ("seeds=[5000000000]", ["A seed goes from 0 to 2147483647", "--seeds 1,2,3"]),
        (f"model.ffn=1{'0' * 400}", ["model.ffn is at most 2.14748e+09", "100000000…"]),
        (f"loop.learning_rate=1{'0' * 400}", ["loop.learning_rate is a number"]),
        ("protocol.folds=2.5", ["protocol.folds", "whole number"]),
        ("model.position=somewhere", ["model.position", "slot or snippet", "'somewhere'"]),
        ("data.residency=moon", ["data.residency", "stream", "'moon'"]),
        ("select=best", ["select", "last or val", "'best'"]),
        ("loop.optimizer=lamb", ["loop.optimizer", "adam, adamw or sgd", "'lamb'"]),
        ("protocol.val_share=2", ["lies between 0 and 1, found 2.", "--set protocol.val_share=0.15"]),
        ("protocol.test_share=0", ["lies between 0 and 1, found 0.", "--set protocol.test_share=0.2"]),
        ("protocol.kind=random", ["protocol.kind", "'random'"]),
        ("loop.batch=1", ["at least two clips", "--batch 1", "--no-ssop"]),
        ("loop.epochs", ["KEY=VALUE", "'loop.epochs'"]),
        ("loop.epoch=3", ["'loop.epoch'", "did you mean loop.epochs?"]),
        ("epochs=3", ["'epochs'", "did you mean loop.epochs?"]),
        ("learning_rate=1", ["'learning_rate'", "did you mean loop.learning_rate?"]),
        ("model.layer=3", ["'model.layer'", "did you mean model.layers?"]),
        ("models.layers=3", ["did you mean model.layers?"]),
        ("loop.step_size=2", ["did you mean loop.step_"]),
        ("loop.batch_size=2", ["did you mean loop.batch?"]),
        ("loss.effective_number=1.5", ["found 1.5", "--set loss.effective_number=0.99"]),
        ("model.hidden=8", ["of the models gru, lstm,", "--model gru; similar ones of est are model.order_hidden"]),
        ("xyzzy=3", ["'xyzzy'", "the settings are", "loop.epochs"]),
    ],
)
def test_a_wrong_setting_says_what_is_wrong(setting, words):
    with pytest.raises(UsageError) as caught:
        resolve(settings=[setting])
    text = f"{caught.value.message} {caught.value.remedy or ''}"
    for word in words:
        assert word in text


def test_a_setting_of_other_models_names_all_of_them_and_what_is_near_it():
    with pytest.raises(UsageError) as caught:
        resolve(settings=["model.frames=8"], options={"model.name": "stt"})
    for name in MODELS:
        assert (f" {name}," in caught.value.message) == ("model.frames" in known_keys(name)), name
    assert caught.value.remedy.endswith("similar ones of stt are model.num_segments, model.segment_frames")


def test_a_feature_beside_a_model_that_reads_another_is_refused_however_it_is_set(tmp_path):
    said = r"The model stt reads layer3: {} has no effect\."
    with pytest.raises(UsageError, match=said.format("--set data.feature=gap")) as refused:
        resolve(settings=["model.name=stt", "data.feature=gap"])
    assert refused.value.remedy == "leave --set data.feature out"
    with pytest.raises(UsageError, match=said.format("--feature gap")) as refused:
        train_config(settings={"model.name": "stt", "data.feature": "gap"})
    assert refused.value.remedy == "leave --feature out"
    assert resolve(settings=["model.name=stt", "data.feature=layer3"]).feature == "layer3"
    saved = tmp_path / "config.toml"
    saved.write_text(to_toml(resolve(settings=["model.name=stt"])))
    assert resolve(file=saved).feature == "layer3", "the file says gap, as every file does"


@pytest.mark.parametrize(
    ("setting", "beside"),
    [
        ("loop.momentum=0.5", "loop.optimizer=sgd"),
        ("loop.step_epochs=7", "loop.schedule=step"),
        ("loss.temperature=0.2", "loss.contrastive=0.1"),
        ("loss.centre_rate=2", "loss.centre=0.01"),
        ("loss.centre_rate=2.0", "loss.compact=0.01"),
    ],
)
def test_a_setting_that_nothing_reads_is_refused_by_name(setting, beside):
    alone = resolve("fast", settings=[setting])  # opens: runs and trials may hold it
    key = setting.partition("=")[0]
    with pytest.raises(UsageError, match=f"^{key} is a setting of lo.*no effect") as caught:
        alone.expect_effective()
    assert f"leave {key} out, or --set " in caught.value.remedy
    resolve("fast", settings=[setting, beside]).expect_effective()


def test_set_takes_toml_and_plain_words():
    config = resolve(
        settings=["model.order_weight=none", "device=cpu", 'protocol.only=["a","b"]', "seeds=7", "loop.learning_rate=1"]
    )
    assert config.model.order_weight is None
    assert config.protocol.only == ("a", "b")
    assert config.seeds == (7,)
    assert (config.loop.learning_rate, type(config.loop.learning_rate)) == (1.0, float)
    assert resolve(settings=["protocol.only=fold 3"]).protocol.only == ("fold 3",)
    assert resolve(settings=["model.order_weight=0.5"]).model.weight_of_order == 0.5


def test_a_preset_is_what_it_says():
    assert resolve("official") == TrainConfig() == resolve() == resolve("paper")
    assert resolve().model.position == "snippet"
    assert differences(resolve("paper-text"), TrainConfig()) == {"model.position": ("slot", "snippet")}
    assert set(PRESETS["fast"]) == set(differences(resolve("fast"), TrainConfig()))
    with pytest.raises(UsageError, match="official, paper-text, fast, small, modern, published; found 'quick'"):
        resolve("quick")
    with pytest.raises(UsageError, match="is of slstt; the authors of est train it by the preset official") as caught:
        resolve("published")
    assert caught.value.remedy == "--preset official"
    with pytest.raises(UsageError, match="there is no preset of the training of gru by its authors") as caught:
        resolve("published", None, (), {"model.name": "gru"})
    assert caught.value.remedy == "--preset, one of official, paper-text, fast, small, modern"


def test_small_is_what_the_documentation_says():
    found = resolve("small")
    assert found.model == EstConfig(dim=128, ffn=256, layers=1, order_hidden=256, dropout=0.0, head_dropout=0.0)
    assert found.loop == LoopConfig(
        epochs=60, warmup=3, batch=8, learning_rate=5e-4, optimizer="adamw", weight_decay=0.01
    )
    assert found.data == DataConfig(scaling=True)
    assert resolve("small", settings=["model.layers=2"], options={"loop.epochs": 5}).model.layers == 2
    gru = resolve("small", options={"model.name": "gru"})
    assert (gru.model.hidden, gru.loop, gru.data) == (64, found.loop, found.data)


def test_small_in_a_file_is_replaced_by_a_preset_on_the_command_line(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text('preset = "small"\n[loop]\nepochs = 7\n[model]\nffn = 64\n', encoding="utf-8")
    found = resolve(file=file)
    assert (found.model.dim, found.model.ffn, found.loop.epochs, found.loop.batch) == (128, 64, 7, 8)
    fast = resolve("fast", file)
    assert fast.loop == resolve("fast").loop
    assert (fast.model, fast.data.scaling) == (EstConfig(ffn=64), False)  # what the file itself says stays


@pytest.mark.parametrize("preset", ["official", "paper-text", "fast"])
def test_another_preset_leaves_the_sizes_of_a_file_unless_they_are_those_of_small(preset, tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text("[model]\nlayers = 1\ndim = 64\n[data]\nscaling = true\n", encoding="utf-8")
    found = resolve(preset, file)
    assert (found.model.layers, found.model.dim, found.data.scaling) == (1, 64, True)
    small_run = resolve("small", options={"loop.epochs": 9})
    file.write_text(to_toml(small_run), encoding="utf-8")
    assert resolve(preset, file) == resolve(preset) == resolve(preset, base=small_run)


def test_later_ones_win(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text('preset = "fast"\n[loop]\nbatch = 32\nwarmup = 7\n[model]\nposition = "slot"\n', encoding="utf-8")
    fast = resolve("fast").loop
    config = resolve(file=file)
    assert (config.loop.batch, config.loop.warmup, config.loop.epochs) == (32, 7, fast.epochs)
    assert resolve(file=file, settings=["loop.batch=4"]).loop.batch == 4
    assert resolve(file=file, settings=["loop.batch=4"], options={"loop.batch": 5}).loop.batch == 5
    assert resolve(file=file, options={"loop.batch": None}).loop.batch == 32
    # a preset on the command line is asked for: it wins over a file, and sets what it leaves at the default too
    assert resolve("paper", file).loop == TrainConfig().loop
    assert resolve("paper", file).model.position == "snippet"
    assert resolve("fast", file).loop == fast
    base = resolve(settings=["model.layers=2", "loop.batch=64"])
    assert resolve(base=base) == base
    assert differences(base, resolve(base=base, options={"model.layers": 3})) == {"model.layers": (2, 3)}
    assert differences(resolve("fast"), resolve("paper", base=resolve("fast")))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("loop = 3", "no setting 'loop'"),
        ("[loop]\nepoch = 3", "no setting 'loop.epoch'"),
        ('preset = "quick"', "found 'quick'"),
        ("preset = [1]", "A preset is"),
        ("[loop", "is not TOML"),
        ("[loop]\nepochs = '3'", "whole number, found '3'"),
        ("[[loop]]\nepochs = 3", "no setting 'loop'"),
    ],
)
def test_a_wrong_file_says_what_is_wrong(tmp_path, text, words):
    file = tmp_path / "mine.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=re.escape(words)):
        resolve(file=file)


def test_a_file_that_is_none(tmp_path):
    with pytest.raises(UsageError, match="cannot be read"):
        resolve(file=tmp_path / "absent.toml")
    with pytest.raises(UsageError, match="cannot be read"):
        resolve(file=tmp_path)
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="is not TOML"):
        resolve(file=tmp_path / "bytes.toml")


@pytest.mark.parametrize(
    "make",
    [
        lambda: LoopConfig(epochs=2.5),
        lambda: LoopConfig(epochs=True),
        lambda: LoopConfig(learning_rate="fast"),
        lambda: LoopConfig(learning_rate=float("nan")),
        lambda: LoopConfig(warmup=-1),
        lambda: DataConfig(scaling="no"),
        lambda: DataConfig(scaling=1),
        lambda: DataConfig(noise=-0.1),
        lambda: DataConfig(balanced=True, class_weights=True),
        lambda: TrainConfig(seeds=(1.5,)),
        lambda: TrainConfig(seeds=()),
        lambda: TrainConfig(eval_every=None),
        lambda: TrainConfig(control=0),
    ],
)
def test_wrong_values_are_refused_from_python_too(make):
    with pytest.raises(UsageError):
        make()


def test_seeds_may_be_a_list():
    assert TrainConfig(seeds=[3, 1]) == TrainConfig(seeds=(3, 1))


def test_a_short_run_warms_up_for_no_more_than_half():
    assert [LoopConfig(epochs=n).rise for n in (1, 2, 5, 19, 20, 21, 160)] == [0, 1, 2, 9, 10, 10, 10]
    assert LoopConfig(epochs=10, warmup=2).rise == 2
