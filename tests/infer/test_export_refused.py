"""Exports that are refused or fail: nothing is put in place, and nothing that was there is lost."""

from __future__ import annotations

import fcntl

import numpy as np
import pytest
from train_samples import Recorder, learning_cache, tiny_config

from est.cache.stores.disk import Disk
from est.errors import CacheError, EstError, UsageError
from est.infer.export import verification
from est.infer.export.exporting import ENDINGS, expect_free, export_run
from est.infer.export.verification import AgainstRun, expect_like_the_run
from est.train import ProtocolConfig, fit, model_config

FACELESS = tuple(range(18))  # all that the first fold tests but its last ones


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("refused")


@pytest.fixture(scope="module")
def run(folder):
    cache = learning_cache(folder / "c.zarr", 36)
    return fit(cache, folder / "run", tiny_config(model=model_config("pooled", most_frames=12), epochs=1)).run


@pytest.mark.parametrize(("name", "form"), [("m.pt", "onnx"), ("m.onnx", "torchscript")])
def test_a_name_that_says_another_format(run, tmp_path, name, form):
    with pytest.raises(UsageError, match="has the suffix of"):
        export_run(run, tmp_path / name, form=form)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("form", "remedy"), [("onnx", "model.onnx"), ("torchscript", "model.pt")])
def test_a_name_that_says_no_format(run, tmp_path, form, remedy):
    with pytest.raises(UsageError, match=r"ends in \.txt.*onnx \.onnx; torchscript \.pt \.pth \.ts\.(?m:$)") as refused:
        export_run(run, tmp_path / "model.txt", form=form)
    assert refused.value.remedy == f"--out {tmp_path / remedy}"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("form", "ending"), [(form, ending) for form in ENDINGS for ending in ENDINGS[form]])
def test_every_ending_of_a_format_is_taken(tmp_path, form, ending):
    for name in (f"model{ending}", f"model.v2{ending.upper()}"):
        assert expect_free(tmp_path / name, form, overwrite=False) == tmp_path / f"{name}.md"


def test_a_cache_that_is_named_must_be_there(run, tmp_path):
    with pytest.raises((CacheError, UsageError)):
        export_run(run, tmp_path / "m.onnx", cache=tmp_path / "none.zarr")
    assert not list(tmp_path.iterdir())


def test_what_was_there_stays_when_the_new_file_cannot_be_put_in_place(run, tmp_path, monkeypatch):
    for name in ("m.onnx", "m.onnx.md", "m.onnx.partial"):
        (tmp_path / name).write_text(f"old {name}")

    def refuse(disk, source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Disk, "rename", refuse)
    with pytest.raises(EstError, match="could not be exported: No space left") as caught:
        export_run(run, tmp_path / "m.onnx", overwrite=True)
    assert "free some space" in caught.value.remedy
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        name: f"old {name}" for name in ("m.onnx", "m.onnx.md", "m.onnx.partial")
    }


def test_two_exports_to_one_place_do_not_mix_and_what_a_kill_left_is_replaced(run, tmp_path):
    left = [tmp_path / name for name in (".m.pt.partial", ".m.pt.md.partial", ".m.pt.md.partial.partial")]
    for path in left:
        path.write_bytes(b"half")
    with open(left[0], "rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(EstError, match="is being exported by another process") as refused:
            export_run(run, tmp_path / "m.pt", form="torchscript")
    assert "wait for it" in refused.value.remedy
    assert all(path.read_bytes() == b"half" for path in left)
    export_run(run, tmp_path / "m.pt", form="torchscript")
    assert {path.name for path in tmp_path.iterdir()} == {"m.pt", "m.pt.md"}


def test_a_file_that_says_other_things_than_the_run_is_refused(run, tmp_path, monkeypatch):
    close = AgainstRun(clips=4, alike=4, probabilities=0.09)
    expect_like_the_run(close, "onnx")
    for far in (0.11, float("nan")):
        with pytest.raises(EstError, match=r"differ from predictions\.csv"):
            expect_like_the_run(AgainstRun(clips=4, alike=4, probabilities=far), "onnx")
    monkeypatch.setattr(verification, "AGAINST_RUN", -1.0)
    with pytest.raises(EstError, match="does not give the outputs of the run's model"):
        export_run(run, tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())


def test_wrong_probabilities_are_refused_where_logits_are_right(run, tmp_path, monkeypatch):
    from est.infer.export import exporting

    real = exporting.runner

    def wrong(path, form):
        opened = real(path, form)
        return lambda tensors: [opened(tensors)[0], np.zeros_like(opened(tensors)[1])]

    monkeypatch.setattr(exporting, "runner", wrong)
    with pytest.raises(EstError, match="its probabilities differ"):
        export_run(run, tmp_path / "m.onnx")


def test_clips_without_a_face_are_not_what_it_is_verified_on(folder, tmp_path, monkeypatch):
    cache = learning_cache(folder / "faceless.zarr", 36, faceless=FACELESS)
    kfold = ProtocolConfig(kind="kfold", folds=2)
    config = tiny_config(model=model_config("pooled", most_frames=12), protocol=kfold, epochs=1)
    made = fit(cache, folder / "faceless", config).run
    watch = Recorder()
    for part in made.parts:
        found = export_run(made, tmp_path / f"{part}.onnx", part=part, watch=watch)
        assert "test clips of the run's cache" in found.checks[1]
    assert not watch.warned
