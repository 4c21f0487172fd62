"""Two decoders for one file: the same frames at the same times by both; the file alone decides which of them reads it."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from video_samples import (
    AV1,
    CODECS,
    LEVELS,
    UNEVEN,
    corner_names,
    cut_by_edit_list,
    display_matrix,
    make_video,
    number_of,
    picture,
    stored,
)

from est.errors import SourceError, UsageError
from est.extract.config import ExtractConfig
from est.extract.video.source import open_source

MILLISECOND = 1e-3


def read(path, decoder="auto", **options):
    """Return a file's info, frames, times, count of missing frames and of errors."""
    with open_source(path, "video", decoder=decoder, **options) as video:
        pairs = list(video.frames())
        return (
            video.info,
            [frame for frame, _ in pairs],
            [time for _, time in pairs],
            video.missing,
            video.decode_errors,
        )


def expect_agreement(path, *, num_damaged=0):
    """Read a file by both decoders, compare, and return what PyAV gave; frames that are half decoded may differ."""
    ours, theirs = read(path, "opencv"), read(path, "pyav")
    assert replace(ours[0], decoder="pyav") == theirs[0]
    assert ours[2] == pytest.approx(theirs[2], abs=MILLISECOND)
    assert [frame.shape for frame in ours[1]] == [frame.shape for frame in theirs[1]]
    distances = [int(np.abs(a.astype(int) - b).max()) for a, b in zip(ours[1], theirs[1], strict=True)]
    assert sum(distance > 2 for distance in distances) <= num_damaged
    assert ours[3] == theirs[3]
    assert ours[4] == -1
    chosen = read(path)
    assert chosen[0].decoder == "opencv"
    if not num_damaged:
        np.testing.assert_array_equal(chosen[1], ours[1])
    return theirs


@pytest.mark.parametrize("name", CODECS)
def test_both_read_the_same(tmp_path, name):
    path = make_video(tmp_path / name, **CODECS[name])
    info, frames, times, missing, errors = expect_agreement(path)
    assert [number_of(frame) for frame in frames] == list(range(LEVELS))
    assert times == pytest.approx(np.arange(LEVELS) / 25, abs=MILLISECOND)
    assert (missing, errors) == (0, 0)
    assert info.declared == (0 if name.endswith("webm") else LEVELS)


@pytest.mark.parametrize("name", ["turned.mp4", "turned.mkv"])
def test_both_read_a_turned_and_mirrored_file_of_uneven_rate_alike(tmp_path, name):
    pictures = [stored(picture(i), 90, True) for i in range(LEVELS)]
    times = np.cumsum(UNEVEN).tolist()
    path = make_video(
        tmp_path / name, pictures, matrix=display_matrix(90, True), times=times, pixels="yuv420p", options={"bf": "2"}
    )
    info, frames, found, _, errors = expect_agreement(path)
    assert (info.rotation, info.mirrored, errors) == (90, True, 0)
    assert found == pytest.approx((np.array(times) - times[0]) / 1000, abs=MILLISECOND)
    assert {corner_names(frame) for frame in frames} == {"rgbw"}


def test_both_leave_out_what_an_edit_list_cuts_off(tmp_path):
    whole, path = make_video(tmp_path / "whole.mp4", options={"g": "30", "bf": "2"}), tmp_path / "cut.mp4"
    cut_by_edit_list(whole, path, 0.16)
    info, frames, *_ = expect_agreement(path)
    assert [number_of(frame) for frame in frames] == list(range(4, LEVELS))
    assert info.declared == LEVELS - 4


INDEX_FIRST = {"movflags": "faststart"}  # so that damage hits pictures


@pytest.mark.parametrize("kind", ["truncated", "damaged"])
def test_both_read_the_same_around_damage_and_pyav_counts_it(tmp_path, kind):
    path = make_video(tmp_path / "broken.mp4", 60, options={"g": "10"}, muxer=INDEX_FIRST)
    data = bytearray(path.read_bytes())
    path.write_bytes(data[: int(len(data) * 0.7)] if kind == "truncated" else with_noise(data))
    _, frames, _, missing, errors = expect_agreement(path)
    assert 10 < len(frames) < 60
    assert missing == 60 - len(frames)
    assert 0 < errors <= missing + 1  # packets lost, and one frame that FFmpeg marks as damaged


def test_both_read_on_after_a_damaged_picture(tmp_path):
    path = make_video(tmp_path / "broken.avi", 60, **CODECS["mjpeg.avi"])
    path.write_bytes(with_noise(bytearray(path.read_bytes())))
    _, frames, _, missing, _ = expect_agreement(path, num_damaged=1)
    assert 40 < len(frames) == 60 - missing
    assert number_of(frames[-1]) == 59 % LEVELS


def with_noise(data, part=8):
    """Return the bytes of a file of which one part in the middle is noise."""
    middle, length = len(data) // 2, len(data) // part
    data[middle : middle + length] = np.random.default_rng(0).integers(0, 256, length, np.uint8).tobytes()
    return data


