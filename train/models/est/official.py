"""The paper's own checkpoints: their names and shapes, read and written bit for bit.

Such a file is `{"epoch", "state_dict", "prec1"}`, its names prefixed `module.`. It holds the table of position codes (taken as it is), but
not the permutations: their number is known, which they are is not, and `order` logits mean something only to who passes them.
Classes do not need them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ....encoders.backbone import Backbone, Normalization
from ....encoders.tensorfile import save_file
from ....errors import EstError, UsageError, some
from .config import Config
from .model import EST, Output

WIDTH = 512
PREFIX = "module."
UNKNOWN = -1  # stands for every entry of the permutations that the file does not hold
NAMES = {  # ours → the file's; the backbone's are the same
    "snippets.attention.": "attn.",
    "snippets.norm.": "norm1.",
    "transformer.": "transformer.",
    "query": "query_embed.weight",
    "position.table": "pos_enc.pos_enc.weight",
    "order_head.layers.": "per_branch.classifier.",
    "expression_head.layers.0.": "classifier.0.",
    "expression_head.layers.2.": "classifier.2.",
    "expression_head.layers.5.": "classifier.5.0.",
}
WRITABLE = {
    "heads": 4,
    "dim": WIDTH,
    "aggregation": "hierarchical",
    "ssop": True,
    "order_hidden": 2048,
    "order_input": "fused",
}


class OfficialEST(nn.Module):
    """A backbone on images in [0, 1], and the head on its features."""

    def __init__(self, backbone: Backbone, head: EST) -> None:
        super().__init__()
        self.backbone, self.head = backbone, head

    def forward(self, features: Tensor, order: Tensor | None = None, *, details: bool = False) -> Output:
        """Return the logits of `EST.classify`.  # (B, n, J, 512), (B, n) → (B, C), (B, orders)"""
        return self.head.classify(features, order, details=details)

    def state_dict_official(self, *, module: bool = True) -> dict[str, Tensor]:
        """Return all tensors under the names of the paper's checkpoints."""
        found = dict(self.backbone.state_dict())
        for name, tensor in self.head.state_dict().items():
            ours = next((ours for ours in NAMES if name.startswith(ours)), None)
            if ours is not None:  # orders, scaling and projection have no place in it
                found[NAMES[ours] + name.removeprefix(ours)] = tensor
        return {(PREFIX if module else "") + name: tensor for name, tensor in found.items()}


def load_official(source: str | Path | Mapping[str, Any], *, orders: Tensor | None = None) -> OfficialEST:
    """Load a checkpoint of the paper's code in evaluation mode, from a file or a state_dict, with or without `module.`.

    Classes, snippets, orders, layers and the width of the FFN follow from its shapes; 4 heads and 5 frames a snippet are the code's.
    `orders` (orders, n) are the permutations of its training, if they are known; without, the table is filled with -1.
    """
    name = "the state_dict" if isinstance(source, Mapping) else str(source)
    tensors = {
        key.removeprefix(PREFIX): value
        for key, value in _unwrap(source if isinstance(source, Mapping) else _read(Path(source)), name).items()
    }
    model = _build(tensors, name, orders)
    _expect_same(model.state_dict_official(module=False), tensors, name)
    with torch.no_grad():
        for key, place in model.state_dict_official(module=False).items():
            place.copy_(tensors[key])
    return model.eval()


def save_official(
    model: OfficialEST | EST,
    path: str | Path | None = None,
    *,
    backbone: Backbone | None = None,
    module: bool = True,
    epoch: int = 0,
    prec1: float = 0.0,
) -> dict[str, Tensor]:
    """Return the state_dict in the paper's form, and write it when there is a path (.safetensors holds the tensors alone).

    A model that was trained on cached features needs the backbone that made them. What the form has no place for is refused: another
    width, number of heads or aggregation, another input of the order head or none, fitted feature scaling, a pixel normalisation.
    A model with `position="slot"` is written, and gives the same on snippets in natural order; the paper's code moves codes along
    with shuffled snippets. `epoch` and `prec1` are written as they are given.
    """
    if isinstance(model, EST):
        if backbone is None:
            raise UsageError(
                "A checkpoint of the paper's code holds a backbone too.",
                remedy="save_official(model, path, backbone=…)",
            )
        model = OfficialEST(backbone, model)
    _expect_writable(model)
    tensors = {key: tensor.detach().cpu() for key, tensor in model.state_dict_official(module=module).items()}
    if path is not None:
        _write(tensors, Path(path), epoch=epoch, prec1=prec1)
    return tensors


