"""Several processes that learn together, one for each GPU: `torchrun --nproc-per-node 2 -m est train …`.

Every process plans the same epoch, computes its share of each batch, and adds its sums to those of the others. Sums of a GPU's tensors
go over nccl; all else that processes agree on goes over sockets (gloo), whatever the device. Alone, everything here is free, and
torch.distributed is not touched.

A process that dies ends the others: their sockets to it close, and what they do together next raises an error that says how to resume.
On GPUs sums only queue up, so that it is the next `any`, `gather`, `tell` or `wait` that notices. What one process does alone (saving)
is followed by `wait`, so that the others wait on sockets, which are patient, and not inside a sum of the GPU, which is not.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from ...errors import EstError, UsageError
from ..runs.place import Place, read_place

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

BUCKET = 32 << 20  # bytes that are added at once: tensors are small and many, and each sum has its latency
JOINING = timedelta(minutes=10)  # for all processes to come, and for a sum on GPUs
PATIENCE = timedelta(hours=1)  # with one that lives and does something else; one that died is noticed at once


@dataclass(kw_only=True, eq=False)
class World:
    """One process of several that learn together. All of them call the same methods in the same order."""

    rank: int = 0
    size: int = 1
    group: ProcessGroup | None = None  # over sockets

    @property
    def first(self) -> bool:
        """Return whether this is the process that writes and speaks."""
        return self.rank == 0

    def add(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its sum over all processes, which is the same to the last bit on each of them."""
        if self.size > 1:
            for bucket in buckets(tensors):
                self.begin_to_add(bucket)()

    def begin_to_add(self, bucket: Sequence[Tensor]) -> Callable[[], None]:
        """Begin to sum tensors of one type and device; return what waits for the sums and puts them in the tensors' place."""
        import torch.distributed as dist

        flat = torch.cat([tensor.detach().reshape(-1) for tensor in bucket])
        with self._together():
            work = dist.all_reduce(flat, group=None if flat.is_cuda else self.group, async_op=True)

        def finish() -> None:
            with self._together():
                work.wait()
            for tensor, total in zip(bucket, flat.split([tensor.numel() for tensor in bucket]), strict=True):
                tensor.detach().copy_(total.view_as(tensor))

        return finish

    def any(self, flag: bool) -> bool:
        """Return whether any process says so."""
        count = torch.tensor([int(flag)])
        self.add([count])
        return bool(count)

    def gather(self, array: np.ndarray) -> list[np.ndarray]:
        """Return the arrays of all processes, in their order; they may differ in length and hold anything."""
        if self.size == 1:
            return [array]
        import torch.distributed as dist

        found: list[Any] = [None] * self.size
        with self._together():
            dist.all_gather_object(found, array, group=self.group)
        return found

    def tell(self, value: Any) -> Any:
        """Return the first process's value; what the others bring is dropped."""
        if self.size == 1:
            return value
        import torch.distributed as dist

        box = [value if self.first else None]
        with self._together():
            dist.broadcast_object_list(box, src=0, group=self.group)
        return box[0]

    def wait(self) -> None:
        """Wait for all processes."""
        self.any(False)

    @contextmanager
    def _together(self) -> Generator[None]:
        """Convert a failed connection between processes to an error with a remedy."""
        try:
            yield
        except RuntimeError as error:
            if not _is_of_others(error):
                raise
            who = f"a process of {self.size} is gone"
            if "timed out" in str(error).lower():
                who = f"a process of {self.size} did not answer for {PATIENCE.total_seconds() / 60:.0f} minutes"
            raise EstError(
                f"Training in several processes failed: {who}; process {self.rank} stops.",
                remedy="look for the first error above; est train --resume resumes from the last checkpoint",
            ) from error

    def __deepcopy__(self, memo: dict[int, Any]) -> World:
        """Return itself: a copy of a model belongs to the same processes."""
        return self


ALONE = World()


def own_device(device: torch.device) -> torch.device:
    """Return the device of this process: of a machine's GPUs, each process has its own."""
    place = read_place()
    if place is None or device.type == "cpu":
        return device
    if device.type != "cuda":
        raise UsageError(
            f"Training in several processes runs on CUDA or on the CPU, not on {device.type}.",
            remedy="--device cpu, or one process alone",
        )
    count = torch.cuda.device_count()
    if place.local >= count:
        raise UsageError(
            f"Each process needs its own GPU: this is the machine's process {place.local + 1}; GPUs found by torch: {count}.",
            remedy=f"torchrun --nproc-per-node {count}, CUDA_VISIBLE_DEVICES, or --device cpu",
        )
    return torch.device("cuda", place.local)


