"""The frame encoders of a run, found again: by name, by file, or in the run's own checkpoints.

A run that reads cached features knows its encoders by name and digest; a file is looked for where it may lie and is taken only with the
digest that the run knows. A fine-tuned run has an encoder in each checkpoint, which computes here as it does in `est evaluate`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from ...cache import FeatureRecipe
from ...cache.recipe import TORCH
from ...cache.schema import FeatureSpec
from ...encoders.engines.calibration import bits_of, rounding_of
from ...encoders.engines.choice import Begun, Computation, choose_engine
from ...encoders.engines.engine import EncoderPrecision, FrameEngine
from ...encoders.engines.folder import Say, engines_folder
from ...encoders.engines.preparation import prepare
from ...encoders.kinds import names_encoder
from ...encoders.precision import Precision
from ...encoders.weights import LICENCES, Weights, is_known, load_weights
from ...errors import EstError, RecipeMismatch, UsageError, quoted
from ...extract.config import ExtractConfig
from ...extract.recipes import first_calibration
from ...extract.workers.device_worker import DeviceWorker, Encoding
from ...train.loop.autocast import casting
from ...train.models.batch_frames import BatchFrames
from ...train.models.contract import CROPS
from ...train.models.finetuned import FinetunedModel
from ...train.runs.run import Run

DIFFER = "--precision fp32, whose rows differ slightly"


@dataclass(frozen=True, kw_only=True, eq=False)
class FrameArray:
    """An array of the run's features: what makes its rows, and what they are."""

    name: str
    spec: FeatureSpec
    tap: str
    precision: EncoderPrecision
    mirrored: bool = False
    engine: str = TORCH
    may_fall_back: bool = False  # to torch: no engine was asked for
    calibration: str = ""  # of the run's rows in int8
    weights: Weights | None = None  # of features that are made as a cache's are
    model: FinetunedModel | None = None  # whose own encoder makes them

    @property
    def own_calibration(self) -> str:
        """Return the calibration of the encoder that prediction takes, of those that made the run's rows; empty where nothing tells."""
        return first_calibration(self.calibration)


class ArraysDeviceWorker(DeviceWorker):
    """Detects, and makes the rows of several arrays of each crop."""

    def __init__(
        self,
        device: torch.device,
        precision: Precision,
        config: ExtractConfig,
        arrays: Sequence[FrameArray],
        *,
        one_by_one: bool = False,
        say: Say | None = None,
    ) -> None:
        """Load what is computed with; `precision` is the detector's, each array has its own."""
        super().__init__(device, precision, config, [], one_by_one=one_by_one)
        self._size, self._say = config.size, say or (lambda line: None)
        groups: dict[tuple[int, str, str, int | None], list[FrameArray]] = {}
        for array in arrays:
            if array.weights is not None:
                way = (id(array.weights), array.precision, array.engine, bits_of(array.calibration))
                groups.setdefault(way, []).append(array)
        self._encoders = [(self._encoder(group), group) for group in groups.values()]
        self._models = [(one, _on(one.model, device)) for one in arrays if one.model is not None]
        self._crops = [one.name for one in arrays if one.tap == CROPS]

    def _encoder(self, group: Sequence[FrameArray]) -> FrameEngine:
        """Return the encoder of arrays that are computed in one way; refuse int8 that rounds in another way than the run's."""
        first, taps = group[0], list(dict.fromkeys(one.tap for one in group))
        assert first.weights is not None
        encoder = prepare(first.weights.backbone, self._size, computation_of(first, self.device), self._say)
        if other := sorted({one.own_calibration for one in group} - {"", encoder.calibration}):
            if rounding_of(other[0]) != rounding_of(encoder.calibration):
                raise RecipeMismatch(
                    f"The features of the run were made with other rounding: {other[0]} then, {encoder.calibration} by this est.",
                    remedy=DIFFER,
                )
            raise RecipeMismatch(
                f"The features of the run were made with another calibration: {other[0]} then, {encoder.calibration} here.",
                remedy=f"copy {encoder.digest}.ranges from the machine that made them into {engines_folder()}, or {DIFFER}",
            )
        return encoder.build(taps, self.device, self.crop_batch)

    def _encode(self, crops: np.ndarray, encoding: Encoding) -> dict[str, np.ndarray]:
        rows: dict[str, np.ndarray] = {}
        for encoder, arrays in self._encoders:
            for mirrored in dict.fromkeys(one.mirrored for one in arrays):
                wanted = [one for one in arrays if one.mirrored == mirrored]
                found = encoder.encode(crops, list(dict.fromkeys(one.tap for one in wanted)), mirrored=mirrored)
                rows |= {one.name: found[one.tap] for one in wanted}
        for array, model in self._models:
            assert array.precision != "int8"
            rows[array.name] = self._own_rows(model, crops, array.precision)
        return rows | dict.fromkeys(self._crops, crops.transpose(0, 3, 1, 2))

    @torch.inference_mode()
    def _own_rows(self, model: FinetunedModel, crops: np.ndarray, precision: Precision) -> np.ndarray:
        """Return the features of crops by the encoder of a fine-tuned model.  # (B, S, S, 3) RGB uint8 → (B, D), (B, C, h, w)"""
        pictures = torch.from_numpy(crops).to(self.device)
        place = torch.arange(len(crops), device=self.device)[:, None, None]
        with casting(self.device, precision):
            return model.features(BatchFrames(rows=pictures, place=place))[:, 0, 0].float().cpu().numpy()


