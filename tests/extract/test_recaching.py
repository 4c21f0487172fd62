"""Re-caching: the rows of an extraction with these weights from the start, or of several encoders, or of views; or none of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import recaching_samples
import torch
from extract_samples import assert_same, contents, make_pile
from recaching_samples import CLIPS, LEARNT, again, extract, rows, weights_of
from watch_samples import Calling

from est.cache import open_cache, verify_cache
from est.cache.schema import NO_FACE
from est.cache.writing import writer as writer_module
from est.crops.jpeg import decode_crop
from est.crops.views import ViewConfig, draw_view, show
from est.encoders.encoder import Encoder
from est.encoders.engines.preparation import PreparedEncoder
from est.encoders.weights import Weights
from est.errors import RecipeMismatch
from est.extract.recaching import ArrayPlan
from est.extract.workers import pipeline as pipeline_module
from est.extract.workers.batcher import Batcher
from est.extract.workers.device_worker import CROP_BATCH


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


@pytest.fixture
def small_commits(monkeypatch):
    """Commit each clip, and tell of each."""
    monkeypatch.setattr(writer_module, "COMMIT_BYTES", 1)
    monkeypatch.setattr(pipeline_module, "PROGRESS_SECONDS", 0.0)


@pytest.mark.parametrize(
    ("stored", "suffix"),
    [pytest.param(True, ".zarr", id="crops"), pytest.param(False, ".h5", id="sources", marks=pytest.mark.slow)],
)
def test_rows_are_those_of_an_extraction_with_these_weights(
    pile, tuned, folder, tmp_path, request, stored, suffix, monkeypatch
):
    source = request.getfixturevalue("with_crops" if stored else "without_crops")
    once, out = tmp_path / "once.zarr", tmp_path / f"out{suffix}"
    taps = ("gap", "layer4")
    extract(pile, once, weights=str(folder / "seed1.safetensors"), features=taps, flip=True, crops=stored)
    before = contents(source)
    plans = [ArrayPlan(name=tap, tap=tap, weights=tuned) for tap in taps]
    monkeypatch.setattr(PreparedEncoder, "kernels", lambda self, device: "of these rows")  # and not of the source's
    report = again(source, out, plans, flip=True, crops=stored, workers=2, strict=True)
    assert (report.clips, report.frames, report.source) == (5, open_cache(source).num_frames, str(source))
    assert_same(out, once)
    made, wanted = open_cache(out), open_cache(once)
    assert made.recipes == wanted.recipes
    assert made.environment == wanted.environment | {"kernels": "of these rows"}
    assert made.black == wanted.black
    assert made.trained_on("gap") == LEARNT
    assert verify_cache(out).problems == []
    assert made.clip("grey").features["layer4"].shape[1:] == (512, 1, 1)
    assert not any(values.any() for values in made.clip("grey").features.values())
    assert rows(out, "whole").any()
    now = contents(source)  # is only read
    assert all(np.array_equal(now[name], rows, equal_nan=rows.dtype.kind == "f") for name, rows in before.items())


def test_a_finished_one_is_left_as_it_is(with_crops, tuned, tmp_path):
    for out in (tmp_path / "out.zarr", tmp_path / "out.h5"):
        assert again(with_crops, out, tuned).clips == 5
        commit, said = open_cache(out).commit_id, []
        report = again(with_crops, out, tuned, watch=Calling(say=said.append))
        assert (report.clips, report.unchanged, report.filling, said) == (0, 5, (), [])
        assert "nothing was left to do for 5 clips" in report.lines()
        assert open_cache(out).commit_id == commit
    # More of the same weights is added; what is there stays.
    assert again(with_crops, out, tuned, flip=True).filling == ("gap_flip",)
    assert open_cache(out).features == ["gap", "gap_flip"]


def test_encoders_by_clip(with_crops, tuned, others, tmp_path):
    parts = [(others[0], frozenset({"turned", "grey"})), (others[1], frozenset({"whole"}))]
    plan = ArrayPlan(name="gap_fold1", fold="fold 1", weights=tuned, parts=parts)
    assert plan.cross_fit.startswith("2 parts, ")
    out = tmp_path / "out.zarr"
    again(with_crops, out, [plan], flip=True, views=1, workers=2)
    alone = {}
    for number, weights in enumerate((tuned, *others)):
        alone[number] = tmp_path / f"{number}.zarr"
        again(with_crops, alone[number], weights, flip=True, views=1)
    of_clip = {"turned": 1, "grey": 1, "whole": 2}
    for clip in CLIPS:
        for suffix in ("", "_flip", "_view1"):
            expected = rows(alone[of_clip.get(clip, 0)], clip, f"gap{suffix}")
            np.testing.assert_array_equal(rows(out, clip, f"gap_fold1{suffix}"), expected, err_msg=clip + suffix)
    assert not np.array_equal(rows(alone[0], "whole"), rows(alone[2], "whole"))
    cache = open_cache(out)
    assert cache.black["gap_fold1"] == cache.black["gap_fold1_view1"] == open_cache(alone[0]).black["gap"]
    recipe = cache.recipes.features["gap_fold1"]
    assert (recipe.fold, recipe.cross_fit, recipe.weights_digest) == ("fold 1", plan.cross_fit, tuned.digest)
    assert all(cache.trained_on(name) == LEARNT for name in cache.features)
    swapped = [(others[1], parts[0][1]), (others[0], parts[1][1])]
    assert replace(plan, parts=swapped, cross_fit="").cross_fit != plan.cross_fit


@pytest.mark.parametrize("stored", [True, False], ids=["crops", "sources"])
def test_views_are_rows_of_crops_that_were_changed(with_crops, without_crops, tuned, tmp_path, stored):
    look = ViewConfig(shift=0.1, blur=2)
    source, out = with_crops if stored else without_crops, tmp_path / "out.zarr"
    report = again(source, out, tuned, views=2, view_config=look)
    assert report.filling == ("gap", "gap_view1", "gap_view2")
    cache = open_cache(out)
    assert [recipe.view for recipe in cache.recipes.features.values()] == [0, 1, 2]
    assert [recipe.look for recipe in cache.recipes.features.values()] == ["", look.describe(), look.describe()]
    plain = tmp_path / "plain.zarr"
    again(source, plain, tuned)
    assert_same(out, plain, names=["gap"])
    if not stored:
        assert all(rows(out, clip, "gap_view1").any() == (clip != "grey") for clip in CLIPS)
        return
    settings = {"device": torch.device("cpu"), "precision": "fp32", "batch": CROP_BATCH["cpu"]}
    encoder = Encoder(tuned.backbone, ("gap",), **settings)
    for clip in ("turned", "pictures"):
        state = cache.clip(clip).state
        seen = np.flatnonzero(state != NO_FACE)
        pictures = [decode_crop(np.frombuffer(open_cache(source).crops(clip)[frame], np.uint8)) for frame in seen]
        for view in (1, 2):
            drawn = draw_view(clip, view, look)
            shown = np.stack([show(picture, drawn) for picture in pictures])[..., ::-1]
            expected = np.zeros((len(state), 512), np.float16)
            expected[seen] = encoder.encode(np.ascontiguousarray(shown))["gap"]
            np.testing.assert_array_equal(rows(out, clip, f"gap_view{view}"), expected)


def stop_after(clips: int):
    """Return a watch that raises once some clips are written."""

    def progress(state):
        if state.stage.startswith("adding") and state.done >= clips:
            raise KeyboardInterrupt

    return Calling(progress=progress)


@pytest.fixture(scope="module")
def two_folds(tuned, others):
    """Two arrays of different encoders, one of them of two."""
    return [
        ArrayPlan(name="gap_fold1", fold="1", weights=tuned, parts=[(others[0], frozenset({"whole", "turned"}))]),
        ArrayPlan(name="gap_fold2", fold="2", weights=others[1]),
    ]


@pytest.fixture(scope="module")
def undisturbed(with_crops, two_folds, tmp_path_factory):
    path = tmp_path_factory.mktemp("undisturbed") / "out.zarr"
    assert again(with_crops, path, two_folds, views=1).filled == 10
    return path


@pytest.mark.parametrize(
    ("clips", "suffix"),
    [(2, ".zarr"), pytest.param(7, ".h5", marks=pytest.mark.slow)],
    ids=["in the first", "in the second"],
)
def test_a_stopped_one_goes_on(with_crops, two_folds, undisturbed, tmp_path, clips, suffix, small_commits):
    out = tmp_path / f"out{suffix}"
    with pytest.raises(KeyboardInterrupt):
        again(with_crops, out, two_folds, views=1, watch=stop_after(clips))
    assert open_cache(out).features == ([] if clips < 5 else ["gap_fold1", "gap_fold1_view1"])
    with pytest.raises(RecipeMismatch, match=r"half-way|cross_fit"):
        again(with_crops, out, [replace(two_folds[0], parts=(), cross_fit=""), two_folds[1]], views=1)
    told = []
    report = again(with_crops, out, two_folds, views=1, watch=Calling(progress=told.append))
    assert 0 < report.filled <= 10 - clips
    assert told[-1].done == told[-1].total == report.filled
    assert_same(out, undisturbed)
    assert verify_cache(out).problems == []


def test_a_copy_that_was_cut_off_begins_anew(with_crops, tuned, tmp_path):
    out = tmp_path / "out.zarr"

    def stop(progress):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        again(with_crops, out, tuned, watch=Calling(progress=stop))
    assert not out.exists()
    (tmp_path / ".out.growing.zarr" / "frames").mkdir(parents=True)  # what a killed one leaves
    assert again(with_crops, out, tuned).clips == 5
    assert [path.name for path in tmp_path.iterdir() if "growing" in path.name] == []


SCRIPT = """
if __name__ == "__main__":
    import sys
    from est.cache.writing import writer
    from est.extract.workers import pipeline
    from recaching_samples import ArrayPlan, again, load_weights
    from watch_samples import Calling
    writer.COMMIT_BYTES, pipeline.PROGRESS_SECONDS = 1, 0.0
    source, out, *names = sys.argv[1:]
    plans = [ArrayPlan(name=f"gap{n}", weights=load_weights(name)) for n, name in enumerate(names)]
    again(source, out, plans, views=1, watch=Calling(progress=lambda p: print(p.stage, p.done, flush=True)))
