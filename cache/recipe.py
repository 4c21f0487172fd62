"""Recipes: how the rows of a cache were made; same recipe, same rows.

A recipe's identity is every field, digests and resolved precision included; its canonical JSON is hashed to a fingerprint. There are two
levels: one recipe for the frames (decoding, detection, cropping) and one for each feature array, which names its parent's fingerprint.
"""

from __future__ import annotations

import hashlib
import json
import math
import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, ClassVar, Self

from ..errors import CacheDamaged, FeaturesLeftOut, RecipeMismatch, UsageError, differing
from .schema import FRAME_COLUMNS, WINDOW_ARRAYS

RESERVED = (
    *FRAME_COLUMNS,
    *WINDOW_ARRAYS,
    "crops",
    "row",
    "start",
    "stop",
    "rate",
)  # names of other arrays, or of their checksums

ANNOTATED_APEX = (
    "annotated apex (the field's usual practice)"  # in `sampling`: frames were chosen by what an annotator said
)


TORCH = "torch"  # the engine of recipes that name none
IMPORTED = "imported"  # the decoder, detector or backbone of what was made elsewhere
NAMED = ("imagenet", "synface", "random", "none")  # weights that are no file, and those of KIND:NAME
KINDS = ("hub", "torchvision", "timm", "clip", "hsemotion")
UNNAMED = "FILE"  # stands for the name of a user's file of weights, which may contain a person's name


def unnamed(weights: str) -> str:
    """Return published weights by their name, and a user's file without it: its digest identifies it."""
    kind, colon, _ = weights.partition(":")
    return weights if weights in NAMED or (colon and kind in KINDS) else UNNAMED


def _float(value: Any) -> float:
    if isinstance(value, str | bool) or not math.isfinite(value):
        raise ValueError("not a finite number")
    return float(value)


def _int(value: Any) -> int:
    if isinstance(value, bool):
        raise TypeError("not a count")
    return operator.index(value)


def _exactly(kind: type) -> Callable[[Any], Any]:
    def check(value: Any) -> Any:
        if type(value) is not kind:
            raise TypeError(f"not a {kind.__name__}")
        return value

    return check


# The one form in which a field of each type is hashed: 0 for a float is 0.0, a list of sides is a tuple.
_FORMS: Mapping[str, Callable[[Any], Any]] = {
    "str": _exactly(str),
    "bool": _exactly(bool),
    "int": _int,
    "float": _float,
    "tuple[int, ...]": lambda value: tuple(_int(side) for side in value),
}


def canonical_json(value: Any) -> str:
    """Return the one JSON text of a value: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What both levels share."""

    LATER: ClassVar[
        tuple[str, ...]
    ] = ()  # fields that earlier recipes lack: left out at their defaults, so that those keep their fingerprints

    def __post_init__(self) -> None:
        """Bring every field into its one form, or say that it has another type."""
        for item in fields(self):
            value = getattr(self, item.name)
            try:
                object.__setattr__(self, item.name, _FORMS[str(item.type)](value))
            except (TypeError, ValueError) as error:
                raise UsageError(f"A recipe's {item.name} has the type {item.type}, found {value!r}.") from error

    def identity(self) -> dict[str, Any]:
        """Return everything that must match."""
        later = {item.name: item.default for item in fields(self) if item.name in self.LATER}
        return {name: value for name, value in asdict(self).items() if name not in later or value != later[name]}

    @property
    def fingerprint(self) -> str:
        """Return a short name of the identity."""
        return hashlib.sha256(canonical_json(self.identity()).encode()).hexdigest()[:32]

    @classmethod
    def from_identity(cls, identity: Mapping[str, Any]) -> Self:
        """Read what `identity` wrote."""
        names = {f.name for f in fields(cls)}
        if not names - set(cls.LATER) <= set(identity) <= names:
            raise CacheDamaged(f"A recipe has the fields {sorted(names)}, found {sorted(identity)}.")
        return cls(**{name: tuple(value) if isinstance(value, list) else value for name, value in identity.items()})

    def differences(self, other: Recipe) -> list[str]:
        """List the fields in which another recipe differs."""
        return [item.name for item in fields(self) if getattr(self, item.name) != getattr(other, item.name)]


