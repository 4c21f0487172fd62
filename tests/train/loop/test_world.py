"""Processes that learn together: what they agree on, and how they end when one of them dies."""

from __future__ import annotations

import copy
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import torch
import world_processes
from world_processes import Worlds

from est.errors import EstError, UsageError
from est.train.loop.world import ALONE, JOINING, PATIENCE, World, buckets, joined, own_device
from est.train.runs.place import VARIABLES, read_place

CPU = torch.device("cpu")
TORCHRUN = {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}
SHAPES = ((3, 4), (), (0,), (5,), (2, 3, 4, 4), (1000,), (7, 7))


@pytest.fixture(scope="module")
def worlds():
    started = Worlds(__file__)
    yield started
    started.close()


@pytest.fixture(autouse=True)
def no_variables(monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def tensors_of(rank, dtype=torch.float32):
    """Tensors of every shape, some of them strided, as gradients are."""
    generator = torch.Generator().manual_seed(rank)
    found = [torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype) for shape in SHAPES]
    found[0] = found[0].t()
    found[4] = found[4].to(memory_format=torch.channels_last)
    return found


# what a world of processes does


def who(world):
    return world.rank, world.size, world.first


def test_each_process_knows_its_place(worlds):
    assert worlds.ask(3, who) == [(0, 3, True), (1, 3, False), (2, 3, False)]


def add(world):
    mixed = [*tensors_of(world.rank), *tensors_of(world.rank, torch.float64), torch.tensor([world.rank, 1])]
    parameter = torch.nn.Parameter(torch.full((3,), float(world.rank)))
    strides = [tensor.stride() for tensor in mixed]
    world.add([*mixed, parameter])
    world.add([])
    assert [tensor.stride() for tensor in mixed] == strides
    assert parameter.requires_grad
    assert parameter.is_leaf
    return [tensor.numpy() for tensor in mixed], parameter.detach().numpy()


@pytest.mark.parametrize("size", [2, 3])
def test_add_sums_in_place_and_alike_on_all(worlds, size):
    found = worlds.ask(size, add)
    ranks = [tensors_of(rank, torch.float64) for rank in range(size)]
    expected = [sum(parts).numpy() for parts in zip(*ranks, strict=True)]
    for mixed, parameter in found:
        assert parameter.tolist() == [sum(range(size))] * 3
        assert mixed[-1].tolist() == [sum(range(size)), size]
        for summed, exact in zip(mixed[: len(SHAPES)], expected, strict=True):
            assert summed.dtype == np.float32
            np.testing.assert_allclose(summed, exact, atol=1e-6)
        for summed, exact in zip(mixed[len(SHAPES) : -1], expected, strict=True):
            np.testing.assert_allclose(summed, exact, atol=1e-14)
        for summed, first in zip(mixed, found[0][0], strict=True):
            np.testing.assert_array_equal(summed, first)  # to the last bit, or models would drift apart


def add_large(world):
    tensor = torch.rand(3_000_000, generator=torch.Generator().manual_seed(world.rank))
    world.add([tensor])
    return tensor.numpy()


def test_sums_are_reproducible(worlds):
    once, again = worlds.ask(3, add_large), worlds.ask(3, add_large)
    for array in (*once, *again):
        np.testing.assert_array_equal(array, once[0])


def test_buckets_hold_all_in_order_and_up_to_their_size():
    sizes = [10, 20, 200, 5, 60, 30, 1, 0]
    tensors = [torch.zeros(size, dtype=kind) for size in sizes for kind in (torch.uint8, torch.int8)]
    found = list(buckets(tensors, 64))
    for kind in (torch.uint8, torch.int8):
        alike = [bucket for bucket in found if bucket[0].dtype == kind]
        assert [tensor.nbytes for bucket in alike for tensor in bucket] == sizes
        assert [[tensor.nbytes for tensor in bucket] for bucket in alike] == [[10, 20], [200], [5], [60], [30, 1, 0]]
    assert {id(tensor) for bucket in found for tensor in bucket} == {id(tensor) for tensor in tensors}
    assert list(buckets([])) == []


def talk(world):
    ragged = np.arange(world.rank * 3)
    names = np.array([f"clip {world.rank}", None], dtype=object)
    told = world.tell(
        {"rank": world.rank, "array": ragged} if world.first else threading.Lock()
    )  # only the first's travels
    world.wait()
    return {
        "ragged": world.gather(ragged),
        "names": world.gather(names),
        "empty": world.gather(np.zeros((0, 4), np.float16)),
        "none": world.any(False),
        "last": world.any(world.rank == world.size - 1),
        "all": world.any(True),
        "told": told,
        "same": copy.deepcopy([world])[0] is world,
    }


