"""Weights of a frame encoder: shipped, published, random, a user's file, or a run's; every key that does not fit is reported.

Without a name of an encoder before it, a file is of the paper's ResNet-18, of the encoder that it names itself (those that are written
here), or of a published one that is recognised. Weights that were tuned on labels say on which, and the cache that is made with them
says so too.
"""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..cache.recipe import FeatureRecipe
from ..cache.trained import TrainedOn
from ..errors import EstError, UsageError, brief, damage_named, nearest, quoted
from ..hub.download import fetch_weights
from ..hub.names import names_hub
from .backbone import Backbone, FrameEncoder, Normalization
from .kinds import KINDS, RESNET18, Design, find_design, names_encoder
from .kinds.faces import Face, recognise
from .kinds.matching import fit
from .tensorfile import read_tensors, write_tensors

SHIPPED = Path(__file__).parent / "weights"
BACKBONE = "backbone.safetensors"  # of a part of a run that has tuned one
RANDOM = "random"
LICENCES = {
    "synface": "not for real faces: trained on rendered ones, for the demo and the tests; MIT",
    "imagenet": RESNET18.licence,
    RANDOM: "",
}


@dataclass(frozen=True, kw_only=True)
class Weights:
    """A frame encoder with its weights, and how they came there."""

    backbone: FrameEncoder
    name: str
    digest: str
    licence: str = ""
    recognised: str = ""  # which published encoder a file was taken for
    matched: int = 0
    unused: list[str] = field(default_factory=list)
    card: dict[str, Any] = field(default_factory=dict)
    trained_on: TrainedOn | None = None  # labelled clips, where the file says so

    def report(self) -> str:
        """Say in one line what was loaded."""
        parts = [f"weights {self.name}: {self.matched} tensors"]
        if self.recognised:
            parts.append(f"recognised as {self.recognised}")
        elif self.backbone.name not in (Backbone.name, self.name.partition("=")[0]):
            parts.append(f"of {self.backbone.name}")
        if self.unused:
            shown = ", ".join(self.unused[:4]) + (" …" if len(self.unused) > 4 else "")
            parts.append(f"{len(self.unused)} not used ({shown})")
        parts.append(f"pixels {self.backbone.normalization.name}")
        if self.backbone.side is not None:
            parts.append(f"{self.backbone.width} numbers a frame, designed for crops of {self.backbone.side}")
        if self.trained_on is not None:
            parts.append(self.trained_on.describe())
        return "; ".join(parts)


def load_weights(name: str, *, normalize: str | None = None, models_dir: Path | None = None, seed: int = 0) -> Weights:
    """Load weights by name, from a file, or from the folder of a run, or of a part of one; `seed` is that of random ones.

    KIND:NAME is another encoder with its published weights, KIND:NAME=FILE with those of a file, KIND:NAME=random with none;
    hub:ORG/NAME lies on a hub, and is known by its commit from then on.
    """
    if name == RANDOM:
        return _random(RESNET18, RANDOM, Normalization.named(normalize or "none"), seed)
    if name == "synface":
        return _from_file(SHIPPED / "synface.safetensors", "synface", normalize or "none")
    if name == "imagenet":
        return _published(RESNET18, "imagenet", normalize, models_dir)
    if names_encoder(name):
        encoder, equals, source = name.partition("=")
        design = find_design(encoder)
        if not equals:
            return _published(design, name, normalize, models_dir)
        if source == RANDOM:
            return _random(design, name, Normalization.named(normalize) if normalize else design.normalization, seed)
        return _from_file(_expect_file(Path(source)), Path(source).name, normalize, design)
    if names_hub(name):
        found = fetch_weights(name, models_dir)
        return _from_file(found.path, str(found.name), normalize)
    path = Path(name)
    path = _expect_file(_of_run(path) if path.is_dir() else path)
    return _from_file(path, path.name, normalize)


def is_random(name: str) -> bool:
    """Return whether weights are random numbers: random, or KIND:NAME=random."""
    return name == RANDOM or (names_encoder(name) and name.partition("=")[2] == RANDOM)


