"""The actor that decodes and encodes: the stages of one machine, which take inputs while they run and return each when it ends.

Its methods are called from several threads, a call for each input in hand; one thread of its own runs the stages. It does not know Ray.
"""

from __future__ import annotations

import os
import queue
import socket
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ... import __version__
from ...cache.schema import FeatureSpec
from ...encoders.device import parse_device
from ...encoders.engines.choice import Computation
from ...encoders.engines.preparation import PreparedEncoder
from ...extract.config import ExtractConfig
from ...extract.modality import modality_of
from ...extract.threads import too_many
from ...extract.workers.device_worker import DeviceWorker, Encoding
from ...extract.workers.messages import Failed, Work
from ...extract.workers.stages import InHand, LocalStages


@dataclass(frozen=True, kw_only=True)
class DetectorFacts:
    """What recipes and people are told of a detector."""

    name: str
    digest: str
    precision: str
    licence: str


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What an actor says of itself when it is ready."""

    node: str
    version: str  # of est
    detector: DetectorFacts
    environment: Mapping[str, Any]
    kernels: str
    warnings: tuple[str, ...]
    crop_batch: int
    detect_batch: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Extracted:
    """What came of an input."""

    node: str
    ended: InHand | Failed
    is_seen: bool  # its file is there
    seconds: Mapping[str, float]  # that the stages were busy since the last input


class Extractor:
    """Decodes and encodes on one node."""

    def __init__(
        self,
        folder: Path,
        config: ExtractConfig,
        computation: Computation,
        encoders: Sequence[PreparedEncoder],
    ) -> None:
        """Note what is computed with; it is loaded when it is needed, so that what is refused is the answer to a call."""
        self._node = socket.gethostname()
        self._config = config
        self._computation = computation
        self._encoders = encoders
        self._loading = threading.Lock()
        self._serving: threading.Thread | None = None
        self._broken: Future[Any] = Future()  # what ended the stages, if something did
        self._inbox: queue.Queue[tuple[Work, Future[Extracted]]] = queue.Queue()
        if folder.is_dir():
            os.chdir(folder)  # where paths that are not absolute begin

    @cached_property
    def _device_worker(self) -> DeviceWorker:
        return DeviceWorker(
            parse_device(self._config.device), self._computation.searching, self._config, self._encoders
        )

    def facts(self) -> Facts:
        """Load, and say what rows depend on."""
        with self._loading:
            worker = self._device_worker
        found = worker.detector
        workers = [str(worker.device)], self._config.workers
        return Facts(
            node=self._node,
            version=__version__,
            detector=DetectorFacts(
                name=found.name, digest=found.digest, precision=found.precision, licence=found.licence
            ),
            environment=worker.environment,
            kernels=worker.kernels,
            warnings=(*too_many(*workers), *worker.slow()),
            crop_batch=worker.crop_batch,
            detect_batch=worker.detect_batch,
        )

    def encode(self, crops: np.ndarray, encoding: Encoding) -> dict[str, np.ndarray]:
        """Compute the feature rows of RGB crops."""
        with self._loading:
            worker = self._device_worker
        return worker.encode(crops, encoding).result()

    def rows_of(self, work: Work, specs: Mapping[str, FeatureSpec]) -> Extracted:
        """Decode and encode one input, beside those of other calls."""
        with self._loading:
            _ = self._device_worker
            if self._serving is None:
                self._serving = threading.Thread(target=self._serve, args=(specs,), name="est-stages", daemon=True)
                self._serving.start()
        future: Future[Extracted] = Future()
        self._inbox.put((work, future))
        wait((future, self._broken), return_when=FIRST_COMPLETED)
        return future.result() if future.done() else self._broken.result()

    def _serve(self, specs: Mapping[str, FeatureSpec]) -> None:
        """Run the stages for as long as the actor lives."""
        encoding = modality_of(self._config).encoding
        told: dict[str, float] = {}
        in_hand: dict[int, tuple[Work, Future[Extracted]]] = {}
        try:
            workers = self._config.workers or 1
            stages = LocalStages(specs, [self._device_worker], self._config, workers, lambda message: encoding)
            while True:
                while stages.has_room and not (in_hand and self._inbox.empty()):
                    work, future = self._inbox.get()
                    in_hand[work.index] = work, future
                    stages.begin(work)
                for index, ended in stages.advance().items():
                    work, future = in_hand.pop(index)
                    busy = {**stages.seconds, **self._device_worker.seconds}
                    spent = {name: seconds - told.get(name, 0.0) for name, seconds in busy.items()}
                    told = busy
                    is_seen = work.input.path.exists()
                    future.set_result(Extracted(node=self._node, ended=ended, is_seen=is_seen, seconds=spent))
        except BaseException as error:
            self._broken.set_exception(error)  # the answer to every call in hand, and to later ones
            raise
