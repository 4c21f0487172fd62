"""Extraction on a GPU: the same clips, frames and faces as on a processor, and features as near as the precision allows."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from est.cache import open_cache
from est.demo.clip import Clip
from est.demo.spec import RenderSpec, plan_set
from est.extract.config import ExtractConfig
from est.extract.extraction import extract_videos
from est.inputs.input import find_inputs


@pytest.mark.gpu
@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 0.01), ("bf16", 0.1)])
def test_rows_are_near_those_of_a_processor(tmp_path, precision, tolerance):
    for plan in plan_set(RenderSpec(subjects=2, clips_per_subject=1, seed=3, size=(256, 192))):
        (tmp_path / "pictures" / plan.subject).mkdir(parents=True)
        for number in range(12):
            cv2.imwrite(str(tmp_path / "pictures" / plan.subject / f"{number}.bmp"), Clip(plan).frame(number)[0])
    caches = []
    for device, how in (("cpu", "fp32"), ("cuda", precision)):
        config = ExtractConfig(weights="synface", size=112, workers=2, device=device, precision=how)
        out = tmp_path / f"{device}.zarr"
        assert not extract_videos(find_inputs([tmp_path / "pictures"]), out, config).failures
        caches.append(open_cache(out))
    here, there = caches
    assert list(here.clips.id) == list(there.clips.id)
    for mine, theirs in zip(here.iterate(["gap"]), there.iterate(["gap"]), strict=True):
        assert np.array_equal(mine.state, theirs.state)
        assert np.nanmax(np.abs(mine.box - theirs.box)) < 4
        expected, found = (rows.features["gap"].astype(np.float32) for rows in (mine, theirs))
        assert np.linalg.norm(found - expected) < tolerance * np.linalg.norm(expected)
