"""Re-caching and its command: what is refused, and by which name."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from extract_samples import assert_same, make_pile
from recaching_samples import LEARNT, again, extract, weights_of
from refusals import differs
from watch_samples import Calling

from est.cache import convert_cache, open_cache
from est.cache.trained import TrainedOn
from est.cli import main
from est.crops.views import ViewConfig
from est.encoders.weights import Weights, load_weights
from est.errors import CacheError, EstError, RecipeMismatch, UsageError
from est.extract.planning.preparation import describe
from est.extract.recaching import MAX_VIEWS, ArrayPlan


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("recaching")


@pytest.fixture(scope="module")
def pile(folder) -> Path:
    (folder / "pile").mkdir()
    return make_pile(folder / "pile")


@pytest.fixture(scope="module")
def with_crops(pile, folder) -> Path:
    extract(pile, folder / "crops.zarr", crops=True)
    return folder / "crops.zarr"


@pytest.fixture(scope="module")
def without_crops(pile, folder) -> Path:
    extract(pile, folder / "bare.zarr")
    return folder / "bare.zarr"


@pytest.fixture(scope="module")
def tuned(folder) -> Weights:
    return weights_of(folder, 1, LEARNT)


@pytest.fixture(scope="module")
def others(folder) -> list[Weights]:
    return [weights_of(folder, 2), weights_of(folder, 3)]


def test_other_settings_are_refused_by_their_name(with_crops, without_crops, tuned, others, tmp_path):
    out = tmp_path / "out.zarr"
    again(with_crops, out, tuned, views=1)
    with pytest.raises(RecipeMismatch, match=differs("gap.weights", "seed1.safetensors", "seed2.safetensors")):
        again(with_crops, out, others[0], views=1)
    with pytest.raises(RecipeMismatch, match=r"gap_view1\.look .*shift 0.2"):
        again(with_crops, out, tuned, views=1, view_config=ViewConfig(shift=0.2))
    with pytest.raises(RecipeMismatch, match=differs("gap.dtype", "float16", "float32")):
        again(with_crops, out, tuned, views=1, dtype="float32")
    with pytest.raises(RecipeMismatch, match="also has the features gap_view1") as error:
        again(with_crops, out, tuned)
    assert error.value.remedy == "ask for all of them: --features gap --views 1"
    with pytest.raises(RecipeMismatch, match=r"out.zarr has crops none, you asked for stored"):
        again(with_crops, out, tuned, views=1, crops=True)
    with pytest.raises(RecipeMismatch, match=differs("crops", "jpeg 95", "none")):
        again(without_crops, out, tuned, views=1)


def test_another_cache_of_the_same_recipe_is_not_gone_on_with(pile, with_crops, tuned, tmp_path):
    extract(pile, tmp_path / "fewer.zarr", limit=3, crops=True)
    again(tmp_path / "fewer.zarr", tmp_path / "out.zarr", tuned)
    with pytest.raises(RecipeMismatch, match=r"2 clips of .*out.zarr are not those of .*crops.zarr: "):
        again(with_crops, tmp_path / "out.zarr", tuned)


def test_names_and_numbers_that_cannot_be(with_crops, tuned, others, tmp_path):
    out = tmp_path / "out.zarr"
    with pytest.raises(UsageError, match="is the cache whose crops are read"):
        again(with_crops, with_crops.parent / "pile" / ".." / with_crops.name, tuned)
    for views in (-1, MAX_VIEWS + 1):
        with pytest.raises(UsageError, match=f"from 0 to {MAX_VIEWS}, found {views}"):
            again(with_crops, out, tuned, views=views)
    nothing = ViewConfig(shift=0, zoom=0, brightness=0, blur=0, occlusion=0, flip=False)
    with pytest.raises(UsageError, match="without any change"):
        again(with_crops, out, tuned, views=1, view_config=nothing)
    with pytest.raises(UsageError, match="no array"):
        again(with_crops, out, [])
    with pytest.raises(UsageError, match="Two arrays are named 'gap_flip'"):
        again(with_crops, out, [ArrayPlan(name=name, weights=tuned) for name in ("gap", "gap_flip")], flip=True)
    with pytest.raises(UsageError, match="A feature array is named"):
        again(with_crops, out, [ArrayPlan(name="fold 1", weights=tuned)])
    with pytest.raises(UsageError, match="A feature is one of"):
        again(with_crops, out, [ArrayPlan(name="gap", tap="layer9", weights=tuned)])
    assert not out.exists()


def test_parts_that_would_leak_are_refused(with_crops, tuned, others, folder, tmp_path):
    def expect(message, parts, weights=tuned, kind=EstError):
        with pytest.raises(kind, match=message):
            again(with_crops, tmp_path / "out.zarr", [ArrayPlan(name="gap", weights=weights, parts=parts)])
        assert not (tmp_path / "out.zarr").exists()

    learnt = weights_of(tmp_path, 9, TrainedOn(clips=("whole", "turned"), how="est tune"))
    expect("has learnt from 1 of the 2 clips whose rows", [(learnt, frozenset({"whole", "pictures"}))])
    expect("no record of, so the leak check", [(learnt, frozenset({"pictures"}))], weights=others[0])
    expect("name clips that .* has not: nobody", [(others[0], frozenset({"nobody"}))], kind=UsageError)
    shared = [(others[0], frozenset({"whole"})), (others[1], frozenset({"whole"}))]
    expect("share clips", shared, kind=UsageError)
    odd = load_weights(str(folder / "seed2.safetensors"), normalize="imagenet")
    expect("for pixels of one kind", [(odd, frozenset({"whole"}))], kind=UsageError)
    plan = ArrayPlan(name="gap", weights=tuned, parts=[(learnt, frozenset({"pictures"}))])
    assert again(with_crops, tmp_path / "out.zarr", [plan]).clips == 5


def test_weights_without_a_record_are_named(with_crops, tuned, others, tmp_path):
    said: list[str] = []
    again(with_crops, tmp_path / "out.zarr", others[0], watch=Calling(say=said.append))
    assert [line for line in said if "leak check" in line] == [
        "seed2.safetensors has no record of the clips it was trained on: the leak check cannot cover it"
    ]
    for weights in (tuned, load_weights("random"), load_weights("synface")):
        assert not any("leak check" in line for line in describe(weights))


def test_crops_that_cannot_be_had_again(pile, tuned, tmp_path):
    shutil.copytree(pile.parent, tmp_path / "own")
    source, out = tmp_path / "bare.zarr", tmp_path / "out.zarr"
    extract(tmp_path / "own" / "list.csv", source)
    shutil.move(tmp_path / "own" / "turned.mp4", tmp_path / "elsewhere.mp4")
    with pytest.raises(CacheError, match=r"The crops of 1 clip of .*bare.zarr cannot be cut again.*turned: ") as error:
        again(source, out, tuned)
    assert "extract with --crops into a new cache" in str(error.value.remedy)
    assert not out.exists()
    with pytest.raises(UsageError, match="has no crops"):
        again(source, out, tuned, crops=True)
    convert_cache(source, tmp_path / "shared.zarr", share=True)
    with pytest.raises(UsageError, match="no crops and no record of the sources") as error:
        again(tmp_path / "shared.zarr", out, tuned)
    assert "--crops" in str(error.value.remedy)


# --- the command ---


@pytest.fixture
def est(capsys):
    """`est(arguments…)` runs the command; returns its status, the last event and stderr."""

    def run(*arguments):
        with pytest.raises(SystemExit) as stop:
            main([*map(str, arguments), "--json"])
        out, err = capsys.readouterr()
        return stop.value.code, json.loads(out.splitlines()[-1]), err

    return run


def test_the_command_is_the_call(est, with_crops, tuned, folder, tmp_path):
    out, same = tmp_path / "out.zarr", tmp_path / "same.zarr"
    options = ["--from", with_crops, "--weights", folder / "seed1.safetensors", "--out", out, "--precision", "fp32"]
    more = ["--features", "gap,layer4", "--flip", "--views", 1, "--crops"]
    status, shown, _ = est("extract", *options, *more, "--dry-run")
    names = ["gap", "gap_flip", "gap_view1", "layer4", "layer4_flip", "layer4_view1"]
    assert (status, shown["features"], shown["clips"], shown["crops"]) == (0, names, 5, "stored")
    assert not out.exists()
    status, shown, _ = est("extract", *options, *more, "--workers", 2)
    assert (status, shown["event"], shown["from"], shown["clips"]) == (0, "result", str(with_crops), 5)
    assert shown["filling"] == names
    plans = [ArrayPlan(name=tap, tap=tap, weights=tuned) for tap in ("gap", "layer4")]
    again(with_crops, same, plans, flip=True, views=1, crops=True)
    assert_same(out, same)
    assert open_cache(out).recipes == open_cache(same).recipes
    status, shown, _ = est("extract", *options, *more)
    assert (status, shown["unchanged"], shown["clips"]) == (0, 5, 0)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["videos"], "INPUT"),
        (["--size", "224"], "--size"),  # though it is the default: somebody wants it
        (["--detector", "none"], "--detector"),
        (["--align", "5point", "--limit", "3"], "--limit, --align"),
        (["--labels", "folders"], "--labels"),
        (["--dataset", "dfew"], "--dataset"),
        (["--retry-failed"], "--retry-failed"),
        (["--compare-detectors", "2"], "--compare-detectors"),
        (["--crop-quality", "90"], "--crop-quality"),
        (["--no-face", "skip"], "--no-face"),
    ],
)
def test_options_that_make_crops_of_videos_are_refused(est, with_crops, tmp_path, options, named):
    status, error, _ = est("extract", "--from", with_crops, "--out", tmp_path / "out.zarr", *options)
    assert (status, error["event"]) == (2, "error")
    assert f"and {named} are options for making crops" in error["message"]
    assert not (tmp_path / "out.zarr").exists()


def test_the_command_refuses_what_has_no_meaning(est, with_crops, tmp_path):
    status, error, _ = est("extract", "videos", "--views", 3, "--out", tmp_path / "out.zarr")
    assert (status, error["message"]) == (2, "Views are made of stored crops: --views needs --from.")
    assert "--crops" in error["remedy"]
    assert "--views 3" in error["remedy"]
    status, error, _ = est("extract", "--from", with_crops, "--weights", "random")
    assert (status, error["message"]) == (2, "No output is given: --out names the new cache.")
    status, error, _ = est("extract", "--from", tmp_path / "none.zarr", "--out", tmp_path / "out.zarr")
    assert (status, "does not exist" in error["message"]) == (error["kind"] and status, True)
    status, error, _ = est("extract", "--from", with_crops, "--weights", "random", "--out", with_crops)
    assert "needs another name" in error["message"]
    tuning = ("recache", with_crops, "--tune", "--out", tmp_path / "out.zarr")
    status, error, _ = est(*tuning, "--precision", "int8")
    assert (status, "tuned in auto, fp32, bf16 or fp16, and not in int8" in error["message"]) == (2, True)
    assert error["remedy"].startswith("--rows-precision int8")
    status, error, _ = est(*tuning, "--rows-precision", "bf16", "--engine", "onnxruntime")
    assert (status, error["remedy"].endswith("or --rows-precision fp32")) == (2, True)
    assert not (tmp_path / "out.zarr").exists()


@pytest.mark.parametrize(
    "options",
    [
        ["--engine", "onnxruntime", "--precision", "bf16"],
        ["--engine", "torch", "--precision", "int8"],
        ["--views", "17"],
        ["--device", "gpu"],
    ],
)
def test_a_dry_run_refuses_what_the_run_refuses(est, with_crops, tmp_path, options):
    call = ["extract", "--from", with_crops, "--weights", "random", "--out", tmp_path / "out.zarr", *options]
    dry, real = est(*call, "--dry-run"), est(*call)
    assert (dry[0], dry[1]["message"], dry[1]["remedy"]) == (real[0], real[1]["message"], real[1]["remedy"])
    assert dry[1]["event"] == "error"
    assert not (tmp_path / "out.zarr").exists()
