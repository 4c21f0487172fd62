"""Decoding: what was drawn comes out upright, in order and with its times; what cannot be read says why."""

from __future__ import annotations

import os
import subprocess
import sys
import weakref
import zipfile
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import video_samples as samples
from video_samples import (
    LEVELS,
    UNEVEN,
    corner_names,
    cut_by_edit_list,
    make_audio,
    make_video,
    number_of,
    picture,
    pts_of,
)

from est.errors import SourceError, UsageError
from est.extract.video.source import DECODERS, open_source

MILLISECOND = 1e-3


@pytest.fixture(params=["opencv", "pyav"])
def decoder(request):
    return request.param


def read(path, kind="video", **options):
    """Return a source's info, frames, times and count of missing frames."""
    with open_source(path, kind, **options) as video:
        pairs = list(video.frames())
        frames, times = [frame for frame, _ in pairs], [time for _, time in pairs]
        for frame in frames:
            assert frame.dtype == np.uint8
            assert frame.flags.c_contiguous
            assert frame.shape == (video.info.size[1], video.info.size[0], 3)
        assert all(before <= after for before, after in pairwise(times))
        return video.info, frames, times, video.missing


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("b.mp4", {"options": {"bf": "2"}}),
        ("b.mov", {"options": {"bf": "3"}}),
        ("b.mkv", {"options": {"bf": "2"}}),
        ("b.webm", {"codec": "libvpx-vp9"}),
        ("b.avi", {"codec": "mpeg4", "pixels": "yuv420p", "options": {"bf": "2", "qscale": "2"}}),
        ("b.ts", {"options": {"bf": "2"}}),
        ("b.mpg", {"codec": "mpeg2video", "pixels": "yuv420p", "options": {"bf": "2"}}),
        ("b.flv", {"codec": "flv", "pixels": "yuv420p"}),
        ("with sound.mp4", {"audio": True}),
    ],
)
def test_frames_come_in_order_with_their_times(tmp_path, decoder, name, options):
    path = make_video(tmp_path / name, **options)
    info, frames, times, missing = read(path, decoder=decoder)
    assert [number_of(frame) for frame in frames] == list(range(LEVELS))
    assert times == pytest.approx(pts_of(path), abs=MILLISECOND)
    assert (info.fps, info.size, missing) == (pytest.approx(25, abs=0.01), samples.SIZE, 0)
    assert info.declared == (LEVELS if path.suffix in (".mp4", ".mov", ".avi") else 0)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm", ".ts"])
def test_a_variable_rate_that_starts_late_keeps_its_times(tmp_path, decoder, suffix):
    times = [500 + int(time) for time in np.cumsum(UNEVEN)]
    codec = {"codec": "libvpx-vp9"} if suffix == ".webm" else {"options": {"bf": "2", "g": "6"}}
    path = make_video(tmp_path / f"uneven{suffix}", times=times, **codec)
    _, frames, found, missing = read(path, decoder=decoder)
    assert found == pytest.approx([(time - times[0]) / 1000 for time in times], abs=MILLISECOND)
    assert found == pytest.approx(pts_of(path), abs=MILLISECOND)
    assert [number_of(frame) for frame in frames] == list(range(LEVELS))
    assert missing == 0  # its duration × its rate would say that half of the frames are missing


def test_frames_without_times_follow_at_the_rate(tmp_path, decoder):
    path = make_video(tmp_path / "raw.h264", container="h264", rate=50)
    info, frames, times, _ = read(path, decoder=decoder)
    assert len(frames) == LEVELS
    assert times == pytest.approx(np.arange(LEVELS) / (info.fps or 25))


def test_an_edit_list_is_part_of_the_files_account(tmp_path, decoder):
    """A cut without encoding keeps frames that are not shown; they are not missing."""
    whole = make_video(tmp_path / "whole.mp4", options={"g": "30"})
    path = tmp_path / "cut.mp4"
    cut_by_edit_list(whole, path, 0.16)
    info, frames, times, missing = read(path, decoder=decoder)
    assert [number_of(frame) for frame in frames] == list(range(4, LEVELS))
    assert (info.declared, missing) == (LEVELS - 4, 0)
    assert times == pytest.approx(np.arange(LEVELS - 4) / 25, abs=MILLISECOND)


