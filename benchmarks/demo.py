"""Whether EST reads the course of a clip: the demo's dynamics on ten reserved seeds, beside models that see less of it.

    python benchmarks/demo.py --folder work              # all ten seeds; the same command resumes
    python benchmarks/demo.py --folder work --seeds 2    # the first two

Every seed is a set of other people. Renderer and recipe (demo/dynamics.py, demo/demoset.py) were committed before these seeds were
rendered for the first time. All rows are tested on the same clips by the same folds over people:

EST               as the demo trains it
EST, shuffled     the same models, tested on clips whose snippets stand in random order; the models are not told which
EST without SSOP  trained on the natural order alone
GRU               every frame of the view, in order
pooled            the control of every run: mean, deviation, minimum and maximum over frames, logistic regression

Single frames and pooled statistics can tell which pair a clip belongs to, and guess between its two classes: 50 %. Intervals are
95 %, over people. Goal: EST at least 10 points above pooled, and the lower end of that interval above 0.
"""

from __future__ import annotations

import argparse
import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as est demo does, before torch is imported

import json
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _machine import machine

from est.cache import Cache, open_cache
from est.demo import render_set
from est.demo.demoset import DYNAMICS
from est.demo.pipeline import CACHE, VIDEOS, DemoConfig, extract_set
from est.demo.spec import BENCHMARK_SEEDS
from est.errors import UsageError
from est.train import fit, prepare
from est.train.config.configfile import resolve
from est.train.data.sampler import Sampler
from est.train.data.sampling import sampler_of
from est.train.loop.checkpoint import load_model
from est.train.loop.predict import likeliest, predict_rows
from est.train.preparation import Prepared
from est.train.results.intervals import score_intervals
from est.train.results.paired import compare_paired
from est.train.results.results import read_predictions
from est.train.runs.run import CHECKPOINT, Run

CONFIG = DemoConfig(sets=(DYNAMICS,))
MODELS: dict[str, dict[str, Any]] = {
    "EST": {},
    "EST without SSOP": {"model.ssop": False},
    "GRU": {"model.name": "gru"},
}
SHUFFLED, POOLED = "EST, shuffled", "pooled"
ROWS = ("EST", SHUFFLED, "EST without SSOP", "GRU", POOLED)
GOAL = 10.0


class Shuffled:
    """A sampler that puts the snippets of each clip into an order drawn for it."""

    def __init__(self, sampler: Sampler, seed: int) -> None:
        self.views, self._sampler = sampler.views, sampler
        self._generator = torch.Generator().manual_seed(seed)

    def test(self, count: torch.Tensor, *, view: int, start: int | None) -> torch.Tensor:
        """Return the frames that are shown.  # (B, n, J)"""
        shown = self._sampler.test(count, view=view, start=start)
        order = torch.rand(shown.shape[:2], generator=self._generator).argsort(dim=1).to(shown.device)
        return shown.gather(1, order[:, :, None].expand_as(shown))


def settings_of(model: dict[str, Any]) -> dict[str, Any]:
    """Return the demo's settings with those of a model; another model has no settings of EST."""
    own = {name: value for name, value in DYNAMICS.settings.items() if not name.startswith("model.")}
    return {**(own if "model.name" in model else DYNAMICS.settings), **model}


def extracted(folder: Path, seed: int) -> Cache:
    """Render a seed's set and extract it, unless that has been done; videos are not kept."""
    done = folder / "extracted"
    if not done.exists():
        shutil.rmtree(
            folder / CACHE, ignore_errors=True
        )  # of a call that was stopped; rendered again, every video is another one
        render_set(DYNAMICS.changed(settings={}, seed=seed, reserved=True).spec, folder / VIDEOS, overwrite=True)
        extract_set(folder, CONFIG)
        done.touch()
    shutil.rmtree(folder / VIDEOS, ignore_errors=True)
    return open_cache(folder / CACHE)


def shuffled(run: Run, ready: Prepared, seed: int) -> dict[str, str]:
    """Return what a run's models say of their test clips in random order, by clip."""
    table, found = ready.data.table, {}
    place = {name: row for row, name in enumerate(table.ids.tolist())}
    sampler = Shuffled(sampler_of(run.config.sampling, run.config.model.shown), seed)
    for part in run.parts:
        names = [row["id"] for row in read_predictions(run, part)]
        model = load_model(run.part(part) / CHECKPOINT)[0].to(ready.device)
        rows = np.array([place[name] for name in names])
        probabilities, _ = predict_rows(model, ready.data, rows, sampler, precision=run.facts["precision"])
        found |= {name: run.labels[guess] for name, guess in zip(names, likeliest(probabilities), strict=True)}
    return found


