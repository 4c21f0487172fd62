"""What an extraction needs before its first frame: settings that fit together, loaded weights, a detector; or the reason why not.

What can be refused is refused in the order of what it costs to find out: names and folders first, then weights, which a hub may have to
send, then what is exported for an engine. A dry run goes the same way.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from ...cache import Recipes, open_cache
from ...cache.schema import ColumnSpec
from ...cache.watch import Watch
from ...cache.writing.restart import has_clips
from ...encoders.backbone import tap_shape
from ...encoders.engines.preparation import PreparedEncoder, prepare
from ...encoders.taps import CLASS_TOKEN, TAPS
from ...encoders.weights import LICENCES, Weights, load_weights
from ...errors import UsageError, nearest
from ...inputs.extracolumns import column_specs, typed_cells
from ...inputs.input import FoundInputs, Input
from ..begun import as_begun, earlier_in, expect_calibration
from ..command import expect_as_made
from ..config import ExtractConfig
from ..faces.detect import expect_detector
from ..modality import Modality, modality_of
from ..recipes import recipes_of
from ..video.source import expect_decoder
from ..workers.device_worker import DeviceWorker
from .machine import Machine, ThisMachine
from .output import expect_out
from .resuming import expect_resumable

SHOWN_TO_ALL = ("imagenet", "synface", "random")  # weights that have not seen any user's clips, as those of KIND:NAME


@dataclass(frozen=True, kw_only=True, eq=False)
class PreparedExtraction:
    """Everything that an extraction computes with."""

    config: ExtractConfig  # as an existing cache is resumed
    modality: Modality
    inputs: list[Input]  # with typed cells
    columns: Mapping[str, ColumnSpec]  # of these cells
    devices: list[torch.device]
    weights: Weights | None  # none where no encoder is asked for
    device_workers: list[DeviceWorker]
    recipes: Recipes
    environment: Mapping[str, Any]  # that is recorded


def prepare_extraction(
    found: FoundInputs, out: Path | None, config: ExtractConfig, watch: Watch, machine: Machine | None = None
) -> PreparedExtraction:
    """Refuse what can be refused, then load; without `out` nothing is known of a cache. This machine computes unless another is given."""
    machine = machine or ThisMachine()
    if out is not None:
        expect_out(out)
    modality = modality_of(config)
    for line in modality.expect_inputs(found.inputs, are_all=not found.is_part):
        watch.warn(line)
    devices = machine.devices(config)
    asked = config
    if out is not None:
        config = as_begun(config, out)
    if asked.trim != config.trim:
        watch.say(
            f"clips of {out} have rows for all frames of their source, so new ones have, too: earlier code started this cache"
        )
    computation = machine.computation(config, earlier_in(out), devices)
    expect_decoder(config.decoder)
    expect_features(config)
    expect_detector(config.detector, score_threshold=config.score_threshold, models_dir=config.models_dir)
    inputs, columns = with_columns(found, out)
    if out is not None:
        expect_as_made(config, out, computation)
    weights = encoder = None
    if config.encoded:
        weights = load_weights(config.weights, normalize=config.normalize, models_dir=config.models_dir)
        for tap in config.encoded:
            weights.backbone.shape_of(tap, config.size)  # what there is not is refused before anything is exported
        for line in describe(weights):
            watch.say(line)
    for line in computation.lines(devices):
        watch.say(line)
    if weights:
        encoder = prepare(weights.backbone, config.size, computation, watch.say)
    encoders: list[PreparedEncoder] = [encoder] if encoder else []
    device_workers = machine.device_workers(config, computation, encoders, devices, watch.warn)
    if device_workers[0].detector.licence:
        watch.say(f"licence of the detector: {device_workers[0].detector.licence}")
    recipes = recipes_of(config, weights, device_workers[0], encoder)
    if out is not None:
        expect_calibration(out, recipes, encoders)
    columns = {**columns, **modality.columns}
    environment = device_workers[0].environment | {"device": [str(device) for device in devices]}
    if found.record:
        environment["dataset"] = found.record
    if out is not None:
        record = None if weights is None else weights.trained_on
        expect_resumable(out, recipes, columns, environment, config, inputs, record)
    if recipes.frames.by_annotated_apex:
        watch.say(f"rows are of {recipes.frames.sampling}")
    return PreparedExtraction(
        config=config,
        modality=modality,
        inputs=inputs,
        columns=columns,
        devices=devices,
        weights=weights,
        device_workers=device_workers,
        recipes=recipes,
        environment=environment,
    )


def expect_features(config: ExtractConfig) -> None:
    """Refuse features that no encoder has, and those that the named weights have not; a file is asked when it is read."""
    known = (*TAPS, CLASS_TOKEN)
    for name in config.encoded:
        if name not in known:
            near = nearest(name, known) or "gap"
            mended = ",".join(dict.fromkeys(near if one == name else one for one in config.features))
            raise UsageError(
                f"--features names {', '.join(known[:-1])} or {known[-1]} of an encoder; found {name!r}.",
                remedy=f"--features {mended}",
            )
        if config.weights in LICENCES:  # those of ResNet-18
            tap_shape(name, config.size)


def with_columns(found: FoundInputs, out: Path | None) -> tuple[list[Input], dict[str, ColumnSpec]]:
    """Return inputs whose extra cells have types, and the columns: of the type that the cache has them in, else by what all cells hold."""
    known = open_cache(out).schema.extra if out is not None and has_clips(out) else {}
    columns = column_specs((source.extra for source in found.inputs), {**found.columns, **known})
    return [replace(source, extra=typed_cells(source.extra, columns, source.id)) for source in found.inputs], columns


def describe(weights: Weights) -> Iterator[str]:
    """Return what was loaded, under which licence, and whether its training data is on record."""
    yield weights.report()
    if weights.licence:
        yield f"licence of the weights: {weights.licence}"
    if weights.trained_on is None and weights.name not in SHOWN_TO_ALL and ":" not in weights.name:
        yield (f"{weights.name} has no record of the clips it was trained on: the leak check cannot cover it")
