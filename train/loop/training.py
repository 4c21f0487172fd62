"""One training: a model on one fold with one seed, the epoch that is chosen by the inner validation half, and its history.

Nothing here touches a disk: fold_training.py keeps a training of a run, and a sweep's trials are others (sweep/search/trial.py).
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...cache.interrupt import Stop
from ...encoders.precision import Precision
from ..config.config import TrainConfig
from ..data.data import Data
from ..folds.fold import Fold
from ..models.model import Model
from ..models.registry import build_model
from ..results.metrics import score
from .epochs import Epochs
from .predict import ClipView, likeliest, predict_rows, statistics_of
from .starts.initial_weights import Start, build
from .sync_batchnorm import across
from .trainer import Trainer
from .watch import Part, Record, TrainingWatch
from .world import ALONE, World

FAINTEST = 1e-7  # a probability whose logarithm counts


class Training(Epochs):
    """A training of one part, from its starting weights."""

    def __init__(
        self,
        config: TrainConfig,
        part: Part,
        fold: Fold,
        data: Data,
        *,
        device: torch.device,
        precision: Precision,
        watch: TrainingWatch,
        stop: Stop,
        start: Start | None = None,
        world: World = ALONE,
    ) -> None:
        self.config, self.fold, self.data = config, fold, data
        self.test, self.val = data.by_id(fold.test), data.by_id(fold.val)
        self.precision: Precision = precision
        self.start = start
        width, maps = data.clips.width, data.clips.maps
        head = build_model(config.model, width=width, num_classes=len(data.labels), seed=part.seed, maps=maps)
        self.model: Model = build(start, head, config, part).to(device)
        across(self.model, world)
        self.trained = False  # from then on the model has the weights that were selected
        self.trainer = Trainer(
            self.model,
            data.clips,
            train=data.place[data.learnt(fold.train)],
            target=data.target,
            votes=data.votes,
            config=config,
            precision=precision,
            seed=part.seed,
            world=world,
        )
        super().__init__(self.trainer, part, config.loop.epochs, watch=watch, stop=stop, world=world)
        self.best: dict[str, Tensor] = {}
        self.best_epoch, self.best_right = 0, -1
        self.best_loss: float | None = sys.float_info.max  # None: begun by earlier code, which took the first of equals
        self.history: list[dict[str, Any]] = []
        self.latest: dict[
            str, tuple[np.ndarray, np.ndarray]
        ] = {}  # by half: classes and probabilities of its last scores
        self.tested: list[Tensor] = []  # (N,) each, what tested epochs predicted, where that is kept

    def fit_scaling(self) -> None:
        """Fit the scaling of features on the training half, where it is asked for; `--init` brings its own."""
        if self.config.data.scaling and (self.start is None or self.start.init is None):
            found = statistics_of(self.model, self.data.clips, self.trainer.train, self.precision)
            for model in (self.model, self.trainer.scored):  # the same, unless a running mean is scored
                model.scaling.fit(*found)

    def end_epoch(self, record: dict[str, Any]) -> None:
        """Score an epoch, keep its model where it is the best, and note its record."""
        last = self.epoch + 1 == self.num_epochs
        every = self.config.eval_every
        if every and ((self.epoch + 1) % every == 0 or last):
            record |= self._scores("test", self.test)[0]
        if self.config.select == "val":
            scores, loss = self._scores("val", self.val)
            record |= {**scores, "val_loss": loss}
            if self._is_best(record["val_right"], loss):
                self.best_right, self.best_epoch = record["val_right"], self.epoch + 1
                self.best_loss = None if self.best_loss is None else loss
                self.best = self.scored_tensors()
        self.history.append(record)

    def scored_tensors(self) -> dict[str, Tensor]:
        """Return a copy of the model that is scored."""
        found = self.trainer.scored.state_dict()
        return {name: tensor.detach().cpu().clone() for name, tensor in found.items()}

    def _is_best(self, right: int, loss: float) -> bool:
        """Return whether an epoch is to be chosen: more right, or as many at a lower loss; of equals the later one."""
        if self.best_loss is None:
            return right > self.best_right
        return (right, -loss) >= (self.best_right, -self.best_loss)

    def _scores(self, half: str, rows: np.ndarray) -> tuple[Record, float]:
        """Return how many rows the model is right on, and its loss on those that show a face."""
        predicted, probabilities, _ = self.predicted(rows)
        if half == "test" and self.config.keep_epochs:
            self.tested.append(torch.from_numpy(predicted.astype(np.int16)))
        self.latest[half] = predicted, probabilities
        truth = self.data.truth[rows]
        found = score(truth, predicted, self.data.labels)
        loss = loss_of(probabilities, truth)
        return {f"{half}_right": found.right, f"{half}_clips": found.total, f"{half}_uar": found.uar}, loss

    def predicted(
        self, rows: np.ndarray, view: ClipView | None = None
    ) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
        """Return class (−1 where nothing shows a face), probabilities (NaN there), and which further questions were answered rightly."""
        probabilities, hits = predict_rows(
            self.model if self.trained else self.trainer.scored,
            self.data,
            rows,
            self.trainer.planner.sampler,
            precision=self.precision,
            view=view,
            world=self.world,
        )
        return likeliest(probabilities), probabilities, hits


def loss_of(probabilities: np.ndarray, truth: np.ndarray) -> float:
    """Return the cross-entropy of the rows that show a face, 0 where there are none.  # (N, C), (N,)"""
    shares = probabilities[np.arange(len(truth)), truth]
    shares = shares[~np.isnan(shares)]
    return float(-np.log(np.maximum(shares, FAINTEST)).mean()) if len(shares) else 0.0
