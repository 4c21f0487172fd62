"""How a run's features were made, as an extraction of new videos: the same detector, crops, encoders and precision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch

from ...cache import FramesRecipe
from ...cache.recipe import TORCH
from ...cache.schema import FeatureSpec
from ...encoders.device import parse_device
from ...encoders.engines.calibration import bits_of
from ...encoders.engines.choice import Begun, choose_engine
from ...encoders.engines.folder import Say
from ...encoders.precision import DTYPES, Precision, resolve_precision
from ...encoders.weights import Weights
from ...errors import RecipeMismatch, UsageError, expect_choice, quoted
from ...extract.config import ExtractConfig
from ...extract.faces.track_config import is_trimmed, tracking_options, without_people
from ...extract.planning.preparation import describe
from ...train.loop.checkpoint import load_model
from ...train.models.contract import CROPS
from ...train.models.finetuned import FinetunedModel
from ...train.models.model import Model
from ...train.runs.run import CHECKPOINT, Run
from .config import PredictConfig
from .encoders import (
    DIFFER,
    ArraysDeviceWorker,
    FrameArray,
    cached_arrays,
    computation_of,
    crop_array,
    own_arrays,
    settled,
)


@dataclass(frozen=True, kw_only=True, eq=False)
class RunRecipe:
    """Everything that makes a run's probabilities of a video."""

    run: Run
    models: Mapping[str, Model]  # of each part that is asked, on the first device
    reads: Mapping[str, FrameArray]  # what each of them reads
    extraction: ExtractConfig
    precision: Precision  # of the detector; each array has its own
    devices: Sequence[torch.device]
    lines: Sequence[str]  # worth saying

    @cached_property
    def arrays(self) -> list[FrameArray]:
        """Return the arrays, each once."""
        return list({array.name: array for array in self.reads.values()}.values())

    @property
    def specs(self) -> dict[str, FeatureSpec]:
        """Return what the rows of each array are."""
        return {array.name: array.spec for array in self.arrays}

    @property
    def computed(self) -> dict[str, str]:
        """Return the precision of the detector, and precision and engine of each array, as they are resolved here."""
        found = {array.name: _way_of(array, self.devices) for array in self.arrays}
        return found if self.extraction.frames_are_crops else {"the detector": self.precision, **found}

    @property
    def ways(self) -> dict[str, list[str]]:
        """Return the engines and the precisions that the encoders are computed by."""
        found = [computation_of(array, *self.devices) for array in self.arrays]
        return {
            "engine": sorted({one.engine for one in found}),
            "precision": sorted({one.precision for one in found}),
        }

    def device_workers(self, *, one_by_one: bool = False, say: Say | None = None) -> list[ArraysDeviceWorker]:
        """Return a worker for each device; refuse a detector that is not the one that the run's features are of."""
        found = [
            ArraysDeviceWorker(
                one, self.precision, self.extraction, self.arrays, one_by_one=one_by_one, say=None if number else say
            )
            for number, one in enumerate(self.devices)
        ]
        known, detector = self.frames, found[0].detector
        if detector.name == known.detector and detector.digest != known.detector_digest:
            raise RecipeMismatch(
                f"The detector {detector.name} has other weights than when the features of {self.run.path} were made: "
                f"digest {known.detector_digest} then, {detector.digest} here.",
                remedy="the release of the detector's package that the cache was made with, or --models-dir FOLDER",
            )
        return found

    @property
    def frames(self) -> FramesRecipe:
        """Return how the run's cache found and cut faces."""
        return frames_of(self.run)


def frames_of(run: Run) -> FramesRecipe:
    """Return how the cache of a run found and cut faces."""
    return FramesRecipe.from_identity(run.facts["cache"]["recipes"]["frames"])


def recipe_of(run: Run, config: PredictConfig) -> RunRecipe:
    """Load the models of a run and what makes their features, or say what is missing."""
    if not run.complete:
        raise UsageError(f"{run.path} is not complete.", remedy=f"est train --resume --out {quoted(run.path)}")
    parts = parts_asked(run, config.part)
    devices = [parse_device(text) for text in config.device.split(",")]
    models = {part: load_model(run.part(part) / CHECKPOINT)[0].to(devices[0]) for part in parts}
    tuned = {part: model for part, model in models.items() if isinstance(model, FinetunedModel)}
    if run.config.looks_at_frames and config.weights:
        raise UsageError(
            f"{run.path} has its encoders in its checkpoints, and --weights has no effect.",
            remedy="leave --weights out",
        )
    if run.config.model.reads == CROPS:
        reads = dict.fromkeys(parts, crop_array(frames_of(run).size, run.facts["precision"]))
    elif tuned:
        reads = own_arrays(tuned, run.facts["precision"])
    else:
        reads = cached_arrays(run, parts, config.weights, config.models_dir)
    searched = frames_of(run).precision
    precision: Precision = searched if searched in DTYPES else "fp32"
    if config.precision is not None or config.engine is not None:
        again = {array.name: in_another_way(array, config, devices) for array in reads.values()}
        reads = {part: again[array.name] for part, array in reads.items()}
    if config.precision is not None:
        precision = choose_engine(config.engine or "auto", config.precision, *devices).searching
    resolve_precision(precision, *devices, remedy=DIFFER)
    for array in reads.values():
        computation_of(array, *devices)
    extraction, said = extraction_of(run, config), []
    found = {array.name: array for array in reads.values()}
    found = {name: settled(array, extraction.size, devices, said.append) for name, array in found.items()}
    reads = {part: found[array.name] for part, array in reads.items()}
    for model in tuned.values():
        model.backbone.shape_of("gap", extraction.size)
    return RunRecipe(
        run=run,
        models=models,
        reads=reads,
        extraction=extraction,
        precision=precision,
        devices=devices,
        lines=[*said, *_lines(run, parts, reads, devices)],
    )


