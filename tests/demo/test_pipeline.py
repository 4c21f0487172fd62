"""The demo, from nothing to a table, on sets as small as can be; and what it says about the control."""

import json
import re
import shlex
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from est.cache import open_cache
from est.cli import main
from est.commands.demo import FETCH, NEXT, demo_text
from est.demo import RenderSpec
from est.demo.demoset import DYNAMICS, PAIRS, POSED, DemoSet
from est.demo.pipeline import DemoConfig, run_demo
from est.demo.report import SetReport
from est.train import TrainingWatch

SETTINGS = {
    "protocol.folds": 2,
    "loop.epochs": 1,
    "loop.warmup": 0,
    "loop.batch": 2,
    "model.layers": 1,
    "model.ffn": 64,
}
TINY = RenderSpec(subjects=2, clips_per_subject=2, size=(192, 192), fps=12, frames=(30, 31), seed=3)
SMALL = DemoConfig(
    sets=(
        DemoSet(name="posed", spec=TINY, settings={**POSED.settings, **SETTINGS}),
        DemoSet(name="dynamics", spec=replace(TINY, dynamics=True), settings={**DYNAMICS.settings, **SETTINGS}),
    ),
    size=112,
    device="cpu",
    workers=1,
)


class Stages(TrainingWatch):
    """Keeps what is done, in its order."""

    def __init__(self):
        self.seen, self.stacks = {}, []

    def progress(self, progress):
        self.seen[progress.what] = progress.done

    def begin(self, part, **facts):
        self.seen[part.name] = part.total

    def begin_together(self, parts, **facts):
        self.stacks.append([part.name for part in parts])
        super().begin_together(parts, **facts)


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    stages = Stages()
    out = tmp_path_factory.mktemp("demo") / "est-demo"
    for name in ("cache.zarr", "run"):  # what an earlier demo left is replaced
        (out / "posed" / name).mkdir(parents=True)
        (out / "posed" / name / "stale.json").write_text("{}")
    made = run_demo(out, SMALL, watch=stages)
    return out, stages, made


def test_it_goes_the_whole_way(report):
    out, stages, made = report
    assert list(stages.seen.items()) == [("Rendering", 4), ("Extracting", 4), ("fold1", 2), ("fold2", 2)]
    assert stages.stacks == [["fold1", "fold2"]] * 2, "the folds of a set are one stack"
    assert [one.of.name for one in made.sets] == ["posed", "dynamics"]
    assert list(made.seconds) == ["render", "extract", "train and score"]
    assert list(made.cpu_seconds) == list(made.seconds)
    assert all(seconds > 0 for seconds in (*made.seconds.values(), *made.cpu_seconds.values()))
    for one in made.sets:
        folder = out / one.of.name
        assert (one.videos, one.subjects) == (4, 2)
        assert one.frames == open_cache(folder / "cache.zarr").num_frames
        assert one.results.scores.total == 4
        assert one.results.run.facts["protocol"]["independence"] == "by subject"
        for name in ("summary.md", "confusion.svg", "metrics.json", "predictions.csv"):
            assert (folder / "run" / name).is_file(), name
    assert not list(out.rglob("stale.json"))


def test_the_table_holds_what_the_runs_came_to(report):
    _, _, made = report
    lines = made.table()
    assert lines[0].split()[:3] == ["set", "people", "videos"]
    for line, one in zip(lines[1:], made.sets, strict=True):
        assert one.interval is None, "two people are too few"
        assert line.rstrip().endswith("–")
        assert line.split()[0] == one.of.name
        assert f"{one.points:+.1f}" in line
        assert f"({one.results.control.right}/4)" in line
        assert made.to_json()["sets"][one.of.name]["points_above_control"] == one.points


def test_the_command_shows_table_verdicts_times_and_what_is_next(report):
    out, _, made = report
    shown = demo_text(made).splitlines()
    assert shown[:3] == made.table()
    assert [line.split(":")[0] for line in shown[3:5]] == ["posed", "dynamics"]
    assert re.search(r" in all, \d+ CPU seconds$", shown[5])
    assert str(out / "dynamics" / "run") in shown[6]
    assert shown[-2:] == [FETCH, NEXT]
    json.dumps(made.to_json())


def test_a_command_that_it_shows_predicts_one_of_its_videos(report, tmp_path, monkeypatch, capsys):
    _, _, made = report
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (line,) = [line for line in demo_text(made).splitlines() if line.startswith("est predict")]
    with pytest.raises(SystemExit) as ended:
        main([*shlex.split(line)[1:], "--device", "cpu", "--workers", "1"])
    assert ended.value.code == 0, capsys.readouterr().err
    (out,) = (tmp_path / "predictions").iterdir()
    assert {path.suffix for path in out.iterdir()} == {".csv", ".json", ".png", ".mp4"}


def test_every_person_is_tested_by_a_model_that_has_not_seen_them():
    for one in (POSED, DYNAMICS, PAIRS):
        assert one.spec.subjects % one.settings["protocol.folds"] == 0
        assert one.settings["protocol.kind"] == "kfold"  # which goes by subject
        assert not one.spec.reserved


def test_only_what_is_given_is_changed():
    settings = {"loop.epochs": 3}
    changed = DYNAMICS.changed(settings=settings, seed=4, subjects=None)
    assert changed.spec == replace(DYNAMICS.spec, seed=4)
    assert changed.settings == {**DYNAMICS.settings, **settings}


@pytest.mark.parametrize(
    ("of", "war", "said"),
    [
        (DYNAMICS, 0.8, "dynamics: EST is 20.0 points above the control, which ignores the order of frames"),
        (POSED, 0.98, r"posed: EST is not 5 points above the control \(\+2.0\): single frames are enough"),
        (DYNAMICS, 1.0, r"\(\+0.0\): it has learnt little from how these clips change over time"),
    ],
)
def test_the_verdict_says_when_the_control_is_as_good(of, war, said):
    results = SimpleNamespace(scores=SimpleNamespace(war=1.0), control=SimpleNamespace(war=war))
    made = SetReport(of=of, videos=1, frames=1, subjects=1, seconds={}, cpu_seconds={}, results=results, example=Path())
    assert re.search(said, made.verdict())
