"""One encoder, from the start to the file of weights: epochs, choosing, checkpoints, resuming.

While it learns, its state is one file beside the one that will be written, `tuned.tuning` beside `tuned.safetensors`; it goes when that
is there. Either says which settings, start and data it is of: others are refused with the difference.
"""

from __future__ import annotations

import hashlib
import json
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..cache.interrupt import Stop, listening
from ..cache.trained import TrainedOn
from ..encoders.precision import Precision, resolve_precision
from ..encoders.weights import Weights, save_weights
from ..errors import EstError, UsageError, differing, quoted
from ..train.folds.leaks import Leak
from ..train.loop.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from ..train.loop.epochs import Epochs
from ..train.loop.trainer import reproducible
from ..train.loop.watch import Part, TrainingWatch
from ..train.runs.files import write
from .card import build_card, is_card, read_card, to_markdown
from .config import TuneConfig
from .loop import FrameScores, FrameTrainer
from .model import FrameClassifier
from .samples import Samples

STATE = ".tuning"
SUFFIX = ".safetensors"
AGAIN = "the same command resumes"


@dataclass(frozen=True, kw_only=True, eq=False)
class TuningTask:
    """What is to be learnt, and from what."""

    config: TuneConfig
    samples: Samples
    train: np.ndarray  # units
    val: np.ndarray  # units that choose the epoch; none where the last one is kept
    people: dict[str, int]  # how many subjects each half has, 0 where unknown
    start: Weights
    record: TrainedOn  # all that the weights will have learnt from
    leaks: tuple[Leak, ...]  # that were allowed
    device: torch.device

    def identity(self) -> dict[str, Any]:
        """Return what the outcome follows from; two tasks with the same are one."""
        samples = self.samples
        counts = samples.count.tolist()
        halves = {}
        for half, units in (("train", self.train), ("val", self.val)):
            told = [[str(samples.names[unit]), counts[unit], samples.target[unit].tolist()] for unit in units.tolist()]
            digest = hashlib.sha256(json.dumps(sorted(told)).encode()).hexdigest()[:32]
            halves[half] = f"{len(units)} {samples.noun} ({digest[:8]})"
        return {
            **self.config.settings(),
            "start": self.start.digest[:12],
            "normalize": self.start.backbone.normalization.name,
            "data": samples.facts["identity"],
            **halves,
            "folds": ", ".join(self.record.folds),
        }


def learn(task: TuningTask, out: Path, watch: TrainingWatch, part: Part | None = None) -> Path:
    """Train, and write the weights; resume where an earlier call was stopped, and do nothing if they exist."""
    expect_place(out)
    identity = task.identity()
    if out.exists():
        then = read_card(out).get("identity")
        if then is None:
            raise UsageError(f"{out} exists, and was not made by est tune.", remedy="another --out")
        expect_same(then, identity, out, remedy=f"another --out, or rm {quoted(out)}")
        watch.say(f"{out} exists already, of the same settings and {task.samples.noun}")
        warn_of_precision(out, task, watch)
        return out
    state = out.with_suffix(STATE)
    found = load_state(state) if state.exists() else None
    if found is not None:
        expect_same(found.meta["identity"], identity, state, remedy=f"the earlier settings, or rm {quoted(state)}")
        elsewhere = (
            f"resume on a machine that computes in it; or another --out, or rm {quoted(state)}, with --precision fp32"
        )
        precision, why = resolve_precision(found.meta["precision"], task.device, remedy=elsewhere)
        watch.say(f"resuming {state} from epoch {found.meta['epoch'] + 1}, step {found.meta['step'] + 1}")
        if found.meta["device"] != task.device.type:
            watch.warn(
                f"It was started on {found.meta['device']}: on {task.device.type} its numbers will not be bit-identical."
            )
    else:
        precision, why = resolve_precision(task.config.precision, task.device)
    threads = found.meta["threads"] if found else task.config.threads or torch.get_num_threads()
    watch.say(f"{task.device}, {precision} ({why}), {threads} threads")
    part = part or Part(name=out.stem, fold="", seed=task.config.seed, index=0, total=1)
    with reproducible(task.device, threads), listening(patient=False) as stop:
        training = EncoderTraining(task, identity, state, precision=precision, watch=watch, stop=stop, part=part)
        if not training.train(found):
            watch.say(f"stopped; {AGAIN}")
            raise KeyboardInterrupt
        training.write(out)
    return out


