"""Face detectors behind one interface: `build_detector(name)`. Nothing heavy is imported before one is built."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ....errors import UsageError, nearest
from .pack import PACKS

if TYPE_CHECKING:
    from .base import Detections, Detector

__all__ = ["DETECTORS", "Detections", "Detector", "build_detector", "expect_detector"]

DETECTORS = ("retinaface", "none", *(f"insightface:{pack}" for pack in PACKS))
SCORE_THRESHOLD = 0.8


def build_detector(
    name: str,
    *,
    device: str = "cpu",
    precision: str = "fp32",
    score_threshold: float = SCORE_THRESHOLD,
    models_dir: Path | None = None,
    threads: int | None = None,
    batch_size: int = 8,
) -> Detector:
    """Build retinaface, insightface:PACK or none, on a device that must be there.

    `models_dir` and `threads` belong to insightface: where its packs lie, and how many threads its onnxruntime session takes (by default
    as many as torch). The torch detector takes torch's own, which are one setting for the whole process.
    """
    expect_detector(name, score_threshold=score_threshold, models_dir=models_dir)
    pack = name.partition(":")[2]
    if batch_size < 1:
        raise UsageError(f"A batch holds at least one image; found {batch_size}.")
    if name == "none":
        from .no_detector import WholeFrame

        return WholeFrame()

    from ....encoders.device import parse_device
    from ....encoders.precision import resolve_precision

    place = parse_device(device)
    if name == "retinaface":
        from .retinaface import RetinaFace

        resolved, _ = resolve_precision(precision, place)
        return RetinaFace(device=place, precision=resolved, score_threshold=score_threshold, batch_size=batch_size)

    from .scrfd import build_scrfd

    return build_scrfd(pack, device=place, score_threshold=score_threshold, models_dir=models_dir, threads=threads)


def expect_detector(name: str, *, score_threshold: float = SCORE_THRESHOLD, models_dir: Path | None = None) -> None:
    """Refuse a detector that there is not, or that is not here, before one is loaded."""
    family, _, pack = name.partition(":")
    if name not in ("retinaface", "none") and not (family == "insightface" and pack):
        near = nearest(name, DETECTORS, cutoff=0.3) or "retinaface"
        raise UsageError(
            f"A detector is retinaface, insightface:PACK or none; found {name!r}.", remedy=f"--detector {near}"
        )
    if not 0 < score_threshold < 1:
        raise UsageError(
            f"A score threshold lies between 0 and 1; found {score_threshold}.",
            remedy=f"--score-threshold {SCORE_THRESHOLD}",
        )
    if pack:
        from .pack import pack_folder
        from .scrfd import expect_insightface

        expect_insightface(pack)
        pack_folder(pack, models_dir)


def __getattr__(name: str) -> object:
    """Import the two types when they are asked for."""
    if name in ("Detections", "Detector"):
        from . import base

        return getattr(base, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
