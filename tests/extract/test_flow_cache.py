"""Caches of flow: what is in them, the same bytes whatever happens, and what is refused."""

from __future__ import annotations

import json
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from extract_samples import assert_same, face_frames
from flow_samples import FLOW, moving, write_frames
from refusals import differs
from watch_samples import Calling

from est.cache import CacheWriter, open_cache, verify_cache
from est.cache.recipe import ANNOTATED_APEX
from est.cache.writing import writer as writer_module
from est.cache.writing.restart import remove_without_clips
from est.cli import main
from est.crops.jpeg import decode_crop
from est.encoders.weights import load_weights
from est.errors import RecipeMismatch, UsageError
from est.extract.command import expect_as_made, options_of_frames
from est.extract.config import ExtractConfig
from est.extract.extraction import extract_videos
from est.extract.flow.field import row_of
from est.extract.modality import Flow
from est.extract.planning import estimate
from est.extract.planning.trial import Trial
from est.extract.recaching import ArrayPlan, recache
from est.extract.workers import pipeline as pipeline_module
from est.extract.workers.flow_again import fields_again
from est.extract.workers.task import StageError
from est.inputs.input import Input, find_inputs
from est.inputs.relabelling import plan_relabelling
from est.train.data.pixels import choose_source

LIST = """path,id,label,subject,onset,apex,offset,extra:database
long,long,a,s1,2,9,15,one
short,short,b,s2,3,6,7,one
long,bare,b,s3,,,,two
long,turned,a,s1,9,4,12,
gone,gone,a,s4,2,9,15,three
"""
WHOLE = replace(FLOW, flip=True, crops=True)


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("flow")
    write_frames(folder / "long", moving(20))
    write_frames(folder / "short", moving(9, (0.2, 0.5)))
    (folder / "list.csv").write_text(LIST)
    return folder / "list.csv"


@pytest.fixture(scope="module")
def cached(clips):
    path = clips.parent / "cache.zarr"
    return path, extract_videos(find_inputs([clips]), path, WHOLE)


def extract(clips, out, config=WHOLE, **more):
    return extract_videos(find_inputs([clips]), out, config, **more)


def test_a_cache_of_flow_is_whole_and_says_what_it_is(cached):
    path, report = cached
    cache = open_cache(path)
    assert cache.ids == ["long", "short"]
    assert not verify_cache(path).problems
    frames = cache.recipes.frames
    assert frames.by_annotated_apex
    assert ANNOTATED_APEX in frames.sampling
    assert frames.flow == "farneback 0.5, 3, 15, 3, 5, 1.2"
    assert {name: (r.modality, r.tap, r.mirrored) for name, r in cache.recipes.features.items()} == {
        "gap": ("flow", "gap", False),
        "gap_flip": ("flow", "gap", True),
        "flow": ("flow", "flow", False),
    }
    assert cache.recipes.features["flow"].shape == (2, 112, 112)
    np.testing.assert_array_equal(cache.clips.count, 11)
    row = cache.clips.row("short")
    assert row["extra"]["flow_frames"] == pytest.approx(
        [4, 4.5, 5, 5 + 1 / 3, 5 + 2 / 3, 6, 6 + 1 / 3, 6 + 2 / 3, 7, 7.5, 8]
    )
    assert (row["onset"], row["apex"], row["offset"], row["box_jitter"]) == (-1, -1, -1, 0)
    assert not report.misplaced
    told = {failure.id: failure.error for failure in cache.failures}
    assert told.keys() == {"bare", "turned", "gone"}
    assert {failure.id: failure.extra for failure in cache.failures} == {
        "bare": {"database": "two"},
        "turned": {},
        "gone": {"database": "three"},
    }, "scores by database count what failed"
    assert "--flow-frames auto" in told["bare"]
    assert "before its onset" in told["turned"]


def test_rows_are_those_of_the_stored_pictures(cached):
    cache = open_cache(cached[0])
    pixels = np.stack([decode_crop(jpeg) for jpeg in cache.crops("long")])[..., ::-1]
    encoder = load_weights("random").backbone
    with torch.inference_mode():
        images = torch.from_numpy(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2).float() / 255
        expected = encoder.taps(images, ("gap",))["gap"]
    clip = cache.clip("long")
    np.testing.assert_allclose(clip.features["gap"], expected, atol=2e-3, rtol=2e-3)
    assert np.abs(clip.features["gap"].astype(float) - clip.features["gap_flip"]).max() > 0.05


