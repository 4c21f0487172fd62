"""The page of a sweep: choices by rule, tables that can be read back, importances, pages that need nothing else."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from sweep_samples import DEGENERATE, HOSTILE, check_layout, parsed, searched, study_of, sweep_of, trial

from est.sweep.found.importance import importances, reasons, why_none
from est.sweep.found.page import page_html, page_markdown
from est.sweep.found.pictures import history_picture
from est.sweep.found.record import Sweep
from est.sweep.found.scales import number_range
from est.sweep.found.table import DIFFERENCES, lines, score_lines, settings_shown, settings_text


@pytest.fixture
def without_sklearn(monkeypatch):
    """Import Optuna as if scikit-learn were not installed: it is not needed, and takes seconds to import."""
    if "optuna.importance" not in sys.modules:
        monkeypatch.setitem(sys.modules, "sklearn", None)


class Reader(HTMLParser):
    """Collects tags, their attributes, and tables."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.cells: list[str] = []
        self.inside = False
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in ("src", "href", "xlink:href") or name.startswith("on")]
        if tag == "td":
            self.inside = True
            self.cells.append("")

    def handle_data(self, data):
        if self.inside:
            self.cells[-1] += data

    def handle_endtag(self, tag):
        self.inside = self.inside and tag != "td"


def check_html(page: str) -> Reader:
    """Check that a page needs no other file and no script, and that its pictures are XML; return what it holds."""
    reader = Reader(page)
    assert not reader.links
    assert not {"script", "link", "img", "iframe", "b"} & set(reader.tags)
    assert "http" not in page.replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert "url(" not in page
    assert "@import" not in page
    for svg in re.findall(r"<svg.*?</svg>", page, re.DOTALL):
        parsed(svg)
    return reader


RETRAINED = {
    "folds": {
        "fold1": {"right": 30, "total": 49, "uar": 0.55, "war": 30 / 49},
        "fold2": {"right": 28.5, "total": 50, "uar": 0.5, "war": 0.57},
    },
    "score": {"war": 0.59, "uar": 0.525, "interval": [0.51, 0.66]},
    "control": {"war": 0.5, "uar": 0.44, "interval": {"war": [0.4, 0.6], "uar": [0.35, 0.55]}},
    "default control": {"war": 0.48, "uar": 0.43, "interval": {"war": [0.38, 0.58], "uar": [0.33, 0.53]}},
    "difference": "EST is 9.0 points above the control (95 % 1.0 to 17.0)",
    "difference to the default control": "EST is 11.0 points above the default control (95 % 3.0 to 19.0)",
    "note": "Fold2 has few people.",
    "seeds": [1, 2, 3],
}


def test_the_pages_say_what_was_chosen_and_what_it_scored(without_sklearn):
    two = (
        searched("fold1"),
        searched("fold1", seed=2, control=True),
        searched("fold2", seed=3),
        searched("fold2", 20, 4, True),
    )
    sweep = sweep_of(*two, notes=("A note",), retrained=RETRAINED)
    markdown = page_markdown(sweep)
    best = sweep.study("fold1").best
    row = next(line for line in markdown.splitlines() if line.startswith("| fold1 | ") and "learning_rate" in line)
    assert f"{100 * best.value:.2f} %" in row
    assert f"loop.learning_rate {best.values['loop.learning_rate']:.4g}" in row
    assert f"{100 * sweep.study('fold1', control=True).best.value:.2f} %" in row
    for expected in (
        "read the fold's training half only",
        "Each model of a trial learnt from 400 clips of that half; 90 clips of it, each predicted by a model that had not learnt from it, "
        "gave the objective (UAR). No trial read the 49 clips of the test half.",
        "| study | each model learns from | objective over |",
        "In each fold, 24 trials of the model and 20 to 24 trials of the control ended.",
        "- model: WAR 59.00 % (95 % 51.0 to 66.0), UAR 52.50 %",
        "- control: WAR 50.00 % (95 % 40.0 to 60.0), UAR 44.00 % (95 % 35.0 to 55.0)",
        "- default control: WAR 48.00 % (95 % 38.0 to 58.0), UAR 43.00 % (95 % 33.0 to 53.0)",
        "- EST is 9.0 points above the control (95 % 1.0 to 17.0)",
        "- EST is 11.0 points above the default control (95 % 3.0 to 19.0)",
        "The interval of a difference decides",
        "A p value comes from another test and may disagree.",
        "**Fold2 has few people.**",
        "| fold1 | 61.22 % | 30 / 49 | 55.00 % |",
        "| fold2 | 57.00 % | 28.5 / 50 | 50.00 % |",
        "means of seeds 1, 2, 3",
        "the maximum of up to 24 complete trials",
        "Only the retrained score, on test halves that no trial read, is an estimate",
        "fold2: 24 and 20",
        "- A note",
        "left out, because only some trials have them: model.size",
    ):
        assert expected in markdown, expected
    assert "No score yet" not in markdown
    page = page_html(sweep)
    reader = check_html(page)
    assert page.count("<svg") == 2 + 4
    assert "No score yet" not in page
    assert f"{100 * best.value:.2f} %" in reader.cells
    assert "28.5 / 50" in reader.cells
    for item in score_lines(sweep)[1:6]:
        assert f"<li>{item.strip()}</li>" in page
    assert '<p class="warning">Fold2 has few people.</p>' in page
    assert "A p value comes from another test" in page
    without = {key: value for key, value in RETRAINED.items() if key not in ("note", *DIFFERENCES)}
    bare = page_markdown(replace(sweep, retrained=without))
    assert "p value" not in bare
    assert "few people" not in bare


