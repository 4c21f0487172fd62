"""Caches by engine: the same bytes whatever the workers, the engine that a cache was started with, and what is refused."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from extract_samples import QUICK, contents, extract
from refusals import differs
from video_samples import make_video
from watch_samples import Calling

from est.cache import Recipes, convert_cache, merge_caches, open_cache
from est.cache.schema import FeatureSpec
from est.cli import main
from est.encoders.engines import choice
from est.encoders.engines.calibration import bits_of, joined
from est.encoders.engines.choice import Begun
from est.encoders.engines.runtime import RuntimeEngine
from est.encoders.weights import load_weights
from est.errors import EstError, RecipeMismatch, UsageError
from est.extract.begun import begun_in, computation_for, earlier_in, expect_calibration, expect_precision_of
from est.extract.recaching import ArrayPlan, recache
from est.extract.recipes import calibration_of, calibration_of_all, first_calibration
from est.infer.prediction.encoders import ArraysDeviceWorker, FrameArray

CPU = torch.device("cpu")
INT8 = replace(QUICK, weights="synface", size=32, detector="none", precision="int8", workers=1)


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """Two videos of colours."""
    folder, draw = tmp_path_factory.mktemp("videos"), np.random.default_rng(0)
    for name in "ab":
        make_video(folder / f"{name}.mp4", list(draw.integers(0, 255, (20, 48, 48, 3), np.uint8)))
    return folder


@pytest.fixture(scope="module")
def begun(videos, tmp_path_factory):
    """A cache in int8."""
    path = tmp_path_factory.mktemp("int8") / "c.zarr"
    extract(videos, path, INT8)
    return path


def test_int8_has_the_same_bytes_in_parts_and_with_more_workers(videos, begun, tmp_path):
    recipe = open_cache(begun).recipes.features["gap"]
    assert (recipe.engine, recipe.precision) == ("onnxruntime", "int8")
    assert open_cache(begun).environment["kernels"] == "onnxruntime"
    assert recipe.calibration.startswith(f"{choice.bits_here()}-bit weights, ranges ")
    extract(videos, tmp_path / "c.zarr", INT8, limit=1)
    extract(videos, tmp_path / "c.zarr", INT8, workers=2)
    whole, parts = contents(begun), contents(tmp_path / "c.zarr")
    for name, rows in whole.items():
        np.testing.assert_array_equal(parts[name], rows, err_msg=name)


def test_a_feature_that_the_encoder_lacks_is_refused_before_an_export(videos, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "engines"))
    with pytest.raises(UsageError, match="found 'foo'"):
        extract(videos, tmp_path / "c.zarr", INT8, features=("gap", "foo"))
    assert not list(tmp_path.iterdir())


def test_a_prediction_makes_the_rows_of_the_cache(begun):
    cache = open_cache(begun)
    recipe, crops = cache.recipes.features["gap"], np.zeros((2, 32, 32, 3), np.uint8)
    array = FrameArray(
        name="gap",
        spec=FeatureSpec(dtype="float32", shape=(512,)),
        tap="gap",
        precision=recipe.precision,
        engine=recipe.engine,
        calibration=recipe.calibration,
        weights=load_weights("synface"),
    )
    worker = ArraysDeviceWorker(torch.device("cpu"), "fp32", INT8, [array])
    row = worker.encode(crops).result()["gap"][0]
    np.testing.assert_array_equal(row.astype(np.float16), np.array(cache.black["gap"], np.float16))
    mine, theirs = recipe.calibration, recipe.calibration[:-1] + "-"
    crossed = replace(
        array, name="gap_fold1", calibration=calibration_of([mine, theirs])
    )  # other clips by another encoder
    ArraysDeviceWorker(torch.device("cpu"), "fp32", INT8, [array, crossed])
    for names in ([theirs], [theirs, mine]):
        other = replace(crossed, calibration=calibration_of(names))
        with pytest.raises(RecipeMismatch, match="with another calibration") as refused:
            ArraysDeviceWorker(torch.device("cpu"), "fp32", INT8, [array, other])
        assert "--precision fp32, whose rows differ slightly" in refused.value.remedy
    later = replace(crossed, calibration=calibration_of([mine.replace(" weights", " weights, rounding 2"), mine]))
    with pytest.raises(RecipeMismatch, match="with other rounding") as refused:
        ArraysDeviceWorker(torch.device("cpu"), "fp32", INT8, [array, later])
    assert "copy" not in refused.value.remedy
    ArraysDeviceWorker(
        torch.device("cpu"), "fp32", INT8, [replace(array, calibration=joined([theirs, mine]))]
    )  # of earlier


def test_the_calibration_of_several_encoders_tells_that_of_the_first():
    one, two = "7-bit weights, ranges 00", "7-bit weights, ranges 11"
    assert [calibration_of(names) for names in ([""], [one], [one, one])] == ["", one, one]
    both = calibration_of([one, two])
    assert (first_calibration(both), first_calibration(one), first_calibration("")) == (one, one, "")
    assert bits_of(both) == 7
    assert len({both, calibration_of([two, one]), calibration_of([one, two, one + "2"])}) == 3
    assert first_calibration(joined([one, two])) == ""


def test_another_calibration_is_not_gone_on_with(videos, begun, monkeypatch):
    monkeypatch.setattr("est.encoders.engines.calibration.SHOWN", 15)  # another digest
    with pytest.raises(RecipeMismatch, match=r"gap of .* was made with another calibration") as refused:
        extract(videos, begun, INT8)
    assert ".ranges from the machine that started the cache" in refused.value.remedy
    monkeypatch.undo()
    with monkeypatch.context() as later:
        later.setattr("est.encoders.engines.calibration.ROUNDING", 2)
        with pytest.raises(RecipeMismatch, match=r"gap of .* with other rounding: .*-bit weights, rounding 2, ranges"):
            extract(videos, begun, INT8)
    monkeypatch.setattr(choice, "kind_of_processor", lambda: "AVX2")
    bits = int(open_cache(begun).recipes.features["gap"].calibration[0])
    if bits == 8:
        with pytest.raises(EstError, match=r"started in int8\. Weights of 8 bits need") as refused:
            extract(videos, begun, INT8)
        assert "another --out: its weights then have 7 bits" in refused.value.remedy


def test_what_a_cache_was_begun_in(begun, tmp_path):
    assert begun_in(earlier_in(begun)) == Begun(engine="onnxruntime", precision="int8", bits=choice.bits_here())
    assert begun_in(earlier_in(tmp_path / "new.zarr")) == Begun()


def test_the_bits_and_the_detector_of_the_cache_are_taken(videos, begun, monkeypatch):
    there = Begun(engine="onnxruntime", precision="int8", searching="fp32", bits=7)
    monkeypatch.setattr("est.extract.begun.begun_in", lambda earlier: there)
    for precision in ("auto", "int8"):
        found = computation_for(replace(INT8, precision=precision), earlier_in(begun), [CPU])
        assert (found.engine, found.precision, found.bits, found.searching) == ("onnxruntime", "int8", 7, "fp32")


def test_the_same_command_resumes_and_so_does_one_without_flags(videos, begun, tmp_path):
    path = tmp_path / "c.zarr"
    shutil.copytree(begun, path)
    said = []
    assert extract(videos, path, INT8).unchanged == 2
    assert extract(videos, path, INT8, precision="auto", watch=Calling(say=said.append)).unchanged == 2
    bits = "" if choice.bits_here() == 8 else ", weights of 7 bits"
    assert f"cpu in int8 by onnxruntime: as the cache was started{bits}" in said


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"precision": "fp32"}, r"has precision int8, you asked for fp32\."),
        (
            {"precision": "auto", "engine": "torch"},
            r"precision +int8 +auto \((bf16|fp32) here\)\n +engine +onnxruntime +torch",
        ),
    ],
)
def test_another_precision_or_engine_is_refused_with_what_the_cache_has(videos, begun, tmp_path, capsys, asked, told):
    path = tmp_path / "c.zarr"
    shutil.copytree(begun, path)
    with pytest.raises(RecipeMismatch, match=told) as refused:
        extract(videos, path, INT8, **asked)
    assert refused.value.remedy.startswith("--precision int8")
    options = [f"--{name}={value}" for name, value in asked.items()]
    line = [videos, "--out", path, "--weights", "synface", "--size", "32", "--detector", "none", *options]
    with pytest.raises(SystemExit) as ended:
        main(["extract", *map(str, line), "--dry-run"])
    assert ended.value.code == 1
    assert re.search(told, capsys.readouterr().err)
    with pytest.raises(RecipeMismatch, match=told) as refused:
        recache(begun, path, [], replace(INT8, **asked))
    assert refused.value.remedy.startswith("--precision int8")


def test_a_copy_without_features_binds_no_encoder(begun, tmp_path, monkeypatch):
    """A re-caching that was interrupted before its first row: its detector's precision says nothing of rows, and nothing is detected."""
    convert_cache(begun, tmp_path / "c.zarr", features=[])
    cache = open_cache(tmp_path / "c.zarr")
    recipes = Recipes(frames=replace(cache.recipes.frames, precision="bf16"), features={})
    monkeypatch.setattr(type(cache), "recipes", recipes)
    monkeypatch.setattr("est.extract.begun.why_emulated", lambda name, device: "It is emulated.")
    assert begun_in(earlier_in(cache.path)) == Begun(searching="bf16")
    expect_precision_of(earlier_in(cache.path), [CPU], detects=False)
    with pytest.raises(EstError, match="started in bf16"):
        expect_precision_of(earlier_in(cache.path), [CPU])


