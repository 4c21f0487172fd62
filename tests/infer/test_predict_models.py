"""Every kind of run predicts: on maps, by models that are told of frames, and with encoders that learnt too."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple

import numpy as np
import pytest
import torch
from finetune_samples import draw, tuned_run
from made_model import register
from predict_samples import EXTRACTION, QUIET, cache_of, run_on
from torch import Tensor, nn
from train_samples import Recorder, without_digests

from est.encoders.engines import choice
from est.errors import UsageError
from est.extract.extraction import extract_videos
from est.infer.prediction.predicting import predict
from est.infer.prediction.recipe import recipe_of
from est.infer.prediction.windows import cutting_of
from est.inputs.input import find_inputs
from est.train import Run
from est.train.evaluation import evaluate
from est.train.models.contract import AllFrames, ModelConfig, Windows
from est.train.models.model import Model
from est.train.models.registry import model_config
from est.train.models.scaling import Scaling
from est.train.runs.files import read_json, write_json
from est.train.runs.run import FACTS


@dataclass(frozen=True, kw_only=True)
class Config(ModelConfig):
    name: ClassVar[str] = "told"
    title: ClassVar[str] = "Told of frames"
    frames: int = 6

    @property
    def shown(self):
        return AllFrames(most=self.frames)

    @property
    def told(self):
        return ("mask", "time")

    @property
    def windows(self):
        return Windows(seconds=0.2, stride=0.5)


class Output(NamedTuple):
    expression: Tensor


class Told(Model):
    def __init__(self, config, *, width, num_classes):
        super().__init__()
        self.config, self.width, self.num_classes, self.scaling = config, width, num_classes, Scaling(width)
        self.classifier = nn.Linear(width + 1, num_classes)

    def forward(self, batch):
        rows, mask = batch["features"], batch["mask"][..., None]
        told = (batch["time"] * batch["mask"]).sum((1, 2))[:, None]
        return Output(expression=self.classifier(torch.cat([(rows * mask).sum((1, 2)), told], 1)).float())


def expect_as_evaluated(run, folder, suffix, tolerance):
    found = evaluate(run, device="cpu", watch=Recorder())
    column = {name: place for place, name in enumerate(found.header)}
    row = found.rows[0]
    mine = predict(folder / f"{row[column['id']]}{suffix}", run, config=replace(QUIET, part=row[column["part"]]))
    theirs = [float(row[column[f"p_{label}"]]) for label in mine.labels]
    assert np.ptp(theirs) > 1e-4
    np.testing.assert_allclose(mine.windows.probabilities()[0], theirs, atol=tolerance)


@pytest.fixture(scope="module")
def maps(sample, tmp_path_factory):
    return cache_of(sample.folder, tmp_path_factory.mktemp("maps") / "maps.zarr", features=("layer3", "pyramid4x4"))


@pytest.mark.parametrize("name", ["stt", "msstnet"])
def test_a_run_on_maps(sample, maps, tmp_path, name):
    model = model_config(name, num_segments=2, dim=16, heads=2, ffn=32, layers=1)
    run = run_on(maps, tmp_path / "run", model=model)
    expect_as_evaluated(run, sample.folder, ".mp4", 1e-5)


@pytest.mark.parametrize(
    ("name", "learns", "sizes"),
    [
        pytest.param("former-dfer", "none", {"layers": 1, "num_segments": 2}, marks=pytest.mark.slow),
        pytest.param("former-dfer", "all", {"layers": 1, "num_segments": 2}, marks=pytest.mark.slow),
        ("r3d18", "none", {"channels": 4, "frames": 4}),
    ],
)
def test_a_run_that_holds_a_part_of_its_encoder_or_has_none(tmp_path, name, learns, sizes):
    listed = draw(tmp_path / "drawn", 8)
    features = ("gap", "layer3") if name == "former-dfer" else ("gap",)
    config = replace(EXTRACTION, weights="random", detector="none", size=32, crops=True, features=features)
    extract_videos(find_inputs([listed]), tmp_path / "cache.zarr", config)
    run = tuned_run(tmp_path / "cache.zarr", tmp_path / "run", learns, model=model_config(name, **sizes), epochs=1).run
    expect_as_evaluated(run.path, tmp_path / "drawn", "", 1e-5)


def test_a_model_that_is_told_of_frames(sample, tmp_path, monkeypatch):
    register(monkeypatch, Told, Config)
    run = run_on(sample.cache, tmp_path / "run", model=Config())
    expect_as_evaluated(run, sample.folder, ".mp4", 1e-6)
    found = cutting_of(Run.open(run), QUIET)
    assert (found.window, found.stride) == (0.2, 0.1)  # as the model states
    assert found.whole > 0.6  # all clips of the training


@pytest.mark.parametrize("crops", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_an_encoder_that_learnt_too(tmp_path, crops, monkeypatch):
    listed = draw(tmp_path / "drawn", 8)
    config = replace(EXTRACTION, weights="random", detector="none", size=32, crops=crops)
    extract_videos(find_inputs([listed]), tmp_path / "cache.zarr", config)
    tuned_run(tmp_path / "cache.zarr", tmp_path / "run", "all", epochs=1)
    expect_as_evaluated(tmp_path / "run", tmp_path / "drawn", "", 1e-5)
    with pytest.raises(Exception, match="encoders in its checkpoints"):
        predict(tmp_path / "drawn" / "clip00", tmp_path / "run", config=replace(QUIET, weights=("random",)))
    monkeypatch.setattr(choice, "is_fast_here", lambda: True)  # onnxruntime, which auto then takes for other runs
    monkeypatch.setattr(choice.of_torch, "fast_bf16_flags", list)
    for asked in ({"precision": "fp32"}, {"precision": "auto"}, {"engine": "auto"}):
        found = recipe_of(Run.open(tmp_path / "run"), replace(QUIET, **asked))
        assert {(one.engine, one.precision) for one in found.arrays} == {("torch", "fp32")}
    for asked, remedy in (
        ({"engine": "onnxruntime"}, "leave --engine out"),
        ({"precision": "int8"}, "--precision fp32"),
    ):
        with pytest.raises(UsageError, match="own model reads crops and is computed by torch") as refused:
            recipe_of(Run.open(tmp_path / "run"), replace(QUIET, **asked))
        assert remedy in refused.value.remedy


def test_parts_that_read_arrays_of_their_own(sample, tmp_path):
    shutil.copytree(sample.run, tmp_path / "run")
    facts = read_json(without_digests(tmp_path / "run") / FACTS)
    recipes = facts["cache"]["recipes"]["features"]
    recipes["gap_other"] = {**recipes["gap"], "dtype": "float32"}
    facts["reads"]["fold2"] = "gap_other"
    write_json(tmp_path / "run" / FACTS, facts)
    one, other = (predict(sample.video, run, config=QUIET) for run in (sample.run, tmp_path / "run"))
    apart = np.abs(one.windows.probabilities() - other.windows.probabilities()).max()
    assert 1e-9 < apart < 1e-3  # half of the models see rows that are not rounded to float16
