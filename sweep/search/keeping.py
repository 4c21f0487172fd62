"""The checkpoints of the best trials of each study: `OUT/kept/<fold>/<trial>-<inner fold>.safetensors`; the others are not written."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from ...cache.stores.disk import PARTIAL
from ...errors import EstError
from ...train.config.config import TrainConfig
from ...train.config.configfile import to_flat
from ...train.loop.checkpoint import save_checkpoint
from ...train.models.registry import describe_model
from ..found.record import Record, rank
from .trial import Trial

KEPT = "kept"
BYTES = 4  # a number


def keep_best(out: Path, trial: Trial, number: int) -> None:
    """Keep the models of a trial that is at its end when it is among the best so many of its study, and remove those that no longer are.

    The study is told after it, so that no complete trial lacks a checkpoint.
    """
    folder = out / KEPT / trial.study.fold
    best = {record.number for record in best_of([*trial.study.records(), trial.record], number)}
    if trial.asked.number in best:
        for place, training in enumerate(trial.trainings):
            tensors = {f"model/{name}": tensor for name, tensor in training.scored_tensors().items()}
            meta = {
                "config": to_flat(training.config),
                "labels": list(training.data.labels),
                "width": training.data.clips.width,
                "maps": list(training.data.clips.maps),
                "part": training.part.name,
                "seed": training.part.seed,
                "epoch": training.epoch,
            }
            save_checkpoint(folder / f"{trial.asked.number:04d}-{place + 1}.safetensors", tensors, meta)
    for path in folder.glob(
        f"*.safetensors{PARTIAL}"
    ):  # of a trial that could not be kept; the caller holds the lock of the sweep
        path.unlink(missing_ok=True)
    for path in folder.glob("*.safetensors"):
        if int(path.name.partition("-")[0]) not in best:
            path.unlink(missing_ok=True)


def best_of(records: Iterable[Record], number: int) -> list[Record]:
    """Return the best so many of the complete trials, the best first."""
    return sorted((record for record in records if record.scored), key=rank)[:number]


def bytes_needed(
    configs: Iterable[tuple[TrainConfig, tuple[int, ...]]], *, studies: int, inner: int, keep: int, classes: int
) -> int:
    """Return the bytes that checkpoints will take at most: those of the largest model, and one more while it is written.

    Of each configuration the shape of the rows that it reads is given: (D,) or (C, h, w).
    """
    counted = (describe_model(config.model, shape[0], classes, shape[1:]).parameters for config, shape in configs)
    largest = max(counted, default=0)
    return BYTES * largest * (studies * inner * keep + 1) if keep else 0


def expect_room(out: Path, needed: int) -> None:
    """Refuse a sweep whose checkpoints the disk cannot hold."""
    place = next(folder for folder in (out, *out.absolute().parents) if folder.exists())
    free = shutil.disk_usage(place).free
    if needed > free:
        raise EstError(
            f"The checkpoints of the best trials need {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free in {place}.",
            remedy="--keep 0 keeps none, or --out on another disk",
        )
