"""Rendered micro-expressions: brief, faint, at a high rate, with moments that are known, and nothing else that tells the class."""

from __future__ import annotations

import csv
from dataclasses import replace

import numpy as np
import pytest

from est.cache import open_cache
from est.cli import main
from est.demo.course import plan_course, plan_span
from est.demo.micro import CLASSES, DATABASES
from est.demo.renderset import MANIFEST
from est.demo.spec import RenderSpec, plan_set
from est.errors import UsageError
from est.inputs.input import find_inputs
from est.train.results.run import read_json

SPEC = RenderSpec(subjects=7, clips_per_subject=6, fps=100, size=(128, 128), micro=True)


def est(*line):
    with pytest.raises(SystemExit) as stop:
        main([str(word) for word in line])
    return stop.value.code


@pytest.mark.parametrize("fps", [100, 200])
@pytest.mark.parametrize("difficulty", [0.0, 1.0])
def test_it_is_brief_and_faint_and_peaks_at_its_apex(fps, difficulty):
    for plan in plan_set(replace(SPEC, fps=fps, difficulty=difficulty)):
        course, (onset, offset) = plan_course(plan), plan_span(plan)
        assert 0.19 * fps <= offset - onset <= 0.51 * fps
        assert 0 < onset < plan.apex < offset < plan.num_frames - 1 < 0.75 * fps
        assert not course.intensity[: onset + 1].any()
        assert not course.intensity[offset:].any()
        assert course.intensity.argmax() == plan.apex
        assert course.intensity[plan.apex] == 1
        assert (np.diff(course.intensity[onset : plan.apex + 1]) > 0).all()
        assert (np.diff(course.intensity[plan.apex : offset + 1]) < 0).all()
        assert not any(course.occluders)
        assert (course.gains == 1).all()


def test_it_is_fainter_than_other_clips_of_its_difficulty():
    def strongest(plans):
        return np.mean([plan_course(plan).actions[plan.apex].max() for plan in plans if plan.label != "neutral"])

    faint, posed = replace(SPEC, difficulty=0), RenderSpec(subjects=7, difficulty=0)
    assert strongest(plan_set(faint)) < 0.6 * strongest(plan_set(posed))


def test_classes_take_turns_and_people_belong_to_databases():
    plans = plan_set(SPEC)
    labels = [plan.label for plan in plans]
    assert {labels.count(label) for label in CLASSES} == {14}
    assert len({plan.expressions for plan in plans if plan.label == "negative"}) == 3
    databases = {plan.subject: plan.database for plan in plans}
    assert list(databases.values()) == [DATABASES[n % 3] for n in range(7)]
    one, other = plans[0], replace(plans[0], label="surprise", expressions=("surprise",))
    first, second = plan_course(one), plan_course(other)
    np.testing.assert_array_equal(first.intensity, second.intensity)
    assert first.poses == second.poses
    fewer = plan_set(replace(SPEC, subjects=2))
    assert [(plan.seed, plan.moments) for plan in fewer] == [(plan.seed, plan.moments) for plan in plans[:12]]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"fps": 25}, "fps of micro-expressions: expected a whole number from 100 to 200, found 25"),
        ({"dynamics": True}, "A set has temporal pairs, dynamics or micro-expressions, and one of them only"),
        ({"micro": False}, "fps: expected a whole number from 5 to 120, found 200"),
    ],
)
def test_nonsense_is_refused(change, sentence):
    with pytest.raises(UsageError, match=sentence):
        RenderSpec(**{**vars(replace(SPEC, fps=200)), **change})


@pytest.mark.slow
def test_from_the_renderer_to_the_table(tmp_path, capsys):
    videos, cache, run = tmp_path / "micro", tmp_path / "cache.zarr", tmp_path / "run"
    render = ("--subjects", 3, "--clips-per-subject", 3, "--size", "128x128", "--workers", 1)
    assert est("demo", "render", "--micro", "--out", videos, *render) == 0
    with open(videos / MANIFEST, newline="") as file:
        rows = list(csv.DictReader(file))
    found = {clip.id: clip for clip in find_inputs([videos]).inputs}
    for row in rows:
        clip = found[row["path"].removesuffix(".mp4")]
        assert [clip.onset, clip.apex, clip.offset] == [int(row[name]) for name in ("onset", "apex", "offset")]
        assert clip.extra == {"database": row["extra:database"]}
    extract = ("--detector", "none", "--weights", "random", "--size", 32, "--precision", "fp32", "--workers", 1)
    assert est("extract", videos, "--out", cache, *extract) == 0
    clips = open_cache(cache).clips
    assert set(clips.fps) == {100.0}
    assert sorted(clips.extra["database"]) == sorted(3 * DATABASES)
    assert (np.asarray(clips.apex) > np.asarray(clips.onset)).all()
    capsys.readouterr()
    line = (
        "--model",
        "pooled",
        "--epochs",
        1,
        "--batch",
        2,
        "--no-control",
        "--set",
        "eval_every=0",
        "--threads",
        1,
        "--device",
        "cpu",
    )
    assert est("train", "--cache", cache, "--out", run, "--protocol", "megc", *line) == 0
    assert "Table of MEGC 2019" in capsys.readouterr().out
    table = read_json(run / "metrics.json")["megc"]
    assert [row["row"] for row in table["rows"]] == ["Full", *DATABASES]
    assert [row["clips"] for row in table["rows"]] == [9, 3, 3, 3]
