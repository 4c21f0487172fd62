"""One study: the trials of a model, or of the control, inside the training half of one outer fold.

Trials are asked for one by one, so that several processes can work on a study: `ask`, `recover` and `enqueue` are called under the lock of
the sweep. Each trial names the process that works on it; when that process is gone, the trial is failed as interrupted and tried again
with the same settings. A finished trial is never lost: it is written before it is counted.
"""

from __future__ import annotations

import itertools
import math
import os
import socket
import time
import warnings
import zlib
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..found.record import Record, State
from ..space.grid import points
from ..space.space import Space
from .settings import Pruner, SweepConfig
from .storage import StudiesUnreachable, optuna

if TYPE_CHECKING:
    from optuna.storages import BaseStorage
    from optuna.study import Study as Optimised
    from optuna.trial import FrozenTrial, Trial

TENTHS = 10  # of a training, after which its value is told: trainings of different length can be compared
ATTEMPTS = 3  # at a trial whose process is lost
STARTUP = 5  # trials before the others are compared with them
SILENT = 1800.0  # seconds without a heartbeat, after which a process on another machine counts as gone
BETWEEN_SIGNS = 60.0

_numbers = itertools.count()
_searching: set[str] = set()  # the names under which this process works on trials


@dataclass(kw_only=True, eq=False)
class Study:
    """Trials of one outer fold."""

    name: str  # "fold1", or "fold1/control"
    fold: str
    control: bool
    space: Space
    config: SweepConfig
    study: Optimised
    worker: str
    shared: bool  # whether processes that do not share the sweep's lock may ask for trials

    def __post_init__(self) -> None:
        self._last_sign = -BETWEEN_SIGNS

    @classmethod
    def open(
        cls,
        storage: BaseStorage,
        sweep: str,
        name: str,
        *,
        config: SweepConfig,
        facts: Mapping[str, Any],
        **fields: Any,
    ) -> Study:
        """Open a study of a sweep, or make it; `facts` are written once."""
        found = optuna()
        with _reaching():
            named: dict[str, Any] = {"study_name": f"{sweep}/{name}", "storage": storage}
            named["pruner"] = _pruner(found, config.pruner)
            try:
                study = found.load_study(**named)
            except KeyError:
                study = found.create_study(**named, direction="maximize", load_if_exists=True)
            for key, value in facts.items():
                if key not in study.user_attrs:
                    study.set_user_attr(key, value)
        return cls(name=name, config=config, study=study, **fields)

    def recover(self) -> int:
        """Fail the trials whose process is gone, and have them tried again; return how many there were."""
        with _reaching():
            gone = [trial for trial in self._running() if not self._lives(trial)]
            return sum(self._lost(trial) for trial in gone)

    def give_up(self, trial: Trial) -> None:
        """Leave a trial that this process works on, to be tried again."""
        with _reaching():
            self._try_again(trial._trial_id, trial.number, trial.params)

    @property
    def running(self) -> int:
        """Count the trials under way."""
        with _reaching():
            return len(self._running())

    def enqueue(self, point: Mapping[str, Any]) -> None:
        """Queue a point as the first trial of a new study."""
        with _reaching():
            if not self._trials():
                self.study.enqueue_trial(dict(point))

    @property
    def left(self) -> int:
        """Return how many trials may still begin."""
        if self.exhausted:
            return 0
        return max(0, (self.config.trials or 10**9) - self.begun)

    @property
    def begun(self) -> int:
        """Count the trials that have started."""
        with _reaching():
            return len(self._counted())

    @property
    def exhausted(self) -> bool:
        """Return whether every point of a grid has been tried, and none waits."""
        with _reaching():
            return self._by_grid and not self._waiting() and next(self._untried(), None) is None

    def ask(self) -> tuple[Trial, dict[str, Any]]:
        """Begin a trial; return it with its settings."""
        with _reaching(), warnings.catch_warnings():
            found = optuna()
            warnings.simplefilter("ignore", found.exceptions.ExperimentalWarning)
            self.give_sign()
            if self._by_grid and not self._waiting() and (point := next(self._untried(), None)) is not None:
                self.study.enqueue_trial(point)
            self.study.sampler = self._sampler(found)
            trial = self.study.ask()
            trial.set_user_attr("worker", self.worker)
            return trial, self.space.suggest(trial)

    def report(self, trial: Trial, tenth: int, value: float) -> bool:
        """Report the value after so many tenths of a training; return whether the trial must end: pruned, or taken over."""
        with _reaching():
            self.give_sign()
            try:
                trial.report(value, tenth)
            except optuna().exceptions.UpdateFinishedTrialError:
                return True
            return trial.should_prune()

    def note(self, trial: Trial, name: str, fact: Any) -> None:
        """Record something of a trial."""
        with _reaching():
            trial.set_user_attr(name, fact)

    def tell(self, trial: Trial, state: State, value: float | None = None, **facts: Any) -> None:
        """End a trial; one that another process has taken over is that process's to end."""
        found = optuna()
        states = found.trial.TrialState
        with _reaching(), suppress(found.exceptions.UpdateFinishedTrialError):
            for name, fact in facts.items():
                trial.set_user_attr(name, fact)
            if state == "complete":
                self.study.tell(trial, value)
            else:
                self.study.tell(trial, state=states.PRUNED if state == "pruned" else states.FAIL)

    def records(self) -> tuple[Record, ...]:
        """Return the trials, but those that were interrupted and tried again."""
        with _reaching():
            counted = self._counted()
        waiting = optuna().trial.TrialState.WAITING
        return tuple(self._record(trial) for trial in counted if trial.state != waiting)

    def spans(self) -> list[tuple[float, float]]:
        """Return when each trial that has ended began and ended, in seconds."""
        with _reaching():
            counted = self._counted()
        return [
            (trial.datetime_start.timestamp(), trial.datetime_complete.timestamp())
            for trial in counted
            if trial.datetime_start is not None and trial.datetime_complete is not None
        ]

    def _untried(self) -> Iterator[dict[str, Any]]:
        """Yield the points of a grid that no trial has had, and none is to have."""
        tried = [trial.params for trial in self._counted()]
        return (point for point in points(self.space) if point not in tried)

    def _lost(self, trial: FrozenTrial) -> bool:
        """Try a trial again whose process is gone; one that has lost its process several times is failed for good."""
        same = [one for one in self._trials() if one.params == trial.params and one.user_attrs.get("interrupted")]
        lost = [one for one in same if one.user_attrs.get("lost")]
        if len(lost) + 1 >= ATTEMPTS:
            states = optuna().trial.TrialState
            try:
                error = f"its process ended without an error message {ATTEMPTS} times: it was killed, perhaps because memory ran out"
                self.study._storage.set_trial_user_attr(trial._trial_id, "error", error)
                self.study.tell(trial.number, state=states.FAIL)
            except (ValueError, optuna().exceptions.UpdateFinishedTrialError):
                return False
            return True
        try:
            self.study._storage.set_trial_user_attr(trial._trial_id, "lost", True)
        except optuna().exceptions.UpdateFinishedTrialError:
            return False
        return self._try_again(trial._trial_id, trial.number, trial.params)

    def _try_again(self, identity: int, number: int, params: Mapping[str, Any]) -> bool:
        """Fail a trial as interrupted, and put its settings before the others; False where another process has ended it."""
        found = optuna()
        point = self.study._storage.get_trial(identity).system_attrs.get(
            "fixed_params", {}
        )  # none of it may be drawn yet
        try:
            self.study._storage.set_trial_user_attr(identity, "interrupted", True)
            self.study.tell(number, state=found.trial.TrialState.FAIL)
        except (ValueError, found.exceptions.UpdateFinishedTrialError):
            return False
        self.study.enqueue_trial({**point, **params})
        return True

    @property
    def _by_grid(self) -> bool:
        return self.config.sampler == "grid" and not self.control

    def _trials(self) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False)

    def _waiting(self) -> list[FrozenTrial]:
        return [trial for trial in self._trials() if trial.state == optuna().trial.TrialState.WAITING]

    def _running(self) -> list[FrozenTrial]:
        return [trial for trial in self._trials() if trial.state == optuna().trial.TrialState.RUNNING]

    def _counted(self) -> list[FrozenTrial]:
        """Return the trials that count: not those that were interrupted, nor those that wait to be asked for."""
        states = optuna().trial.TrialState

        def counts(trial: FrozenTrial) -> bool:
            # what was completed after it had been taken for lost is complete
            return trial.state == states.COMPLETE or not trial.user_attrs.get("interrupted")

        return [trial for trial in self._trials() if trial.state != states.WAITING and counts(trial)]

    def _record(self, trial: FrozenTrial) -> Record:
        states = optuna().trial.TrialState
        names: dict[Any, State] = {states.COMPLETE: "complete", states.PRUNED: "pruned", states.FAIL: "failed"}
        facts = trial.user_attrs
        try:
            values = self.space.values_of(trial.params)
        except KeyError:  # its process has not drawn all of them yet
            values = {}
        epochs = int(facts.get("epochs", 0))
        curve = tuple(
            (math.ceil(tenth * epochs / TENTHS), value) for tenth, value in sorted(trial.intermediate_values.items())
        )
        last = curve[-1][1] if curve and trial.state != states.FAIL else None
        return Record(
            number=trial.number,
            state=names.get(trial.state, "running"),
            value=trial.value if trial.state == states.COMPLETE else last,
            loss=facts.get("loss"),
            values=values,
            curve=curve,
            epochs=epochs,
            seconds=float(facts.get("seconds", 0.0)),
            together=int(facts.get("together", 1)),
            error=str(facts.get("error", "")),
        )

    def _sampler(self, found: Any) -> Any:
        """Return a sampler whose stream follows from the seed and the number of trials, so that a resumed study draws again."""
        numbers = [self.config.seed, zlib.crc32(self.name.encode()), len(self._trials())]
        seed = int(np.random.SeedSequence(numbers).generate_state(1)[0])
        match self.config.sampler:
            case "random" | "grid":  # the points of a grid are put before it
                return found.samplers.RandomSampler(seed=seed)
        return found.samplers.TPESampler(seed=seed, multivariate=True, group=True, constant_liar=True)

    def _lives(self, trial: FrozenTrial) -> bool:
        """Return whether the process of a trial is still there. One without a name was killed before it gave it, under the lock."""
        worker = trial.user_attrs.get("worker", "")
        host, _, rest = worker.partition("|")
        if host == socket.gethostname():
            return worker in _searching or _is_running(rest)
        if not worker and not self.shared:
            return False
        begun = trial.datetime_start.timestamp() if trial.datetime_start is not None else 0.0
        return time.time() - float(self.study.user_attrs.get(f"alive {worker}", begun)) < SILENT

    def give_sign(self) -> None:
        """Record a heartbeat for processes of other machines."""
        if time.monotonic() - self._last_sign >= BETWEEN_SIGNS:
            self._last_sign = time.monotonic()
            with _reaching():
                self.study.set_user_attr(f"alive {self.worker}", time.time())


