"""Which stage of an extraction the others wait for, told from the lengths of its queues."""

from __future__ import annotations

import pytest

from est.extract.workers.bottleneck import Bottleneck

FULL = {"detect": 16, "encode": 32, "write": 4}


@pytest.fixture
def told(monkeypatch):
    """`told(seconds, busy, detect=…)` looks ten times a second for so long, then says what the bottleneck is."""
    now = [0.0]
    monkeypatch.setattr("est.extract.workers.bottleneck.time.monotonic", lambda: now[0])
    found = Bottleneck(FULL)

    def tell(seconds, busy=1.0, *, decoding=True, **lengths):
        for _ in range(round(seconds * 10)):
            now[0] += 0.1
            found.look(dict.fromkeys(FULL, 0) | lengths, busy=busy)
        return found.describe(decoding=decoding)

    return tell


def test_nothing_is_said_at_first(told):
    assert told(0) == ""
    assert told(0.3, busy=0.0, detect=3) == "", "nor of a moment"


@pytest.mark.parametrize(
    ("lengths", "words"),
    [
        ({"encode": 138}, "the encoder is the bottleneck, 138 crops queued"),
        ({"detect": 40, "encode": 33}, "the detector is the bottleneck, 40 frames queued"),
        ({"encode": 64, "write": 12}, "writing is the bottleneck, 12 clips queued"),
        ({"encode": 20, "detect": 10}, ""),  # less than a batch, and devices are at work: nothing is waited for
    ],
)
def test_the_longest_queue_is_before_the_bottleneck(lengths, words, told):
    assert told(30, **lengths) == words


def test_devices_without_work_wait_for_decoding(told):
    assert told(30, busy=0.3, encode=10) == "decoding is the bottleneck"
    assert told(0.1, busy=0.3, decoding=False, encode=10) == "", "the last clips are decoded: the rest is on its way"


def test_it_follows_within_seconds(told):
    told(30, encode=138)
    assert told(0.2, encode=0).startswith("the encoder"), "a batch that was just taken changes nothing"
    assert told(10, busy=0.2) == "decoding is the bottleneck"
