"""How long work is watched: a bar or a table on a terminal, plain lines elsewhere, JSON events; and what it says is left."""

from __future__ import annotations

import io
import itertools
import re
import sys

import pytest
from rich.console import Console
from train_samples import read_lines

from est.cache import Progress
from est.commands.screen import Screen
from est.commands.trainview import Left
from est.commands.watching import JsonWatch, LineWatch, LiveWatch, watching
from est.commands.workview import Pace, bar_of, every_second, line_of, now_and_then
from est.train.loop.watch import Part


def record(epoch, **more):
    return {
        "epoch": epoch,
        "learning_rate": 1e-4,
        "loss": 1.5,
        "train_right": 3,
        "train_clips": 4,
        "seconds": 1.0,
        "clips_per_second": 123.4,
        **more,
    }


PART = Part(name="fold2", fold="fold2", seed=1, index=1, total=3)
ORDER = {"order_right": 1}
TEST = {"test_right": 2, "test_clips": 5, "test_uar": 0.25}
RESULT = {
    "war": 0.4,
    "uar": 0.25,
    "right": 2,
    "total": 5,
    "selected": {"epoch": 2},
    "seconds": 61.0,
    "control": {"war": 0.5},
}


def test_what_watches_suits_the_screen(monkeypatch):
    kinds = {}
    for name, screen in {"json": Screen(json=True), "quiet": Screen(quiet=True), "lines": Screen()}.items():
        with watching(screen) as watch:
            kinds[name] = type(watch).__name__
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    with watching(Screen()) as watch:
        kinds["terminal"] = type(watch).__name__
    assert kinds == {"json": "JsonWatch", "quiet": "QuietWatch", "lines": "LineWatch", "terminal": "LiveWatch"}


def test_who_stops_quiet_work_is_told_how_it_goes_on(capsys):
    for screen in (Screen(quiet=True), Screen(quiet=True, json=True), Screen()):
        with watching(screen) as watch:
            watch.say("a sentence")
            watch.stopped("the same command resumes")
        out, err = capsys.readouterr()
        assert "the same command resumes" in (out if screen.json else err)
        assert ("a sentence" in err) == (not screen.quiet)


