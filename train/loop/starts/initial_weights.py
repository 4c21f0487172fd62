"""Where fine-tuning starts: the weights of the backbone, and with `--init` the run whose models go on.

By default the backbone starts as the one that made the cache's features: then the first step sees what cached training sees. Random
weights that are asked for are drawn by the seed of each training, as its head is, unless cached maps or a run fix them.
"""

from __future__ import annotations

import hashlib
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from ....cache import Cache, FeatureRecipe
from ....cache.trained import TrainedOn
from ....encoders.backbone import FrameEncoder
from ....encoders.kinds import names_encoder
from ....encoders.taps import MAPS
from ....encoders.weights import BACKBONE, Weights, is_random, load_weights, weights_of_recipe
from ....errors import EstError, UsageError, differing, quoted
from ...config.config import TrainConfig
from ...config.configfile import differences
from ...config.finetune import FinetuneConfig
from ...folds.annotations import Annotations
from ...folds.leaks import Leak, Seen, find_leaks, learnt_from
from ...folds.protocols import Plan
from ...models.finetuned import FinetunedModel
from ...models.last_stage import WithLastStage
from ...models.model import Model
from ...runs.run import CHECKPOINT, Run
from ..checkpoint import behind, load_model
from ..watch import Part
from .class_vectors import ClassVectors
from .crops import CropStart


@dataclass(frozen=True, kw_only=True, eq=False)
class InitialWeights:
    """What a backbone begins with, or the last stage that a model holds."""

    weights: Weights
    init: Run | None = None
    shape: tuple[int, ...] = ()  # of what the encoder makes of a frame for the model, where it learns
    by_seed: bool = False  # random weights, which each training draws by its seed; `weights` are then those of seed 0

    def report(self) -> list[str]:
        """Say it, with the licence."""
        lines = [self.weights.report()]
        if self.weights.licence:
            lines.append(f"licence of the weights: {self.weights.licence}")
        if self.by_seed:
            lines.append("each training draws its random weights by its seed")
        if self.init is not None:
            lines.append(
                f"models start from {self.init.path}: the head is already trained, so it is not trained alone first"
            )
        return lines

    def to_json(self) -> dict[str, Any]:
        """Return what run.json holds."""
        record = self.weights.trained_on
        return {
            **self.encoder_facts(),
            **({"width": self.shape[0], "maps": list(self.shape[1:])} if self.shape else {}),
            "weights": self.weights.name,
            "digest": self.digest,
            "trained_on": None if record is None else record.to_json(),
            "init": None if self.init is None else str(self.init.path.absolute()),
        }

    def encoder_facts(self) -> dict[str, str]:
        """Return what an encoder is built from again, besides its tensors."""
        return {"encoder": self.weights.backbone.name, "normalize": self.weights.backbone.normalization.name}

    @property
    def digest(self) -> str:
        """Return what the weights are known by: those that are drawn by seeds are not those of any one encoder."""
        if self.by_seed:
            return hashlib.sha256(f"{self.weights.digest} by seed".encode()).hexdigest()[:32]
        return self.weights.digest

    def as_begun(self, digest: str) -> Self:
        """Return the start of a run that knows it by a digest: with earlier code random weights were those of seed 0 for all seeds."""
        return replace(self, by_seed=False) if self.by_seed and digest == self.weights.digest else self

    def encoder_of(self, part: Part) -> FrameEncoder:
        """Return the encoder with the weights that a part starts from."""
        if not self.by_seed:
            return self.weights.backbone
        normalize = self.weights.backbone.normalization.name
        return load_weights(self.weights.name, normalize=normalize, seed=part.seed).backbone

    def expect_labels(self, labels: tuple[str, ...]) -> None:
        """Refuse a run whose models tell other classes apart."""
        if self.init is not None and self.init.labels != labels:
            raise UsageError(
                f"The models of {self.init.path} have the classes {', '.join(self.init.labels)}; the clips here have "
                f"{', '.join(labels)}.",
                remedy="--weights instead of --init: the backbone alone",
            )

    def seen(self) -> list[Seen]:
        """Return what the weights have learnt from."""
        record = self.weights.trained_on
        return [] if record is None else [(record, f"the weights {self.weights.name}")]

    def records(self, fold: str, table: Annotations) -> list[TrainedOn]:
        """Return what the models of a fold have learnt from before: clips of the table in the run that is continued, and the weights."""
        found = [record for record, _ in self.seen()]
        if self.init is not None and self.init.config.finetune.on:
            name = next(part["name"] for part in self.init.facts["parts"] if part["fold"] == fold)
            record = load_weights(str(self.init.part(name) / BACKBONE)).trained_on  # with all that came before
            assert record is not None
            found.append(record)
        elif self.init is not None:
            half = self.init.halves()[fold]
            place = {name: row for row, name in enumerate(table.ids.tolist())}
            rows = [place[name] for name in (*half["train"], *half["val"]) if name in place]
            found.append(learnt_from(table, np.array(rows, np.int64), folds=[fold], how="est train"))
        return found

    def enter(self, model: FinetunedModel, part: Part) -> None:
        """Bring the models of the run that is continued into the model of a part."""
        if self.init is None:
            return
        found, _ = load_model(self.init.part(part_of(self.init, part.fold, part.seed)) / CHECKPOINT)
        if (there := found.on_features.maps) != model.maps:
            raise UsageError(
                f"The models of {self.init.path} are for maps of {there}, and these are of {model.maps}.",
                remedy="a run on crops of the same size, or --weights instead of --init",
            )
        if isinstance(found, FinetunedModel):
            model.backbone.load_state_dict(found.backbone.state_dict())
        model.est.load_state_dict((found.est if isinstance(found, FinetunedModel) else found).state_dict())


