"""The models by name: a folder `train/models/<name>/` (hyphens as underscores) and one line here. No torch.

A folder holds `config.py` with `Config`, the settings of the model; `model.py` with `build` and `facts`; and `count.py` with `describe`.
Models of maps are told the sides of the maps, `maps` = (h, w); those of flat features are not.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ...errors import UsageError, nearest

if TYPE_CHECKING:
    from pathlib import Path

    from .contract import ModelConfig
    from .description import Description
    from .model import Model
    from .published import Published

MODELS = {
    "est": "Expression Snippet Transformer: AA-SFE, Transformer, SSOP",
    "transformer": "the paper's baseline: a Transformer over means of snippets, or over frames",
    "gru": "gated recurrent network over frames",
    "lstm": "long short-term memory over frames",
    "fan": "Frame Attention Network: weighted means of frames",
    "former-temporal": "the temporal half of Former-DFER: a Transformer over 16 frames with a class token",
    "former-dfer": "Former-DFER: a Transformer over places before ResNet-18's layer4, and one over frames",
    "r3d18": "torchvision's ResNet of 3-d convolutions over crops, trained end to end: for those with a GPU",
    "slstt": "SLSTT's trainable half: a norm and an LSTM over vectors of 11 frames, there class tokens of flow pictures",
    "stt": "STT: attention over the places of a frame, then over time; on maps of layer3",
    "msstnet": "MSSTNet: a temporal Transformer that takes in one scale of the encoder after another; on pyramid4x4",
    "window-head": "a head on features of windows of several kinds, as PTH-Net's; on what est cache import brings",
    "clip-temporal": "a small temporal Transformer over image features such as CLIP's; classes are vectors, free or of texts",
    "pooled": "statistics of the frames and a linear classifier, which ignores their order",
}
DEFAULT = "est"  # also of runs that were made before runs had a model's name


def config_class(name: Any) -> type[ModelConfig]:
    """Return the settings of a model."""
    if not isinstance(name, str) or name not in MODELS:
        raise UsageError(
            f"There is no model {name!r}; the models are {', '.join(MODELS)}.",
            remedy=f"--model {nearest(name, MODELS) or DEFAULT}",
        )
    return import_module(f".{folder_of(name)}.config", __package__).Config


def maps_read(names: Iterable[str]) -> tuple[str, ...]:
    """Return the arrays of maps that models read, by their names and with their default settings."""
    from .contract import CROPS

    found = dict.fromkeys(config_class(name)().reads for name in names)
    return tuple(name for name in found if name not in ("", CROPS))


def model_config(name: str, **settings: Any) -> ModelConfig:
    """Return the settings of a model by its name, those that are named as they are given, for `TrainConfig(model=…)`.

    >>> est.model_config("gru", layers=2).layers
    2
    """
    return config_class(name)(**settings)


def build_model(config: ModelConfig, *, width: int, num_classes: int, seed: int, maps: tuple[int, ...] = ()) -> Model:
    """Build the model of a configuration on features of a width, of maps so many channels and their sides.

    Whatever is random in it follows from the seed.
    """
    sides = _sides(config, maps)
    return _module(config, "model").build(config, width=width, num_classes=num_classes, seed=seed, **sides)


def model_facts(config: ModelConfig, seeds: Iterable[int]) -> dict[str, Any]:
    """Return what a run records of the models of its seeds, besides their settings."""
    return _module(config, "model").facts(config, seeds)


def load_published(name: str) -> Published:
    """Load published weights that a model of crops can start from, by their name in its settings' `published_weights`."""
    return _module(_starting_from()[name], "weights").load(name)


def names_of_published() -> tuple[str, ...]:
    """Name the published weights that some model of crops can start from."""
    return tuple(_starting_from())


def fetch_published(name: str, *, download: bool = False) -> Path:
    """Find the file of such weights, or with `download` download it."""
    return _module(_starting_from()[name], "weights").fetch(download=download)


def _starting_from() -> dict[str, ModelConfig]:
    """Return the models that can start from published weights, by the names of these."""
    configs = [config_class(name)() for name in MODELS]
    return {name: config for config in configs for name in config.published_weights}


def describe_model(
    config: ModelConfig,
    width: int,
    num_classes: int,
    maps: tuple[int, ...] = (),
    *,
    side: int = 0,
    lengths: Iterable[int] = (),
) -> Description:
    """Return parameters by part and MACs, with those of ResNet-18 on pictures of a side; 0: the usual side.

    A model that is shown all frames is counted on the mean of the lengths of clips, without lengths on the longest that it takes.
    """
    from .contract import CROPS
    from .description import with_backbone

    how: dict[str, Any] = dict(_sides(config, maps))
    said = ""
    if most := getattr(config.shown, "most", 0):
        shown = [min(length, most) for length in lengths if length]
        how["frames"] = sum(shown) / len(shown) if shown else most
        said = "the mean of the cache's clips" if shown else "the longest clip that it takes"
    found = replace(_module(config, "count").describe(config, width, num_classes, **how), frames_are=said)
    return (
        found
        if config.reads == CROPS or config.of_windows
        else with_backbone(found, config.reads or "gap", width, maps, side)
    )


def _sides(config: ModelConfig, maps: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """Return the sides of maps for a model that reads maps; refuse that there are none."""
    if not config.reads:
        return {}
    if len(maps) != 2:
        raise UsageError(
            f"The model {config.name} reads maps ({config.reads}): it is built for maps of some height and width, found {maps}.",
            remedy="maps=(7, 7), as the array of the cache has them",
        )
    return {"maps": tuple(maps)}


def _module(config: ModelConfig, name: str) -> Any:
    return import_module(f".{folder_of(config.name)}.{name}", __package__)


def folder_of(name: str) -> str:
    """Return the folder of a model: Python's names have no hyphens."""
    return name.replace("-", "_")
