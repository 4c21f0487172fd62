"""Where published weights lie: in the folder of models, or in the cache of the library that publishes them.

`est doctor --fetch` downloads them, and nothing else does: weights are large, have licences, and a machine may have no network.
"""

from __future__ import annotations

import shlex
from pathlib import Path

import torch
from torch.hub import HASH_REGEX

from ...errors import EstError


class NotHere(EstError):
    """Published weights that are not on this machine, where nothing was to be downloaded."""


def find_file(
    url: str,
    models_dir: Path | None,
    *,
    what: str,
    asked: str = "imagenet",
    otherwise: str = "--weights FILE",
    download: bool = False,
) -> Path:
    """Find the file of an address; where that was asked for, by the name `asked`, let torch download it."""
    name = url.rpartition("/")[2]
    folders = [models_dir] if models_dir is not None else []
    folders.append(Path(torch.hub.get_dir()) / "checkpoints")
    for folder in folders:
        if (folder / name).is_file():
            return folder / name
    target = folders[0] / name
    if not download:
        raise not_here(f"{what} are not at {target}", asked, models_dir, otherwise)
    digits = HASH_REGEX.search(name)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(target), hash_prefix=digits[1] if digits else None, progress=False)
    except (OSError, RuntimeError) as error:
        raise EstError(
            f"{what} are not at {target}, and could not be downloaded.",
            remedy=f"download {url} on a machine with a network and put it there, or use {otherwise}",
        ) from error
    return target


def not_here(found: str, asked: str, models_dir: Path | None, otherwise: str) -> NotHere:
    """Return which command downloads weights: no other does."""
    parts = ["est", "doctor", *([] if asked == "imagenet" else ["--weights", asked]), "--fetch"]
    parts += [] if models_dir is None else ["--models-dir", str(models_dir)]
    return NotHere(
        f"{found}, and est downloads only on request.",
        remedy=f"{shlex.join(parts)} downloads them; or {otherwise}",
    )