Start = InitialWeights | CropStart | ClassVectors


def find_initial_weights(cache: Cache, config: TrainConfig, source: str, plan: Plan) -> InitialWeights:
    """Find out where fine-tuning starts, or say why it cannot start there."""
    init = None
    if config.finetune.init:
        init = Run.open(config.finetune.init)
        _expect_fitting(init, config, plan)
    _expect_maps(config, config.finetune.weights)
    weights = _weights(cache, config, source, init)
    _expect_able(weights.backbone, config.finetune)
    _expect_maps(config, weights.backbone.name)
    size, tap = cache.recipes.frames.size, config.model.reads or "gap"
    if source != "maps":
        _expect_size(weights.backbone, size)
    if init is not None and not init.config.finetune.on:
        _expect_read(init, weights, tap)
    shape = (weights.backbone.width,) if tap == "gap" else weights.backbone.shape_of(tap, size)
    by_seed = is_random(config.finetune.weights) and init is None and source != "maps"
    return InitialWeights(weights=weights, init=init, shape=shape, by_seed=by_seed)


def find_leaks_of_initial_weights(start: InitialWeights, plan: Plan, table: Annotations) -> tuple[Leak, ...]:
    """Return the leaks into a plan's halves of what the start has learnt from."""
    found = list(find_leaks(start.seen(), plan, table))
    if start.init is None:
        return tuple(found)
    for fold in plan.folds:
        record = start.records(fold.name, table)[-1]
        found += find_leaks([(record, f"the models of {start.init.path}")], replace(plan, folds=(fold,)), table)
    return tuple(found)


def part_of(run: Run, fold: str, seed: int) -> str:
    """Name the part of a run that learnt a fold with a seed."""
    return next(part["name"] for part in run.facts["parts"] if part["fold"] == fold and part["seed"] == seed)


def _expect_fitting(init: Run, config: TrainConfig, plan: Plan) -> None:
    """Refuse a run whose models are other ones, or were trained on other folds."""
    if not init.complete:
        raise UsageError(f"{init.path} is not complete.", remedy=f"est train --resume --out {quoted(init.path)}")
    changed = differences(TrainConfig(model=init.config.model), TrainConfig(model=config.model))
    if changed:
        raise UsageError(
            differing(init.path, changed),
            remedy=f"--config {init.path / 'config.toml'}, or --set the same",
        )
    there = {(part["fold"], part["seed"]) for part in init.facts["parts"]}
    wanted = {(fold.name, seed) for fold in plan.folds for seed in config.seeds}
    if missing := sorted(wanted - there):
        fold, seed = missing[0]
        raise UsageError(
            f"{init.path} has no model of {fold} with seed {seed}; it has {', '.join(f'{f} with seed {s}' for f, s in sorted(there))}.",
            remedy="the same --protocol, --fold and --seeds as that run",
        )


def _weights(cache: Cache, config: TrainConfig, source: str, init: Run | None) -> Weights:
    """Load the weights that are asked for, or those of the cache's features, or of the run that is continued."""
    settings, made_with = config.finetune, _recipe(cache, config, source)
    if init is not None and init.config.finetune.on:
        return _of_run(init, config, made_with if source == "maps" else None)
    normalize = settings.normalize or None
    if settings.weights:
        found = load_weights(settings.weights, normalize=normalize)
    else:
        found = weights_of_recipe(made_with, cache.path, normalize=normalize)
    if source == "maps" or not settings.weights:
        assert made_with is not None
        _expect_same(cache, made_with, found)
    return found


