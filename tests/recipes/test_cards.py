"""Result cards: read, checked against themselves, put into the table; what is wrong is refused by name."""

from __future__ import annotations

import copy
import json
import sys
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path

import pytest
from recipe_samples import made_card

from est.errors import EstError, UsageError
from est.inputs.published import dfew as dfew_adapter
from est.inputs.published.afew import LABELS as AFEW
from est.recipes import registry
from est.recipes.card import Card
from est.recipes.cardpage import card_page
from est.recipes.checking import check_card, read_cards
from est.recipes.registry import RECIPES, recipe_named
from est.recipes.table import EMPTY, results_page
from est.train.models.registry import MODELS

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


CHANGES = [
    ("scores.war.value", 0.71, "scores.war.value is 0.71, and the matrices of the seeds give 0.6"),
    ("scores.uar.value", 0.71, "scores.uar.value is 0.71"),
    ("scores.uf1.value", 0.3, "scores.uf1.value is 0.3, and the matrices of the seeds give 0.6"),
    ("scores.war.total", 7000, "scores.war.total is 7000, and the matrices of the seeds give 7442"),
    ("scores.war.right", 1, "scores.war.right is 1, and the matrices of the seeds give 4539"),
    ("scores.uar.classes", 5, "scores.uar.classes is 5"),
    ("scores.unpredicted", 50, "scores.unpredicted is 50, and the matrices of the seeds give 0"),
    ("scores.per_class", [], "scores.per_class has 0 entries, expected 6"),
    ("scores.per_class.2.f1", 0.9, "scores.per_class.2.f1 is 0.9"),
    ("scores.confusion.0.0", 1000, "scores.confusion.0.0 is 1000, and the matrices of the seeds give 775.3"),
    ("scores.confusion.0", [1, 2], "scores.confusion.0 has 2 entries, expected 7"),
    ("scores.labels.0", "fury", "control.labels are not scores.labels"),
    ("scores.labels", ["angry"] * 6, "expected a list of different texts"),
    ("control.uf1.value", None, "control.uf1.value is null"),
    ("control.war.value", 0.1, "control.war.value is 0.1, and its confusion matrix gives 0.3998"),
    ("control.per_class.0.right", 3, "control.per_class.0.right is 3"),
    ("control.confusion.0.0", 500, "Seeds and control were not tested on the same clips"),
    ("control.confusion.0.0", -3, "control.confusion holds numbers that are no counts"),
    ("by_seed.2.0.0", 1.5, "by_seed.2 holds numbers that are no counts"),
    ("by_seed.2.0.0", 1, "Seeds and control were not tested on the same clips"),
    ("by_seed.2.0", [1, 2], "by_seed.2 has 6 rows of 2, 7, expected 6 of 7"),
    ("seeds", [1, 2], "by_seed is of the seeds 1, 2, 3, and seeds are [1, 2]"),
    ("over_seeds.war.mean", 0.5, "over_seeds.war.mean is 0.5, and the matrices of the seeds give 0.6"),
    ("over_seeds.uar.sd", 0.5, "over_seeds.uar.sd is 0.5"),
    ("over_seeds.uar.sd", None, "over_seeds.uar.sd is null"),
    ("over_seeds.uf1.number", 5, "over_seeds.uf1.number is 5"),
    ("intervals.war", [0.9, 0.95], "intervals.war is 0.9000 to 0.9500, and the score 0.6"),
    ("intervals.war", [-0.2, 0.95], "intervals.war is -0.2000"),
    ("intervals.uar", [0.6, 0.6], "intervals.uar is 0.6000 to 0.6000"),
    ("intervals.uar", None, "intervals.uar is null, expected two numbers"),
    ("intervals.over", "clips", "expected subjects and people, or clips and clips"),
    ("difference.value", 0.4, "difference.value is 0.4000, and WAR less that of the control 0.2"),
    ("difference.better", 0, "difference.better is 0, and its interval says 1"),
    ("difference.better", -1, "difference.better is -1, and its interval says 1"),
    ("difference.low", 0.2, "difference.low and high are 0.2000 and 0.3202: expected as far below as above"),
    ("difference.high", 0.2, "difference.low and high are 0.1002 and 0.2000: expected as far below as above"),
    ("difference.low", None, "from 5 units on there are both"),
    ("difference.detectable", None, "difference.detectable is null"),
    ("difference.p", 1.5, "difference.p is 1.5000, expected 0 to 1"),
    ("difference.alike", True, "right on other numbers of clips"),
    ("difference.seeds", [1, 1], "difference.seeds.0 is 1, and the seeds give 3"),
    ("difference.seeds_counted", False, "difference.seeds_counted is False"),
    ("difference.units", 70, "difference.units is 70, and 91 people are tested"),
    ("folds.tested.fold1", 1, "folds.tested adds up to 5954 clips, and 7442 are scored"),
    (
        "folds.tested",
        {"fold1": 0, "fold2": 0, "fold3": 0, "fold4": 0, "fold5": 7442},
        "fold1, fold2, fold3 and 1 more test no clip",
    ),
    (
        "folds.tested",
        {"fold1": 18, "fold2": 18, "fold3": 18, "fold4": 18, "fold5": 7370},
        "folds.tested.fold1 is 18, and it tests at least 19 clips",
    ),
    ("folds.tested", {"fold1": 7442}, "folds.tested has 1 fold, and crema-d protocol 1 has 5"),
    ("folds.independence", "unknown", "folds.independence is 'unknown', expected by subject"),
    ("counts.per_class.angry", 3, "counts.per_class adds up to 6174"),
    ("counts.per_class.fury", 0, "fury are no classes of CREMA-D"),
    ("counts.listed", 7000, "counts.clips is 7442 and counts.listed 7000"),
    ("counts.clips", 7441, "7442 of 7441 clips are scored"),
    ("counts.failed", 70, "counts.failed is 70, and the matrices show 0 clips without a prediction"),
    ("counts.missing", 1, "counts.failed is 0 and counts.missing 1"),
    ("counts.subjects", 99_999, "counts.subjects is 99999, of 7442 clips"),
    ("counts.subjects", 90, "counts.subjects is 90, and the clips of crema-d protocol 1 show 91 people"),
    ("rendered", True, "rendered is true, and crema-d renders nothing"),
    ("model.name", "nonsense", "There is no model 'nonsense'"),
    ("model.name", "window-head", "reads windows"),
    ("model.title", "Better EST", "model.title is 'Better EST', and the title of est is 'EST'"),
    ("encoder.weights", 3, "encoder.weights is 3, expected one line of text"),
    ("code", {}, "code.version is absent, expected one line of text"),
    ("machine", {}, "machine.versions is absent, expected an object of texts"),
    ("seconds.extract", "x", "seconds.extract is 'x', expected a number from 0"),
    ("scores", {}, "scores.labels is absent"),
    ("leaks", [{}], "leaks.0.words is null"),
    ("date", "yesterday", "date is 'yesterday', expected a date such as"),
]


