"""Curves for TensorBoard, for those who ask for them; the run's own history.csv holds the same numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...packages import expect_packages
from .watch import Record, questions_of

FOLDER = "tensorboard"


class Board:
    """One part's curves."""

    def __init__(self, folder: Path, *, first_epoch: int) -> None:
        # What was written after the checkpoint that a run resumes from is hidden from view.
        self._writer = board_writer()(str(folder / FOLDER), purge_step=first_epoch)

    def add(self, record: Record) -> None:
        """Add an epoch."""
        for name, value in scalars(record).items():
            self._writer.add_scalar(name, value, record["epoch"])

    def close(self) -> None:
        """Write everything out."""
        self._writer.close()


def board_writer() -> Any:
    """Return TensorBoard's writer, or say how to get it: before a run begins, and not after an hour of it."""
    need = "--tensorboard needs the package tensorboard"
    expect_packages(need, "tensorboard", "torch.utils.tensorboard", install="tensorboard")
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter


def scalars(record: Record) -> dict[str, float]:
    """Return the curves of an epoch: losses, shares, speed."""
    found: dict[str, Any] = {
        "loss/all": record["loss"],
        "train/war": record["train_right"] / record["train_clips"],
        "learning_rate": record["learning_rate"],
        "clips_per_second": record["clips_per_second"],
    }
    found |= {f"loss/{key.removesuffix('_loss')}": value for key, value in record.items() if key.endswith("_loss")}
    for question in questions_of(record):
        found[f"train/{question}"] = record[f"{question}_right"] / record["train_clips"]
    for half in ("val", "test"):
        if f"{half}_right" in record:
            found |= {
                f"{half}/war": record[f"{half}_right"] / record[f"{half}_clips"],
                f"{half}/uar": record[f"{half}_uar"],
            }
    return found