def test_a_detector_that_would_be_emulated_is_refused_in_int8(begun, monkeypatch):
    cache = open_cache(begun)
    frames = replace(cache.recipes.frames, precision="bf16")
    features = {name: replace(recipe, parent=frames.fingerprint) for name, recipe in cache.recipes.features.items()}
    monkeypatch.setattr(type(cache), "recipes", Recipes(frames=frames, features=features))
    assert begun_in(earlier_in(begun)).searching == "bf16"
    monkeypatch.setattr(
        "est.extract.begun.why_emulated", lambda name, device: "It is emulated." if name == "bf16" else None
    )
    with pytest.raises(EstError, match=r"started in bf16, as far as its detector goes\. It is emulated") as refused:
        expect_precision_of(earlier_in(begun), [CPU])
    assert refused.value.remedy.endswith("or another --out")


def test_arrays_that_are_being_filled_count_as_begun(begun, tmp_path, monkeypatch):
    def stop(state):
        if state.stage != "copying the clips" and state.done:
            raise KeyboardInterrupt

    monkeypatch.setattr("est.extract.workers.pipeline.PROGRESS_SECONDS", 0.0)
    monkeypatch.setattr("est.cache.writing.writer.COMMIT_BYTES", 1)
    plans = [ArrayPlan(name="gap", weights=load_weights("synface"))]
    with pytest.raises(KeyboardInterrupt):
        recache(begun, tmp_path / "c.zarr", plans, INT8, watch=Calling(progress=stop))
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr("est.encoders.engines.calibration.SHOWN", 15)  # another digest
        with pytest.raises(RecipeMismatch, match=r"gap of .* was made with another calibration") as refused:
            recache(begun, tmp_path / "c.zarr", plans, INT8)
        assert ".ranges from the machine that started the cache" in refused.value.remedy
    cache = open_cache(tmp_path / "c.zarr")
    assert (set(cache.recipes.features), set(cache.snapshot.manifest.filling)) == (set(), {"gap"})
    assert "onnxruntime" in cache.environment["versions"]
    assert cache.environment["kernels"] == "onnxruntime"
    assert begun_in(earlier_in(cache.path)) == Begun(engine="onnxruntime", precision="int8", bits=choice.bits_here())
    with pytest.raises(EstError, match=r"started by onnxruntime, .*the device is cuda:0"):
        expect_precision_of(earlier_in(cache.path), [torch.device("cuda", 0)])
    recipes = open_cache(begun).recipes
    other = replace(recipes.features["gap"], calibration=f"{choice.bits_here()}-bit weights, ranges of others")
    for number, named in ((1, "copy 0.ranges from"), (2, "copy 0.ranges and 1.ranges from"), (9, "copy all *.ranges")):
        encoders = [SimpleNamespace(digest=str(place)) for place in range(number)]
        with pytest.raises(RecipeMismatch, match=r"gap of .* was made with another calibration") as refused:
            expect_calibration(cache.path, replace(recipes, features={"gap": other}), encoders)
        assert refused.value.remedy.startswith(named)


