"""One part of a run: one model, trained on one fold with one seed, then scored on the fold's test half.

It resumes from its checkpoint when it has one, and does nothing when it is scored already. `result.json` is written last.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...cache.interrupt import Stop
from ...encoders.precision import Precision
from ...encoders.weights import BACKBONE, save_weights
from ...errors import EstError, differing
from ..config.config import TrainConfig
from ..config.configfile import differences, from_flat, to_flat
from ..config.loss import CONTRASTIVE
from ..data.control import fit_control, fitted_on
from ..data.data import Data
from ..folds.leaks import learnt_from
from ..folds.protocols import Fold
from ..models.finetuned import FinetunedModel
from ..results.metrics import score
from ..runs.files import append, write, write_arrays, write_csv, write_json
from ..runs.run import CHECKPOINT, EPOCHS, HISTORY, PREDICTIONS, RESULT, Run
from .checkpoint import load_checkpoint, save_checkpoint
from .predict import ClipView
from .stacks.together import run_together
from .starts.initial_weights import InitialWeights, Start
from .tensorboard import Board
from .training import Training
from .watch import Part, TrainingWatch
from .world import ALONE, World

ENOUGH = 10  # epochs, before which a model need not have learnt anything
GUESSING = 0.98  # of ln(classes): a loss above it is that of a model that has learnt nothing


class FoldTraining(Training):
    """A part of a run while it is trained: with its folder, from which it resumes."""

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
        start: Start | None = None,
        world: World = ALONE,
    ) -> None:
        settings = {"device": device, "precision": precision, "watch": watch, "stop": stop}
        super().__init__(run.config, part, fold, data, **settings, start=start, world=world)
        self.run = run
        self.folder = run.part(part.name)
        self.board: Board | None = None

    def train(self) -> bool:
        """Train to the end; return False if it was stopped, which saves a checkpoint."""
        self.open()
        try:
            if not self.trained and not self.run_epochs():
                return False
        finally:
            self.close()
        self.finish()
        return True

    def open(self) -> None:
        """Resume from the checkpoint, if there is one: of a training that is done it is the final one."""
        self._restore()
        if not self.trained and self.config.tensorboard and self.world.first:
            self.board = Board(self.folder, first_epoch=self.epoch + 1)

    def close(self) -> None:
        """Close what was opened for the time of the training."""
        if self.board is not None:
            self.board.close()

    def finish(self) -> None:
        """Select the weights, and keep what prediction needs."""
        if not self.trained:
            self._save_final()

    def end_epoch(self, record: dict[str, Any]) -> None:
        """Score an epoch, keep its model where it is the best, and write its line."""
        super().end_epoch(record)
        if self.world.first:
            append(self.folder / HISTORY, json.dumps(record, allow_nan=False) + "\n")
        self.watch.epoch(self.part, record)
        if self.board is not None:
            self.board.add(record)

    def score(self) -> dict[str, Any]:
        """Score the selected model on the test half, write predictions and result, return the result."""
        rows = self.test
        predicted, probabilities, answered = self.predicted(rows)
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
            answered |= self.predicted(rows, ClipView(shuffled=True))[2]
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
        self._warn_of_no_pairs()
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
        """Fit the control on the same clips that the model has learnt from; return what it predicts."""
        if self.data.control is None:
            return None
        half = self.data.learnt(self.fold.train)
        learnt = fitted_on(half)
        if len(learnt) < len(half):
            self.watch.say(f"control: fitted on {len(learnt):,} of {len(half):,} clips, drawn evenly")
        fitted = fit_control(
            self.data.control[self.data.place[learnt]], self.data.truth[learnt], num_classes=len(self.data.labels)
        )
        seen = self.data.visible(rows)
        predicted = np.full(len(rows), -1)
        blocks = self.data.control.blocks(self.data.place[rows[seen]])
        predicted[seen] = np.concatenate([fitted.predict(block) for block in blocks])
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
                    clips.num_shown(place) if place >= 0 else 0,
                    f"{float(clips.coverage[place]):.4g}" if place >= 0 else "0",
                ]
            )
        write_csv(self.folder / PREDICTIONS, header, lines)

    def _warn_of_guessing(self) -> None:
        """Warn if the loss is still that of a model that has learnt nothing."""
        last, guess = self.history[-1]["expression_loss"], math.log(len(self.data.labels))
        data, loss = self.config.data, self.config.loss
        comparable = not (data.class_weights or data.votes or loss.changes_classes)
        if len(self.history) < ENOUGH or last < GUESSING * guess or not comparable:
            return
        self.watch.warn(
            f"{self.part.name} has learnt nothing: its loss is {last:.2f}, and guessing has {guess:.2f}. {hint(self.config)}"
        )

    def _warn_of_no_pairs(self) -> None:
        """Warn if a contrastive loss never had a pair."""
        if self.config.loss.contrastive and not any(record[f"{CONTRASTIVE}_loss"] for record in self.history):
            self.watch.warn(
                f"{self.part.name}: loss.contrastive was 0 in every epoch, for no batch held two clips of a class; a "
                f"larger --batch does."
            )

    def _write_backbone(self) -> None:
        """Write the backbone by itself, for `est extract --weights`, with what it has learnt from."""
        if not isinstance(self.start, InitialWeights) or not isinstance(self.model, FinetunedModel):
            return
        learnt = np.concatenate([self.fold.train, self.fold.val])
        how = f"est train --finetune {self.config.finetune.learns}"
        record = learnt_from(self.data.table, learnt, folds=[self.part.fold], how=how)
        for earlier in self.start.records(self.part.fold, self.data.table):
            record = record.merged(earlier)
        save_weights(
            self.folder / BACKBONE,
            self.model.whole_encoder(),
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
        """Keep what prediction needs: the optimiser's state is two thirds of a checkpoint and of no more use."""
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
            "maps": list(self.data.clips.maps),
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
        """Resume from the checkpoint, and drop what was recorded after it."""
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
        else:
            self.fit_scaling()
        if self.world.first:
            write(self.folder / HISTORY, "".join(json.dumps(record) + "\n" for record in self.history))

    def _expect_mine(self, meta: Mapping[str, Any], path: Path) -> None:
        """Refuse a checkpoint of another part, or of settings that were edited since."""
        changed = differences(from_flat(meta["config"]), self.config)
        facts: dict[str, Any] = {"part": self.part.name, "seed": self.part.seed, "labels": list(self.data.labels)}
        facts |= {"width": self.data.clips.width, "maps": list(self.data.clips.maps)}
        then = {"maps": [], **meta}  # checkpoints of earlier versions do not say the sides of maps
        changed |= {name: (then[name], value) for name, value in facts.items() if then[name] != value}
        if changed:
            raise EstError(
                differing(path, changed),
                remedy=f"undo the change, or remove {self.folder} to train that part again",
            )


