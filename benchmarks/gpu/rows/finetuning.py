"""Fine-tuning beside the same steps on frames that are there already: benchmarks/finetune.py on a GPU."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

from finetune import ONE
from material import DONE, rendered
from measured import Context, Measured

from est.encoders.precision import resolve_precision
from est.extract.config import ExtractConfig
from est.extract.extraction import extract_videos
from est.inputs.input import find_inputs


def cache(context: Context) -> Path:
    """Return a cache with crops and maps."""
    path = context.work / "crops.zarr"
    done = path.with_suffix(DONE)
    if not done.exists():
        shutil.rmtree(path, ignore_errors=True)
        rendered(context)
        how = {"weights": "synface", "size": context.sizes.finetune_crop, "device": str(context.device)}
        extract_videos(
            find_inputs([context.work / "set"]), path, ExtractConfig(crops=True, features=("gap", "layer3"), **how)
        )
        done.touch()
    return path


def finetuned(context: Context, *settings: str) -> Measured:
    """Measure steps, and bare ones, in a process of their own."""
    sizes, (precision, _) = context.sizes, resolve_precision("auto", context.device)
    words = [str(cache(context)), precision, str(context.device), str(sizes.finetune_steps)]
    words += [*settings, f"loop.batch={sizes.finetune_batch}", "finetune.batch_norm=frozen"]
    done = subprocess.run([sys.executable, "-c", ONE, *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr.splitlines()[-1] if done.stderr else f"status {done.returncode}")
    found = json.loads(done.stdout.splitlines()[-1])
    share, rate = found["bare"] / found["step"], found["batch"] / found["step"]
    note = (
        f"{precision}, batch {found['batch']} × 35 frames of {sizes.finetune_crop}: {1000 * found['step']:.1f} ms a step, "
        f"bare {1000 * found['bare']:.1f}; waiting for frames {found['waited']:.1%}; {found['gb']:.1f} GB"
    )
    return Measured(value=share, text=f"{share:.0%} ({rate:,.0f} clips/s)", note=note)


MEASURES = {
    "layer4": lambda context: finetuned(context, "finetune.learns=layer4"),
    "all": lambda context: finetuned(context, "finetune.learns=all"),
}
