"""How many decode-and-encode actors a cluster holds, and what each of them reserves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...errors import EstError, UsageError, counted, some


@dataclass(frozen=True, kw_only=True)
class Node:
    """A machine of the cluster, with all that it has, taken or not."""

    name: str
    cpus: float
    gpus: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Actors, and the GPUs and processors of each; a processor decodes one clip."""

    actors: int
    num_gpus: float
    num_cpus: int

    @property
    def device(self) -> str:
        """Return the device of every actor: Ray shows it its own GPU alone."""
        return "cuda" if self.num_gpus else "cpu"

    def line(self) -> str:
        """Say it."""
        gpus = f" and {self.num_gpus:g} GPU" if self.num_gpus else ""
        return f"{counted(self.actors, 'actor')} on Ray, each with {counted(self.num_cpus, 'processor')}{gpus}"


def sizes_for(
    nodes: Sequence[Node], *, device: str, actors: int | None, num_gpus: float | None, workers: int | None
) -> Sizes:
    """Fit actors into the cluster, or say what it lacks.

    Without a number of GPUs each actor has one where there are any; without a number of actors there are as many as GPUs, or one a node.
    `workers` are the decoding processes of an actor; without them an actor takes its share of the processors.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise UsageError(
            f"Ray gives each actor its GPU; --device {device} names one of this machine.", remedy="--device cuda"
        )
    if actors is not None and actors < 1:
        raise UsageError(f"--actors is at least 1, found {actors}.", remedy="leave out --actors")
    if num_gpus is not None and not 0 <= num_gpus <= 1:
        raise UsageError(
            f"--num-gpus is what one actor takes, from 0 to 1; found {num_gpus:g}.",
            remedy="--num-gpus 1 and more --actors",
        )
    if num_gpus is None:
        num_gpus = 1.0 if device == "cuda" or (device == "auto" and any(node.gpus >= 1 for node in nodes)) else 0.0
    if (device == "cpu" and num_gpus) or (device == "cuda" and not num_gpus):
        raise UsageError(f"--device {device} does not go with --num-gpus {num_gpus:g}.", remedy="leave out one of them")
    most = [_most_on(node, num_gpus, workers) for node in nodes]
    if sum(most) < (actors or 1):
        raise _too_small(nodes, sum(most), actors or 1, num_gpus, workers)
    if workers is None:
        used = actors if actors is not None else sum(most) if num_gpus else sum(map(bool, most))
        workers = _share(nodes, used, num_gpus)
        most = [_most_on(node, num_gpus, workers) for node in nodes]
    return Sizes(actors=actors or sum(most), num_gpus=num_gpus, num_cpus=workers)


def _most_on(node: Node, num_gpus: float, workers: int | None) -> int:
    """Count the actors that find room on a node."""
    by_cpus = int(node.cpus // (workers or 1))
    return min(by_cpus, int(node.gpus / num_gpus + 1e-9)) if num_gpus else by_cpus


def _share(nodes: Sequence[Node], actors: int, num_gpus: float) -> int:
    """Return the largest number of processors that so many actors can have each."""
    largest = int(max(node.cpus for node in nodes))
    return next(
        cpus for cpus in range(largest, 0, -1) if sum(_most_on(node, num_gpus, cpus) for node in nodes) >= actors
    )


def _too_small(nodes: Sequence[Node], most: int, actors: int, num_gpus: float, workers: int | None) -> EstError:
    each = (
        f"{num_gpus:g} GPU and {counted(workers or 1, 'processor')}" if num_gpus else counted(workers or 1, "processor")
    )
    there = [f"{node.name} {node.cpus:g} processors, {node.gpus:g} GPUs" for node in nodes]
    remedy = "add nodes to the cluster"
    if most:
        remedy = f"--actors {most}; or {remedy}"
    elif num_gpus and not any(node.gpus for node in nodes):
        remedy = f"--num-gpus 0, which computes on processors; or {remedy}"
    elif (workers or 1) > 1:
        remedy = f"fewer --workers; or {remedy}"
    return EstError(
        f"{counted(actors, 'actor')} with {each} each do not fit: the cluster has room for {most} ({some(there, 5)}).",
        remedy=remedy,
    )
