"""Reduced precision stays close to fp32 on rendered faces, and is another recipe."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from extract_samples import QUICK, extract, face_frames
from processor import needs_bf16
from refusals import differs
from video_samples import make_video

from est.cache import open_cache
from est.crops.crop import crop_face
from est.encoders.encoder import Encoder
from est.encoders.taps import TAPS
from est.encoders.weights import load_weights
from est.errors import RecipeMismatch

SIZE = 112
COSINE, ERROR = 0.9999, 1e-2  # as docs/extract.md states them


@pytest.fixture(scope="module")
def crops() -> np.ndarray:
    """Rendered faces, some larger in the crop than others.  # (24, S, S, 3) RGB"""
    whole = np.full((5, 2), np.nan)
    found = []
    for number, frame in enumerate(face_frames(24, step=2)):
        height, width = frame.shape[:2]
        reach = 0.3 + 0.1 * (number % 3)
        box = np.array(
            [width / 2 - reach * height, (0.5 - reach) * height, width / 2 + reach * height, (0.5 + reach) * height]
        )
        found.append(crop_face(frame, box, whole, align="box", margin=0, size=SIZE)[0])
    return np.ascontiguousarray(np.stack(found)[..., ::-1])


@pytest.fixture(scope="module")
def rows(crops):
    """Rows of all taps in fp32 and in bf16."""
    backbone = load_weights("random").backbone
    cpu = torch.device("cpu")
    return {name: Encoder(backbone, TAPS, device=cpu, precision=name).encode(crops) for name in ("fp32", "bf16")}


@pytest.mark.parametrize("tap", TAPS)
def test_bf16_is_close_to_fp32(rows, tap):
    exact, coarse = (rows[name][tap].reshape(24, -1).astype(np.float64) for name in ("fp32", "bf16"))
    assert np.abs(exact - coarse).max() > 0  # it is another computation
    cosine = (exact * coarse).sum(1) / np.linalg.norm(exact, axis=1) / np.linalg.norm(coarse, axis=1)
    error = np.linalg.norm(exact - coarse, axis=1) / np.linalg.norm(exact, axis=1)
    assert cosine.min() >= COSINE
    assert error.max() <= ERROR


@needs_bf16
def test_another_precision_is_another_recipe(tmp_path):
    video = make_video(tmp_path / "a.mp4", face_frames(4))
    path = tmp_path / "cache.zarr"
    extract(video, path, QUICK)
    with pytest.raises(RecipeMismatch, match=differs("precision", "fp32", "bf16")):
        extract(video, path, precision="bf16")
    assert len(open_cache(path)) == 1
