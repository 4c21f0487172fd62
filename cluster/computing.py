"""What computes rows where that is left to the machine: the first shard that begins chooses, and all others take the same.

`--precision auto` would be bf16 on one machine and fp32 on another, and their shards could not be merged.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ..encoders.device import parse_device
from ..extract.begun import computation_for
from ..extract.config import ExtractConfig
from .place import Place, named, read_json, write_json


def agreed(place: Place, number: int, config: ExtractConfig) -> ExtractConfig:
    """Return settings in which precision and engine are those of the shard that began first."""
    if not config.encoded or "auto" not in (config.precision, config.engine):
        return config
    devices = [parse_device(text) for text in config.device.split(",")]

    def choose() -> dict[str, str]:
        chosen = computation_for(config, None, devices)
        return {"precision": chosen.precision, "engine": chosen.engine}

    first = of_first(place, number, choose)
    if config.precision == "auto":
        config = replace(config, precision=first["precision"])
    if config.engine == "auto" and computation_for(config, None, devices).engine != first["engine"]:
        config = replace(config, engine=first["engine"])
    return config


def of_first(place: Place, number: int, choose: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return what the part that began first has chosen."""
    path, own = place.folder / "computation.json", place.folder / f"computation.{named(number)}"
    if not path.exists():
        write_json(own, choose())
        try:
            os.link(own, path)  # of several parts that begin at once one is first
        except FileExistsError:
            pass
        finally:
            own.unlink()
    return read_json(path)
