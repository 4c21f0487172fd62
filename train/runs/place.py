"""Which of several processes this one is: what torchrun says in the environment."""

from __future__ import annotations

import os
from dataclasses import dataclass

from ...errors import UsageError

VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")


@dataclass(frozen=True, kw_only=True)
class Place:
    """Which process of how many this one is, by what torchrun sets."""

    rank: int
    size: int
    local: int  # among those of this machine


def read_place() -> Place | None:
    """Read torchrun's variables; none where they are not set, or say that this process is alone."""
    found = {name: os.environ.get(name, "") for name in VARIABLES}
    if not (found["RANK"] or found["WORLD_SIZE"]) or found["WORLD_SIZE"] == "1":
        return None
    remedy = "torchrun --nproc-per-node 2 -m est train … sets them all; unset RANK WORLD_SIZE to train in one process"
    missing = [name for name in VARIABLES if not found[name]]
    if missing:
        there = " and ".join(f"{name}={found[name]}" for name in ("RANK", "WORLD_SIZE") if found[name])
        raise UsageError(
            f"{there} in the environment: training in several processes needs {', '.join(missing)}, not set there.",
            remedy=remedy,
        )
    rank, size, local, port = (_number(name, found[name], remedy) for name in VARIABLES if name != "MASTER_ADDR")
    if not (rank < size and local < size and 0 < port < 1 << 16):
        shown = ", ".join(f"{name}={found[name]}" for name in VARIABLES)
        raise UsageError(
            f"RANK and LOCAL_RANK are below WORLD_SIZE, and MASTER_PORT is 1 to 65535; found {shown}.", remedy=remedy
        )
    return Place(rank=rank, size=size, local=local)


def is_first() -> bool:
    """Return whether this process is the first of those that torchrun started, or alone."""
    place = read_place()
    return place is None or place.rank == 0


def _number(name: str, text: str, remedy: str) -> int:
    """Read a variable of the environment that is a whole number from 0."""
    if not (text.isascii() and text.isdigit()):
        raise UsageError(f"{name} in the environment is a whole number from 0, found {text!r}.", remedy=remedy)
    return int(text)