def test_processes_talk(worlds):
    for found in worlds.ask(3, talk):
        assert [array.tolist() for array in found["ragged"]] == [[], [0, 1, 2], [0, 1, 2, 3, 4, 5]]
        assert [array.tolist() for array in found["names"]] == [[f"clip {rank}", None] for rank in range(3)]
        assert [(array.shape, array.dtype) for array in found["empty"]] == [((0, 4), np.float16)] * 3
        assert (found["none"], found["last"], found["all"]) == (False, True, True)
        assert found["told"]["rank"] == 0
        assert found["told"]["array"].tolist() == []
        assert found["same"]


def wait_for(world, folder):
    if world.rank == 0:
        (Path(folder) / "written").write_text("whole", encoding="ascii")
    world.wait()
    return (Path(folder) / "written").read_text(encoding="ascii")


def test_wait_is_for_what_one_does_alone(worlds, tmp_path):
    assert worlds.ask(3, wait_for, folder=str(tmp_path)) == ["whole"] * 3


# how a world ends


def die(world, how, when):
    """Do one thing again and again; the last process kills itself, before it or in its middle."""
    call = {
        "add": lambda: world.add([torch.ones(2_000_000)]),
        "any": lambda: world.any(False),
        "gather": lambda: world.gather(np.zeros(100_000)),
        "tell": lambda: world.tell(np.zeros(100_000)),
        "wait": world.wait,
    }[how]
    call()
    if world.rank == world.size - 1:
        if when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGKILL)).start()
    while True:
        call()


@pytest.mark.parametrize("when", ["before", "amid"])
@pytest.mark.parametrize("how", ["add", "any", "gather", "tell", "wait"])
def test_a_killed_process_ends_the_others_with_a_word(worlds, how, when):
    *left, gone = worlds.end(2 if how != "add" else 3, die, how=how, when=when)
    assert gone.killed == signal.SIGKILL
    for answer in left:
        assert not answer.hung
        assert isinstance(answer.error, EstError)
        assert "is gone" in answer.error.message
        assert "est train --resume" in answer.error.remedy


def kill_first(world):
    if world.first:
        os.kill(os.getpid(), signal.SIGKILL)  # the one that the others met at
    world.wait()


def test_the_first_may_die_as_well(worlds):
    first, *left = worlds.end(3, kill_first)
    assert first.killed == signal.SIGKILL
    assert all(isinstance(answer.error, EstError) and "is gone" in answer.error.message for answer in left)


def fail_alone(world, folder):
    """Let one process find a mistake; the others say when they know."""
    if world.rank == 1:
        raise UsageError("A mistake that one process finds.", remedy="fix it")
    try:
        while True:
            world.wait()
    finally:
        (Path(folder) / str(world.rank)).touch()


def stay_until_all_know(folder):
    """Live on after a world has ended, as a program does that catches its errors."""
    while len(list(Path(folder).iterdir())) < 2:
        time.sleep(0.01)


fail_alone.linger = stay_until_all_know


def test_an_error_of_one_is_its_own_and_ends_the_others(worlds, tmp_path):
    zero, one, two = worlds.end(3, fail_alone, folder=str(tmp_path))
    assert isinstance(one.error, UsageError)
    assert one.error.message == "A mistake that one process finds."
    for answer in (zero, two):
        assert type(answer.error) is EstError
        assert "first error above" in answer.error.remedy


def misuse(world, what):
    if what == "type":
        world.add([torch.zeros(3, dtype=torch.float8_e4m3fn)])  # sockets cannot add it
    else:
        world.tell(threading.Lock())  # cannot travel


@pytest.mark.parametrize(("what", "said"), [("type", "scalar type"), ("value", "pickle")])
def test_a_bug_stays_a_bug(worlds, what, said):
    first, _ = worlds.end(2, misuse, what=what)
    assert isinstance(first.error, RuntimeError | TypeError)
    assert said in str(first.error)


def leave_early(world):
    world.wait()
    if not world.first:
        time.sleep(0.2)
    return world.rank


def test_processes_may_leave_one_after_the_other(worlds):
    assert worlds.ask(2, leave_early) == [0, 1]


def hang(world):
    group = torch.distributed.new_group(backend="gloo", timeout=timedelta(seconds=0.2))
    if world.rank == 1:
        time.sleep(1)
    World(rank=world.rank, size=world.size, group=group).wait()


def test_a_process_that_hangs_is_not_waited_for_without_end(worlds):
    first, _ = worlds.end(2, hang)
    assert isinstance(first.error, EstError)
    assert "did not answer" in first.error.message
    assert PATIENCE > JOINING > timedelta(minutes=1)  # but for long: others save, or read a slow disk


