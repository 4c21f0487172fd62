"""The annotated video has every frame, its times and its sound; pictures show the classes' colours and leave the face alone."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace

import av
import cv2
import numpy as np
import pytest
from predict_samples import QUIET
from video_samples import make_video

from est.cache import Watch
from est.infer.prediction.drawing import Drawings, draw_video
from est.infer.prediction.output import OutputFolder
from est.infer.prediction.pictures.annotated_video import VideoFile, open_audio
from est.infer.prediction.pictures.overlay import Face, Overlay, strip_of
from est.infer.prediction.pictures.palette import COLOURS, clock, colours_of, contrasting, plain
from est.infer.prediction.predicting import predict
from est.infer.prediction.track import FaceTrack, PredictedVideo, lanes_of

LABELS = ("calm", "glad")


def track(number=1, first=0, count=10, glad=0.8):
    share = np.full(count, glad)
    return FaceTrack(
        number=number,
        first=first,
        state=np.ones(count, np.uint8),
        box=np.tile(np.array([20, 30, 60, 70], np.float32), (count, 1)),
        probabilities=np.stack([1 - share, share], axis=1).astype(np.float32),
        windows=np.array([[first, first + count]]),
        window_probabilities=np.array([[1 - glad, glad]], np.float32),
        window_faces=np.ones(1),
    )


def video(path, tracks, *, count=20, size=(96, 64), **fields):
    known = {
        "id": "clip",
        "path": str(path),
        "kind": "video",
        "size": size,
        "fps": 25.0,
        "decoder": "opencv",
        **dict.fromkeys(("start", "end")),
        **dict.fromkeys(("missing", "decode_errors", "num_bytes", "mtime_ns"), 0),
    }
    return PredictedVideo(**{**known, **fields}, time=np.arange(count) / 25, tracks=tracks)


def streams(path):
    with av.open(str(path)) as file:
        times = [float(frame.pts * frame.time_base) for frame in file.decode(video=0)]
        sound = [stream.codec_context.name for stream in file.streams.audio]
    return times, sound


def test_the_whole_way(sample, tmp_path):
    make_video(tmp_path / "talk.mp4", sample.frames[:12], audio=True, pixels="yuv420p")
    found = predict(
        tmp_path / "talk.mp4", sample.run, out=tmp_path / "out", config=replace(QUIET, video=None, picture=None)
    )
    assert found.videos[0]["video"] == "talk.annotated.mp4"
    times, sound = streams(tmp_path / "out" / "talk.annotated.mp4")
    assert times == pytest.approx(np.arange(12) / 25, abs=1e-3)
    assert sound == ["aac"]
    assert found.lines == []
    picture = cv2.imread(str(tmp_path / "out" / found.videos[0]["picture"]))
    assert picture.shape[1] == 1600


def test_uneven_times_are_kept(tmp_path):
    with VideoFile(tmp_path / "x.mp4", (64, 64), fps=25) as file:
        for moment in (0.0, 0.5, 0.501, 0.501, 3.25):
            file.add(np.zeros((64, 64, 3), np.uint8), moment)
    times, sound = streams(tmp_path / "x.mp4")
    assert times == pytest.approx([0, 0.5, 0.501, 0.501, 3.25], abs=1e-4)
    assert sound == []


def test_sound_that_mp4_has_no_place_for_is_left_out_and_said(tmp_path):
    with av.open(str(tmp_path / "x.avi"), "w") as file:
        picture, sound = file.add_stream("libx264", rate=25), file.add_stream("pcm_u8", rate=16000)
        picture.width = picture.height = 64
        picture.pix_fmt = "yuv420p"
        for _ in range(10):
            file.mux(picture.encode(av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="bgr24")))
        file.mux(picture.encode())
        frame = av.AudioFrame.from_ndarray(np.full((1, 4096), 128, np.uint8), format="u8", layout="mono")
        frame.sample_rate = 16000
        file.mux(sound.encode(frame))
        file.mux(sound.encode())
    drawn = draw(video(tmp_path / "x.avi", [track()], count=10, size=(64, 64)), tmp_path)
    assert drawn.lines == ["clip: pcm_u8 sound cannot be copied into MP4; the annotated video has none"]
    times, sound = streams(tmp_path / "out" / "clip.annotated.mp4")
    assert (len(times), sound) == (10, [])


def test_sound_that_cannot_be_read_is_said(tmp_path):
    (tmp_path / "x.mp4").write_text("no video")
    with ExitStack() as stack:
        audio, problem = open_audio(str(tmp_path / "x.mp4"), 0.0, None, stack)
        assert audio is None
        assert problem.startswith("its sound cannot be read (")
        make_video(tmp_path / "silent.mp4", 5)
        assert open_audio(str(tmp_path / "silent.mp4"), 0.0, None, stack) == (None, "")


def test_sound_that_could_not_be_opened_leaves_the_video_without_it(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "est.infer.prediction.pictures.annotated_video.open_audio", lambda *_: (None, "its sound cannot be read (x)")
    )
    make_video(tmp_path / "x.mp4", 5)
    drawn = draw(video(tmp_path / "x.mp4", [track(count=5)], count=5), tmp_path)
    assert drawn.lines == ["clip: its sound cannot be read (x); the annotated video has none"]


def draw(predicted, folder, **drawings):
    out = OutputFolder(folder / "out", {})
    out.begin()
    wanted = Drawings(**{"picture": False, "video": True, **drawings})
    try:
        return draw_video(
            predicted, LABELS, out, wanted, drawn_note=folder / "out" / ".unfinished" / "x.drawn", watch=Watch()
        )
    finally:
        out.close()


def test_the_sound_of_a_segment_begins_with_it(tmp_path):
    make_video(tmp_path / "x.mp4", 50, audio=True, pixels="yuv420p")
    with ExitStack() as stack:
        audio, _ = open_audio(str(tmp_path / "x.mp4"), 0.8, 1.4, stack)
        times = [float(packet.pts * packet.time_base) for packet in audio.packets()]
    assert 0 <= times[0] < 0.1
    assert 0.5 < times[-1] < 0.6


def test_a_video_that_is_gone_is_a_failure_and_the_tables_stay(tmp_path):
    drawn = draw(video(tmp_path / "gone.mp4", [track()]), tmp_path)
    assert [failure.stage for failure in drawn.failures] == ["annotated video"]
    assert not list((tmp_path / "out").glob("*.mp4*"))


def test_nothing_of_the_picture_but_boxes_and_labels_is_covered():
    overlay = Overlay(LABELS, (640, 480))
    frame = np.full((480, 640, 3), 90, np.uint8)
    box = np.array([200, 150, 300, 280], np.float32)
    face = Face(number=1, box=box, probabilities=np.array([0.2, 0.8]))
    found = overlay.draw(frame, [face], [], moment=0.0, end=1.0)
    assert found.shape[0] > 480
    changed = (found[:480] != 90).any(2)
    assert changed.any()
    assert not changed[156:274, 206:294].any()  # the face
    assert not changed[290:].any()
    assert not changed[:110].any()
    tag = found[130, 203]
    assert tuple(tag) == COLOURS[1]


def test_a_label_goes_below_its_box_where_there_is_no_room_above():
    overlay = Overlay(LABELS, (640, 480))
    frame = np.full((480, 640, 3), 90, np.uint8)
    face = Face(number=1, box=np.array([200, 5, 300, 130], np.float32), probabilities=np.array([0.2, 0.8]))
    found = overlay.draw(frame, [face], [], moment=0.0, end=1.0)
    assert tuple(found[140, 203]) == COLOURS[1]
    assert (found[15:120, 210:290] == 90).all()


def test_small_pictures_are_enlarged_and_sides_are_even():
    overlay = Overlay(LABELS, (97, 65))
    assert overlay.zoom == 7
    assert all(side % 2 == 0 for side in overlay.size)
    assert Overlay(LABELS, (1920, 1080)).zoom == 1


def test_a_strip_has_the_colour_of_the_likeliest_class():
    tracks = [track(1, 0, 10, glad=1.0), track(2, 10, 5, glad=0.0)]
    (lane,) = lanes_of(tracks)
    strip = strip_of(lane, np.arange(20) / 20, 100, COLOURS)
    assert tuple(strip.columns[10]) == COLOURS[1]
    assert tuple(strip.columns[65]) == COLOURS[0]
    assert strip.columns[-1].max() < 70  # nobody there
    assert len(lanes_of([track(1, 0, 10), track(2, 5, 10)])) == 2


def test_many_classes_have_different_colours():
    assert len(set(colours_of(11))) == 11
    assert contrasting((255, 255, 255)) == (0, 0, 0)
    assert plain("gêné · 日") == "gene - ?"
    assert [clock(7.04), clock(205.46, tenths=True), clock(3722)] == ["0:07", "3:25.5", "1:02:02"]