@dataclass(frozen=True, kw_only=True)
class FramesRecipe(Recipe):
    """From a source to aligned face crops, or to pictures of the flow in one."""

    LATER = ("flow",)

    decoder: str  # auto, opencv, pyav: auto is opencv, and pyav for a file that OpenCV cannot decode
    sampling: str = "every frame"
    detector: str  # retinaface, insightface:PACK, none
    detector_digest: str = ""  # of its weights
    detect_size: int = 0  # longer side of the image that it sees; 0 full size
    detect_every: int = 1
    score_threshold: float = 0.0
    precision: str = "fp32"  # that the detector ran in
    face: str = "main"  # main, largest, all
    tracking: str = ""  # how detections are linked, e.g. "gap 15, iou 0.3"
    smooth: float = 0.0
    align: str = "box"  # box, 5point
    margin: float = 0.0
    size: int = 224
    crops: str = ""  # how crops were encoded before the backbone saw them, e.g. "jpeg 95"; empty when they were not
    flow: str = ""  # how the flow was computed whose pictures stand in place of crops; empty: crops are of faces

    @property
    def by_annotated_apex(self) -> bool:
        """Return whether rows were chosen by the annotated apex, which prediction on new videos does not have."""
        return ANNOTATED_APEX in self.sampling

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.size < 1 or self.detect_every < 1 or self.detect_size < 0:
            raise UsageError(
                f"A frames recipe needs size ≥ 1, detect_every ≥ 1 and detect_size ≥ 0, found {self.identity()}"
            )


@dataclass(frozen=True, kw_only=True)
class FeatureRecipe(Recipe):
    """From a face crop to one row of a feature array."""

    LATER = ("fold", "cross_fit", "view", "look", "window", "modality", "engine", "calibration")

    parent: str  # fingerprint of the frames recipe
    backbone: str  # resnet18
    weights: str  # imagenet, synface, random, or a file's name
    weights_digest: str = ""
    normalize: str = "none"  # of pixels: none, imagenet, or "mean,std"
    tap: str = "gap"
    shape: tuple[int, ...] = (512,)
    dtype: str = "float16"
    precision: str = "fp32"  # that the backbone ran in, resolved: fp32, bf16, fp16, int8
    mirrored: bool = False
    trained_on: str = ""  # fingerprint of the clips whose labels its weights have seen
    fold: str = ""  # of a protocol: the weights have seen its training half
    cross_fit: str = (
        ""  # how the rows of that half come from weights that have not seen them; empty: all come from `weights`
    )
    view: int = 0  # from 1 on: of crops that were changed, all of a clip alike
    look: str = ""  # how they were changed
    window: str = ""  # which frames a row is of, as "16 frames, step 8, 25 a second"; empty: each row is of one frame
    modality: str = ""  # what the backbone saw, as "flow"; empty: the crops themselves
    engine: str = TORCH  # that computed the backbone
    calibration: str = ""  # of int8: bits of the weights, digest of the ranges of activations; of several encoders those of `weights` first

    @property
    def is_imported(self) -> bool:
        """Return whether its rows were made elsewhere: `weights` then says by what, and `tap` from which columns."""
        return self.backbone == IMPORTED

    @property
    def is_later(self) -> bool:
        """Return whether format 1 has no place for it."""
        return bool(self.window or self.modality or self.engine != TORCH)

    @property
    def is_of_crops(self) -> bool:
        """Return whether a row is what an encoder makes of one crop."""
        return not (self.window or self.modality)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.dtype not in ("float16", "float32"):
            raise UsageError(f"Features are float16 or float32, found {self.dtype!r}")
        if any(side < 1 for side in self.shape):
            raise UsageError(f"A feature's shape has sides of at least 1, found {self.shape}")
        if self.view < 0:
            raise UsageError(f"Views are counted from 1, found {self.view}")


