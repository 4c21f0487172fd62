"""Weights of the backbone: shipped, downloaded, random, a user's file, or a run's; every key that does not fit is reported.

A trunk that is loaded by half gives features that look right and are worthless, so a missing or misshapen tensor is refused. Tensors
that belong to somebody's classifier are left aside and named. Weights that were tuned on labels say on which, and the cache that is made
with them says so too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import xxhash
from safetensors.torch import save
from torch import Tensor

from ..cache.disk import PARTIAL, Disk
from ..cache.trained import TrainedOn
from ..errors import EstError, UsageError
from .backbone import Backbone, Normalization

SHIPPED = Path(__file__).parent / "weights"
IMAGENET_FILE = "resnet18-f37072fd.pth"
BACKBONE = "backbone.safetensors"  # of a part of a run that has tuned one
CONTAINERS = ("state_dict", "model_state_dict", "model", "net")  # where training scripts put the tensors
PREFIXES = ("module.", "backbone.", "encoder.", "model.", "resnet.", "net.")
LICENCES = {
    "synface": "MIT; trained on rendered faces, for the demo and the tests: not for real faces",
    "imagenet": "BSD-3-Clause code of torchvision; trained on ImageNet, whose pictures are for non-commercial research",
    "random": "",
}


@dataclass(frozen=True, kw_only=True)
class Weights:
    """A backbone with its weights, and how they came there."""

    backbone: Backbone
    name: str
    digest: str
    licence: str = ""
    matched: int = 0
    unused: list[str] = field(default_factory=list)
    card: dict[str, Any] = field(default_factory=dict)
    trained_on: TrainedOn | None = None  # labelled clips, where the file says so

    def report(self) -> str:
        """Say in one line what was loaded."""
        parts = [f"weights {self.name}: {self.matched} tensors"]
        if self.unused:
            shown = ", ".join(self.unused[:4]) + (" …" if len(self.unused) > 4 else "")
            parts.append(f"{len(self.unused)} not used ({shown})")
        parts.append(f"pixels {self.backbone.normalization.name}")
        if self.trained_on is not None:
            parts.append(self.trained_on.describe())
        return "; ".join(parts)


def load_weights(name: str, *, normalize: str | None = None, models_dir: Path | None = None) -> Weights:
    """Load weights by name, from a .pt, .pth, .tar or .safetensors file, or from the folder of a run, or of a part of one."""
    if name == "random":
        return _random(Normalization.named(normalize or "none"))
    if name == "synface":
        return _from_file(SHIPPED / "synface.safetensors", "synface", normalize or "none")
    if name == "imagenet":
        return _from_file(_imagenet_file(models_dir), "imagenet", normalize or "imagenet")
    path = Path(name)
    if path.is_dir():
        path = _of_run(path)
    if not path.is_file():
        raise UsageError(
            f"--weights is imagenet, synface, random, a file or a run; there is no file {name!r}.",
            remedy="--weights imagenet",
        )
    return _from_file(path, path.name, normalize)


def save_weights(
    path: Path,
    backbone: Backbone,
    *,
    normalize: str,
    trained_on: TrainedOn | None,
    card: Mapping[str, Any] | None = None,
) -> None:
    """Write weights durably in the place of earlier ones: equal weights are equal files."""
    metadata = {"normalize": normalize}
    if trained_on is not None:
        metadata["trained_on"] = json.dumps(trained_on.to_json(), ensure_ascii=False)
    if card:
        metadata["card"] = json.dumps(card, ensure_ascii=False)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in backbone.state_dict().items()}
    disk = Disk()
    try:
        disk.make_folder(path.parent)
        disk.write(path, _with_metadata(save(tensors), metadata))
        disk.flush_folder(path.parent)
    except OSError as error:
        with suppress(OSError):  # what forbids to write may forbid to remove: the first reason counts
            path.with_name(path.name + PARTIAL).unlink(missing_ok=True)
        raise EstError(
            f"The weights {path} could not be written: {error.strerror}.",
            remedy="free some space or check the rights, then run the same command again",
        ) from error


def _with_metadata(data: bytes, metadata: Mapping[str, str]) -> bytes:
    """Put metadata and a checksum into the head of a safetensors file, in order: its library shuffles them."""
    head, tensors = _split(data)
    head["__metadata__"] = {**metadata, "checksum": _checksum(head, metadata, tensors)}
    text = json.dumps(head, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # tensors are aligned
    return len(text).to_bytes(8, "little") + text + tensors


def _expect_as_written(path: Path, data: bytes) -> None:
    """Refuse a file of ours in which a byte has changed: tensors that are worthless, or clips that are forgotten."""
    head, tensors = _split(data)
    metadata = dict(head.pop("__metadata__", {}))
    checksum = metadata.pop("checksum", None)
    if checksum is not None and checksum != _checksum(head, metadata, tensors):
        raise EstError(f"{path} is damaged: its content is not what was written.", remedy="bring back a copy")


def _split(data: bytes) -> tuple[dict[str, Any], bytes]:
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def _checksum(head: Mapping[str, Any], metadata: Mapping[str, str], tensors: bytes) -> str:
    digest = xxhash.xxh3_128(json.dumps([head, metadata], sort_keys=True).encode())
    digest.update(tensors)
    return digest.hexdigest()


def _of_run(folder: Path) -> Path:
    """Return the one file of weights that a run has tuned."""
    if (folder / BACKBONE).is_file():
        return folder / BACKBONE
    found = sorted(folder.glob(f"parts/*/{BACKBONE}"))
    if not found:
        raise UsageError(
            f"{folder} holds no weights of a backbone: no parts/*/{BACKBONE}.",
            remedy="give a run whose backbone has learnt too, or a file",
        )
    if len(found) > 1:
        parts = ", ".join(path.parent.name for path in found)
        raise UsageError(
            f"{folder} has tuned {len(found)} backbones, each on clips of its own: {parts}.",
            remedy=f"--weights {found[0].parent} for one of them",
        )
    return found[0]


def _random(normalization: Normalization) -> Weights:
    """Draw the weights of a fixed seed, without touching anybody's generator."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        backbone = Backbone(normalization)
    tensors = backbone.state_dict()
    digest = hashlib.sha256(b"".join(tensor.numpy().tobytes() for tensor in tensors.values())).hexdigest()[:32]
    return Weights(backbone=backbone.eval(), name="random", digest=digest, matched=len(tensors))


