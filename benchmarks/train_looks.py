"""Learns the map of extract/faces/looks.py, by which people are told apart, and shows what a threshold would do.

    python benchmarks/train_looks.py --out extract/faces/looks.safetensors

Rendered people of reserved seeds are shown in shots of other scenes, light, pose and expression. What is measured of a shot is the median
over the frames that a detector searches. The map is a linear discriminant: it keeps the directions in which people differ most against the
shots of one person, and scales them so that shots of one person lie about 1 apart in each. People of another seed, which the map has not
seen, give the distances from which `DIFFERENT` in extract/faces/people.py is chosen; benchmarks/identity.py tests it on yet other people.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
import torch
from _machine import machine
from _people import shot
from safetensors.numpy import save_file

from est.extract.faces import looks
from est.extract.faces.detect import build_detector
from est.extract.faces.face_linking import area

LEARNT, CHOSEN = 990_001, 990_002  # of seeds that no demo set may have
SHOTS = 4  # of each person
SIZES = ((320, 180), (320, 180), (480, 270))
DIMENSIONS = 12
KEPT_TOGETHER = 0.01  # of the covariance within people that is taken as uncorrelated


def measured(seed: int, people: int) -> np.ndarray:
    """Measure shots of people of a seed.  # → (people, SHOTS, M)"""
    detector = build_detector(
        "retinaface", device="cpu", precision="fp32", score_threshold=0.8, models_dir=None, batch_size=8
    )
    rng = np.random.default_rng(seed)
    found = []
    for person in range(people):
        rows: list[np.ndarray] = []
        while len(rows) < SHOTS:
            num_frames = int(rng.integers(10, 22))
            clip = shot(rng, seed, person, num_frames, SIZES[int(rng.integers(len(SIZES)))])
            frames = [clip.frame(t)[0] for t in sorted({*range(0, num_frames, 3), num_frames - 1})]
            faces = [
                looks.measure(frame, one.landmarks[int(area(one.boxes).argmax())])
                for frame, one in zip(frames, detector.detect(np.stack(frames)), strict=True)
                if len(one)
            ]
            rows += [np.median(faces, axis=0)] if faces else []
        found.append(rows)
    return np.array(found, np.float64)


def discriminant(shots: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean of what is measured, and the map.  # (people, SHOTS, M) → (M,), (M, D)"""
    people, each, _ = shots.shape
    means = shots.mean(1)
    inside = (shots - means[:, None]).reshape(people * each, -1)
    within = inside.T @ inside / (people * (each - 1))
    within = (1 - KEPT_TOGETHER) * within + KEPT_TOGETHER * np.diag(np.diag(within))
    between = np.cov(means.T) - within / each
    whiten = np.linalg.cholesky(np.linalg.inv(within))
    values, vectors = np.linalg.eigh(whiten.T @ between @ whiten)
    best = np.argsort(-values)[:DIMENSIONS]
    positive = np.maximum(values[best], 0)
    share = positive / (positive + 1)  # of what differs between people in this direction
    return means.mean(0), whiten @ vectors[:, best] * np.sqrt(share)


def distances(shots: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the distances between shots of one person, and of two.  # (people, SHOTS, D)"""
    _, each, width = shots.shape
    rows = shots.reshape(-1, width)
    one, two = np.triu_indices(len(rows), 1)
    apart = np.linalg.norm(rows[one] - rows[two], axis=1)
    same = one // each == two // each
    return apart[same], apart[~same]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=500, help="that the map learns from")
    parser.add_argument("--others", type=int, default=250, help="from whom the threshold is chosen")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    print(machine("numpy", "opencv-python-headless"), flush=True)
    mean, weights = discriminant(measured(LEARNT, arguments.people))
    save_file(
        {"mean": mean.astype(np.float32), "map": np.ascontiguousarray(weights, np.float32)},
        arguments.out,
        metadata={"learnt_from": f"{arguments.people} rendered people of seed {LEARNT}, by benchmarks/train_looks.py"},
    )
    same, other = distances((measured(CHOSEN, arguments.others) - mean) @ weights)
    print(f"{arguments.others} other people: {len(same)} pairs of shots of one person, {len(other)} of two")
    print("| above | of one person | of two |\n|---|---|---|")
    for threshold in np.arange(4, 13, 0.5):
        print(f"| {threshold:g} | {100 * (same > threshold).mean():.2f} % | {100 * (other > threshold).mean():.2f} % |")


if __name__ == "__main__":
    main()
