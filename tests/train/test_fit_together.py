"""Runs whose parts are trained as one stack: the same results as one after another, and resumed like them."""

from __future__ import annotations

import inspect
import re
import signal
from dataclasses import replace

import pytest
import torch
from train_samples import Recorder, fit_interrupted, learning_cache, outcome, tiny_config

from est.errors import EstError
from est.train import ProtocolConfig, fit, model_config
from est.train.loop.stacks import linear, rule
from est.train.loop.stacks.rule import num_together, shape_of, why_alone

GRU = model_config("gru", frames=9, hidden=8, dropout=0.2)


def config(**settings):
    return tiny_config(
        model=GRU, epochs=4, protocol=ProtocolConfig(kind="kfold", folds=3), seeds=(1, 2), select="val", **settings
    )


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return learning_cache(tmp_path_factory.mktemp("together") / "c.zarr", 36)


def scores(results):
    return [(one["part"], one["right"], one["selected"]["epoch"]) for one in results.parts]


def test_parts_of_a_stack_are_scored_as_alone(cache, tmp_path):
    seen = Recorder()
    together = fit(cache, tmp_path / "together", config(), watch=seen)
    alone = fit(cache, tmp_path / "alone", config(stack="off"))
    assert together.run.facts["together"] == 16
    assert alone.run.facts["together"] == 1
    assert scores(together) == scores(alone)
    assert any("one stacked model" in line for line in seen.said)
    assert len(seen.results) == 6
    for name in together.run.parts:
        history = [(path.part(name) / "history.jsonl").read_text().count("\n") for path in (together.run, alone.run)]
        assert history == [4, 4]


def test_an_interrupted_stack_resumes_bit_for_bit(cache, tmp_path):
    whole = fit(cache, tmp_path / "whole", config())
    parts = fit_interrupted(cache, tmp_path / "parts", config(), 3, 2)
    assert outcome(parts.run.path) == outcome(whole.run.path)


def test_a_stack_goes_on_without_those_that_are_scored(cache, tmp_path):
    run = fit(cache, tmp_path / "run", config()).run
    for name in run.parts[2:5]:
        for path in run.part(name).iterdir():
            path.unlink()
    again = fit(None, run.path, resume=True)
    whole = fit(cache, tmp_path / "whole", config())
    assert scores(again) == scores(whole)


def test_a_part_that_diverges_ends_the_run_and_leaves_the_others_saved(cache, tmp_path, monkeypatch):
    from est.train.loop.trainer import Trainer

    record = Trainer.record

    def failing(self, epoch, seconds):
        if self.seed == 2 and epoch == 1:
            raise EstError("Training diverged.")
        return record(self, epoch, seconds)

    monkeypatch.setattr(Trainer, "record", failing)
    with pytest.raises(EstError, match="diverged"):
        fit(cache, tmp_path / "run", config())
    assert (tmp_path / "run" / "parts" / "fold1-seed1" / "checkpoint.safetensors").is_file()
    assert not (tmp_path / "run" / "parts" / "fold1-seed2" / "checkpoint.safetensors").exists()
    monkeypatch.setattr(Trainer, "record", record)
    again = fit(None, tmp_path / "run", resume=True)
    assert scores(again) == scores(fit(cache, tmp_path / "whole", config()))


def test_shapes_tell_what_can_be_stacked():
    base = config()
    same = replace(base, model=replace(GRU, dropout=0.5), seeds=(9,), loop=replace(base.loop, learning_rate=1.0))
    assert shape_of(base) == shape_of(same)
    for other in (
        replace(base, model=replace(GRU, hidden=9)),
        replace(base, loop=replace(base.loop, batch=4)),
        replace(base, data=replace(base.data, mixup=0.3)),
        replace(base, data=replace(base.data, class_weights=True)),
        tiny_config(),
    ):
        assert shape_of(base) != shape_of(other)


