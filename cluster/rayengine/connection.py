"""A connection to a cluster of Ray: one that runs, or one that is started on this machine and ended with the work."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from ...errors import EstError, UsageError, brief
from .sizes import Node

QUIET = {"log_to_driver": False, "logging_level": "ERROR"}  # stdout is for results
ON_LOOPBACK = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"  # 0: no other machine reaches a cluster that is started here


@contextmanager
def connected(ray: Any, address: str) -> Generator[None]:
    """Connect to the cluster at an address: "auto" is that of this machine, "local" starts one. A connection that is there stays."""
    if ray.is_initialized():
        yield
        return
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
    except ImportError as error:
        raise EstError(
            f"Ray cannot connect to {address}: {brief(error).rstrip('.')}.", remedy="pip install 'ray[client]'"
        ) from error
    except ValueError as error:
        raise UsageError(
            f"--address is auto, local, HOST:PORT or ray://HOST:PORT, found {address!r}.", remedy="--address auto"
        ) from error
    except RuntimeError as error:  # another version of Ray or Python
        told = " ".join(str(error).split())
        raise EstError(
            f"Ray cannot connect to {address}: {told.rstrip('.')}.",
            remedy="the same Ray and Python here as on the cluster",
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


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