@contextmanager
def joined(device: torch.device) -> Generator[World]:
    """Join the processes that torchrun started, and leave them at the end of the block; a process alone gets ALONE."""
    place = read_place()
    if place is None:
        yield ALONE
        return
    import torch.distributed as dist

    device = own_device(device)
    on_gpu = device.type == "cuda"
    if on_gpu:
        torch.cuda.set_device(device)
    world = World(rank=place.rank, size=place.size)
    try:
        with _joining(place):
            dist.init_process_group(
                "nccl" if on_gpu else "gloo",
                rank=place.rank,
                world_size=place.size,
                timeout=JOINING,
                device_id=device if on_gpu else None,
            )
            world.group = _sockets()
        world.wait()  # all have joined: a process that is lost from here on has died
        yield world
    except BaseException:
        if world.group is not None:
            dist.destroy_process_group(world.group)
        world.group = None  # sockets close with the last who holds them, and from that the others learn
        if on_gpu and dist.group.WORLD is not None:
            dist.group.WORLD.abort()  # sums that wait for a process that has died
        raise
    finally:
        world.group = None
        if dist.is_initialized():
            dist.destroy_process_group()


def _sockets() -> ProcessGroup:
    """Connect all processes by sockets."""
    import torch.distributed as dist

    group = dist.new_group(backend="gloo", timeout=PATIENCE)
    assert isinstance(group, dist.ProcessGroup), "all are members"
    return group


@contextmanager
def _joining(place: Place) -> Generator[None]:
    """Return where the others were looked for, when they are not found."""
    try:
        yield
    except RuntimeError as error:
        if not _is_of_others(error):
            raise
        where = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
        reason = str(error).partition("\n")[0]
        raise EstError(
            f"Process {place.rank} of {place.size} cannot join the others at {where}: {reason}",
            remedy="start all of them, with the same MASTER_ADDR and a MASTER_PORT that is free; torchrun does both",
        ) from error


def _is_of_others(error: RuntimeError) -> bool:
    """Return whether a process failed to reach another one; gloo gives its errors no class of their own, but its name."""
    from torch.distributed import DistError

    return isinstance(error, DistError) or "gloo" in str(error)


def buckets(tensors: Iterable[Tensor], size: int = BUCKET) -> Generator[list[Tensor]]:
    """Group tensors of one type and device, in their order, to at most so many bytes; a larger one is alone."""
    kinds: dict[tuple[torch.dtype, torch.device], list[Tensor]] = {}
    for tensor in tensors:
        kinds.setdefault((tensor.dtype, tensor.device), []).append(tensor)
    for alike in kinds.values():
        bucket: list[Tensor] = []
        for tensor in alike:
            if bucket and sum(other.nbytes for other in bucket) + tensor.nbytes > size:
                yield bucket
                bucket = []
            bucket.append(tensor)
        yield bucket


class GradientSums:
    """Adds the gradients of some parameters over all processes while the backward pass still runs. Alone it does nothing.

    A bucket is begun as soon as its last gradient is there. Buckets are begun in one order on all processes, that in which the last
    layers come first, so that sums always meet their own. Which parameters get a gradient is seen in a step; where that changes (a
    backbone that learns from a later epoch on), what is not under way is added at the end, and new buckets are made. Every gradient is
    added exactly once, and the sums are those that `World.add` finds.
    """

    def __init__(self, world: World, parameters: Sequence[nn.Parameter], *, early: bool = True) -> None:
        self._world, self._parameters = world, parameters
        self._active = False
        self._buckets: list[list[Tensor]] = []  # of parameters that got a gradient in the step before
        self._bucket_of: dict[Tensor, int] = {}
        self._missing: list[int] = []  # gradients of each bucket that have not come in this step
        self._under_way: list[Callable[[], None]] = []  # of the first buckets; each waits for its sums
        self._early = early and world.size > 1
        self._watched = [one for one in parameters if one.requires_grad] if self._early else []
        for parameter in self._watched:
            parameter.register_post_accumulate_grad_hook(self._take)

    @contextmanager
    def during_last_backward(self) -> Generator[None]:
        """Let gradients of this block be added as they come: they are whole then."""
        self._active, self._missing = self._early, [len(bucket) for bucket in self._buckets]
        try:
            yield
        finally:
            self._active = False

    def finish(self, others: Sequence[Tensor]) -> None:
        """Add what is not under way, and other tensors; wait for all sums."""
        if self._world.size == 1:
            return
        begun = {parameter for bucket in self._buckets[: len(self._under_way)] for parameter in bucket}
        rest = [one.grad for one in self._parameters if one.grad is not None and one not in begun]
        for wait in self._under_way:
            wait()
        self._under_way.clear()
        self._world.add([*rest, *others])
        if rest and self._early:
            self._buckets = list(buckets(one for one in reversed(self._watched) if one.grad is not None))
            self._bucket_of = {parameter: place for place, bucket in enumerate(self._buckets) for parameter in bucket}

    def _take(self, parameter: Tensor) -> None:
        """Note that a gradient is whole, and begin to add all buckets that are."""
        if not self._active or parameter not in self._bucket_of:
            return
        self._missing[self._bucket_of[parameter]] -= 1
        while (place := len(self._under_way)) < len(self._buckets) and not self._missing[place]:
            gradients = [one.grad for one in self._buckets[place]]
            self._under_way.append(self._world.begin_to_add([one for one in gradients if one is not None]))
