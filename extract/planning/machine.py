"""What computes an extraction: the devices of this machine, or others that a `Machine` stands for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import torch

from ...encoders.device import parse_device
from ...encoders.engines.choice import Computation
from ...encoders.engines.preparation import PreparedEncoder
from ..begun import Earlier, computation_for
from ..config import ExtractConfig
from ..threads import too_many
from ..workers.device_worker import DeviceWorker
from ..workers.stages import LocalStages, Stages


class Machine(Protocol):
    """What an extraction asks of it, in this order."""

    @property
    def stages(self) -> Callable[..., Stages]:
        """Return what makes the stages of its pipeline; it is called as `LocalStages` is."""
        ...

    def devices(self, config: ExtractConfig) -> list[torch.device]:
        """Return the devices that a configuration names."""
        ...

    def computation(
        self, config: ExtractConfig, earlier: Earlier | None, devices: Sequence[torch.device]
    ) -> Computation:
        """Choose what computes rows there, beside those of a cache that is there; refuse what its devices cannot."""
        ...

    def device_workers(
        self,
        config: ExtractConfig,
        computation: Computation,
        encoders: Sequence[PreparedEncoder],
        devices: Sequence[torch.device],
        warn: Callable[[str], None],
    ) -> list[DeviceWorker]:
        """Load what is computed with; warn of what makes it slow."""
        ...


class ThisMachine:
    """The devices of this machine, and processes that decode on it."""

    stages = LocalStages

    def devices(self, config: ExtractConfig) -> list[torch.device]:
        """Return devices that are there, or refuse."""
        return [parse_device(text) for text in config.device.split(",")]

    def computation(
        self, config: ExtractConfig, earlier: Earlier | None, devices: Sequence[torch.device]
    ) -> Computation:
        """Choose what is fast here."""
        return computation_for(config, earlier, devices)

    def device_workers(
        self,
        config: ExtractConfig,
        computation: Computation,
        encoders: Sequence[PreparedEncoder],
        devices: Sequence[torch.device],
        warn: Callable[[str], None],
    ) -> list[DeviceWorker]:
        """Load the detector and the encoders on each device."""
        loaded = [DeviceWorker(device, computation.searching, config, encoders) for device in devices]
        for line in (*too_many(devices, config.workers), *loaded[0].slow()):
            warn(line)
        return loaded
