"""The page of a sweep: choices by rule, tables that can be read back, pictures of any study, pages that need nothing else."""

from __future__ import annotations

import csv
import io
import itertools
import json
import math
import random
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from est.errors import EstError
from est.sweep.search.importance import compared, importances, left_out, mean_importances, why_none
from est.sweep.search.page import page_html, page_markdown
from est.sweep.search.pictures import colour_of, history_picture, importance_picture, parallel_picture
from est.sweep.search.record import Record, StudyRecord, Sweep
from est.sweep.search.scales import Scale, shown, varied
from est.sweep.search.svg import fitted
from est.sweep.search.table import lines, trials_csv

HOSTILE = '<b>&"|`*]]>\x00'
# Widths of the letters from space to ~ in DejaVu Sans, one of the widest of its kind, in hundredths of the size.
LETTERS = [
    *(
        32,
        40,
        46,
        84,
        64,
        95,
        78,
        27,
        39,
        39,
        50,
        84,
        32,
        36,
        32,
        34,
        64,
        64,
        64,
        64,
        64,
        64,
        64,
        64,
        64,
        64,
        34,
        34,
        84,
        84,
        84,
        53,
    ),
    *(
        100,
        68,
        69,
        70,
        77,
        63,
        58,
        77,
        75,
        29,
        29,
        66,
        56,
        86,
        75,
        79,
        60,
        79,
        69,
        63,
        61,
        73,
        68,
        99,
        69,
        61,
        69,
        39,
        34,
        39,
        84,
        50,
    ),
    *(
        50,
        61,
        63,
        55,
        63,
        62,
        35,
        63,
        63,
        28,
        28,
        58,
        28,
        97,
        63,
        61,
        63,
        63,
        41,
        52,
        39,
        63,
        59,
        82,
        59,
        59,
        52,
        64,
        34,
        64,
        84,
    ),
]
SVG = "{http://www.w3.org/2000/svg}"


def trial(number: int, value: float | None = 0.5, state: str = "complete", **more) -> Record:
    """Return a trial; its settings are `values`."""
    return Record(number=number, state=state, value=value, epochs=20, seconds=10.0, **more)


def study_of(*records: Record, name: str = "fold1", control: bool = False) -> StudyRecord:
    """Return a study of a fold."""
    return StudyRecord(
        name=f"{name}/control" if control else name,
        fold=name,
        control=control,
        learnt=400,
        chosen_by=90,
        tested=49,
        records=records,
    )


def sweep_of(*studies: StudyRecord, **more) -> Sweep:
    """Return a sweep of these studies."""
    facts = {
        "heading": "Nested search",
        "cache": "/data/cache",
        "models": ("EST",),
        "objective": "UAR",
        "sampler": "TPE",
        "pruner": "none",
        "trials": 20,
        "space": ("loop.learning_rate: 3e-5 to 0.01",),
        "seconds": 120.0,
    }
    return Sweep(**facts | {"studies": studies} | more)


def searched(name: str = "fold1", number: int = 24, seed: int = 0, control: bool = False) -> StudyRecord:
    """Return a study in which the learning rate alone decides; a third of its trials have a setting of their own."""
    drawn = random.Random(seed)
    records = []
    for place in range(number):
        rate = 10 ** drawn.uniform(-5, -1)
        values = {"loop.learning_rate": rate, "loop.batch": drawn.choice([8, 16, 32]), "model.name": "est"}
        if place % 3 == 0:
            values |= {"model.name": "gru", "model.size": drawn.choice([64, 128])}
        records.append(trial(place, 0.7 - 0.1 * abs(math.log10(rate) + 3), loss=1.0, values=values))
    return study_of(*records, name=name, control=control)


DEGENERATE = {
    "empty": study_of(),
    "one trial": study_of(trial(0, 0.5, values={"a": 1})),
    "one trial without a setting": study_of(trial(0, 0.5)),
    "all equal": study_of(*(trial(n, 0.5, values={"a": 1, "b": HOSTILE}) for n in range(12))),
    "all failed": study_of(*(trial(n, None, "failed", values={"a": n}, error=HOSTILE) for n in range(5))),
    "all pruned": study_of(*(trial(n, 0.1 * n, "pruned", values={"a": n}) for n in range(5))),
    "NaN": study_of(trial(0, math.nan, values={"a": 1}), trial(1, None, values={"a": 2}), trial(2, None, "running")),
    "zero and one": study_of(trial(0, 0.0, values={"a": -1.5}), trial(1, 1.0, values={"a": 0})),
    "nearly equal": study_of(*(trial(n, 0.62 + 1e-6 * n, values={"a": 10**9 + n}) for n in range(9))),
    "mixed": study_of(
        *(trial(n, 0.1 * n, values={"a": value}) for n, value in enumerate((1, 2.5, None, "x", True, [1, 2], math.inf)))
    ),
    "wide": study_of(
        *(
            trial(
                n,
                0.4 + 0.001 * n,
                values={
                    f"a.rather.long.section.and.a.long.name.{k:02d}": f"choice-{HOSTILE}-number-{n * k % 40}"
                    for k in range(17)
                },
            )
            for n in range(40)
        )
    ),
    "twelve": study_of(
        *(
            trial(
                n, n / 31, values={f"section.a_long_name_of_{k:02d}": 10.0 ** ((n * (k + 1)) % 13) for k in range(12)}
            )
            for n in range(31)
        )
    ),
}


