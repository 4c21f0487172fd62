"""What cannot be predicted says so and names what mends it; what can be predicted beside it is."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from predict_samples import QUIET
from train_samples import read_csv, without_digests
from video_samples import make_video

from est.cli import main
from est.encoders.weights import SHIPPED
from est.errors import EstError, RecipeMismatch, UsageError
from est.infer.prediction.predicting import predict
from est.train import Run
from est.train.runs.files import read_json, write_json
from est.train.runs.run import FACTS, RESULT


@pytest.fixture
def run(sample, tmp_path):
    """A copy of the run that a test may spoil."""
    shutil.copytree(sample.run, tmp_path / "run")
    return without_digests(tmp_path / "run")


def change_recipe(run, **fields):
    facts = read_json(run / FACTS)
    facts["cache"]["recipes"]["features"]["gap"] |= fields
    write_json(run / FACTS, facts)


def est(*words):
    with pytest.raises(SystemExit) as ended:
        main(["predict", "--device", "cpu", "--workers", "1", "--no-video", "--no-picture", *map(str, words)])
    return ended.value.code


def test_weights_that_changed(sample, run):
    change_recipe(run, weights_digest="ff" * 16)
    with pytest.raises(RecipeMismatch, match="synface are not those") as refused:
        predict(sample.video, run, config=QUIET)
    assert "--weights" in refused.value.remedy


def test_weights_in_a_file_are_found_by_their_content(sample, run, tmp_path):
    known = predict(sample.video, sample.run, config=QUIET).windows.probabilities()
    change_recipe(run, weights="mine.safetensors")
    with pytest.raises(RecipeMismatch, match="no such file") as refused:
        predict(sample.video, run, config=QUIET)
    assert refused.value.remedy == "--weights FOLDER/mine.safetensors"
    (tmp_path / "mine.safetensors").write_bytes((SHIPPED / "synface.safetensors").read_bytes())  # beside the run
    np.testing.assert_array_equal(predict(sample.video, run, config=QUIET).windows.probabilities(), known)
    (tmp_path / "mine.safetensors").rename(tmp_path / "other.safetensors")
    named = replace(QUIET, weights=(str(tmp_path / "other.safetensors"),))
    np.testing.assert_array_equal(predict(sample.video, run, config=named).windows.probabilities(), known)
    with pytest.raises(RecipeMismatch, match="--weights names random"):
        predict(sample.video, run, config=replace(QUIET, weights=("random",)))


def test_a_run_that_is_not_complete(sample, run):
    (run / "parts" / Run.open(run).parts[0] / RESULT).unlink()
    with pytest.raises(UsageError, match="is not complete") as refused:
        predict(sample.video, run, config=QUIET)
    assert "--resume" in refused.value.remedy


def test_a_run_that_is_not_there_is_named_before_a_video_that_is_not(sample, tmp_path, capsys):
    assert est(tmp_path / "none.mp4", "--run", tmp_path / "mine") == 2
    told = capsys.readouterr().err
    assert "mine is not a run" in told
    assert "none.mp4" not in told
    assert est(tmp_path / "none.mp4", "--run", sample.run) == 2
    assert "none.mp4 does not exist" in capsys.readouterr().err


def test_a_part_that_is_misspelt(sample):
    part = Run.open(sample.run).parts[0]
    with pytest.raises(UsageError, match="--part is") as refused:
        predict(sample.video, sample.run, config=replace(QUIET, part=part[:-1]))
    assert refused.value.remedy.startswith("--part fold")


def test_windows_that_leave_frames_out(sample):
    with pytest.raises(UsageError, match="leave frames out"):
        predict(sample.video, sample.run, config=replace(QUIET, window=0.5, stride=1.0))


def test_without_a_face_there_is_an_empty_table(sample, tmp_path, capsys):
    make_video(tmp_path / "grey.mp4", [np.full((96, 128, 3), 127, np.uint8)] * 8)
    out = tmp_path / "out"
    assert est(tmp_path / "grey.mp4", "--run", sample.run, "--out", out, "--picture") == 0
    assert "no face was found in 1 of 1 videos: grey" in capsys.readouterr().out
    assert read_csv(out / "predictions.csv") == read_csv(out / "timeline.csv") == []
    assert (out / "predictions.csv").read_text().startswith("video,track,start,end,")
    assert (out / "grey.timeline.png").stat().st_size > 1000


def test_one_frame(sample, tmp_path):
    make_video(tmp_path / "one.mp4", sample.frames[:1])
    (row,) = predict(tmp_path / "one.mp4", sample.run, config=QUIET)
    assert (row["first_frame"], row["last_frame"], row["start"], row["end"]) == (0, 0, 0.0, 0.0)


def test_a_damaged_video_among_good_ones(sample, tmp_path, capsys):
    folder, out = tmp_path / "videos", tmp_path / "out"
    folder.mkdir()
    shutil.copy(sample.video, folder / "good.mp4")
    (folder / "bad.mp4").write_bytes(sample.video.read_bytes()[:600] + bytes(3000))
    assert est(folder, "--run", sample.run, "--out", out, "--json", "--quiet") == 3
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert [failure["id"] for failure in result["failures"]] == ["bad"]
    assert [row["video"] for row in read_csv(out / "predictions.csv")] == ["good"]
    assert [failure["id"] for failure in read_json(out / "predictions.json")["failures"]] == ["bad"]


def test_an_output_that_exists(sample, tmp_path, capsys):
    out = tmp_path / "out"
    predict(sample.video, sample.run, out=out, config=QUIET)
    (out / "mine.txt").write_text("x")
    assert est(sample.video, "--run", sample.run, "--out", out) == 2
    assert "--overwrite" in capsys.readouterr().err
    predict(sample.folder / "clip2.mp4", sample.run, out=out, config=QUIET, overwrite=True)
    assert [row["video"] for row in read_csv(out / "predictions.csv")] == ["clip2"]
    assert (out / "mine.txt").read_text() == "x"
    with pytest.raises(UsageError, match="which was not written by est predict"):
        predict(sample.video, sample.run, out=sample.run, config=QUIET, overwrite=True)


def test_an_unfinished_output_goes_on(sample, tmp_path, monkeypatch):
    from est.infer.prediction import predicting

    out = tmp_path / "out"
    before = predicting.draw_video
    monkeypatch.setattr(predicting, "draw_video", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        predict(sample.folder, sample.run, out=out, config=QUIET)
    monkeypatch.setattr(predicting, "draw_video", before)
    with pytest.raises(UsageError, match=r"face all, you asked for main\. It holds an unfinished prediction"):
        predict(sample.folder, sample.run, out=out, config=replace(QUIET, face="main"))
    monkeypatch.setattr(predicting, "ClipPipeline", None)  # nothing is extracted again
    found = predict(sample.folder, sample.run, out=out, config=QUIET)
    assert [row["video"] for row in found] == [f"clip{number}" for number in range(4)]
    assert not (out / ".unfinished").exists()


def test_no_pyarrow(sample, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(UsageError, match="pyarrow"):
        predict(sample.video, sample.run, config=replace(QUIET, parquet=True))


def test_a_detector_in_the_place_of_the_runs_is_refused(sample, run):
    with pytest.raises(RecipeMismatch, match="were found by retinaface; found --detector none") as caught:
        predict(sample.video, run, config=replace(QUIET, detector="none"))
    assert caught.value.remedy == "leave --detector out"


def test_another_detector_or_tracking_than_then(sample, run):
    facts = read_json(run / FACTS)
    frames = facts["cache"]["recipes"]["frames"]
    frames["tracking"] = "gap 7, iou 0.3"
    write_json(run / FACTS, facts)
    with pytest.raises(RecipeMismatch, match="tracked with other settings"):
        predict(sample.video, run, config=QUIET)
    frames["tracking"], frames["detector_digest"] = "gap 15, iou 0.3", "00"
    write_json(run / FACTS, facts)
    with pytest.raises(RecipeMismatch, match="detector retinaface has other weights"):
        predict(sample.video, run, config=QUIET)


def test_neither_videos_nor_a_camera(sample, capsys):
    assert est("--run", sample.run) == 2
    assert "found neither" in capsys.readouterr().err
    assert est(sample.video, "--camera", 0, "--run", sample.run) == 2


def test_what_is_told_once(sample, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    told = []
    for number in range(2):
        assert est(tmp_path / "none.mp4", "--run", sample.run, "--out", tmp_path / str(number), "--json") == 2
        shown = capsys.readouterr()
        told.append("AI Act" in shown.err)
        assert "AI Act" not in shown.out
    assert told == [True, False]


def test_maps_and_features_of_changed_crops(sample, run):
    change_recipe(run, view=1, look="shift")
    with pytest.raises(EstError, match="crops that were changed"):
        predict(sample.video, run, config=QUIET)


@pytest.mark.slow
def test_a_run_on_crops_warns(sample, run, tmp_path):
    from train_samples import Recorder

    facts = read_json(run / FACTS)
    facts["cache"]["recipes"]["frames"] |= {"detector": "none", "detector_digest": "", "tracking": "", "margin": 0.0}
    write_json(run / FACTS, facts)
    watch = Recorder()
    found = predict(sample.video, run, config=QUIET, watch=watch)
    assert "--detector retinaface" in watch.warned[0]
    assert found.timeline["right"][0] == 256
    found = predict(sample.video, run, config=replace(QUIET, detector="retinaface"), watch=watch)
    assert found.timeline["right"][0] < 250
