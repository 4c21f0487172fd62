"""The `est extract` command that extends a cache: the options with which it was made, read from its recipe.

Options that have their defaults are left out. What is not known is left as a placeholder: the folder of a file of weights, and
SOURCES if the clips are not the complete content of one folder.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..cache import Cache, FeatureRecipe, FramesRecipe, open_cache
from ..cache.recipe import IMPORTED
from ..cache.writing.restart import has_clips
from ..encoders.backbone import Backbone, tap_shape
from ..encoders.device import parse_device
from ..encoders.engines.choice import Computation, choose_engine
from ..encoders.taps import TAPS
from ..encoders.weights import is_known
from ..errors import EstError, RecipeMismatch, differing
from ..hub.names import same_weights
from ..inputs.input import find_inputs
from .begun import as_asked
from .config import ExtractConfig
from .faces.track_config import tracking_options
from .flow.field import FIELD
from .flow.selection import SAMPLING
from .planning.output import told_bytes

OF_PICTURES = ("face", "smooth", "align", "size")  # settings whose recipe has them under the same name
OF_DETECTOR = ("detect_size", "detect_every", "score_threshold")  # and those that frames which are crops have not
NONE, SOURCES = "none", "SOURCES"
OWN_PIXELS = {"imagenet": "imagenet", "synface": "none", "random": "none"}  # of weights by name, without --normalize


def command_that_adds(cache: Cache, *features: str) -> str:
    """Write the command that makes a cache with more features: from its crops where it holds them, else of its sources."""
    plain = [made for made in cache.recipes.features.values() if not made.view and not made.fold and not made.mirrored]
    taps = ",".join(dict.fromkeys([*(made.tap for made in plain), *features]))
    made = next((one for one in plain if one.tap != FIELD), None)
    rows = [] if made is None else list(_options_of_rows(made))
    flip = ["--flip"] * any(one.mirrored for one in cache.recipes.features.values())
    if cache.has_crops or made is None:
        views = max((one.view for one in cache.recipes.features.values()), default=0)
        out = cache.path.with_name(f"{'-'.join([cache.path.stem, *features])}{cache.path.suffix}")
        beside = [*(["--views", str(views)] if views else []), *(["--crops"] if cache.has_crops else [])]
        parts = ["--from", str(cache.path), "--out", str(out), *rows, *flip, *beside]
    else:
        parts = [sources_of(cache), "--out", str(cache.path), *options_of_frames(cache.recipes.frames), *rows, *flip]
    return shlex.join(["est", "extract", *parts, "--features", taps])


def room_for(cache: Cache, feature: str) -> str:
    """Say what the rows of one more feature would take, where they are ResNet-18's; else nothing: nobody knows their shape."""
    made = next((one for one in cache.recipes.features.values() if one.tap != FIELD), None)
    if made is None or made.backbone != Backbone.name or feature not in TAPS:
        return ""
    frames = int(np.asarray(cache.clips.count).sum())
    row = math.prod(tap_shape(feature, cache.recipes.frames.size)) * np.dtype(made.dtype).itemsize
    return f"{feature} takes {told_bytes(row)} a frame, {told_bytes(frames * row)} for {frames:,} frames."


def sources_of(cache: Cache) -> str:
    """Return the folder that holds the same clips of a cache, under their ids; SOURCES where there is none."""
    known = dict(zip(cache.ids, cache.clips.path, strict=True))
    known |= {failure.id: failure.path for failure in cache.failures}
    roots = {_root_of(clip_id, path) for clip_id, path in known.items()}
    root = roots.pop() if len(roots) == 1 else ""
    if not root or not Path(root).is_dir():
        return SOURCES
    try:
        found = find_inputs([Path(root)])
    except EstError:
        return SOURCES
    there = {one.id: str(one.path) for one in (*found.inputs, *found.problems)}
    return root if there == known else SOURCES


def _root_of(clip_id: str, path: str) -> str:
    """Return the folder to which an id is relative; empty: the id is no path in a folder."""
    for text in (path, str(Path(path).with_suffix("")) if path else ""):
        if text.endswith(f"/{clip_id}"):
            return text.removesuffix(f"/{clip_id}")
    return ""


def options_of_frames(frames: FramesRecipe) -> Iterator[str]:
    """Yield the options that say how videos become crops."""
    default = ExtractConfig(modality="flow" if frames.flow else "face")
    if frames.flow:
        yield from ("--modality", default.modality)
    for name, (here, _) in _differing_frames(default, frames).items():
        yield from _options(name, here)


