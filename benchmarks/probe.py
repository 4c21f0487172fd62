"""Whether probes find what is planted: rendered clips with one brief expression, early or late; and held expressions beside them.

    python benchmarks/probe.py --folder work                      # the numbers of docs/probe.md; the same command resumes
    python benchmarks/probe.py --folder dev --subjects 12 --seed 11    # a smaller set of other people, on which this was developed

Brief: 36 people, 216 clips, six classes in three temporal pairs (benchmarks/_brief.py). The evidence is one window of at most 15 % of
the clip; the two clips of a pair hold the same frames in opposite order. Held: 12 people, 84 clips of the demo's posed expressions, which
fill half of the clip or more. EST and GRU are trained with the preset `small`, four folds by person, one seed, and probed on the clips
that their folds tested; deletion, insertion and attention are compared on clips that are recognised.

Goals: a control that ignores order at 50 % within temporal pairs (its 95 % interval holds 50), deletion AUC of at least 0.9 there.
"""

from __future__ import annotations

import argparse
import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as est demo does, before torch is imported

import shutil
import tempfile
from pathlib import Path

from _brief import PAIRS, render_brief
from _machine import machine

from est.cache import Cache, open_cache
from est.commands.results.probe import lines
from est.demo import render_set
from est.demo.demoset import POSED
from est.demo.pipeline import CACHE, VIDEOS, DemoConfig, extract_set
from est.infer.probing.probe import Probe
from est.infer.probing.probing import probe_run
from est.train import Run, fit
from est.train.config.configfile import resolve

SUBJECTS, SEED, HELD_SUBJECTS = 36, 4107, 12
SETTINGS = {"protocol.kind": "kfold", "protocol.folds": 4, "eval_every": 0, "loop.threads": 1}
MODELS = {"EST": {}, "GRU": {"model.name": "gru"}}
DELETION = 0.9


def extracted(folder: Path, *, brief: bool, subjects: int, seed: int) -> Cache:
    """Render a set and extract it, unless that has been done; videos are not kept."""
    done = folder / "extracted"
    if not done.exists():
        for name in (CACHE, VIDEOS):
            shutil.rmtree(folder / name, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
        if brief:
            render_brief(folder / VIDEOS, subjects, seed, workers=len(os.sched_getaffinity(0)))
        else:
            render_set(POSED.changed(settings={}, subjects=subjects, seed=seed).spec, folder / VIDEOS)
        extract_set(folder, DemoConfig())
        done.touch()
        shutil.rmtree(folder / VIDEOS)
    return open_cache(folder / CACHE)


def probed(folder: Path, cache: Cache, name: str, pairs: tuple[tuple[str, str], ...]) -> Probe:
    """Train a model, unless that has been done, and probe it."""
    out = folder / name
    run = Run.open(out) if (out / "run.json").exists() else None
    if run is None or not run.complete:
        shutil.rmtree(out, ignore_errors=True)
        run = fit(cache, out, resolve("small", None, (), {**SETTINGS, **MODELS[name]})).run
    found = probe_run(run, cache, pairs=pairs)
    found.save()
    return found


def goals(found: Probe) -> list[str]:
    """Say which goals are reached."""
    said = []
    for one in found.pairs:
        if one.of == "control" and one.difference is not None:
            reached = "reached" if one.difference.better == 0 else "missed"
            said.append(f"Goal (control at 50 % within pairs): {reached}.")
    said += [
        f"Goal (deletion AUC ≥ {DELETION:g}): {'reached' if one.auc >= DELETION else 'missed'}."
        for one in found.agreements
        if (one.measure, one.kind) == ("deletion", "brief")
    ]
    return said


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--folder", type=Path, help="where caches and runs lie: a rerun resumes there. Temporary when left out"
    )
    parser.add_argument("--subjects", type=int, default=SUBJECTS, help="people of the brief set, six clips each")
    parser.add_argument("--seed", type=int, default=SEED)
    arguments = parser.parse_args()
    folder = arguments.folder or Path(tempfile.mkdtemp(prefix="est-probe-benchmark-"))
    print(machine("torch"), flush=True)
    try:
        show(folder, arguments.subjects, arguments.seed)
    finally:
        if arguments.folder is None:
            shutil.rmtree(folder)


def show(place: Path, people: int, seed: int) -> None:
    """Print the tables of both sets and both models."""
    for brief, subjects in ((True, people), (False, HELD_SUBJECTS)):
        folder = place / ("brief" if brief else "held")
        cache = extracted(folder, brief=brief, subjects=subjects, seed=seed)
        for name in MODELS:
            found = probed(folder, cache, name, PAIRS if brief else ())
            title = f"{name}, {'brief' if brief else 'held'} expressions"
            print("\n".join(["", title, *lines(found)[2:], *goals(found)]), flush=True)


if __name__ == "__main__":
    main()
