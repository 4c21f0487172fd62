"""Rendered clips with one brief expression: what is shown, and whether early or late, is the class. For benchmarks/probe.py.

Two clips of a pair hold the same frames in opposite order, so that only the order of frames tells early from late; the evidence is one
window of 9 to 13 % of the clip, planted at a place that the manifest tells (onset, apex, offset).
"""

from __future__ import annotations

import csv
import tempfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from est.demo import dynamics
from est.demo.course import plan_span
from est.demo.demoset import SIZE
from est.demo.renderset import COLUMNS, MANIFEST, write_clip
from est.demo.spec import ClipPlan

EXPRESSIONS = ("happiness", "surprise", "disgust")
LABELS = tuple(f"{when}-{expression}" for expression in EXPRESSIONS for when in ("early", "late"))
PAIRS = tuple((f"early-{expression}", f"late-{expression}") for expression in EXPRESSIONS)
WIDTH = (0.085, 0.118)  # of a clip, at half its strength
PLACE = (0.2, 0.38)  # of a clip, where the early one is strongest
FRAMES = (50, 60)
FPS, DIFFICULTY = 15, 0.1


def course(num_frames: int, fps: int, rng: np.random.Generator) -> np.ndarray:
    """Draw a brief rise and fall, early or late.  # (1, T)"""
    width = rng.uniform(*WIDTH) * num_frames
    at = rng.uniform(*PLACE) * num_frames
    at = at if rng.random() < 0.5 else num_frames - 1 - at
    away = np.abs(np.arange(num_frames) - at) / width
    fall = np.clip((away - 0.15) / 0.55, 0, 1)
    return (1 - fall * fall * (3 - 2 * fall))[None]


for label in LABELS:  # in every process that renders, too: it imports this module
    dynamics.COURSES[label] = course


def plan_brief(subjects: int, seed: int) -> list[ClipPlan]:
    """Plan three pairs of each person; which of a pair is the unreversed clip is drawn."""
    plans: list[ClipPlan] = []
    for subject in range(subjects):
        rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(subject, 7)))
        for number, expression in enumerate(EXPRESSIONS):
            frames, own = int(rng.integers(FRAMES[0], FRAMES[1] + 1)), int(rng.integers(2**31))
            apex = int(dynamics.draw_envelopes(f"early-{expression}", frames, FPS, own)[0].argmax())
            forward = "early" if apex < frames / 2 else "late"
            backward = "late" if forward == "early" else "early"
            for when, at, turned in ((forward, apex, False), (backward, frames - 1 - apex, True)):
                plans.append(
                    ClipPlan(
                        path=f"{when}-{expression}/s{subject:03d}_{2 * number + turned:02d}.mp4",
                        label=f"{when}-{expression}",
                        subject=f"s{subject:03d}",
                        split="train",
                        apex=at,
                        seed=own,
                        num_frames=frames,
                        fps=FPS,
                        size=SIZE,
                        difficulty=DIFFICULTY,
                        identity_seed=(seed, subject),
                        expressions=(expression,),
                        reverse=turned,
                        dynamics=True,
                    )
                )
    return plans


def render_brief(out: Path, subjects: int, seed: int, workers: int) -> list[ClipPlan]:
    """Render a set, and write its manifest last."""
    plans = plan_brief(subjects, seed)
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as links, ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        list(pool.map(_write, plans, [out] * len(plans), [Path(links)] * len(plans)))
    with (out / MANIFEST).open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for plan in plans:
            onset, offset = plan_span(plan) or ("", "")
            writer.writerow([plan.path, plan.label, plan.subject, plan.split, onset, plan.apex, offset, plan.seed])
    return plans


def _write(plan: ClipPlan, out: Path, links: Path) -> None:
    write_clip(plan, out, links)
