"""What a model may ask for beyond EST's snippets: all frames with their mask and times, several test views, an undivided batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import pytest
import torch
from made_model import register
from torch import Tensor, nn
from train_samples import Recorder, learning_cache, outcome, tiny_config

from est.errors import UsageError
from est.train import FinetuneConfig, evaluate, fit
from est.train.evaluation import Change
from est.train.models.contract import AllFrames, Evenly, ModelConfig
from est.train.models.model import Model, class_loss
from est.train.models.scaling import Scaling
from est.train.results.results import read_predictions


@dataclass(frozen=True, kw_only=True)
class Config(ModelConfig):
    name: ClassVar[str] = "masked"
    title: ClassVar[str] = "Masked mean"
    frames: int = 40
    views: int = 0  # of four frames from two parts; 0: all frames

    @property
    def shown(self):
        return Evenly(parts=2, frames=2, views=self.views) if self.views else AllFrames(most=self.frames)

    @property
    def told(self):
        return ("mask", "time")

    @property
    def undivided(self):
        return True

    @property
    def questions(self):
        return {"length": "whether the clip leaves places over"}


class Output(NamedTuple):
    expression: Tensor


class Masked(Model):
    """The mean over frames that show a face."""

    batches: ClassVar[list] = []
    said: ClassVar[list] = []

    def __init__(self, config, *, width, num_classes):
        super().__init__()
        self.config, self.width, self.num_classes, self.scaling = config, width, num_classes, Scaling(width)
        self.classifier = nn.Linear(width, num_classes)

    def forward(self, batch):
        self.batches.append({name: tensor.clone() for name, tensor in batch.items()})
        mask = batch["mask"][..., None].float()
        found = self.classifier((batch["features"] * mask).sum((1, 2)) / mask.sum((1, 2)).clamp(min=1))
        self.said.append(found.detach())
        return Output(expression=found)

    @property
    def choices(self):
        return {"length": 2}

    def hits(self, output, batch):
        return {"length": ~batch["mask"].flatten(1).all(1)}


@pytest.fixture(autouse=True)
def masked(monkeypatch):
    Masked.batches.clear()
    Masked.said.clear()
    register(monkeypatch, Masked, Config)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return learning_cache(tmp_path_factory.mktemp("contract") / "c.zarr", 36)


def test_all_frames_come_with_their_mask_and_times(cache, tmp_path):
    trained = fit(cache, tmp_path / "run", tiny_config(model=Config(), epochs=2))
    for batch in Masked.batches:
        assert batch["features"].shape[1:] == (1, 40, 16)
        mask, time = batch["mask"][:, 0], batch["time"][:, 0]
        assert mask.dtype == torch.bool
        assert mask.any(1).all()
        assert (time[:, 0] <= 0.04 + 1e-6).all(), "a longer clip is thinned"
        assert (time.diff(dim=1) >= 0).all()
    mask = torch.cat([batch["mask"][:, 0] for batch in Masked.batches])
    assert (~mask[:, -1]).any(), "shorter clips leave places over"
    assert (~mask[:, 5]).any(), "frames without a face are none"
    again = evaluate(trained.run)
    assert again.scores.right == trained.scores.right
    assert [(one.question, one.total, one.choices) for one in again.answers] == [("length", trained.scores.total, 2)]
    assert 0 < again.answers[0].right <= again.answers[0].total
    summary = (trained.run.path / "summary.md").read_text(encoding="utf-8")
    assert "whether the clip leaves places over" in summary
    assert "- the model is shown all frames of a clip, up to 40; of a longer clip so many, evenly" in summary
    assert "brought to 105" not in summary, "only snippets are cut from a unified clip"


def test_it_resumes_to_the_same_bytes(cache, tmp_path):
    fit(cache, tmp_path / "whole", tiny_config(model=Config(), epochs=4))
    with pytest.raises(KeyboardInterrupt):
        fit(cache, tmp_path / "run", tiny_config(model=Config(), epochs=4), watch=Recorder(3))
    fit(None, tmp_path / "run", resume=True)
    assert outcome(tmp_path / "run") == outcome(tmp_path / "whole")


def test_probabilities_are_the_mean_over_test_views(cache, tmp_path):
    config = tiny_config(model=Config(views=3), epochs=1, control=False, eval_every=0)
    run = fit(cache, tmp_path / "run", config).run
    tested = [number for number, batch in enumerate(Masked.batches) if len(batch["mask"]) == 12]
    assert len(tested) == 3
    assert not torch.equal(Masked.batches[tested[0]]["time"], Masked.batches[tested[1]]["time"])
    expected = torch.stack([Masked.said[number].softmax(1) for number in tested]).mean(0)
    rows = read_predictions(run, run.parts[0])
    found = torch.tensor([[float(row[f"p_{label}"]) for label in run.labels] for row in rows])
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_what_needs_a_window_is_refused(cache, tmp_path):
    run = fit(cache, tmp_path / "run", tiny_config(model=Config(), epochs=1)).run
    for change in (Change(start=3), Change(zero=(50, 55))):
        with pytest.raises(UsageError, match="shown a window"):
            evaluate(run, change=change)


def test_losses_over_pairs_refuse_divided_batches(cache, tmp_path):
    with pytest.raises(UsageError, match=r"compare the clips of a batch, and loop\.accumulate divides it in 2 parts"):
        tiny_config(model=Config(), accumulate=2)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mixup": 0.4}, "data.mixup mixes two clips, and masked is given the mask and the time of one"),
        ({"finetune": FinetuneConfig(learns="all")}, "what shorter clips leave over would enter the statistics"),
    ],
)
def test_what_does_not_go_with_all_frames_is_refused(settings, message):
    with pytest.raises(UsageError, match=message):
        tiny_config(model=Config(), **settings)


@pytest.mark.parametrize(
    "shown", [lambda: AllFrames(most=0), lambda: Evenly(parts=0), lambda: Evenly(parts=1, views=0)]
)
def test_nothing_shown_is_refused(shown):
    with pytest.raises(UsageError, match=r"shown\.\w+ is at least 1, found 0"):
        shown()


def test_targets_may_be_shares_of_classes():
    logits = torch.randn(4, 3, dtype=torch.float64)
    output, target = Output(expression=logits.float()), torch.tensor([0, 2, 1, 1])
    whole = class_loss(output, target, weight=None, smoothing=0.1)
    shares = nn.functional.one_hot(target, 3).float()
    assert float(class_loss(output, shares, weight=None, smoothing=0.1)) == pytest.approx(float(whole), rel=1e-6)
    halves = torch.tensor([[0.5, 0.5, 0.0]])
    found = class_loss(Output(expression=logits[:1]), halves, weight=None, smoothing=0.0)
    assert float(found) == pytest.approx(-float(logits[0].log_softmax(0)[:2].mean()), rel=1e-6)
