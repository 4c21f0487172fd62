"""Fused and in lanes an encoder gives what it gave, to the bit or within its own error; where it cannot run so, it says why."""

from __future__ import annotations

import threading
from copy import deepcopy
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from processor import PRECISIONS

from est.encoders import encoder as encoders
from est.encoders import lanes
from est.encoders.backbone import Normalization
from est.encoders.encoder import PART, Encoder
from est.encoders.fused import FusedTrunk, why_different, why_not_fused
from est.encoders.precision import DTYPES
from est.encoders.tail import pool
from est.encoders.taps import STAGES
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


@pytest.mark.parametrize("way", ["fused", "plain"])
def test_every_part_has_the_same_shape(monkeypatch, backbone, crops, way):
    """Convolutions of another shape may add in another order, and rows would depend on how frames fall into batches."""
    if way == "plain":
        plain(monkeypatch)
    encoder, seen = Encoder(backbone, ("gap",), device=CPU, precision="fp32"), []
    assert encoder.kernels == way
    shape = (PART if way == "fused" else encoder.batch, 3, 32, 32)

    def taps(images, names):
        seen.append(tuple(images.shape))
        return {"gap": images.mean((2, 3))}

    monkeypatch.setattr(encoder._trunk, "taps", taps)
    for count in (1, 7, 8, 9, 17):
        assert encoder.encode(crops[:count])["gap"].shape == (count, 3)
        assert set(seen) == {shape}, count
        assert len(seen) == -(-count // shape[0])
        seen.clear()


def through_backbone(backbone, maps):
    """Average maps as `Backbone.taps` does, past everything else in it."""
    backbone = deepcopy(backbone)
    backbone.normalization = Normalization()
    for name in ("conv1", "bn1", *STAGES):
        setattr(backbone, name, torch.nn.Identity())
    return backbone.taps(maps, ("gap",))["gap"]


def through_fused(backbone, maps):
    """Average maps as `FusedTrunk.taps` does, past everything else in it."""
    trunk = FusedTrunk(backbone)
    trunk._stem, trunk._stages = SimpleNamespace(rectified=lambda images: images), dict.fromkeys(STAGES, ())
    return trunk.taps(maps, ("gap",))["gap"]


def test_maps_of_bf16_are_averaged_in_float32(backbone):
    """A mean that is rounded to bf16 loses digits that the mean of 49 numbers has; nothing here depends on the processor."""
    maps = torch.rand(2, 3, 14, 14, generator=torch.Generator().manual_seed(0)).bfloat16()
    pooled = torch.nn.functional.max_pool2d(maps, 3, stride=2, padding=1)
    exact = pooled.double().mean((2, 3))
    for rows in (through_backbone(backbone, maps), through_fused(backbone, maps), pool(pooled)):
        assert rows.dtype == torch.float32
        np.testing.assert_allclose(rows.numpy(), exact.numpy(), rtol=1e-6)


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


# In deviations of a tap: a difference as rounding makes it, and one that is a fault.
@pytest.mark.parametrize(
    ("precision", "rounding", "wrong"), [("fp32", 1e-5, 2e-3), ("bf16", 0.1, 0.4), ("fp16", 0.01, 0.05)]
)
def test_one_number_that_is_wrong_by_more_than_rounding_is_enough(precision, rounding, wrong):
    exact = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    expected = {"layer1": exact, "gap": exact.mean((2, 3))}

    def differing(name, share):
        found = {tap: rows.clone() for tap, rows in expected.items()}
        found[name].view(-1)[7] += share * expected[name].std()
        return why_different(expected, lambda: found, DTYPES[precision])

    for name in expected:
        assert differing(name, rounding) == ""
        assert f"differ from plain ones by {wrong:.2g} deviations in {name}" in differing(name, wrong)
        assert "differ" in differing(name, float("nan"))
