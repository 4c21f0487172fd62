"""The decode-and-encode actors of a run on Ray: started on all nodes, asked, and replaced by Ray where they die."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ... import __version__
from ...cache.environment import environment_changes
from ...cache.schema import FeatureSpec
from ...encoders.engines.choice import Computation
from ...encoders.engines.preparation import PreparedEncoder
from ...errors import EstError, brief
from ...extract.config import ExtractConfig
from ...extract.workers.messages import Work
from .extractor import Extractor, Facts
from .sizes import Sizes
from .stages import PATIENCE, SPARE, Lost, no_room

SOON = 60.0  # seconds until it is said that nothing has started
WAITING = "no actor is ready yet: ray status shows what is taken on the cluster"
LOGS = "the logs of Ray on that node say more"
INSTALLED = f"est-fer {__version__} with the packages of this environment on every node"


class RayActor:
    """One actor; Ray starts it again where it dies, on any node that has room."""

    def __init__(self, ray: Any, handle: Any) -> None:
        self._ray = ray
        self.handle = handle

    def start(self) -> Any:
        """Ask for its facts."""
        return self.handle.facts.remote()

    def rows_of(self, work: Work, specs: Mapping[str, FeatureSpec]) -> Any:
        """Ask for an input."""
        return self.handle.rows_of.remote(work, specs)

    def end(self, *, restarting: bool = True) -> None:
        """End it."""
        self._ray.kill(self.handle, no_restart=not restarting)


class RayCrew:
    """All actors."""

    def __init__(
        self,
        ray: Any,
        sizes: Sizes,
        folder: Path,
        config: ExtractConfig,
        computation: Computation,
        encoders: Sequence[PreparedEncoder],
        warn: Callable[[str], None],
    ) -> None:
        """Start them, and wait for the first."""
        self._ray = ray
        self._strict = config.strict
        self._known: set[str] = set()  # what was said of nodes
        self._warn = warn
        self.capacity = sizes.num_cpus
        kind = ray.remote(
            num_cpus=sizes.num_cpus,
            num_gpus=sizes.num_gpus,
            max_restarts=-1,
            max_concurrency=self.capacity + SPARE + 2,
            scheduling_strategy="SPREAD",
        )(Extractor)
        shared = ray.put(list(encoders))  # once for all actors, and for those that replace them
        self.actors = [RayActor(ray, kind.remote(folder, config, computation, shared)) for _ in range(sizes.actors)]
        self.first, self.facts = self._first()

    def close(self) -> None:
        """End all actors."""
        for actor in self.actors:
            actor.end(restarting=False)

    def answers(self, calls: Sequence[Any], timeout: float) -> list[tuple[Any, Any]]:
        """Wait a moment for answers."""
        if not calls:  # every actor that died is to be asked again in a moment
            time.sleep(timeout)
            return []
        done, _ = self._ray.wait(list(calls), num_returns=len(calls), timeout=0)
        if not done:
            done, _ = self._ray.wait(list(calls), num_returns=1, timeout=timeout)
        return [(call, self._answer(call)) for call in done]

    def greet(self, facts: Facts) -> None:
        """Refuse another est, and say where another processor rounds in another way."""
        if facts.version != __version__:
            raise EstError(
                f"Node {facts.node} has est {facts.version}, and the cache is written by est {__version__}.",
                remedy=f"pip install est-fer=={__version__} on every node",
            )
        changes = environment_changes(
            self.facts.environment, facts.environment, words=(f"on {self.facts.node}", f"on {facts.node}")
        )
        if changes and self._strict:
            raise EstError(
                f"Nodes differ, and with --strict they may not: {'; '.join(changes)}.",
                remedy="leave out --strict, or nodes of one kind",
            )
        for line in (*changes, *(f"{facts.node}: {warning}" for warning in facts.warnings)):
            if line not in self._known:
                self._known.add(line)
                self.warn(line)

    def warn(self, text: str) -> None:
        """Tell people."""
        self._warn(text)

    def _first(self) -> tuple[RayActor, Facts]:
        """Wait for the actor that is ready first."""
        begun = time.monotonic()
        calls = {actor.start(): actor for actor in self.actors}
        while time.monotonic() - begun < PATIENCE:
            for call, answer in self.answers(list(calls), 1.0):
                actor = calls.pop(call)
                if not isinstance(answer, Lost):
                    return actor, answer
                if answer.is_alive:
                    raise EstError(f"An actor cannot start: {answer.reason}.", remedy=LOGS)
                time.sleep(1.0)  # it is being replaced
                calls[actor.start()] = actor
            if time.monotonic() - begun > SOON and WAITING not in self._known:
                self._known.add(WAITING)
                self.warn(WAITING)
        raise no_room()

    def _answer(self, call: Any) -> Any:
        """Return what an actor answers; that it died, or cannot go on, is an answer too."""
        errors = self._ray.exceptions
        try:
            return self._ray.get(call)
        except errors.RayTaskError as error:
            if isinstance(error.cause, EstError):
                raise error.cause from None
            return Lost(brief(error.cause), is_alive=True)
        except errors.RayActorError as error:
            if error.actor_init_failed:
                raise EstError(f"An actor cannot start: {last_line(error)}.", remedy=INSTALLED) from error
            return Lost(why_died(error), is_away=isinstance(error, errors.ActorUnavailableError))
        except (
            errors.ObjectLostError,
            errors.NodeDiedError,
            errors.WorkerCrashedError,
            errors.OutOfMemoryError,
        ) as error:
            return Lost(brief(error))


def why_died(error: Any) -> str:
    """Return the sentence of Ray that says why an actor died, without the names that Ray gives it."""
    lines = [line for line in str(error).splitlines() if line.strip() and not line.startswith("\t")]
    line = lines[1] if len(lines) > 1 else lines[0] if lines else type(error).__name__
    return line if len(line) <= 160 else f"{line[:159].rstrip()}…"


def last_line(error: Any) -> str:
    """Return the last line of a traceback: the error itself."""
    return str(error).strip().splitlines()[-1].strip().rstrip(".")
