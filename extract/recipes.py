"""The recipes of an extraction: everything that a row depends on, written down before the first one is made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..cache import FeatureRecipe, FramesRecipe, Recipes
from ..encoders.engines.calibration import joined
from ..encoders.engines.preparation import PreparedEncoder
from ..encoders.weights import Weights
from .config import ExtractConfig
from .flow.field import FIELD, METHOD, SHAPE
from .flow.selection import SAMPLING
from .flow.square import BY_POINTS
from .workers.device_worker import FLIP, DeviceWorker

FLOW = "flow"  # in recipes of features: what the backbone saw
AMONG = "; all: "  # in the name of a calibration, between that of the first encoder and that of all
SEVERAL = " encoders"  # at its end


def recipes_of(
    config: ExtractConfig, weights: Weights | None, device_worker: DeviceWorker, encoder: PreparedEncoder | None
) -> Recipes:
    """Write down everything that a row depends on; without weights, of features that no encoder makes."""
    is_crop = config.detector == "none"
    frames = FramesRecipe(
        decoder=config.decoder,
        detector=device_worker.detector.name,
        detector_digest=device_worker.detector.digest,
        detect_size=0 if is_crop else config.detect_size,
        detect_every=1 if is_crop else config.detect_every,
        score_threshold=0.0 if is_crop else config.score_threshold,
        precision=device_worker.detector.precision,
        face=config.face,
        tracking="" if is_crop else config.tracking.describe(),
        smooth=config.smooth,
        align=config.align,
        margin=config.crop_margin,
        size=config.size,
        crops=config.crop_format,
    )
    if config.modality == "flow":
        tracking = "" if is_crop else BY_POINTS
        frames = replace(
            frames,
            sampling=SAMPLING[config.flow_frames],
            flow=METHOD,
            tracking=tracking,
            detect_every=1,
            smooth=0.0,
        )
    features = {}
    for tap in config.features:
        if tap == FIELD:
            features[tap] = flow_recipe(frames, config)
            continue
        assert weights is not None
        assert encoder is not None
        recipe = feature_recipe(frames, weights, tap, config, [encoder])
        features[tap] = recipe
        if config.flip:
            features[tap + FLIP] = replace(recipe, mirrored=True)
    return Recipes(frames=frames, features=features)


def feature_recipe(
    frames: FramesRecipe, weights: Weights, tap: str, config: ExtractConfig, encoders: Sequence[PreparedEncoder]
) -> FeatureRecipe:
    """Write down how crops become rows of one tap; of several encoders each makes the rows of some clips."""
    return FeatureRecipe(
        parent=frames.fingerprint,
        backbone=weights.backbone.name,
        weights=weights.name,
        weights_digest=weights.digest,
        normalize=weights.backbone.normalization.name,
        tap=tap,
        shape=weights.backbone.shape_of(tap, frames.size),
        dtype=config.dtype,
        precision=encoders[0].precision,
        engine=encoders[0].engine,
        calibration=calibration_of([encoder.calibration for encoder in encoders]),
        trained_on="" if weights.trained_on is None else weights.trained_on.fingerprint,
        modality=FLOW if frames.flow else "",
    )


def calibration_of(names: Sequence[str]) -> str:
    """Return the name of the calibrations of the encoders of an array, which begins with that of the first: new clips are encoded by it."""
    every = joined(list(names))
    return every if every == names[0] else f"{names[0]}{AMONG}{every}"


def first_calibration(name: str) -> str:
    """Return the calibration of the first encoder of an array; empty where a name of earlier caches tells only that of all."""
    first, among, _ = name.partition(AMONG)
    return first if among or not name.endswith(SEVERAL) else ""


def calibration_of_all(name: str) -> str:
    """Return the calibrations of all encoders of an array together, which is all that recipes of earlier code have."""
    return name.partition(AMONG)[2] or name


def flow_recipe(frames: FramesRecipe, config: ExtractConfig) -> FeatureRecipe:
    """Write down how the flow itself becomes rows: no weights, no precision but float32."""
    return FeatureRecipe(
        parent=frames.fingerprint,
        backbone="none",
        weights="none",
        tap=FIELD,
        shape=SHAPE,
        dtype=config.dtype,
        modality=FLOW,
    )