def test_what_cannot_be_stacked_is_trained_alone():
    base, cpu = config(), torch.device("cpu")
    how = {"width": 16, "num_classes": 3, "device": cpu}
    assert num_together(base, precision="fp32", **how)[0] == 16
    assert num_together(config(stack="off"), precision="fp32", **how) == (
        1,
        "one training after another (--stack off)",
    )
    assert "fp16" in why_alone(base, precision="fp16")
    assert "processes" in why_alone(base, precision="fp32", processes=2)
    assert "loop.accumulate" in why_alone(config(accumulate=2), precision="fp32")
    large = replace(base, model=model_config("est"))
    assert num_together(replace(large, loop=replace(large.loop, stack="on")), precision="fp32", **how)[0] == 16
    on_gpu = {**how, "device": torch.device("cuda")}
    assert num_together(base, precision="fp32", **on_gpu)[0] == 1
    size, why = num_together(large, precision="fp32", width=512, num_classes=7, device=cpu)
    assert (size, "M parameters gain little on a CPU" in why) == (1, True)
    for sides, wanted in (((7, 7), 1), ((2, 2), 16)):  # of one model, whose parameters are few
        maps = replace(base, model=model_config("stt", dim=128, ffn=256, layers=1))
        sizes = {"width": 256, "num_classes": 7, "maps": sides}
        size, why = num_together(maps, precision="fp32", device=cpu, **sizes)
        assert (size, "M multiplications a clip gain little" in why) == (wanted, wanted == 1)


def test_a_torch_without_what_stacks_are_written_with_trains_alone(monkeypatch):
    text = inspect.getsource(linear)
    assert set(re.findall(r"functorch\.(\w+)", text)) == set(rule.OF_VMAP)
    assert not why_alone(config(), precision="fp32")
    monkeypatch.setattr(rule, "OF_VMAP", (*rule.OF_VMAP, "not_there"))
    assert "lacks what stacks are written with" in why_alone(config(), precision="fp32")


class StopsAfter(Recorder):
    """Sends Ctrl-C when so many parts have ended."""

    def step(self, epoch, step):
        pass

    def end(self, part, result):
        super().end(part, result)
        if len(self.results) == self.interrupt_after:
            signal.raise_signal(signal.SIGINT)


def test_the_last_part_of_a_stack_resumes_bit_for_bit(tmp_path):
    fields = {index: {"fold": 0 if index // 3 % 9 < 2 else 1} for index in range(54)}  # folds of different length
    cache = learning_cache(tmp_path / "c.zarr", 54, subjects=9, strength=0.4, fields=fields)
    wanted = tiny_config(epochs=4, model=GRU, seeds=(1,))
    whole = fit(cache, tmp_path / "whole", wanted).run
    with pytest.raises(KeyboardInterrupt):
        fit(cache, tmp_path / "cut", wanted, watch=StopsAfter(1))
    assert len(list((tmp_path / "cut").rglob("result.json"))) == 1
    resumed = fit(None, tmp_path / "cut", resume=True).run
    assert outcome(resumed.path) == outcome(whole.path)


def test_sound_parts_are_saved_where_others_are_not(cache, tmp_path, monkeypatch):
    from est.train.loop.trainer import Trainer

    def unsound(self, epoch, steps):
        if self.seed in (1, 2):
            raise EstError("The weights diverge.", remedy="a lower --lr")

    monkeypatch.setattr(Trainer, "expect_sound", unsound)
    one_fold = replace(config(), seeds=(1, 2, 3), protocol=ProtocolConfig(kind="kfold", folds=3, only=("fold1",)))
    with pytest.raises(EstError, match="fold1-seed1: The weights diverge") as refused:
        fit(cache, tmp_path / "run", one_fold, watch=Recorder(1))
    assert refused.value.remedy == "a lower --lr"
    saved = [path.parent.name for path in (tmp_path / "run").rglob("checkpoint.safetensors")]
    assert saved == ["fold1-seed3"]


def test_a_stack_saves_when_it_is_due(cache, tmp_path, monkeypatch):
    from est.train.loop.stacks import together

    monkeypatch.setattr(together, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    kept = []
    monkeypatch.setattr("est.train.loop.epochs.Epochs.keep", lambda self: kept.append((self.part.name, self.step)))
    fit(cache, tmp_path / "run", config())
    assert len({name for name, _ in kept}) == 6
    assert len(kept) > 6
