"""Folders of pictures: natural order, every kind of picture as BGR, and one that cannot be read fails its clip by name."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from video_samples import corner_names, number_of, picture

from est.errors import SourceError
from est.extract.video.source import open_source


def write(folder, name, image):
    folder.mkdir(exist_ok=True)
    # Encoded in memory: OpenCV's file functions take no odd names everywhere.
    (folder / name).write_bytes(cv2.imencode(f".{name.rsplit('.')[-1].lower()}", image)[1].tobytes())


def read(folder, **options):
    with open_source(folder, "frames", **options) as video:
        pairs = list(video.frames())
        return video.info, [frame for frame, _ in pairs], [time for _, time in pairs], video.missing


@pytest.mark.parametrize("suffix", ["png", "jpg", "JPEG", "bmp", "webp"])
def test_pictures_come_in_natural_order_at_25_a_second(tmp_path, suffix):
    folder = tmp_path / "a clip"
    for i in range(12):
        write(folder, f"img{i}.{suffix}", picture(i))
    write(folder, ".hidden.png", picture(0))
    (folder / "notes.txt").write_text("not a picture")
    info, frames, times, missing = read(folder)
    assert [number_of(frame) for frame in frames] == list(range(12))
    assert times == pytest.approx(np.arange(12) / 25)
    assert (info.fps, info.declared, info.size, missing) == (25.0, 12, (96, 64), 0)
    assert all(corner_names(frame) == "rgbw" for frame in frames)


@pytest.mark.parametrize(
    ("name", "image", "expected"),
    [
        ("grey.png", np.full((4, 6), 90, np.uint8), (90, 90, 90)),
        ("grey16.png", np.full((4, 6), 40000, np.uint16), (156, 156, 156)),
        ("alpha.png", np.full((4, 6, 4), (10, 20, 30, 0), np.uint8), (10, 20, 30)),
        ("alpha16.png", np.full((4, 6, 4), (2560, 5120, 7680, 999), np.uint16), (10, 20, 30)),
        ("grey.jpg", np.full((4, 6), 90, np.uint8), (90, 90, 90)),
    ],
)
def test_every_kind_of_picture_becomes_bgr_of_8_bits(tmp_path, name, image, expected):
    write(tmp_path / "clip", name, image)
    _, frames, _, _ = read(tmp_path / "clip")
    assert frames[0].shape == (4, 6, 3)
    assert frames[0].dtype == np.uint8
    assert np.abs(frames[0].astype(int) - expected).max() <= 1


def test_the_orientation_of_a_jpeg_is_applied(tmp_path):
    stored = np.rot90(picture(3))  # as a camera on its side stores it; EXIF 6: turn clockwise
    jpeg = cv2.imencode(".jpg", stored)[1].tobytes()
    tiff = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    exif = b"Exif\0\0" + tiff
    (tmp_path / "0.jpg").write_bytes(jpeg[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + jpeg[2:])
    info, frames, _, _ = read(tmp_path)
    assert info.size == (96, 64)
    assert corner_names(frames[0]) == "rgbw"


def test_a_segment_of_a_folder(tmp_path):
    for i in range(8):
        write(tmp_path / "clip", f"{i}.png", picture(i))
    info, frames, times, missing = read(tmp_path / "clip", start=0.08, end=0.2)
    assert [number_of(frame) for frame in frames] == [2, 3, 4]
    assert times == pytest.approx([0.08, 0.12, 0.16])
    assert (info.declared, info.first_frame, missing) == (3, 2, 0)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: path.write_bytes(b""), r"2\.jpg: the file is empty"),
        (lambda path: path.write_bytes(path.read_bytes()[:300]), r"2\.jpg: the picture is cut off, damaged or none"),
        (lambda path: path.write_text("hello"), r"2\.jpg: the picture is cut off, damaged or none; .* 68 65 6c"),
        (lambda path: (path.unlink(), path.symlink_to("nowhere")), r"2\.jpg: cannot be read"),
        (lambda path: write(path.parent, path.name, picture(2, (48, 32))), r"2\.jpg is 48×32, and 0\.jpg is 96×64"),
    ],
)
def test_one_bad_picture_fails_the_clip_by_name(tmp_path, capfd, spoil, message):
    for i in range(4):
        write(tmp_path / "clip", f"{i}.jpg", picture(i))
    spoil(tmp_path / "clip" / "2.jpg")
    with open_source(tmp_path / "clip", "frames") as video, pytest.raises(SourceError, match=message):
        list(video.frames())
    assert capfd.readouterr().err == ""


def test_a_folder_without_pictures_is_told(tmp_path):
    with pytest.raises(SourceError, match="holds no pictures"):
        open_source(tmp_path, "frames")
    with pytest.raises(SourceError, match="cannot be read"):
        open_source(tmp_path / "nowhere", "frames")
