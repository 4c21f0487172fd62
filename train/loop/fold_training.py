"""One part of a run: one model, trained on one fold with one seed, then scored on the fold's test half.

It goes on from its checkpoint when it has one, and does nothing when it is scored already. `result.json` is written last.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...cache.interrupt import Stop
from ...encoders.precision import Precision
from ...encoders.weights import BACKBONE, save_weights
from ...errors import EstError
from ..config.config import TrainConfig
from ..config.configfile import differences, from_flat, to_flat
from ..data.control import fit_control
from ..data.data import Data
from ..folds.leaks import learnt_from
from ..folds.protocols import Fold
from ..models.finetuned import FinetunedModel
from ..models.model import Model
from ..models.registry import build_model
from ..results.metrics import score
from ..results.run import (
    CHECKPOINT,
    EPOCHS,
    HISTORY,
    PREDICTIONS,
    RESULT,
    Run,
    append,
    read_json,
    write,
    write_arrays,
    write_csv,
    write_json,
)
from .checkpoint import load_checkpoint, save_checkpoint
from .epochs import Epochs
from .initial_weights import InitialWeights, build
from .predict import ClipView, likeliest, predict_rows, statistics_of
from .sync_batchnorm import across
from .tensorboard import Board
from .trainer import Trainer
from .watch import Part, Record, TrainingWatch
from .world import ALONE, World

ENOUGH = 10  # epochs, before which a model need not have learnt anything
FAINTEST = 1e-7  # a probability whose logarithm counts
GUESSING = 0.98  # of ln(classes): a loss above it is that of a model that has learnt nothing


class FoldTraining(Epochs):
    """A part while it is trained."""

    def __init__(
        self,
        run: Run,
        part: Part,
        fold: Fold,
        data: Data,
        *,
        device: torch.device,
        precision: Precision,
        watch: TrainingWatch,
        stop: Stop,
        start: InitialWeights | None = None,
        world: World = ALONE,
    ) -> None:
        self.run, self.fold, self.data = run, fold, data
        self.test, self.val = data.by_id(fold.test), data.by_id(fold.val)
        self.config = run.config
        self.folder = run.part(part.name)
        self.precision, self.start = precision, start
        head = build_model(self.config.model, width=data.clips.width, num_classes=len(data.labels), seed=part.seed)
        self.model: Model = build(start, head, self.config, part).to(device)
        across(self.model, world)
        self.trained = False  # from then on the model has the weights that were selected
        self.trainer = Trainer(
            self.model,
            data.clips,
            train=data.place[data.learnt(fold.train)],
            target=data.target,
            config=self.config,
            precision=precision,
            seed=part.seed,
            world=world,
        )
        super().__init__(self.trainer, part, self.config.loop.epochs, watch=watch, stop=stop, world=world)
        self.board: Board | None = None
        self.best: dict[str, Tensor] = {}
        self.best_epoch, self.best_right = 0, -1
        self.best_loss: float | None = sys.float_info.max  # None: begun by earlier code, which took the first of equals
        self.history: list[dict[str, Any]] = []
        self.tested: list[Tensor] = []  # (N,) each, what tested epochs predicted, where that is kept

    def train(self) -> bool:
        """Train to the end; return False when somebody stopped it, which saves a checkpoint."""
        self._restore()
        if self.trained:  # the checkpoint is the final one
            return True
        if self.config.tensorboard and self.world.first:
            self.board = Board(self.folder, first_epoch=self.epoch + 1)
        try:
            if not self.run_epochs():
                return False
        finally:
            if self.board is not None:
                self.board.close()
        self._save_final()
        return True

    def end_epoch(self, record: dict[str, Any]) -> None:
        """Score an epoch, keep its model where it is the best, and write its line."""
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
                selected = self.trainer.scored.state_dict()
                self.best = {name: tensor.detach().cpu().clone() for name, tensor in selected.items()}
        self.history.append(record)
        if self.world.first:
            append(self.folder / HISTORY, json.dumps(record, allow_nan=False) + "\n")
        self.watch.epoch(self.part, record)
        if self.board is not None:
            self.board.add(record)

    def _is_best(self, right: int, loss: float) -> bool:
        """Say whether an epoch is to be chosen: more right, or as many at a lower loss; of equals the later one."""
        if self.best_loss is None:
            return right > self.best_right
        return (right, -loss) >= (self.best_right, -self.best_loss)

    def _scores(self, half: str, rows: np.ndarray) -> tuple[Record, float]:
        """Return how many rows the model is right on, and its loss on those that show a face."""
        predicted, probabilities, _ = self._predicted(rows)
        if half == "test" and self.config.keep_epochs:
            self.tested.append(torch.from_numpy(predicted.astype(np.int16)))
        truth = self.data.truth[rows]
        found = score(truth, predicted, self.data.labels)
        shares = probabilities[np.arange(len(rows)), truth][predicted >= 0]
        loss = float(-np.log(np.maximum(shares, FAINTEST)).mean()) if len(shares) else 0.0
        return {f"{half}_right": found.right, f"{half}_clips": found.total, f"{half}_uar": found.uar}, loss

    def _predicted(
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

    def score(self) -> dict[str, Any]:
        """Score the selected model on the test half, write predictions and result, return the result."""
        rows = self.test
        predicted, probabilities, answered = self._predicted(rows)
        truth = self.data.truth[rows]
        scores = score(truth, predicted, self.data.labels)
        result: dict[str, Any] = {
            "part": self.part.name,
            "fold": self.part.fold,
            "seed": self.part.seed,
            "selected": {"by": self.config.select, "epoch": self.best_epoch or self.epoch},
            "right": scores.right,
            "total": scores.total,
            "war": scores.war,
            "uar": scores.uar,
            "train_clips": len(self.trainer.train),
            "seconds": round(sum(record["seconds"] for record in self.history), 3),
        }
        if self.config.model.shuffles:
            answered |= self._predicted(rows, ClipView(shuffled=True))[2]
        for question, hits in answered.items():
            choices = self.model.on_features.choices[question]
            result[question] = {"right": int(hits.sum()), "total": len(hits), f"{question}s": choices}
        tested = [record for record in self.history if "test_right" in record]
        if len(tested) > 1:  # the best epoch on the test half: what most published numbers are, and no honest one
            best = max(tested, key=lambda record: record["test_right"])
            result["oracle"] = {"right": best["test_right"], "total": best["test_clips"], "epoch": best["epoch"]}
        control = self._control(rows)
        if control is not None:
            found = score(truth, control, self.data.labels)
            result["control"] = {"right": found.right, "total": found.total, "war": found.war, "uar": found.uar}
        self._warn_of_guessing()
        if self.world.first:
            self._write_predictions(rows, predicted, probabilities, control)
            if self.tested:
                epoch = np.array([record["epoch"] for record in tested], np.int32)
                write_arrays(self.folder / EPOCHS, epoch=epoch, predicted=torch.stack(self.tested).numpy())
            self._write_backbone()
            write_json(self.folder / RESULT, result)
        self.world.wait()
        return result

    def _control(self, rows: np.ndarray) -> np.ndarray | None:
        """Fit the control on the very clips that the model has learnt from; return what it predicts."""
        if self.data.control is None:
            return None
        learnt = self.data.learnt(self.fold.train)
        fitted = fit_control(
            self.data.control[self.data.place[learnt]], self.data.truth[learnt], num_classes=len(self.data.labels)
        )
        seen = self.data.visible(rows)
        predicted = np.full(len(rows), -1)
        predicted[seen] = fitted.predict(self.data.control[self.data.place[rows[seen]]])
        return predicted

    def _write_predictions(
        self, rows: np.ndarray, predicted: np.ndarray, probabilities: np.ndarray, control: np.ndarray | None
    ) -> None:
        table, clips = self.data.table, self.data.clips
        name = (*self.data.labels, "")  # −1 is no class
        header = ["id", "subject", "truth", "prediction", *(f"p_{label}" for label in self.data.labels)]
        header += ["control", "frames", "coverage"]
        lines = []
        for index, row in enumerate(rows.tolist()):
            place = int(self.data.place[row])
            lines.append(
                [
                    table.ids[row],
                    table.subject[row],
                    name[self.data.truth[row]],
                    name[predicted[index]],
                    *("" if math.isnan(share) else f"{share:.6g}" for share in probabilities[index].tolist()),
                    name[control[index]] if control is not None else "",
                    int(clips.count[place]) if place >= 0 else 0,
                    f"{float(clips.coverage[place]):.4g}" if place >= 0 else "0",
                ]
            )
        write_csv(self.folder / PREDICTIONS, header, lines)

    def _warn_of_guessing(self) -> None:
        """Say so when the loss has stayed where it is for a model that knows nothing."""
        last, guess = self.history[-1]["expression_loss"], math.log(len(self.data.labels))
        if len(self.history) < ENOUGH or last < GUESSING * guess or self.config.data.class_weights:
            return
        self.watch.warn(
            f"{self.part.name} has learnt nothing: its loss is {last:.2f}, and guessing has {guess:.2f}. {hint(self.config)}"
        )

    def _write_backbone(self) -> None:
        """Write the backbone by itself, for `est extract --weights`, with what it has learnt from."""
        if self.start is None or not isinstance(self.model, FinetunedModel):
            return
        learnt = np.concatenate([self.fold.train, self.fold.val])
        how = f"est train --finetune {self.config.finetune.learns}"
        record = learnt_from(self.data.table, learnt, folds=[self.part.fold], how=how)
        for earlier in self.start.records(self.part.fold, self.data.table):
            record = record.merged(earlier)
        save_weights(
            self.folder / BACKBONE,
            self.model.backbone,
            normalize=self.model.backbone.normalization.name,
            trained_on=record,
            card={"run": self.run.path.name, "part": self.part.name, "start": self.start.weights.name},
        )

    def save(self) -> None:
        """Write a checkpoint."""
        if self.world.first:
            tensors = self.trainer.state() | {f"best/{name}": tensor for name, tensor in self.best.items()}
            save_checkpoint(self.folder / CHECKPOINT, tensors | self._kept(), self._meta())
        self.world.wait()

    def _save_final(self) -> None:
        """Keep what predicts: the optimiser's state is two thirds of a checkpoint and of no more use."""
        self.model.load_state_dict(self.best or self.trainer.scored.state_dict())
        self.trained = True
        if self.world.first:
            tensors = {f"model/{name}": tensor for name, tensor in self.model.state_dict().items()}
            save_checkpoint(self.folder / CHECKPOINT, tensors | self._kept(), self._meta())

    def _kept(self) -> dict[str, Tensor]:
        return {"tested/predicted": torch.stack(self.tested)} if self.tested else {}

    def _meta(self) -> dict[str, Any]:
        tuned = self.start.encoder_facts() if self.start is not None else {}
        return {
            "config": to_flat(self.config),
            "labels": list(self.data.labels),
            "width": self.data.clips.width,
            "part": self.part.name,
            "seed": self.part.seed,
            "epoch": self.epoch,
            "step": self.step,
            "seconds": self.seconds,
            "best": {"epoch": self.best_epoch, "right": self.best_right, "loss": self.best_loss},
            "history": self.history,
            **tuned,
        }

    def _restore(self) -> None:
        """Go on from the checkpoint, and forget what was recorded after it."""
        path = self.folder / CHECKPOINT
        found = self.world.tell(load_checkpoint(path) if self.world.first and path.exists() else None)
        if found is not None:
            meta = found.meta
            self._expect_mine(meta, path)
            self.epoch, self.step, self.seconds = meta["epoch"], meta["step"], meta["seconds"]
            self.best_epoch, self.best_right = meta["best"]["epoch"], meta["best"]["right"]
            self.best_loss = meta["best"].get("loss")
            self.best = found.group("best")
            self.history = meta["history"]
            self.tested = [one for rows in found.group("tested").values() for one in rows]
            if self.epoch == self.num_epochs:
                self.model.load_state_dict(found.group("model"))
                self.trained = True
            else:
                self.trainer.restore(found)
        elif self.config.data.scaling and (self.start is None or self.start.init is None):  # `--init` brings its own
            found = statistics_of(self.model, self.data.clips, self.trainer.train, self.precision)
            for model in (self.model, self.trainer.scored):  # the same, unless a running mean is scored
                model.scaling.fit(*found)
        if self.world.first:
            write(self.folder / HISTORY, "".join(json.dumps(record) + "\n" for record in self.history))

    def _expect_mine(self, meta: Mapping[str, Any], path: Path) -> None:
        """Refuse a checkpoint of another part, or of settings that somebody has edited since."""
        changed = differences(from_flat(meta["config"]), self.config)
        facts = {"part": self.part.name, "seed": self.part.seed, "labels": list(self.data.labels)}
        facts["width"] = self.data.clips.width
        changed += [f"{name}: {meta[name]} then, {value} now" for name, value in facts.items() if meta[name] != value]
        if changed:
            raise EstError(
                f"{path} belongs to another training: {'; '.join(changed)}.",
                remedy=f"undo the change, or remove {self.folder} to train that part again",
            )


