"""Rendered micro-expressions: brief, faint, at a high rate, with moments that are known, and nothing else that tells the class."""

from __future__ import annotations

import csv
import shlex
from dataclasses import replace
from pathlib import Path

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
from est.train.runs.files import read_json

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
        ({"dynamics": True}, "A set has temporal pairs, dynamics or micro-expressions; found more than one"),
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


def shown_commands() -> list[list[str]]:
    """Return the commands of docs/demo.md and docs/flow.md from the renderer to the table, which are the same."""
    pages = [(Path(__file__).parents[2] / f"docs/{name}.md").read_text(encoding="utf-8") for name in ("demo", "flow")]
    shown = [block.partition("```")[0] for page in pages for block in page.split("```text\n")[1:]]
    blocks = [block for block in shown if "est demo render --micro" in block]
    assert len(blocks) == 2
    assert blocks[0] == blocks[1]
    return [shlex.split(line)[1:] for line in blocks[0].splitlines()]


def test_documents_show_the_way_from_the_renderer_to_the_table():
    render, extract, train = shown_commands()
    assert {"--micro", "micro"} <= set(render)
    assert extract[extract.index("--modality") + 1] == "flow"
    assert train[train.index("--model") + 1] == "slstt"
    assert train[train.index("--protocol") + 1] == "megc"


@pytest.mark.slow
def test_the_shown_commands_end_with_the_table_also_where_a_database_has_no_apex(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    render, extract, train = shown_commands()
    small = ("--subjects", 3, "--clips-per-subject", 3, "--size", "128x128", "--workers", 1)
    quick = ("--detector", "none", "--weights", "random", "--size", 32, "--precision", "fp32", "--workers", 1)
    short = ("--batch", 2, "--epochs", 1, "--no-control", "--threads", 1, "--device", "cpu")
    assert est(*render, *small) == 0
    assert est(*extract, *quick) == 0
    assert set(open_cache("flow.zarr").clips.count) == {11}
    capsys.readouterr()
    assert est(*train, *short) == 0
    said = capsys.readouterr()
    assert "Table of MEGC 2019" in said.out
    assert "not of flow" not in said.err
    assert [row["row"] for row in read_json(tmp_path / "run/metrics.json")["megc"]["rows"]] == ["Full", *DATABASES]

    with open(f"micro/{MANIFEST}", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        row["apex"] = "" if row["extra:database"] == DATABASES[0] else row["apex"]
    with open(f"micro/{MANIFEST}", "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    for frames, out, status in (("apex", "fails.zarr", 3), ("auto", "auto.zarr", 0)):
        assert est(*extract, *quick, "--flow-frames", frames, "--out", out) == status
        assert "3 of 9 clips have no annotated onset or apex (rendered-a 3)" in capsys.readouterr().err
        assert est(*train, *short, "--cache", out, "--out", out.replace("zarr", "run")) == 0
        capsys.readouterr()
    assert len(open_cache("fails.zarr").failures) == 3
    for name in ("fails", "auto"):
        table = read_json(tmp_path / f"{name}.run/metrics.json")["megc"]
        assert [(row["row"], row["clips"]) for row in table["rows"]] == [("Full", 9), *((one, 3) for one in DATABASES)]
    assert any("of 3 of 9 clips no apex is known (rendered-a 3)" in remark for remark in table["remarks"])
