"""Where classes that are vectors come from: a file of a vector for each class, such as a text encoder's of their names.

The file is .safetensors or .npz. An array is named by its class, and is the vector (E,) or those of several prompts (P, E), whose
directions are averaged. Classes are found by name, in whatever order, also where they are spelt otherwise (happy, happiness); classes that
the run does not have are left alone. `projection` (D, E) is the linear map from features to where the vectors lie, of a picture encoder
that was trained with the texts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ....cache.arrayfile import UNREADABLE
from ....errors import UsageError, brief, some
from ...folds.labels import canonical
from ...models.class_vectors import WithClassVectors
from ...models.contract import ClassFile
from ...models.model import Model

PROJECTION = "projection"
FORM = "a .safetensors or .npz file with a vector for each class, named by it"


@dataclass(frozen=True, kw_only=True, eq=False)
class ClassVectors:
    """The vectors of a file, and those of a run's classes once these are known."""

    path: Path
    digest: str  # of the file
    vectors: Mapping[str, Tensor]  # name → (E,), of length 1
    projection: Tensor | None  # (D, E)
    chosen: Tensor | None = None  # (C, E), of the run's classes in their order
    width: int = 0  # D, of the run's features
    init: None = None
    shape: tuple[int, ...] = ()

    @classmethod
    def read(cls, file: ClassFile) -> Self:
        """Read a file whose vectors are as wide as a model compares them, or say what is wrong with it."""
        arrays, digest = _read(file.path)
        projection = arrays.pop(PROJECTION, None)
        if not arrays:
            raise UsageError(f"{file.path} has no vector of any class.", remedy=FORM)
        found = {name: _mean_direction(array, name, file.path) for name, array in sorted(arrays.items())}
        widths = {name: len(vector) for name, vector in found.items()}
        first, width = next(iter(widths.items()))
        if other := next((name for name in widths if widths[name] != width), ""):
            raise UsageError(
                f"{file.path}: the vector of {first!r} has {width} numbers, and that of {other!r} has {widths[other]}.",
                remedy="vectors of one text encoder",
            )
        if width != file.width:
            raise UsageError(
                f"The class vectors of {file.path} have {width} numbers, and the model compares {file.width}.",
                remedy=f"--set model.dim={width}",
            )
        if projection is not None and (projection.ndim != 2 or projection.shape[1] != width):
            raise UsageError(
                f"{PROJECTION} of {file.path} is a matrix from features to {width} numbers, (features, {width}); "
                f"found {tuple(projection.shape)}.",
                remedy="the transposed matrix, or the file without it",
            )
        return cls(path=file.path, digest=digest, vectors=found, projection=projection)

    def of_run(self, labels: tuple[str, ...], width: int) -> Self:
        """Choose the vectors of a run's classes, on features of a width."""
        place: dict[str, str] = {}
        for name in self.vectors:
            if (earlier := place.setdefault(canonical(name), name)) != name:
                raise UsageError(
                    f"{self.path} has two vectors of one class, {earlier!r} and {name!r}.", remedy="remove one"
                )
        if missing := [name for name in labels if canonical(name) not in place]:
            raise UsageError(
                f"{self.path} has no vector of {some(map(repr, missing))}; it has {some(map(repr, self.vectors))}.",
                remedy="a vector for each class of the run, named as est cache info names them",
            )
        if self.projection is not None and len(self.projection) != width:
            raise UsageError(
                f"{PROJECTION} of {self.path} is of features of {len(self.projection)} numbers, and those here have {width}.",
                remedy="the projection of the encoder that made the features, or the file without it",
            )
        chosen = torch.stack([self.vectors[place[canonical(name)]] for name in labels])
        return replace(self, chosen=chosen, width=width)

    def report(self) -> list[str]:
        """Return what is taken from the file."""
        assert self.chosen is not None
        others = len(self.vectors) - len(self.chosen)
        more = f" ({others} more in the file)" if others else ""
        count, width = self.chosen.shape
        if self.projection is not None:
            begins = "as the file has it"
        elif self.width == width:
            begins = "as the identity: features as wide as the vectors are taken to lie where these do"
        else:
            begins = f"at random: the file has no {PROJECTION}"
        return [
            f"classes: {count} vectors of {width} numbers from {self.path}, which are not trained{more}",
            f"the map from features to where they lie begins {begins}",
        ]

    def to_json(self) -> dict[str, Any]:
        """Return what run.json holds."""
        return {"weights": self.path.name, "digest": self.digest, "trained_on": None, "init": None}

    def encoder_facts(self) -> dict[str, str]:
        """Return what an encoder is built from again: there is none."""
        return {}

    def enter(self, model: Model) -> None:
        """Bring the vectors into a model."""
        assert isinstance(model, WithClassVectors)
        assert self.chosen is not None
        model.begin_with(self.chosen, self.projection)


def _read(path: Path) -> tuple[dict[str, Tensor], str]:
    """Return the arrays of a file and its digest."""
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()[:32]
        if path.suffix == ".safetensors":
            return {name: tensor.float() for name, tensor in load_file(path).items()}, digest
        if path.suffix == ".npz":
            with open(path, "rb") as held, np.load(held, allow_pickle=False) as arrays:
                return {name: torch.from_numpy(arrays[name].astype(np.float32)) for name in arrays.files}, digest
    except OSError as error:
        raise UsageError(f"The class vectors {path} cannot be read ({error.strerror}).", remedy=FORM) from error
    except (SafetensorError, *UNREADABLE) as error:
        raise UsageError(f"The class vectors {path} cannot be read: {brief(error)}.", remedy=FORM) from error
    raise UsageError(f"Class vectors are a .safetensors or .npz file, found {path}.", remedy=FORM)


def _mean_direction(array: Tensor, name: str, path: Path) -> Tensor:
    """Return the direction of a vector, or the mean of those of several prompts.  # (E,) or (P, E) → (E,)"""
    if array.ndim not in (1, 2) or not array.numel():
        raise UsageError(
            f"{path}: {name!r} is one vector, or some below each other; found an array of {tuple(array.shape)}.",
            remedy=FORM,
        )
    rows = array if array.ndim == 2 else array[None]
    length = rows.norm(dim=1, keepdim=True)
    if not rows.isfinite().all() or not length.all():
        raise UsageError(f"{path}: the vector of {name!r} has no direction: NaN, or all zeros.", remedy=FORM)
    mean = (rows / length).mean(0)
    return mean / mean.norm()