def in_another_way(array: FrameArray, config: PredictConfig, devices: Sequence[torch.device]) -> FrameArray:
    """Return an array whose rows are computed as the options say; what they leave out is the run's."""
    engine, precision = config.engine or "auto", config.precision or array.precision
    if array.weights is None:
        _expect_torch(engine, precision)
        engine = TORCH
    chosen = choose_engine(engine, precision, *devices, begun=Begun(bits=bits_of(array.calibration)))
    is_own = (chosen.engine, chosen.precision) == (array.engine, array.precision)
    return replace(
        array,
        precision=chosen.precision,
        engine=chosen.engine,
        may_fall_back=chosen.may_fall_back,
        calibration=array.calibration if is_own else "",
    )


def _expect_torch(engine: str, precision: str) -> None:
    """Refuse what torch does not compute, in a run whose model looks at the crops itself."""
    if engine == "onnxruntime":
        found, remedy = f"--engine {engine}", "leave --engine out"
    elif precision == "int8":
        found, remedy = f"--precision {precision}", "--precision fp32, or leave it out"
    else:
        return
    raise UsageError(f"The run's own model reads crops and is computed by torch; found {found}.", remedy=remedy)


def extraction_of(run: Run, config: PredictConfig) -> ExtractConfig:
    """Return the extraction that made the features of a run, of the faces that are wanted now."""
    frames = frames_of(run)
    cropping: dict[str, Any] = {"margin": frames.margin, "detector": frames.detector}
    if config.detector is not None and config.detector != frames.detector:
        if frames.detector != "none":
            raise RecipeMismatch(
                f"The faces of {run.path} were found by {frames.detector}; found --detector {config.detector}.",
                remedy="leave --detector out",
            )
        cropping = {"detector": config.detector}  # of videos for a run on face crops
    searched = frames.detector != "none"
    found = ExtractConfig(
        decoder=frames.decoder,  # ty: ignore[invalid-argument-type]
        face=config.face,
        trim=False,  # predictions are of all frames of a video
        align=frames.align,  # ty: ignore[invalid-argument-type]
        size=frames.size,
        features=("gap",),  # the device workers know better
        device=config.device,
        models_dir=config.models_dir,
        workers=config.workers,
        timeout=config.timeout,
        no_face="keep",
        **cropping,
        **(
            {
                "detect_size": frames.detect_size,
                "detect_every": frames.detect_every,
                "score_threshold": frames.score_threshold,
                "smooth": frames.smooth,
            }
            if searched
            else {}
        ),
    )
    options = tracking_options(frames.tracking) | {"across_cuts": "keep"} if searched else {}
    told = replace(found, face=frames.face, trim=is_trimmed(frames.tracking), **options).tracking.describe()
    if searched and without_people(frames.tracking) != told:
        raise RecipeMismatch(
            f"The faces of {run.path} were tracked with other settings: {frames.tracking} then, {told} here.",
            remedy="the release of est that made the run's cache",
        )
    kind, _, quality = frames.crops.partition(" ")
    if kind == "jpeg":
        found = replace(found, crops=True, forget_crops=True, crop_quality=int(quality))
    return found


def parts_asked(run: Run, part: str | None) -> list[str]:
    """Name the parts whose models are asked."""
    if part is None:
        return run.parts
    if len(run.parts) == 1:
        if part != run.parts[0]:
            raise UsageError(f"{run.path} has one model, {run.parts[0]}; found --part {part}.", remedy="leave it out")
        return run.parts
    expect_choice("--part", part, run.parts)
    return [part]


def _way_of(array: FrameArray, devices: Sequence[torch.device]) -> str:
    bits = f" of {computation_of(array, *devices).bits} bits" if array.precision == "int8" else ""
    return f"{array.precision}{bits} by {array.engine}"


def _lines(
    run: Run, parts: Sequence[str], reads: Mapping[str, FrameArray], devices: Sequence[torch.device]
) -> list[str]:
    """Return which models predict."""
    models = f"the mean of {len(parts)} models" if len(parts) > 1 else f"the model {parts[0]}"
    lines = [f"{run.facts['heading']}: {models}, classes {', '.join(run.labels)}"]
    loaded: dict[str, Weights] = {one.weights.digest: one.weights for one in reads.values() if one.weights is not None}
    for weights in loaded.values():
        lines += describe(weights)
    ways = sorted({_way_of(array, devices) for array in reads.values()})
    lines.append(f"{', '.join(map(str, devices))} in {', '.join(ways)}")
    if untold := sorted({array.name for array in reads.values() if array.calibration and not array.own_calibration}):
        lines.append(
            f"not compared: the ranges of {', '.join(untold)}, whose cache names only those of several encoders together"
        )
    return lines
