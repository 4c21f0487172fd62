"""`est export`: the file computes what the run's model does, says how it is fed, and replaces nothing unasked."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np
import pytest
import torch
from finetune_samples import SMALL, cache_of, draw, tuned_run
from made_model import register
from tiny_models import tiny
from train_samples import LABELS, MAPS, TINY, WIDTH, Recorder, learning_cache, tiny_config

from est.cache import open_cache
from est.errors import EstError, UsageError
from est.infer.export import exporting, formats
from est.infer.export.exporting import export_run
from est.infer.export.formats import runner
from est.train import ProtocolConfig, SamplingConfig, fit
from est.train.data.sampling import sampler_of
from est.train.loop.checkpoint import load_model
from est.train.models.contract import AllFrames, Evenly, ModelConfig, Snippets, places_of
from est.train.models.gru.config import Config as GruConfig
from est.train.models.model import Model
from est.train.models.registry import MODELS, model_config
from est.train.models.scaling import Scaling
from est.train.results.predictions import read_predictions
from est.train.runs.run import CHECKPOINT

GRU = GruConfig(frames=6, hidden=8)
PAGE = Path(__file__).parents[2] / "docs" / "export.md"
CONFIGS = {
    "est": replace(TINY, snippets=3, frames=2, orders=5),
    "gru": GRU,
    "transformer": model_config("transformer", snippets=3, frames=2, dim=16, heads=2, ffn=32, layers=1),
    "lstm": model_config("lstm", frames=9, hidden=8),
    "fan": model_config("fan", most_frames=12),
    "former-temporal": model_config("former-temporal", layers=1, heads=2, head_width=8, ffn=32),
    "slstt": model_config("slstt", layers=2, hidden=8, classifier_hidden=8, most_frames=12),
    "stt": model_config("stt", layers=1, dim=16, heads=2, ffn=32),
    "msstnet": model_config("msstnet", layers=1, dim=16, heads=2, ffn=32),
    "window-head": tiny("window-head"),
    "clip-temporal": model_config("clip-temporal", dim=16, heads=2, ffn=32),
    "pooled": model_config("pooled", most_frames=12),
}


@dataclass(frozen=True, kw_only=True)
class MaskedConfig(ModelConfig):
    name: ClassVar[str] = "masked"
    title: ClassVar[str] = "Masked mean"
    frames: int = 12

    @property
    def shown(self):
        return AllFrames(most=self.frames)

    @property
    def told(self):
        return ("mask", "time")


class Output(NamedTuple):
    expression: torch.Tensor


class Masked(Model):
    """The mean over frames that show a face, and when the last one is."""

    def __init__(self, config, *, width, num_classes):
        super().__init__()
        self.config, self.width, self.num_classes, self.scaling = config, width, num_classes, Scaling(width)
        self.classifier = torch.nn.Linear(width, num_classes)

    def forward(self, batch):
        mask = batch["mask"][..., None].float()
        found = self.classifier((batch["features"] * mask).sum((1, 2)) / mask.sum((1, 2)).clamp(min=1))
        return Output(expression=found + batch["time"].amax((1, 2))[:, None])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("export")


@pytest.fixture(scope="module")
def cache(folder):
    return learning_cache(folder / "cache.zarr", 24, maps=True, windows=True)


@pytest.fixture(scope="module")
def runs(cache, folder):
    """A run of each registered model."""
    assert {*CONFIGS, "former-dfer", "r3d18"} == set(MODELS), (
        "every registered model is exported: these two by tests of their own"
    )
    kfold = ProtocolConfig(kind="kfold", folds=2)
    return {
        name: fit(cache, folder / name, tiny_config(model=config, protocol=kfold, epochs=1, control=False)).run
        for name, config in CONFIGS.items()
    }


@pytest.fixture(scope="module")
def drawn(folder):
    """A cache of drawn crops."""
    return cache_of(draw(folder / "drawn", 8), folder / "drawn.zarr")


def logits_of(run, part, features, others=None):
    model = load_model(run.part(part) / CHECKPOINT)[0].on_features.eval()
    with torch.no_grad():
        return model({"features": features, **(others or {})}).expression.numpy()


@pytest.mark.parametrize("form", ["onnx", "torchscript"])
@pytest.mark.parametrize("name", CONFIGS)
def test_every_model_computes_the_same_in_every_format(runs, tmp_path, name, form):
    run, watch = runs[name], Recorder()
    found = export_run(run, tmp_path / {"onnx": "model.onnx", "torchscript": "model.pt"}[form], form=form, watch=watch)
    assert found.part == "fold1"
    assert "2 parts; exported is the first, fold1" in " ".join(watch.said)
    assert not watch.warned
    places = places_of(CONFIGS[name].shown)
    features = torch.randn(4, *places, *MAPS.get(CONFIGS[name].reads, (WIDTH,)))
    others = {"mask": torch.rand(4, *places) < 0.8} if "mask" in CONFIGS[name].told else {}
    logits, probabilities = runner(found.path, form)([features, *others.values()])
    np.testing.assert_allclose(logits, logits_of(run, "fold1", features, others), atol=1e-5)
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-6)
    assert len(found.checks) == 3
    assert "the same class for 12 of 12 clips" in found.checks[2]


def test_another_part_is_another_model(runs, tmp_path):
    features = torch.randn(2, 3, 2, WIDTH)
    found = export_run(runs["est"], tmp_path / "model.onnx", part="fold2")
    logits, _ = runner(found.path, "onnx")([features])
    np.testing.assert_allclose(logits, logits_of(runs["est"], "fold2", features), atol=1e-5)
    assert np.abs(logits - logits_of(runs["est"], "fold1", features)).max() > 1e-3
    with pytest.raises(UsageError, match="no part 'fold9'; it has fold1, fold2"):
        export_run(runs["est"], tmp_path / "other.onnx", part="fold9")


def test_what_is_there_is_not_replaced_unasked(runs, tmp_path):
    path = tmp_path / "model.onnx"
    path.write_text("mine")
    with pytest.raises(UsageError, match=r"model\.onnx exists already"):
        export_run(runs["gru"], path)
    assert path.read_text() == "mine"
    export_run(runs["gru"], path, overwrite=True)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["model.onnx", "model.onnx.md"]
    with pytest.raises(UsageError, match="names a file"):
        export_run(runs["gru"], tmp_path / "model")


def test_a_file_that_computes_something_else_is_not_kept(runs, tmp_path, monkeypatch):
    def other(path, form):
        run = runner(path, form)
        return lambda tensors: tuple(one + np.float32(0.01) for one in run(tensors))

    monkeypatch.setattr(exporting, "runner", other)
    with pytest.raises(EstError, match=r"logits differ by 1\.0e-02") as caught:
        export_run(runs["est"], tmp_path / "model.onnx")
    assert caught.value.remedy == "--format torchscript"
    assert not list(tmp_path.iterdir())


def test_a_part_that_onnx_has_no_words_for_is_named(runs, tmp_path, monkeypatch):
    class Odd(torch.nn.Module):
        def forward(self, x):
            return torch.special.bessel_j0(x)

    def odd(*arguments):
        graph, example = build(*arguments)
        graph.model.expression_head.layers.insert(0, Odd())
        return graph, example

    build = exporting.build
    monkeypatch.setattr(exporting, "build", odd)
    with pytest.raises(EstError, match=r"EST has a part that ONNX cannot express: .*bessel_j0") as caught:
        export_run(runs["est"], tmp_path / "model.onnx")
    assert "--format torchscript" in caught.value.remedy
    assert not list(tmp_path.iterdir())


def test_a_run_without_its_cache_is_verified_on_random_inputs_alone(runs, cache, tmp_path):
    watch = Recorder()
    away = cache.rename(cache.with_name("away.zarr"))
    try:
        found = export_run(runs["est"], tmp_path / "model.onnx", watch=watch)
        assert found.checks[1] == "no clips of the run's cache were available"
        assert str(tmp_path) not in found.card.read_text()
        assert "random inputs alone" in watch.warned[0]
        elsewhere = export_run(runs["est"], tmp_path / "other.onnx", cache=away)
        assert "12 of 12" in elsewhere.checks[2]
    finally:
        away.rename(cache)


def test_models_are_told_of_frames(tmp_path, cache, monkeypatch):
    register(monkeypatch, Masked, MaskedConfig)
    run = fit(cache, tmp_path / "run", tiny_config(model=MaskedConfig(), epochs=1, control=False)).run
    found = export_run(run, tmp_path / "model.onnx")
    assert list(found.about["inputs"]) == ["features", "mask", "time"]
    assert len(found.checks) == 3


@pytest.mark.parametrize("learns", ["none", "all"])
def test_the_encoder_is_that_of_the_run(drawn, folder, learns):
    """On stored crops: the run's own predictions come out, so the encoder is the one that made or learnt the features."""
    run = tuned_run(drawn, folder / learns, learns, epochs=1, model=replace(SMALL, snippets=2, frames=1, orders=1)).run
    found = export_run(run, folder / f"{learns}.onnx", what="full")
    assert found.about["inputs"]["crops"]["shape"] == ["clips", 2, 1, 32, 32, 3]
    assert found.about["inputs"]["crops"]["dtype"] == "uint8"
    clips, differ = re.search(
        r"same class for (\d+) of \1 clips, probabilities differ by at most (\S+)", found.checks[2]
    ).groups()
    assert int(clips) == 2
    assert float(differ) < 1e-4
    text = found.card.read_text()
    assert "uint8 | clips × 2 × 1 × 32 × 32 × 3" in text
    assert "random" in text


