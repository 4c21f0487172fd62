"""What the user decides about a sweep besides the space: how much is tried, how it is chosen, how studies draw."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from ...errors import UsageError, expect_values

Sampler = Literal["tpe", "random", "grid"]
Pruner = Literal["median", "hyperband", "none"]
Objective = Literal["uar", "war"]

TRIALS = 20
FEW_CLIPS = 500  # in a training half, below which one validation part is too small to choose by


@dataclass(frozen=True, kw_only=True)
class SweepConfig:
    """How a sweep searches. Numbers of trials are those of each study."""

    trials: int = TRIALS  # 0: as many as there is time for
    minutes: float = 0.0  # no trial begins later; 0: no limit
    sampler: Sampler = "tpe"
    pruner: Pruner = "median"
    objective: Objective = "uar"
    inner: int = 0  # folds of the inner validation: 1 is a single part; 0 chooses by the number of clips
    keep: int = 1  # checkpoints of the best trials of each study
    control: bool = True  # search the control, with as many trials
    seed: int = 0  # of what the studies draw

    def __post_init__(self) -> None:
        expect_values(
            self,
            "--",
            trials=(0, 1_000_000),
            minutes=(0, 1e6),
            inner=(0, 100),
            keep=(0, 1000),
            seed=(0, 2**31 - 1),
        )
        if not self.trials and not self.minutes:
            raise UsageError(
                "A sweep has an end: a number of trials or of minutes, found neither.", remedy="--trials 20"
            )

    def num_inner(self, clips: int) -> int:
        """Return the folds of the inner validation, for so many clips in the smallest training half."""
        return self.inner or (3 if clips < FEW_CLIPS else 1)

    def same_study(self) -> dict[str, Any]:
        """Return what studies have in common that can be joined: everything but how long they go on, and what is kept."""
        return {name: value for name, value in asdict(self).items() if name not in ("trials", "minutes", "keep")}
