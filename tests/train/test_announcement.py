"""What a run says before its first step."""

from __future__ import annotations

from dataclasses import replace

import pytest
from train_samples import Recorder, learning_cache, tiny_config

from est.train import EstConfig, FinetuneConfig, announcement, fit, model_config, prepare
from est.train.config.configfile import resolve


@pytest.fixture(scope="module")
def ready(tmp_path_factory):
    return prepare(learning_cache(tmp_path_factory.mktemp("announced") / "c.zarr", 36), tiny_config())


def test_a_run_on_few_clips_suggests_the_sweep_once(ready, tmp_path):
    watch = Recorder()
    fit(ready, tmp_path / "run", tiny_config(epochs=1, model=model_config("gru")), watch=watch)
    hints = [text for text in watch.said if f"est sweep --cache {ready.cache.path}" in text]
    fewest = min(len(fold.train) for fold in ready.plan.folds)
    assert len(hints) == 1
    assert f"learns from {fewest} clips" in hints[0]
    assert not any("est sweep" in text for text in watch.warned)


def test_the_sweep_is_suggested_on_few_clips_alone(ready, monkeypatch):
    default = replace(tiny_config(), model=EstConfig())
    assert announcement.suggest_sweep(ready, default)
    assert announcement.suggest_sweep(ready, resolve("fast"))
    assert announcement.suggest_sweep(ready, resolve("small")) is None
    assert announcement.suggest_sweep(ready, replace(default, finetune=FinetuneConfig(learns="all"))) is None
    assert "smaller models and other recipes" in announcement.suggest_sweep(ready, default)
    few = resolve("official", options={"model.name": "pooled"})
    assert "1,000, other recipes" in announcement.suggest_sweep(ready, few), "it is small already"
    assert announcement.suggest_sweep(ready, resolve("small", options={"model.name": "pooled"})) is None
    sized = resolve("official", options={"model.name": "gru", "model.hidden": 32})
    assert announcement.suggest_sweep(ready, sized) is None, "whoever chooses a small size needs no advice"
    large = resolve("small", options={"model.name": "gru", "model.hidden": 300, "model.layers": 2})
    assert "smaller models" in announcement.suggest_sweep(ready, large), "a size that was chosen may be too large"
    monkeypatch.setattr(announcement, "MANY_CLIPS", min(len(fold.train) for fold in ready.plan.folds))
    assert announcement.suggest_sweep(ready, default) is None
