"""What every model states about itself. This half is about settings and imports no torch.

A model's settings are a frozen dataclass: the section [model] of a run is read by it, `--set model.KEY` reaches its fields, and a field
made by `flag` is an option of `est train`, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Any, ClassVar

CLASSES = "expression"  # the loss of the classes, which every model has; history and curves know it by this name
MANY = (1, inf)  # ranges of settings: a number of something,
SHARE = (0, 0.999)  # and a share that leaves something


@dataclass(frozen=True, kw_only=True)
class Snippets:
    """Which frames of a clip a model is shown: so many snippets, each of so many frames."""

    count: int
    frames: int


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The settings of a model."""

    name: ClassVar[str]  # the folder's, and the registry's
    title: ClassVar[str]  # in tables: EST
    frozen_note: ClassVar[str] = ""  # what to say where the backbone does not learn
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}  # what a preset of `est train` sets in this section

    @property
    def shown(self) -> Snippets:
        """Return which frames of a clip the model is shown."""
        raise NotImplementedError

    @property
    def reads(self) -> str:
        """Return the array of maps that the model reads, such as layer3; empty: the flat feature of `data.feature`."""
        return ""

    @property
    def shuffles(self) -> bool:
        """Say whether clips can be shown to it shuffled (`est evaluate --shuffle-test`)."""
        return False

    @property
    def questions(self) -> Mapping[str, str]:
        """Return the further questions that it answers besides the class, by name, in words for a page; shuffled clips are asked."""
        return {}

    def expect_together(self, clips: int, *, batch: int, parts: int) -> None:
        """Refuse so few clips at a time that the model cannot learn from them; `batch` clips are taken in so many parts."""


def flag(default: Any, name: str, text: str) -> Any:
    """Return a field that is an option of `est train`: its name ("--ssop/--no-ssop" for a switch) and help; its default says its type."""
    assert default is not None, f"{name} needs a default, which says its type"
    return field(default=default, metadata={"flag": name, "help": text, "kind": type(default)})
