"""Which way is up: by the file's own display matrix, mirrors included, and never a crash over a damaged one."""

from __future__ import annotations

import struct

import av
import numpy as np
import pytest
from video_samples import ALL_ORIENTATIONS, SIZE, corner_names, display_matrix, make_video, picture, stored

from est.extract.video.matroska import read_orientation
from est.extract.video.mp4 import read_movie
from est.extract.video.orientation import Orientation
from est.extract.video.source import open_source


@pytest.fixture(params=["opencv", "pyav"])
def decoder(request):
    return request.param


@pytest.mark.parametrize(("rotation", "mirrored"), ALL_ORIENTATIONS)
@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_all_eight_orientations_come_out_upright(tmp_path, decoder, suffix, rotation, mirrored):
    pictures = [stored(picture(i), rotation, mirrored) for i in range(3)]
    path = make_video(tmp_path / f"turned{suffix}", pictures, matrix=display_matrix(rotation, mirrored))
    with open_source(path, "video", decoder=decoder) as video:
        info, frames = video.info, [frame for frame, _ in video.frames()]
    assert (info.rotation, info.mirrored, info.size) == (rotation, mirrored, SIZE)
    for i, frame in enumerate(frames):
        assert np.abs(frame.astype(int) - picture(i)).mean() < 2
        assert corner_names(frame) == "rgbw"


def test_ffmpeg_means_the_same_by_an_orientation():
    # FFmpeg's own 90° counter-clockwise, and its mirror image (av_display_rotation_set, av_display_matrix_flip)
    assert Orientation.from_matrix(0, -65536, 65536, 0) == Orientation(rotation=270)
    assert Orientation.from_matrix(-65536, 0, 0, 65536) == Orientation(mirrored=True)
    assert Orientation.from_matrix(65536, 0, 0, -65536) == Orientation(rotation=180, mirrored=True)
    assert Orientation.from_matrix(0, 0, 0, 0) == Orientation()
    assert Orientation.from_matrix(0, 1.2, -0.8, 0.01) == Orientation(rotation=90)


@pytest.mark.parametrize(
    ("whole", "part"), [((90, False), (0, True)), ((180, True), (90, False)), ((270, False), (270, True))]
)
def test_the_movies_own_matrix_comes_after_the_tracks(tmp_path, whole, part):
    path = make_video(tmp_path / "both.mp4", 1, matrix=display_matrix(*part))
    data = bytearray(path.read_bytes())
    at = data.index(b"mvhd") + 4 + 36
    assert struct.unpack_from(">9i", data, at) == (1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    struct.pack_into(">9i", data, at, *display_matrix(*whole))
    path.write_bytes(data)
    ours, theirs = read_movie(path).video.orientation, None
    with av.open(str(path)) as file:
        frame = next(file.decode(video=0))
        a, b, _, c, d = struct.unpack_from("=5i", bytes(frame.side_data.get("DISPLAYMATRIX")))
        theirs = Orientation.from_matrix(a, b, c, d)
    assert ours == theirs


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_damaged_index_never_breaks_its_reader(tmp_path, suffix):
    """Whatever the bytes: an answer or "unknown", soon."""
    path = make_video(tmp_path / f"fuzz{suffix}", options={"bf": "2"}, matrix=display_matrix(90, True))
    whole = np.frombuffer(path.read_bytes(), np.uint8)
    index = whole.tobytes().index(b"moov" if suffix == ".mp4" else b"\x16\x54\xae\x6b")
    rng = np.random.default_rng(7)
    answers = set()
    for _ in range(600):
        data = whole.copy()
        at = rng.integers(index, min(len(data), index + 900), rng.integers(1, 6))
        data[at] = rng.choice([0, 1, 2, 127, 128, 255, rng.integers(256)], len(at))
        path.write_bytes(data[: rng.integers(index, len(data) + 1)].tobytes() if rng.random() < 0.2 else data.tobytes())
        if suffix == ".mp4":
            movie = read_movie(path)
            answers.add(movie is not None and movie.video is not None and movie.video.orientation)
        else:
            answers.add(read_orientation(path))
    assert len(answers) > 2