def test_a_cross_fitted_cache_of_earlier_code_is_resumed(begun, tmp_path, monkeypatch):
    """Its recipes name the calibrations of all encoders together, and not that of the first."""

    def stop(state):
        if state.stage != "copying the clips" and state.done:
            raise KeyboardInterrupt

    parts = [(load_weights("random"), frozenset({"a"}))]
    plans = [ArrayPlan(name="gap_fold1", weights=load_weights("synface"), parts=parts)]
    monkeypatch.setattr("est.extract.workers.pipeline.PROGRESS_SECONDS", 0.0)
    monkeypatch.setattr("est.cache.writing.writer.COMMIT_BYTES", 1)
    monkeypatch.setattr("est.extract.recipes.calibration_of", joined)
    with pytest.raises(KeyboardInterrupt):
        recache(begun, tmp_path / "c.zarr", plans, INT8, watch=Calling(progress=stop))
    (filling,) = open_cache(tmp_path / "c.zarr").snapshot.manifest.filling.values()
    monkeypatch.undo()
    assert recache(begun, tmp_path / "c.zarr", plans, INT8).filled == 1  # of two
    recipe = open_cache(tmp_path / "c.zarr").recipes.features["gap_fold1"]
    assert recipe == filling.recipe
    assert first_calibration(recipe.calibration) == ""
    assert recache(begun, tmp_path / "c.zarr", plans, INT8).unchanged == 2
    built, make = [], RuntimeEngine.__init__
    monkeypatch.setattr(RuntimeEngine, "__init__", lambda self, *a, **b: (built.append(self), make(self, *a, **b))[1])
    recache(begun, tmp_path / "new.zarr", plans, INT8)
    assert len(built) == 2  # each encoder once
    new = open_cache(tmp_path / "new.zarr")
    assert calibration_of_all(new.recipes.features["gap_fold1"].calibration) == recipe.calibration
    assert first_calibration(new.recipes.features["gap_fold1"].calibration)
    for name, rows in contents(new.path).items():
        np.testing.assert_array_equal(contents(tmp_path / "c.zarr")[name], rows, err_msg=name)


