"""The list of models: every one with its labels, and what a cache lacks for it."""

from __future__ import annotations

import json

import pytest
from finetune_samples import tuning_cache
from train_samples import LABELS, WIDTH, learning_cache

from est.cache import open_cache
from est.cli import main
from est.train.listing import OWN
from est.train.models.contract import ARCHITECTURES
from est.train.models.registry import MODELS


def listed(capsys, *arguments):
    with pytest.raises(SystemExit) as ended:
        main(["train", "--list-models", "--json", *arguments])
    assert ended.value.code == 0
    return {one["name"]: one for one in json.loads(capsys.readouterr().out)["models"]}


def test_every_model_is_listed_with_where_it_is_from(capsys):
    found = listed(capsys)
    assert list(found) == list(MODELS)
    for one in found.values():
        assert one["architecture"] in ARCHITECTURES
        assert (one["source"] == OWN) == (one["architecture"] == "own")
        assert one["parameters"] > 0
        assert one["missing"] is None
    assert found["est"]["parameters"] == 42_775_761 - 11_176_512
    assert found["est"]["training"] == "frozen encoder (published: end to end, --finetune all)"


def test_a_cache_says_which_it_is_for(tmp_path, capsys):
    cache = tuning_cache(tmp_path, features=("gap",))
    for one in listed(capsys, "--cache", str(cache)).values():
        assert (one["missing"] is None) == (one["reads"] in ("vectors", "crops"))
        adds = "est cache import" if one["reads"] == "windows" else "est extract"
        assert one["missing"] is None or adds in one["remedy"]


def test_one_command_adds_what_all_models_lack(tmp_path, capsys):
    cache = learning_cache(tmp_path / "c.zarr", 6)  # without crops, and its videos are gone
    found = listed(capsys, "--cache", str(cache))
    frames = int(open_cache(cache).clips.count.sum())
    room = f"layer3 takes 100 kB a frame, {frames * 256 * 14 * 14 * 2 / 1e6:.0f} MB for {frames:,} frames."
    assert found["stt"]["missing"] == f"stt reads layer3, which {cache} lacks: it has the features gap. " + room
    remedies = {found[name]["remedy"] for name in ("stt", "former-dfer", "msstnet")}
    assert len(remedies) == 1
    assert remedies.pop().endswith(" --features gap,layer3,pyramid4x4")
    assert "The crops of 6 of 6 clips" in found["r3d18"]["missing"]
    assert listed(capsys, "--cache", str(cache), "--model", "stt")["stt"]["remedy"].endswith(" --features gap,layer3")


def test_models_are_counted_for_the_classes_and_features_of_a_cache(tmp_path, capsys):
    cache = learning_cache(tmp_path / "c.zarr", 6)
    assert list(listed(capsys, "--model", "pooled")) == ["pooled"]
    assert listed(capsys, "--model", "pooled")["pooled"]["parameters"] == (4 * 512 + 1) * 7
    found = listed(capsys, "--model", "pooled", "--cache", str(cache))
    assert found["pooled"]["parameters"] == (4 * WIDTH + 1) * len(LABELS)


def test_the_list_is_a_table(capsys):
    with pytest.raises(SystemExit):
        main(["train", "--list-models"])
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split() == ["model", "reads", "parameters", "architecture", "training", "source"]
    assert [row.split()[0] for row in rows] == list(MODELS)