def computation_of(array: FrameArray, *devices: torch.device) -> Computation:
    """Return how the rows of an array are computed, or say what is missing here."""
    try:
        found = choose_engine(array.engine, array.precision, *devices, begun=Begun(bits=bits_of(array.calibration)))
    except EstError as error:
        raise type(error)(error.message, remedy=DIFFER) from error
    return replace(found, may_fall_back=array.may_fall_back)


def settled(array: FrameArray, size: int, devices: Sequence[torch.device], say: Say) -> FrameArray:
    """Return an array whose engine is the one that computes it: if onnxruntime cannot, and was not asked for, torch."""
    if not array.may_fall_back or array.weights is None:
        return array
    prepared = prepare(array.weights.backbone, size, computation_of(array, *devices), say)
    return replace(array, engine=prepared.engine, may_fall_back=False)


def _on(model: FinetunedModel, device: torch.device) -> FinetunedModel:
    """Return a model on a device: itself where it is there, since the sink asks it too, and elsewhere a copy."""
    return model if model.device == device else deepcopy(model).to(device)


def cached_arrays(
    run: Run, parts: Sequence[str], given: Sequence[str], models_dir: Path | None
) -> dict[str, FrameArray]:
    """Return the array that each of some parts reads, with the weights that make its rows."""
    recipes = run.facts["cache"]["recipes"]["features"]
    named = {name: FeatureRecipe.from_identity(recipes[name]) for name in dict.fromkeys(run.reads[p] for p in parts)}
    first = next(iter(named.values()))
    for name, recipe in named.items():
        _expect_of_frames(run, name, recipe)
    offered = [load_weights(_as_of(text, first), normalize=first.normalize, models_dir=models_dir) for text in given]
    loaded: dict[tuple[str, str], Weights] = {}
    arrays = {}
    for name, recipe in named.items():
        key = (recipe.weights_digest, recipe.normalize)
        if key not in loaded:
            loaded[key] = _find(run, recipe, offered, models_dir)
        spec = FeatureSpec(dtype=recipe.dtype, shape=recipe.shape)
        arrays[name] = FrameArray(
            name=name,
            spec=spec,
            tap=recipe.tap,
            precision=recipe.precision,  # ty: ignore[invalid-argument-type]
            mirrored=recipe.mirrored,
            engine=recipe.engine,
            calibration=recipe.calibration,
            weights=loaded[key],
        )
    return {part: arrays[run.reads[part]] for part in parts}


def own_arrays(models: Mapping[str, FinetunedModel], precision: Precision) -> dict[str, FrameArray]:
    """Return an array for each part of a fine-tuned run, whose own encoder makes its rows."""
    return {
        part: FrameArray(
            name=f"part{number}",
            spec=FeatureSpec(dtype="float32", shape=(model.width, *model.maps)),
            tap=model.tap,
            precision=precision,
            model=model,
        )
        for number, (part, model) in enumerate(models.items())
    }


