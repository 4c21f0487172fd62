"""Batches that are loaded before they are asked for: the same ones, in order, no further ahead than allowed, with their errors."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest
import torch

from est.train.data.prefetch import DEPTH, Prefetcher
from est.train.models.batch_frames import BatchFrames

PATIENCE = 20  # seconds after which a test gives up


class Loader:
    """Loads batch k as k, and remembers in which thread; stops at a closed gate."""

    def __init__(self, broken=()):
        self.loaded, self.threads, self.broken = [], [], broken
        self.gate = threading.Event()
        self.gate.set()
        self.news = threading.Condition()
        self.under_way = 0

    def __call__(self, index, augmentation):
        with self.news:
            self.under_way += 1
            assert self.under_way == 1, "one at a time"
        try:
            assert self.gate.wait(PATIENCE)
            number = int(index)
            if number in self.broken:
                raise OSError(f"batch {number} cannot be read")
            return BatchFrames(
                rows=index.clone(), place=torch.zeros(1) if augmentation is None else augmentation.clone()
            )
        finally:
            with self.news:
                self.under_way -= 1
                self.loaded.append(int(index))
                self.threads.append(threading.current_thread())
                self.news.notify_all()

    def wait_for(self, count):
        """Wait until so many batches are loaded."""
        with self.news:
            assert self.news.wait_for(lambda: len(self.loaded) >= count, PATIENCE), self.loaded


def batches(*numbers, augmentation=None):
    return [(torch.tensor([number]), augmentation) for number in numbers]


def take(ahead, number, augmentation=None):
    return int(ahead.take(torch.tensor([number]), augmentation).rows)


def test_what_is_expected_is_loaded_in_order_and_no_further_than_allowed():
    loader = Loader()
    drawn = []
    ahead = Prefetcher(loader)
    ahead.expect(drawn.append(number) or asked for number, asked in enumerate(batches(*range(10))))
    loader.wait_for(DEPTH)
    assert drawn == loader.loaded == list(range(DEPTH))
    for number in range(10):
        assert take(ahead, number) == number
        assert len(drawn) == min(10, number + 1 + DEPTH)
    loader.wait_for(10)
    assert loader.loaded == list(range(10))
    assert threading.current_thread() not in loader.threads
    assert len(set(loader.threads)) == 1


def test_what_is_not_expected_is_loaded_on_the_spot():
    loader = Loader()
    ahead = Prefetcher(loader, depth=2)
    assert take(ahead, 7) == 7  # before anything is expected
    ahead.expect(batches(0, 1, 2, 3))
    loader.wait_for(3)
    for asked in (9, 0, 8, 8, 1, 2, 3, 5):
        assert take(ahead, asked) == asked
    here = [
        number
        for number, thread in zip(loader.loaded, loader.threads, strict=True)
        if thread is threading.current_thread()
    ]
    assert here == [7, 9, 8, 8, 5]
    assert sorted(loader.loaded) == [0, 1, 2, 3, 5, 7, 8, 8, 9]


def test_the_augmentation_belongs_to_what_is_expected():
    augmentations = [torch.tensor([[0.1, 0.0, 1.0, 1.0]]), torch.tensor([[0.2, 0.0, 1.0, 1.0]])]
    for expected, asked, is_expected in (
        (augmentations[0], augmentations[0].clone(), True),
        (augmentations[0], augmentations[1], False),
        (augmentations[0], None, False),
        (None, augmentations[0], False),
        (None, None, True),
    ):
        loader = Loader()
        ahead = Prefetcher(loader)
        ahead.expect(batches(4, augmentation=expected))
        loader.wait_for(1)
        found = ahead.take(torch.tensor([4]), asked)
        assert torch.equal(found.place, torch.zeros(1) if asked is None else asked)
        assert len(loader.loaded) == (1 if is_expected else 2)


def test_what_goes_wrong_ahead_is_raised_where_it_is_taken():
    loader = Loader(broken=(1,))
    ahead = Prefetcher(loader)
    ahead.expect(batches(0, 1, 2))
    loader.wait_for(3)
    assert take(ahead, 0) == 0
    with pytest.raises(OSError, match="batch 1 cannot be read"):
        take(ahead, 1)
    assert take(ahead, 2) == 2
    with pytest.raises(OSError, match="batch 1 cannot be read"):
        take(ahead, 1)  # unexpected now


def test_new_expectations_forget_the_old_ones():
    loader = Loader()
    loader.gate.clear()
    ahead = Prefetcher(loader)
    ahead.expect(batches(0, 1, 2, 3))
    while loader.under_way == 0:  # the first is being loaded, and no other
        threading.Event().wait(0.001)
    ahead.expect(batches(5, 6))
    loader.gate.set()
    assert [take(ahead, number) for number in (5, 6)] == [5, 6]
    assert loader.loaded == [0, 5, 6]
    ahead.expect([])
    assert take(ahead, 0) == 0
    assert loader.threads[-1] is threading.current_thread()


def test_waiting_is_counted():
    loader = Loader()
    loader.gate.clear()
    ahead = Prefetcher(loader)
    assert ahead.waited == 0.0

    def open_later():
        while loader.under_way == 0:
            threading.Event().wait(0.001)
        threading.Event().wait(0.02)
        loader.gate.set()

    threading.Thread(target=open_later).start()
    take(ahead, 3)
    assert 0.02 <= (waited := ahead.waited) < PATIENCE
    ahead.expect(batches(1))
    loader.wait_for(2)
    take(ahead, 1)
    assert ahead.waited >= waited


def test_a_process_ends_with_batches_still_to_come():
    script = """
import itertools, time, torch
from concurrent.futures import ThreadPoolExecutor
from est.train.data.prefetch import Prefetcher
from est.train.data.frames import BatchFrames
pool = ThreadPoolExecutor(2)
def load(index, augmentation):
    list(pool.map(time.sleep, [0.01] * 4))
    return BatchFrames(rows=index, place=index)
ahead = Prefetcher(load)
ahead.expect((torch.tensor([number]), None) for number in itertools.count())
print(int(ahead.take(torch.tensor([0]), None).rows))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=True)
    assert (done.stdout, done.stderr) == ("0\n", "")
