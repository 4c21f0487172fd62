"""What a model costs on the features of a cache: parameters and MACs by part."""

from __future__ import annotations

from ...cache import Cache
from ...train.config.config import TrainConfig
from ...train.models.contract import CROPS
from ...train.models.description import Description
from ...train.models.registry import describe_model
from ...train.preparation import Prepared
from ...train.runs.run import Run


def describe(ready: Prepared, config: TrainConfig) -> Description:
    """Count the model of a configuration on the features that it reads."""
    clips, cache = ready.data.clips, ready.cache
    return describe_model(
        config.model,
        clips.width,
        len(ready.data.labels),
        clips.maps,
        side=cache.recipes.frames.size,
        lengths=[int(one) for one in cache.clips.count],
    )


def parameters_of(run: Run, cache: Cache) -> int | None:
    """Count what the model of a run learns beside its encoder; nothing is loaded. None where that learns, too."""
    if run.config.model.reads == CROPS:
        side = cache.recipes.frames.size
        return describe_model(run.config.model, 3, len(run.labels), (side, side)).parameters
    made = cache.recipes.features.get(next(iter(run.reads.values()), ""))
    if made is None:
        return None
    return describe_model(run.config.model, made.shape[0], len(run.labels), made.shape[1:]).parameters
