"""The pictures of a sweep: where trials stand, texts that neither overlap nor leave the picture, and studies with nothing to draw."""

from __future__ import annotations

import re

import pytest
from sweep_samples import (
    DEGENERATE,
    HOSTILE,
    SVG,
    boxes,
    check_layout,
    of_class,
    parsed,
    searched,
    study_of,
    sweep_of,
    trial,
)

from est.report.svg import fitted
from est.sweep.found.pictures import colour_of, history_picture, importance_picture, parallel_picture
from est.sweep.found.scales import Scale, shown, varied


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
def test_any_study_has_pictures(name):
    study = DEGENERATE[name]
    history = check_layout(history_picture(sweep_of(study)))
    assert len(of_class(history, "model")) == len(study.scored)
    assert len(of_class(history, "failed")) == study.failed
    parallel = check_layout(parallel_picture(study))
    assert len(of_class(parallel, "chosen")) >= (1 if study.scored else 0)
    if not study.scored:
        assert "no complete trial" in "".join(history.itertext())
        assert "no trial is complete" in "".join(parallel.itertext())


def test_hostile_names_are_text_in_pictures():
    study = study_of(*(trial(n, 0.1 * n, values={HOSTILE: f"{HOSTILE}{n}", "b": n}) for n in range(3)), name=HOSTILE)
    for svg in (parallel_picture(study), history_picture(sweep_of(study)), importance_picture({HOSTILE: 1.0})):
        root = check_layout(svg)
        assert not list(root.iter(f"{SVG}b"))
        assert any('<b>&"|`*]]>' in words for words, *_ in boxes(root))
