"""Weights that were tuned on labels: their file says on which, a run's folder stands for it, and the cache that they make says so too."""

from __future__ import annotations

import errno
import json
import os
import shutil

import cv2
import pytest
import torch
from extract_samples import extract, face_frames
from safetensors import safe_open

from est.cache import open_cache, verify_cache
from est.cache.stores.disk import Disk
from est.cache.trained import TrainedOn
from est.encoders.weights import BACKBONE, load_weights, save_weights
from est.errors import EstError, RecipeMismatch, UsageError

RECORD = TrainedOn(
    clips=("glad/é 1", "sad/2"),
    digests=("00ff" * 8,),
    subjects=("s1",),
    folds=("fold1",),
    how="est train --finetune layer4",
)


@pytest.fixture(scope="module")
def backbone():
    """A backbone that is nobody else's."""
    made = load_weights("random", normalize="imagenet").backbone
    with torch.no_grad():
        made.conv1.weight.mul_(1.5)
    return made


@pytest.fixture(scope="module")
def saved(backbone, tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "made" / "mine.safetensors"
    save_weights(path, backbone, normalize="imagenet", trained_on=RECORD, card={"purpose": "a test, ü"})
    return path


@pytest.fixture
def path(saved, tmp_path):
    """A copy of it, to do with as one likes."""
    (tmp_path / "made").mkdir()
    return shutil.copy(saved, tmp_path / "made" / "mine.safetensors")


def test_what_was_saved_is_loaded(saved, backbone):
    path = saved
    found = load_weights(str(path))
    assert found.trained_on == RECORD
    assert found.card == {"purpose": "a test, ü"}
    assert found.name == "mine.safetensors"
    assert found.backbone.normalization == backbone.normalization
    assert found.backbone.normalization.name == "imagenet"
    assert (found.matched, found.unused) == (len(backbone.state_dict()), [])
    for name, tensor in backbone.state_dict().items():
        assert torch.equal(found.backbone.state_dict()[name], tensor), name
    assert found.report().endswith("; learnt from 2 clips of 1 subject, fold1 (est train --finetune layer4)")
    assert load_weights(str(path), normalize="none").trained_on == RECORD
    with safe_open(path, "pt") as file:
        assert json.loads(file.metadata()["trained_on"])["clips"] == list(RECORD.clips)


def test_weights_that_have_seen_no_labels_say_nothing_of_them(backbone, tmp_path):
    save_weights(tmp_path / "w.safetensors", backbone, normalize="none", trained_on=None)
    found = load_weights(str(tmp_path / "w.safetensors"))
    assert found.trained_on is None
    assert found.card == {}
    assert "learnt" not in found.report()
    assert load_weights("synface").trained_on is None, "its card names no clips"


def test_equal_weights_are_equal_files(path, backbone, tmp_path):
    settings = {"normalize": "imagenet", "card": {"purpose": "a test, ü"}}
    again = tmp_path / "again.safetensors"
    save_weights(again, backbone, trained_on=RECORD, **settings)
    assert again.read_bytes() == path.read_bytes()
    save_weights(again, backbone, trained_on=TrainedOn(clips=("other",)), **settings)
    assert load_weights(str(again)).digest != load_weights(str(path)).digest


def test_a_file_is_replaced_whole_and_durably(path, backbone, monkeypatch):
    """Flushed before it takes the other's place; an error of the disk leaves the earlier one, and nothing beside it."""
    before = path.read_bytes()
    events = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: events.append(os.readlink(f"/proc/self/fd/{descriptor}")))
    save_weights(path, backbone, normalize="none", trained_on=None)
    assert events == [f"{path}.partial", str(path.parent)]
    assert path.read_bytes() != before

    def full(self, place, data):
        place.with_name(place.name + ".partial").write_bytes(data[:1000])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    kept = path.read_bytes()
    monkeypatch.setattr(Disk, "write", full)
    with pytest.raises(EstError, match="could not be written: No space left on device"):
        save_weights(path, backbone, normalize="imagenet", trained_on=RECORD)
    assert path.read_bytes() == kept
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("what", ["cut short", "a bit in a tensor", "a letter in the record", "a byte of the head"])
def test_a_damaged_file_is_refused(path, what):
    data = bytearray(path.read_bytes())
    place = {
        "a bit in a tensor": len(data) - 5,
        "a letter in the record": data.index(b"sad/2"),
        "a byte of the head": 3,
    }
    if what == "cut short":
        data = data[: len(data) // 2]
    else:
        data[place[what]] ^= 1
    path.write_bytes(data)
    found = (
        "is not a whole safetensors" if what == "cut short" else "its content does not match its checksum|is not a safe"
    )
    with pytest.raises(EstError, match=found) as refused:
        load_weights(str(path))
    assert ("download or copy it again" in (refused.value.remedy or "")) == (what == "cut short")


@pytest.mark.parametrize("text", ["{", "[]", '{"clips": ["a"]}'])
def test_a_record_that_is_none_is_refused(backbone, tmp_path, text):
    """Of another program's file, which has no checksum: what it has learnt from is not forgotten."""
    from safetensors.torch import save_file

    path = tmp_path / "theirs.safetensors"
    save_file(backbone.state_dict(), path, metadata={"normalize": "none", "trained_on": text})
    with pytest.raises(EstError, match="of what its weights have learnt from cannot be read"):
        load_weights(str(path))


def run_of(folder, path, parts):
    """Lay weights out as a run does."""
    for part in parts:
        (folder / "parts" / part).mkdir(parents=True)
        shutil.copy(path, folder / "parts" / part / BACKBONE)
    (folder / "parts" / "frozen").mkdir(parents=True)
    return folder


def test_a_run_stands_for_its_weights(path, tmp_path):
    run = run_of(tmp_path / "run", path, ["fold1"])
    for name in (run, run / "parts" / "fold1", run / "parts" / "fold1" / BACKBONE):
        found = load_weights(str(name))
        assert found.trained_on == RECORD
        assert found.name == BACKBONE, "one file, one recipe, however it is named"
        assert found.digest == load_weights(str(path)).digest


def test_a_run_of_several_or_of_none_does_not(path, tmp_path):
    several = run_of(tmp_path / "several", path, ["fold1", "fold2"])
    with pytest.raises(UsageError, match="has tuned 2 backbones, each on clips of its own: fold1, fold2") as caught:
        load_weights(str(several))
    assert f"--weights {several / 'parts' / 'fold1'}" in caught.value.remedy
    assert load_weights(str(several / "parts" / "fold2")).trained_on == RECORD
    with pytest.raises(UsageError, match="has no weights of a tuned backbone"):
        load_weights(str(run_of(tmp_path / "none", path, [])))


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    """Two folders of face crops."""
    folder = tmp_path_factory.mktemp("faces")
    for name in ("one", "two"):
        (folder / name).mkdir()
        for number, frame in enumerate(face_frames(3, 2)):
            cv2.imwrite(str(folder / name / f"{number}.bmp"), frame[:64, :64])
    return folder


def test_a_cache_says_what_its_weights_have_learnt_from(path, faces, tmp_path):
    """At once, and with a feature that is added; other weights are refused."""
    run = run_of(tmp_path / "run", path, ["fold1"])
    tuned = {"weights": str(run), "detector": "none", "workers": 1}
    out = tmp_path / "cache.zarr"
    assert extract(faces, out, **tuned).clips == 2
    assert open_cache(out).trained_on("gap") == RECORD
    assert extract(faces, out, **tuned, features=("gap", "layer4"), flip=True).filled == 2
    cache = open_cache(out)
    assert set(cache.features) == {"gap", "gap_flip", "layer4", "layer4_flip"}
    assert {cache.trained_on(name) for name in cache.features} == {RECORD}
    assert list(cache.snapshot.manifest.trained_on) == [RECORD.fingerprint]
    assert verify_cache(out).problems == []
    other = tmp_path / "other.safetensors"
    save_weights(other, load_weights(str(path)).backbone, normalize="imagenet", trained_on=TrainedOn(clips=("x",)))
    with pytest.raises(RecipeMismatch, match=r"gap\.trained_on"):
        extract(faces, out, **{**tuned, "weights": str(other)}, features=("gap", "layer4"), flip=True)