def _build(tensors: Mapping[str, Tensor], name: str, orders: Tensor | None) -> OfficialEST:
    """Build the model that the shapes describe, without caring for its values."""
    layers = {key.split(".")[3] for key in tensors if key.startswith("transformer.encoder.layers.")}
    config = Config(
        snippets=_rows(tensors, "pos_enc.pos_enc.weight", name),
        layers=max(len(layers), 1),
        ffn=_rows(tensors, "transformer.encoder.layers.0.linear1.weight", name),
        orders=_rows(tensors, "per_branch.classifier.6.weight", name),
        position="snippet",
    )
    num_classes = _rows(tensors, "classifier.5.0.weight", name)
    shape = (config.orders, config.snippets)
    if orders is None:
        orders = torch.full(shape, UNKNOWN)
    elif tuple(orders.shape) != shape:
        raise UsageError(f"{name} has {shape[0]} orders of {shape[1]} snippets, given are {tuple(orders.shape)}.")
    head = EST(config, width=WIDTH, num_classes=num_classes, orders=orders, generator=torch.Generator())
    with torch.device("meta"):
        backbone = Backbone()
    return OfficialEST(backbone.to_empty(device="cpu"), head)


def _rows(tensors: Mapping[str, Tensor], key: str, name: str) -> int:
    """Read a size from the tensor that shows it."""
    if key not in tensors or not tensors[key].shape or not len(tensors[key]):
        shown = ", ".join(list(tensors)[:4]) or "no tensors"
        raise EstError(
            f"{name} is no checkpoint of the paper's code: it lacks {key}. It holds {shown} …",
            remedy="for a backbone alone: est extract --weights FILE",
        )
    return len(tensors[key])


def _expect_same(wanted: Mapping[str, Tensor], found: Mapping[str, Tensor], name: str) -> None:
    """Refuse tensors that are missing, not used, or of another shape."""
    wrong = [f"{key} is missing" for key in wanted if key not in found]
    wrong += [f"{key} is not used" for key in found if key not in wanted]
    for key in wanted.keys() & found.keys():
        if wanted[key].shape != found[key].shape:
            wrong.append(f"{key} is {tuple(found[key].shape)}, expected {tuple(wanted[key].shape)}")
        elif wanted[key].dtype != found[key].dtype:
            wrong.append(f"{key} is {found[key].dtype}, expected {wanted[key].dtype}")
    if wrong:
        raise EstError(f"{name} does not fit: {some(sorted(wrong), 6)}.")


def _expect_writable(model: OfficialEST) -> None:
    head, config = model.head, model.head.config
    wrong = [
        f"{key} is {getattr(config, key)!r}, expected {value!r}"
        for key, value in WRITABLE.items()
        if getattr(config, key) != value
    ]
    if head.width != WIDTH:
        wrong.append(f"features are {head.width} wide, expected {WIDTH}")
    if bool((head.scaling.mean != 0).any()) or bool((head.scaling.std != 1).any()):
        wrong.append("features are scaled")
    if model.backbone.normalization != Normalization():
        wrong.append(f"pixels are normalised ({model.backbone.normalization.name}), expected values in [0, 1]")
    if wrong:
        raise EstError(f"The paper's code cannot hold this model: {', '.join(wrong)}.")


def _unwrap(loaded: Mapping[str, Any], name: str) -> dict[str, Tensor]:
    """Take the tensors out of their container; `prec1` beside them may be a tensor too."""
    inner = loaded.get("state_dict", loaded)
    if not isinstance(inner, Mapping) or not all(isinstance(value, Tensor) for value in inner.values()):
        raise EstError(f"{name} holds no state_dict, only {', '.join(map(str, list(loaded)[:6]))}.")
    return {str(key): value for key, value in inner.items()}


def _read(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        raise UsageError(f"There is no file {path}.")
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return load_file(path)
        except (SafetensorError, OSError) as error:
            raise EstError(f"{path} cannot be read as a safetensors file.") from error
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises what the pickle raises
        raise EstError(
            f"{path} cannot be loaded as weights alone.",
            remedy="save its state_dict: torch.save({'state_dict': model.state_dict()}, 'weights.pth')",
        ) from error
    if not isinstance(loaded, Mapping):
        raise EstError(f"{path} holds a {type(loaded).__name__}, expected a state_dict.")
    return loaded


def _write(tensors: dict[str, Tensor], path: Path, *, epoch: int, prec1: float) -> None:
    """Write beside, then rename: a full disk leaves what was there."""
    beside = path.with_name(f"{path.name}.partial")
    try:
        if path.suffix == ".safetensors":
            save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, beside)
        else:
            torch.save({"epoch": epoch, "state_dict": tensors, "prec1": prec1}, beside)
        os.replace(beside, path)
    except (OSError, RuntimeError) as error:  # torch wraps a full disk in a RuntimeError
        with suppress(OSError):  # what forbids to write may forbid to remove: the first reason counts
            beside.unlink(missing_ok=True)
        raise EstError(
            f"{path} cannot be written: {error}.", remedy="free some space or check the permissions, or another name"
        ) from error
