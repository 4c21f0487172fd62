"""Sweeps of a second: a small cache with given folds, a small model, a space of one setting; and sweeps in processes of their own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

from train_samples import Recorder, learning_cache, tiny_config

from est.sweep.search.settings import SweepConfig
from est.sweep.search.storage import JOURNAL, open_storage
from est.sweep.search.sweeping import sweep_cache
from est.sweep.space.tables import space_of
from est.train.models.gru.config import Config

CLIPS = 54
SUBJECTS = 9
GRU = Config(hidden=8, frames=8)
RATES = {"low": 1e-3, "high": 3e-2, "log": True}
FOLDED = {index: {"fold": index // 3 % SUBJECTS % 2} for index in range(CLIPS)}  # by subject


def folded_cache(path, **changed):
    """Write a cache of two given folds, by subject; return its path."""
    fields = {index: {**fold, **changed.get("fields", {}).get(index, {})} for index, fold in FOLDED.items()}
    settings = {"subjects": SUBJECTS, "strength": 0.3, **changed, "fields": fields}
    return learning_cache(path, CLIPS, **settings)


def base_config(**changed):
    """Return a configuration that trains in a moment."""
    return tiny_config(**{"model": GRU, "epochs": 3, "seeds": (1,), **changed})


def rates_space(base=None, **tables):
    """Return a space of the learning rate, or of what else is given."""
    return space_of(tables or {"loop": {"learning_rate": RATES}}, model="gru", base=base or base_config())


class Watch(Recorder):
    """Keeps what a sweep says, and sends Ctrl-C after so many reports; SECONDS_BETWEEN_WRITES says how far apart they are."""

    def __init__(self, interrupt_after=0):
        super().__init__()
        self.reports, self.after = [], interrupt_after

    def trials(self, found):
        self.reports.append(found)
        if len(self.reports) == self.after:
            signal.raise_signal(signal.SIGINT)


def swept(cache, out, *, base=None, space=None, watch=None, workers=1, retrain_seeds=0, storage="", **how):
    """Sweep: two trials in two inner folds, and a control, unless something else is said."""
    base = base or base_config()
    how = SweepConfig(**{"trials": 2, "inner": 2, **how})
    return sweep_cache(
        cache,
        out,
        base,
        space or rates_space(base),
        how,
        workers=workers,
        retrain_seeds=retrain_seeds,
        storage=storage,
        watch=watch or Watch(),
    )


def essence(study):
    """Return what a study found, but for times."""
    return [(r.number, r.state, r.value, r.loss, dict(r.values), r.curve, r.error) for r in study.records]


def trials_of(out):
    """Return the trials of each study of a journal as Optuna has them, the interrupted ones too."""
    storage = open_storage(out)
    studies = {study.study_name.partition("/")[2]: study._study_id for study in storage.get_all_studies()}
    return {name: storage.get_all_trials(number) for name, number in studies.items()}


def number_of(study, state="complete"):
    """Count the trials of a state."""
    return sum(record.state == state for record in study.records)


SPACE = """
[model]
name = "gru"
hidden = 8
frames = 8
[loop]
learning_rate = {low = 1e-3, high = 3e-2, log = true}
batch = 8
warmup = 1
epochs = EPOCHS
"""


def space_file(path, epochs=3):
    """Write the space of a command; return its path."""
    path.write_text(SPACE.replace("EPOCHS", str(epochs)), encoding="utf-8")
    return path


def arguments(cache, out, space, **options):
    """Return the arguments of a command."""
    given = {"trials": 2, "inner": 2, "workers": 1, "device": "cpu", **options}
    words = [word for name, value in given.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    return ["sweep", "--cache", str(cache), "--out", str(out), "--model", "gru", "--space", str(space), *words]


def start(*words, **popen):
    """Start `est` in a process of its own."""
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return subprocess.Popen(
        [sys.executable, "-m", "est", *map(str, words)],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **popen,
    )


def wait_for(condition, seconds=240.0):
    """Wait until a condition holds; return its value."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.05)
    raise AssertionError("waited in vain")


def journal_lines(out):
    """Return the lines of a journal."""
    path = out / JOURNAL
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]


def num_complete(out):
    """Count the complete trials of a journal: its operation 6 sets a state, of which 1 is complete."""
    return sum(line["op_code"] == 6 and line.get("state") == 1 for line in journal_lines(out))