@contextmanager
def searching() -> Generator[str]:
    """Yield a name under which this process works on trials, by which others see whether it still does."""
    name = f"{socket.gethostname()}|{os.getpid()}|{_started(os.getpid())}|{next(_numbers)}"
    _searching.add(name)
    try:
        yield name
    finally:
        _searching.discard(name)


def _is_running(rest: str) -> bool:
    pid, started, _ = rest.split("|")
    if int(pid) == os.getpid():
        return False  # an earlier search of this process
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return _started(int(pid)) == started


def _started(pid: int) -> str:
    """Return when a process began, as Linux tells it; elsewhere nothing, and a number that was given again counts as the same process."""
    stat = Path(f"/proc/{pid}/stat")
    try:
        text = stat.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
    state, *_ = fields = text.rpartition(")")[2].split()
    return "" if state == "Z" else fields[19]


def _pruner(found: Any, kind: Pruner) -> Any:
    match kind:
        case "median":
            return found.pruners.MedianPruner(n_startup_trials=STARTUP, n_warmup_steps=2)
        case "hyperband":
            return found.pruners.HyperbandPruner(min_resource=1, max_resource=TENTHS)
    return found.pruners.NopPruner()


@contextmanager
def _reaching() -> Generator[None]:
    """Say so when studies cannot be read or written."""
    found = optuna()
    try:
        yield
    except OSError as error:
        raise StudiesUnreachable(
            f"The studies cannot be written: {error.strerror or error}.",
            remedy="free some space or check the permissions, then run the same command again: finished trials are kept",
        ) from error
    except found.exceptions.StorageInternalError as error:
        raise StudiesUnreachable(
            "The storage of the studies does not answer.",
            remedy="check the database, then run the same command again: finished trials are kept",
        ) from error.__cause__ or error  # Optuna's sentence guesses, and the driver's says it