class EncoderTraining(Epochs):
    """A task under way."""

    def __init__(
        self,
        task: TuningTask,
        identity: dict[str, Any],
        state: Path,
        *,
        precision: Precision,
        watch: TrainingWatch,
        stop: Stop,
        part: Part,
    ) -> None:
        self.task, self.identity, self.state = task, identity, state
        config = task.config
        model = FrameClassifier(
            deepcopy(task.start.backbone), len(task.samples.labels), batch_norm=config.batch_norm, seed=config.seed
        )
        self.trainer = FrameTrainer(model, task.samples, task.train, config, device=task.device, precision=precision)
        super().__init__(self.trainer, part, config.epochs, watch=watch, stop=stop)
        self.best: dict[str, Tensor] = {}  # the encoder of the best epoch
        self.scores: dict[str, Any] = {}  # of that epoch
        self.rank: list[float] = []
        self.taken = 0.0  # seconds of the epochs before

    def train(self, found: Checkpoint | None) -> bool:
        """Learn to the end; return False if it was stopped, which saves the state."""
        if found is None:
            self.trainer.settle()
        else:
            self._restore(found)
        return self.run_epochs()

    def end_epoch(self, record: dict[str, Any]) -> None:
        """Score an epoch, and keep its encoder where it is the best."""
        if len(self.task.val):
            scores = self.trainer.score(self.task.val)
            record |= {"val_right": scores.units.right, "val_clips": scores.units.total, "val_uar": scores.units.uar}
            if list(scores.rank) > self.rank:
                self._keep(scores)
        self.watch.epoch(self.part, record)
        self.taken += self.seconds

    def _keep(self, scores: FrameScores) -> None:
        """Remember the encoder as the best so far."""
        self.rank = list(scores.rank)
        self.scores = {
            "epoch": self.epoch + 1,
            **{
                name: {"war": found.war, "uar": found.uar, "right": found.right, "total": found.total}
                for name, found in ((self.task.samples.noun, scores.units), ("frames", scores.frames))
            },
        }
        tensors = self.trainer.scored.encoder.state_dict()
        self.best = {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}

    def write(self, out: Path) -> None:
        """Write weights and card, and remove the state."""
        encoder = self.trainer.scored.encoder
        if self.best:
            encoder.load_state_dict(self.best)
        card = build_card(self.task, self.identity, self.scores, self.trainer.precision)
        write(out.with_suffix(".md"), to_markdown(card, out.name))
        save_weights(out, encoder.eval(), normalize=encoder.normalization.name, trained_on=self.task.record, card=card)
        self.state.unlink(missing_ok=True)
        if self.scores:
            found = self.scores[self.task.samples.noun]
            selected = {"epoch": self.scores["epoch"]}
            self.watch.end(self.part, {**found, "selected": selected, "seconds": round(self.taken, 3)})

    def save(self) -> None:
        """Write the state."""
        tensors = self.trainer.state() | {f"best/{name}": tensor for name, tensor in self.best.items()}
        meta = {
            "identity": self.identity,
            "epoch": self.epoch,
            "step": self.step,
            "seconds": [self.seconds, self.taken],
            "scores": self.scores,
            "rank": self.rank,
            "device": self.task.device.type,
            "precision": self.trainer.precision,
            "threads": torch.get_num_threads(),
        }
        try:
            save_checkpoint(self.state, tensors, meta)
        except EstError as error:
            raise EstError(
                error.message, remedy=f"free some space or check the permissions; {AGAIN}"
            ) from error.__cause__

    def _restore(self, found: Checkpoint) -> None:
        meta = found.meta
        self.epoch, self.step = meta["epoch"], meta["step"]
        self.seconds, self.taken = meta["seconds"]
        self.scores, self.rank, self.best = meta["scores"], meta["rank"], found.group("best")
        self.trainer.restore(found)


def load_state(path: Path) -> Checkpoint:
    """Read the state of a task under way."""
    try:
        return load_checkpoint(path)
    except EstError as error:
        raise EstError(error.message, remedy=f"rm {quoted(path)}, then run the command again") from error.__cause__


def expect_place(out: Path) -> None:
    """Refuse a file that `est extract --weights` would not recognise, and a page beside it that est did not write."""
    if out.suffix != SUFFIX:
        raise UsageError(
            f"Weights are written as {SUFFIX}, which holds what they have learnt from; found --out {out}.",
            remedy=f"--out {quoted(out.with_suffix(SUFFIX))}",
        )
    page = out.with_suffix(".md")
    if page.exists() and not is_card(page):
        raise UsageError(
            f"The card would be written to {page}, which is another file.", remedy=f"another --out, or move {page} away"
        )


def expect_precision(out: Path, config: TuneConfig, device: torch.device) -> None:
    """Refuse a precision that the device would emulate before any picture is read; where something is there already, `learn` decides."""
    if not out.exists() and not out.with_suffix(STATE).exists():
        resolve_precision(config.precision, device)


def warn_of_precision(out: Path, task: TuningTask, watch: TrainingWatch) -> None:
    """Say so when weights that are there already were tuned in another precision than `auto` means here."""
    then = read_card(out).get("precision")  # cards of earlier releases do not say
    if task.config.precision == "auto" and then and (now := resolve_precision("auto", task.device)[0]) != then:
        watch.warn(f"{out} was tuned in {then}; on this machine auto is {now}.")


def expect_same(then: dict[str, Any], now: dict[str, Any], path: Path, *, remedy: str) -> None:
    """Refuse to take up what was started otherwise."""
    keys = dict.fromkeys([*now, *then])
    changed = {
        key: (then.get(key, "unknown"), now.get(key, "unknown")) for key in keys if then.get(key) != now.get(key)
    }
    if changed:
        raise UsageError(differing(path, changed), remedy=remedy)
