"""Decode ∥ detect ∥ encode: the stages that turn inputs into rows, batched across inputs, on the processes and devices of this machine.

Clip workers decode and crop; device workers detect and encode. Inputs end in any order; the pipeline brings them into theirs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from ...cache.schema import FeatureSpec
from ..config import CLIPS_AHEAD, ExtractConfig
from .batcher import Batcher, Item
from .device_worker import DeviceWorker, Encoding
from .messages import (
    BLOCKS_UNDER_WAY,
    Crops,
    DetectRequest,
    Failed,
    Finished,
    Found,
    FromWorker,
    Recrop,
    Recropped,
    Taken,
    Work,
)
from .row_buffer import RowBuffer
from .worker_pool import Worker, WorkerPool

DETECT_WAIT, IDLE_WAIT = 0.01, 0.1  # seconds


@dataclass(eq=False)
class Request:
    """A block that a worker waits to see answered: when all its pictures have their results."""

    worker: Worker
    index: int
    frames: list[int]
    results: list[Any]
    missing: int


@dataclass(eq=False)
class InHand:
    """An input on its way: what the worker said, and the rows that came back."""

    rows: RowBuffer
    finished: Finished | Recropped | None = None
    missing: int = 0  # crops that have no rows yet


class Stages(Protocol):
    """What turns inputs into rows: this machine, or others. All calls come from one thread."""

    @property
    def ahead(self) -> int:
        """Count the inputs that may be started before the oldest unfinished one has ended."""
        ...

    @property
    def full(self) -> Mapping[str, int]:
        """Return how much each stage takes at once."""
        ...

    @property
    def seconds(self) -> Mapping[str, float]:
        """Return how long the stages were busy."""
        ...

    @property
    def begun(self) -> float | None:
        """Return when the first news of a worker came: until then they start."""
        ...

    @property
    def has_room(self) -> bool:
        """Return whether one more input can be begun at once."""
        ...

    @property
    def queues(self) -> Mapping[str, int]:
        """Count what waits for each stage."""
        ...

    @property
    def busy(self) -> float:
        """Return the share of the devices that is at work."""
        ...

    @property
    def is_decoding(self) -> bool:
        """Return whether an input is being decoded."""
        ...

    def begin(self, job: Work | Recrop) -> None:
        """Take an input."""
        ...

    def advance(self) -> dict[int, InHand | Failed]:
        """Go a step on, waiting a moment where there is nothing to do; return the inputs that have ended, by index."""
        ...

    def close(self) -> None:
        """End at once; what is in hand is given up."""
        ...


class LocalStages:
    """The stages on this machine."""

    ahead = CLIPS_AHEAD

    def __init__(
        self,
        specs: Mapping[str, FeatureSpec],
        device_workers: list[DeviceWorker],
        config: ExtractConfig,
        workers: int,
        encoding: Callable[[Crops], Encoding],
    ) -> None:
        """Start the clip workers; `encoding` says what a device worker is to make of crops."""
        self._specs = specs
        self._device_workers = device_workers
        self._encoding = encoding
        self._to_detect = Batcher(device_workers[0].detect_batch)
        self._crops = Batcher(device_workers[0].crop_batch)
        self._running: dict[Future[Any], tuple[DeviceWorker, list[Item]]] = {}
        self._in_hand: dict[int, InHand] = {}
        self._ended: dict[int, InHand | Failed] = {}
        self._pool = WorkerPool(workers, config, device_workers[0].crop_batch)
        self._urgent = 0  # requests that a worker does nothing but wait for
        count = len(device_workers)
        self.full = {"detect": self._to_detect.capacity * count, "encode": self._crops.capacity * count}
        self.seconds = {"decode": 0.0, "crop": 0.0}
        self.begun: float | None = None

    @property
    def has_room(self) -> bool:
        """Return whether a worker is idle."""
        return bool(self._pool.idle())

    @property
    def queues(self) -> Mapping[str, int]:
        """Count the pictures that wait for each stage."""
        return {"detect": len(self._to_detect), "encode": len(self._crops)}

    @property
    def busy(self) -> float:
        """Return the share of the devices that is at work."""
        return len(self._running) / len(self._device_workers)

    @property
    def is_decoding(self) -> bool:
        """Return whether a worker has an input."""
        return any(worker.busy is not None for worker in self._pool.workers)

    def begin(self, job: Work | Recrop) -> None:
        """Give an idle worker an input."""
        self._in_hand[job.index] = InHand(rows=RowBuffer(self._specs))
        self._pool.give(self._pool.idle()[0], job)

    def advance(self) -> dict[int, InHand | Failed]:
        """Hear the workers, give batches to idle devices, and take their results."""
        heard = self._pool.listen(0 if self._idle_device_has_work() else DETECT_WAIT if self._running else IDLE_WAIT)
        if heard and self.begun is None:
            self.begun = time.monotonic()
        for worker, message in heard:
            self._take(worker, message)
        self._dispatch(partial=not heard)
        self._collect()
        ended, self._ended = self._ended, {}
        return ended

    def close(self) -> None:
        """End the workers."""
        self._pool.close()

    def _idle_device_has_work(self) -> bool:
        """Return whether there is work that a device worker could begin at once."""
        free = len(self._running) < len(self._device_workers)
        return free and (
            self._to_detect.is_ready or self._crops.is_ready or (len(self._crops) > 0 and self._must_flush())
        )

    def _take(self, worker: Worker, message: FromWorker) -> None:
        match message:
            case DetectRequest() | Crops():
                self._take_pictures(worker, message)
            case Finished() | Recropped():
                worker.busy = None
                clip = self._in_hand[message.index]
                clip.finished = message
                for name, seconds in message.seconds.items():
                    if name in self.seconds:
                        self.seconds[name] += seconds
                self._end_if_whole(message.index)
            case Failed():
                worker.busy = None
                self._in_hand.pop(message.index, None)
                self._to_detect.drop(message.index)
                self._crops.drop(message.index)
                self._ended[message.index] = message

    def _take_pictures(self, worker: Worker, message: DetectRequest | Crops) -> None:
        pictures = message.pictures.take()
        numbers = message.frames if isinstance(message, DetectRequest) else message.rows
        request = Request(worker, message.index, numbers, [None] * len(numbers), len(numbers))
        worker.owed += 1
        batcher, way = (
            (self._to_detect, None) if isinstance(message, DetectRequest) else (self._crops, self._encoding(message))
        )
        self._urgent += isinstance(message, DetectRequest) and message.last
        if isinstance(message, Crops):
            self._in_hand[message.index].missing += len(numbers)
        for place, picture in enumerate(pictures):
            batcher.add(message.index, picture, (message, request, place), way)

    def _dispatch(self, *, partial: bool) -> None:
        """Give idle device workers a batch, detection first: clip workers wait for it. Partial ones only when nothing else is there."""
        free = [
            device_worker
            for device_worker in self._device_workers
            if all(device_worker is not busy for busy, _ in self._running.values())
        ]
        for device_worker in free:
            batch, kind = self._to_detect.take(partial=self._urgent > 0), "detect"
            if not batch:
                batch, kind = self._crops.take(partial=partial and self._must_flush()), "encode"
            if not batch and partial:
                batch, kind = self._to_detect.take(partial=True), "detect"
            if not batch:
                return
            pictures = np.stack([item.picture for item in batch])
            future: Future[Any] = (
                device_worker.detect(pictures) if kind == "detect" else device_worker.encode(pictures, batch[0].way)
            )
            self._running[future] = (device_worker, batch)

    def _must_flush(self) -> bool:
        """Return whether waiting for a full batch of crops would last for ever: no worker can send more until some are encoded."""
        blocked = all(worker.busy is None or worker.owed >= BLOCKS_UNDER_WAY for worker in self._pool.workers)
        return blocked and not self._running and not len(self._to_detect)

    def _collect(self) -> None:
        """Take the results that are there."""
        if not self._running:
            return
        timeout = 0 if len(self._running) < len(self._device_workers) else DETECT_WAIT
        done, _ = wait(self._running, timeout, FIRST_COMPLETED)
        for future in done:
            _, batch = self._running.pop(future)
            results = future.result()
            for place, item in enumerate(batch):
                self._place(item, results, place)

    def _place(self, item: Item, results: Any, place: int) -> None:
        message, request, position = item.place
        if isinstance(message, DetectRequest):
            request.results[position] = results[place].scaled(1 / message.scale[0], 1 / message.scale[1])
        elif item.clip in self._in_hand:
            clip = self._in_hand[item.clip]
            clip.rows.put(message.track, message.rows[position], results, place)
            clip.missing -= 1
            self._end_if_whole(item.clip)
        request.missing -= 1
        if request.missing == 0:
            self._urgent -= isinstance(message, DetectRequest) and message.last
            request.worker.owed -= 1
            request.worker.heard = time.monotonic()
            answer = (
                Found(index=request.index, frames=request.frames, detections=request.results)
                if isinstance(message, DetectRequest)
                else Taken(index=request.index)
            )
            self._pool.tell(request.worker, answer)

    def _end_if_whole(self, index: int) -> None:
        clip = self._in_hand[index]
        if clip.finished is not None and clip.missing == 0:
            self._ended[index] = self._in_hand.pop(index)
