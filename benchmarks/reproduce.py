"""What the paper's tables come to on rendered data: the dynamics of ten reserved seeds as one cache of 720 clips of 120 people.

    python benchmarks/reproduce.py --folder work                      # the tables below
    python benchmarks/reproduce.py --folder work ablation fusion      # others; the same command resumes

Every seed is a set of other people (benchmarks/demo.py): 72 clips of 12 people, six classes. Renderer, weights and the preset `small` were
made without them. Clips and people are renamed by their seed, so that one cache holds all. Four folds by person, three seeds, 15 epochs:
a training half has 540 clips, so that these are 1,005 steps, where the preset's 60 epochs of one set alone are 360.

Questions: does SSOP help, and does it when the middle is empty? Does AA-SFE, against the mean of frames? Which position code?
"""

from __future__ import annotations

import argparse
import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as est demo does, before torch is imported

import time
from dataclasses import replace
from pathlib import Path

from _machine import machine

import demo as rendered
from est.cache import CacheWriter, open_cache
from est.cache.changes.copying import Wanted, copied_clips
from est.demo.spec import BENCHMARK_SEEDS
from est.errors import UsageError
from est.sweep.reproduce.recipe import Recipe
from est.sweep.reproduce.reproducing import reproduce
from est.train.loop.watch import TrainingWatch

TABLES = ("ablation", "zero-middle", "orders", "position", "attention", "start-frames", "attention-index")
OPTIONS = {
    "protocol.kind": "kfold",
    "protocol.folds": 4,
    "loop.epochs": 15,
    "loop.threads": 1,
    "seeds": (1, 2, 3),
    "eval_every": 15,
}
CACHE, OUT = "dynamics.zarr", "reproduced"


def join(folder: Path, sets: Path, seeds: tuple[int, ...]) -> Path:
    """Write the sets of all seeds into one cache, unless that has been done."""
    done, place, what = folder / "joined", folder / CACHE, f"seeds {', '.join(map(str, seeds))}\n"
    if done.exists():
        if done.read_text() != what:
            raise UsageError(
                f"{place} joins {done.read_text().strip()}, asked for {what.strip()}.", remedy="--folder ANOTHER"
            )
        return place
    caches = {seed: rendered.extracted(sets / str(seed), seed) for seed in seeds}
    first = caches[seeds[0]]
    wanted = Wanted(features={name: recipe.dtype for name, recipe in first.recipes.features.items()}, crops=False)
    with CacheWriter.open(
        place, first.recipes, labels=first.labels, columns=first.schema.extra, black=first.black
    ) as writer:
        for seed, cache in caches.items():
            for clip in copied_clips(cache, wanted):
                name = f"{seed}/{clip.id}"
                writer.add(
                    replace(clip, id=name, path=f"{seed}/{clip.path}", subject=f"{seed}/{clip.subject}"), replacing=True
                )
    done.write_text(what)
    return place


class Said(TrainingWatch):
    """Prints sentences."""

    def say(self, text: str) -> None:
        print(text, flush=True)


def main() -> None:
    """Join, train and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("tables", nargs="*", default=TABLES)
    parser.add_argument("--folder", type=Path, required=True, help="what is rendered, trained and written; kept")
    parser.add_argument(
        "--sets", type=Path, help="where the sets of the seeds lie already, as benchmarks/sweep.py keeps them"
    )
    parser.add_argument("--seeds", type=int, default=len(BENCHMARK_SEEDS), help="sets that are joined")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    cache = open_cache(join(options.folder, options.sets or options.folder, tuple(BENCHMARK_SEEDS[: options.seeds])))
    begun = time.perf_counter()
    for table in options.tables:
        found = reproduce(table, cache, options.folder / OUT, Recipe(preset="small", options=OPTIONS), watch=Said())
        print("\n".join(found.lines), flush=True)
    print(f"{time.perf_counter() - begun:.0f} s; {machine('torch')}")


if __name__ == "__main__":
    main()