def test_before_retraining_no_score_is_shown(without_sklearn):
    markdown = page_markdown(sweep_of(searched()))
    assert "## No score yet" in markdown
    assert "est sweep --retrain-best" in markdown
    assert "WAR" not in markdown
    assert "no control was searched" in markdown
    assert "control: settings" not in markdown


def test_hostile_names_are_text_in_pages():
    study = study_of(*(trial(n, 0.1 * n, values={HOSTILE: f"{HOSTILE}{n}"}) for n in range(3)), name=HOSTILE)
    sweep = sweep_of(study, cache=HOSTILE, heading=HOSTILE, models=(HOSTILE,), notes=(HOSTILE,), objective=HOSTILE)
    reader = check_html(page_html(sweep))
    seen = HOSTILE.replace("\x00", "")
    assert reader.cells[:3] == [seen, "20.00 %", f"{seen} {seen} 2"]
    markdown = page_markdown(sweep)
    assert "<b>" not in markdown
    rows = [line for line in markdown.splitlines() if line.startswith("|")]
    assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows[:3]}) == 1  # no cell of theirs is two


@pytest.mark.parametrize("name", DEGENERATE)
def test_any_study_has_pages(name, without_sklearn):
    study = DEGENERATE[name]
    assert (importances(study) is None) == (name not in ("wide", "twelve"))
    sweep = sweep_of(study)
    assert ("No study has importances" in page_markdown(sweep)) == (importances(study) is None)
    check_html(page_html(sweep))
    assert Sweep.from_json(json.loads(json.dumps(sweep.to_json(), allow_nan=False))).folds == ("fold1",)


def test_a_sweep_without_studies_has_a_page():
    check_layout(history_picture(sweep_of()))
    assert "no study" in page_html(sweep_of())
    markdown = page_markdown(sweep_of())
    assert markdown.startswith("# Nested search\n")
    assert "- cache: /data/cache\n" in markdown


def test_clips_of_inner_folds_are_told_rightly():
    three = replace(study_of(trial(0)), learnt=36, chosen_by=54, tested=1)
    markdown = page_markdown(sweep_of(three))
    assert (
        "Each model of a trial learnt from 36 clips of that half; 54 clips of it, each predicted by a model" in markdown
    )
    assert "No trial read the 1 clip of the test half." in markdown
    assert "| fold1 | 36 clips | 54 clips | 1 clip |" in markdown
    assert "means over folds" not in markdown
    other = replace(three, name="fold2", fold="fold2", learnt=38, chosen_by=57)
    mean = page_markdown(sweep_of(three, other))
    assert "learnt from 37 clips" in mean
    assert "test half (means over folds)." in mean


def test_the_numbers_of_trials_are_those_that_there_are():
    many = [trial(n, 0.1 * n, values={"a": n}) for n in range(4)]
    one, three = (
        study_of(many[0]),
        study_of(*many[:2], trial(2, None, "failed"), trial(3, None, "running"), name="fold2"),
    )
    markdown = page_markdown(sweep_of(one, three, study_of(*many[:2], control=True), trials=40))
    assert "In each fold, 1 to 3 trials of the model and 2 trials of the control ended." in markdown
    assert "40 trials per study asked for" in markdown
    assert markdown.count("40 trials") == 1  # asked for, not made
    single = page_markdown(sweep_of(one, trials=0))
    assert "In each fold, 1 trial ended; no control was searched" in single
    assert "the maximum of up to 1 complete trial," in single
    assert "no number of trials asked for" in single
    assert "1 trials" not in single + page_markdown(sweep_of(one, trials=1))
    assert lines(sweep_of(one, seconds=0.0))[-1] == "  1 trial in 0 s"


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [((54, 54), "54 clips"), ((1,), "1 clip"), ((3, 1, 2), "1 to 3 clips"), ((0, 1), "0 to 1 clip")],
)
def test_a_range_of_numbers(numbers, expected):
    assert number_range(numbers, "clip") == expected