def train_part(
    run: Run,
    part: Part,
    fold: Fold,
    data: Data,
    *,
    device: torch.device,
    precision: Precision,
    watch: TrainingWatch,
    stop: Stop,
    start: InitialWeights | None = None,
    world: World = ALONE,
) -> dict[str, Any] | None:
    """Train and score a part, or return the result that it has; None when somebody stopped it."""
    path = run.part(part.name) / RESULT
    done = world.tell(read_json(path) if world.first and path.exists() else None)
    if done is not None:
        return done
    training = FoldTraining(
        run, part, fold, data, device=device, precision=precision, watch=watch, stop=stop, start=start, world=world
    )
    if not training.train():
        return None
    result = training.score()
    watch.end(part, result)
    return result


def hint(config: TrainConfig) -> str:
    """Say what to try when nothing has been learnt."""
    finetune = config.finetune
    if not config.data.scaling and not finetune.init and not config.model.reads:
        return "Features that hardly differ from their mean want --set data.scaling=true."
    if finetune.on and finetune.rate and finetune.batch_norm == "frozen":
        return "The backbone leaves where the head reads: --set finetune.batch_norm=train keeps it there, or a lower finetune.rate."
    if finetune.on and not finetune.init:
        return "--init with a frozen run that has learnt is a better start."
    return "Another --lr, or more epochs."
