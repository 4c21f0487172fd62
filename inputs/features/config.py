"""What the user decides about an import; everything that changes a row is part of the cache's recipe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from ...cache.schema import FeatureSpec
from ...errors import UsageError, counted, expect_values

NaN = Literal["refuse", "zero", "no-face"]
PastEnd = Literal["refuse", "cut"]
MANY = 2**31 - 1


@dataclass(frozen=True, kw_only=True)
class Level:
    """Windows of one length at one distance: how the rows of a file without places lie in their clip."""

    window: int
    stride: int
    rate: float

    def __str__(self) -> str:
        return f"{self.window} frames, step {self.stride}, {self.rate:g} a second"


def closest_first(level: Level) -> tuple[int, float]:
    """Return what kinds of windows are sorted by: models take the first as the one that stands closest together."""
    return level.stride, -level.rate


@dataclass(frozen=True, kw_only=True)
class ImportConfig:
    """Options of `est cache import`."""

    by: str  # what made the features, in the user's words
    feature: str = "features"  # the array of the cache
    dtype: Literal["float16", "float32"] = "float32"
    columns: tuple[str, ...] = ()  # patterns of names; none: all columns that hold numbers and mean nothing else
    array: str = ""  # of an .npz with several
    id_column: str = ""  # of a table that holds many clips
    time_column: str = ""
    state_column: str = ""  # above 0 where a frame shows a face
    score_column: str = ""
    frame_column: str = ""
    start_column: str = ""  # of windows: their first frame,
    stop_column: str = ""  # the one behind their last,
    rate_column: str = ""  # and frames a second that were looked at
    fps: float | None = None
    window: tuple[int, ...] = ()  # frames; one for each SOURCE, or one for all
    stride: tuple[int, ...] = ()
    rate: tuple[float, ...] = ()
    nan: NaN = "refuse"
    past_end: PastEnd = "refuse"

    def __post_init__(self) -> None:
        if self.fps == 0:
            raise UsageError("--fps is above 0, found 0.", remedy="--fps 25, or what the features were made at")
        expect_values(self, "--", fps=(0.001, 100_000))
        if not self.by.strip():
            raise UsageError(
                "The tool that made these features is not given; the cache's recipe records it.",
                remedy='--by "OpenFace 2.2"',
            )
        for name in ("window", "stride", "rate"):
            if wrong := [value for value in getattr(self, name) if not 0 < value < MANY]:
                raise UsageError(f"--{name} is above 0, found {wrong[0]:g}.")
        if bool(self.window) != bool(self.stride):
            raise UsageError(
                "Windows need their length and their step, in frames: --window and --stride.",
                remedy="--window 16 --stride 4, or columns: --start-column and --stop-column",
            )
        if bool(self.start_column) != bool(self.stop_column):
            raise UsageError(
                "The places of windows need two columns: their first frame, and the one after their last.",
                remedy="--start-column start --stop-column stop",
            )
        if self.window and self.start_column:
            raise UsageError(
                "Windows have their places from columns, or from --window and --stride.", remedy="give one of them"
            )
        if self.start_column and len(self.rate) > 1:
            raise UsageError(
                "Windows whose places are columns have one --rate.", remedy="--rate-column where they have several"
            )
        if not self.of_windows and (self.rate or self.rate_column):
            raise UsageError("--rate is for windows.", remedy="use --fps for the times of frames")
        if self.of_windows and self.fps is None:
            raise UsageError("Windows need --fps, for the times of their frames.", remedy="--fps 25")
        if self.of_windows and (self.time_column or self.state_column or self.score_column or self.frame_column):
            raise UsageError(
                "Columns of times, states, scores and frame numbers are for frames, and these are windows."
            )
        if self.of_windows and self.nan == "no-face":
            raise UsageError("A window has no state: --nan no-face is for frames.", remedy="--nan refuse or --nan zero")

    @property
    def of_windows(self) -> bool:
        """Return whether a row is of a window."""
        return bool(self.window or self.start_column)

    @property
    def one_rate(self) -> float:
        """Return the frames a second that windows looked at, where no column tells it."""
        return float((self.rate or (self.fps or 0.0,))[0])

    def levels(self, num_sources: int) -> tuple[Level, ...]:
        """Return how the rows of each SOURCE lie; none where columns tell it, or rows are of frames."""
        if not self.window:
            return ()
        told = {name: getattr(self, name) or (self.fps,) for name in ("window", "stride", "rate")}
        number = max(map(len, told.values()))
        for name, values in told.items():
            if len(values) not in (1, number):
                raise UsageError(
                    f"--{name} has {len(values)} values, and others have {number}.", remedy="one, or as many"
                )
        if number not in (1, num_sources):
            raise UsageError(
                f"{number} kinds of windows are given, and {counted(num_sources, 'SOURCE')} named: each SOURCE holds one kind.",
                remedy="est cache import W16S4/ W16S8/ --window 16 --stride 4,8 …",
            )
        whole: dict[str, Any] = {name: values * (number // len(values)) for name, values in told.items()}
        return tuple(Level(window=w, stride=s, rate=float(r)) for w, s, r in zip(*whole.values(), strict=True))

    def spec(self, shape: tuple[int, ...]) -> FeatureSpec:
        """Return what a row of the cache is."""
        return FeatureSpec(dtype=self.dtype, shape=shape)
