"""`--compare-detectors`: the figures are those of the caches that the settings would give, and nothing is written."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from detector_samples import not_a_detector, stand_in
from extract_samples import QUICK, extract, face_frames
from video_samples import make_video
from watch_samples import Counting

from est.cache import open_cache
from est.cli import main
from est.commands.detectortable import comparison_data, comparison_text
from est.errors import EstError, UsageError
from est.extract.compare import Setting, compare_detectors, evenly, settings_for
from est.extract.faces.face_linking import iou
from est.inputs.input import FoundInputs, Input, find_inputs


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> Path:
    """Two videos: a moving face with nobody before and after it, and the face alone."""
    folder = tmp_path_factory.mktemp("clips")
    frames = face_frames(14, step=4)
    nobody = [np.full_like(frames[0], 90)] * 7
    make_video(folder / "a.mp4", [*nobody, *frames, *nobody])
    make_video(folder / "b.mp4", frames[:8])
    return folder


@pytest.fixture(scope="module")
def packs(tmp_path_factory) -> Path:
    """A model root with a pack that runs and one without a detector."""
    root = tmp_path_factory.mktemp("models")
    for name, write in {"standin": stand_in, "broken": not_a_detector}.items():
        folder = root / "models" / name
        folder.mkdir(parents=True)
        write(folder / "det.onnx")
    (root / "checkpoints").mkdir()
    return root


def test_figures_are_those_of_the_caches(clips, packs, tmp_path):
    config = replace(QUICK, models_dir=packs)
    watch = Counting()
    found = compare_detectors(find_inputs([clips]), 2, config, watch=watch)
    assert watch.seen == [(0, 2), (1, 2), (2, 2)]
    assert found.inputs == ["a", "b"]
    assert [row.setting for row in found.rows] == settings_for(config)
    able = {row.setting: row for row in found.rows if not row.problem}
    caches = {}
    for setting in (
        Setting(detector="retinaface", size=640, every=1),
        Setting(detector="retinaface", size=240, every=3),
    ):
        out = tmp_path / f"{setting.size}.zarr"
        extract(clips, out, detect_size=setting.size, detect_every=setting.every)
        caches[setting] = open_cache(out)
    reference, small = (cache.load_column("box") for cache in caches.values())
    for setting, cache in caches.items():
        row = able[setting]
        state = cache.load_column("state")
        assert (row.frames, row.faces) == (36, np.count_nonzero(state))
        assert 0 < row.faces < 36
        assert row.coverage == row.faces / 36
        assert row.rate > 0
    both = np.isfinite(reference[:, 0]) & np.isfinite(small[:, 0])
    row = able[Setting(detector="retinaface", size=240, every=3)]
    assert row.shared == both.sum()
    assert row.mean_iou == pytest.approx(iou(reference[both], small[both]).mean(), abs=1e-9)
    assert found.rows[0].mean_iou == pytest.approx(1)
    assert 0.5 < row.mean_iou < 1
    problems = {row.setting.detector: row.problem for row in found.rows if row.problem}
    assert set(problems) == {"insightface:broken"}
    assert "expected a detection model" in problems["insightface:broken"]
    pack = next(row for row in found.rows if row.setting.detector == "insightface:standin")
    assert pack.frames == 36
    assert "non-commercial" in pack.licence


def test_the_table_names_settings_and_what_could_not_run(clips, packs):
    found = compare_detectors(find_inputs([clips]), 1, replace(QUICK, models_dir=packs, detect_size=320))
    text = comparison_text(found)
    lines = [line.split() for line in text.splitlines()]
    (chosen,) = [line for line in lines if "these" in line]
    assert chosen[:3] == ["retinaface", "320", "3"]
    assert chosen[3].endswith("%")
    assert any(line[:5] == ["retinaface", "640", "1", chosen[3], "1.000"] for line in lines)
    assert "insightface:broken could not run: " in text
    assert "licence of insightface:standin: " in text
    data = json.loads(json.dumps(comparison_data(found)))
    assert [row["chosen"] for row in data["settings"]].count(True) == 1
    assert [row["reference"] for row in data["settings"]].index(True) == 0
    assert data["available"] == 2
    assert {row["detect_size"] for row in data["settings"]} == {640, 320, 240}
    broken = next(row for row in data["settings"] if row["problem"])
    assert (broken["coverage"], broken["mean_iou"], broken["frames_per_second"]) == (None, None, None)


@pytest.mark.parametrize(
    ("total", "count", "expected"),
    [(10, 1, [5]), (10, 2, [2, 7]), (10, 5, [1, 3, 5, 7, 9]), (3, 9, [0, 1, 2]), (4, 4, [0, 1, 2, 3])],
)
def test_inputs_are_chosen_evenly(total, count, expected):
    inputs = [Input(id=str(number), path=Path("x"), kind="video") for number in range(total)]
    assert [int(clip.id) for clip in evenly(inputs, count)] == expected


def test_nonsense_is_refused(clips, tmp_path):
    found = find_inputs([clips])
    with pytest.raises(UsageError, match="a number of inputs from 1, found 0"):
        compare_detectors(found, 0, QUICK)
    with pytest.raises(UsageError, match="no inputs to compare detectors on"):
        compare_detectors(FoundInputs(inputs=()), 3, QUICK)
    with pytest.raises(UsageError, match="nothing to compare"):
        compare_detectors(found, 1, replace(QUICK, detector="none"))
    with pytest.raises(EstError, match="expected the folder"):  # asked for by name: not passed over
        compare_detectors(found, 1, replace(QUICK, detector="insightface:nowhere", models_dir=tmp_path))
    (tmp_path / "text.mp4").write_text("this is no video")
    with pytest.raises(EstError, match=r"None of the 1 chosen inputs can be read; the first: .*not a video but text"):
        compare_detectors(find_inputs([tmp_path]), 3, QUICK)


def test_the_command_writes_nothing_and_tells_what_failed(clips, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.mp4").write_text("this is no video")
    line = ["extract", str(clips), str(tmp_path), "--compare-detectors", "3", "--json", "--out", "cache.zarr"]
    with pytest.raises(SystemExit) as stop:
        main(line)
    assert stop.value.code == 3
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["event"] == "result"
    assert [failure["id"] for failure in result["failures"]] == ["text"]
    assert result["settings"][0]["frames"] == 36
    assert [path.name for path in tmp_path.iterdir()] == ["text.mp4"]
    with pytest.raises(SystemExit) as stop:
        main([*line, "--dry-run"])
    assert stop.value.code == 2
    assert "leave out one of them" in capsys.readouterr().out