@pytest.mark.parametrize(
    ("start", "end", "numbers"), [(0.08, 0.2, [2, 3, 4]), (None, 0.041, [0, 1]), (0.4, None, [10, 11])]
)
def test_a_segment_holds_the_frames_of_its_time(tmp_path, decoder, start, end, numbers):
    path = make_video(tmp_path / "segment.mp4", options={"bf": "2"})
    info, frames, times, missing = read(path, decoder=decoder, start=start, end=end)
    assert [number_of(frame) for frame in frames] == numbers
    assert times == pytest.approx([number / 25 for number in numbers], abs=MILLISECOND)
    assert (info.first_frame, info.declared, missing) == (numbers[0], len(numbers), 0)


def test_a_segment_beyond_the_end_is_told(tmp_path, decoder):
    path = make_video(tmp_path / "short.mp4")
    with pytest.raises(SourceError, match=r"segment from 5 to 6 s; the last one read is at 0.44 s"):
        open_source(path, "video", decoder=decoder, start=5, end=6)
    with pytest.raises(UsageError, match="ends after it starts"):
        open_source(path, "video", decoder=decoder, start=5, end=5)


@pytest.mark.parametrize("size", [(1, 1), (37, 21), (3, 97), (8, 8)])
def test_odd_sizes(tmp_path, decoder, size):
    path = make_video(tmp_path / "odd.mp4", 3, size=size)
    info, frames, _, _ = read(path, decoder=decoder)
    assert info.size == size
    assert len(frames) == 3
    assert np.abs(frames[2].astype(int) - picture(2, size)).mean() < 3


def test_one_frame(tmp_path, decoder):
    info, frames, times, missing = read(make_video(tmp_path / "one.mp4", 1), decoder=decoder)
    assert (info.declared, len(frames), times, missing) == (1, 1, [0.0], 0)


def test_eight_thousand_columns(tmp_path):
    size = (7680, 4320)
    path = make_video(tmp_path / "8k.avi", [picture(0, size)] * 2, codec="mjpeg", pixels="yuvj420p")
    info, frames, _, _ = read(path)
    assert (info.size, len(frames)) == (size, 2)
    assert corner_names(frames[1]) == "rgbw"


@pytest.mark.parametrize(
    "name", ["with space.mp4", "smile 😀.mp4", "two\nlines.mp4", "http:x.mp4", "100%d.mp4", "-o.mp4"]
)
def test_names_that_programs_trip_over(tmp_path, monkeypatch, decoder, name):
    make_video(tmp_path / "plain.mp4", 2).rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    assert len(read(Path(name), decoder=decoder)[1]) == 2


def front_indexed(path, frames=60):
    """Write an MP4 whose index comes first, as on the web."""
    return make_video(path, frames, options={"g": "10"}, muxer={"movflags": "faststart"})


def test_a_truncated_file_delivers_less_than_it_declares(tmp_path, decoder):
    path = front_indexed(tmp_path / "cut.mp4")
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * 0.7)])
    info, frames, _, missing = read(path, decoder=decoder)
    assert info.declared == 60
    assert 10 < len(frames) < 55
    assert missing == 60 - len(frames)


def test_a_truncated_file_without_a_count_is_short_by_its_duration(tmp_path, decoder):
    path = make_video(tmp_path / "cut.mkv", 100)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    info, frames, _, missing = read(path, decoder=decoder)
    assert info.declared == 0
    assert len(frames) < 70
    assert missing == pytest.approx(100 - len(frames), abs=2)


@pytest.mark.parametrize("name", ["middle.avi", "middle.mp4"])
def test_what_follows_damage_is_still_read(tmp_path, decoder, name):
    path = tmp_path / name
    if name.endswith("avi"):
        make_video(path, 60, codec="mjpeg", pixels="yuvj420p")
    else:
        front_indexed(path)
    data = bytearray(path.read_bytes())
    third, eighth = len(data) // 3, len(data) // 8
    data[third : third + eighth] = np.random.default_rng(0).integers(0, 256, eighth, np.uint8).tobytes()
    path.write_bytes(data)
    info, frames, _, missing = read(path, decoder=decoder)
    assert info.declared == 60
    assert 40 < len(frames) < 60  # plain OpenCV stops at the damage, with about 20
    assert missing == 60 - len(frames)
    assert number_of(frames[-1]) == 59 % LEVELS


