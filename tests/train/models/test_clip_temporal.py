"""The temporal head whose classes are vectors: free ones that learn, and those of a file, found by name, which do not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from train_samples import LABELS, WIDTH, Recorder, learning_cache, tiny_config

from est.errors import EstError, UsageError
from est.train import ProtocolConfig, TrainConfig, evaluate, fit, prepare
from est.train.config.finetune import FinetuneConfig
from est.train.loop.checkpoint import load_model
from est.train.loop.starts.class_vectors import ClassVectors
from est.train.models.contract import ClassFile
from est.train.models.registry import build_model, describe_model, model_config
from est.train.runs.run import CHECKPOINT

DIM = 8
NAMES = ("surprise", "contempt", "happy", "anger")  # another order than the cache's, one spelt otherwise, one more
SIZES = {"num_segments": 4, "dim": DIM, "heads": 2, "ffn": 16}


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return learning_cache(tmp_path_factory.mktemp("vectors") / "c.zarr", 24, frames=12, strength=0.4)


def vectors_of(names=NAMES, dim=DIM, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(dim, generator=generator) for name in names}


def written(path, **arrays):
    save_file({name: array.contiguous() for name, array in arrays.items()}, path)
    return path


def config_of(path, **settings):
    return model_config("clip-temporal", **{**SIZES, "class_vectors": str(path), **settings})


def begun(path, width=WIDTH, **settings):
    """Return the model of a run on the classes of the cache, as it begins."""
    config = config_of(path, **settings)
    model = build_model(config, width=width, num_classes=3, seed=1).eval()
    ClassVectors.read(config.class_file).of_run(LABELS, width).enter(model)
    return model


@pytest.mark.parametrize(
    ("width", "arrays"),
    [(WIDTH, {"projection": torch.randn(WIDTH, DIM)}), (DIM, {}), (DIM, {"projection": torch.randn(DIM, DIM)})],
)
def test_with_a_known_map_it_begins_as_the_cosine_of_the_mean_frame(tmp_path, width, arrays):
    vectors, projection = vectors_of(), arrays.get("projection", torch.eye(DIM))
    model = begun(written(tmp_path / "v.safetensors", **vectors, **arrays), width)
    features = torch.randn(5, 4, 2, width)
    mean = (features.flatten(1, 2) @ projection).mean(1)
    texts = torch.stack([vectors[name] for name in ("anger", "happy", "surprise")])
    wanted = torch.cosine_similarity(mean[:, None], texts, dim=-1) / 0.07
    with torch.no_grad():
        torch.testing.assert_close(model({"features": features}).expression, wanted, rtol=1e-4, atol=1e-4)


def test_the_scale_of_cosines_has_an_end():
    model = build_model(model_config("clip-temporal", **SIZES), width=WIDTH, num_classes=3, seed=1).eval()
    features = torch.randn(5, 4, 2, WIDTH)
    with torch.no_grad():
        first = model({"features": features}).expression
        model.classifier.log_scale.fill_(20.0)
        torch.testing.assert_close(model({"features": features}).expression, first * 0.07 * 100)


def test_without_a_map_features_as_wide_as_the_vectors_stay_where_they_are(tmp_path):
    path = written(tmp_path / "v.safetensors", **vectors_of(dim=WIDTH))
    torch.testing.assert_close(begun(path, dim=WIDTH).projection.weight, torch.eye(WIDTH))
    drawn = begun(written(tmp_path / "other.safetensors", **vectors_of())).projection.weight
    assert 0 < drawn.std() < 1


def test_several_prompts_are_the_mean_of_their_directions(tmp_path):
    vectors = {name: vector.numpy() for name, vector in vectors_of().items()}
    vectors["anger"] = np.stack([[10.0, *[0] * 7], [0, 1.0, *[0] * 6]])
    np.savez(tmp_path / "v.npz", **vectors)
    model = begun(tmp_path / "v.npz")
    torch.testing.assert_close(model.classifier.vectors[0], torch.tensor([0.5**0.5] * 2 + [0.0] * 6))


def test_vectors_of_a_file_are_no_parameters(tmp_path):
    free, frozen = model_config("clip-temporal", **SIZES), config_of(tmp_path / "v.npz")
    numbers = [describe_model(config, WIDTH, 3).parameters for config in (free, frozen)]
    assert numbers[0] - numbers[1] == 3 * DIM


def test_a_sweep_keeps_the_width_of_the_vectors(tmp_path):
    free, frozen = model_config("clip-temporal"), model_config("clip-temporal", class_vectors=str(tmp_path / "v.npz"))
    assert free.search_space(60)["dim"] == 128
    assert "dim" not in frozen.search_space(60)


def test_a_run_keeps_the_vectors_of_its_classes_and_needs_no_file_any_more(cache, tmp_path):
    vectors = vectors_of()
    path = written(tmp_path / "v.safetensors", **vectors)
    kfold = ProtocolConfig(kind="kfold", folds=2)
    config = tiny_config(model=config_of(path), epochs=2, protocol=kfold, control=False, stack="on")
    watch = Recorder()
    results = fit(cache, tmp_path / "run", config, watch=watch)
    assert results.run.facts["together"] > 1
    assert f"classes: 3 vectors of 8 numbers from {path}, which are not trained (1 more in the file)" in watch.said
    assert "the map from features to where they lie begins at random: the file has no projection" in watch.said
    path.unlink()
    for part in results.run.parts:
        model, meta = load_model(results.run.part(part) / CHECKPOINT)
        spelt = {"happiness": "happy"}
        for name, row in zip(meta["labels"], model.classifier.vectors, strict=True):
            wanted = vectors[spelt.get(name, name)]
            torch.testing.assert_close(row, wanted / wanted.norm())
    assert evaluate(results.run, cache).scores.war == pytest.approx(results.scores.war)
    with pytest.raises(UsageError, match="cannot be read"):
        prepare(cache, config)


def test_a_run_is_resumed_with_the_same_vectors_alone(cache, tmp_path):
    path = written(tmp_path / "v.safetensors", **vectors_of())
    config = tiny_config(model=config_of(path), epochs=2, control=False)
    whole = fit(cache, tmp_path / "whole", config)
    with pytest.raises(KeyboardInterrupt):
        fit(cache, tmp_path / "run", config, watch=Recorder(1))
    written(path, **vectors_of(seed=2))
    with pytest.raises(EstError, match=r"has weights v\.safetensors \(\w+\), you asked for others") as refused:
        fit(None, tmp_path / "run", resume=True)
    assert "restore the weights" in refused.value.remedy
    written(path, **vectors_of())
    resumed = fit(None, tmp_path / "run", resume=True)
    assert [part["right"] for part in resumed.parts] == [part["right"] for part in whole.parts]


@pytest.mark.parametrize(
    ("arrays", "words", "remedy"),
    [
        (vectors_of(("anger", "happy")), "has no vector of 'surprise'; it has 'anger', 'happy'", "a vector for each"),
        (vectors_of(dim=6), "have 6 numbers, and the model compares 8", "--set model.dim=6"),
        ({**vectors_of(), "anger": torch.ones(3)}, "'anger' has 3 numbers, and that of 'contempt' has 8", "one text"),
        ({**vectors_of(), "anger": torch.zeros(DIM)}, "the vector of 'anger' has no direction", "a vector for each"),
        ({**vectors_of(), "anger": torch.full((DIM,), torch.nan)}, "'anger' has no direction", "a vector for each"),
        ({**vectors_of(), "anger": torch.tensor(1.0)}, "'anger' is one vector, or some", "a vector for each"),
        ({**vectors_of(), "angry": torch.ones(DIM)}, "two vectors of one class", "remove one"),
        ({"projection": torch.ones(WIDTH, DIM)}, "no vector of any class", "a vector for each"),
        ({**vectors_of(), "projection": torch.ones(DIM, WIDTH)}, r"\(features, 8\); found \(8, 16\)", "transposed"),
        ({**vectors_of(), "projection": torch.ones(20, DIM)}, "of 20 numbers, and those here have 16", "without it"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(tmp_path, arrays, words, remedy):
    path = written(tmp_path / "v.safetensors", **arrays)
    with pytest.raises(UsageError, match=words) as refused:
        begun(path)
    assert remedy in refused.value.remedy


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nothing.npz", "No such file"),
        ("broken.npz", "cannot be read"),
        ("broken.safetensors", "cannot be read"),
        ("words.txt", "a .safetensors or .npz file"),
    ],
)
def test_a_file_that_is_none_is_refused(tmp_path, name, words):
    if not name.startswith("nothing"):
        (tmp_path / name).write_bytes(b"no arrays")
    with pytest.raises(UsageError, match=words) as refused:
        ClassVectors.read(ClassFile(path=tmp_path / name, width=DIM))
    assert "a vector for each class" in refused.value.remedy


def test_a_backbone_that_learns_has_no_class_vectors_of_a_file(tmp_path):
    config = TrainConfig(model=model_config("clip-temporal"), finetune=FinetuneConfig(learns="all"))
    with pytest.raises(UsageError, match="goes with cached features") as refused:
        replace(config, model=config_of(tmp_path / "v.npz"))
    assert refused.value.remedy == "leave out --class-vectors or --finetune"
