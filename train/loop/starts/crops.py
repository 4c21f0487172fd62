"""Where a model of crops starts: random numbers, or published weights of its own architecture, for all but its classifier."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from ....encoders.weights import RANDOM
from ....errors import UsageError
from ...config.config import TrainConfig
from ...models.model import Model
from ...models.registry import load_published


@dataclass(frozen=True, kw_only=True, eq=False)
class CropStart:
    """What a model of crops begins with."""

    name: str
    side: int  # of crops
    digest: str = ""
    licence: str = ""
    tensors: dict[str, Tensor] = field(default_factory=dict)
    init: None = None

    def report(self) -> list[str]:
        """Say it, with the licence."""
        if not self.tensors:
            return [f"weights {self.name}"]
        return [f"weights {self.name}: {len(self.tensors)} tensors", f"licence of the weights: {self.licence}"]

    def to_json(self) -> dict[str, Any]:
        """Return what run.json holds."""
        return {
            "width": self.shape[0],
            "maps": list(self.shape[1:]),
            "weights": self.name,
            "digest": self.digest,
            "licence": self.licence,
            "trained_on": None,
            "init": None,
        }

    def encoder_facts(self) -> dict[str, str]:
        """Return what an encoder is built from again: there is none."""
        return {}

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape of a crop: channels, height, width."""
        return (3, self.side, self.side)

    def expect_labels(self, labels: tuple[str, ...]) -> None:
        """Refuse other classes: no weights of a classifier are taken."""

    def enter(self, model: Model) -> None:
        """Bring the weights into a model."""
        own = model.state_dict()
        other = [name for name, tensor in self.tensors.items() if name not in own or own[name].shape != tensor.shape]
        if other:
            raise UsageError(
                f"The weights {self.name} are of other sizes than this {model.config.title}: {other[0]} for one.",
                remedy="its default sizes, or --weights random",
            )
        model.load_state_dict(own | self.tensors)


def find_crop_start(config: TrainConfig, side: int) -> CropStart:
    """Load the weights that are asked for."""
    name, known = config.finetune.weights or RANDOM, (RANDOM, *config.model.published_weights)
    if name not in known:
        raise UsageError(
            f"{config.model.name} starts from {' or '.join(known)}, found --weights {name}.",
            remedy=f"--weights {known[-1]}",
        )
    if name == RANDOM:
        return CropStart(name=name, side=side)
    found = load_published(name)
    return CropStart(name=name, side=side, digest=found.digest, licence=found.licence, tensors=found.tensors)