def train_parts(
    run: Run,
    parts: Sequence[Part],
    folds: Mapping[str, Fold],
    data: Data,
    *,
    stop: Stop,
    watch: TrainingWatch,
    **how: Any,
) -> bool:
    """Train and score parts that are not yet, one alone or several as one stack; False if it was stopped."""
    world: World = how["world"]
    done = [world.tell((run.part(part.name) / RESULT).exists() if world.first else None) for part in parts]
    left = [part for part, is_done in zip(parts, done, strict=True) if not is_done]
    trainings = [FoldTraining(run, part, folds[part.fold], data, stop=stop, watch=watch, **how) for part in left]
    if (
        len(parts) > 1 and trainings
    ):  # also the last one of a stack, whose sums are then those of a run that was not stopped
        return _train_together(trainings, stop=stop, watch=watch)
    for training in trainings:
        if not training.train():
            return False
        watch.end(training.part, training.score())
    return True


def _train_together(trainings: Sequence[FoldTraining], *, stop: Stop, watch: TrainingWatch) -> bool:
    """Train several parts as one stack, and score each when it ends."""

    def end(training: Training) -> None:
        assert isinstance(training, FoldTraining)
        training.finish()
        watch.end(training.part, training.score())

    for training in trainings:
        training.open()
    first = max(trainings, key=lambda one: one.num_epochs - one.epoch)
    watch.begin_together(
        [training.part for training in trainings],
        epochs=first.num_epochs,
        steps=first.trainer.num_steps,
        first_epoch=first.epoch + 1,
    )
    try:
        return run_together(trainings, stop=stop, on_end=end)
    finally:
        for training in trainings:
            training.close()


def hint(config: TrainConfig) -> str:
    """Return what to try when nothing has been learnt."""
    finetune = config.finetune
    if not config.data.scaling and not finetune.init:
        return "Features that hardly differ from their mean need --set data.scaling=true."
    if finetune.on and finetune.rate and finetune.batch_norm == "frozen":
        return (
            "The features drift away from those that the head can use: try --set finetune.batch_norm=train, or a "
            "lower finetune.rate."
        )
    if finetune.on and not finetune.init:
        return "--init with a frozen run that has learnt is a better start."
    return "Another --lr, or more epochs."
