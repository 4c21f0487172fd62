"""Files of features as other tools write them, small: OpenFace's tables, and arrays of windows."""

from __future__ import annotations

import csv

import numpy as np

AUS = ("AU01_r", "AU02_r", "AU12_r")
LABELS = ("happy", "sad")
STEPS = (4, 8)
WINDOW = 8
WIDTH = 6


def openface(
    path, frames=12, *, strength=0.0, seed=0, header=("frame", " face_id", " timestamp", " confidence", " success")
):
    """Write a table as OpenFace 2.2 does: with spaces before names, and zeros where no face was found."""
    rng = np.random.default_rng(seed)
    found = np.ones(frames, int)
    found[2] = 0
    rows = np.round((rng.normal(size=(frames, len(AUS))) + strength) * found[:, None], 3)
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*header, *(f" {name}" for name in AUS), " AU12_c"])
        for frame in range(frames):
            writer.writerow([frame + 1, 0, round(frame / 25, 3), 0.98 * found[frame], found[frame], *rows[frame], 1])
    return rows.astype(np.float32), found


def people(folder, write, *, subjects=2, of_each=2):
    """Write files of people and labels by `write(name, number of the label, seed)`, and a list of them."""
    lines = ["id,label,subject,num_frames"]
    for number in range(subjects * len(LABELS) * of_each):
        label, subject = number % len(LABELS), number // len(LABELS) % subjects
        name = f"clip{number:02d}"
        count = write(name, label, number)
        lines.append(f"{name},{LABELS[label]},P{subject},{count}")
    path = folder / "list.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def windows(folder, name, strength=0.0, frames=30, seed=0):
    """Write a clip's windows, a folder for each distance; return its frames."""
    rng = np.random.default_rng(seed)
    for step in STEPS:
        (folder / f"w{step}").mkdir(exist_ok=True)
        count = (frames - WINDOW) // step + 1
        np.save(folder / f"w{step}" / f"{name}.npy", rng.normal(size=(count, WIDTH)).astype(np.float32) + strength)
    return frames
