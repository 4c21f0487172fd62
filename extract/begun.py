"""Going on with a cache that is there: in its own decoder, engine and precision, or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from ..cache import Cache, FeatureRecipe, Recipes, open_cache
from ..cache.recipe import TORCH
from ..cache.writing.restart import has_clips
from ..encoders.engines.calibration import bits_of
from ..encoders.engines.choice import why_no_bits
from ..encoders.engines.folder import engines_folder
from ..encoders.engines.preparation import PreparedEncoder, calibration_file
from ..encoders.precision import DTYPES, why_emulated
from ..errors import EstError, RecipeMismatch
from .config import ExtractConfig
from .faces.track_config import is_trimmed

OF_ENGINE = {"onnxruntime": ("auto", "fp32", "int8"), TORCH: ("auto", *DTYPES)}  # what may be asked of each
MOST_NAMED = 3  # files


def as_begun(config: ExtractConfig, out: Path) -> ExtractConfig:
    """Go on with the decoder and the engine that a cache was begun with, where `auto` was asked for.

    The decoder `auto` gives the same rows as OpenCV wherever OpenCV gives any. Clips of every face have rows of all frames of their source
    in caches that earlier code began.
    """
    if not has_clips(out):
        return config
    cache = open_cache(out)
    if config.decoder == "auto" and cache.recipes.frames.decoder == "opencv":
        config = replace(config, decoder="opencv")
    if config.face == "all" == cache.recipes.frames.face:
        config = replace(config, trim=is_trimmed(cache.recipes.frames.tracking))
    engines = {recipe.engine for recipe in _encoded(cache)}
    if config.engine == "auto" and len(engines) == 1:
        engine = engines.pop()
        if config.precision in OF_ENGINE.get(engine, ()):  # else the precision is refused, by its own name
            config = replace(config, engine=engine)
    return config


def begun_bits(out: Path) -> int | None:
    """Return how many bits the weights of int8 have in a cache; None where it has no such rows."""
    if not has_clips(out):
        return None
    found = {bits_of(recipe.calibration) for recipe in _encoded(open_cache(out)) if recipe.calibration}
    return found.pop() if len(found) == 1 else None


def begun_searching(out: Path) -> str | None:
    """Return the precision in which the detector of a cache searches: in int8 no option of the encoders tells it."""
    return open_cache(out).recipes.frames.precision if has_clips(out) else None


def expect_precision_of(out: Path, devices: Sequence[torch.device]) -> None:
    """Refuse to go on with a cache whose precision or engine a device has not: `--precision` cannot mend that."""
    if not has_clips(out):
        return
    cache = open_cache(out)
    of_rows = {recipe.precision for recipe in _begun(cache).values()}
    for name in DTYPES:
        if name not in {cache.recipes.frames.precision, *of_rows}:
            continue
        is_detectors = name not in of_rows and "int8" in of_rows
        for device in devices:
            if reason := why_emulated(name, device):
                raise EstError(
                    f"{out} was begun in {name}{', as far as its detector goes' * is_detectors}. {reason}",
                    remedy=f"go on on a machine that computes in {name}, or another --out{' with --precision fp32' * (not is_detectors)}",
                )
    elsewhere = next((device for device in devices if device.type != "cpu"), None)
    for recipe in _encoded(cache):
        if recipe.engine != TORCH and elsewhere is not None:
            raise EstError(
                f"{out} was begun by {recipe.engine}, which computes encoders on the processor; the device is {elsewhere}.",
                remedy="--device cpu, or another --out",
            )
        if recipe.calibration and (reason := why_no_bits(bits_of(recipe.calibration) or 8)):
            raise EstError(
                f"{out} was begun in int8. {reason}",
                remedy="go on on a machine with such a processor, or another --out: its weights then have 7 bits",
            )


def expect_calibration(out: Path, wanted: Recipes, encoders: Sequence[PreparedEncoder]) -> None:
    """Refuse to go on in int8 where an encoder was calibrated to other ranges than those of the cache."""
    if not has_clips(out):
        return
    there = _begun(open_cache(out))
    for name, recipe in wanted.features.items():
        if name in there and there[name].calibration and recipe.calibration:
            _expect_same(out, name, there[name], recipe, encoders)


def _expect_same(
    out: Path, name: str, there: FeatureRecipe, here: FeatureRecipe, encoders: Sequence[PreparedEncoder]
) -> None:
    same = replace(here, calibration=there.calibration, parent=there.parent)
    if there.calibration == here.calibration or same != there:  # another field differs, and is told
        return
    files = list(dict.fromkeys(calibration_file(encoder.digest) for encoder in encoders if encoder.digest))
    named = " and ".join(files) if 0 < len(files) <= MOST_NAMED else f"all {calibration_file('*')}"
    raise RecipeMismatch(
        f"{name} of {out} was calibrated to other ranges: {there.calibration} in the cache, {here.calibration} on this machine.",
        remedy=f"copy {named} from the machine that began the cache into {engines_folder() or '~/.cache/est/engines'}, or another --out",
    )


def _begun(cache: Cache) -> dict[str, FeatureRecipe]:
    """Return the recipes of all arrays, those that are being filled among them."""
    filling = cache.snapshot.manifest.filling
    return {**cache.recipes.features, **{name: array.recipe for name, array in filling.items()}}


def _encoded(cache: Cache) -> list[FeatureRecipe]:
    """Return the recipes of rows that an encoder made here."""
    return [recipe for recipe in _begun(cache).values() if not recipe.is_imported and recipe.backbone != "none"]
