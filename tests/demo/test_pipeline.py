"""The demo, from nothing to a summary, on a set as small as can be; and what it says about the control."""

from types import SimpleNamespace

import pytest

from est.cache import open_cache
from est.demo import RenderSpec
from est.demo.pipeline import PAIRS, SETTINGS, SPEC, DemoConfig, DemoReport, run_demo
from est.train import TrainingWatch

SMALL = DemoConfig(
    spec=RenderSpec(subjects=2, clips_per_subject=2, size=(320, 180), seed=3),
    size=112,
    device="cpu",
    settings={
        "protocol.folds": 2,
        "loop.epochs": 1,
        "loop.warmup": 0,
        "loop.batch": 2,
        "model.layers": 1,
        "model.ffn": 64,
    },
)


class Stages(TrainingWatch):
    """Keeps what is done, in its order."""

    def __init__(self):
        self.seen = {}

    def progress(self, progress):
        self.seen[progress.what] = progress.done

    def begin(self, part, **facts):
        self.seen[part.name] = part.total


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    stages = Stages()
    out = tmp_path_factory.mktemp("demo") / "est-demo"
    for name in ("cache.zarr", "run"):  # what an earlier demo left is replaced
        (out / name).mkdir(parents=True)
        (out / name / "stale.json").write_text("{}")
    made = run_demo(out, SMALL, watch=stages)
    return out, stages.seen, made


def test_it_goes_the_whole_way(report):
    out, stages, made = report
    assert list(stages.items()) == [("Rendering", 4), ("Extracting", 4), ("fold1", 2), ("fold2", 2)]
    assert (made.videos, made.subjects) == (4, 2)
    assert made.frames == open_cache(out / "cache.zarr").num_frames
    assert list(made.seconds) == ["render", "extract", "train and score"]
    assert all(seconds > 0 for seconds in made.seconds.values())
    assert made.results.scores.total == 4
    assert made.results.run.facts["protocol"]["independence"] == "by subject"
    for name in ("summary.md", "confusion.svg", "metrics.json", "predictions.csv"):
        assert (out / "run" / name).is_file(), name
    assert not list(out.rglob("stale.json"))
    assert made.to_json()["points_above_control"] == pytest.approx(made.points)


def test_every_person_is_tested_by_a_model_that_has_not_seen_them():
    for spec in (SPEC, PAIRS):
        assert spec.subjects % SETTINGS["protocol.folds"] == 0
        assert not spec.reserved
    assert SETTINGS["protocol.kind"] == "kfold"  # which goes by subject


@pytest.mark.parametrize(
    ("war", "said"),
    [(0.8, "EST is 20.0 points above"), (0.98, "not 5 points above the control (+2.0)"), (1.0, "(+0.0)")],
)
def test_the_verdict_says_when_the_control_is_as_good(tmp_path, war, said):
    results = SimpleNamespace(scores=SimpleNamespace(war=1.0), control=SimpleNamespace(war=war))
    made = DemoReport(folder=tmp_path, videos=1, frames=1, subjects=1, seconds={}, results=results)
    assert said in made.verdict()
