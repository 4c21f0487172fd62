"""The default detector on a GPU. A file of its own: machines with a GPU may lack onnxruntime and insightface."""

from __future__ import annotations

import numpy as np
import pytest

from est.demo.clip import Clip
from est.demo.spec import RenderSpec, plan_set
from est.extract.faces.detect import build_detector


@pytest.mark.gpu
@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 0.1), ("fp16", 1.5), ("bf16", 4.0)])
def test_a_gpu_finds_the_same_faces(precision, tolerance):
    plans = plan_set(RenderSpec(subjects=12, clips_per_subject=1, seed=31, size=(320, 180)))
    images = np.stack([Clip(plan).frame(number)[0] for plan in plans for number in (3, 21)])
    here, there = (
        build_detector("retinaface", batch_size=8, **how) for how in ({}, {"device": "cuda", "precision": precision})
    )
    found = 0
    for exact, other in zip(here.detect(images), there.detect(images), strict=True):
        assert len(exact) == len(other)
        for box in exact.boxes:
            assert np.abs(box - other.boxes).max(1).min() < tolerance
            found += 1
    assert found >= len(images) * 0.8
