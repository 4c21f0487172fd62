"""The settings of the long short-term memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..contract import Architecture, Training
from ..gru.config import Config as GruConfig


@dataclass(frozen=True, kw_only=True)
class Config(GruConfig):
    """What `build` builds: the settings are the GRU's."""

    name: ClassVar[str] = "lstm"
    title: ClassVar[str] = "LSTM"
    source: ClassVar[str] = "a baseline of Liu et al., Pattern Recognition 2023"
    architecture: ClassVar[Architecture] = "reconstruction"
    published_training: ClassVar[Training] = "end to end"
