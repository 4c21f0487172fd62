"""Where published weights lie: in the folder of models, in the cache of the library that publishes them, or on its server."""

from __future__ import annotations

from pathlib import Path

import torch
from torch.hub import HASH_REGEX

from ...errors import EstError


class NotHere(EstError):
    """Published weights that are not on this machine, where nothing was to be downloaded."""


def find_file(
    url: str, models_dir: Path | None, *, what: str, otherwise: str = "--weights FILE", download: bool = True
) -> Path:
    """Find the file of an address, or let torch download it."""
    name = url.rpartition("/")[2]
    folders = [models_dir] if models_dir is not None else []
    folders.append(Path(torch.hub.get_dir()) / "checkpoints")
    for folder in folders:
        if (folder / name).is_file():
            return folder / name
    target = folders[0] / name
    if not download:
        raise NotHere(f"{what} are not at {target}.", remedy=f"est doctor --fetch, or {otherwise}")
    digits = HASH_REGEX.search(name)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(target), hash_prefix=digits[1] if digits else None, progress=False)
    except (OSError, RuntimeError) as error:
        raise EstError(
            f"{what} are not at {target}, and could not be downloaded.",
            remedy=f"put {name} there from a machine with a network, or use {otherwise}",
        ) from error
    return target
