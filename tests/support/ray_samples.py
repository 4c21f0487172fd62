"""A cluster of Ray on this machine, on loopback, that leaves nothing behind."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

STORE = 80 * 2**20  # bytes of a node's object store: less is refused
EAGER = """
import sys
import ray
from est.cluster.rayengine.extracting import extract_on_ray
from est.extract.config import ExtractConfig

def commit_every_clip():
    from est.cache.writing import writer
    writer.COMMIT_BYTES = 1

address, videos, out = sys.argv[1:]
hook = {"worker_process_setup_hook": commit_every_clip}
ray.init(address, log_to_driver=False, runtime_env=hook)
config = ExtractConfig(weights="random", size=64, workers=1, precision="fp32", crops=True)
extract_on_ray(videos, out, config, labels="folders")
"""


@contextmanager
def ray_cluster(nodes: int) -> Generator[tuple[Any, list[Any]]]:
    """Start a cluster of so many nodes with a processor each; the first is the head."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = (
        "0"  # read by ray when it is imported: nodes listen on loopback alone
    )
    os.environ["RAY_TMPDIR"] = folder = tempfile.mkdtemp(prefix="est-ray-", dir="/tmp")  # paths of sockets are short
    from ray.cluster_utils import Cluster

    cluster = Cluster()
    try:
        options = {"num_cpus": 1, "object_store_memory": STORE, "include_dashboard": False}
        yield cluster, [cluster.add_node(**options) for _ in range(nodes)]
    finally:
        cluster.shutdown()
        left = processes_of(folder)
        shutil.rmtree(folder, ignore_errors=True)
        os.environ.pop("RAY_TMPDIR")
    assert not left, left


def is_extracting(node: Any) -> bool:
    """Return whether an actor of a node has a clip in hand: Ray writes it into the title of its process."""
    raylet = node.all_processes["raylet"][0].process.pid
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            title = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if parent == raylet and title.startswith(b"ray::Extractor.rows_of"):
            return True
    return False


def processes_of(folder: str) -> list[str]:
    """Return the command lines of processes that name a folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline") if sys.platform == "linux" else ():
        try:
            line = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        found += [line] if folder in line else []
    return found