def test_each_row_shows_every_setting_that_varies_in_any_study():
    first = study_of(*(trial(n, 0.5 + 0.1 * n, values={"rate": n, "batch": 8, "model.name": "gru"}) for n in range(2)))
    second = study_of(
        trial(0, 0.6, values={"rate": 1, "batch": 16, "model.name": "est", "fixed": 1}),
        trial(1, 0.5, values={"rate": 1, "batch": 32, "model.name": "gru", "fixed": 1}),
        name="fold2",
    )
    controls = [
        study_of(trial(0, values={"l2": one, "fixed": 2}), name=name, control=True)
        for one, name in ((0.5, "fold1"), (2.0, "fold2"))
    ]
    sweep = sweep_of(first, second, *controls, models=("EST", "GRU"))
    markdown = page_markdown(sweep)
    assert "| fold1 | 60.00 % | model.name gru, rate 1, batch 8 | 50.00 % | l2 0.5 |" in markdown
    assert "| fold2 | 60.00 % | model.name est, rate 1, batch 16 | 50.00 % | l2 2 |" in markdown
    settings = [row.rpartition("6.0  ")[2].strip() for row in lines(sweep)[2:-1]]
    assert settings == ["model.name gru, rate 1, batch 8", "model.name est, rate 1, batch 16", "l2 0.5", "l2 2"]
    assert settings_text(first.best, first) == "rate 1"  # of a study alone
    same = sweep_of(first, models=("EST", "GRU"))  # a short sweep, whose trials all have one of the models
    assert settings_shown(same, control=False) == ("model.name", "rate")
    assert settings_shown(sweep_of(first), control=False) == ("rate",)


def test_the_terminal_shows_the_scores_of_retrained_choices():
    assert score_lines(sweep_of(searched())) == []
    said = score_lines(sweep_of(searched(), retrained=RETRAINED))
    assert said == [
        "Retrained, and scored once on the test halves:",
        "  model: WAR 59.00 % (95 % 51.0 to 66.0), UAR 52.50 %",
        "  control: WAR 50.00 % (95 % 40.0 to 60.0), UAR 44.00 % (95 % 35.0 to 55.0)",
        "  default control: WAR 48.00 % (95 % 38.0 to 58.0), UAR 43.00 % (95 % 33.0 to 53.0)",
        "  EST is 9.0 points above the control (95 % 1.0 to 17.0)",
        "  EST is 11.0 points above the default control (95 % 3.0 to 19.0)",
        "  Only these are estimates: the values above chose the settings.",
        "  Fold2 has few people.",
    ]
    model = {"folds": RETRAINED["folds"], "score": RETRAINED["score"]}
    assert len(score_lines(sweep_of(retrained=model))) == 3


def test_fixed_settings_are_not_searched():
    space = ("loop.learning_rate: 3e-5 to 0.01 (log) when loop.optimizer is adamw", "model.name: fixed at est")
    markdown = page_markdown(sweep_of(searched(number=2), space=space))
    assert "- searched: loop.learning_rate: 3e-5 to 0.01 (log) when loop.optimizer is adamw\n" in markdown
    assert "- fixed: model.name: est\n" in markdown
    assert "searched: model.name" not in markdown


def test_the_title_stands_twice_in_html():
    title = "Sweep of EST on cache.zarr"
    page = page_html(sweep_of(searched(number=2), heading=title, cache="/data/cache.zarr"))
    assert page.count(title) == 2
    assert f"<title>{title}</title>" in page
    assert f"<h1>{title}</h1>" in page


def test_a_reason_for_no_importances_is_said_once(without_sklearn):
    four = [searched(f"fold{n}", number=9 - n % 2) for n in range(4)]
    markdown = page_markdown(sweep_of(*four))
    assert "No study has importances: 8 to 9 complete trials, and importances need 10.\n" in markdown
    assert markdown.count("importances need") == 1
    equal = replace(DEGENERATE["all equal"], name="fold4", fold="fold4")
    assert list(reasons([*four, equal]).values()) == [("fold0", "fold1", "fold2", "fold3"), ("fold4",)]
    both = page_markdown(sweep_of(*four, equal))
    assert "No study has importances.\n\n- fold0, fold1, fold2, fold3: 8 to 9 complete trials" in both
    assert "- fold4: all complete trials have the same value" in both
    some_have = page_markdown(sweep_of(searched("fold9"), *four))
    assert "- fold0, fold1, fold2, fold3: 8 to 9 complete trials, and importances need 10\n" in some_have
    assert "No study has" not in some_have
    assert why_none(searched(number=1)) == "1 complete trial, and importances need 10"


def test_what_ended_a_sweep_is_said():
    said = "Time ended after 1 minute: 20 of 40 trials; the same command resumes."
    sweep = sweep_of(searched(number=2), ended=said)
    assert lines(sweep)[-1] == said
    assert page_markdown(sweep).startswith(f"# Nested search\n\n**{said}**\n")
    assert f'<p class="warning">{said}</p>' in page_html(sweep)
    data = json.loads(json.dumps(sweep.to_json()))
    assert Sweep.from_json(data) == sweep
    del data["ended"]  # as files were before
    assert Sweep.from_json(data) == replace(sweep, ended="")
    assert said not in page_markdown(Sweep.from_json(data))