def test_moments_are_not_relabelled(cached, clips):
    with pytest.raises(UsageError, match="other onsets and apexes would change") as refused:
        plan_relabelling(cached[0], [clips])
    columns = refused.value.remedy.rpartition("--only ")[2].split(",")
    assert columns == ["label", "subject", "extra:database"], "those of the list"
    assert plan_relabelling(cached[0], [clips], only=columns).changes == ()
    (clips.parent / "moments.csv").write_text("id,onset\nlong,2\n")
    with pytest.raises(UsageError, match="other onsets") as refused:
        plan_relabelling(cached[0], [clips.parent / "moments.csv"])
    assert "--only" not in refused.value.remedy


def test_other_settings_are_refused_and_the_options_told(cached, clips):
    path = cached[0]
    for config, told in (
        (ExtractConfig(weights="random", size=32), differs("modality", "flow", "face")),
        (replace(WHOLE, flow_frames="whole"), differs("flow_frames", "apex", "whole")),
        (replace(WHOLE, margin=0.5), differs("margin", 0.0, 0.5)),
    ):
        with pytest.raises(RecipeMismatch, match=told):
            extract(clips, path, config)
    assert list(options_of_frames(open_cache(path).recipes.frames)) == [
        *("--modality", "flow", "--detector", "none", "--size", "32", "--crops")
    ]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"face": "all"}, "--face all"),
        ({"align": "5point", "detector": "retinaface"}, "--align 5point"),
        ({"smooth": 0.0}, "--smooth 0.0"),
        ({"detect_every": 1}, "--detect-every 1"),
        ({"modality": "face"}, "feature flow needs --modality flow"),
        ({"modality": "face", "flow_frames": "whole"}, "--flow-frames needs"),
        ({"modality": "flwo"}, "flow"),
        ({"flow_frames": "all"}, "apex"),
    ],
)
def test_options_that_flow_has_no_use_for_are_refused(changes, told):
    with pytest.raises(UsageError, match=told):
        replace(FLOW, **changes)


def status_of(call) -> int:
    with pytest.raises(SystemExit) as ended:
        main(call)
    return ended.value.code


def test_a_list_without_moments_is_refused_before_weights_are_loaded(clips, tmp_path, capsys):
    whole = clips.parent
    for name, columns in (("onset", "path"), ("apex", "path,onset")):
        (whole / "bare.csv").write_text(f"{columns}\nlong{',2' * (name == 'apex')}\n")
        call = ["extract", str(whole / "bare.csv"), "--modality", "flow", "--out", str(tmp_path / "x.zarr"), "--json"]
        for more in ([], ["--dry-run"]):
            assert status_of([*call, *more]) == 2
            said = json.loads(capsys.readouterr().out.splitlines()[-1])
            assert f"the {name} is known" in said["message"]
            assert said["remedy"].startswith(f"a column {name} in the list")
            assert "--flow-frames whole" in said["remedy"]
    assert status_of(["extract", str(clips), "--flow-frames", "whole", "--out", str(tmp_path / "x.zarr")]) == 2
    assert not (tmp_path / "x.zarr").exists()


COUNTS = {"clips": 1, "frames": 11, "rows": 11, "crop_bytes": 0, "rate": 0.0, "own_bytes": 0, "worker_bytes": 0}
NOT_TRIED = Trial(**COUNTS, declared=(), failures=())


def without_clips(cached, path):
    """Make a cache of the same settings, in which all that was extracted failed."""
    recipes = open_cache(cached[0]).recipes
    with CacheWriter.open(path, recipes, crops=True) as writer:
        writer.fail(cached[1].failures[0])
    return recipes


def test_a_cache_without_clips_is_made_anew_under_other_settings(cached, tmp_path):
    path = tmp_path / "x.zarr"
    recipes = without_clips(cached, path)
    expect_as_made(replace(WHOLE, flow_frames="whole"), path, "fp32")
    assert not remove_without_clips(path, recipes, {})
    assert len(open_cache(path).failures) == 1
    other = replace(recipes.frames, size=64)
    assert not remove_without_clips(cached[0], replace(recipes, frames=other, features={}), {})
    assert remove_without_clips(path, replace(recipes, frames=other, features={}), {})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_remedy_of_clips_that_all_failed_can_be_followed(cached, clips, tmp_path):
    turned, out = clips.parent / "turned.csv", tmp_path / "x.zarr"
    turned.write_text("path,id,onset,apex\nshort,turned,4,2\n")
    without_clips(cached, out)
    report = extract(turned, out, replace(FLOW, flow_frames="whole"))
    assert (report.clips, report.failures) == (1, [])
    assert not open_cache(out).failures
    with pytest.raises(RecipeMismatch, match="flow_frames"):
        extract(turned, out, FLOW)


