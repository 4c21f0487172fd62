"""One study: the trials of a model, or of the control, inside the training half of one outer fold.

Trials are asked for one by one, so that several processes can work on a study. Each trial names the process that works on it; when that
process is gone, the trial is failed as interrupted and tried again with the same settings. A finished trial is never lost: it is written
before it is counted.
"""

from __future__ import annotations

import math
import os
import socket
import time
import warnings
import zlib
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import EstError
from ..found.record import Record, State
from ..space.grid import points
from ..space.space import Space
from .settings import Pruner, SweepConfig
from .storage import optuna

if TYPE_CHECKING:
    from optuna.storages import BaseStorage
    from optuna.study import Study as Optimised
    from optuna.trial import FrozenTrial, Trial

TENTHS = 10  # of a training, after which its value is told: trainings of different length can be compared
STARTUP = 5  # trials before the others are compared with them
SILENT = 600.0  # seconds without a sign of life, after which a process on another machine counts as gone
BETWEEN_SIGNS = 60.0


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
    signs: bool  # whether to give signs of life: where processes of other machines may look

    def __post_init__(self) -> None:
        self._last_sign = 0.0

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
            study = found.create_study(
                study_name=f"{sweep}/{name}",
                storage=storage,
                direction="maximize",
                load_if_exists=True,
                pruner=_pruner(found, config.pruner),
            )
            for key, value in facts.items():
                if key not in study.user_attrs:
                    study.set_user_attr(key, value)
        return cls(name=name, config=config, study=study, worker=worker_name(), **fields)

    def recover(self) -> int:
        """Fail the trials whose process is gone, and have them tried again; return how many there were."""
        found, count = optuna(), 0
        with _reaching():
            for trial in self._trials():
                if trial.state != found.trial.TrialState.RUNNING or self._lives(trial.user_attrs.get("worker", "")):
                    continue
                self.study._storage.set_trial_user_attr(trial._trial_id, "interrupted", True)
                try:
                    self.study.tell(trial.number, state=found.trial.TrialState.FAIL)
                except ValueError:
                    continue  # another process was faster
                self.study.enqueue_trial(trial.params)
                count += 1
        return count

    def enqueue(self, point: Mapping[str, Any]) -> None:
        """Have a point tried first, where nothing has been tried."""
        with _reaching():
            if not self._trials():
                self.study.enqueue_trial(dict(point))

    @property
    def left(self) -> int:
        """Return how many trials may still begin."""
        if self.exhausted:
            return 0
        return max(0, (self.config.trials or 10**9) - len(self._counted()))

    @property
    def begun(self) -> int:
        """Count the trials that have begun."""
        return len(self._counted())

    @property
    def exhausted(self) -> bool:
        """Say whether every point of a grid has been tried."""
        if self.config.sampler != "grid":
            return False
        return next(self._untried(), None) is None

    def ask(self) -> tuple[Trial, dict[str, Any]]:
        """Begin a trial; return it with its settings."""
        with _reaching(), warnings.catch_warnings():
            found = optuna()
            warnings.simplefilter("ignore", found.exceptions.ExperimentalWarning)
            if self.config.sampler == "grid" and (point := next(self._untried(), None)) is not None:
                self.study.enqueue_trial(point)
            self.study.sampler = self._sampler(found)
            trial = self.study.ask()
            trial.set_user_attr("worker", self.worker)
            return trial, self.space.suggest(trial)

    def report(self, trial: Trial, tenth: int, value: float) -> bool:
        """Tell the value after so many tenths of a training; say whether the trial is to be pruned."""
        with _reaching():
            self._give_sign()
            trial.report(value, tenth)
            return trial.should_prune()

    def tell(self, trial: Trial, state: State, value: float | None = None, **facts: Any) -> None:
        """End a trial."""
        states = optuna().trial.TrialState
        with _reaching():
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

    def _untried(self) -> Iterator[dict[str, Any]]:
        """Yield the points of a grid that no trial has had, and none is to have."""
        waiting = optuna().trial.TrialState.WAITING
        tried = [t.params for t in self._counted()]
        tried += [t.system_attrs.get("fixed_params", {}) for t in self._trials() if t.state == waiting]
        return (point for point in points(self.space) if point not in tried)

    def _trials(self) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False)

    def _counted(self) -> list[FrozenTrial]:
        """Return the trials that count: not those that were interrupted, nor those that wait to be asked for."""
        waiting = optuna().trial.TrialState.WAITING
        return [t for t in self._trials() if not t.user_attrs.get("interrupted") and t.state != waiting]

    def _record(self, trial: FrozenTrial) -> Record:
        states = optuna().trial.TrialState
        names: dict[Any, State] = {states.COMPLETE: "complete", states.PRUNED: "pruned", states.FAIL: "failed"}
        facts = trial.user_attrs
        values = {} if not trial.params else self.space.values_of(trial.params)
        epochs = int(facts.get("epochs", 0))
        curve = tuple(
            (math.ceil(tenth * epochs / TENTHS), value) for tenth, value in sorted(trial.intermediate_values.items())
        )
        return Record(
            number=trial.number,
            state=names.get(trial.state, "running"),
            value=trial.value if trial.state == states.COMPLETE else (curve[-1][1] if curve else None),
            loss=facts.get("loss"),
            values=values,
            curve=curve,
            epochs=epochs,
            seconds=float(facts.get("seconds", 0.0)),
            together=int(facts.get("together", 1)),
            error=str(facts.get("error", "")),
        )

    def _sampler(self, found: Any) -> Any:
        """Return a sampler whose stream follows from the seed and the number of trials, so that a resumed study draws anew."""
        numbers = [self.config.seed, zlib.crc32(self.name.encode()), len(self._trials())]
        seed = int(np.random.SeedSequence(numbers).generate_state(1)[0])
        match self.config.sampler:
            case "random" | "grid":  # the points of a grid are put before it
                return found.samplers.RandomSampler(seed=seed)
        return found.samplers.TPESampler(seed=seed, multivariate=True, group=True, constant_liar=True)

    def _lives(self, worker: str) -> bool:
        """Say whether the process of a trial is still there."""
        host, _, rest = worker.partition("|")
        if host == socket.gethostname():
            return worker == self.worker or _is_running(rest)
        last = self.study.user_attrs.get(f"alive {worker}")
        return last is None or time.time() - float(last) < SILENT

    def _give_sign(self) -> None:
        if self.signs and time.monotonic() - self._last_sign > BETWEEN_SIGNS:
            self._last_sign = time.monotonic()
            self.study.set_user_attr(f"alive {self.worker}", time.time())


def worker_name() -> str:
    """Return the name of this process, by which others see whether it is still there."""
    return f"{socket.gethostname()}|{os.getpid()}|{_started(os.getpid())}"


def _is_running(rest: str) -> bool:
    pid, _, started = rest.partition("|")
    if not pid.isdigit():
        return False
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
        raise EstError(
            f"The studies cannot be written: {error.strerror or error}.",
            remedy="free some space or check the rights, then run the same command again: finished trials are kept",
        ) from error
    except found.exceptions.StorageInternalError as error:
        raise EstError(
            "The storage of the studies does not answer.",
            remedy="check the database, then run the same command again: finished trials are kept",
        ) from error
