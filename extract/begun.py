"""Resuming a cache that is there: in its own decoder, engine and precision, or not at all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import torch

from ..cache import FeatureRecipe, FramesRecipe, Recipes, open_cache
from ..cache.recipe import TORCH
from ..cache.writing.restart import has_clips
from ..encoders.engines.calibration import bits_of, rounding_of
from ..encoders.engines.choice import UNBOUND, Begun, Computation, choose_engine, why_no_bits
from ..encoders.engines.engine import ENGINES, PRECISIONS
from ..encoders.engines.folder import engines_folder
from ..encoders.engines.preparation import PreparedEncoder, calibration_file
from ..encoders.precision import DTYPES, why_emulated
from ..errors import EstError, RecipeMismatch, differing
from .config import ExtractConfig
from .faces.track_config import is_trimmed
from .recipes import calibration_of_all

MOST_NAMED = 3  # files
Named = TypeVar("Named")


@dataclass(frozen=True, kw_only=True)
class Earlier:
    """What a cache that is there tells of how its rows were computed; it can be sent to where more of them are."""

    path: Path
    frames: FramesRecipe
    features: Mapping[str, FeatureRecipe]  # those that are being filled among them

    @property
    def encoded(self) -> list[FeatureRecipe]:
        """Return the recipes of rows that an encoder made."""
        return [made for made in self.features.values() if not made.is_imported and made.backbone != "none"]


def earlier_in(out: Path | None) -> Earlier | None:
    """Read it; None where there are no clips."""
    if out is None or not has_clips(out):
        return None
    cache = open_cache(out)
    filling = {name: array.recipe for name, array in cache.snapshot.manifest.filling.items()}
    return Earlier(path=out, frames=cache.recipes.frames, features={**cache.recipes.features, **filling})


def as_begun(config: ExtractConfig, out: Path) -> ExtractConfig:
    """Take what a cache was started with, where nothing else was asked for.

    The decoder `auto` gives the same rows as OpenCV wherever OpenCV gives any. Clips of every face have rows of all frames of their source
    in caches that earlier code began.
    """
    if not has_clips(out):
        return config
    frames = open_cache(out).recipes.frames
    if config.decoder == "auto" and frames.decoder == "opencv":
        config = replace(config, decoder="opencv")
    if config.face == "all" == frames.face:
        config = replace(config, trim=is_trimmed(frames.tracking))
    return config


def computation_for(
    config: ExtractConfig,
    earlier: Earlier | None,
    devices: Sequence[torch.device],
    *,
    detects: bool = True,
    option: str = "--precision",
) -> Computation:
    """Choose what computes rows, or more rows of a cache that is there; refuse a cache that this machine cannot resume.

    `detects` says whether faces are looked for, too; `option` is what the caller calls the precision.
    """
    engine = config.engine if config.encoded else TORCH  # without an encoder it is the detector that is computed
    if earlier is None:
        return choose_engine(engine, config.precision, *devices, option=option)
    expect_precision_of(earlier, devices, detects=detects)
    return choose_engine(engine, config.precision, *devices, begun=begun_in(earlier), option=option)


def begun_in(earlier: Earlier | None) -> Begun:
    """Return what the rows of a cache were computed in; None stands for what there is not, and for what differs between arrays."""
    if earlier is None:
        return UNBOUND
    encoded = earlier.encoded
    precisions, engines = {recipe.precision for recipe in encoded}, {recipe.engine for recipe in encoded}
    bits = {bits_of(recipe.calibration) for recipe in encoded if recipe.calibration}
    searching = next((name for name in DTYPES if name == earlier.frames.precision), None)
    if earlier.features and not encoded and searching:
        precisions = {searching}  # no encoder made its rows: what computes is the detector
    return Begun(
        engine=_only(name for name in ENGINES if name in engines),
        precision=_only(name for name in PRECISIONS if name in precisions),
        searching=searching,
        bits=_only(bits),
    )


def expect_computation(config: ExtractConfig, out: Path, found: Computation, *, option: str = "--precision") -> None:
    """Refuse to fill a cache whose rows another engine, or another precision, has started."""
    begun = begun_in(earlier_in(out))
    pairs = {
        option: (begun.precision, found.precision, config.precision),
        "--engine": (begun.engine, found.engine, config.engine),
    }
    found_there = {
        name: (there, as_asked(asked, here))
        for name, (there, here, asked) in pairs.items()
        if there not in (None, here)
    }
    if found_there:
        told = differing(out, {name.rpartition("-")[2]: pair for name, pair in found_there.items()})
        mend = " ".join(f"{name} {there}" for name, (there, _) in found_there.items())
        raise RecipeMismatch(told, remedy=f"{mend}, or another --out")


def as_asked(option: str, chosen: str) -> str:
    """Return what was asked for: a value, or the choice, which fell on some value here."""
    return f"auto ({chosen} here)" if option == "auto" else chosen


def expect_precision_of(earlier: Earlier, devices: Sequence[torch.device], *, detects: bool = True) -> None:
    """Refuse to resume with a cache whose precision or engine a device has not: `--precision` cannot mend that."""
    out = earlier.path
    of_rows = {recipe.precision for recipe in earlier.features.values()}
    for name in DTYPES:
        if name not in of_rows and not (detects and name == earlier.frames.precision):
            continue
        is_detectors = name not in of_rows and "int8" in of_rows
        for device in devices:
            if reason := why_emulated(name, device):
                raise EstError(
                    f"{out} was started in {name}{', as far as its detector goes' * is_detectors}. {reason}",
                    remedy=f"resume on a machine that computes in {name}, or another "
                    f"--out{' with --precision fp32' * (not is_detectors)}",
                )
    elsewhere = next((device for device in devices if device.type != "cpu"), None)
    for recipe in earlier.encoded:
        if recipe.engine != TORCH and elsewhere is not None:
            raise EstError(
                f"{out} was started by {recipe.engine}, which computes encoders on the CPU; the device is {elsewhere}.",
                remedy="--device cpu, or another --out",
            )
        if recipe.calibration and (reason := why_no_bits(bits_of(recipe.calibration) or 8)):
            raise EstError(
                f"{out} was started in int8. {reason}",
                remedy="resume on a machine with such a processor, or another --out: its weights then have 7 bits",
            )


def named_as_begun(out: Path, features: Mapping[str, FeatureRecipe]) -> dict[str, FeatureRecipe]:
    """Return recipes with the calibrations of several encoders named as a cache of earlier code has them: all together alone."""
    earlier = earlier_in(out)
    there = earlier.features if earlier else {}
    of_all = {name: calibration_of_all(recipe.calibration) for name, recipe in features.items()}
    return {
        name: replace(recipe, calibration=of_all[name])
        if name in there and there[name].calibration == of_all[name]
        else recipe
        for name, recipe in features.items()
    }


def expect_calibration(out: Path, wanted: Recipes, encoders: Sequence[PreparedEncoder]) -> None:
    """Refuse to resume in int8 where an encoder was calibrated to other ranges than those of the cache."""
    earlier = earlier_in(out)
    there = earlier.features if earlier else {}
    for name, recipe in wanted.features.items():
        if name in there and there[name].calibration and recipe.calibration:
            _expect_same(out, name, there[name], recipe, encoders)


def _expect_same(
    out: Path, name: str, there: FeatureRecipe, here: FeatureRecipe, encoders: Sequence[PreparedEncoder]
) -> None:
    same = replace(here, calibration=there.calibration, parent=there.parent)
    if there.calibration == here.calibration or same != there:  # another field differs, and is told
        return
    if rounding_of(there.calibration) != rounding_of(here.calibration):
        raise RecipeMismatch(
            f"{name} of {out} was made with other rounding: {there.calibration} in the cache, {here.calibration} by this est.",
            remedy="another --out, or the release of est that started the cache",
        )
    files = list(dict.fromkeys(calibration_file(encoder.digest) for encoder in encoders if encoder.digest))
    named = " and ".join(files) if 0 < len(files) <= MOST_NAMED else f"all {calibration_file('*')}"
    raise RecipeMismatch(
        f"{name} of {out} was made with another calibration: {there.calibration} in the cache, {here.calibration} on this machine.",
        remedy=f"copy {named} from the machine that started the cache into "
        f"{engines_folder() or '~/.cache/est/engines'}, or another --out",
    )


def _only(names: Iterable[Named]) -> Named | None:
    """Return the one that there is; None where there are several, or none."""
    found = list(names)
    return found[0] if len(found) == 1 else None
