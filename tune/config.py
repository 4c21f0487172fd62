"""What the user decides about an encoder that learns on single frames."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from ..encoders.precision import DTYPES
from ..errors import UsageError, expect_choice, expect_values

Apex = Literal["auto", "uniform", "middle", "late", "end"]
ELSEWHERE = (
    "weights",
    "normalize",
    "allow_leak",
    "device",
    "workers",
)  # said by the weights themselves, or no part of the result

LATER = {"together": 1, "average": 0.0}  # settings that earlier releases had not, and what they did


@dataclass(frozen=True, kw_only=True)
class TuneConfig:
    """How it learns, and from which start."""

    weights: str = ""  # of the start; empty: those of the cache's features, and imagenet for images
    normalize: str = ""  # of pixels, where a file of weights does not say it
    epochs: int = 12
    batch: int = 32  # frames in a step
    learning_rate: float = 1e-3  # of the head, the highest
    rate: float = 0.3  # of the encoder, in learning rates of the head
    warmup: float = 0.1  # share of the steps in which the rate rises
    weight_decay: float = 0.01
    label_smoothing: float = 0.1
    average: float = (
        0.0  # how much of itself the running mean of the weights keeps at a step; it is what is kept. 0 is off
    )
    batch_norm: Literal["train", "frozen"] = "train"  # of the encoder
    balanced: bool = True  # every class is drawn equally often
    frames_per_clip: int = 8  # drawn of a clip in an epoch; with `balanced` on average
    together: int = 4  # frames of a clip whose mean answer learns its label: one frame alone may not show it
    apex: Apex = "auto"  # where in a clip its expression is strongest: frames there are drawn more often
    mirrored: bool = True  # half of the pictures
    shift: float = 0.06  # up to this share of the side
    zoom: float = 0.1  # up to this share, in or out
    brightness: float = 0.25  # up to this share, lighter or darker
    occlusion: float = 0.25  # half of the pictures lose a square of up to this share of the side
    select: Literal["val", "last"] = "val"  # the best epoch on an inner part of the clips, or the last
    val_share: float = 0.15
    by: Literal["subject", "clip"] = "subject"  # what the inner part does not divide
    size: int = 224  # side of images; crops have that of their cache
    precision: str = "auto"
    device: str = "auto"
    threads: int = 0  # of the processor; 0: torch's own number
    workers: int = 0  # threads that decode; 0: the cores
    seed: int = 3456  # as est train has it: the same folds are assigned
    allow_leak: bool = False  # of the validation and test clips into the start

    def __post_init__(self) -> None:
        expect_values(
            self,
            "tune.",
            epochs=(1, 100_000),
            batch=(2, 1_000_000),
            rate=(0, 1000),
            warmup=(0, 1),
            weight_decay=(0, 100),
            label_smoothing=(0, 0.9),
            frames_per_clip=(1, 1_000_000),
            together=(1, 1000),
            average=(0, 0.99999),
            shift=(0, 0.5),
            zoom=(0, 0.5),
            brightness=(0, 0.9),
            occlusion=(0, 0.9),
            val_share=(0.01, 0.9),
            size=(16, 2048),
            threads=(0, 4096),
            workers=(0, 1024),
            seed=(0, 2**63),
        )
        expect_choice("tune.precision", self.precision, ("auto", *DTYPES))
        if not 0 < self.learning_rate < float("inf"):
            raise UsageError(
                f"tune.learning_rate is above 0, found {self.learning_rate:g}.",
                remedy=f"--lr {TuneConfig.learning_rate:g}",
            )

    @property
    def augments(self) -> bool:
        """Return whether pictures are moved, scaled or lit differently each time."""
        return max(self.shift, self.zoom, self.brightness) > 0

    def settings(self) -> dict[str, Any]:
        """Return what the outcome follows from, beside the start and the data."""
        found = {name: value for name, value in asdict(self).items() if name not in ELSEWHERE}
        for name, off in LATER.items():
            if found[name] == off:
                del found[name]
        return found