def parsed(svg: str) -> ElementTree.Element:
    """Parse a picture, which must be XML."""
    return ElementTree.fromstring(svg)


def of_class(root: ElementTree.Element, name: str) -> list[ElementTree.Element]:
    """Return the elements of a class."""
    return [node for node in root.iter() if name in node.get("class", "").split()]


def boxes(root: ElementTree.Element) -> Iterator[tuple[str, float, float, float, float]]:
    """Return where each text stands: text, left, top, right, bottom."""
    size = float(root.get("font-size"))
    for node in root.iter(f"{SVG}text"):
        words, x, y = node.text or "", float(node.get("x")), float(node.get("y"))
        wide = size * sum(LETTERS[ord(letter) - 32] if " " <= letter <= "~" else 100 for letter in words) / 100
        left = x - {"start": 0.0, "middle": wide / 2, "end": wide}[node.get("text-anchor")]
        yield words, left, y - 9, left + wide, y + 3


def check_layout(svg: str) -> ElementTree.Element:
    """Check that numbers are numbers, that no text leaves the picture, and that no two overlap; return the picture."""
    assert not re.search(r"\b(nan|inf)\b", re.sub(r">[^<]*<", "><", svg))
    root = parsed(svg)
    _, _, width, height = map(float, root.get("viewBox").split())
    placed = list(boxes(root))
    for words, left, top, right, bottom in placed:
        assert left >= 0 and top >= 0 and right <= width and bottom <= height, words  # noqa: PT018
    for one, other in itertools.combinations(placed, 2):
        apart = one[3] <= other[1] or other[3] <= one[1] or one[4] <= other[2] or other[4] <= one[2]
        assert apart, (one, other)
    return root


# The choice


def test_the_best_has_the_highest_value_then_the_lowest_loss_then_the_lowest_number():
    records = [
        trial(0, 0.6, loss=0.1),
        trial(1, 0.7, loss=0.9),
        trial(2, 0.7, loss=None),
        trial(3, 0.7, loss=0.8),
        trial(4, 0.7, loss=0.8),
        trial(5, 0.9, "pruned", loss=0.0),
        trial(6, math.nan),
    ]
    assert study_of(*records).best.number == 3
    assert study_of(*reversed(records)).best.number == 3
    assert study_of(records[2], records[6]).best.number == 2
    assert study_of(records[5], records[6]).best is None


def test_counts_and_pace():
    study = study_of(
        *(trial(n, together=4) for n in range(4)),
        trial(4, 0.1, "pruned"),
        trial(5, None, "failed"),
        trial(6, None, "running"),
    )
    assert (study.complete, study.pruned, study.failed, study.running) == (4, 1, 1, 1)
    assert study.seconds == pytest.approx(4 * 10 / 4 + 30)  # stacked trainings share their time
    assert study.per_minute == pytest.approx(6 * 60 / 40)
    assert study_of().per_minute is None


def test_the_epoch_is_the_first_that_has_the_value():
    assert trial(0, 0.6, curve=((1, 0.2), (5, 0.6), (9, 0.6), (20, 0.4))).epoch == 5
    assert trial(0, 0.6, curve=((1, 0.2),)).epoch == 20


# What is written


def test_json_round_trip():
    found = sweep_of(
        searched(),
        searched(control=True, seed=1),
        study_of(trial(0, values={"a": [1, 2], "b": None, "c": True}, curve=((1, 0.5),), error=HOSTILE), name="fold2"),
        retrained={"folds": {"fold1": {"right": 3, "total": 5, "uar": 0.5, "war": 0.6}}, "seeds": [1, 2]},
        notes=("one",),
    )
    text = json.dumps(found.to_json(), allow_nan=False)
    assert Sweep.from_json(json.loads(text)) == found
    assert json.loads(text)["studies"][1]["records"][0]["values"]["loop.batch"] in (8, 16, 32)


