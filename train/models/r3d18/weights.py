"""Torchvision's weights of R3D-18, trained to tell the actions of Kinetics-400 apart."""

from __future__ import annotations

import hashlib
from pathlib import Path

from torchvision.models.video import R3D_18_Weights

from ....encoders.kinds.published import find_file
from ....encoders.tensorfile import read_tensors
from ..published import Published

NAME = "kinetics400"
LICENCE = (
    "BSD-3-Clause code of torchvision, which states no licence for these weights; trained on Kinetics-400, whose videos are their "
    "uploaders' on YouTube"
)


def fetch(models_dir: Path | None = None, *, download: bool = False) -> Path:
    """Find their file, or with `download` download it."""
    return find_file(
        R3D_18_Weights.KINETICS400_V1.url,
        models_dir,
        what="The Kinetics-400 weights of R3D-18",
        asked=NAME,
        otherwise="--weights random",
        download=download,
    )


def load(name: str) -> Published:
    """Load them, without their classifier."""
    assert name == NAME
    path = fetch()
    tensors, _ = read_tensors(path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:32]
    own = {name: tensor for name, tensor in tensors.items() if not name.startswith("fc.")}
    return Published(tensors=own, digest=digest, licence=LICENCE)
