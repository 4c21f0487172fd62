"""What is asked for beyond the cores that there are is said in one line."""

from __future__ import annotations

import pytest
import torch

from est.extract import threads
from est.extract.threads import default_workers, too_many

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


def test_default_workers():
    assert default_workers([CPU]) == 2
    assert default_workers([torch.device("cuda:0")]) == 1
