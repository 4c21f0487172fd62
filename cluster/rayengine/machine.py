"""A cluster of Ray as what computes an extraction: its actors choose, load and encode as the devices of one machine do."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...cache.schema import FeatureSpec
from ...encoders.device import parse_device
from ...encoders.engines.choice import Computation
from ...encoders.engines.preparation import PreparedEncoder
from ...errors import EstError
from ...extract.begun import Earlier, computation_for
from ...extract.config import ExtractConfig
from ...extract.workers.device_worker import Encoding
from .crew import RayActor, RayCrew
from .extractor import Facts
from .sizes import Sizes
from .stages import ClusterStages

PLAIN = Encoding()


class RayDeviceWorker:
    """The device of one actor, as the pipeline of one machine has it: for the rows of a black crop, and for features that a cache lacks."""

    def __init__(self, actor: RayActor, facts: Facts) -> None:
        self._actor = actor
        self.detector = facts.detector
        self.kernels = facts.kernels
        self.environment = dict(facts.environment)
        self.crop_batch, self.detect_batch = facts.crop_batch, facts.detect_batch
        self.seconds: Mapping[str, float] = {}  # those of actors come with their clips

    def encode(self, crops: np.ndarray, encoding: Encoding = PLAIN) -> Future[dict[str, np.ndarray]]:
        """Compute the feature rows of RGB crops."""
        return self._actor.handle.encode.remote(crops, encoding).future()

    def close(self) -> None:
        """The crew ends its actors."""


class RayMachine:
    """The nodes of a cluster."""

    def __init__(self, ray: Any, sizes: Sizes, folder: Path) -> None:
        self._ray = ray
        self._sizes = sizes
        self._folder = folder
        self._crew: RayCrew | None = None

    def devices(self, config: ExtractConfig) -> list[torch.device]:
        """Return the device of every actor, as its node names it."""
        return [torch.device("cuda", 0) if self._sizes.num_gpus else torch.device("cpu")]

    def computation(
        self, config: ExtractConfig, earlier: Earlier | None, devices: Sequence[torch.device]
    ) -> Computation:
        """Let a node with such a device choose."""
        choose = self._ray.remote(num_cpus=1, num_gpus=self._sizes.num_gpus)(chosen)
        try:
            return self._ray.get(choose.remote(config, earlier, self._sizes.device))
        except self._ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, EstError):
                raise error.cause from None
            raise

    def device_workers(
        self,
        config: ExtractConfig,
        computation: Computation,
        encoders: Sequence[PreparedEncoder],
        devices: Sequence[torch.device],
        warn: Callable[[str], None],
    ) -> list[Any]:
        """Start the actors; return the device of the first that is ready."""
        config = replace(config, device=self._sizes.device, workers=self._sizes.num_cpus)
        crew = RayCrew(self._ray, self._sizes, self._folder, config, computation, encoders, warn)
        self._crew = crew
        return [RayDeviceWorker(crew.first, crew.facts)]

    def stages(self, specs: Mapping[str, FeatureSpec], *others: Any) -> ClusterStages:
        """Return the stages of a pipeline."""
        assert self._crew is not None, "device workers come first"
        return ClusterStages(specs, self._crew)


def chosen(config: ExtractConfig, earlier: Earlier | None, device: str) -> Computation:
    """Choose what computes rows on this node."""
    return computation_for(config, earlier, [parse_device(device)])
