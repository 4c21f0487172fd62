"""Crops as JPEG, the form in which a cache keeps them.

Where crops are stored, features are computed from what `decode_crop` returns, so that readers of the cache have exactly the pixels behind
them. The same pixels, quality and library give the same bytes; `library()` says which one it was.
"""

from __future__ import annotations

import re

import cv2
import numpy as np

from ..errors import CacheDamaged, UsageError

QUALITY = 95


def encode_crop(crop: np.ndarray, quality: int = QUALITY) -> bytes:
    """Return a BGR picture as JPEG.  # (H, W, 3) uint8"""
    if not 1 <= quality <= 100:
        raise UsageError(f"--crop-quality goes from 1 to 100, found {quality}.", remedy=f"--crop-quality {QUALITY}")
    # Said in full, so that another build's defaults change nothing.
    options = [
        *(cv2.IMWRITE_JPEG_QUALITY, quality),
        *(cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420),
        *(cv2.IMWRITE_JPEG_PROGRESSIVE, 0),
        *(cv2.IMWRITE_JPEG_OPTIMIZE, 0),
    ]
    done, data = cv2.imencode(".jpg", crop, options)
    assert done, f"no JPEG of {crop.shape} {crop.dtype}"
    return data.tobytes()


def decode_crop(data: bytes | np.ndarray) -> np.ndarray:
    """Return the BGR picture of a JPEG.  # → (H, W, 3) uint8"""
    bytes_ = np.frombuffer(data, np.uint8) if isinstance(data, bytes) else data
    crop = cv2.imdecode(bytes_, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION) if len(bytes_) else None
    if crop is None:
        raise CacheDamaged(
            f"A stored crop of {len(bytes_)} bytes is no JPEG.",
            remedy="est cache verify CACHE says which clips are damaged",
        )
    return crop


def library() -> str:
    """Name the JPEG library inside OpenCV, for the cache's environment: bytes and pixels may differ between versions."""
    found = re.search(r"^\s*JPEG:\s*(.+?)\s*$", cv2.getBuildInformation(), re.MULTILINE)
    return found.group(1) if found else "unknown"
