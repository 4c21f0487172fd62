"""What is asked for beyond the cores that there are is said in one line."""

from __future__ import annotations

import pytest
import torch

from est.extract import threads
from est.extract.config import ExtractConfig
from est.extract.threads import default_workers, too_many
from est.extract.workers.device_worker import DeviceWorker

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def two_cores(monkeypatch):
    monkeypatch.setattr(threads, "num_cores", lambda: 2)


def test_more_threads_than_cores_are_named(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    (line,) = too_many([CPU], 2)
    assert line == "torch is set to 8 threads, and this process may use 2 cores: 2 compute"
    assert list(too_many([torch.device("cuda:0")], None)) == []
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    assert list(too_many([CPU], None)) == []


@pytest.mark.parametrize(
    ("value", "asked"), [("8", 8), ("8,4", 8), ("2", None), ("", None), ("many", None), ("0", None)]
)
def test_a_variable_that_asks_for_more_threads_than_cores_is_named(monkeypatch, value, asked):
    """torch keeps to the cores by itself where it is built so, and its number of threads then tells nothing."""
    monkeypatch.setenv("OMP_NUM_THREADS", value)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    told = f"OMP_NUM_THREADS is {asked}, and this process may use 2 cores: 2 compute (unset OMP_NUM_THREADS)"
    assert list(too_many([CPU], None)) == [told] * (asked is not None)
    assert list(too_many([torch.device("cuda:0")], None)) == []


def test_more_workers_than_cores_are_named():
    (line,) = too_many([torch.device("cuda:0")], 64)
    assert line.startswith("--workers 64: so many processes decode on 2 cores; 1 are")


@pytest.mark.parametrize(("cores", "on_cpu", "beside_gpu"), [(1, 1, 1), (2, 2, 1), (16, 16, 15), (64, 16, 24)])
def test_default_workers(monkeypatch, cores, on_cpu, beside_gpu):
    monkeypatch.setattr(threads, "num_cores", lambda: cores)
    assert default_workers([CPU]) == on_cpu
    assert default_workers([torch.device("cuda:0")]) == beside_gpu


def test_a_device_worker_shares_operations_among_no_more_threads_than_cores(monkeypatch):
    """More of them wait for each other at the end of each operation of the detector, and of other networks than ResNet-18."""
    monkeypatch.setattr("est.extract.workers.device_worker.num_cores", lambda: 2)
    before = torch.get_num_threads()
    try:
        for threads_of_torch, computing in ((5, 2), (1, 1)):
            torch.set_num_threads(threads_of_torch)
            worker = DeviceWorker(CPU, "fp32", ExtractConfig(detector="none"), [])
            try:
                assert worker._thread.submit(torch.get_num_threads).result() == computing
            finally:
                worker.close()
    finally:
        torch.set_num_threads(before)