def find_published(name: str) -> Design:
    """Return what is known about the encoder of published weights: imagenet, or KIND:NAME."""
    if name != "imagenet" and not names_encoder(name):
        kinds = ", ".join(f"{kind}:NAME" for kind in KINDS)
        raise UsageError(f"Published weights are imagenet, {kinds}; found {name!r}.", remedy="--weights imagenet")
    return RESNET18 if name == "imagenet" else find_design(name)


def is_known(name: str) -> bool:
    """Return whether weights are loaded by name, rather than from a file."""
    return name in LICENCES or names_hub(name) or (names_encoder(name) and "=" not in name.removesuffix(f"={RANDOM}"))


def build_encoder(name: str, normalize: str) -> FrameEncoder:
    """Build an encoder by its own name, for tensors that the caller loads."""
    encoder = find_design(name).build()
    encoder.normalization = Normalization.named(normalize)
    return encoder


def weights_of_recipe(recipe: FeatureRecipe | None, where: Path, *, normalize: str | None = None) -> Weights:
    """Load again what features of the cache at `where` were made with: a cache names shipped and published weights."""
    if recipe is None:
        raise UsageError(f"{where} has no features whose weights could be the start.", remedy="--weights imagenet")
    if not is_known(recipe.weights):
        raise UsageError(
            f"The features of {where} were made with the weights {recipe.weights}, and a cache has no record of their path.",
            remedy=f"--weights FOLDER/{recipe.weights}, or --weights imagenet",
        )
    return load_weights(recipe.weights, normalize=normalize or recipe.normalize)


def save_weights(
    path: Path,
    backbone: FrameEncoder,
    *,
    normalize: str,
    trained_on: TrainedOn | None,
    card: Mapping[str, Any] | None = None,
) -> None:
    """Write weights durably in the place of earlier ones: equal weights are equal files."""
    metadata = {"normalize": normalize}
    if backbone.name != Backbone.name:
        metadata["encoder"] = backbone.name
    if trained_on is not None:
        metadata["trained_on"] = json.dumps(trained_on.to_json(), ensure_ascii=False)
    if card:
        metadata["card"] = json.dumps(card, ensure_ascii=False)
    write_tensors(path, backbone.trunk.state_dict(), metadata)


def _expect_file(path: Path) -> Path:
    if path.is_file():
        return path
    kinds = ", ".join(f"{kind}:NAME" for kind in KINDS)
    name = nearest(str(path), LICENCES)
    parent = path.absolute().parent
    beside = nearest(path.name, sorted(one.name for one in parent.iterdir())) if parent.is_dir() else None
    if name is not None and not path.suffix:
        remedy = f"--weights {name}"
    elif str(path) in KINDS:
        remedy = f"--weights {KINDS[str(path)]}, for example"
    elif ":" in path.name:  # the name of an encoder, misspelt
        remedy = f"--weights {KINDS[nearest(path.name.partition(':')[0], KINDS) or 'timm']}, for example"
    elif beside is not None:
        remedy = f"--weights {shlex.quote(str(path.with_name(beside)))}"
    else:
        remedy = f"the path of the file, looked for from {Path.cwd()}"
    raise UsageError(
        f"--weights is imagenet, synface, random, {kinds}, hub:ORG/NAME, a file or a run; there is no file {str(path)!r}.",
        remedy=remedy,
    )


def _of_run(folder: Path) -> Path:
    """Return the one file of weights that a run has tuned."""
    if (folder / BACKBONE).is_file():
        return folder / BACKBONE
    found = sorted(folder.glob(f"parts/*/{BACKBONE}"))
    if not found:
        raise UsageError(
            f"{folder} has no weights of a tuned backbone: no parts/*/{BACKBONE}.",
            remedy="give a run of est train --finetune, or a file",
        )
    if len(found) > 1:
        parts = ", ".join(path.parent.name for path in found)
        raise UsageError(
            f"{folder} has tuned {len(found)} backbones, each on clips of its own: {parts}.",
            remedy=f"--weights {quoted(found[0].parent)} for one of them",
        )
    return found[0]


def _random(design: Design, name: str, normalization: Normalization, seed: int) -> Weights:
    """Draw the weights of a seed."""
    encoder = design.build(seed)
    encoder.normalization = normalization
    tensors = encoder.trunk.state_dict()
    digest = hashlib.sha256(b"".join(tensor.numpy().tobytes() for tensor in tensors.values())).hexdigest()[:32]
    return Weights(backbone=encoder, name=name, digest=digest, matched=len(tensors))


