"""Folders of pictures of different sizes: face crops by themselves, each brought to one size; for a detector a failure that says why."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from extract_samples import QUICK, assert_same, extract

from est.cache import open_cache, verify_cache
from est.crops.crop import crop_face
from est.encoders.encoder import Encoder
from est.encoders.weights import load_weights
from est.errors import SourceError
from est.extract.video.source import open_source

SIZES = [(48, 64), (90, 90), (130, 70), (64, 64), (20, 25), (48, 64), (301, 200)]  # width, height


def smooth_picture(number: int, size: tuple[int, int]) -> np.ndarray:
    """Return a picture without a scene cut to the one before."""
    x, y = np.meshgrid(np.linspace(0, 1, size[0]), np.linspace(0, 1, size[1]))
    return np.stack([200 * x, 200 * y, 100 + 10 * number + 0 * x], axis=2).astype(np.uint8)


def write_folder(folder: Path, sizes) -> list[np.ndarray]:
    folder.mkdir()
    pictures = [smooth_picture(number, size) for number, size in enumerate(sizes)]
    for number, picture in enumerate(pictures):
        cv2.imwrite(str(folder / f"face{number}.png"), picture)
    return pictures


@pytest.mark.parametrize("sizes", [SIZES, SIZES[:1] * 7], ids=["different", "equal"])
def test_without_a_detector_each_picture_is_a_crop(sizes, tmp_path):
    pictures = write_folder(tmp_path / "clip", sizes)
    report = extract(tmp_path / "clip", tmp_path / "cache.zarr", detector="none")
    assert not report.failures
    cache = open_cache(tmp_path / "cache.zarr")
    clip = cache.clip("clip")
    assert clip.state.tolist() == [1] * 7  # none of them is interpolated
    assert clip.box.tolist() == [[0, 0, width, height] for width, height in sizes]
    assert clip.score.tolist() == [1] * 7
    assert np.isnan(clip.landmarks).all()
    assert cache.clips.row("clip")["size"] == list(sizes[0])  # the first one's
    crops = [
        crop_face(picture, box, points, align="box", margin=0, size=64)[0]
        for picture, box, points in zip(pictures, clip.box, clip.landmarks, strict=True)
    ]
    encoder = Encoder(load_weights("random").backbone, ("gap",), device=torch.device("cpu"), precision="fp32")
    expected = encoder.encode(np.stack(crops)[..., ::-1].copy())["gap"]
    np.testing.assert_array_equal(clip.features["gap"], expected.astype(np.float16))
    assert verify_cache(tmp_path / "cache.zarr").problems == []


def test_a_picture_is_brought_to_the_size_as_a_whole(tmp_path):
    write_folder(tmp_path / "clip", [(64, 64), (128, 128), (64, 32)])
    extract(tmp_path / "clip", tmp_path / "cache.zarr", detector="none", crops=True, crop_quality=100)
    square, double, wide = (
        cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR).astype(int)
        for jpeg in open_cache(tmp_path / "cache.zarr").crops("clip")
    )
    assert np.abs(square - double)[..., :2].max() <= 4  # the same ramps, whatever the size
    assert wide[:15].max() <= 4  # a square around it: black above and below
    assert wide[49:].max() <= 4
    assert np.abs(wide[32] - square[32])[..., 0].max() <= 4


def test_a_later_feature_sees_the_same_crops(tmp_path):
    write_folder(tmp_path / "clip", SIZES)
    extract(tmp_path / "clip", tmp_path / "parts.zarr", detector="none")
    for out in ("parts.zarr", "once.zarr"):
        extract(tmp_path / "clip", tmp_path / out, detector="none", features=("gap", "layer4"), flip=True)
    assert_same(tmp_path / "parts.zarr", tmp_path / "once.zarr")


def test_a_detector_refuses_and_names_both_pictures(tmp_path):
    write_folder(tmp_path / "clip", SIZES[:4])
    report = extract(tmp_path / "clip", tmp_path / "cache.zarr", QUICK)
    (failure,) = report.failures
    assert "face1.png is 90×90, and face0.png is 48×64" in failure.error
    assert "--detector none" in failure.error
    assert not (tmp_path / "cache.zarr").exists()


def test_sizes_are_one_unless_they_may_differ(tmp_path):
    write_folder(tmp_path / "clip", SIZES)
    with open_source(tmp_path / "clip", "frames", sizes_may_differ=True) as video:
        assert [frame.shape[1::-1] for frame, _ in video.frames()] == SIZES
        assert video.info.size == SIZES[0]
    with open_source(tmp_path / "clip", "frames") as video, pytest.raises(SourceError, match="90×90"):
        list(video.frames())