def expect_as_made(config: ExtractConfig, out: Path, computation: Computation) -> None:
    """Refuse settings under which a cache was not made, with the options that fix it: before weights are loaded, or downloaded."""
    if not has_clips(out):  # one without clips takes any
        return
    recipes = open_cache(out).recipes
    if recipes.frames.decoder == IMPORTED:
        raise RecipeMismatch(
            f"{out} holds imported features, to which videos cannot be added.",
            remedy="another --out; est cache import adds clips to this one",
        )
    found = _differing_frames(config, recipes.frames)
    for tap in config.features:
        if tap in recipes.features:
            found |= _differing_rows(config, recipes.features[tap], computation.precision, computation.engine)
    if found:
        mend = [shlex.join([part for name, (here, _) in found.items() for part in _options(name, here)])]
        if found.get("crops", ("", ""))[0] == NONE:
            mend.append("without --crops")
        told = {
            name: (here, as_asked(config.precision, asked) if name == "precision" else asked)
            for name, (here, asked) in found.items()
        }
        raise RecipeMismatch(differing(out, told), remedy=f"{' '.join(filter(None, mend))}, or another --out")


def _differing_frames(config: ExtractConfig, frames: FramesRecipe) -> dict[str, tuple[Any, Any]]:
    """Return the settings of a command line in which it differs from a recipe: what stands there, and what is asked for."""
    modality = "flow" if frames.flow else "face"
    if modality != config.modality:
        return {"modality": (modality, config.modality)} | _frames_of_flow(frames, config)
    as_there = ExtractConfig(detector=frames.detector, align=frames.align, modality=modality)  # ty: ignore[invalid-argument-type]
    of_detector = () if "none" in (frames.detector, config.detector) else OF_DETECTOR
    unused = ("detect_every", "smooth") if frames.flow else ()
    names = [name for name in ("detector", *of_detector, *OF_PICTURES) if name not in unused]
    pairs = _frames_of_flow(frames, config)
    pairs |= {name: (getattr(frames, name), getattr(config, name)) for name in names}
    if frames.decoder not in (config.decoder, "opencv" if config.decoder == "auto" else ""):  # auto resumes with opencv
        pairs = {"decoder": (frames.decoder, config.decoder)} | pairs
    asked = as_there.crop_margin if config.margin is None else config.margin
    if not frames.flow and "none" not in (frames.detector, config.detector):
        there, now = tracking_options(frames.tracking), tracking_options(config.tracking.describe())
        pairs |= {name: (there[name], now[name]) for name in there}
    pairs["margin"] = (frames.margin, asked)
    pairs["crops"] = (frames.crops or NONE, config.crop_format or NONE)
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _frames_of_flow(frames: FramesRecipe, config: ExtractConfig) -> dict[str, tuple[Any, Any]]:
    """Return which frames a cache of flow has, and which are asked for."""
    there = {text: name for name, text in SAMPLING.items()}.get(frames.sampling) if frames.flow else None
    return {"flow_frames": (there, config.flow_frames)} if there not in (None, config.flow_frames) else {}


def _differing_rows(
    config: ExtractConfig, made: FeatureRecipe, precision: str, engine: str
) -> dict[str, tuple[Any, Any]]:
    is_field = made.tap == FIELD  # which no encoder makes
    pairs = {"dtype": (made.dtype, config.dtype)}
    if not is_field:
        pairs["precision"] = (made.precision, precision)
        if config.engine != "auto":  # by `auto` an encoder that ONNX cannot express is left to torch
            pairs["engine"] = (made.engine, engine)
    if not is_field and is_known(config.weights):  # a file, or that of a run, is compared by what it holds
        same = same_weights(config.weights, made.weights)  # what lies on a hub is compared by its commit later
        pairs = {"weights": (made.weights, made.weights if same else config.weights)} | pairs
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _options_of_rows(made: FeatureRecipe) -> Iterator[str]:
    """Yield the options that say how crops become rows."""
    default = ExtractConfig()
    for name, (here, _) in _differing_rows(default, made, made.precision, made.engine).items():
        yield from _options(name, here)
    named = is_known(made.weights)
    if made.normalize != (OWN_PIXELS.get(made.weights, made.normalize) if named else ""):
        yield from ("--normalize", made.normalize)
    own = choose_engine(default.engine, default.precision, parse_device(default.device))
    if made.precision != own.precision:
        yield from ("--precision", made.precision)
    if made.engine != own.engine and made.precision != "int8":
        yield from ("--engine", made.engine)


def _options(name: str, value: Any) -> Sequence[str]:
    """Write a setting of a recipe as options."""
    match name:
        case "crops":
            kind, _, quality = str(value).partition(" ")
            default = str(ExtractConfig.crop_quality)
            return (
                () if kind == NONE else ("--crops",) if quality == default else ("--crops", "--crop-quality", quality)
            )
        case "weights" if not is_known(value):
            return ("--weights", f"FOLDER/{value}")
    return (f"--{name.replace('_', '-')}", f"{value:g}" if isinstance(value, float) else str(value))