def test_other_weights_than_the_features_were_made_with_are_refused(runs, drawn, folder, tmp_path):
    with pytest.raises(EstError, match=r"not those that the features were made with: their digest is .*, expected 00"):
        export_run(runs["est"], tmp_path / "model.onnx", what="full")
    with pytest.raises(UsageError, match="encoder's weights are not available"):
        export_run(runs["est"], tmp_path / "model.onnx", what="full", weights=str(tmp_path / "gone.safetensors"))
    with pytest.raises(UsageError, match="are for --what full"):
        export_run(runs["est"], tmp_path / "model.onnx", weights="imagenet")


def test_the_card_says_how_it_is_fed(runs, tmp_path):
    text = export_run(runs["est"], tmp_path / "model.onnx").card.read_text()
    for said in (
        "anger, happiness, surprise",
        "3 × 2 of 105 unified frames are shown, u = (15 22), (45 52), (75 82).",
        "frame floor((2u + 1) · count / 210)",
        "nearest frame with one",
        "apparent expressions",
        "Expression Snippet Transformer for Robust",
        "licence",
    ):
        assert said in text, said
    assert "Snippet Transformer for Robust" not in export_run(runs["gru"], tmp_path / "gru.onnx").card.read_text()


@pytest.mark.parametrize(
    ("shown", "sampling"),
    [
        (Snippets(count=7, frames=5), SamplingConfig()),
        (Snippets(count=3, frames=4), SamplingConfig(unify="clip", test_start=7)),
        (Snippets(count=2, frames=5), SamplingConfig(unify="native", test_start=11)),
        (Evenly(parts=4, frames=3, views=2), SamplingConfig()),
        (AllFrames(most=16), SamplingConfig()),
    ],
)
def test_the_rule_of_sampling_is_what_the_sampler_does(shown, sampling):
    sampler = sampler_of(sampling, shown)
    rule = sampler.rule()
    for count in (1, 9, 40, 105, 106, 333):
        for view in range(sampler.views):
            wanted = sampler.test(torch.tensor([count]), view=view)[0].clamp(max=count - 1).numpy()
            np.testing.assert_array_equal(by_rule(rule, count, view), wanted)