def test_a_dry_run_names_what_will_fail(clips, capsys, monkeypatch):
    options = "--modality flow --dry-run --weights random --size 64 --workers 1 --detector none"
    call = ["extract", str(clips), *options.split()]
    assert status_of(call) == 3
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(". Try: ")[0] for line in lines if line.startswith("will fail")] == [
        "will fail: bare: its onset is not known",
        "will fail: turned: its apex 4 is before its onset 9",
    ]
    assert "4 inputs: 0 videos, 4 frame folders, 3 problems" in lines
    assert [line for line in lines if line.startswith("2 clips x 11 frames at ")], lines
    monkeypatch.setattr(estimate, "try_clips", lambda *_, **__: replace(NOT_TRIED, rate=1.0))
    assert status_of([*call, "--json"]) == 3
    assert [one["id"] for one in json.loads(capsys.readouterr().out.splitlines()[-1])["problems"]] == [
        "gone",
        "bare",
        "turned",
    ]
    assert status_of([*call, "--flow-frames", "whole"]) == 3
    assert "4 inputs: 0 videos, 4 frame folders, 1 problem" in capsys.readouterr().out


def test_what_cannot_be_made_of_pictures_of_flow_is_refused(cached, tmp_path):
    weights = load_weights("random")
    with pytest.raises(UsageError, match="makes no sense for the colours of flow"):
        recache(cached[0], tmp_path / "x.zarr", [ArrayPlan(name="gap", weights=weights)], FLOW, views=2)
    with pytest.raises(UsageError, match="cannot be made from crops"):
        recache(cached[0], tmp_path / "x.zarr", [ArrayPlan(name="flow", tap="flow", weights=weights)], FLOW)


@pytest.mark.parametrize(
    ("frames", "onset", "apex", "outdated"),
    [
        ("apex", 2, 9, False),
        ("apex", 2, 10, True),
        ("apex", 3, 9, True),
        ("apex", 2, -1, True),
        ("apex", -1, 9, True),
        ("auto", 2, 9, False),
        ("auto", 2, -1, True),
        ("whole", 3, 9, True),
    ],
)
def test_rows_are_outdated_by_another_onset_or_apex_and_by_one_that_is_taken_back(frames, onset, apex, outdated):
    modality = Flow(replace(FLOW, flow_frames=frames))
    told = Input(id="other", path=Path("other"), kind="frames", onset=2, apex=9)
    source = replace(told, id="long", onset=onset, apex=apex)
    modality.expect_inputs([told, source])
    cells = {"flow_onset": 2, "flow_apex": -1 if frames == "whole" else 9}
    assert modality.is_outdated(source, cells) is outdated


def test_inputs_that_tell_no_moment_take_none_back():
    modality = Flow(replace(FLOW, flow_frames="auto"))
    bare = Input(id="long", path=Path("long"), kind="frames")
    modality.expect_inputs([bare])
    assert not modality.is_outdated(bare, {"flow_onset": 2, "flow_apex": 9})


