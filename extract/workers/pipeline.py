"""Stage one: inputs → rows. Decode ∥ detect ∥ encode ∥ write, batched across inputs; what is written, and where, subclasses say.

Clip workers decode and crop; device workers detect and encode; one thread writes. Inputs are written in their order, and at most 64 finish
ahead of the oldest unfinished one, so the same inputs give the same bytes whatever finishes first and however often it is interrupted.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...cache import Failure
from ...cache.interrupt import Stop
from ...cache.schema import FeatureSpec
from ...cache.watch import Progress, Watch
from ...inputs.input import Input
from ..config import CLIPS_AHEAD, ExtractConfig
from .batcher import Batcher, Item
from .bottleneck import Bottleneck
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
PROGRESS_SECONDS = 0.25
TO_WRITE = 4  # ended inputs that the writing thread is behind, from which on the others wait for the disk


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


class Pipeline:
    """One run over a list of inputs."""

    stage = ""  # progress says so, where it is not the extraction of new videos

    def __init__(
        self,
        inputs: Sequence[Input],
        specs: Mapping[str, FeatureSpec],
        device_workers: list[DeviceWorker],
        config: ExtractConfig,
        workers: int,
        stop: Stop,
    ) -> None:
        self._inputs = inputs
        self._specs = specs  # of the arrays that are computed
        self._device_workers = device_workers
        self._config = config
        self._to_detect = Batcher(device_workers[0].detect_batch)
        self._crops = Batcher(device_workers[0].crop_batch)
        self._running: dict[Future[Any], tuple[DeviceWorker, list[Item]]] = {}
        self._in_hand: dict[int, InHand] = {}
        self._ended: dict[int, InHand | Failed] = {}  # finished ahead of an older one
        self._next = 0  # to be started
        self._oldest = 0  # not written yet
        self._pool = WorkerPool(0 if stop.wanted else min(workers, len(inputs)), config, device_workers[0].crop_batch)
        self._writing = ThreadPoolExecutor(1, thread_name_prefix="est-writer")
        self._written: list[Future[None]] = []
        self._begun: float | None = None  # when the first picture came: until then workers start
        count = len(device_workers)
        full = {"detect": self._to_detect.capacity * count, "encode": self._crops.capacity * count, "write": TO_WRITE}
        self._bottleneck = Bottleneck(full)
        self._urgent = 0  # requests that a worker does nothing but wait for
        self._stop = stop
        self.clips = 0
        self.frames = 0
        self.failures: list[Failure] = []
        self.seconds: dict[str, float] = {"decode": 0.0, "crop": 0.0}  # that the workers' stages were busy

    def run(self, watch: Watch) -> None:
        """Extract until all inputs are done, or `stop` is set."""
        told = 0.0
        try:
            while self._oldest < len(self._inputs) and not self._stop.wanted:
                self._begin()
                heard = self._pool.listen(
                    0 if self._idle_device_has_work() else DETECT_WAIT if self._running else IDLE_WAIT
                )
                for worker, message in heard:
                    self._take(worker, message)
                self._dispatch(partial=not heard)
                self._collect()
                self._write()
                if self._begun is not None:
                    self._bottleneck.look(self._queues(), busy=len(self._running) / len(self._device_workers))
                if time.monotonic() - told >= PROGRESS_SECONDS:
                    told = time.monotonic()
                    watch.progress(self.progress())
            if self._inputs:
                watch.progress(self.progress())
        finally:
            self._pool.close()
            self._writing.shutdown(wait=True)
        for future in self._written:
            future.result()

    @property
    def left(self) -> int:
        """Count the inputs that were not written."""
        return len(self._inputs) - self._oldest

    def progress(self) -> Progress:
        """Return how far this is."""
        return Progress(
            what="Extracting",
            unit="videos",
            stage=self.stage,
            done=self._oldest,
            ahead=len(self._ended),
            total=len(self._inputs),
            frames=self.frames,
            failed=len(self.failures),
            seconds=0.0 if self._begun is None else time.monotonic() - self._begun,
            queued=self._queues(),
            bottleneck=self._bottleneck.describe(
                decoding=any(worker.busy is not None for worker in self._pool.workers)
            ),
        )

    def _queues(self) -> dict[str, int]:
        """Count what waits for each stage."""
        return {"detect": len(self._to_detect), "encode": len(self._crops), "write": max(len(self._written) - 1, 0)}

    def _idle_device_has_work(self) -> bool:
        """Return whether there is work that a device worker could begin at once."""
        free = len(self._running) < len(self._device_workers)
        return free and (
            self._to_detect.is_ready or self._crops.is_ready or (len(self._crops) > 0 and self._must_flush())
        )

    def _begin(self) -> None:
        """Give idle workers the next inputs, not too far ahead of the oldest."""
        for worker in self._pool.idle():
            if self._next < self._allowed():
                self._in_hand[self._next] = InHand(rows=RowBuffer(self._specs))
                self._pool.give(worker, self._work(self._next))
                self._next += 1

    def _allowed(self) -> int:
        """Return how many inputs may have been started by now."""
        return min(len(self._inputs), self._oldest + CLIPS_AHEAD)

    def _work(self, index: int) -> Work | Recrop:
        """Return what a worker is to do."""
        raise NotImplementedError

    def _encoding(self, message: Crops) -> Encoding:
        """Return what a device worker is to make of crops."""
        return Encoding()

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
        self._begun = self._begun or time.monotonic()
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

    def _write(self) -> None:
        """Write what has ended, in the order of the inputs."""
        while self._oldest in self._ended:
            ended = self._ended.pop(self._oldest)
            self._written.append(self._writing.submit(self._write_one, self._inputs[self._oldest], ended))
            self._oldest += 1
        while self._written and self._written[0].done():
            self._written.pop(0).result()
        if not self._written:
            self._written.append(self._writing.submit(self._commit_if_due))

    def _write_one(self, source: Input, ended: InHand | Failed) -> None:
        """Write what came of an input, on the writing thread."""
        raise NotImplementedError

    def _commit_if_due(self) -> None:
        """Make what was written durable, if it is time; called often, on the writing thread."""
        raise NotImplementedError