@pytest.mark.slow
def test_auto_goes_on_with_the_engine_of_the_cache(videos, tmp_path, monkeypatch):
    fp32 = replace(INT8, precision="fp32")
    extract(videos, tmp_path / "torch.zarr", fp32, engine="torch", limit=1)
    extract(videos, tmp_path / "ort.zarr", fp32, engine="onnxruntime", limit=1)
    monkeypatch.setattr(choice, "is_fast_here", lambda: True)
    for engine in ("torch", "ort"):
        extract(videos, tmp_path / f"{engine}.zarr", fp32)
    assert [open_cache(tmp_path / f"{name}.zarr").recipes.features["gap"].engine for name in ("torch", "ort")] == [
        "torch",
        "onnxruntime",
    ]
    assert "engine" not in open_cache(tmp_path / "torch.zarr").recipes.features["gap"].identity()
    with pytest.raises(RecipeMismatch, match=differs("engine", "torch", "onnxruntime")) as refused:
        extract(videos, tmp_path / "torch.zarr", fp32, engine="onnxruntime")
    assert "--engine torch" in refused.value.remedy
    theirs, ours = (open_cache(tmp_path / f"{name}.zarr").clip("a").features["gap"] for name in ("torch", "ort"))
    np.testing.assert_allclose(
        ours.astype(float), theirs.astype(float), rtol=2e-3, atol=2e-3
    )  # float16 of nearly the same
    both = [tmp_path / "torch.zarr", tmp_path / "ort.zarr"]
    with pytest.raises(RecipeMismatch, match=r"gap\.engine: torch here, onnxruntime there"):
        merge_caches(both, tmp_path / "all.zarr", duplicates="first")
    assert len(merge_caches(both, tmp_path / "all.zarr", duplicates="first", allow=("gap.engine",))) == 1


@pytest.mark.slow
def test_recaching_in_int8(begun, tmp_path):
    plan = ArrayPlan(name="gap", weights=load_weights("synface"))
    recache(begun, tmp_path / "again.zarr", [plan], INT8)
    first, again = open_cache(begun), open_cache(tmp_path / "again.zarr")
    assert again.recipes.features["gap"] == first.recipes.features["gap"]
    np.testing.assert_array_equal(again.clip("b").features["gap"], first.clip("b").features["gap"])
    crossed = replace(plan, name="gap_crossed", parts=[(load_weights("random"), frozenset({"a"}))])
    recache(begun, tmp_path / "crossed.zarr", [crossed], INT8)
    recipe = open_cache(tmp_path / "crossed.zarr").recipes.features["gap_crossed"]
    assert recipe.calibration.endswith(" of 2 encoders")
    assert first_calibration(recipe.calibration) == first.recipes.features["gap"].calibration  # which est predict has
