"""SCRFD, the detector in insightface's model packs, through insightface's own API. It is not the RetinaFace of the paper.

Its largest anchors miss faces that fill more than about 40 % of a frame, so a second pass looks at the frame reduced to 128 pixels. Both
passes see the image at its own proportions, filled up with black to multiples of 32: insightface's own letterbox rounds the two axes
differently. The pretrained packs are for non-commercial research only.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from ....errors import EstError, quoted
from ....packages import expect_packages
from .base import Detections, check_images, reduced_size
from .pack import find_detector, pack_folder

STRIDE = 32  # the coarsest: sides of the input are multiples of it
LOW_RESOLUTION = 128
PACKAGES = (
    "onnxruntime",
    "onnx",
    "insightface",
)  # insightface last: it imports the others, and theirs would be its error


def build_scrfd(
    pack: str, *, device: torch.device, score_threshold: float, models_dir: Path | None, threads: int | None
) -> Scrfd:
    """Load a pack's detection model on exactly the device asked for."""
    providers = execution_providers(device)
    folder = pack_folder(pack, models_dir)
    model = load_model(pack, folder, providers, threads or torch.get_num_threads())
    return Scrfd(pack, model, score_threshold=score_threshold)


def expect_insightface(pack: str) -> None:
    """Refuse to look for a pack where what reads it cannot be used."""
    need = f"The detector insightface:{pack} needs the packages {', '.join(PACKAGES)}"
    expect_packages(need, *PACKAGES, instead="--detector retinaface")


def execution_providers(device: torch.device) -> list[Any]:
    """Return onnxruntime's providers for a device; only nodes that a GPU provider refuses may run on the CPU."""
    import onnxruntime

    if device.type == "cpu":
        return ["CPUExecutionProvider"]
    if device.type != "cuda":
        raise EstError(
            f"insightface's detectors run on cpu or cuda; {device.type} was asked for.", remedy="--detector retinaface"
        )
    available = onnxruntime.get_available_providers()
    if "CUDAExecutionProvider" not in available:
        raise EstError(
            f"{device} was asked for; this onnxruntime has {', '.join(available)}, not CUDAExecutionProvider.",
            remedy="pip uninstall onnxruntime && pip install onnxruntime-gpu (both together break), or --detector retinaface",
        )
    return [("CUDAExecutionProvider", {"device_id": str(device.index or 0)}), "CPUExecutionProvider"]


def load_model(pack: str, folder: Path, providers: list[Any], threads: int) -> Any:
    """Build insightface's model, and see that it runs where and how it was told to."""
    import onnxruntime
    from insightface.model_zoo import get_model
    from insightface.model_zoo.package_manifest import has_model_package_manifest

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    # A pack with a manifest states its own preprocessing; in the older ones the file decides.
    manifest = has_model_package_manifest(folder)
    source, task = (folder, {"model_task": "detection"}) if manifest else (find_detector(pack, folder), {})
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            model = get_model(
                str(source),
                providers=providers,
                sess_options=options,
                static_shape_sessions=False,  # else a session for every size of frame, for ever
                **task,
            )
    except Exception as error:  # onnxruntime's exceptions have no common class
        raise EstError(
            f"Detector pack {pack}: {source} cannot be loaded.",
            remedy=f"rm -r {quoted(folder)}, then est doctor --detector insightface:{pack} --fetch",
        ) from error
    if getattr(model, "taskname", None) != "detection":
        raise EstError(f"Detector pack {pack}: {source} is not a detection model.", remedy="insightface:buffalo_l")
    check_session(model.session, providers, threads)
    return model


def check_session(session: Any, providers: list[Any], threads: int) -> None:
    """Refuse a session that runs elsewhere than asked: onnxruntime itself only logs it."""
    first = providers[0]
    name, wanted = first if isinstance(first, tuple) else (first, {})
    found = session.get_providers()
    if not found or found[0] != name:
        raise EstError(
            f"onnxruntime was asked to use {name}; it runs on {', '.join(found) or 'nothing'}.",
            remedy="check that CUDA and cuDNN are those that this onnxruntime-gpu is built for, or --device cpu",
        )
    stated = session.get_provider_options().get(name, {})
    differing = {key: stated.get(key) for key, value in wanted.items() if str(stated.get(key)) != value}
    if differing:
        raise EstError(f"onnxruntime was asked for {wanted}; it has {differing}.", remedy="--device cuda:0")
    taken = session.get_session_options().intra_op_num_threads
    if taken != threads:
        raise EstError(
            f"onnxruntime was asked to use {threads} threads; insightface passed on {taken}.",
            remedy="pip install --upgrade 'insightface>=2.1'",
        )


class Scrfd:
    """One pack's detector; images go through one by one, as its API takes them."""

    precision = "fp32"
    licence = "SCRFD; pretrained packs of insightface are for non-commercial research only"

    def __init__(self, pack: str, model: Any, *, score_threshold: float = 0.5) -> None:
        self.name = f"insightface:{pack}"
        self.score_threshold = score_threshold
        self.digest = hashlib.sha256(Path(model.model_file).read_bytes()).hexdigest()[:16]
        self._model = model

    def detect(self, images: np.ndarray) -> list[Detections]:
        """Find the faces of each image.  # (B, H, W, 3) BGR uint8"""
        check_images(images)
        return [self._detect_one(image) for image in images]

    def _detect_one(self, image: np.ndarray) -> Detections:
        height, width = image.shape[:2]
        passes = [self._pass(image)]
        small = reduced_size(width, height, LOW_RESOLUTION)
        if small != (width, height) and self._model.static_input_size is None:
            reduced = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
            passes.append(self._pass(reduced).scaled(width / small[0], height / small[1]))
        return _merge(passes)

    def _pass(self, image: np.ndarray) -> Detections:
        """Run the network once, at the size of the image (or at the only one it takes)."""
        size = None
        if self._model.static_input_size is None:
            height, width = image.shape[:2]
            image = cv2.copyMakeBorder(image, 0, -height % STRIDE, 0, -width % STRIDE, cv2.BORDER_CONSTANT)
            size = (image.shape[1], image.shape[0])
        with contextlib.redirect_stdout(io.StringIO()):
            rows, points = self._model.detect(image, input_size=size, det_thresh=self.score_threshold)
        if points is None:
            points = np.full((len(rows), 5, 2), np.nan)
        return Detections(
            boxes=rows[:, :4].astype(np.float32),
            scores=rows[:, 4].astype(np.float32),
            landmarks=np.asarray(points, np.float32).reshape(-1, 5, 2),
        )


def _merge(passes: list[Detections]) -> Detections:
    """Join what several passes found; of boxes that overlap the best stays."""
    boxes = np.concatenate([found.boxes for found in passes])
    scores = np.concatenate([found.scores for found in passes])
    landmarks = np.concatenate([found.landmarks for found in passes])
    return Detections.best(boxes, scores, landmarks)
