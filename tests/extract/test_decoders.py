"""Extraction by two decoders: a folder of every codec in one run, and caches that were started with OpenCV alone."""

from __future__ import annotations

import sys
from dataclasses import replace

import cv2
import pytest
from refusals import differs
from video_samples import AV1, CODECS, make_video, picture

from est.cache import open_cache
from est.errors import RecipeMismatch, UsageError
from est.extract.config import ExtractConfig
from est.extract.extraction import extract_videos
from est.inputs.input import find_inputs

CROPS = ExtractConfig(weights="random", size=32, detector="none", precision="fp32", workers=1)


def extract(folder, out, config=CROPS, **options):
    return extract_videos(find_inputs([folder]), out, config, **options)


def test_a_folder_of_every_codec_is_extracted_in_one_run(tmp_path):
    folder = tmp_path / "in"
    (folder / "pictures").mkdir(parents=True)
    cv2.imwrite(str(folder / "pictures" / "0.png"), picture(0))
    for name, made in {**CODECS, **AV1}.items():
        make_video(folder / name, 3, **made)
    damaged = {**AV1["av1.mp4"], "muxer": {"movflags": "faststart"}}
    path = make_video(folder / "cut.mp4", 30, **damaged)
    path.write_bytes(path.read_bytes()[:-200])
    report = extract(folder, tmp_path / "cache.zarr")
    assert report.failures == []
    assert report.decoders == {"opencv": len(CODECS), "pyav": len(AV1) + 1, "pictures": 1}
    assert report.damaged == ["cut"]
    lines = report.lines()
    assert f"clips by decoder: opencv {len(CODECS)}, pictures 1, pyav {len(AV1) + 1}" in lines
    assert "1 clip has damaged places that could not be decoded: cut" in lines
    cache = open_cache(tmp_path / "cache.zarr")
    assert cache.recipes.frames.decoder == "auto"
    assert len(cache) == len(CODECS) + len(AV1) + 2
    again = extract(folder, tmp_path / "cache.zarr")
    assert (again.unchanged, again.decoders) == (len(cache), {})
    assert not [line for line in again.lines() if "decoder" in line]


def test_a_cache_that_was_begun_with_opencv_goes_on_with_it(tmp_path):
    folder, out = tmp_path / "in", tmp_path / "cache.zarr"
    folder.mkdir()
    make_video(folder / "first.mp4", 2)
    extract(folder, out, replace(CROPS, decoder="opencv"))
    begun = open_cache(out).recipes
    make_video(folder / "second.mp4", 2)
    make_video(folder / "third.mp4", 2, **AV1["av1.mp4"])
    report = extract(folder, out)
    assert (report.unchanged, report.decoders) == (1, {"opencv": 1})
    assert open_cache(out).recipes == begun
    (failure,) = report.failures
    assert failure.id == "third"
    assert failure.error.endswith(
        "OpenCV cannot decode its video (codec AV1). Try: --decoder auto with another --out: PyAV may decode it"
    )
    with pytest.raises(RecipeMismatch, match=differs("decoder", "opencv", "pyav")):
        extract(folder, out, replace(CROPS, decoder="pyav"))


def test_pyav_that_is_asked_for_and_not_there_is_refused_at_the_start(tmp_path, monkeypatch):
    (tmp_path / "in").mkdir()
    make_video(tmp_path / "in" / "a.mp4", 2)
    monkeypatch.setitem(sys.modules, "av", None)
    monkeypatch.delitem(sys.modules, "est.extract.video.pyav_video", raising=False)
    with pytest.raises(UsageError, match="needs the package av") as refused:
        extract(tmp_path / "in", tmp_path / "c.zarr", replace(CROPS, decoder="pyav"))
    assert refused.value.remedy == "pip install av"
    assert not (tmp_path / "c.zarr").exists()
