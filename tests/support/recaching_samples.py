"""Small caches to be made again with other weights, and the weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from extract_samples import QUICK
from extract_samples import extract as extract_with

from est.cache import open_cache
from est.cache.trained import TrainedOn
from est.encoders.backbone import Backbone
from est.encoders.weights import Weights, load_weights, save_weights
from est.extract.recaching import ArrayPlan, recache

SMALL = replace(QUICK, size=32, workers=1)
CLIPS = ("grey", "pictures", "turned", "whole", "whole#0.41-0.95")
LEARNT = TrainedOn(clips=("turned", "whole", "pictures"), folds=("fold 1",), how="est tune")


def extract(source, out, **changes):
    """Extract inputs with tiny crops."""
    return extract_with(source, out, SMALL, **changes)


def weights_of(folder: Path, seed: int, learnt: TrainedOn | None = None) -> Weights:
    """Write weights of a seed into a file, and load them."""
    path = folder / f"seed{seed}.safetensors"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        backbone = Backbone()
    save_weights(path, backbone, normalize="none", trained_on=learnt)
    return load_weights(str(path))


def again(source, out, arrays, *, views=0, view_config=None, crops=False, watch=None, **more):
    """Make a cache of another one's crops, quickly."""
    arrays = [ArrayPlan(name="gap", weights=arrays)] if isinstance(arrays, Weights) else arrays
    settings: dict[str, Any] = {
        "views": views,
        "view_config": view_config,
        "crops": crops,
        "watch": watch,
    }
    return recache(source, out, arrays, replace(SMALL, **more), **settings)


def rows(path: Path, clip: str, name: str = "gap") -> np.ndarray:
    return open_cache(path).clip(clip).features[name]
