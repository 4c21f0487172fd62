"""Stage one: inputs → rows. Decode ∥ detect ∥ encode ∥ write, batched across inputs; what is written, and where, subclasses say.

`Stages` decode, detect and encode, here or on other machines; one thread writes. Inputs are written in their order, and at most 64 finish
ahead of the oldest unfinished one, so the same inputs give the same bytes whatever finishes first and however often it is interrupted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from ...cache import Failure
from ...cache.interrupt import Stop
from ...cache.schema import FeatureSpec
from ...cache.watch import Progress, Watch
from ...inputs.input import Input
from ..config import ExtractConfig
from .bottleneck import Bottleneck
from .device_worker import DeviceWorker, Encoding
from .messages import Crops, Failed, Recrop, Work
from .stages import InHand, LocalStages, Stages

PROGRESS_SECONDS = 0.25
TO_WRITE = 4  # ended inputs that the writing thread is behind, from which on the others wait for the disk


def default_encoding(message: Crops) -> Encoding:
    """Let a device worker make of crops all that it knows."""
    return Encoding()


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
        stages: Callable[..., Stages] = LocalStages,
        *,
        encoding: Callable[[Crops], Encoding] = default_encoding,
    ) -> None:
        """Start the stages; `specs` are those of the arrays that are computed.

        `encoding` says what a device worker is to make of crops. It is no method of the pipeline: the pipeline and its stages would hold
        each other, and the models of the device workers would stay in memory until Python's garbage collector finds such a cycle.
        """
        self._inputs = inputs
        self._specs = specs
        self._config = config
        self._ended: dict[int, InHand | Failed] = {}  # finished ahead of an older one
        self._next = 0  # to be started
        self._oldest = 0  # not written yet
        self._writing = ThreadPoolExecutor(1, thread_name_prefix="est-writer")
        self._written: list[Future[None]] = []
        self._stop = stop
        needed = 0 if stop.wanted else min(workers, len(inputs))
        self._stages = stages(specs, device_workers, config, needed, encoding)
        self._bottleneck = Bottleneck({**self._stages.full, "write": TO_WRITE})
        self.clips = 0
        self.frames = 0
        self.failures: list[Failure] = []

    def run(self, watch: Watch) -> None:
        """Extract until all inputs are done, or `stop` is set."""
        told = 0.0
        try:
            while self._oldest < len(self._inputs) and not self._stop.wanted:
                self._begin()
                self._ended |= self._stages.advance()
                self._write()
                if self._stages.begun is not None:
                    self._bottleneck.look(self._queues(), busy=self._stages.busy)
                if time.monotonic() - told >= PROGRESS_SECONDS:
                    told = time.monotonic()
                    watch.progress(self.progress())
            if self._inputs:
                watch.progress(self.progress())
        finally:
            self._stages.close()
            self._writing.shutdown(wait=True)
        for future in self._written:
            future.result()

    @property
    def seconds(self) -> Mapping[str, float]:
        """Return how long the stages of workers were busy."""
        return self._stages.seconds

    @property
    def left(self) -> int:
        """Count the inputs that were not written."""
        return len(self._inputs) - self._oldest

    def progress(self) -> Progress:
        """Return how far this is."""
        begun = self._stages.begun
        return Progress(
            what="Extracting",
            unit="videos",
            stage=self.stage,
            done=self._oldest,
            ahead=len(self._ended),
            total=len(self._inputs),
            frames=self.frames,
            failed=len(self.failures),
            seconds=0.0 if begun is None else time.monotonic() - begun,
            queued=self._queues(),
            bottleneck=self._bottleneck.describe(decoding=self._stages.is_decoding),
        )

    def _queues(self) -> dict[str, int]:
        """Count what waits for each stage."""
        return {**self._stages.queues, "write": max(len(self._written) - 1, 0)}

    def _begin(self) -> None:
        """Begin the next inputs while there is room, not too far ahead of the oldest."""
        while self._next < self._allowed() and self._stages.has_room:
            self._stages.begin(self._work(self._next))
            self._next += 1

    def _allowed(self) -> int:
        """Return how many inputs may have been started by now."""
        return min(len(self._inputs), self._oldest + self._stages.ahead)

    def _work(self, index: int) -> Work | Recrop:
        """Return what a worker is to do."""
        raise NotImplementedError

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
