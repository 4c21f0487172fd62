"""What several rows measure with, made once in the folder of a run: rendered videos, copies of them, caches of random numbers."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
from cache_io import WIDTH, write
from measured import Context

DONE = ".done"


def rendered(context: Context) -> list[Path]:
    """Return rendered videos."""
    from est.demo import RenderSpec, render_set

    sizes, out = context.sizes, context.work / "set"
    if not (out / DONE).exists():
        people = {"subjects": sizes.subjects, "clips_per_subject": sizes.clips_each, "seed": 11}
        render_set(RenderSpec(**people, size=sizes.picture, frames=sizes.frames), out, overwrite=True)
        (out / DONE).touch()
    return sorted(out.rglob("*.mp4"))


def copies(context: Context, count: int) -> Path:
    """Return a folder in which each rendered video stands so many times."""
    out = context.work / f"copies{count}"
    if not (out / DONE).exists():
        shutil.rmtree(out, ignore_errors=True)
        for number in range(count):
            for path in rendered(context):
                target = out / f"{number:03d}_{path.parent.name}_{path.name}"
                target.parent.mkdir(exist_ok=True)
                os.link(path, target)
        (out / DONE).touch()
    return out


def random_cache(context: Context, clips: int, mean_frames: int) -> Path:
    """Return a cache of random rows, with lengths that spread as those of DFEW."""
    path = context.work / f"random{clips}.zarr"
    done = path.with_suffix(DONE)
    if not done.exists():
        shutil.rmtree(path, ignore_errors=True)
        lengths = np.random.default_rng(1).gamma(4, mean_frames / 4, clips)
        write(path, np.clip(lengths.astype(np.int64), 5, 400), WIDTH)
        done.touch()
    return path
