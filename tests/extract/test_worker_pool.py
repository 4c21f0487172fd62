"""Who hangs, and who was only stopped together with everybody."""

from __future__ import annotations

import pytest

from est.extract.config import ExtractConfig
from est.extract.workers import worker_pool
from est.extract.workers.worker_pool import Worker, WorkerPool


class Clock:
    """A clock that goes on by itself while somebody waits."""

    def __init__(self, late: float) -> None:
        self.now, self._late = 0.0, late

    def monotonic(self) -> float:
        return self.now

    def wait(self, connections, timeout):
        self.now += timeout + self._late
        return []


@pytest.mark.parametrize(
    ("late", "turns", "hangs"),
    [(0.0, 23, False), (0.0, 25, True), (0.5, 25, True), (500.0, 23, False), (500.0, 25, True)],
)
def test_a_worker_hangs_if_it_is_silent_while_this_process_runs(late, turns, hangs, monkeypatch):
    clock = Clock(late)
    monkeypatch.setattr(worker_pool, "wait", clock.wait)
    monkeypatch.setattr(worker_pool, "time", clock)
    pool = object.__new__(WorkerPool)
    pool._config = ExtractConfig(weights="random", timeout=120)
    pool.workers = [Worker(None, None, busy=3)]
    monkeypatch.setattr(pool, "_replace", lambda worker: None)
    heard = [message for _ in range(turns) for _, message in pool.listen(5.0)]
    assert [failed.index for failed in heard[:1]] == [3] * hangs
    assert all("120 s" in failed.error for failed in heard)
