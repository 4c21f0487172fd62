"""The stages of a pipeline on the actors of a cluster: inputs go to the actor that has fewest, and those of an actor that died to another.

An input that an actor had when it died is not to blame: the node may have gone. It is given to another actor; after the second death it
is given to an actor that has nothing else, so that the third is its own. Then it has failed, by name.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from ...cache.schema import FeatureSpec
from ...errors import EstError
from ...extract.config import CLIPS_AHEAD
from ...extract.workers.messages import Failed, Recrop, Work
from ...extract.workers.stages import InHand
from .extractor import Extracted

TRIES = 3  # deaths of actors that had an input, after which it has failed
SPARE = 2  # inputs that an actor has beside those that it decodes, so that it need not wait for the next
WAIT = 0.1  # seconds for the next answer
PATIENCE = 600.0  # seconds without any actor that is ready


@dataclass(frozen=True)
class Lost:
    """The answer to a call whose actor died: why, as far as is known."""

    reason: str
    is_alive: bool = False  # the actor lives, and cannot go on
    is_away: bool = False  # the actor is not reached, and may live


class Actor(Protocol):
    """A decode-and-encode actor."""

    def start(self) -> object:
        """Ask for its facts; the answer comes when it is ready, after a death when it was replaced."""
        ...

    def rows_of(self, work: Work, specs: Mapping[str, FeatureSpec]) -> object:
        """Ask for an input."""
        ...

    def end(self) -> None:
        """End it, so that another takes its place."""
        ...


class Crew(Protocol):
    """All actors of a run."""

    @property
    def actors(self) -> Sequence[Actor]:
        """Return them."""
        ...

    @property
    def capacity(self) -> int:
        """Count the clips that each decodes at once."""
        ...

    def answers(self, calls: Sequence[object], timeout: float) -> list[tuple[object, Any]]:
        """Wait a moment for answers; return them, each with its call: `Lost` where the actor died."""
        ...

    def greet(self, facts: Any) -> None:
        """Take the facts of an actor that is ready."""
        ...

    def warn(self, text: str) -> None:
        """Tell people."""
        ...

    def close(self) -> None:
        """End all actors."""
        ...


@dataclass(eq=False)
class Slot:
    """An actor, and what it has in hand."""

    actor: Actor
    starting: object | None = None  # the call that asked for its facts
    calls: dict[object, int] = field(default_factory=dict)  # → index of the input
    again: float = 0.0  # when it is asked again whether it is ready


class ClusterStages:
    """Decoding, detection and encoding on the actors of a crew."""

    def __init__(
        self, specs: Mapping[str, FeatureSpec], crew: Crew, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._specs = specs
        self._crew = crew
        self._clock = clock
        self._slots = [Slot(actor, starting=actor.start()) for actor in crew.actors]
        self._jobs: dict[int, Work] = {}
        self._deaths: Counter[int] = Counter()
        self._redo: deque[int] = deque()  # inputs of actors that died
        self._in_a_row = 0  # deaths since an input ended
        self._ready = clock()  # when an actor was last ready
        self.ahead = max(CLIPS_AHEAD, 2 * crew.capacity * len(self._slots))
        self.full: Mapping[str, int] = {}
        self.seconds: Counter[str] = Counter()
        self.begun: float | None = None

    @property
    def has_room(self) -> bool:
        """Return whether an actor can take one more; inputs to be done again go first."""
        return not self._redo and self._free() is not None

    @property
    def queues(self) -> Mapping[str, int]:
        """Nothing waits here: each actor has what it can do."""
        return {}

    @property
    def busy(self) -> float:
        """Return the share of the actors that have an input."""
        return sum(bool(slot.calls) for slot in self._slots) / len(self._slots)

    @property
    def is_decoding(self) -> bool:
        """Actors do not tell which of their stages is slowest."""
        return False

    def begin(self, job: Work | Recrop) -> None:
        """Give an input to the actor that has fewest."""
        assert isinstance(job, Work), "crops of a cache are brought on the node that writes"
        slot = self._free()
        assert slot is not None
        self._jobs[job.index] = job
        self._give(slot, job.index)

    def advance(self) -> dict[int, InHand | Failed]:
        """Give out again what was lost, then take the answers that are there."""
        self._give_again()
        calls = [call for slot in self._slots for call in (slot.starting, *slot.calls) if call is not None]
        ended: dict[int, InHand | Failed] = {}
        for call, answer in self._crew.answers(calls, WAIT):
            slot = next(slot for slot in self._slots if call == slot.starting or call in slot.calls)
            if call == slot.starting:
                self._started(slot, answer)
                continue
            index = slot.calls.pop(call)
            if isinstance(answer, Lost):
                if (failed := self._lost(slot, index, answer)) is not None:
                    ended[index] = failed
            else:
                ended[index] = self._took(index, answer)
        self._expect_actors()
        return ended

    def close(self) -> None:
        """Give up what is in hand."""
        self._crew.close()

    def _free(self) -> Slot | None:
        """Return the actor with fewest inputs that may have one more."""
        free = [slot for slot in self._slots if self._is_open(slot) and len(slot.calls) < self._crew.capacity + SPARE]
        return min(free, key=lambda slot: len(slot.calls), default=None)

    def _is_open(self, slot: Slot) -> bool:
        return slot.starting is None and not slot.again and not any(map(self._is_suspect, slot.calls.values()))

    def _is_suspect(self, index: int) -> bool:
        return self._deaths[index] >= TRIES - 1

    def _give(self, slot: Slot, index: int) -> None:
        slot.calls[slot.actor.rows_of(self._jobs[index], self._specs)] = index

    def _give_again(self) -> None:
        """Give lost inputs to other actors, suspects to one that has nothing; ask actors again that were not back."""
        for slot in self._slots:
            if slot.again and self._clock() >= slot.again:
                slot.again, slot.starting = 0.0, slot.actor.start()
        while self._redo:
            slot = self._free()
            if slot is None or (self._is_suspect(self._redo[0]) and slot.calls):
                return
            self._give(slot, self._redo.popleft())

    def _started(self, slot: Slot, answer: Any) -> None:
        slot.starting = None
        if isinstance(answer, Lost):  # it died before it was ready; another takes its place
            self._count_death(answer.reason)
            slot.again = self._clock() + 1.0
        else:
            self._ready = self._clock()
            self._crew.greet(answer)

    def _took(self, index: int, answer: Extracted) -> InHand | Failed:
        job = self._jobs.pop(index)
        if not answer.is_seen and job.input.path.exists():
            raise EstError(
                f"{job.input.path} is not there on node {answer.node}, and is on the node that writes the cache.",
                remedy="a folder that every node sees under the same path",
            )
        self.begun = self.begun or time.monotonic()
        self.seconds.update(answer.seconds)
        self._deaths.pop(index, None)
        self._in_a_row = 0
        return answer.ended

    def _lost(self, slot: Slot, index: int, lost: Lost) -> Failed | None:
        """Note that an actor died with an input; return the failure where it was the last time."""
        if slot.starting is None and not slot.again:
            self._count_death(lost.reason)
            if lost.is_alive or lost.is_away:  # else it works on beside the one that has its inputs next
                slot.actor.end()
            slot.starting = slot.actor.start()
        self._deaths[index] += 1
        if self._deaths[index] < TRIES:
            self._redo.append(index)
            return None
        del self._jobs[index]
        error = f"{TRIES} actors died that had it, the last had nothing else: {lost.reason}"
        return Failed(index=index, stage="decode", error=error)

    def _count_death(self, reason: str) -> None:
        self._in_a_row += 1
        self._crew.warn(f"an actor died, and its clips are done again: {reason}")
        most = 10 + 2 * len(self._slots)
        if self._in_a_row > most:
            raise EstError(
                f"{self._in_a_row} actors died one after the other, and no clip was done between: {reason}.",
                remedy="look into the logs of Ray; what was committed is kept, and the same command resumes",
            )

    def _expect_actors(self) -> None:
        """Refuse to wait for ever where no actor comes back."""
        if any(slot.starting is None and not slot.again for slot in self._slots):
            self._ready = self._clock()
        elif self._clock() - self._ready > PATIENCE:
            raise no_room()


def no_room() -> EstError:
    """Return the error of a cluster on which no actor starts."""
    return EstError(
        f"No actor was ready on the cluster for {PATIENCE:g} s.",
        remedy="ray status shows what is taken; the same command resumes",
    )