def test_numbers_that_json_lacks_become_none():
    data = sweep_of(study_of(trial(0, math.nan, loss=math.inf, curve=((1, math.nan),)))).to_json()
    back = Sweep.from_json(json.loads(json.dumps(data, allow_nan=False)))
    record = back.studies[0].records[0]
    assert (record.value, record.loss) == (None, None)
    assert math.isnan(record.curve[0][1])


@pytest.mark.parametrize("change", [{"format": "est-audit"}, {"version": 2}])
def test_other_files_are_refused(change):
    with pytest.raises(EstError, match=r"no sweep|version 2"):
        Sweep.from_json(sweep_of().to_json() | change)


def test_csv_round_trip():
    sweep = sweep_of(
        searched(number=6),
        study_of(
            trial(0, None, "failed", error=f"{HOSTILE},\nsecond line", values={"c": None, "d": True}), control=True
        ),
    )
    rows = list(csv.DictReader(io.StringIO(trials_csv(sweep), newline="")))
    assert len(rows) == 7
    for row, record in zip(rows, sweep.studies[0].records, strict=False):
        assert (row["study"], row["control"], row["state"]) == ("fold1", "false", "complete")
        assert float(row["value"]) == record.value
        assert float(row["loop.learning_rate"]) == record.values["loop.learning_rate"]
        assert row["model.size"] == str(record.values.get("model.size", ""))
        assert row["c"] == ""
    last = rows[-1]
    assert (last["study"], last["control"], last["value"], last["loss"]) == ("fold1/control", "true", "", "")
    assert last["error"] == f"{HOSTILE},\nsecond line"
    assert (last["c"], last["d"], last["loop.batch"]) == ("none", "true", "")


def test_the_terminal_shows_what_differs():
    shared = {"loop.batch": 16, "model.name": "est"}
    study = study_of(
        trial(0, 0.61, values=shared | {"rate": 3e-5}),
        trial(1, 0.6543, values=shared | {"rate": 0.002, "extra": "x"}, curve=((4, 0.6543),)),
        trial(2, 0.2, "pruned", values=shared | {"rate": 0.5}),
    )
    heading, header, row, last = lines(sweep_of(study, seconds=60.0))
    assert heading == "Nested search"
    assert re.sub(r" +", " ", row) == " fold1 65.43 % 4 2 complete, 1 pruned 6.0 rate 0.002"
    assert header.index("settings") == row.index("rate")
    assert last == "  3 trials in 60 s, 3.0 per minute"
    assert "no complete trial" in lines(sweep_of(DEGENERATE["all failed"]))[2]


# Scales


def test_settings_that_differ():
    settings = [{"a": 1, "b": 1, "c": 5}, {"a": 1, "b": 2}, {"a": 1, "b": 2, "d": [1]}]
    assert varied(settings) == ("b",)
    assert varied([*settings, {"d": [2]}]) == ("b", "d")


def test_scales():
    assert Scale.of([1e-4, 1e-2]).kind == "log"
    assert Scale.of([1e-4, 1e-2]).place(1e-3) == pytest.approx(0.5)
    assert Scale.of([1, 20]).kind == "linear"
    assert Scale.of([0, 1000]).kind == "linear"  # no logarithm of nothing
    assert Scale.of([1, 21]).kind == "log"
    assert Scale.of([True, False]).choices == ("false", "true")
    assert Scale.of([2, None, 10, 1]).choices == ("1", "2", "10", "none")
    assert Scale.of([5, 5]).place(5) == 0.5
    assert [text for _, text in Scale.of([8, 16, 32, 64]).ticks()] == ["8", "16", "32", "64"]
    assert [text for _, text in Scale.of([0, 1, 2, 100]).ticks()] == ["0", "100"]  # 1 and 2 would lie on 0
    assert [text for _, text in Scale.of([n * 1e-5 for n in range(1, 1001)]).ticks()] == [
        "1e-5",
        "0.0001",
        "0.001",
        "0.01",
    ]


def test_numbers_in_words():
    assert [shown(value) for value in (3e-5, 0.0003, 1.0, 12345678.0, 7, True, None, (1, 2.5), "x")] == [
        *("3e-5", "0.0003", "1", "1.235e7", "7", "true", "none", "1, 2.5", "x")
    ]


def test_a_shortened_name_keeps_its_end():
    assert fitted("loop.learning_rate", 500) == "loop.learning_rate"
    assert re.fullmatch(r"…\w+_rate", fitted("loop.learning_rate", 80))
    assert fitted("x" * 50, 1) == "…"


# Pictures