def nothing(path):
    path.write_bytes(b"")


def text(path):
    path.write_text("A list of things to do\nand not a video\n")


def half_index(path):
    make_video(path)
    path.write_bytes(path.read_bytes()[:-600])


def archive(path):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("clip.mp4", bytes(100))


def zeros(path):
    path.write_bytes(bytes(5000))


def silent_header(path):
    make_video(path, 0)


def a_pipe(path):
    os.mkfifo(path)


def a_loop(path):
    path.symlink_to(path)


@pytest.mark.parametrize(
    ("name", "write", "message"),
    [
        ("x.mp4", nothing, "the file is empty"),
        ("x.mp4", text, "not a video but text: 'A list of things"),
        ("x.mp4", make_audio, "the file has no video .tracks: sound"),
        ("x.mkv", make_audio, "no video"),
        ("x.mp4", half_index, "without its index"),
        ("x.mp4", silent_header, "has no video"),
        ("x.mp4", archive, "not a video but a ZIP"),
        ("x.avi", zeros, "starts with the bytes 00 00"),
        ("x.mp4", Path.mkdir, "found a folder"),
        ("x.mp4", a_pipe, "found a named pipe"),
        ("x.mp4", a_loop, "cannot be read"),
        ("x.mp4", lambda path: None, "No such file"),
    ],
)
@pytest.mark.parametrize("decoder", DECODERS)
def test_what_is_no_video_says_why(tmp_path, decoder, name, write, message):
    path = tmp_path / name
    write(path)
    with pytest.raises(SourceError, match=message):
        open_source(path, "video", decoder=decoder)


def test_decoders_write_nothing_to_stderr(tmp_path, decoder):
    """In a process of its own: OpenCV reads how loud FFmpeg may be once, at the first video it opens or writes."""
    half_index(tmp_path / "half.mp4")
    zeros(tmp_path / "zeros.avi")
    front_indexed(tmp_path / "cut.mp4")
    data = bytearray((tmp_path / "cut.mp4").read_bytes())
    data[-3000:-1000] = bytes(2000)
    (tmp_path / "cut.mp4").write_bytes(data[:-500])
    script = "import sys\nfrom est.errors import SourceError\nfrom est.extract.video.source import open_source\n"
    script += (
        "for path in sys.argv[2:]:\n  try: print(len(list(open_source(path, 'video', decoder=sys.argv[1]).frames())))\n"
    )
    script += "  except SourceError: print('no')"
    paths = [tmp_path / name for name in ("half.mp4", "zeros.avi", "cut.mp4")]
    done = subprocess.run([sys.executable, "-c", script, decoder, *paths], capture_output=True, text=True, check=True)
    assert done.stdout.split()[:2] == ["no", "no"]
    assert 1 < int(done.stdout.split()[2]) < 60
    assert done.stderr == ""


def test_no_permission_is_told(tmp_path, monkeypatch, decoder):
    path = make_video(tmp_path / "mine.mp4", 1)

    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(SourceError, match=r"cannot be read \(Permission denied"):
        open_source(path, "video", decoder=decoder)


def test_an_unknown_decoder_is_named(tmp_path):
    with pytest.raises(UsageError, match="one of auto, opencv, pyav"):
        open_source(tmp_path, "video", decoder="ffmpeg")


def test_a_size_that_changes_is_refused_by_the_decoder_that_sees_it(tmp_path):
    first = make_video(tmp_path / "a.h264", 6, container="h264").read_bytes()
    second = make_video(tmp_path / "b.h264", 6, container="h264", size=(48, 32)).read_bytes()
    path = tmp_path / "changing.h264"
    path.write_bytes(first + second)
    with pytest.raises(SourceError, match="frame 6 is 48×32, the frames before it 96×64"):
        read(path, decoder="pyav")
    _, frames, _, _ = read(path)  # OpenCV scales all to one size
    assert len({frame.shape for frame in frames}) == 1


def test_frames_are_not_held(tmp_path):
    """A frame is let go of when the next one is asked for."""
    path = make_video(tmp_path / "long.mp4", 30)
    alive = []
    with open_source(path, "video") as video:
        for frame, _ in video.frames():
            alive.append(weakref.ref(frame))
            del frame
            assert sum(reference() is not None for reference in alive) <= 1
    assert len(alive) == 30
