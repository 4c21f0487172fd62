"""Memory that is freed and asked for again comes without page faults, for as long as it is kept, in threads too."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest.importorskip("resource")

ROUNDS, MEGABYTES, PAGES = 4, 48, 48 * 256  # larger than glibc keeps by itself
SCRIPT = f"""
import resource, threading
from est.encoders.heap import _glibc, keeping_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range({ROUNDS}):
        b"x" * int("{MEGABYTES << 20}")
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def measure():
    print(faults())
    with keeping_freed_memory():
        with keeping_freed_memory():
            faults()
        print(faults())
    print(faults())

print(int(_glibc() is not None))
with keeping_freed_memory():
    pass
thread = threading.Thread(target=measure)
thread.start()
thread.join()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="of glibc")
def test_freed_memory_is_kept_and_returned_at_the_end():
    said = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True).stdout
    is_glibc, before, kept, after = map(int, said.split())
    if not is_glibc:
        pytest.skip("another C library")
    assert kept < PAGES < ROUNDS * PAGES * 0.9 < min(before, after)
