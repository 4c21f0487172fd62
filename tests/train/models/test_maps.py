"""A model that reads maps goes the whole way through the contract: here one of a few lines, which is not shipped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import pytest
from finetune_samples import cache_of, tuning_cache
from made_model import register
from torch import Tensor, nn
from train_samples import Recorder, outcome, tiny_config

from est.cli import main
from est.errors import UsageError
from est.train import ProtocolConfig, Run, evaluate, fit
from est.train.models.contract import ModelConfig, Snippets
from est.train.models.model import Model
from est.train.models.scaling import Scaling


@dataclass(frozen=True, kw_only=True)
class Config(ModelConfig):
    name: ClassVar[str] = "patches"
    title: ClassVar[str] = "Patches"
    frames: int = 4

    @property
    def shown(self):
        return Snippets(count=1, frames=self.frames)

    @property
    def reads(self):
        return "layer3"


class Output(NamedTuple):
    expression: Tensor


class Patches(Model):
    def __init__(self, config, *, width, num_classes):
        super().__init__()
        self.config, self.width, self.num_classes, self.scaling = config, width, num_classes, Scaling(width)
        self.seen = []  # shapes
        self.mix, self.classifier = nn.Conv2d(width, 8, 1), nn.Linear(8 * 4, num_classes)

    def forward(self, batch):
        features = batch["features"]
        self.seen.append(tuple(features.shape))
        maps = self.mix(features.flatten(0, 2)).relu().flatten(1)  # keeps where in the picture something is
        return Output(expression=self.classifier(maps).view(*features.shape[:3], -1).float().mean((1, 2)))


@pytest.fixture(autouse=True)
def patches(monkeypatch):
    register(monkeypatch, Patches, Config)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tuning_cache(tmp_path_factory.mktemp("maps"))


def config(**settings):
    return tiny_config(model=Config(), batch=4, protocol=ProtocolConfig(kind="holdout"), **settings)


@pytest.mark.parametrize("residency", ["auto", "device", "stream"])
def test_it_trains_on_maps_wherever_they_are(cache, tmp_path, residency, monkeypatch):
    shapes = []
    forward = Patches.forward
    monkeypatch.setattr(
        Patches,
        "forward",
        lambda self, batch: shapes.append(batch["features"].shape[1:]) or forward(self, batch),
    )
    found = fit(cache, tmp_path / "run", config(residency=residency, epochs=2), watch=Recorder())
    assert {tuple(shape) for shape in shapes} == {(1, 4, 256, 2, 2)}
    assert found.control is not None
    assert "features `layer3`" in (found.run.path / "summary.md").read_text(encoding="utf-8")


def test_every_residency_gives_the_same_run(cache, tmp_path):
    runs = [fit(cache, tmp_path / kind, config(residency=kind, epochs=2)).run for kind in ("device", "stream")]
    one, other = (outcome(run.path) for run in runs)
    assert one["predictions.csv"] == other["predictions.csv"]


def test_it_learns_resumes_and_is_scored_again(cache, tmp_path):
    found = fit(cache, tmp_path / "whole", config(epochs=8, select="val"))
    assert found.scores.right == found.scores.total  # which half is bright stands in the maps
    with pytest.raises(KeyboardInterrupt):
        fit(cache, tmp_path / "run", config(epochs=8, select="val"), watch=Recorder(5))
    fit(None, tmp_path / "run", resume=True)
    assert outcome(tmp_path / "run") == outcome(tmp_path / "whole")
    again = evaluate(Run.open(tmp_path / "run"), watch=Recorder())
    assert (again.scores.right, again.scores.total) == (found.scores.right, found.scores.total)


def test_mirrored_maps_are_shown_too(tmp_path):
    flipped = tuning_cache(tmp_path, "flip.zarr", flip=True)
    assert fit(flipped, tmp_path / "run", config(mirrored=True, epochs=1), watch=Recorder()).run.complete


def test_a_cache_without_them_names_the_command(cache, tmp_path):
    bare = cache_of(cache.parent / "drawn" / "list.csv", tmp_path / "bare.zarr", features=("gap",))
    with pytest.raises(UsageError, match="asked for 'layer3'") as refused:
        fit(bare, tmp_path / "run", config())
    assert "--features gap,layer3 adds it" in refused.value.remedy


@pytest.mark.parametrize("settings", [{"scaling": True}, {"noise": 0.1}])
def test_what_is_for_flat_features_is_refused(settings):
    with pytest.raises(UsageError, match="reads maps"):
        config(**settings)


def test_models_of_flat_features_refuse_maps(cache, tmp_path):
    with pytest.raises(UsageError, match="is a map of 256 × 2 × 2"):
        fit(cache, tmp_path / "run", tiny_config(feature="layer3", batch=4, protocol=ProtocolConfig(kind="holdout")))


def test_it_is_described_on_a_cache(cache, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["train", "--model", "patches", "--describe", "--cache", str(cache)])
    assert ended.value.code == 0
    assert f"{256 * 8 + 8 + 32 * 2 + 2:,}" in capsys.readouterr().out