def test_history_draws_each_trial_and_the_best_so_far():
    values = [0.5, 0.4, 0.7, 0.6, 0.7]
    model = study_of(
        *(trial(n, value) for n, value in enumerate(values)), trial(5, 0.3, "pruned"), trial(6, None, "failed")
    )
    control = study_of(*(trial(n, 0.45) for n in range(3)), control=True)
    root = check_layout(history_picture(sweep_of(model, control)))
    dots = of_class(root, "model")
    assert len(dots) == 5
    assert (len(of_class(root, "control")), len(of_class(root, "pruned")), len(of_class(root, "failed"))) == (3, 1, 1)
    heights = [float(dot.get("cy")) for dot in dots]
    assert heights[2] == heights[4] == min(heights)  # higher values stand higher
    assert (heights[0] - heights[2]) / (heights[1] - heights[0]) == pytest.approx(2, rel=0.02)
    across = [float(dot.get("cx")) for dot in dots]
    assert across[4] - across[3] == pytest.approx(across[1] - across[0], abs=0.2)
    (steps,) = of_class(root, "best-model")
    corners = [tuple(map(float, point.split(","))) for point in steps.get("points").split()]
    assert corners[:3] == [(across[0], heights[0]), (across[2], heights[0]), (across[2], heights[2])]
    assert corners[3][1] == heights[2]
    assert corners[3][0] == pytest.approx(float(of_class(root, "failed")[0].get("d")[1:].split(",")[0]) + 3)
    (flat,) = of_class(root, "best-control")
    assert len({point.split(",")[1] for point in flat.get("points").split()}) == 1


def test_history_draws_ten_folds_and_says_the_rest():
    folds = [searched(f"fold{place}-{'x' * 60}", number=5) for place in range(24)]
    root = check_layout(history_picture(sweep_of(*folds)))
    assert len(of_class(root, "model")) == 10 * 5
    assert any("10 of 24 folds" in words for words, *_ in boxes(root))
    assert not any(
        "of" in words and "folds" in words for words, *_ in boxes(parsed(history_picture(sweep_of(*folds[:10]))))
    )


def test_parallel_lines_go_through_the_values():
    study = study_of(
        trial(0, 0.4, values={"rate": 1e-4, "kind": "a"}),
        trial(1, 0.6, values={"rate": 1e-2, "kind": "b", "size": 5}),
        trial(2, 0.5, values={"rate": 1e-3, "kind": "b", "size": 9}),
        trial(3, 0.9, "pruned", values={"rate": 1e-3, "kind": "b"}),
    )
    root = check_layout(parallel_picture(study))
    axes = [float(line.get("x1")) for line in of_class(root, "axis")]
    top, bottom = (float(of_class(root, "axis")[0].get(end)) for end in ("y1", "y2"))
    assert len(axes) == 4
    (chosen,) = of_class(root, "chosen")
    points = [tuple(map(float, point.split(","))) for point in chosen.get("points").split()]
    assert [x for x, _ in points] == axes
    assert [y for _, y in points] == [top, top, bottom, top]
    gaps = of_class(root, "gap")  # the first trial has no size
    assert [(float(gap.get("x1")), float(gap.get("x2"))) for gap in gaps] == [(axes[1], axes[3])]
    others = [node for node in of_class(root, "trial") if node is not chosen]
    assert len(others) == 2
    assert [node.get("stroke") for node in others] == [colour_of(0.0), colour_of(0.5)]
    assert others[1].get("points").split()[0] == f"{axes[0]},{(top + bottom) / 2}"  # a logarithm's middle


def test_parallel_draws_twelve_settings_and_says_the_rest():
    root = check_layout(parallel_picture(DEGENERATE["wide"]))
    assert len(of_class(root, "axis")) == 13
    assert any("12 of 16 settings" in words for words, *_ in boxes(root))  # the one that never varies is no axis
    tips = [node.findtext(f"{SVG}title") for node in root.iter(f"{SVG}text")]
    assert "a.rather.long.section.and.a.long.name.01" in tips
    all_drawn = parsed(parallel_picture(DEGENERATE["twelve"]))
    assert len(of_class(all_drawn, "axis")) == 13
    assert not any("settings are drawn" in words for words, *_ in boxes(all_drawn))


def test_importance_bars_have_the_lengths_of_their_shares():
    root = check_layout(importance_picture({HOSTILE * 9: 0.2, "loop.learning_rate": 0.6, "c": 0.0}))
    bars = [float(bar.get("width")) for bar in of_class(root, "bar")]
    assert bars[0] > 0
    assert bars == pytest.approx([bars[0], bars[0] / 3, 0.0], abs=0.1)
    assert [words for words, *_ in boxes(root)][:2] == ["loop.learning_rate", "60 %"]
    for empty in ({}, None):
        assert "no importances" in importance_picture(empty)
    check_layout(importance_picture({"a": 0.0, "b": 0.0}))