def measure(folder: Path, seed: int) -> list[dict[str, str]]:
    """Return a row for each clip of a seed: its person, its truth and what each model says of it."""
    cache = extracted(folder, seed)
    ready: Prepared | None = None
    rows: dict[str, dict[str, str]] = {}
    for name, model in MODELS.items():
        config = resolve("fast", None, (), settings_of(model))
        ready = ready or prepare(cache, config)
        out = folder / name.replace(" ", "-")
        shutil.rmtree(out, ignore_errors=True)
        run = fit(ready if name.startswith("EST") else cache, out, config).run
        for row in [row for part in run.parts for row in read_predictions(run, part)]:
            kept = rows.setdefault(row["id"], {"subject": f"{seed}/{row['subject']}", "truth": row["truth"]})
            kept[name] = row["prediction"]
            kept[POOLED] = row["control"]
        if name == "EST":
            for clip, said in shuffled(run, ready, seed).items():
                rows[clip][SHUFFLED] = said
        shutil.rmtree(out)  # the models are large
    return list(rows.values())


def seed_rows(folder: Path, seed: int) -> list[dict[str, str]]:
    """Return a seed's rows, from its file where it has been measured."""
    file = folder / f"{seed}.json"
    if file.exists():
        return json.loads(file.read_text())["rows"]
    began = time.perf_counter()
    (folder / str(seed)).mkdir(parents=True, exist_ok=True)
    rows = measure(folder / str(seed), seed)
    seconds = time.perf_counter() - began
    partial = file.with_suffix(".partial")
    partial.write_text(json.dumps({"seconds": seconds, "rows": rows}))
    partial.rename(file)
    scores = ", ".join(f"{name} {sum(row[name] == row['truth'] for row in rows)}" for name in ROWS)
    print(f"seed {seed}: {seconds:.0f} s, of {len(rows)} clips: {scores}", flush=True)
    return rows


def table(rows: list[dict[str, str]]) -> str:
    """Lay the pooled predictions out, with intervals over people."""
    labels = sorted({row["truth"] for row in rows})
    groups = [row["subject"] for row in rows]
    truth = np.array([labels.index(row["truth"]) for row in rows])
    guesses = {name: np.array([labels.index(row[name]) for row in rows]) for name in ROWS}
    lines = [
        f"{len(rows)} clips of {len(set(groups))} people, {len(labels)} classes: chance {100 / len(labels):.1f} %, the right pair 50 %",
        "| | WAR | 95 % | EST − it, points | 95 % |\n|---|---|---|---|---|",
    ]
    for name in ROWS:
        right = guesses[name] == truth
        low, high = score_intervals(truth, guesses[name], groups, labels)["war"]
        line = (
            f"| {name} | {100 * right.mean():.1f} % ({right.sum()}/{len(rows)}) | {100 * low:.1f} to {100 * high:.1f} |"
        )
        if name == "EST":
            lines.append(f"{line} | |")
            continue
        found = compare_paired(guesses["EST"] == truth, right, groups, seed=1)
        assert found.low is not None
        assert found.high is not None
        gain, least, most = found.value, found.low, found.high
        lines.append(f"{line} {100 * gain:+.1f} | {100 * least:+.1f} to {100 * most:+.1f} |")
        if name == POOLED:
            reached = "reached" if 100 * gain >= GOAL and least > 0 else "missed"
            below = "below" if high < 1 else "not below"
            lines.append(f"Goal (at least {GOAL:g} points above pooled, lower end above 0): {reached}.")
            lines.append(f"The upper end of pooled, {100 * high:.1f} %, is {below} the ceiling of 100 %.")
    for label in labels:
        of = truth == labels.index(label)
        shares = ", ".join(f"{name} {(guesses[name] == truth)[of].sum()}" for name in ROWS)
        lines.append(f"{label}, of {of.sum()}: {shares}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="where results lie: a rerun resumes there. Temporary when left out")
    parser.add_argument("--seeds", type=int, default=len(BENCHMARK_SEEDS), help="how many, from the first on")
    arguments = parser.parse_args()
    if not 1 <= arguments.seeds <= len(BENCHMARK_SEEDS):
        raise UsageError(f"--seeds: expected 1 to {len(BENCHMARK_SEEDS)}, found {arguments.seeds}")
    print(f"{machine('torch')}, {torch.get_num_threads()} threads", flush=True)
    folder = arguments.folder or Path(tempfile.mkdtemp(prefix="est-demo-benchmark-"))
    try:
        rows = [row for seed in BENCHMARK_SEEDS[: arguments.seeds] for row in seed_rows(folder, seed)]
    finally:
        if arguments.folder is None:
            shutil.rmtree(folder)
    print(table(rows))


if __name__ == "__main__":
    main()
