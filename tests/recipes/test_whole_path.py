"""A recipe by the command, with the detector, the shipped weights and the recipe's own model: on rendered faces."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from recipe_samples import faces, make_tree

from est.recipes.card import Card
from est.recipes.checking import check_card
from est.recipes.table import results_page


@pytest.mark.slow
def test_the_whole_path_by_the_command_on_rendered_faces(est, tmp_path):
    """With the detector, the shipped weights and the recipe's model, on a tree in the shape of RAVDESS."""
    root, out = make_tree(tmp_path / "RAVDESS", frames=faces), tmp_path / "out"
    command = (
        "recipe",
        "run",
        "ravdess",
        "--root",
        root,
        "--out",
        out,
        "--weights",
        "synface",
        "--preset",
        "small",
        "--seeds",
        "1",
    )
    status, text, _ = est(*command, "--set", "loop.epochs=2", "--device", "cpu", "--json")
    assert status == 0
    card = Card.read(Path(json.loads(text.splitlines()[-1])["card"]))
    assert (card.encoder["detector"], card.encoder["weights"], card.model["name"]) == ("retinaface", "synface", "est")
    assert card.partial.startswith("18 of 1,440 clips; ")
    assert not check_card(out / "cards" / "est.json", allow_partial=True).problems
    assert "synface" in results_page([card]).split("## RAVDESS\n")[1].split("\n## ")[0]


@pytest.mark.slow
def test_the_recipe_of_rendered_clips_needs_no_data(est, tmp_path):
    out = tmp_path / "out"
    command = (
        "recipe",
        "run",
        "rendered",
        "--out",
        out,
        "--seeds",
        "1",
        "--set",
        "loop.epochs=2",
        "--limit",
        "24",
        "--device",
        "cpu",
    )
    status, text, _ = est(*command)
    assert status == 0
    assert "Rendered data" in text
    card = Card.read(out / "cards" / "est.json")
    assert (card.rendered, card.partial, card.counts["clips"]) == (True, "24 of 72 clips", 24)
