"""Result cards: read, checked against themselves, put into the table; what is wrong is refused by name."""

from __future__ import annotations

import copy
import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from recipe_samples import made_card

from est.errors import EstError, UsageError
from est.recipes import registry
from est.recipes.card import Card
from est.recipes.cardpage import card_page
from est.recipes.checking import check_card, read_cards
from est.recipes.registry import RECIPES, recipe_named
from est.recipes.table import EMPTY, results_page

ROOT = Path(__file__).parents[2]


def changed(card: Card, key: str, value) -> Card:
    """Return a card with one value inside changed: `scores.war.value`."""
    first, *inner = key.split(".")
    found = copy.deepcopy(getattr(card, first))
    place = found
    for name in inner[:-1]:
        place = place[int(name) if isinstance(place, list) else name]
    if inner:
        place[int(inner[-1]) if isinstance(place, list) else inner[-1]] = value
    return replace(card, **{first: found if inner else value})


def put(folder: Path, card: Card, name: str = "") -> Path:
    path = folder / f"{name or card.name}.json"
    card.write(path)
    return path


def row_of(page: str, section: str, model: str) -> str:
    """Return a row of the table of a data set."""
    body = page.split(f"## {section}\n")[1].split("\n## ")[0]
    return next(line for line in body.splitlines() if line.startswith(f"| {model} |"))


def test_a_good_card_is_read_as_it_was_written_and_passes(tmp_path):
    card = made_card()
    path = put(tmp_path, card)
    assert Card.read(path) == card
    checked = check_card(path)
    assert not checked.problems
    assert not checked.remarks
    one_seed = check_card(put(tmp_path, made_card(seeds=(7,))))
    assert (one_seed.problems, "one seed" in one_seed.remarks[0]) == ((), True)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("scores.war.value", 0.71, "scores.war is 0.71, and the confusion matrix gives 0.6"),
        ("scores.uar.value", 0.71, "scores.uar is 0.71"),
        ("scores.uf1.value", 0.3, "scores.uf1 is 0.3, and the seeds give 0.6"),
        ("control.uf1.value", None, "control.uf1 is None"),
        ("scores.war.total", 7000, "7000 clips are said"),
        ("scores.confusion.0.0", 1000, "scores.war is"),
        ("scores.confusion.0.0", -3, "no counts"),
        ("scores.confusion.0", [1, 2], "damaged"),
        ("control.war.value", 0.1, "control.war is 0.1"),
        ("intervals.war", [0.9, 0.95], "intervals.war is 0.9"),
        ("over_seeds.war.mean", 0.5, "over_seeds.war.mean is 0.5, and the seeds give 0.6"),
        ("over_seeds.uar.sd", 0.5, "over_seeds.uar.sd is 0.5"),
        ("over_seeds.uar.sd", None, "over_seeds.uar.sd is None"),
        ("seeds", [1, 2], "by_seed is of the seeds 1, 2, 3, and seeds are [1, 2]"),
        ("by_seed.2.0.0", 1.5, "by_seed holds numbers that are no counts"),
        ("by_seed.2.0.0", 1, "scores.confusion is not the mean"),
        ("difference.value", 0.4, "difference.value is 0.4"),
        ("folds.tested.fold1", 1, "The folds test 5954 clips"),
        ("counts.per_class.angry", 3, "per_class adds up to"),
        ("counts.listed", 7000, "7442 clips are scored of 7000"),
        ("rendered", True, "rendered is True"),
        ("scores", {}, "damaged: KeyError: 'labels'"),
    ],
)
def test_a_number_that_was_changed_is_named(tmp_path, key, value, said):
    checked = check_card(put(tmp_path, changed(made_card(), key, value)))
    assert said in " ".join(checked.problems)
    assert checked.remedy == "est recipe run crema-d --root DIR"