# alone, and in environments that torchrun did not make


def test_alone_costs_nothing():
    script = "import sys, os, numpy as np, torch, est.train.loop.world as w\n"
    script += "loaded = set(sys.modules)\n"
    script += "for found in ({}, {'WORLD_SIZE': '1', 'RANK': '0'}):\n"
    script += "    os.environ |= found\n"
    script += "    with w.joined(torch.device('cpu')) as world:\n"
    script += (
        "        world.add([torch.ones(2)]), world.any(True), world.gather(np.ones(2)), world.tell(1), world.wait()\n"
    )
    script += "        assert world is w.ALONE\n"
    script += "        assert not torch.distributed.is_initialized()\n"
    script += "print(sorted(name for name in set(sys.modules) - loaded if 'distributed' in name))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


def test_alone_everything_is_the_own():
    tensor, array, value = torch.arange(3.0), np.arange(4), object()
    with joined(CPU) as world:
        assert world is ALONE
        assert (world.rank, world.size, world.first) == (0, 1, True)
        world.add([tensor])
        assert tensor.tolist() == [0, 1, 2]
        assert world.gather(array)[0] is array
        assert world.tell(value) is value
        assert world.any(True)
        assert not world.any(False)
        world.wait()
    assert own_device(torch.device("cuda", 1)) == torch.device("cuda", 1)


def test_torchrun_is_read(monkeypatch):
    assert read_place() is None
    for name, value in TORCHRUN.items():
        monkeypatch.setenv(name, value)
    place = read_place()
    assert (place.rank, place.size, place.local) == (1, 2, 1)
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert read_place() is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"MASTER_ADDR": None}, "needs MASTER_ADDR, not set there"),
        ({"MASTER_ADDR": None, "MASTER_PORT": ""}, "needs MASTER_ADDR, MASTER_PORT, not set there"),
        ({"RANK": None}, "needs RANK, not set there"),
        ({"WORLD_SIZE": None}, "needs WORLD_SIZE, not set there"),
        ({"LOCAL_RANK": None}, "needs LOCAL_RANK, not set there"),
        ({"RANK": "two"}, "RANK in the environment is a whole number from 0, found 'two'"),
        ({"WORLD_SIZE": "2.0"}, "WORLD_SIZE in the environment is a whole number"),
        ({"RANK": "-1"}, "RANK in the environment is a whole number"),
        ({"MASTER_PORT": "http"}, "MASTER_PORT in the environment is a whole number"),
        ({"RANK": "2"}, "below WORLD_SIZE"),
        ({"LOCAL_RANK": "2"}, "below WORLD_SIZE"),
        ({"WORLD_SIZE": "0"}, "below WORLD_SIZE"),
        ({"MASTER_PORT": "70000"}, "1 to 65535"),
    ],
)
def test_a_bad_environment_is_a_usage_error(monkeypatch, changes, said):
    for name, value in (TORCHRUN | changes).items():
        if value is not None:
            monkeypatch.setenv(name, value)
    with pytest.raises(UsageError) as caught, joined(CPU):
        pytest.fail("joined nobody")
    assert said in caught.value.message
    assert "torchrun" in caught.value.remedy
    assert not torch.distributed.is_initialized()


def test_each_process_has_its_gpu(monkeypatch):
    for name, value in TORCHRUN.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert own_device(torch.device("cuda", 0)) == torch.device("cuda", 1)
    assert own_device(CPU) == CPU
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(UsageError, match="found by torch: 1") as caught:
        own_device(torch.device("cuda", 0))
    assert "--nproc-per-node 1" in caught.value.remedy
    with pytest.raises(UsageError, match="not on mps"):
        own_device(torch.device("mps"))


def test_a_port_in_use_is_said(monkeypatch):
    with socket.socket() as other:
        other.bind(("", 0))
        other.listen()
        port = str(other.getsockname()[1])
        for name, value in (TORCHRUN | {"RANK": "0", "LOCAL_RANK": "0", "MASTER_PORT": port}).items():
            monkeypatch.setenv(name, value)
        with pytest.raises(EstError, match=rf"cannot join the others at 127\.0\.0\.1:{port}") as caught, joined(CPU):
            pytest.fail("joined nobody")
    assert "MASTER_PORT" in caught.value.remedy
    assert not torch.distributed.is_initialized()


@pytest.mark.slow
def test_torchrun_starts_a_world(tmp_path):
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    call = [*torchrun, world_processes.__file__, str(tmp_path / "said")]
    done = subprocess.run(call, capture_output=True, text=True, env=env, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "said").read_text(encoding="ascii") == "2 2"
