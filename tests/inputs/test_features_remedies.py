"""Importing features: what a message says mends it does, with the same --out where nothing was imported yet."""

from __future__ import annotations

import re

import numpy as np
import pytest
from import_samples import openface

import est
from est.cache import CacheWriter, open_cache
from est.errors import CacheError, RecipeMismatch, UsageError
from est.inputs.features.config import ImportConfig
from est.inputs.features.plan import plan_import

FPS = {"by": "a test", "fps": 25.0}


def imported(source, out, *, lists=(), filling=False, **config):
    return est.import_features([source], out, ImportConfig(**{**FPS, **config}), lists=lists, filling=filling)


@pytest.mark.parametrize(
    ("rows", "wrong", "right", "said", "remedy"),
    [
        (np.ones((4, 2)), {"fps": None}, {}, "the times of its frames are not known (a and 1 more)", "--fps 25"),
        (np.full((4, 2), np.nan), {}, {"nan": "zero"}, "row 1, number 1 is empty or NaN", "--nan zero"),
        (np.ones((3, 2)), {}, {"window": (2,), "stride": (1,)}, "and the list says 4 frames", "--window 16 --stride 4"),
        (np.ones((4, 2)), {"window": (2,), "stride": (1,)}, {}, "1 of 4 windows end after it", "--past-end cut"),
    ],
)
def test_an_option_that_all_clips_lack_is_refused_before_a_cache_is_made(tmp_path, rows, wrong, right, said, remedy):
    folder, out = tmp_path / "npy", tmp_path / "c.zarr"
    folder.mkdir()
    for name in ("a", "b"):
        np.save(folder / f"{name}.npy", rows)
    (tmp_path / "list.csv").write_text("id,num_frames\na,4\nb,4\n")
    lists = [tmp_path / "list.csv"]
    with pytest.raises(UsageError, match=re.escape(said)) as refused:
        imported(folder, out, lists=lists, **wrong)
    assert refused.value.remedy.startswith(remedy)
    assert not out.exists()
    assert imported(folder, out, lists=lists, **right).clips == 2


@pytest.mark.parametrize("suffix", [".zarr", ".h5"])
def test_a_cache_without_clips_takes_other_settings(tmp_path, suffix):
    out = tmp_path / f"c{suffix}"
    np.save(tmp_path / "a.npy", np.ones((4, 2)))
    imported(tmp_path / "a.npy", out)
    with pytest.raises(RecipeMismatch, match="you asked for 30 a second"):
        imported(tmp_path / "a.npy", out, fps=30)
    with CacheWriter.open(out) as writer:
        writer.remove(["a"])
    assert imported(tmp_path / "a.npy", out, fps=30, feature="mine").clips == 1
    assert open_cache(out).recipes.frames.sampling == "30 a second"


def test_a_rate_that_times_contradict_is_refused(tmp_path):
    openface(tmp_path / "a.csv")
    with pytest.raises(UsageError, match=r"0\.04 s apart, which is 25 frames a second, and --fps says 30") as refused:
        imported(tmp_path / "a.csv", tmp_path / "c.zarr", fps=30)
    assert refused.value.remedy == "leave out --fps: the times give it"
    assert imported(tmp_path / "a.csv", tmp_path / "c.zarr", fps=25).clips == 1
    (tmp_path / "b.csv").write_text("t,n,u\n0,0,1\n0.167,5,1\n0.334,10,1\n")  # every fifth frame, rounded
    sparse = imported(tmp_path / "b.csv", tmp_path / "d.zarr", fps=29.97, time_column="t", frame_column="n")
    assert sparse.clips == 1


def test_labels_of_one_folder_are_warned_of(tmp_path):
    (tmp_path / "openface").mkdir()
    for name in ("a", "b"):
        np.save(tmp_path / "openface" / f"{name}.npy", np.ones((3, 2)))
    (warning,) = plan_import([tmp_path / "openface"], ImportConfig(**FPS), labels="folders").warnings
    assert warning.startswith("All 2 clips have the label 'openface': they are in one folder")
    assert not plan_import([tmp_path], ImportConfig(**FPS), labels="folders").warnings


def test_two_files_of_a_clip_are_told_apart(tmp_path):
    for name in ("w4/a.csv", "w8/a.csv", "w8/a.tsv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("u\n1\n")
    with pytest.raises(UsageError) as kinds:
        plan_import([tmp_path / "w4", tmp_path / "w8" / "a.csv"], ImportConfig(**FPS))
    assert kinds.value.remedy.startswith("--window 16 --stride 4,8 where each SOURCE")
    with pytest.raises(UsageError) as both:
        plan_import([tmp_path / "w8"], ImportConfig(**FPS))
    assert both.value.remedy.startswith("remove one, or name the files of one kind:")


def test_one_more_feature_is_looked_through_before_it_is_begun(tmp_path):
    out = tmp_path / "c.zarr"
    for folder in ("first", "more"):
        (tmp_path / folder).mkdir()
        for name in ("a", "b"):
            np.save(tmp_path / folder / f"{name}.npy", np.ones((4, 2)))
    imported(tmp_path / "first", out)
    more = {"source": tmp_path / "more", "out": out, "feature": "gaze", "filling": True}
    for rows, said, remedy in (
        (
            np.ones((3, 2)),
            "1 of 2 clips cannot take 'gaze': it has 3 rows, and the clip 4 frames",
            "files with a row for",
        ),
        (np.full((4, 2), np.nan), "row 1, number 1 is empty or NaN", "--nan zero"),
    ):
        np.save(tmp_path / "more" / "b.npy", rows)
        with pytest.raises(CacheError, match=said) as refused:
            imported(**more)
        assert refused.value.remedy.startswith(remedy)
    assert imported(**more, nan="zero").clips == 2
    assert open_cache(out).features == ["features", "gaze"]
