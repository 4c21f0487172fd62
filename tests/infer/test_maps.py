"""A model that reads maps is exported and probed through the contract like any other: here one of a few lines, which is not shipped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import pytest
from finetune_samples import SIDE, cache_of, draw
from made_model import register
from torch import Tensor, nn
from train_samples import tiny_config

from est.infer.export.exporting import export_run
from est.infer.probing.probing import probe_run
from est.train import ProtocolConfig, fit
from est.train.models.contract import ModelConfig, Snippets
from est.train.models.model import Model
from est.train.models.scaling import Scaling
from est.train.results.predictions import Predictions


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
        self.mix = nn.Conv2d(width, num_classes, 1)

    def forward(self, batch):
        features = batch["features"]
        maps = self.mix(features.reshape(-1, *features.shape[3:])).amax((2, 3))
        return Output(expression=maps.reshape(-1, *features.shape[1:3], self.num_classes).mean((1, 2)))


@pytest.fixture
def run(tmp_path, monkeypatch):
    register(monkeypatch, Patches, Config)
    listed = draw(tmp_path / "drawn", 8)
    lines = listed.read_text().splitlines()
    listed.write_text("\n".join([lines[0] + ",onset,apex,offset", *(line + ",1,2,3" for line in lines[1:])]) + "\n")
    settings = {"batch": 4, "epochs": 1, "control": False, "protocol": ProtocolConfig(kind="holdout")}
    return fit(cache_of(listed, tmp_path / "cache.zarr"), tmp_path / "run", tiny_config(model=Config(), **settings)).run


def test_maps_are_exported_and_probed(run, tmp_path):
    head = export_run(run, tmp_path / "head.onnx")
    side = SIDE // 16
    assert head.about["inputs"]["features"]["shape"] == ["clips", 1, 4, 256, side, side]
    full = export_run(run, tmp_path / "full.onnx", what="full")
    clips = len(Predictions.of_run(run))
    for found in (head, full):
        assert f"the same class for {min(clips, 3 if found is full else 16)} of" in found.checks[2]
    probed = probe_run(run)
    lost = {one.name: one.lost.value for one in probed.changes}
    assert lost["reversed"] == lost["frames shuffled"] == 0  # its mean over frames ignores order
    assert any("reads maps (layer3)" in note for note in probed.notes)
    assert {one.measure for one in probed.agreements} <= {"deletion_held"}
