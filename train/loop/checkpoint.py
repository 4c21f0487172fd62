"""A checkpoint is one safetensors file: the tensors, and everything else as JSON in its metadata. A model is built from it alone.

It is written beside its place, flushed and renamed, so that the earlier one stays until the new one is whole; a checksum over tensors and
JSON tells damage from weights.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import xxhash
from safetensors import SafetensorError, safe_open
from torch import Tensor
from torch.amp import GradScaler
from torch.optim import Optimizer

from ...cache.stores.disk import PARTIAL, Disk
from ...encoders.backbone import Backbone, FrameEncoder
from ...encoders.tensorfile import save_file
from ...encoders.weights import build_encoder
from ...errors import EstError
from ..config.configfile import from_flat
from ..config.finetune import FinetuneConfig
from ..models.finetuned import FinetunedModel
from ..models.model import Model
from ..models.registry import build_model

FORMAT = "est-checkpoint"
VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """Tensors by name, and what belongs to them."""

    path: Path
    tensors: dict[str, Tensor]
    meta: dict[str, Any] = field(default_factory=dict)

    def group(self, prefix: str) -> dict[str, Tensor]:
        """Return the tensors below a prefix, without it."""
        start = prefix + "/"
        return {name.removeprefix(start): tensor for name, tensor in self.tensors.items() if name.startswith(start)}


def save_checkpoint(path: Path, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> None:
    """Write a checkpoint durably in the place of the earlier one."""
    flat = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    text = json.dumps(meta, allow_nan=False)
    head = {"format": FORMAT, "version": VERSION, "checksum": _checksum(flat, text), "meta": text}
    partial = path.with_name(path.name + PARTIAL)
    disk = Disk()
    try:
        disk.make_folder(path.parent)
        save_file(flat, partial, metadata={"est": json.dumps(head)})
        disk.flush_file(partial)
        disk.rename(partial, path)
    except OSError as error:
        with suppress(OSError):  # what forbids to write may forbid to remove: the first reason counts
            partial.unlink(missing_ok=True)
        raise EstError(
            f"The checkpoint {path} could not be saved: {_reason(error)}.{' The earlier one is intact.' if path.exists() else ''}",
            remedy="free some space or check the permissions, then est train --resume",
        ) from error


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint, or say why it is none."""
    try:
        with safe_open(path, "pt") as file:
            head = json.loads((file.metadata() or {}).get("est", "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError as error:
        raise EstError(f"There is no checkpoint {path}.", remedy="est train makes one") from error
    except (OSError, SafetensorError, ValueError, RecursionError) as error:
        raise _damaged(path, "it is truncated, or not a checkpoint") from error
    if not isinstance(head, dict) or not isinstance(head.get("meta", ""), str) or not head.get("meta", "").isascii():
        raise _damaged(path, "its head is damaged")
    if head.get("format") != FORMAT:
        raise EstError(f"{path} holds tensors, but is not a checkpoint of est.", remedy="give the folder of a run")
    if head.get("version") != VERSION:
        raise EstError(
            f"{path} has version {head.get('version')}, expected {VERSION}.",
            remedy="use the est that wrote it, or train again",
        )
    text = head.get("meta", "")
    if head.get("checksum") != _checksum(tensors, text):
        raise _damaged(path, "its content does not match its checksum")
    return Checkpoint(path=path, tensors=tensors, meta=json.loads(text))


def load_model(checkpoint: Path | Checkpoint) -> tuple[Model, Mapping[str, Any]]:
    """Build the model of a checkpoint, in evaluation mode; return it with the checkpoint's facts."""
    found = checkpoint if isinstance(checkpoint, Checkpoint) else load_checkpoint(checkpoint)
    meta = found.meta
    config = from_flat(meta["config"])
    model: Model
    maps = tuple(meta.get("maps", ()))  # which checkpoints of earlier versions, of flat features, do not say
    model = build_model(
        config.model, width=meta["width"], num_classes=len(meta["labels"]), seed=meta["seed"], maps=maps
    )
    if config.finetune.on:
        name = meta.get("encoder", Backbone.name)  # the only one that checkpoints without a name can be of
        model = behind(build_encoder(name, meta["normalize"]), model, config.finetune)
    model.load_state_dict(found.group("best") or found.group("model"))
    return model.eval(), meta


def behind(backbone: FrameEncoder, head: Model, settings: FinetuneConfig) -> FinetunedModel:
    """Put a model behind a backbone that learns as settings say."""
    assert settings.learns != "none"
    return FinetunedModel(
        backbone,
        head,
        learns=settings.learns,
        batch_norm=settings.batch_norm,
        checkpointing=settings.checkpointing,
    )


def learning_state(optimizer: Optimizer, scaler: GradScaler) -> dict[str, Tensor]:
    """Return the state of the optimiser and of the gradient scaler, by the names that checkpoints have for it."""
    tensors = {
        f"optimizer/{index}/{name}": value
        for index, values in optimizer.state_dict()["state"].items()
        for name, value in values.items()
    }
    if scaler.is_enabled():
        tensors["scaler"] = torch.tensor([scaler.get_scale(), scaler._get_growth_tracker()])
    return tensors


def restore_learning(found: Checkpoint, optimizer: Optimizer, scaler: GradScaler) -> None:
    """Take back what `learning_state` gave."""
    if scaler.is_enabled():
        scale, growth = found.tensors["scaler"].tolist()
        scaler.load_state_dict({**scaler.state_dict(), "scale": scale, "_growth_tracker": int(growth)})
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in found.group("optimizer").items():
        index, _, key = name.partition("/")
        state.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def _damaged(path: Path, what: str) -> EstError:
    return EstError(
        f"The checkpoint {path} is damaged: {what}.",
        remedy=f"remove the folder {path.parent}, and est train --resume trains that part again",
    )


def _checksum(tensors: Mapping[str, Tensor], text: str) -> str:
    digest = xxhash.xxh3_128(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        if tensor.numel():
            digest.update(tensor.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def _reason(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "no space is left"
    return error.strerror or str(error)
