"""A camera, here a video in its place: the same faces and classes; nothing is stored unless it is asked for."""

from __future__ import annotations

import itertools
from pathlib import Path

import av
import pytest
from predict_samples import QUIET
from train_samples import Recorder, read_csv

from est.cli import main
from est.errors import EstError, UsageError
from est.infer.prediction import camera
from est.infer.prediction.camera import watch_camera
from est.train.runs.files import read_json


class Fake:
    """Gives pictures, then nothing."""

    def __init__(self, frames):
        self.frames, self.released = list(frames), False

    def read(self):
        return (True, self.frames.pop(0)) if self.frames else (False, None)

    def release(self):
        self.released = True


@pytest.fixture
def windows(monkeypatch):
    """The pictures that a window would show."""
    shown = []
    monkeypatch.setenv("DISPLAY", ":9")
    monkeypatch.setattr(camera, "show", lambda picture: shown.append(picture.shape) or len(shown) < 6)
    return shown


def run_camera(sample, frames, **settings):
    ticks = itertools.count()
    fake = Fake(frames)
    found = watch_camera(
        0, sample.run, config=QUIET, open_capture=lambda _: fake, clock=lambda: next(ticks) / 25, **settings
    )
    assert fake.released
    return found


def test_it_is_shown_and_nothing_is_stored(sample, windows, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    watch = Recorder()
    found = run_camera(sample, sample.frames[:9], watch=watch)
    assert len(windows) == found.pictures == 6  # then the window was closed
    assert found.faces == 1
    assert "nothing is stored" in watch.said
    assert not list(Path().iterdir())


def test_it_is_stored_where_that_is_asked_for(sample, tmp_path, monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    found = run_camera(sample, sample.frames[:5], out=tmp_path / "out")
    rows = read_csv(tmp_path / "out" / "timeline.csv")
    assert [row["frame"] for row in rows] == ["0", "1", "2", "3", "4"]
    assert {row["track"] for row in rows} == {"1"}
    assert all(abs(float(row["p_calm"]) + float(row["p_glad"]) - 1) < 1e-5 for row in rows)
    summary = read_json(tmp_path / "out" / "predictions.json")
    assert summary["pictures"] == found.pictures == 5
    assert summary["engine"] == ["torch"]
    with av.open(str(tmp_path / "out" / "camera.annotated.mp4")) as file:
        assert len(list(file.decode(video=0))) == 5


def test_no_display(sample, monkeypatch, capsys):
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(camera.sys, "platform", "linux")
    with pytest.raises(SystemExit) as ended:
        main(["predict", "--camera", "0", "--run", str(sample.run)])
    assert ended.value.code == 2
    assert "--save" in capsys.readouterr().err


def test_no_camera(sample, windows):
    with pytest.raises(UsageError, match="no camera 97"):
        watch_camera(97, sample.run, config=QUIET)
    with pytest.raises(EstError, match="gave no picture"):
        run_camera(sample, [])


def test_out_without_save(sample, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["predict", "--camera", "0", "--run", str(sample.run), "--out", str(tmp_path / "x")])
    assert ended.value.code == 2
    assert "--save --out" in capsys.readouterr().err
