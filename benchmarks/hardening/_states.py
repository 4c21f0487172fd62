"""What commands leave on the disk: what a finished result holds, without times and places, and what may be there of an unfinished one.

A state is read while no process writes it. `so_far` functions raise AssertionError where a result is not a beginning of the
finished one, and return how far it is: a number that no later kill may make smaller, -1 where there is nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from same_results import digest_of

from est.cache import open_cache, verify_cache
from est.cache.schema import STRING
from est.cache.stores.disk import PARTIAL
from est.cache.stores.snapshot import open_snapshot, staging_path

Outcome = Mapping[str, Any]
FACTS, SUMMARY = "run.json", "predictions.json"  # what a run and a prediction end in
LOCK = ".lock"


def names_below(folder: Path) -> list[str]:
    """List all files below a folder, trials without their numbers; not locks, which stay where a killed process held them."""
    files = (path for path in folder.rglob("*") if not path.is_dir() and path.suffix != LOCK)
    return sorted(re.sub(r"(kept/\w+)/\d{4}-", r"\1/", str(path.relative_to(folder))) for path in files)


def files_in(path: Path) -> Outcome:
    """Return what the files of a folder say, or one file, those of a kind that tells the same each time."""
    files = sorted(path.rglob("*")) if path.is_dir() else [path, *sorted(path.parent.glob(path.name + ".md"))]
    named = {str(file.relative_to(path.parent)): file for file in files if file.is_file() and file.suffix != LOCK}
    return {name: digest_of(file) or "there" for name, file in named.items()}


def cache_rows(path: Path) -> Outcome:
    """Return every array of a cache, rows of removed clips included, and its recipes."""
    snapshot = open_snapshot(path)
    counts = snapshot.manifest.commit.counts
    found: dict[str, Any] = {}
    for name, spec in snapshot.manifest.schema.arrays().items():
        if spec.dtype == STRING:
            found[name] = list(snapshot.column(spec))
        elif spec.axis in ("clip", "failure"):
            found[name] = snapshot.column(spec).tobytes()
        else:
            found[name] = snapshot.rows(spec, 0, counts.of(spec.axis)).tobytes()
    return found | {"recipes": repr(snapshot.manifest.recipes.identity())}


def cache_so_far(path: Path, finished: Outcome) -> int:
    """Expect a cache of whole clips, the first of those that are to be in it."""
    if not path.exists() and not staging_path(path).exists():
        return -1
    cache = open_cache(path)
    assert (problems := verify_cache(path).problems) == [], problems
    found = cache_rows(path)
    assert found.keys() == finished.keys()
    for name, rows in found.items():
        assert rows == finished[name][: len(rows)], f"{name} has other rows"
    return len(cache)


def whole_cache(path: Path, finished: Outcome) -> int:
    """Expect a cache that is there whole, or not at all."""
    if not path.exists():
        return -1
    assert cache_so_far(path, finished) >= 0
    assert cache_rows(path) == finished, "a part of the result is there under its name"
    return 1


def run_so_far(path: Path, finished: Outcome) -> int:
    """Expect a run whose files are whole: parts that are scored are as they will be, others have a checkpoint that loads."""
    from est.train import Run
    from est.train.loop.checkpoint import load_checkpoint
    from est.train.runs.files import read_history
    from est.train.runs.run import CHECKPOINT, HISTORY, RESULT

    if not (path / FACTS).is_file():
        return -1
    run = Run.open(path)
    files = files_in(path)
    done = 0
    for name in run.parts:
        folder = run.part(name)
        place = f"{path.name}/parts/{name}"
        read_history(folder / HISTORY)
        if (folder / CHECKPOINT).is_file():
            done += load_checkpoint(folder / CHECKPOINT).meta["epoch"]
        if (folder / RESULT).is_file():
            for file in (RESULT, CHECKPOINT):
                assert files[f"{place}/{file}"] == finished[f"{place}/{file}"], f"{place}/{file} differs"
            done += 1000
    if run.complete:
        missing = finished.keys() - files.keys()
        assert not missing, f"complete without {missing}"
        return 1_000_000
    return done


def sweep_outcome(path: Path) -> Outcome:
    """Return what a sweep found: each fold's points and their values, its choice, and what that reaches.

    The control's points are drawn, and others are drawn where one was interrupted: they are counted.
    """
    found = json.loads((path / "sweep.json").read_text(encoding="utf-8"))
    studies = {
        study["name"]: sorted(
            json.dumps([record["values"], record["value"]])
            for record in study["records"]
            if record["state"] == "complete"
        )
        for study in found["studies"]
    }
    told = {name: len(points) if "control" in name else points for name, points in studies.items()}
    chosen = {file.name: file.read_text(encoding="utf-8") for file in sorted((path / "best").glob("fold?.toml"))}
    runs = {name: value for name, value in files_in(path / "retrained").items() if name.startswith("retrained/fold")}
    return told | chosen | runs


def sweep_so_far(path: Path, finished: Outcome) -> int:
    """Expect studies that can be read, with no trial twice."""
    from est.sweep.search.storage import JOURNAL, open_storage

    if not (path / JOURNAL).is_file():
        return -1
    storage = open_storage(path)
    done = 0
    for study in storage.get_all_studies():
        name = study.study_name.partition("/")[2]
        trials = [trial for trial in storage.get_all_trials(study._study_id) if trial.state.name == "COMPLETE"]
        if name in finished and isinstance(finished[name], list):
            assert len(trials) <= len(finished[name]), f"{name} has more trials than asked for"
        done += len(trials)
    return done


def predicted_files(path: Path) -> Outcome:
    """Return what the files of a prediction say; what it resumes from is none of them, and may stay where it could not be removed."""
    from est.infer.prediction.output import UNFINISHED

    return {name: value for name, value in files_in(path).items() if UNFINISHED not in name}


def predictions_so_far(path: Path, finished: Outcome) -> int:
    """Expect a folder of predictions: complete, or with a work folder in which every kept video can be read."""
    from est.infer.prediction.output import FILES, UNFINISHED
    from est.infer.prediction.track import PredictedVideo

    if not path.exists():
        return -1
    if (path / SUMMARY).is_file():
        if json.loads((path / SUMMARY).read_text(encoding="utf-8"))["failures"]:
            return 999_999  # complete but for what is listed
        assert predicted_files(path) == finished, "complete, with other results"
        return 1_000_000
    kept = list((path / UNFINISHED).glob("*.npz")) if (path / UNFINISHED).is_dir() else []
    for file in kept:
        PredictedVideo.load(file)
    listed = (
        (path / UNFINISHED / FILES).read_text(encoding="utf-8").split("\n")
        if (path / UNFINISHED / FILES).is_file()
        else []
    )
    allowed = {*finished, *(f"{path.name}/{name}" for name in listed)}
    strange = [name for name in files_in(path) if UNFINISHED not in name and name.removesuffix(PARTIAL) not in allowed]
    assert not strange, f"files that belong to no prediction: {strange}"
    return len(kept)


def is_complete(path: Path) -> bool:
    """Say whether a run is complete."""
    from est.train import Run

    return (path / FACTS).is_file() and Run.open(path).complete


def whole_files(path: Path, finished: Outcome) -> int:
    """Expect files that are there whole, or not at all."""
    found = files_in(path) if path.exists() else {}
    for name, digest in found.items():
        assert digest == finished[name], f"{name} is there, and is not whole"
    return len(found) or -1


def sentence(said: str) -> str:
    """Return the error that a command told of, without what differs from run to run."""
    lines = said.splitlines()
    start = max((number for number, line in enumerate(lines) if line.startswith("Error:")), default=None)
    told = " | ".join(lines[start:]) if start is not None else lines[-1] if lines else ""
    return re.sub(r"/\S+/", "…/", told)
