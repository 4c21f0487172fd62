"""Networks of timm without their classifier, by the extra `encoders`, and the weights that timm has.

Files of other projects that timm can rename are renamed as timm does it. Then all tensors must be there: timm itself does not ask that of
a network whose classifier is off.
"""

from __future__ import annotations

import difflib
import sys
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from ...errors import EstError, UsageError
from ...packages import expect_packages
from ..backbone import Normalization
from .design import Converter, Design
from .pooled import Pooled
from .published import not_here

FILES = ("model.safetensors", "pytorch_model.bin")  # of a model on the hub


def design_of(model: str, *, name: str = "", licence: str = "") -> Design:
    """Return what is known about timm:NAME; a kind that is made of timm's networks gives its own name and licence."""
    timm = _timm()
    name = name or f"timm:{model}"
    facts = _facts(timm, model)
    normalization = Normalization.named(",".join(repr(float(number)) for number in (*facts["mean"], *facts["std"])))
    if not licence:
        licence = f"weights of timm, {facts.get('license') or 'which states no licence: see their card'}"
        licence += f", from {facts['origin_url']}" if facts.get("origin_url") else ""
    return Design(
        name=name,
        make=partial(_make, timm, model, name, facts["input_size"][-1], normalization),
        normalization=normalization,
        licence=licence,
        fetch=partial(_fetch, name, facts, normalization),
        convert=_converter(timm, facts["architecture"]),
    )


def _timm() -> ModuleType:
    need = "Encoders of timm, CLIP's among them, need the package timm"
    expect_packages(need, "timm", install="'est-fer[encoders]'", kind=UsageError)
    import timm

    return timm


def _facts(timm: ModuleType, model: str) -> dict[str, Any]:
    """Return what timm says about a network and its weights."""
    architecture, _, tag = model.partition(".")
    if not timm.is_model(architecture):
        near = difflib.get_close_matches(architecture, timm.list_models(), n=3) or ["resnet10t", "convnext_atto"]
        raise UsageError(
            f"timm {timm.__version__} has no network {architecture!r}; similar are {', '.join(near)}.",
            remedy=f"--weights timm:{near[0]}",
        )
    try:
        return timm.get_pretrained_cfg(model).to_dict()
    except RuntimeError as error:
        there = timm.list_models(f"{architecture}.*", pretrained=True)
        raise UsageError(
            f"timm {timm.__version__} has no weights {tag!r} of {architecture}; it has {', '.join(there) or 'none'}.",
            remedy=f"--weights timm:{there[0] if there else architecture + '=FILE'}",
        ) from error


def _make(timm: ModuleType, model: str, name: str, side: int, normalization: Normalization) -> Pooled:
    return Pooled(timm.create_model(model, num_classes=0), name=name, side=side, normalization=normalization)


def _converter(timm: ModuleType, architecture: str) -> Converter | None:
    """Return the function by which timm renames other projects' tensors for a network, where it has one: by its convention, beside it."""
    return getattr(sys.modules[timm.models.model_entrypoint(architecture).__module__], "checkpoint_filter_fn", None)


def _fetch(
    name: str,
    facts: dict[str, Any],
    normalization: Normalization,
    models_dir: Path | None,
    *,
    download: bool = False,
) -> Path:
    """Find the file of published weights in the folder of models or in the hub's cache; with `download` let the hub's library get it."""
    hub = facts.get("hf_hub_id") or ""
    if not hub:
        raise UsageError(
            f"timm has no weights for {name}.", remedy=f"--weights {name}=FILE, or {name}=random to begin with"
        )
    files = (facts["hf_hub_filename"],) if facts.get("hf_hub_filename") else FILES
    by_hand = f"--weights {name}=FILE --normalize {normalization.name}"
    if models_dir is not None:
        here = models_dir / f"{hub.rpartition('/')[2]}.safetensors"
        if here.is_file():
            return here
        by_hand = f"put it at {here}, or {by_hand}"
    try:
        found = _from_hub(hub, files, models_dir, downloading=False)
        if found is None and not download:
            raise not_here(
                f"The weights of {name} ({hub} on the hub) are not on this machine", name, models_dir, by_hand
            )
        found = found or _from_hub(hub, files, models_dir, downloading=True)
    except OSError as error:  # the network, the server or the disk
        raise EstError(
            f"The weights of {name} ({hub} on the hub) are not on this machine, and could not be downloaded.",
            remedy=f"bring {files[0]} on a machine with a network: {by_hand}",
        ) from error
    if found is None:
        raise EstError(f"{hub} on the hub has none of {', '.join(files)}, where timm looks for {name}.", remedy=by_hand)
    return found


def _from_hub(hub: str, files: tuple[str, ...], cache: Path | None, *, downloading: bool) -> Path | None:
    """Return the first of a model's files that is in the hub's cache, or can be downloaded into it."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError
    from huggingface_hub.utils import disable_progress_bars

    disable_progress_bars()
    model, _, revision = hub.partition("@")
    for file in files:
        try:
            path = hf_hub_download(
                model, file, revision=revision or None, cache_dir=cache, local_files_only=not downloading
            )
        except LocalEntryNotFoundError:
            if downloading:  # no network
                raise
        except EntryNotFoundError:
            continue
        else:
            return Path(path)
    return None