@dataclass(frozen=True, kw_only=True)
class Recipes:
    """All recipes of a cache."""

    frames: FramesRecipe
    features: Mapping[str, FeatureRecipe] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, recipe in self.features.items():
            if not name.isidentifier() or not name.isascii() or name in RESERVED:
                raise UsageError(
                    f"A feature array is named by letters, digits and _, and not {', '.join(RESERVED)}; found {name!r}"
                )
            if recipe.parent != self.frames.fingerprint:
                raise UsageError(
                    f"The recipe of {name!r} names the parent {recipe.parent}, found {self.frames.fingerprint}"
                )

    def identity(self) -> dict[str, Any]:
        """Return everything that must match, as the attribute `recipes` holds it."""
        return {
            "frames": self.frames.identity(),
            "features": {name: recipe.identity() for name, recipe in self.features.items()},
        }

    def fingerprints(self) -> dict[str, str]:
        """Return the fingerprint of each recipe, as the attribute `fingerprints` holds them."""
        return {"frames": self.frames.fingerprint} | {
            name: recipe.fingerprint for name, recipe in self.features.items()
        }

    @classmethod
    def from_identity(cls, identity: Mapping[str, Any]) -> Self:
        """Read what `identity` wrote."""
        features = {name: FeatureRecipe.from_identity(recipe) for name, recipe in identity["features"].items()}
        return cls(frames=FramesRecipe.from_identity(identity["frames"]), features=features)

    def differences(self, other: Recipes) -> list[str]:
        """List the fields in which another set differs, as `size` or `gap.weights`; a parent differs with its fields alone."""
        found = self.frames.differences(other.frames)
        for name in self.features.keys() & other.features.keys():
            found += [
                f"{name}.{field}"
                for field in self.features[name].differences(other.features[name])
                if field != "parent"
            ]
        found += [f"{name} (only in one)" for name in sorted(self.features.keys() ^ other.features.keys())]
        return found

    def pairs(self, other: Recipes, differences: list[str]) -> dict[str, tuple[Any, Any]]:
        """Return for each difference what stands here and what there."""
        return {name: (self._value(name), other._value(name)) for name in differences}

    def describe(self, other: Recipes, differences: list[str]) -> str:
        """Say for each difference what stands here and what there."""
        pairs = self.pairs(other, differences).items()
        return ", ".join(f"{name}: {_shown(mine)} here, {_shown(theirs)} there" for name, (mine, theirs) in pairs)

    def _value(self, name: str) -> Any:
        feature, dot, field_name = name.partition(".")
        if dot:
            return getattr(self.features[feature], field_name)
        if name.endswith(" (only in one)"):
            return "present" if name.split(" ")[0] in self.features else "absent"
        return self.frames.identity()[name]


def expect_same(
    found: Recipes,
    wanted: Recipes,
    *,
    where: str,
    allow: tuple[str, ...] = (),
    remedy: str | None = None,
    asked: bool = False,
) -> list[str]:
    """Refuse recipes that differ in a field that is not allowed to; return the differences that were.

    What is wanted is asked for by settings, or that of another cache.
    """
    differences = found.differences(wanted)
    refused = [name for name in differences if name not in allow]
    if refused:
        told = f"{where} was made with other settings: {found.describe(wanted, refused)}."
        raise RecipeMismatch(differing(where, found.pairs(wanted, refused)) if asked else told, remedy=remedy)
    return differences


def expect_recipes(found: Recipes, wanted: Recipes, path: Path) -> dict[str, FeatureRecipe]:
    """Refuse other recipes of the frames, or of features that are here; return the features that are not here yet."""
    shared = {name: recipe for name, recipe in wanted.features.items() if name in found.features}
    here = replace(found, features={name: found.features[name] for name in shared})
    expect_same(
        here,
        replace(wanted, features=shared),
        where=str(path),
        remedy="use the settings of the cache, or another --out",
        asked=True,
    )
    absent = sorted(found.features.keys() - wanted.features.keys())
    if absent:
        remedy = f"ask for all of them: {_options([*found.features.values(), *wanted.features.values()])}"
        raise FeaturesLeftOut(f"{path} also has the features {', '.join(absent)}.", remedy=remedy)
    return {name: recipe for name, recipe in wanted.features.items() if name not in found.features}


def _shown(value: Any) -> Any:
    return "nothing" if value == "" else value


def _options(recipes: Iterable[FeatureRecipe]) -> str:
    """Return the options that ask for features."""
    made = list(recipes)
    views = max(recipe.view for recipe in made)
    taps = ",".join(dict.fromkeys(recipe.tap for recipe in made))
    return f"--features {taps}{' --flip' * any(recipe.mirrored for recipe in made)}{f' --views {views}' * (views > 0)}"