def by_rule(rule, count, view):
    """Follow the sentence of a rule; its formulas are written out once more here, and their constants read from it."""
    match rule["kind"]:
        case "even":
            i, j = np.arange(rule["parts"]), np.arange(rule["frames"])
            assert f"max(count − {rule['frames'] - 1}, 1) / {rule['parts']}" in rule["text"]
            begin = np.floor((i + (view + 0.5) / rule["views"]) * max(count - rule["frames"] + 1, 1) / rule["parts"])
            return np.minimum(begin.astype(int)[:, None] + j, count - 1)
        case "all":
            p = np.arange(rule["frames"])
            assert f"(2p + 1) · count / {2 * len(p)}" in rule["text"]
            return ((2 * p + 1) * count // (2 * len(p)) if count > len(p) else np.minimum(p, count - 1))[None]
    u = np.array(rule["places"])
    assert str(u[0, 0]) in rule["text"]
    if rule["unify"] == "native":
        begin, spare, twice = re.search(
            r"floor\((\d+) · \(count − length\) / (\d+)\) \+ .* / (\d+)\)", rule["text"]
        ).groups()
        length = min(count, rule["window"])
        return int(begin) * (count - length) // int(spare) + (2 * (u - int(begin)) + 1) * length // int(twice)
    if rule["unify"] == "clip" and count > rule["unified"]:
        return (count - rule["unified"]) // 2 + u
    return (2 * u + 1) * count // int(re.search(r"count / (\d+)\)", rule["text"]).group(1))


def test_the_documented_example_runs_without_est_and_torch(runs, cache, tmp_path):
    example = re.search(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL).group(1)
    assert len(example.strip().splitlines()) <= 15
    run = runs["est"]
    export_run(run, tmp_path / "model.onnx")
    clip = read_predictions(run, "fold1")[0]
    opened = open_cache(cache).clip(clip["id"])
    rows, face = opened.features["gap"].astype(np.float32), np.flatnonzero(opened.mask)
    nearest = face[np.abs(np.arange(len(rows))[:, None] - face).argmin(1)]
    np.save(tmp_path / "features.npy", rows[nearest])
    blocked = "import sys\nfor name in ('est', 'torch'):\n    sys.modules[name] = None\n"
    done = subprocess.run(
        [sys.executable, "-c", blocked + example], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    said = json.loads(done.stdout.replace("'", '"'))
    assert list(said) == list(LABELS)
    for label in LABELS:
        assert abs(said[label] - float(clip[f"p_{label}"])) < 2e-3


def test_metadata_is_in_both_files(runs, tmp_path):
    onnx = pytest.importorskip("onnx")
    export_run(runs["est"], tmp_path / "a.onnx")
    (entry,) = onnx.load(tmp_path / "a.onnx").metadata_props
    export_run(runs["est"], tmp_path / "a.pt", form="torchscript")
    extra = {formats.ABOUT: ""}
    with formats.tracing():
        torch.jit.load(tmp_path / "a.pt", _extra_files=extra)
    about = json.loads(entry.value)
    assert about == json.loads(extra[formats.ABOUT])
    assert about["labels"] == list(LABELS)
    assert about["encoder"]["weights"] == "random"


def test_a_run_of_an_older_version_is_refused(runs, tmp_path):
    facts = json.loads((runs["est"].path / "run.json").read_text())
    (tmp_path / "config.toml").write_text((runs["est"].path / "config.toml").read_text())
    (tmp_path / "run.json").write_text(json.dumps({**facts, "version": 0}))
    with pytest.raises(EstError, match="version 0, expected 1"):
        export_run(tmp_path, tmp_path / "model.onnx")