def _published(design: Design, name: str, normalize: str | None, models_dir: Path | None) -> Weights:
    """Load an encoder with the weights that were published for it."""
    # What est has no address of is taken at its first use, from where the user's environment says.
    path = design.fetch(models_dir, download=design.take is not None)
    return _from_file(path, name, normalize or design.normalization.name, design, licence=design.licence)


def _from_file(
    path: Path, name: str, normalize: str | None, design: Design | None = None, *, licence: str | None = None
) -> Weights:
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()[:32]
    except OSError as error:
        raise EstError(f"The weights {path} cannot be read.") from error
    tensors, metadata = read_tensors(path)
    if "encoder" in metadata:
        design = _said(path, metadata["encoder"], design)
    face = recognise(path, tensors) if design is None else None
    if face is not None:
        design, tensors = find_design(face.encoder), face.tensors
    design = design or RESNET18
    encoder = design.build()
    matched, unused = fit(encoder, tensors, path, convert=design.convert)
    encoder.normalization = _normalization(path, normalize or metadata.get("normalize"), design, face)
    record = _trained_on(path, metadata)
    if record is None and design.learnt is not None:
        record = design.learnt(name)
    if licence is None:
        known = design.licence if design.learnt is not None else ""  # who has trained any weights of this kind
        licence = face.licence if face is not None else LICENCES.get(name, known)
    return Weights(
        backbone=encoder,
        name=name,
        digest=digest,
        licence=licence,
        recognised=face.title if face is not None else "",
        matched=matched,
        unused=unused,
        card=card_in(path, metadata),
        trained_on=record,
    )


def _said(path: Path, encoder: str, asked: Design | None) -> Design:
    """Return the encoder that a file says its weights are of."""
    if asked is not None and asked.name != encoder:
        raise UsageError(f"{path} holds weights of {encoder}, not of {asked.name}.", remedy=f"--weights {quoted(path)}")
    return asked or find_design(encoder)


def card_in(path: Path, metadata: Mapping[str, str]) -> dict[str, Any]:
    """Return the card that a file of weights holds; empty where it has none."""
    with damage_named(path, "write the file again"):
        found = json.loads(metadata.get("card", "{}"))
        if not isinstance(found, dict) or not isinstance(found.get("data", {}), dict):
            raise TypeError(f"its card is an object, found {found!r}")
        return found


def _trained_on(path: Path, metadata: Mapping[str, str]) -> TrainedOn | None:
    """Read what the file says that its weights have learnt from; a record that cannot be read is an error."""
    if "trained_on" not in metadata:
        return None
    try:
        return TrainedOn.from_json(json.loads(metadata["trained_on"]))
    except (ValueError, TypeError, RecursionError) as error:
        raise EstError(
            f"The record in {path} of what its weights have learnt from cannot be read.", remedy="make the file again"
        ) from error


def _read_sidecar(path: Path) -> str | None:
    """Read how pixels are scaled from the file beside weights; nothing where it does not say."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        said = found.get("normalize")
        if said is not None and not isinstance(said, str):
            raise TypeError(f"normalize is a text, found {said!r}")
    except (OSError, ValueError, RecursionError, AttributeError, TypeError) as error:
        raise EstError(
            f"{path}, which says how pixels are normalised, cannot be read ({brief(error)}).",
            remedy='{"normalize": "imagenet"}, for example; or --normalize, and the file is not read',
        ) from error
    return said


def _normalization(path: Path, normalize: str | None, design: Design, face: Face | None) -> Normalization:
    """Return the normalisation that the user, the file, its sidecar or its publication gives; never guess."""
    sidecar = path.with_suffix(".json")
    if normalize is None and sidecar.is_file():
        normalize = _read_sidecar(sidecar)
    if normalize is None and face is not None:
        normalize = face.normalize
    if normalize is None:
        hint = "--normalize none (FER+ weights of the paper), --normalize imagenet, or --normalize MEAN,STD"
        if design is not RESNET18:
            hint = f"--normalize {design.normalization.name} (published weights of {design.name}), none, or MEAN,STD"
        raise UsageError(
            f"The pixel normalisation of {path.name} is not known: the file does not give it.",
            remedy=hint,
        )
    return Normalization.named(normalize)
