"""Fused and in lanes an encoder gives what it gave, to the bit or within its own error; where it cannot run so, it says why."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch
from processor import PRECISIONS

from est.encoders import encoder as encoders
from est.encoders import lanes
from est.encoders.encoder import PART, Encoder
from est.encoders.fused import why_not_fused
from est.encoders.precision import DTYPES
from est.encoders.weights import load_weights
from est.extract.workers.device_worker import batches_of

CPU = torch.device("cpu")
NAMES = ("gap", "layer1", "layer3", "pyramid4x4")


@pytest.fixture(scope="module")
def backbone():
    return load_weights("synface", normalize="imagenet").backbone


@pytest.fixture(scope="module")
def crops():
    return np.random.default_rng(0).integers(0, 256, (17, 32, 32, 3)).astype(np.uint8)


@pytest.fixture
def three_threads(monkeypatch):
    """Three threads and cores, on any machine."""
    before = torch.get_num_threads()
    monkeypatch.setattr(lanes, "num_cores", lambda: 3)
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def encode(backbone, crops, precision="fp32", **settings):
    return Encoder(backbone, NAMES, device=CPU, precision=precision, **settings).encode(crops)


def plain(monkeypatch):
    monkeypatch.setattr(encoders, "why_not_fused", lambda trunk, dtype: "because a test wants it plain")


@pytest.mark.parametrize("precision", PRECISIONS)
def test_fused_rows_are_those_of_plain_modules(monkeypatch, backbone, crops, precision):
    fused = Encoder(backbone, NAMES, device=CPU, precision=precision)
    assert (fused.kernels, fused.why_plain) == ("fused", "")
    found, exact = fused.encode(crops), encode(backbone, crops)
    plain(monkeypatch)
    earlier = Encoder(backbone, NAMES, device=CPU, precision=precision)
    assert (earlier.kernels, earlier.why_plain) == ("plain", "because a test wants it plain")
    for name, rows in earlier.encode(crops).items():
        scale = rows.std(axis=0).mean()
        if precision == "fp32":
            assert np.abs(found[name] - rows).max() < 1e-4 * scale, name
        else:  # both are as far from fp32, and nearer to each other
            errors = [np.sqrt(np.mean((one - exact[name]) ** 2)) for one in (rows, found[name])]
            assert errors[1] < 1.1 * errors[0], name
            assert 0 < np.sqrt(np.mean((found[name] - rows) ** 2)) < errors[0], name


@pytest.mark.parametrize("precision", PRECISIONS)
def test_rows_do_not_depend_on_the_number_of_lanes(three_threads, backbone, crops, precision):
    many = encode(backbone, crops, precision)
    assert torch.get_num_threads() == 3  # of this thread, whatever lanes have
    torch.set_num_threads(1)
    one = encode(backbone, crops, precision)
    for name in NAMES:
        np.testing.assert_array_equal(many[name], one[name])


def test_lanes_are_threads_of_one_core_each(three_threads):
    all_at_work = threading.Barrier(3, timeout=10)

    def part(number):
        all_at_work.wait()
        return number, torch.get_num_threads(), threading.get_ident()

    found = lanes.in_lanes(part, range(3))
    assert [number for number, _, _ in found] == [0, 1, 2]
    assert {threads for _, threads, _ in found} == {1}
    assert len({thread for _, _, thread in found} - {threading.get_ident()}) == 3


def test_a_lane_that_cannot_start_is_an_error_and_no_wait(three_threads, monkeypatch):
    lanes._pool.cache_clear()
    start, begun = threading.Thread.start, []

    def first_alone(thread):
        if begun:
            raise RuntimeError("can't start new thread")
        begun.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", first_alone)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        lanes.in_lanes(abs, range(3))
    begun[0].join(timeout=10)
    assert not begun[0].is_alive()
    assert torch.get_num_threads() == 3
    monkeypatch.undo()
    lanes._pool.cache_clear()


def test_more_threads_than_cores_are_as_many_lanes_as_cores(three_threads, monkeypatch):
    monkeypatch.setattr(lanes, "num_cores", lambda: 1)
    assert lanes.num_lanes() == 1
    assert lanes.in_lanes(lambda part: torch.get_num_threads(), range(2)) == [1, 1]
    assert torch.get_num_threads() == 3


def test_batches_have_a_part_for_every_lane(monkeypatch):
    for threads, expected in ((1, (32, 8)), (2, (32, 8)), (12, (96, 48)), (64, (128, 64))):
        monkeypatch.setattr("est.extract.workers.device_worker.num_lanes", lambda threads=threads: threads)
        assert batches_of(CPU) == expected
    assert batches_of(torch.device("cuda:0")) == (128, 64)


def test_torch_without_fused_convolutions_computes_plainly_and_says_so(monkeypatch, backbone, crops):
    expected = encode(backbone, crops[:PART])

    def missing(self, x, what):
        raise AttributeError("'_OpNamespace' 'mkldnn' object has no attribute '_convolution_pointwise'")

    monkeypatch.setattr("est.encoders.fused.FusedConvolution._pointwise", missing)
    encoder = Encoder(backbone, NAMES, device=CPU, precision="fp32")
    assert encoder.kernels == "plain"
    assert "no such fused convolutions" in encoder.why_plain
    np.testing.assert_allclose(encoder.encode(crops[:PART])["gap"], expected["gap"], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_fused_convolutions_that_give_something_else_are_not_used(monkeypatch, backbone, precision):
    trunk = encoders.fold_batch_norms(backbone).to(DTYPES[precision])
    assert why_not_fused(trunk, DTYPES[precision]) == ""
    monkeypatch.setattr("est.encoders.fused.FusedConvolution.rectified", lambda self, x: self.plain(x))
    assert "differ from plain ones" in why_not_fused(trunk, DTYPES[precision])
