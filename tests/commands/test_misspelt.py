"""Lines that could not be parsed, and names that nothing has: the remedy is the nearest one that there is."""

from __future__ import annotations

import json
import shlex

import h5py
import pytest
import zarr
from cache_samples import make_clip

from est.cache import open_cache
from est.commands.training.modelflags import FRAME_MODEL_LIST


@pytest.mark.parametrize(
    ("line", "message", "remedy"),
    [
        (
            "extract x --detectr none",
            "est extract has no option --detectr.\n",
            "--detector, or est extract --help-all for all",
        ),
        ("extract x --lables folders", "est extract has no option --lables.\n", "--labels, or"),
        (
            "extract x --epochs 10",
            "est extract has no option --epochs; est train, est tune, est recache and 3 more have --epochs.",
            "est extract --help-all\n",
        ),
        ("extract x --output-dir c.zarr", "est extract has no option --output-dir", "--out, or"),
        ("train --cache c --num-epochs 8", "est train has no option --num-epochs", "--epochs, or"),
        ("train --cache c --gpu 1", "est train has no option --gpu", "--device, or"),
        (
            "sweep --cache c --learning-rate 1",
            "est sweep has no option --learning-rate",
            "--set loop.learning_rate=, or",
        ),
        ("train --cache c --learning-rat 1", "est train has no option --learning-rat", "--learning-rate, or"),
        ("tune --cache c --learning_rate 1", "est tune has no option --learning_rate", "--"),
        ("train --cache c --nothing-like-it 1", "est train has no option --nothing-like-it", "est train --help-all"),
        ("predict --nothing-like-it 1", "est predict has no option --nothing-like-it", "est predict --help-all"),
        (
            "cache verify --nothing-like-it 1",
            "est cache verify has no option --nothing-like-it",
            "est cache verify --help\n",
        ),
        ("extract x --across-cuts foo", "--across-cuts is keep,", "est extract --help-all\n"),
        ("trainn --cache c", "No such command 'trainn'", "est train --cache c"),
        ("cache inof c.zarr", "No such command 'inof'", "est cache info c.zarr"),
        (
            "extract x --engine onxruntime",
            "--engine is auto, torch or onnxruntime, found 'onxruntime'.",
            "--engine onnxruntime",
        ),
        ("extract x --modality flw", "--modality is face or flow, found 'flw'.", "--modality flow"),
        ("extract x --modality zzz", "--modality is face or flow, found 'zzz'.", "est extract --help"),
        ("extract x --decoder decord", "--decoder is auto, opencv or pyav, found 'decord'.", "--decoder auto"),
        ("train --cache c --protocol xyzzy", "--protocol is auto, official, folds,", "est train --list-protocols"),
        ("extract x --incomplete fayl", "--incomplete is keep or fail, found 'fayl'.", "--incomplete fail"),
        ("train --cache c --model gruu", "--model is est, transformer, gru,", "--model gru"),
        ("train --cache c --protocol defw", "--protocol is auto, official, folds,", "--protocol dfew"),
        ("train --cache c --preset smaal", "--preset is official, paper-text, fast,", "--preset small"),
        (
            "recache c.zarr --tune --out d.zarr --apex endd",
            "--apex is auto, uniform, middle, late or end",
            "--apex end",
        ),
        ("extract x --face larges", "--face is main, largest or all, found 'larges'.", "--face largest"),
    ],
)
def test_the_nearest_is_the_remedy(line, message, remedy, est):
    status, out, err = est(*shlex.split(line), "--quiet") if "--cache c" not in line else est(*shlex.split(line))
    assert (status, out) == (2, "")
    assert message in err
    assert f"try: {remedy}" in err
    assert "Value error" not in err


@pytest.fixture
def folder(tmp_path, make_cache):
    make_cache(tmp_path / "ours.zarr", range(2, 6))
    with h5py.File(tmp_path / "foreign.h5", "w") as file:
        file["x"] = 1
    zarr.open_group(tmp_path / "foreign.zarr", mode="w").create_array("x", shape=(2,), dtype="i4")
    return tmp_path


def test_only_our_caches_are_listed_and_foreign_stores_in_one_line(folder, est):
    _, out, _ = est("cache", "ls", folder)
    assert out.splitlines() == [
        str(folder / "ours.zarr"),
        f"not caches of est: {folder / 'foreign.h5'}, {folder / 'foreign.zarr'}",
    ]
    (folder / "ours.zarr" / "zarr.json").write_text("{")  # a damaged cache is one all the same
    _, out, _ = est("cache", "ls", folder, "--json")
    assert json.loads(out)["caches"] == [str(folder / "ours.zarr")]
    assert len(json.loads(out)["foreign"]) == 2


def test_names_of_clips_that_no_clip_has(folder, est):
    cache, clip = folder / "ours.zarr", make_clip(2)
    near = f"{clip.label[:-1]}x"
    status, _, err = est("cache", "ls", cache, "--label", near)
    assert status == 2
    assert f"try: --label {clip.label}" in err
    status, _, err = est("cache", "ls", cache, "--subject", "nobody at all")
    assert status == 2
    assert "No clip has the subject 'nobody at all'; there are " in err
    assert "try: --subject " in err
    status, _, err = est("cache", "ls", cache, "--fold", "77")
    assert status == 2
    folds = sorted({fold for fold in open_cache(cache).clips.fold.tolist() if fold >= 0})
    assert f"No clip has the fold 77; there are {', '.join(map(str, folds))}" in err
    assert f"try: --fold {folds[0]}" in err


def test_a_recipe_offers_only_models_that_it_can_train():
    assert "window-head" not in FRAME_MODEL_LIST
    assert "est:" in FRAME_MODEL_LIST