@pytest.mark.parametrize("name", AV1)
def test_what_opencv_has_no_codec_for_is_read_by_pyav(tmp_path, name):
    path = make_video(tmp_path / name, **AV1[name])
    info, frames, times, missing, errors = read(path)
    assert (info.decoder, missing, errors) == ("pyav", 0, 0)
    assert [number_of(frame) for frame in frames] == list(range(LEVELS))
    assert times == pytest.approx(np.arange(LEVELS) / 25, abs=MILLISECOND)
    assert np.abs(frames[5].astype(int) - picture(5)).mean() < 4
    np.testing.assert_array_equal(frames, read(path, "pyav")[1])
    assert [number_of(frame) for frame in read(path, start=0.2, end=0.3)[1]] == [5, 6, 7]
    with pytest.raises(SourceError, match=r"OpenCV cannot decode its video \(codec AV1\)") as error:
        open_source(path, "video", decoder="opencv")
    assert "--decoder auto with another --out" in error.value.remedy


def test_a_fragmented_file_is_read_by_pyav(tmp_path):
    """Its index counts no frames, which is not to say that it has none."""
    muxer = {"movflags": "frag_keyframe+empty_moov"}
    info, frames, *_ = read(make_video(tmp_path / "fragmented.mp4", **AV1["av1.mp4"], muxer=muxer))
    assert (info.decoder, info.declared, len(frames)) == ("pyav", 0, LEVELS)


def test_what_follows_damage_in_av1_is_read_and_the_damage_counted(tmp_path):
    made = {**AV1["av1.mp4"], "muxer": INDEX_FIRST}
    made["options"] = {**made["options"], "g": "10"}
    path = make_video(tmp_path / "damaged.mp4", 60, **made)
    path.write_bytes(with_noise(bytearray(path.read_bytes()), part=16))
    info, frames, times, missing, errors = read(path)
    assert (info.decoder, info.declared) == ("pyav", 60)
    assert 30 < len(frames) < 60
    assert missing == 60 - len(frames)
    assert errors > 0
    assert number_of(frames[-1]) == 59 % LEVELS
    assert all(a < b for a, b in pairwise(times))


@pytest.mark.parametrize("decoder", ["auto", "opencv", "pyav"])
def test_a_codec_that_nobody_has_is_named_with_the_command_that_mends_it(tmp_path, decoder):
    path = make_video(tmp_path / "odd name.mp4", 2)
    path.write_bytes(path.read_bytes().replace(b"avc1", b"xyz9"))
    who = {"auto": "neither OpenCV nor PyAV can", "opencv": "OpenCV cannot", "pyav": "PyAV cannot"}[decoder]
    with pytest.raises(SourceError, match=rf"{who} decode its video \(codec XYZ9\)") as error:
        open_source(path, "video", decoder=decoder)
    if decoder != "opencv":
        assert error.value.remedy.startswith(f"ffmpeg -i '{path}' -c:v libx264")


READ = """
import sys
from pathlib import Path
from est.extract.video.source import open_source
for path in sys.argv[1:]:
    try: print(open_source(Path(path), 'video').info.decoder, 'av' in sys.modules and sys.modules['av'] is not None)
    except Exception as error: print(type(error).__name__, error, '|', error.remedy)
"""


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        ("", ""),
        ("raise ModuleNotFoundError(\"No module named 'av'\")", "No module named 'av'"),
        ("raise OSError('libavcodec.so: cannot open')", "libavcodec.so: cannot open"),
    ],
    ids=["installed", "missing", "broken"],
)
def test_pyav_is_imported_when_a_clip_needs_it_and_missed_only_then(tmp_path, content, cause):
    paths = [make_video(tmp_path / "plain.mp4", 2), make_video(tmp_path / "new.mp4", 2, **AV1["av1.mp4"])]
    environment = dict(os.environ)
    if content:
        (tmp_path / "first" / "av").mkdir(parents=True)
        (tmp_path / "first" / "av" / "__init__.py").write_text(content)
        environment["PYTHONPATH"] = f"{tmp_path / 'first'}:{os.environ.get('PYTHONPATH', '')}"
    command = [sys.executable, "-c", READ, *paths]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    plain, new = done.stdout.splitlines()
    assert plain == "opencv False"
    if not content:
        assert new == "pyav True"
        return
    assert new.startswith(f"SourceError {paths[1]}: OpenCV cannot decode its video (codec AV1).")
    assert f"needs the package av, which cannot be imported ({cause})" in new
    assert new.endswith("| pip install av")


def test_a_misspelt_decoder_is_refused_before_any_work():
    with pytest.raises(UsageError, match="--decoder is auto, opencv or pyav, found 'pyaw'") as error:
        ExtractConfig(decoder="pyaw")
    assert error.value.remedy == "--decoder pyav"