def test_clips_without_an_apex_are_counted_before_anything_is_extracted():
    told = [
        Input(
            id=f"{at}",
            path=Path("x"),
            kind="frames",
            onset=0,
            apex=-1 if at < 2 else 3,
            extra={"database": "ab"[at // 2]},
        )
        for at in range(4)
    ]
    (fails,) = Flow(FLOW).expect_inputs(told)
    assert fails.startswith("2 of 4 clips have no annotated onset or apex (a 2): they fail, and count as wrong")
    assert "--flow-frames auto" in fails
    (whole,) = Flow(replace(FLOW, flow_frames="auto")).expect_inputs(told)
    assert whole.endswith("(a 2): their frames are taken evenly over the whole clip.")
    assert not Flow(replace(FLOW, flow_frames="whole")).expect_inputs(told)
    assert not Flow(FLOW).expect_inputs(told[2:])


def test_a_source_whose_frames_are_shown_at_other_times_is_refused(cached):
    cache = open_cache(cached[0])
    clip, row = cache.clip("long"), cache.clips.row("long")
    path = Path(row["path"])
    fields = list(fields_again(clip, row, cache.recipes.frames, path))
    np.testing.assert_allclose(row_of(fields[3]), clip.features["flow"][3], atol=0.01)
    time = clip.time.copy()
    time[4] += 0.01
    with pytest.raises(StageError, match=r"frame 8 is shown at 0\.320000 s now, and was at 0\.330000"):
        list(fields_again(replace(clip, time=time), row, cache.recipes.frames, path))


@pytest.mark.slow
def test_a_rerun_extracts_what_its_moments_change(cached, clips, tmp_path):
    path = shutil.copytree(cached[0], tmp_path / "cache.zarr")
    other = clips.parent / "other.csv"
    other.write_text(LIST.replace("long,long,a,s1,2,9", "long,long,c,s1,2,9"))
    report = extract(other, path)
    assert (report.clips, report.unchanged) == (0, 2)
    assert report.relabelled == ["long: label: a → c"]
    other.write_text(LIST.replace("long,long,a,s1,2,9", "long,long,a,s1,3,12"))
    before = open_cache(path).clip("short").features["flow"]
    report = extract(other, path)
    assert (report.clips, report.unchanged) == (1, 1)
    cache = open_cache(path)
    assert cache.clips.row("long")["extra"]["flow_frames"][0] == 7
    np.testing.assert_array_equal(cache.clip("short").features["flow"], before)
    assert not verify_cache(path).problems


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".zarr", ".h5"])
def test_the_same_bytes_whatever_happens(clips, tmp_path, monkeypatch, suffix):
    once = tmp_path / f"once{suffix}"
    extract(clips, once)
    extract(clips, tmp_path / f"three{suffix}", replace(WHOLE, workers=3))
    assert_same(once, tmp_path / f"three{suffix}")
    monkeypatch.setattr(writer_module, "COMMIT_BYTES", 1)
    monkeypatch.setattr(pipeline_module, "PROGRESS_SECONDS", 0.0)

    stopped = tmp_path / f"stopped{suffix}"
    watch = Calling(progress=lambda state: state.done >= 1 and os.kill(os.getpid(), signal.SIGINT))
    assert extract(clips, stopped, watch=watch).interrupted
    extract(clips, stopped)
    assert_same(once, stopped)
    assert not verify_cache(stopped).problems


@pytest.mark.slow
@pytest.mark.parametrize("crops", [True, False])
def test_features_that_are_added_are_those_of_one_extraction(clips, tmp_path, crops):
    once, later = tmp_path / "once.zarr", tmp_path / "later.zarr"
    extract(clips, once, replace(WHOLE, crops=crops))
    extract(clips, later, replace(WHOLE, crops=crops, features=("gap",), flip=False))
    report = extract(clips, later, replace(WHOLE, crops=crops))
    assert set(report.filling) == {"gap_flip", "flow"}
    assert_same(once, later)
    new = tmp_path / "new.zarr"
    recache(
        later,
        new,
        [ArrayPlan(name="gap", weights=load_weights("random"))],
        replace(FLOW, modality="face", features=("gap",), flip=True),
    )
    assert_same(once, new, names=["gap", "gap_flip"])
    assert open_cache(new).recipes.features["gap"].modality == "flow"


@pytest.mark.slow
def test_a_face_is_compared_in_one_square(tmp_path):
    write_frames(tmp_path / "face", face_frames(14, 2))
    (tmp_path / "list.csv").write_text("path,onset,apex\nface,1,4\n")
    config = replace(
        FLOW, detector="retinaface", weights="timm:vit_tiny_patch16_224=random", size=224, features=("cls",)
    )
    report = extract(tmp_path / "list.csv", tmp_path / "c.zarr", config)
    assert not report.failures
    clip = open_cache(tmp_path / "c.zarr").clip(0)
    assert clip.features["cls"].shape == (11, 192)
    assert (clip.box == clip.box[0]).all()
    x0, y0, x1, y1 = clip.box[0]
    for x, y in clip.landmarks[0]:
        assert x0 < x < x1
        assert y0 < y < y1


def test_pictures_of_flow_are_not_augmented_as_faces_are(cached):
    cache = open_cache(cached[0])
    assert choose_source(cache, "auto", "all") == "crops"
    for how in ({"mirrored": True}, {"augments": True}):
        with pytest.raises(UsageError, match="colours of flow"):
            choose_source(cache, "auto", "all", **how)