@pytest.mark.parametrize(("key", "value", "said"), CHANGES)
def test_a_number_that_was_changed_is_named(tmp_path, key, value, said):
    checked = check_card(put(tmp_path, changed(made_card(), key, value), "card"))
    assert said in " ".join(checked.problems)
    assert checked.remedy == "est recipe run crema-d --root DIR"


def test_cards_of_given_folds_and_halves_pass_and_follow_their_own_rules(tmp_path):
    dfew = made_card(name="dfew", tested=(2341, 2341, 2340, 2339, 2336), people=0, sizes=dfew_adapter.CLASSES)
    assert not check_card(put(tmp_path, dfew)).problems
    shared = changed(dfew, "folds.independence", "subjects shared (3)")
    assert not check_card(put(tmp_path, shared)).problems
    odd = changed(changed(dfew, "folds.independence", "fair"), "difference.units", 12)
    said = " ".join(check_card(put(tmp_path, odd)).problems)
    assert "folds.independence is 'fair', expected by subject, by source, unknown or subjects shared (N)" in said
    assert "difference.units is 12, and 11697 clips are tested" in said
    sizes = (64, 40, 46, 63, 63, 61, 46)  # of val, which alone is tested
    counts = {
        "listed": 1156, "clips": 1156, "missing": 0, "failed": 773,
        "subjects": 0, "per_class": dict(zip(AFEW, (197, 114, 127, 213, 207, 178, 120), strict=True)),
    }  # fmt: skip
    afew = made_card(name="afew", tested=(383,), people=0, sizes=sizes, counts=counts)
    assert not check_card(put(tmp_path, afew)).problems  # all clips of train may have failed, as far as a card knows
    more = changed(afew, "counts.failed", 774)
    assert "counts.failed is 774, and the matrices show 0" in " ".join(check_card(put(tmp_path, more)).problems)
    fewer = changed(changed(afew, "counts.per_class.Angry", 63), "counts.per_class.Sad", 312)
    assert "counts.per_class.Angry is 63, and 64 clips" in " ".join(check_card(put(tmp_path, fewer)).problems)


def test_intervals_of_few_people_are_on_no_card(tmp_path):
    whole = made_card()
    few = {**whole.difference, "units": 4, "low": None, "high": None, "detectable": None, "better": 0}
    card = replace(whole, partial="few", intervals={"over": "subjects"}, difference=few)
    said = " ".join(check_card(put(tmp_path, card), allow_partial=True).problems)
    assert "intervals" not in said
    assert "difference.low" not in said
    card = changed(card, "intervals.war", [0.5, 0.7])
    assert "intervals.war is there" in " ".join(check_card(put(tmp_path, card), allow_partial=True).problems)