"""


@pytest.mark.slow
@pytest.mark.parametrize("line", ["copying the clips 3", "adding gap0, gap0_view1 2", "adding gap1, gap1_view1 8"])
def test_a_killed_one_goes_on(with_crops, others, folder, tmp_path, line):
    names = [str(folder / f"seed{seed}.safetensors") for seed in (2, 3)]
    plans = [ArrayPlan(name=f"gap{n}", weights=weights) for n, weights in enumerate(others)]
    again(with_crops, tmp_path / "undisturbed.zarr", plans, views=1)
    script = tmp_path / "run.py"
    script.write_text(SCRIPT)
    command = [sys.executable, str(script), str(with_crops), str(tmp_path / "out.zarr"), *names]
    environment = {**os.environ, "PYTHONPATH": str(Path(recaching_samples.__file__).parent)}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=environment, start_new_session=True
    ) as running:
        assert running.stdout is not None
        assert any(said.strip() == line for said in running.stdout)
        os.killpg(running.pid, signal.SIGKILL)
    again(with_crops, tmp_path / "out.zarr", plans, views=1)
    assert_same(tmp_path / "out.zarr", tmp_path / "undisturbed.zarr")


def test_batches_never_mix_ways():
    batcher = Batcher(2)
    picture = np.zeros((4, 4, 3), np.uint8)
    for clip, way in enumerate(("a", "b", "a", "b", "c")):
        assert not batcher.is_ready or clip > 2
        batcher.add(clip, picture, None, way)
    taken = [batcher.take(partial=True) for _ in range(3)]
    assert [[item.way for item in batch] for batch in taken] == [["a", "a"], ["b", "b"], ["c"]]
    assert (len(batcher), batcher.take(partial=True)) == (0, [])