def test_a_terminal_gets_a_bar(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm-256color")
    with watching(Screen()) as watch:
        watch.progress(Progress(what="Working", unit="clips", done=3, total=7, stage="halfway"))
        watch.progress(Progress(what="Resting", unit="clips", done=1, total=7))
        watch.begin(PART, epochs=4, steps=2, first_epoch=1)
    lines = re.sub(r"\x1b\[[0-9;?]*\w", "", terminal.getvalue()).splitlines()
    assert any(re.search(r"Working .*━.* 3/7 clips", line) for line in lines)
    assert "halfway" in [line.strip() for line in lines]
    assert any(re.search(r"Resting .*━.* 1/7 clips", line) for line in lines)


def test_a_table_has_a_column_for_everything_that_some_epoch_has():
    watch = LiveWatch(Screen())
    watch.console = Console(file=io.StringIO(), width=120)

    def shown():
        console = Console(file=io.StringIO(), width=120)
        console.print(watch.render())
        return console.file.getvalue().splitlines()

    assert shown() == [""]
    watch.begin(PART, epochs=4, steps=2, first_epoch=1)
    assert shown()[0].split() == ["epoch"]
    watch.epoch(PART, record(1, **ORDER, **TEST))
    watch.epoch(PART, record(2, **ORDER))  # not scored
    for step in (1, 2):
        watch.step(1, step)
    lines = shown()
    assert lines[0].split() == ["epoch", "lr", "loss", "train", "WAR", "order", "test", "WAR", "test", "UAR", "clips/s"]
    assert lines[1].split() == ["1", "1.0e-04", "1.500", "75.0%", "25.0%", "40.0%", "25.0%", "123"]
    assert lines[2].split() == ["2", "1.0e-04", "1.500", "75.0%", "25.0%", "123"]
    assert lines[1].rindex("123") == lines[2].rindex("123"), "numbers stand below their names"
    assert "  fold2 (2 of 3) · 12/24 steps" in lines[-1]
    assert "left" in lines[-1]
    for epoch in range(3, 20):
        watch.epoch(PART, record(epoch))
    assert len(shown()) == 1 + 8 + 1, "the last eight"
    watch.end(PART, RESULT)
    watch.warn("[careful]")
    assert watch.console.file.getvalue().splitlines() == [
        "fold2 (2 of 3): WAR 40.0% (2/5), UAR 25.0%, control 50.0%, epoch 2, 1:01",
        "Warning: [careful]",
    ]


def test_lines_come_now_and_then(capsys):
    watch = LineWatch(Screen())
    watch.begin(PART, epochs=30, steps=2, first_epoch=1)
    for epoch in range(30):
        watch.step(epoch, 2)
        watch.epoch(PART, record(epoch + 1))
    watch.end(PART, RESULT)
    out, err = capsys.readouterr()
    assert out == ""
    assert [line.split(",")[0] for line in err.splitlines()] == [
        "fold2 (2 of 3): epoch 1",
        "fold2 (2 of 3): epoch 30",
        "fold2 (2 of 3): WAR 40.0% (2/5)",
    ]


def test_json_events(capsys):
    watch = JsonWatch(Screen(json=True))
    watch.begin(PART, epochs=4, steps=2, first_epoch=3)
    watch.step(1, 1)
    watch.epoch(PART, record(1))
    watch.say("so")
    watch.warn("beware")
    watch.end(PART, RESULT)
    events = read_lines(capsys.readouterr().out)
    assert [event["event"] for event in events] == ["part", "epoch", "note", "warning", "part_result"]
    assert events[0]["first_epoch"] == 3
    assert events[1] == {"event": "epoch", "part": "fold2", **record(1)}


def test_what_is_left_goes_by_this_process(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("est.commands.trainview.time.monotonic", lambda: now[0])
    left = Left()
    assert left.text() == ""
    now[0] = 100.0  # of loading
    left.begin(Part(name="a", fold="a", seed=1, index=0, total=2), 10, 4, first_epoch=6)
    assert (left.total, left.steps_done()) == (80, 20)
    for step, seconds in enumerate((130.0, 132.0, 134.0, 136.0), start=1):
        now[0] = seconds
        left.step(5, step)
        if step == 1:
            assert left.text() == "29:30", "59 steps of thirty seconds, as far as is known"
    assert left.steps_done() == 24
    assert left.text() == "1:52", "56 steps of two seconds: the first one took longer"
    assert left.elapsed() == 136.0


@pytest.fixture
def now(monkeypatch):
    """The time of the pace, which tests set."""
    found = [0.0]
    monkeypatch.setattr("est.commands.workview.time.monotonic", lambda: found[0])
    return found


def state(done, total=9, **more):
    return Progress(**{"what": "Copying", "unit": "clips", "done": done, "total": total, **more})


def test_states_come_now_and_then(now):
    pace = Pace(lambda elapsed: 10.0)

    def shown(second, what, done):
        now[0] = second
        return pace.elapsed if pace.take(state(done, what=what)) else None

    assert [shown(second, "Copying", done) for done, second in enumerate((2.0, 3.0, 12.0, 13.0))] == [
        2.0,
        None,
        12.0,
        None,
    ]
    assert shown(14.0, "Copying", 9) == 14.0, "the last one"
    assert shown(15.0, "Filling", 1) == 1.0, "what follows began then"


def test_the_time_left_counts_from_the_first_that_is_finished(now):
    """Loading and the start of workers do not count; clips that were finished ahead of an older one do."""
    pace, found = Pace(now_and_then), []
    for second, done, ahead in ((50, 0, 0), (100, 0, 0), (110, 0, 0), (120, 0, 4), (130, 6, 0), (145, 8, 1)):
        now[0] = float(second)
        pace.take(state(done, ahead=ahead, seconds=max(second - 100.0, 0.0)))
        found.append(pace.left)
    assert found == [None, None, None, 25.0, 15.0, None]
    now[0] = 200.0
    pace.take(state(0))
    now[0] = 203.0
    pace.take(state(1))
    assert pace.left == 24.0, "another list of the same work counts from its own beginning"
    now[0] = 213.0
    assert pace.left == 14.0, "it runs down between states"


def test_lines_become_rarer(now):
    pace, shown = Pace(now_and_then), []
    for second in range(4000):
        now[0] = float(second)
        if pace.take(state(1, 10_000)):
            shown.append(second)
    assert shown[:6] == [0, 10, 20, 30, 40, 50]
    assert {after - before for before, after in itertools.pairwise(shown) if before >= 600} == {60}
    assert len(shown) < 100
    assert every_second(3000.0) == 1.0, "machines hear as often as before"


def test_a_line_says_what_is_waited_for(now):
    pace = Pace(now_and_then)
    pace.take(state(0))
    now[0] = 10.0
    pace.take(state(0, what="Extracting"))
    now[0] = 20.0
    waited = "the encoder is the bottleneck, 138 crops queued"
    told = state(3, what="Extracting", frames=500, seconds=10.0, failed=1, bottleneck=waited)
    pace.take(told)
    assert line_of(told, pace) == f"Extracting: 3/9 clips, 20s, 20s left · 50 frames/s · {waited} · 1 failed"
    assert line_of(state(3, total=0), pace).startswith("Copying: 3 clips, 20s")


def test_no_bar_of_an_unknown_number(now):
    def drawn(progress):
        pace = Pace(now_and_then)
        pace.take(progress)
        console = Console(file=io.StringIO(), width=120, color_system=None, force_terminal=True)
        console.print(bar_of(progress, pace))
        return console.file.getvalue()

    assert "━" not in drawn(state(0, total=0))
    assert "0 clips" in drawn(state(0, total=0))
    assert "━" not in drawn(state(0)), "nor a full one at none of nine"
    assert drawn(state(9)).count("━") == 40