def _imagenet_file(models_dir: Path | None) -> Path:
    """Find torchvision's file, or let torch download it."""
    from torchvision.models import ResNet18_Weights

    folders = [models_dir] if models_dir is not None else []
    folders.append(Path(torch.hub.get_dir()) / "checkpoints")
    for folder in folders:
        if (folder / IMAGENET_FILE).is_file():
            return folder / IMAGENET_FILE
    target = folders[0] / IMAGENET_FILE
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(
            ResNet18_Weights.IMAGENET1K_V1.url, str(target), hash_prefix="f37072fd", progress=False
        )
    except (OSError, RuntimeError) as error:
        raise EstError(
            f"The ImageNet weights are not at {target}, and could not be downloaded.",
            remedy=f"put {IMAGENET_FILE} there from a machine with a network, or use --weights FILE",
        ) from error
    return target


def _from_file(path: Path, name: str, normalize: str | None) -> Weights:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise EstError(f"The weights {path} cannot be read.") from error
    tensors, metadata = _read(path)
    if metadata:
        _expect_as_written(path, data)
    tensors = _trunk_names(tensors)
    wanted = Backbone().state_dict()
    found = {key: tensor for key, tensor in tensors.items() if key in wanted}
    missing = [key for key in wanted if key not in found and not key.endswith("num_batches_tracked")]
    unused = [key for key in tensors if key not in wanted]
    if not found:
        raise EstError(
            f"{path} matches no tensor of ResNet-18. It holds {', '.join(list(tensors)[:4]) or 'no tensors'} …",
            remedy="give a checkpoint with torchvision's names: conv1.weight, layer1.0.conv1.weight, …",
        )
    if missing:
        raise EstError(
            f"{path} lacks {len(missing)} of {len(wanted)} tensors of ResNet-18: {', '.join(missing[:6])} …",
            remedy="check the file",
        )
    for key, tensor in found.items():
        if tensor.shape != wanted[key].shape:
            raise EstError(
                f"{path}: {key} has shape {tuple(tensor.shape)}, expected {tuple(wanted[key].shape)}.",
                remedy="use a ResNet-18",
            )
    backbone = Backbone(_normalization(path, normalize, metadata))
    backbone.load_state_dict({key: found.get(key, wanted[key]).to(wanted[key].dtype) for key in wanted})
    return Weights(
        backbone=backbone.eval(),
        name=name,
        digest=hashlib.sha256(data).hexdigest()[:32],
        licence=LICENCES.get(name, ""),
        matched=len(found),
        unused=unused,
        card=json.loads(metadata["card"]) if "card" in metadata else {},
        trained_on=_trained_on(path, metadata),
    )