def test_a_rendered_card_is_of_the_clips_that_are_rendered(tmp_path):
    (path,) = (ROOT / "docs" / "cards").glob("rendered-*.json")
    card = Card.read(path)
    assert not check_card(path).problems
    other = changed(card, "folds.tested", {"fold1": 3, "fold2": 3, "fold3": 3, "fold4": 63})
    assert "folds.tested.fold1 is 3, and it tests at least 18 clips" in " ".join(
        check_card(put(tmp_path, other)).problems
    )


def places(value, path=()):
    """Return the places of a JSON value: all keys, and the first entry of each list."""
    inner = value.items() if isinstance(value, dict) else list(enumerate(value))[:1] if isinstance(value, list) else ()
    for key, one in inner:
        yield (*path, key)
        yield from places(one, (*path, key))


def test_whatever_stands_on_a_card_is_refused_in_words_or_can_be_shown(tmp_path):
    """And never ends in a traceback, neither of the check nor of the page."""
    data = made_card().to_json()
    file = tmp_path / "card.json"
    tried, odds = 0, cycle((None, "x", -1, {}, [], 10**400, True))
    for place in places(data):
        for odd in islice(odds, 2):
            holder = data
            for key in place[:-1]:
                holder = holder[key]
            before = holder[place[-1]]
            holder[place[-1]] = odd
            file.write_text(json.dumps(data), encoding="utf-8")
            checked = check_card(file)
            if checked.problems:
                assert all(checked.problems), place
            elif checked.card is not None:
                results_page([checked.card])
            holder[place[-1]] = before
            tried += 1
    assert tried > 250


def test_a_card_of_another_protocol_says_who_made_it_and_how_to_run_anew(tmp_path, monkeypatch):
    path = put(tmp_path, replace(made_card(), model={**made_card().model, "name": "gru", "title": "GRU"}))
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
        ("{", "is not a result card: it is not JSON"),
        ("[]", "not a result card: expected the format est-recipe-card, found list"),
        ('{"format": "est-metrics"}', "found est-metrics"),
        (
            '{"format": "est-recipe-card", "version": 2, "code": {"version": "9.0"}}',
            "made by est 9.0; this est reads version 1",
        ),
        (
            '{"format": "est-recipe-card", "version": 1, "recipe": 3}',
            "recipe (int, expected str), protocol (absent, expected int)",
        ),
        ('{"format": "est-recipe-card", "version": NaN}', "is not a result card: it is not JSON"),
        ('{"format": "\\ud800"}', "is not a result card: it is not JSON"),
        ("[" * 100_000, "is not a result card: it is not JSON"),
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
    assert "7,500 clips, 7,442 expected" in " ".join(check_card(put(tmp_path, hidden)).problems)
    with pytest.raises(UsageError, match="2 of 2 cards do not pass"):
        read_cards(tmp_path)


def test_the_table_has_a_row_for_every_model_and_a_dash_where_no_card_is():
    page = results_page([])
    for recipe in RECIPES:
        assert f"## {recipe.title}\n" in page
        assert f"`{recipe.protocol}`" in page
    assert row_of(page, "DFEW", "est") == f"| est | {EMPTY} |"
    rows = [line.split(" | ")[0][2:] for line in page.split("## DFEW\n")[1].split("\n## ")[0].splitlines()[5:]]
    assert [name for name in rows if name] == [*(name for name in MODELS if name != "window-head"), "control"]
    assert row_of(page, "RAVDESS", "control") == f"| control | {EMPTY} |"
    assert "## Cards" not in page


def test_a_card_fills_its_cell_and_two_cards_are_both_there(tmp_path):
    first = made_card()
    second = replace(made_card(), date="2026-12-01T12:00:00Z", code={**first.code, "version": "0.2.0"})
    other = replace(
        changed(made_card(), "encoder.weights", "clip:ViT-B-32"),
        model={**first.model, "name": "gru", "title": "GRU"},
    )
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
    assert "+21.0 points of WAR (+10.0 to +32.0, 91 people): the model is better" in page
    undecided = {**made_card().difference, "low": None, "high": None, "units": 4, "better": 0}
    assert "(4 people: too few for an interval)" in card_page(replace(made_card(), difference=undecided))


def test_a_system_that_is_published_on_flow_is_marked_where_it_reads_face_crops(tmp_path):
    card = replace(made_card(), model={**made_card().model, "name": "slstt", "title": "SLSTT"})
    assert not check_card(put(tmp_path, card)).problems
    page = results_page([card])
    assert "**not of flow**" in row_of(page, "CREMA-D", "slstt")
    assert "**Not as published: SLSTT is published on features of flow, and these are of face crops.**" in page
    assert "not of flow" not in results_page([made_card()])


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