def crop_array(side: int, precision: Precision) -> FrameArray:
    """Return the array of a model that reads crops: the crops themselves, channels first."""
    return FrameArray(
        name=CROPS, spec=FeatureSpec(dtype="uint8", shape=(3, side, side)), tap=CROPS, precision=precision
    )


def _expect_of_frames(run: Run, name: str, recipe: FeatureRecipe) -> None:
    """Refuse rows that are no rows of a frame's plain crop, or that nothing here can make."""
    if recipe.is_imported:
        raise UsageError(
            f"{run.path} reads {name!r}, which was imported (by {recipe.weights}): est cannot compute it from a video.",
            remedy=f"import the features of new clips, too, and est evaluate {quoted(run.path)} --cache THEIRS",
        )
    if recipe.view or not recipe.is_of_crops:
        what = "crops that were changed" if recipe.view else recipe.window or recipe.modality
        raise UsageError(
            f"{run.path} reads {name!r}, whose rows are of {what}; prediction makes rows of the crops as they are.",
            remedy="a run on gap, or on maps as layer3, of face crops",
        )


def _as_of(text: str, recipe: FeatureRecipe) -> str:
    """Write a file as weights of the encoder that a recipe names."""
    other = names_encoder(recipe.backbone) and not names_encoder(text) and text not in LICENCES
    return f"{recipe.backbone}={text}" if other and Path(text).is_file() else text


def _find(run: Run, recipe: FeatureRecipe, offered: Sequence[Weights], models_dir: Path | None) -> Weights:
    """Return the weights that made an array, or say which flag names them."""
    for weights in offered:
        if weights.digest == recipe.weights_digest:
            return weights
    if offered:
        names = ", ".join(f"{weights.name} ({weights.digest[:8]})" for weights in offered)
        raise RecipeMismatch(
            f"The features of {run.path} were made with {recipe.weights} (digest {recipe.weights_digest[:8]}); "
            f"--weights names {names}.",
            remedy=f"--weights FILE with the same file {recipe.weights} that the features were extracted with",
        )
    if is_known(recipe.weights):
        return _expect_unchanged(run, recipe, _by_name(run, recipe, models_dir))
    seen: list[Path] = []
    for path in _places(run, recipe.weights, models_dir):
        seen.append(path)
        try:
            weights = load_weights(_as_of(str(path), recipe), normalize=recipe.normalize)
        except EstError:  # another encoder's file of that name
            continue
        if weights.digest == recipe.weights_digest:
            return weights
    changed = (
        f"{seen[0]} has changed" if seen else "no such file is in the current folder or beside the run and its cache"
    )
    raise RecipeMismatch(
        f"The features of {run.path} were made with the weights {recipe.weights} (digest {recipe.weights_digest[:8]}), and {changed}.",
        remedy=f"--weights FOLDER/{recipe.weights}",
    )


def _by_name(run: Run, recipe: FeatureRecipe, models_dir: Path | None) -> Weights:
    try:
        return load_weights(recipe.weights, normalize=recipe.normalize, models_dir=models_dir)
    except EstError as error:
        raise EstError(
            f"The features of {run.path} were made with the weights {recipe.weights}, which cannot be loaded here. {error.message}",
            remedy=error.remedy or "--weights FILE, or --models-dir FOLDER",
        ) from error


def _expect_unchanged(run: Run, recipe: FeatureRecipe, weights: Weights) -> Weights:
    if weights.digest != recipe.weights_digest:
        raise RecipeMismatch(
            f"The weights {recipe.weights} are not those that made the features of {run.path}: "
            f"digest {recipe.weights_digest[:8]} in the run, {weights.digest[:8]} here.",
            remedy="--weights FILE with the file that was used then",
        )
    return weights


def _places(run: Run, name: str, models_dir: Path | None) -> Iterator[Path]:
    """Yield the files of a name where weights may lie: here, beside the run and its cache, where `est recache` keeps what it tuned."""
    cache = Path(run.facts["cache"]["path"])
    folders = [Path.cwd(), run.path, run.path.parent, cache.parent, *([models_dir] if models_dir else [])]
    yield from dict.fromkeys(path for folder in folders if (path := folder / name).is_file())
    encoders = cache.with_name(f"{cache.stem}-encoders")
    yield from sorted(encoders.glob(f"*/{name}"))
