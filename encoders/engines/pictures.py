"""The fixed pictures on which int8 is calibrated: rendered faces, faces in other light, noise like that of photographs, and both.

Everything is whole numbers, so that each machine has the same pictures to the bit: the ranges that come of them stand in the recipes of
caches. `benchmarks/engines.py --write-faces` made `faces.png` with the renderer of the demo; another file would be another calibration.

Legend: P pictures, S side.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

FACES = Path(__file__).with_name("faces.png")
SIDE = 112  # of a face in the file
NOISES = 8
NUM_PICTURES = 50  # 16 faces, the same in other light, 8 of noise, 8 of both, black and white
GAINS = ((160, -64), (72, 0), (128, 64), (224, -96))  # in 128ths, and added


def calibration_pictures(side: int) -> np.ndarray:
    """Return the pictures at some side.  # → (P, S, S, 3) uint8 RGB"""
    faces = [resized(face, side) for face in stored_faces()]
    lit = [
        np.clip(face.astype(np.int32) * gain // 128 + more, 0, 255).astype(np.uint8)
        for face, (gain, more) in zip(faces, GAINS * (len(faces) // len(GAINS)), strict=True)
    ]
    noises = [noise(number, side) for number in range(NOISES)]
    mixed = [
        ((face.astype(np.int32) + other) // 2).astype(np.uint8) for face, other in zip(faces, noises, strict=False)
    ]
    flat = [np.full((side, side, 3), level, np.uint8) for level in (0, 255)]
    pictures = np.stack([*faces, *lit, *noises, *mixed, *flat])
    assert len(pictures) == NUM_PICTURES
    return pictures


def stored_faces() -> list[np.ndarray]:
    """Return the rendered faces."""
    import cv2

    decoded = cv2.imdecode(np.frombuffer(FACES.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
    assert decoded is not None
    sheet = decoded[:, :, ::-1]
    rows, columns = sheet.shape[0] // SIDE, sheet.shape[1] // SIDE
    tiles = sheet.reshape(rows, SIDE, columns, SIDE, 3).swapaxes(1, 2)
    return list(tiles.reshape(rows * columns, SIDE, SIDE, 3))


def noise(number: int, side: int) -> np.ndarray:
    """Return a picture whose contrast falls with the frequency, as that of photographs.  # → (S, S, 3)"""
    total = np.zeros((side, side, 3), np.int32)
    cells, weight = 2, 64
    while weight and cells <= side:
        drawn = hashlib.shake_256(f"est calibration {number} {cells}".encode()).digest(cells * cells * 3)
        grid = np.frombuffer(drawn, np.uint8).reshape(cells, cells, 3)
        total += weight * (resized(grid, side).astype(np.int32) - 128)
        cells, weight = 2 * cells, weight * 3 // 4
    return np.clip(total // 96 + 128, 0, 255).astype(np.uint8)


def resized(picture: np.ndarray, side: int) -> np.ndarray:
    """Bring a square picture to another side, between neighbours in whole 256ths.  # (H, H, 3) → (S, S, 3)"""
    height = len(picture)
    place = ((2 * np.arange(side) + 1) * height * 128 // side - 128).clip(0, (height - 1) * 256)
    low, share = place // 256, place % 256
    high = np.minimum(low + 1, height - 1)
    wide = picture.astype(np.int64)
    rows = wide[low] * (256 - share)[:, None, None] + wide[high] * share[:, None, None]
    both = rows[:, low] * (256 - share)[None, :, None] + rows[:, high] * share[None, :, None]
    return ((both + (1 << 15)) >> 16).astype(np.uint8)