@pytest.mark.parametrize("name", DEGENERATE)
def test_any_study_has_pictures_and_pages(name):
    study = DEGENERATE[name]
    history = check_layout(history_picture(sweep_of(study)))
    assert len(of_class(history, "model")) == len(study.scored)
    assert len(of_class(history, "failed")) == study.failed
    parallel = check_layout(parallel_picture(study))
    assert len(of_class(parallel, "chosen")) >= (1 if study.scored else 0)
    if not study.scored:
        assert "no complete trial" in "".join(history.itertext())
        assert "no trial is complete" in "".join(parallel.itertext())
    if name != "wide" and name != "twelve":
        assert importances(study) is None
        sweep = sweep_of(study)
        assert "importances" in page_markdown(sweep)
        check_html(page_html(sweep))
        assert Sweep.from_json(json.loads(json.dumps(sweep.to_json(), allow_nan=False))).folds == ("fold1",)


def test_a_sweep_without_studies_has_a_page():
    check_layout(history_picture(sweep_of()))
    assert "no study" in page_html(sweep_of())
    assert "# Sweep of EST on /data/cache" in page_markdown(sweep_of())


def test_hostile_names_are_text_in_pictures():
    study = study_of(*(trial(n, 0.1 * n, values={HOSTILE: f"{HOSTILE}{n}", "b": n}) for n in range(3)), name=HOSTILE)
    for svg in (parallel_picture(study), history_picture(sweep_of(study)), importance_picture({HOSTILE: 1.0})):
        root = check_layout(svg)
        assert not list(root.iter(f"{SVG}b"))
        assert any('<b>&"|`*]]>' in words for words, *_ in boxes(root))


# Importance


@pytest.fixture
def without_sklearn(monkeypatch):
    """Import Optuna as if scikit-learn were not installed: it is not needed, and takes seconds to import."""
    if "optuna.importance" not in sys.modules:
        monkeypatch.setitem(sys.modules, "sklearn", None)


def test_the_setting_that_decides_is_found(without_sklearn, capfd):
    study = searched(number=60)
    found = importances(study)
    assert next(iter(found)) == "loop.learning_rate"
    assert found["loop.learning_rate"] > 0.8
    assert sum(found.values()) == pytest.approx(1)
    assert set(found) == {"loop.learning_rate", "loop.batch", "model.name"} == set(compared(study))
    assert left_out(study) == ("model.size",)
    other = study_of(*(replace(one, value=one.values["loop.batch"] / 100) for one in study.records))
    assert next(iter(importances(other))) == "loop.batch"  # the values decide, not the names
    mean = mean_importances([study, other, study_of()])
    assert mean["loop.learning_rate"] == pytest.approx(
        (found["loop.learning_rate"] + importances(other)["loop.learning_rate"]) / 2
    )
    assert capfd.readouterr() == ("", "")


def test_few_different_values_have_importances(without_sklearn):
    values = [0.5] * 11 + [0.6]  # all but one are equally good: these are not the best
    found = importances(study_of(*(trial(n, value, values={"a": value, "b": n % 2}) for n, value in enumerate(values))))
    assert found["a"] > found["b"]


def test_why_there_are_no_importances():
    assert why_none(searched(number=9)) == "9 complete trials: importances need 10"
    assert "the same value" in why_none(DEGENERATE["all equal"])
    assert "differs" in why_none(study_of(*(trial(n, 0.1 * n, values={"a": 1}) for n in range(10))))
    assert mean_importances([searched(number=9), study_of()]) is None
    assert why_none(searched(number=10)) == ""


# Pages


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
    "difference": "EST is 9.0 points above the control (95 % 1.0 to 17.0)",
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
        "learnt from 400 of its clips, the other 90 gave the objective (UAR), and none read the 49 clips of the test half.",
        "- model: WAR 59.00 % (95 % 51.0 to 66.0), UAR 52.50 %",
        "- control: WAR 50.00 % (95 % 40.0 to 60.0), UAR 44.00 % (95 % 35.0 to 55.0)",
        "- EST is 9.0 points above the control (95 % 1.0 to 17.0)",
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
    assert reader.cells[:4] == [seen, "20.00 %", "20", f"{seen} {seen} 2"]
    markdown = page_markdown(sweep)
    assert "<b>" not in markdown
    rows = [line for line in markdown.splitlines() if line.startswith("|")]
    assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows[:3]}) == 1  # no cell of theirs is two
