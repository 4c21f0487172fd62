"""The list of models: every one with its labels, and what a cache lacks for it."""

from __future__ import annotations

import json

import pytest
from finetune_samples import tuning_cache

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
        assert one["missing"] is None or "est extract" in one["missing"]


def test_the_list_is_a_table(capsys):
    with pytest.raises(SystemExit):
        main(["train", "--list-models"])
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split() == ["model", "reads", "parameters", "architecture", "training", "source"]
    assert [row.split()[0] for row in rows] == list(MODELS)
