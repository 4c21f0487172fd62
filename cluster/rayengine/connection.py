"""A connection to a cluster of Ray: one that runs, or one that is started on this machine and ended with the work."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager, redirect_stdout
from typing import Any

from ...errors import EstError, UsageError, brief
from .sizes import Node

QUIET = {"log_to_driver": False, "logging_level": "ERROR"}  # stdout is for results
LISTENER = "ray_listen_error_messages"  # the thread in which Ray prints


@contextmanager
def connected(ray: Any, address: str) -> Generator[None]:
    """Connect to the cluster at an address: "auto" is that of this machine, "local" starts one. A connection that is there stays."""
    with redirect_stdout(WithoutRay(sys.stdout)):
        if ray.is_initialized():
            yield
            return
        _connect(ray, address)
        try:
            yield
        finally:
            ray.shutdown()


def _connect(ray: Any, address: str) -> None:
    """Connect, or say why not."""
    local = {"include_dashboard": False} if address == "local" else {}
    if local:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        ray.init(address=address, **local, **QUIET)
    except ConnectionError as error:
        raise EstError(
            f"There is no cluster of Ray at {address}: {brief(error).rstrip('.')}.",
            remedy="ray start --head on one machine; --address HOST:6379 names one elsewhere; --address local starts one here",
        ) from error
    except (ImportError, ValueError) as error:
        if "ray[client]" in str(error) or isinstance(error, ImportError):  # Ray 2.60 says it by a ValueError
            raise EstError(
                f"Ray cannot connect to {address}: {brief(error).rstrip('.')}.", remedy="pip install 'ray[client]'"
            ) from error
        raise UsageError(
            f"--address is auto, local, HOST:PORT or ray://HOST:PORT, found {address!r}.", remedy="--address auto"
        ) from error
    except RuntimeError as error:  # another version of Ray or Python
        told = " ".join(str(error).split())
        raise EstError(
            f"Ray cannot connect to {address}: {told.rstrip('.')}.",
            remedy="the same Ray and Python here as on the cluster",
        ) from error


class WithoutRay:
    """A stream on which the thread of Ray writes nothing: it prints what its daemons report, also where stdout is for results alone."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write, unless it is Ray that does."""
        is_rays = threading.current_thread().name == LISTENER
        return len(text) if is_rays else self._stream.write(text)

    def flush(self) -> None:
        """Hand on what was written."""
        self._stream.flush()


def nodes_of(ray: Any) -> list[Node]:
    """Return the machines that are there."""
    return [
        Node(
            name=node["NodeManagerHostname"],
            cpus=node["Resources"].get("CPU", 0.0),
            gpus=node["Resources"].get("GPU", 0.0),
        )
        for node in ray.nodes()
        if node["Alive"]
    ]
