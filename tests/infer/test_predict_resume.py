"""An interrupted prediction is resumed with what is still as it was: the sources, the run, the settings; one process writes a folder."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from predict_samples import LENGTHS, QUIET
from train_samples import Recorder, read_csv, without_digests

from est.cache import Watch
from est.cache.stores.disk import Disk
from est.commands.results.predict import default_out, lines
from est.encoders.engines import choice
from est.errors import EstError, UsageError
from est.infer.prediction import drawing, predicting
from est.infer.prediction.drawing import Drawings, draw_video
from est.infer.prediction.output import UNFINISHED, OutputFolder, file_name, writing
from est.infer.prediction.predicting import predict, summary_of
from est.infer.prediction.track import FaceTrack, PredictedVideo
from est.infer.prediction.windows import cutting_of
from est.inputs.input import Input
from est.train import Run
from est.train.runs.files import read_json, write_json
from est.train.runs.run import CHECKPOINT, CONFIG


def interrupt(monkeypatch, *args, **kwargs):
    """Predict until drawing begins."""
    with monkeypatch.context() as patched:
        patched.setattr(predicting, "draw_video", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            predict(*args, **kwargs)


def test_only_what_is_as_it_was_is_kept(sample, tmp_path, monkeypatch):
    videos, out = tmp_path / "videos", tmp_path / "out"
    videos.mkdir()
    for number in range(3):
        shutil.copy2(sample.folder / f"clip{number}.mp4", videos)
    interrupt(monkeypatch, videos, sample.run, out=out, config=QUIET)
    shutil.copy(sample.folder / "clip3.mp4", videos / "clip1.mp4")  # another video of that name
    (videos / "clip2.mp4").write_bytes(bytes(3000))
    watch = Recorder()
    found = predict(videos, sample.run, out=out, config=QUIET, watch=watch)
    assert [row["video"] for row in found] == [row["video"] for row in read_csv(out / "predictions.csv")]
    assert [(row["video"], row["last_frame"] + 1) for row in found] == [("clip0", LENGTHS[0]), ("clip1", LENGTHS[3])]
    assert [failure.id for failure in found.failures] == ["clip2"]
    assert (found.before, found.frames) == (1, LENGTHS[3])
    assert "1 of 3 videos were predicted before and have not changed" in watch.said
    told = "\n".join(lines(found))
    assert "2 videos (1 of them predicted before), 15 frames in" in told
    assert "2 videos (2 of them predicted before), none predicted now" in "\n".join(
        lines(replace(found, before=2, frames=0))
    )
    assert not (tmp_path / "out.lock").exists()


def input_of(path="x.mp4", **fields):
    return Input(**{"id": "x", "path": Path(path), "kind": "video", **fields})


def test_what_is_kept_is_named_after_all_that_tells_inputs_apart(tmp_path):
    folder = OutputFolder(tmp_path / "out", {})
    segment = input_of(start=1.0, end=2.0)
    files = [
        *(folder.video(source, 10, 20) for source in (input_of(), input_of("y/x.mp4"), input_of(id="y"), segment)),
        *(folder.video(replace(segment, **other), 10, 20) for other in ({"start": 0.5}, {"end": 2.5})),
        folder.video(input_of(), 11, 20),
        folder.video(input_of(), 10, 21),
    ]
    assert len(set(files)) == len(files)
    assert folder.video(input_of(os.path.abspath("x.mp4")), 10, 20) == files[0]


@pytest.mark.parametrize("changed", [CONFIG, CHECKPOINT, "fingerprints", "labels"])
def test_a_run_that_was_trained_again_is_another(sample, tmp_path, changed):
    def settings():
        run = Run.open(tmp_path / "run")
        return predicting._settings(run, QUIET, cutting_of(run, QUIET))

    shutil.copytree(sample.run, tmp_path / "run")
    before, run = settings(), Run.open(without_digests(tmp_path / "run"))
    folder = OutputFolder(tmp_path / "out", before)
    folder.begin()
    folder.close()
    OutputFolder(tmp_path / "out", settings())  # the same
    if changed in (CONFIG, CHECKPOINT):
        with open(run.path / CONFIG if changed == CONFIG else run.part(run.parts[1]) / CHECKPOINT, "a") as file:
            file.write("\n")
    else:
        facts = (tmp_path / "run" / "run.json").read_text()
        known = {
            "fingerprints": next(iter(run.facts["cache"]["fingerprints"].values())),
            "labels": "calm",
        }[changed]
        (tmp_path / "run" / "run.json").write_text(facts.replace(f'"{known}"', '"other"'))
    with pytest.raises(UsageError, match="unfinished prediction"):
        OutputFolder(tmp_path / "out", settings())
    one = replace(QUIET, part=run.parts[0])
    asked = predicting._settings(run, one, cutting_of(run, one))["files"]
    assert [name for name in asked if name.endswith(CHECKPOINT)] == [f"parts/{run.parts[0]}/{CHECKPOINT}"]


@pytest.mark.parametrize(
    "changed",
    [
        {"engine": "torch"},
        {"precision": "fp32"},
        {"face": "largest"},
        {"part": "fold1"},
        {"weights": ("synface",)},
        {"detector": "none"},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_what_rows_depend_on_is_asked_for_as_before(sample, tmp_path, changed):
    """Refused when the folder is opened: before models are loaded, and in folders that do not tell the resolved engine."""
    run = Run.open(sample.run)
    before, after = (predicting._settings(run, one, cutting_of(run, one)) for one in (QUIET, replace(QUIET, **changed)))
    folder = OutputFolder(tmp_path / "out", before)
    folder.begin()
    folder.close()
    OutputFolder(tmp_path / "out", before)
    with pytest.raises(UsageError, match="holds an unfinished prediction"):
        OutputFolder(tmp_path / "out", after)


def test_auto_that_means_another_engine_is_refused(sample, tmp_path, monkeypatch):
    out, asked = tmp_path / "out", replace(QUIET, precision="auto")
    monkeypatch.setattr(predicting, "_extract", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    monkeypatch.setattr(choice.of_torch, "fast_bf16_flags", list)

    def begin(fast):
        monkeypatch.setattr(choice, "is_fast_here", lambda: fast)
        with pytest.raises(KeyboardInterrupt):
            predict(sample.video, sample.run, out=out, config=asked)

    begin(False)
    begin(False)
    with pytest.raises(
        UsageError, match="precision of gap fp32 by torch, you asked for fp32 by onnxruntime"
    ) as refused:
        begin(True)
    assert "--overwrite" in refused.value.remedy
    settings = out / ".unfinished" / "settings.json"
    known = read_json(settings)
    assert known.pop("computed") == {"the detector": "fp32", "gap": "fp32 by torch"}
    write_json(settings, known)  # as earlier releases wrote them
    begin(True)
    assert read_json(settings)["computed"]["gap"] == "fp32 by onnxruntime"


def test_overwrite_begins_anew(tmp_path):
    folder = OutputFolder(tmp_path / "out", {"a": 1})
    folder.begin()
    kept = folder.video(input_of(), 1, 2)
    kept.write_text("x")
    folder.file("predictions.csv").write_text("x")
    folder.close()
    again = OutputFolder(tmp_path / "out", {"a": 1})
    again.begin()
    again.close()
    assert kept.exists()
    again = OutputFolder(tmp_path / "out", {"a": 1}, overwrite=True)
    assert kept.exists()
    again.begin()
    again.close()
    assert not kept.exists()
    assert not (tmp_path / "out" / "predictions.csv").exists()


def test_where_every_input_failed_the_same_command_tries_again(tmp_path):
    first = OutputFolder(tmp_path / "out", {"run": "a"})
    first.begin()
    first.file("predictions.csv").write_text("header")
    first.finish({"videos": [], "failures": [{"id": "cut"}]})
    again = OutputFolder(tmp_path / "out", {"run": "a"})
    again.begin()
    again.finish({"videos": [{"id": "cut"}], "failures": []})
    with pytest.raises(UsageError, match="holds predictions"):
        OutputFolder(tmp_path / "out", {"run": "a"})


def test_files_of_inputs_that_are_no_longer_among_them_go(tmp_path):
    folder = OutputFolder(tmp_path / "out", {})
    folder.begin()
    for name in ("old.annotated.mp4", "new.annotated.mp4"):
        folder.file(name).write_text("x")
    folder.close()
    (tmp_path / "out" / "mine.txt").write_text("x")
    again = OutputFolder(tmp_path / "out", {})
    again.begin()
    again.file("new.annotated.mp4")
    again.finish({})
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        *("mine.txt", "new.annotated.mp4", "predictions.json")
    ]
    assert read_json(tmp_path / "out" / "predictions.json")["files"] == ["new.annotated.mp4", "predictions.json"]


def test_a_second_process_is_refused(tmp_path):
    folder, second = (OutputFolder(tmp_path / "out", {}) for _ in range(2))
    folder.begin()
    with pytest.raises(EstError) as refused:
        second.begin()
    assert refused.value.message.startswith(f"{tmp_path / 'out'} is being written by process {os.getpid()} on ")
    assert "wait for that process" in refused.value.remedy
    folder.finish({})
    with pytest.raises(UsageError, match="holds predictions"):  # which were not there when it was looked at first
        second.begin()
    second.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]


def video_of(path, **fields):
    known = {"id": "x", "path": str(path), "kind": "video", "size": (96, 64), "fps": 25.0, "decoder": "opencv"}
    rest = {"start": None, "end": None, "missing": 0, "decode_errors": 0, "num_bytes": 0, "mtime_ns": 0}
    return PredictedVideo(**{**known, **rest, "time": np.arange(10) / 25, **fields})


def test_an_annotated_video_is_kept_only_where_it_is_of_this_prediction(tmp_path, monkeypatch):
    drawn = []

    def save(video, labels, path, *, watch):
        drawn.append(video.path)
        path.write_text(video.path)
        return [f"{video.id}: said"]

    monkeypatch.setattr(drawing, "save_video", save)
    folder = OutputFolder(tmp_path / "out", {})
    folder.begin()
    for path in ("one.mp4", "one.mp4", "two.mp4"):
        video, note = video_of(path), tmp_path / "out" / ".unfinished" / f"{path}.drawn"
        wanted = Drawings(picture=False, video=True)
        found = draw_video(video, ("a", "b"), folder, wanted, drawn_note=note, watch=Watch())
        assert found.lines == ["x: said"]
        assert (tmp_path / "out" / found.files["video"]).read_text() == path
    assert drawn == ["one.mp4", "two.mp4"]
    with monkeypatch.context() as patched:
        patched.setattr(Disk, "write", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        note = tmp_path / "out" / ".unfinished" / "four.drawn"
        with pytest.raises(OSError, match="No space"):
            draw_video(video_of("four.mp4"), ("a", "b"), folder, wanted, drawn_note=note, watch=Watch())
        assert not note.exists(), "half a note would be taken for a whole one"

    def fail(*_, **__):
        raise EstError("no")

    monkeypatch.setattr(drawing, "save_video", fail)
    found = draw_video(video_of("three.mp4"), ("a", "b"), folder, wanted, drawn_note=tmp_path / "none", watch=Watch())
    assert [failure.error for failure in found.failures] == ["no"]
    assert not (tmp_path / "out" / "x.annotated.mp4").exists()  # of what came before
    folder.close()


def test_names_that_file_systems_do_not_take_are_shortened(tmp_path):
    assert file_name("a/b", ".annotated.mp4") == "a/b.annotated.mp4"
    longest = ["é" * 125 + end for end in ("1234x", "1234y")]
    names = [file_name(f"folder/{name}", ".annotated.mp4") for name in longest]
    assert len(set(names)) == 2
    folder = OutputFolder(tmp_path / "out", {})
    folder.begin()
    for name in names:
        assert name.startswith("folder/ééé")
        path = folder.file(name)
        path.with_name(path.name + ".partial").write_text("x")
    folder.close()
    out = default_out([Path("v" * 251 + ".mp4"), Path("w")])
    assert out.name.endswith("-and-1-more")
    assert len(f"{out.name}.lock") <= 255
    assert default_out([Path("talk.mp4")]) == Path("predictions/talk")


def test_means_and_shares_are_of_time(tmp_path):
    """A second at 50 frames of one class, then two at 2 frames a second of the other; the windows say something else."""
    time = np.append(np.arange(50) / 50, 1 + np.arange(4) / 2)
    glad = np.append(np.zeros(50), np.ones(4)) * 0.8 + 0.1
    track = FaceTrack(
        number=1,
        first=0,
        state=np.ones(54, np.uint8),
        box=np.zeros((54, 4), np.float32),
        probabilities=np.stack([1 - glad, glad], axis=1).astype(np.float32),
        windows=np.array([[0, 54]]),
        window_probabilities=np.array([[0.9, 0.1]], np.float32),
        window_faces=np.ones(1),
    )
    (told,) = summary_of(video_of("x.mp4", time=time, tracks=[track]), ("calm", "glad"))["tracks"]
    assert told["share_of_time"] == {"calm": pytest.approx(1 / 3, abs=1e-4), "glad": pytest.approx(2 / 3, abs=1e-4)}
    assert told["probabilities"]["glad"] == pytest.approx((0.1 + 2 * 0.9) / 3, abs=1e-5)
    assert told["apparent_expression"] == "glad"


def test_overwriting_keeps_what_is_there_until_a_new_prediction_is(tmp_path):
    out = tmp_path / "out"
    first = OutputFolder(out, {"a": 1})
    first.begin()
    first.file("predictions.csv").write_text("old")
    first.finish({"videos": ["x"]})
    again = OutputFolder(out, {"a": 2}, overwrite=True)
    again.begin()
    assert again.replaces
    again.give_up()  # as where every input fails
    assert (out / "predictions.csv").read_text() == "old"
    assert read_json(out / "predictions.json")["videos"] == ["x"]
    assert not (out / ".unfinished").exists()
    last = OutputFolder(out, {"a": 2}, overwrite=True)
    last.begin()
    last.file("windows.csv").write_text("new")
    assert not last.replaces
    last.finish({"videos": ["y"]})
    assert sorted(path.name for path in out.iterdir()) == ["predictions.json", "windows.csv"]


def test_overwriting_by_inputs_that_all_fail_is_refused(sample, tmp_path, monkeypatch):
    out, bad = tmp_path / "out", tmp_path / "bad.mp4"
    first = OutputFolder(out, {"a": 1})
    first.begin()
    first.file("predictions.csv").write_text("old")
    first.finish({"videos": ["x"]})
    bad.write_bytes(b"\x00" * 100)
    with pytest.raises(
        EstError, match=r"Nothing could be predicted, and .* keeps the earlier predictions: .*bad"
    ) as refused:
        predict(bad, sample.run, out=out, config=QUIET, overwrite=True)
    assert refused.value.remedy == "other videos, or another --out"
    assert (out / "predictions.csv").read_text() == "old"


def test_what_the_disk_says_becomes_a_sentence(tmp_path):
    with (
        pytest.raises(
            EstError, match=r"in out could not be written: No space left on device \(out/x\.csv\)\.(?m:$)"
        ) as caught,
        writing(Path("out")),
    ):
        raise OSError(28, "No space left on device", "out/x.csv")
    assert "run the same command again" in caught.value.remedy
    with pytest.raises(BrokenPipeError), writing(Path("out")):  # who reads what is printed is gone: nothing was written
        raise BrokenPipeError


def test_what_was_kept_meanwhile_and_cannot_be_removed_is_named(tmp_path, monkeypatch):
    folder = OutputFolder(tmp_path / "out", {})
    folder.begin()
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "rmtree", lambda *_: (_ for _ in ()).throw(PermissionError(13, "Permission denied")))
        with pytest.raises(EstError, match=r"are complete, and .* could not be removed: Permission denied") as caught:
            folder.finish({"videos": ["a"]})
    folder.close()
    assert caught.value.remedy == f"rm -r '{tmp_path / 'out' / UNFINISHED}'"
    assert read_json(tmp_path / "out" / "predictions.json")["videos"] == ["a"]


def test_one_that_was_stopped_before_its_settings_were_written_begins_anew(tmp_path):
    folder = OutputFolder(tmp_path / "out", {"face": "all"})
    folder.begin()
    folder.close()
    (tmp_path / "out" / UNFINISHED / "settings.json").unlink()
    (tmp_path / "out" / UNFINISHED / "of nobody.npz").touch()
    again = OutputFolder(tmp_path / "out", {"face": "main"})
    again.begin()
    again.close()
    assert os.listdir(tmp_path / "out" / UNFINISHED) == ["settings.json"]
    with pytest.raises(UsageError, match="has face main, you asked for all"):
        OutputFolder(tmp_path / "out", {"face": "all"})
