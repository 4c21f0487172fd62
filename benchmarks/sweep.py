"""What a sweep finds: the default recipe, the preset `small`, swept settings and a swept control on ten reserved seeds of the demo.

    python benchmarks/sweep.py --folder work              # all ten seeds; the same command resumes
    python benchmarks/sweep.py --folder work --seeds 2    # the first two

Every seed is a set of other people (benchmarks/demo.py): 72 clips of 12 people, six classes, four folds by person. Renderer, weights, the
preset and the built-in space were made without them. Each sweep is nested: a fold's settings are chosen inside its training half, on
three inner folds by person, and its choice is trained on the whole half with three seeds and tested once. The control is searched with
as many trials. Intervals are 95 %, over people.

Question: does a swept EST pass the control that the default recipe does not pass by much, or at all?
"""

from __future__ import annotations

import argparse
import csv
import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as est demo does, before torch is imported

import json
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from _machine import machine

import demo as rendered
from est.demo.spec import BENCHMARK_SEEDS
from est.sweep.search.settings import SweepConfig
from est.sweep.search.sweeping import sweep_cache
from est.train import fit
from est.train.config.configfile import resolve
from est.train.results.intervals import score_intervals
from est.train.results.paired import compare_paired
from est.train.results.predictions import Predictions

TRIALS, SEEDS = 10, (3456, 3457, 3458)
PROTOCOL = {"protocol.kind": "kfold", "protocol.folds": 4, "eval_every": 0}
DEFAULT, SMALL, SWEPT, CONTROL, SWEPT_CONTROL = "fast", "small", "swept", "control", "swept control"
ROWS = (DEFAULT, SMALL, SWEPT, CONTROL, SWEPT_CONTROL)


def measure(folder: Path, seed: int, workers: int) -> dict[str, Any]:
    """Return what each row says of a seed's clips, and the seconds that it took."""
    cache = rendered.extracted(folder, seed).path
    found: dict[str, Any] = {"seconds": {}, "clips": {}}
    clock = time.perf_counter()

    def lap(name: str) -> None:
        nonlocal clock
        now = time.perf_counter()
        found["seconds"][name] = round(now - clock, 1)
        clock = now

    base = resolve(SMALL, None, (), {**PROTOCOL, "loop.threads": 1})
    sweep_cache(
        cache, folder / "sweep", base, None, SweepConfig(trials=TRIALS), workers=workers, retrain_seeds=len(SEEDS)
    )
    with open(folder / "sweep" / "retrained" / "predictions.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        clip = {"subject": f"{seed}/{row['subject']}", "truth": row["truth"]}
        clip |= {SWEPT: [row[f"seed {number}"] for number in SEEDS]}
        clip |= {CONTROL: [row["default control"]], SWEPT_CONTROL: [row["control"]]}
        found["clips"][row["id"]] = clip
    lap(SWEPT)
    for name, seeds in ((SMALL, SEEDS), (DEFAULT, SEEDS[:1])):
        config = replace(resolve(name, None, (), {**PROTOCOL, "loop.threads": 1}), seeds=seeds)
        out = folder / name
        shutil.rmtree(out, ignore_errors=True)
        predictions = Predictions.of_run(fit(cache, out, config).run)
        names = (*predictions.labels, "")
        for place, clip in enumerate(predictions.ids.tolist()):
            found["clips"][clip][name] = [names[code] for code in predictions.predicted[:, place]]
        shutil.rmtree(out)
        lap(name)
    shutil.rmtree(folder / "sweep")  # the models are large
    return found


def measured(folder: Path, seed: int, workers: int) -> dict[str, Any]:
    """Return a seed's result, from its file where it has been measured."""
    file = folder / f"{seed}.sweep.json"
    if not file.exists():
        found = measure(folder / str(seed), seed, workers)
        file.write_text(json.dumps(found), encoding="utf-8")
    return json.loads(file.read_text(encoding="utf-8"))


def right(clips: list[dict[str, Any]], name: str) -> np.ndarray:
    """Say which clips a row is right on under which of its seeds.  # (S, N)"""
    return np.array([[said == clip["truth"] for said in clip[name]] for clip in clips]).T


def table(found: list[dict[str, Any]]) -> list[str]:
    """Return the rows as Markdown: scores with intervals, and the paired difference of each to both controls."""
    clips = [clip for one in found for clip in one["clips"].values()]
    labels = sorted({clip["truth"] for clip in clips})
    code = {label: place for place, label in enumerate(labels)} | {"": -1}
    truth = np.array([code[clip["truth"]] for clip in clips])
    groups = [clip["subject"] for clip in clips]
    lines = [
        "| | seeds | WAR | 95 % over people | − control, points | − swept control, points |",
        "|---|---|---|---|---|---|",
    ]
    for name in ROWS:
        predicted = np.array([[code[said] for said in clip[name]] for clip in clips]).T
        low, high = score_intervals(truth, predicted, groups, labels)["war"]
        cells = []
        for other in (CONTROL, SWEPT_CONTROL):
            if name in (CONTROL, other):
                cells.append("")
                continue
            difference = compare_paired(right(clips, name), right(clips, other), groups, fixed=True)
            cells.append(
                f"{100 * difference.value:+.1f} ({100 * (difference.low or 0):+.1f} to {100 * (difference.high or 0):+.1f})"
            )
        score = 100 * (predicted == truth).mean()
        lines.append(
            f"| {name} | {len(predicted)} | {score:.1f} % | {100 * low:.1f} to {100 * high:.1f} % | {' | '.join(cells)} |"
        )
    return lines


def main() -> None:
    """Measure the seeds that are not yet, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True, help="what is rendered and measured; kept")
    parser.add_argument("--seeds", type=int, default=len(BENCHMARK_SEEDS))
    parser.add_argument("--workers", type=int, default=0, help="processes of a sweep; 0: one a core")
    options = parser.parse_args()
    found = []
    for seed in BENCHMARK_SEEDS[: options.seeds]:
        found.append(measured(options.folder, seed, options.workers))
        print(f"{seed}: {found[-1]['seconds']}", flush=True)
        print("\n".join(table(found)), flush=True)
    print(machine())


if __name__ == "__main__":
    main()
