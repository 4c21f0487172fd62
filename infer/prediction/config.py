"""What the user decides about a prediction; everything else is the run's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ...errors import expect_values

LONGEST = 86400.0  # seconds


@dataclass(frozen=True, kw_only=True)
class PredictConfig:
    """Options of `est predict`."""

    face: Literal["all", "main", "largest"] = "all"
    part: str | None = None  # None: the mean of all models of the run
    window: float | None = None  # seconds; None: the median length of the clips that the run was trained on
    stride: float | None = None  # seconds; None: a quarter of the window, or what the model states
    smooth: float | None = None  # deviation in seconds of the Gaussian over the timeline; None: half the stride
    weights: tuple[str, ...] = ()  # of the encoders that made the run's features, where they are not found by name
    detector: str | None = None  # in the place of the run's
    precision: str | None = None  # in the place of the run's
    engine: str | None = None  # in the place of the run's
    device: str = "auto"
    models_dir: Path | None = None
    workers: int | None = None
    timeout: float = 120.0
    video: bool | None = None  # None: where there is one video
    picture: bool | None = None
    parquet: bool = False

    def __post_init__(self) -> None:
        if self.models_dir is not None:
            object.__setattr__(self, "models_dir", Path(self.models_dir))
        expect_values(
            self,
            "--",
            window=(0.04, LONGEST),
            stride=(0.01, LONGEST),
            smooth=(0, LONGEST),
            workers=(1, 1024),
            timeout=(1, LONGEST),
        )