def test_a_card_of_another_protocol_says_who_made_it_and_how_to_run_anew(tmp_path, monkeypatch):
    path = put(tmp_path, replace(made_card(), model={**made_card().model, "name": "gru"}))
    newer = replace(recipe_named("crema-d"), version=2)
    monkeypatch.setattr(registry, "RECIPES", (newer, *(one for one in RECIPES if one.name != "crema-d")))
    checked = check_card(path)
    (problem,) = checked.problems
    assert "It is of crema-d protocol 1, an earlier version, made by est 0.1.0 (abababababab)" in problem
    assert "this est has crema-d protocol 2" in problem
    assert checked.remedy == "est recipe run crema-d --root DIR --model gru"
    assert "a later version" in check_card(put(tmp_path, replace(made_card(), protocol=3))).problems[0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is no result card: it is no JSON"),
        ("[]", "no result card: expected the format est-recipe-card, found list"),
        ('{"format": "est-metrics"}', "found est-metrics"),
        (
            '{"format": "est-recipe-card", "version": 2, "code": {"version": "9.0"}}',
            "made by est 9.0; this est reads version 1",
        ),
        (
            '{"format": "est-recipe-card", "version": 1, "recipe": 3}',
            "recipe (int, expected str), protocol (absent, expected int)",
        ),
        (None, "There is no card"),
    ],
)
def test_what_is_no_card_is_refused(tmp_path, text, said):
    path = tmp_path / "card.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(EstError) as caught:
        Card.read(path)
    assert said in caught.value.message
    assert caught.value.remedy
    assert said in check_card(path).problems[0]


def test_an_unknown_recipe_on_a_card_is_refused(tmp_path):
    assert "No recipe 'dfew2'" in check_card(put(tmp_path, replace(made_card(), recipe="dfew2"))).problems[0]


def test_a_partial_card_fills_no_cell(tmp_path):
    card = replace(made_card(), partial="12 of 7,442 clips")
    path = put(tmp_path, card)
    assert "It is partial (12 of 7,442 clips)" in check_card(path).problems[0]
    assert not check_card(path, allow_partial=True).problems
    hidden = changed(made_card(), "counts.listed", 7500)  # somebody has left the mark out
    assert "7,500 clips, 7,442 expected" in check_card(put(tmp_path, hidden)).problems[0]
    with pytest.raises(UsageError, match="2 of 2 cards do not pass"):
        read_cards(tmp_path)


def test_the_table_has_a_row_for_every_model_and_a_dash_where_no_card_is():
    page = results_page([])
    for recipe in RECIPES:
        assert f"## {recipe.title}\n" in page
        assert f"`{recipe.protocol}`" in page
    assert row_of(page, "DFEW", "est") == f"| est | {EMPTY} |"
    assert row_of(page, "RAVDESS", "control") == f"| control | {EMPTY} |"
    assert "## Cards" not in page


def test_a_card_fills_its_cell_and_two_cards_are_both_there(tmp_path):
    first = made_card()
    second = replace(made_card(), date="2026-12-01T12:00:00Z", code={**first.code, "version": "0.2.0"})
    other = changed(changed(made_card(), "encoder.weights", "clip:ViT-B-32"), "model.name", "gru")
    for card in (second, first, other):
        put(tmp_path, card)
    page = results_page(read_cards(tmp_path))
    assert "| model | resnet18 imagenet | clip:ViT-B-32 |" in page
    one, two = (f"[61.00 ± 1.0 / 61.00 ± 1.0](#{card.name}) (+21.0\\*)" for card in (first, second))
    assert row_of(page, "CREMA-D", "est") == f"| est | {one}<br>{two} | {EMPTY} |"  # oldest first, none chosen
    assert row_of(page, "CREMA-D", "gru").count(EMPTY) == 1
    assert row_of(page, "CREMA-D", "control").count("39.98 / 39.98") == 3
    for card in (first, second, other):
        assert f"({card.name})=" in page
    put(tmp_path, first, "again")
    with pytest.raises(UsageError, match="more than once"):
        read_cards(tmp_path)


def test_the_page_of_a_card_says_what_it_takes_to_trust_it():
    leak = {"what": "features", "words": "3 of 9 clips were learnt from"}
    page = card_page(replace(made_card(), leaks=[leak], partial="12 of 7,442 clips"))
    for text in (
        "**LEAK: 3 of 9 clips",
        "**Partial: 12 of 7,442 clips",
        "apparent expressions",
        "for research \\| only",
    ):
        assert text in page
    assert "+21.0 points of WAR (+10.0 to +30.0, 91 people): the model is better" in page
    undecided = {**made_card().difference, "low": None, "high": None, "units": 4, "better": 0}
    assert "(4 people: too few for an interval)" in card_page(replace(made_card(), difference=undecided))


def test_the_page_of_results_is_current():
    """And the script that writes it takes the cards of the repository as they are."""
    sys.path.insert(0, str(ROOT / "docs"))
    try:
        import make_results
    finally:
        sys.path.pop(0)
    assert make_results.build() == (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    names = [Card.read(path) for path in (ROOT / "docs" / "cards").glob("*.json")]
    assert all(card.rendered for card in names if card.recipe == "rendered")
    for path in (ROOT / "docs" / "cards").glob("*.json"):
        assert "/home/" not in json.dumps(Card.read(path).to_json())