def _expect_able(encoder: FrameEncoder, settings: FinetuneConfig) -> None:
    """Refuse what takes stages where an encoder has none."""
    if encoder.stages:
        return
    if settings.learns == "layer4":
        raise UsageError(
            f"Which stage of {encoder.title} is the last is not known, so it cannot learn alone.",
            remedy="--finetune all; or --weights imagenet, a ResNet-18",
        )
    if settings.checkpointing:
        raise UsageError(
            f"The stages of {encoder.title} are not known, so they cannot be computed twice to save memory.",
            remedy="--set finetune.checkpointing=false; --set loop.accumulate=2 saves memory too",
        )


def _expect_maps(config: TrainConfig, encoder: str) -> None:
    """Refuse an encoder that makes no maps for a model that reads them; best before its weights are looked for."""
    tap = config.model.reads
    if tap and names_encoder(encoder):
        raise UsageError(
            f"The model {config.model.name} reads {tap} of ResNet-18, and {encoder.partition('=')[0]} has the feature gap alone.",
            remedy="--weights imagenet, another file of a ResNet-18, or random",
        )


def _expect_size(encoder: FrameEncoder, size: int) -> None:
    """Refuse crops of a size that an encoder does not take."""
    try:
        encoder.shape_of("gap", size)
    except UsageError as error:
        raise UsageError(error.message, remedy=f"est extract … {error.remedy} --crops into a new cache") from error


def _recipe(cache: Cache, config: TrainConfig, source: str) -> FeatureRecipe | None:
    """Return how the maps were made, or the features."""
    recipes = cache.recipes.features
    if source == "maps":
        return recipes[MAPS]
    return recipes.get(config.feature) or next(iter(recipes.values()), None)


def _of_run(init: Run, config: TrainConfig, maps: FeatureRecipe | None) -> Weights:
    """Return the weights that a fine-tuned run started from: its own come with the models of its parts."""
    if config.finetune.weights:
        raise UsageError(f"{init.path} has a backbone of its own.", remedy="--init or --weights, not both")
    facts = init.facts["finetune"]
    if maps is not None and (init.config.finetune.learns != "layer4" or facts["digest"] != maps.weights_digest):
        raise UsageError(
            f"The maps were made with {maps.weights}, and {init.path} has changed the layers before layer4.",
            remedy="--set finetune.source=crops",
        )
    found = load_model(init.part(init.parts[0]) / CHECKPOINT)[0]
    assert isinstance(found, FinetunedModel)
    return Weights(backbone=found.backbone, name=f"of {init.path.name}", digest=facts["digest"])


def _expect_same(cache: Cache, recipe: FeatureRecipe, found: Weights) -> None:
    """Refuse weights that are not those of the cache's arrays."""
    here = (found.digest, found.backbone.normalization.name)
    if here != (recipe.weights_digest, recipe.normalize):
        made = f"{recipe.weights} ({recipe.weights_digest[:8]}, pixels {recipe.normalize})"
        raise EstError(
            f"{recipe.tap} of {cache.path} was made with {made}; these are {found.name} ({here[0][:8]}, pixels {here[1]}).",
            remedy="--weights with the file that the cache was made with, or --set finetune.source=crops with --weights",
        )


def _expect_read(init: Run, weights: Weights, tap: str) -> None:
    """Refuse a head that has learnt to read other features."""
    recipe = init.facts["cache"]["recipes"]["features"][init.reads[init.parts[0]]]  # others of a run have other weights
    if len(set(init.reads.values())) > 1 or recipe["tap"] != tap or recipe["weights_digest"] != weights.digest:
        raise UsageError(
            f"The models of {init.path} read {recipe['tap']} of {recipe['weights']}, and the backbone starts as {weights.name}.",
            remedy=f"--weights {recipe['weights']}",
        )


def build(start: Start | None, head: Model, config: TrainConfig, part: Part) -> Model:
    """Put the model of a part together: a model of features alone, or behind a backbone that learns; each begins where it starts."""
    if isinstance(start, CropStart | ClassVectors):
        start.enter(head)
    if not isinstance(start, InitialWeights):
        return head
    encoder = start.encoder_of(part)
    if isinstance(head, WithLastStage) and start.init is None:
        head.start_from(encoder)
    if not config.finetune.on:
        if isinstance(head, WithLastStage) and config.finetune.batch_norm == "frozen":
            head.hold_norms()
        return head
    model = behind(deepcopy(encoder), head, config.finetune)
    start.enter(model, part)
    return model
