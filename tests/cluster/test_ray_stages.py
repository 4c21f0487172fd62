"""Who gets which input on a cluster, and what happens when actors die; without Ray."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from est.cache import Watch
from est.cache.interrupt import Stop
from est.cluster.rayengine.extractor import Extracted
from est.cluster.rayengine.stages import PATIENCE, TRIES, ClusterStages, Lost
from est.errors import EstError
from est.extract.config import CLIPS_AHEAD, ExtractConfig
from est.extract.workers.messages import Failed, Work
from est.extract.workers.pipeline import Pipeline
from est.inputs.input import Input

NUMBERS = range(150)


@dataclass(eq=False)
class Call:
    actor: FakeActor
    work: Work | None = None


class FakeActor:
    def __init__(self, crew):
        self.crew = crew

    def start(self):
        return Call(self)

    def rows_of(self, work, specs):
        self.crew.given[work.input.id] += 1
        return Call(self, work)

    def end(self):
        self.crew.ended += 1


@dataclass
class FakeCrew:
    """Answers the newest input of each actor; dies of some."""

    number: int = 3
    capacity: int = 2
    poison: tuple[str, ...] = ()  # inputs of which an actor dies whenever it has them
    deaths: int = 0  # of the actor that is asked next, whatever it has
    is_alive: bool = False
    is_away: bool = False
    absent: str = ""  # an input whose file no actor sees
    silent: str = ""  # an input that is never answered
    is_empty: bool = False  # no actor ever starts
    given: Counter[str] = field(default_factory=Counter)
    told: list[str] = field(default_factory=list)
    ended: int = 0
    greeted: int = 0
    alone: list[str] = field(default_factory=list)  # inputs that an actor had by themselves when it died

    def __post_init__(self):
        self.actors = [FakeActor(self) for _ in range(self.number)]
        self.warn = self.told.append
        self.is_closed = False

    def answers(self, calls, timeout):
        found: list[tuple[Any, Any]] = []
        for actor in self.actors:
            own = [call for call in calls if call.actor is actor]
            work = [call for call in own if call.work and call.work.input.id != self.silent]
            found += [(call, "facts") for call in own if call.work is None and not self.is_empty]
            if work and (self.deaths or any(call.work.input.id in self.poison for call in work)):
                self.deaths -= self.deaths > 0
                self.alone += [work[0].work.input.id] * (len(work) == 1)
                found += [
                    (call, Lost("its process ended", is_alive=self.is_alive, is_away=self.is_away)) for call in work
                ]
            elif work:
                found.append((work[-1], done(work[-1].work, is_seen=work[-1].work.input.id != self.absent)))
        return found

    def greet(self, facts):
        assert facts == "facts"
        self.greeted += 1

    def close(self):
        self.is_closed = True


def done(work, *, is_seen=True):
    return Extracted(
        node="n1", ended=Failed(index=work.index, stage="", error="fine"), is_seen=is_seen, seconds={"decode": 1.0}
    )


class Writing(Pipeline):
    """Notes what is written, in its order, and how far ahead inputs were begun."""

    def __init__(self, crew, folder=Path("/nowhere"), **more):
        inputs = [Input(id=str(number), path=folder / str(number), kind="video") for number in NUMBERS]
        self.written, self.ahead = [], 0
        super().__init__(
            inputs, {}, [], ExtractConfig(), 1, Stop(), lambda specs, *_: ClusterStages(specs, crew, **more)
        )

    def _work(self, index):
        self.ahead = max(self.ahead, index - self._oldest)
        return Work(index=index, input=self._inputs[index])

    def _write_one(self, source, ended):
        self.written.append((source.id, ended.error))

    def _commit_if_due(self):
        pass


def run(crew, **more):
    pipeline = Writing(crew, **more)
    pipeline.run(Watch())
    assert [name for name, _ in pipeline.written] == [str(number) for number in NUMBERS]
    assert crew.is_closed
    return pipeline


def failures(pipeline):
    return {name: error for name, error in pipeline.written if error != "fine"}


def test_whatever_ends_first_is_written_in_order():
    crew = FakeCrew()
    pipeline = run(crew)
    assert not failures(pipeline)
    assert crew.given.total() == len(NUMBERS)
    assert crew.greeted == crew.number
    assert pipeline.seconds == {"decode": len(NUMBERS)}


@pytest.mark.parametrize(("capacity", "ahead"), [(30, CLIPS_AHEAD), (50, 100)])
def test_so_many_are_begun_before_the_oldest_has_ended(capacity, ahead):
    """At most 64, or twice as many as are decoded at once."""
    crew = FakeCrew(number=1, capacity=capacity, silent="0")
    pipeline = Writing(crew)
    pipeline._stages._crew.capacity = 1000  # actors would take all
    pipeline._stop = SimpleNamespace(wanted=False)
    for _ in range(300):
        pipeline._begin()
        pipeline._ended |= pipeline._stages.advance()
        pipeline._write()
    pipeline._writing.shutdown()
    assert pipeline._next == ahead


def test_inputs_of_an_actor_that_died_are_done_by_another():
    crew = FakeCrew(deaths=1)
    assert not failures(run(crew))
    assert crew.given.total() == len(NUMBERS) + crew.capacity + 2
    assert crew.greeted == crew.number + 1
    assert crew.told == ["an actor died, and its clips are done again: its process ended"]
    assert crew.ended == 0


@pytest.mark.parametrize("how", ["is_alive", "is_away"])
def test_an_actor_that_lives_and_cannot_go_on_is_ended(how):
    crew = FakeCrew(deaths=1, **{how: True})
    assert not failures(run(crew))
    assert crew.ended == 1


@pytest.mark.parametrize("number", [1, 3])
def test_a_clip_that_kills_actors_fails_by_name_and_alone(number):
    crew = FakeCrew(number=number, poison=("7", "8", "149"))
    found = failures(run(crew))
    assert found.keys() == {"7", "8", "149"}
    assert set(found.values()) == {"3 actors died that had it, the last had nothing else: its process ended"}
    assert crew.given["7"] == crew.given["8"] == 3
    assert {"7", "8", "149"} <= set(crew.alone)


def test_an_actor_with_a_suspect_takes_nothing_beside_it():
    crew = FakeCrew(number=1, deaths=TRIES - 1)
    stages = ClusterStages({}, crew)
    stages.advance()
    stages.begin(Work(index=0, input=Input(id="0", path=Path("0"), kind="video")))
    assert stages.has_room
    while crew.deaths:
        stages.advance()
    crew.silent = "0"
    while crew.given["0"] < TRIES:
        stages.advance()
    assert not stages.has_room
    crew.silent = ""
    assert stages.advance().keys() == {0}
    assert stages.has_room


def test_deaths_with_clips_between_do_not_stop_the_run():
    crew = FakeCrew(poison=tuple(map(str, range(0, 150, 15))))
    assert failures(run(crew)).keys() == set(crew.poison)
    assert len(crew.told) > 10 + 2 * crew.number, "more than are allowed one after the other"


def test_actors_that_die_of_everything_stop_the_run():
    crew = FakeCrew(deaths=1000)
    with pytest.raises(EstError, match=r"17 actors died one after the other.*its process ended") as refused:
        run(crew)
    assert "the same command resumes" in refused.value.remedy
    assert crew.is_closed


def test_a_cluster_without_room_is_not_waited_for_for_ever():
    moments = iter(range(0, 10**6, 100))
    with pytest.raises(EstError, match=rf"No actor was ready on the cluster for {PATIENCE:g} s"):
        run(FakeCrew(is_empty=True), clock=lambda: next(moments))


def test_a_file_that_a_node_does_not_see_stops_the_run(tmp_path):
    crew = FakeCrew(absent="5")
    assert not failures(run(crew))  # nobody sees it: the failure of any extraction
    (tmp_path / "5").touch()
    with pytest.raises(
        EstError, match=r"/5 is not there on node n1, and is on the node that writes the cache"
    ) as refused:
        run(FakeCrew(absent="5"), folder=tmp_path)
    assert "under the same path" in refused.value.remedy
