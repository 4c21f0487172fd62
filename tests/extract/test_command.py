"""The command that adds a feature runs as it stands; settings of another cache are refused with the options that mend it."""

from __future__ import annotations

import shlex

import pytest
from extract_samples import QUICK, extract, face_frames
from refusals import differs
from train_samples import learning_cache
from video_samples import make_video

from est.cache import open_cache
from est.cli import main
from est.errors import RecipeMismatch
from est.extract.command import command_that_adds, sources_of
from est.extract.planning import preparation


def run(command: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(shlex.split(command)[1:])
    return ended.value.code


@pytest.fixture
def video(tmp_path):
    return make_video(tmp_path / "a b.mp4", face_frames(4))


@pytest.mark.parametrize("crops", [False, True])
def test_the_command_makes_the_feature(video, tmp_path, crops):
    path = tmp_path / "gap.zarr"
    extract(video, path, QUICK, detector="none", crops=crops, dtype="float32", flip=crops)
    command = command_that_adds(open_cache(path), "layer3")
    assert "--weights random" in command
    assert command.endswith("--features gap,layer3")
    assert run(command.replace("SOURCES", shlex.quote(str(video)))) == 0
    found = open_cache(tmp_path / ("gap-layer3.zarr" if crops else "gap.zarr"))
    assert {"gap", "layer3"} <= set(found.features)
    assert {recipe.dtype for recipe in found.recipes.features.values()} == {"float32"}
    assert found.has_crops == crops


def test_the_folder_is_named_that_holds_the_very_clips(tmp_path):
    folder = tmp_path / "my videos"
    (folder / "joy").mkdir(parents=True)
    clips = ["joy/a", "b"]
    for name in clips:
        (folder / f"{name}.mp4").write_bytes(b"")
    fields = {number: {"id": name, "path": str(folder / f"{name}.mp4")} for number, name in enumerate(clips)}
    cache = open_cache(learning_cache(tmp_path / "c.zarr", 2, fields=fields))
    assert sources_of(cache) == str(folder)
    assert f"est extract '{folder}' --out" in command_that_adds(cache, "layer3")
    (folder / "another.mp4").write_bytes(b"")
    assert sources_of(cache) == "SOURCES", "the command would extract another clip, too"
    assert sources_of(open_cache(learning_cache(tmp_path / "gone.zarr", 2))) == "SOURCES"


def test_options_that_differ_from_their_defaults_are_named(tmp_path):
    frames = {
        "detector": "retinaface",
        "size": 112,
        "align": "5point",
        "detect_size": 320,
        "detect_every": 3,
        "smooth": 2.0,
    }
    made = {"weights": "mine.pt", "normalize": "imagenet", "frames": frames | {"score_threshold": 0.8}}
    cache = open_cache(learning_cache(tmp_path / "c.zarr", 2, weights=made))
    command = command_that_adds(cache, "layer3").replace(" --precision fp32", "")
    assert command == (
        f"est extract SOURCES --out {cache.path} --detect-size 320 --align 5point --size 112 --weights FOLDER/mine.pt "
        "--normalize imagenet --features gap,layer3"
    )


def test_other_settings_are_refused_before_weights_are_loaded(video, tmp_path, monkeypatch):
    path = tmp_path / "gap.zarr"
    extract(video, path, QUICK, detector="none")
    monkeypatch.setattr(preparation, "load_weights", lambda *_, **__: pytest.fail("weights are loaded"))
    for changes, told, mend in (
        ({"weights": "imagenet"}, differs("weights", "random", "imagenet"), "--weights random"),
        ({"size": 96}, differs("size", 64, 96), "--size 64"),
        ({"crops": True}, differs("crops", "none", "jpeg 95"), "without --crops"),
        ({"dtype": "float32", "smooth": 3.0}, differs("smooth", 2.0, 3.0), "--smooth 2 --dtype float16"),
    ):
        with pytest.raises(RecipeMismatch, match=told) as refused:
            extract(video, path, QUICK, **({"detector": "none"} | changes))
        assert refused.value.remedy == f"{mend}, or another --out"