def _trained_on(path: Path, metadata: Mapping[str, str]) -> TrainedOn | None:
    """Read what the file says that its weights have learnt from; what cannot be read is not taken for nothing."""
    if "trained_on" not in metadata:
        return None
    try:
        return TrainedOn.from_json(json.loads(metadata["trained_on"]))
    except (ValueError, TypeError) as error:
        raise EstError(
            f"{path} does not say rightly what its weights have learnt from.", remedy="write the file anew"
        ) from error


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read the tensors of a file, and what safetensors says beside them."""
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, "pt") as file:
                return {key: file.get_tensor(key) for key in file.keys()}, file.metadata() or {}  # noqa: SIM118
        except SafetensorError as error:
            raise EstError(f"{path} is not a safetensors file.") from error
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises what the pickle raises
        raise EstError(
            f"{path} cannot be loaded as weights alone.",
            remedy="save its state_dict: torch.save(model.state_dict(), 'weights.pth')",
        ) from error
    while isinstance(loaded, Mapping):  # a score may lie beside the tensors, as a tensor too
        inner = next((loaded[name] for name in CONTAINERS if isinstance(loaded.get(name), Mapping)), None)
        if inner is None:
            break
        loaded = inner
    if not isinstance(loaded, Mapping):
        raise EstError(f"{path} holds a {type(loaded).__name__}, expected a state_dict.")
    return {str(key): value for key, value in loaded.items() if isinstance(value, Tensor)}, {}


def _trunk_names(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Strip prefixes that all tensors of the trunk share."""
    while not any(key in tensors for key in ("conv1.weight", "layer1.0.conv1.weight")):
        prefix = next((p for p in PREFIXES if any(key.startswith(p) for key in tensors)), None)
        if prefix is None:
            return tensors
        tensors = {key.removeprefix(prefix): tensor for key, tensor in tensors.items()}
    return tensors


def _normalization(path: Path, normalize: str | None, metadata: Mapping[str, str]) -> Normalization:
    """Take the user's word, the file's, or its sidecar's; never guess."""
    sidecar = path.with_suffix(".json")
    if normalize is None and "normalize" in metadata:
        normalize = metadata["normalize"]
    if normalize is None and sidecar.is_file():
        normalize = json.loads(sidecar.read_text(encoding="utf-8")).get("normalize")
    if normalize is None:
        raise UsageError(
            f"How were the pixels of {path.name} normalised? The file does not say.",
            remedy="--normalize none (FER+ weights of the paper), --normalize imagenet, or --normalize MEAN,STD",
        )
    return Normalization.named(normalize)
