"""Train the `synface` weights: a ResNet-18 that reads rendered faces, for the demo and the tests; not for real ones.

Renders frames of reserved seeds (people that no demo set may hold), crops them as extraction does, and trains on the class of frames that
show enough of it and on the action units of all. Then probes it: a linear classifier on features of people it has never seen.

    python benchmarks/train_synface.py render --out synface-data       # minutes
    python benchmarks/train_synface.py train --data synface-data       # an hour on two cores; goes on where it was stopped
    python benchmarks/train_synface.py probe --weights encoders/weights/synface.safetensors
"""

from __future__ import annotations

import argparse
import json
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from _machine import machine
from torch import Tensor, nn

from est.crops.crop import BOX_MARGIN, box_matrix, warp
from est.demo import EXPRESSIONS, RenderSpec, plan_set
from est.demo.action import ACTION_FIELDS
from est.demo.clip import Clip
from est.encoders.backbone import Backbone

SIZE = 224
MARGIN = 0.25  # of the stored crops: wider than extraction's, so that training can jitter
FRAMES_A_CLIP = 10
FIRST_SEED = 900_000
EVIDENCE = 0.5  # of its class that a frame must show to be trained on it
PROBE_EVIDENCE = 0.6


def render(spec: RenderSpec, frames_a_clip: int, clip: int) -> tuple[list[bytes], np.ndarray]:
    """Render some frames of a clip; return JPEG crops and, per frame, class, evidence, visibility, difficulty, actions."""
    cv2.setNumThreads(1)
    plan = plan_set(spec)[clip]
    studio = Clip(plan)
    rng = np.random.default_rng(plan.seed)
    strength = studio.course.intensity + 0.15
    numbers = rng.choice(plan.num_frames, frames_a_clip, replace=False, p=strength / strength.sum())
    crops, truths = [], []
    for number in numbers:
        image, truth = studio.frame(int(number))
        crop = warp(image, box_matrix(np.array(truth.box), MARGIN, SIZE), SIZE)
        crops.append(cv2.imencode(".jpg", crop, [cv2.IMWRITE_JPEG_QUALITY, 92])[1].tobytes())
        actions = [getattr(truth.action, name) for name in ACTION_FIELDS]
        truths.append([EXPRESSIONS.index(truth.expression), truth.evidence, truth.visible, plan.difficulty, *actions])
    return crops, np.array(truths, np.float32)


def render_task(task: tuple[int, float, int, int]) -> tuple[list[bytes], np.ndarray]:
    seed, difficulty, subjects, clip = task
    return render(
        RenderSpec(subjects=subjects, clips_per_subject=7, seed=seed, difficulty=difficulty, reserved=True),
        FRAMES_A_CLIP,
        clip,
    )


def render_all(out: Path, subjects: int, workers: int) -> None:
    """Render the training frames: groups of people at several difficulties."""
    group = 10
    rng = np.random.default_rng(0)
    tasks = []
    for index in range(subjects // group):
        difficulty = 0.4 if index % 2 else float(rng.uniform(0, 0.8))
        tasks += [(FIRST_SEED + index, difficulty, group, clip) for clip in range(7 * group)]
    start = time.monotonic()
    crops: list[bytes] = []
    truths = []
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for done, (some, truth) in enumerate(pool.map(render_task, tasks, chunksize=14), start=1):
            crops += some
            truths.append(truth)
            if done % 700 == 0:
                print(f"{done}/{len(tasks)} clips, {len(crops) / (time.monotonic() - start):.0f} frames/s", flush=True)
    out.mkdir(parents=True, exist_ok=True)
    np.save(out / "truth.npy", np.concatenate(truths))
    np.save(out / "offset.npy", np.cumsum([0, *map(len, crops)]))
    (out / "crops.bin").write_bytes(b"".join(crops))


class Frames:
    """The rendered crops, decoded and augmented on demand."""

    def __init__(self, folder: Path) -> None:
        self.truth = np.load(folder / "truth.npy")
        self._offset = np.load(folder / "offset.npy")
        self._data = np.memmap(folder / "crops.bin", np.uint8, "r")

    def __len__(self) -> int:
        return len(self.truth)

    def batch(self, indices: np.ndarray, size: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Return augmented images in [0, 1] and their truth."""
        images = np.stack([self._image(int(index), size, rng) for index in indices])
        tensor = torch.from_numpy(images).permute(0, 3, 1, 2).float().div_(255)
        return tensor.contiguous(memory_format=torch.channels_last), torch.from_numpy(self.truth[indices])

    def _image(self, index: int, size: int, rng: np.random.Generator) -> np.ndarray:
        image = cv2.imdecode(self._data[self._offset[index] : self._offset[index + 1]], cv2.IMREAD_COLOR_RGB)
        zoom = rng.uniform(1.0, 1.25) * size / SIZE
        angle = np.deg2rad(rng.normal(0, 4))
        cos, sin = zoom * np.cos(angle), zoom * np.sin(angle)
        shift = size / 2 + rng.normal(0, 0.025 * size, 2)
        centre = SIZE / 2
        matrix = np.array(
            [[cos, -sin, shift[0] - cos * centre + sin * centre], [sin, cos, shift[1] - sin * centre - cos * centre]]
        )
        if rng.random() < 0.5:
            matrix = np.array([[-1, 0, size - 1], [0, 1, 0]]) @ np.vstack([matrix, [0, 0, 1]])
        image = warp(image, matrix, size)
        return np.clip(image * rng.uniform(0.8, 1.2) + rng.normal(0, 12), 0, 255).astype(np.uint8)


class Student(nn.Module):
    """The backbone with the two heads that teach it; the heads are thrown away."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = Backbone()
        self.expression = nn.Linear(Backbone.width, len(EXPRESSIONS))
        self.action = nn.Linear(Backbone.width, len(ACTION_FIELDS))

    def losses(self, images: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
        """Return the two losses of a batch."""
        features = self.backbone(images).float()
        features = F.dropout(features, 0.2, self.training)
        shown = truth[:, 1] >= EVIDENCE
        expression = F.cross_entropy(self.expression(features)[shown], truth[shown, 0].long(), label_smoothing=0.05)
        visible = truth[:, 2] > 0
        action = F.mse_loss(self.action(features)[visible], truth[visible, 4:])
        return expression, action


PHASES = ((96, 5.0, 2e-3), (160, 0.6, 1e-3), (SIZE, 0.5, 6e-4))  # side of the crops, epochs, peak of the learning rate
BATCH = 64


def train(data: Path, out: Path) -> None:
    """Train on small crops first, which is cheap, then on larger ones; each phase has a schedule of its own."""
    torch.manual_seed(0)
    cv2.setNumThreads(1)
    frames = Frames(data)
    student = Student().to(memory_format=torch.channels_last)
    checkpoint = data / "checkpoint.pt"
    begun, step = 0, 0
    state = torch.load(checkpoint, weights_only=True) if checkpoint.exists() else None
    if state is not None:
        student.load_state_dict(state["student"])
        begun, step = state["phase"], state["step"]
    for phase, (size, epochs, rate) in enumerate(PHASES):
        if phase < begun:
            continue
        total = int(len(frames) // BATCH * epochs)
        optimizer = torch.optim.AdamW(student.parameters(), lr=rate, weight_decay=0.02, fused=True)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=total, pct_start=0.15)
        if state is not None and phase == begun and step:
            optimizer.load_state_dict(state["optimizer"])
            schedule.load_state_dict(state["schedule"])
        print(f"{len(frames)} frames at {size} pixels, {total} steps of {BATCH}, from step {step}", flush=True)
        start = saved = time.monotonic()
        averages = np.zeros(2)
        while step < total:
            losses = train_step(student, optimizer, frames, phase, step, size)
            schedule.step()
            step += 1
            averages = 0.98 * averages + 0.02 * losses
            if step % 50 == 0:
                rate_now = 50 * BATCH / (time.monotonic() - start)
                start = time.monotonic()
                shown = averages / (1 - 0.98**step)
                print(
                    f"step {step}/{total}  expression {shown[0]:.3f}  action {shown[1]:.4f}  {rate_now:.0f} img/s",
                    flush=True,
                )
            if time.monotonic() - saved > 240:
                saved = time.monotonic()
                save_checkpoint(checkpoint, student, optimizer, schedule, phase, step)
        step = 0
        save_checkpoint(checkpoint, student, optimizer, schedule, phase + 1, 0)
    save(student.backbone, out, len(frames))


def train_step(
    student: Student, optimizer: torch.optim.Optimizer, frames: Frames, phase: int, step: int, size: int
) -> np.ndarray:
    """Take one step; return the two losses."""
    steps_an_epoch = len(frames) // BATCH
    order = np.random.default_rng((2, phase, step // steps_an_epoch)).permutation(len(frames))
    position = step % steps_an_epoch * BATCH
    images, truth = frames.batch(order[position : position + BATCH], size, np.random.default_rng((1, phase, step)))
    student.train()
    with torch.autocast("cpu", torch.bfloat16):
        expression, action = student.losses(images, truth)
    optimizer.zero_grad(set_to_none=True)
    (expression + 4 * action).backward()
    optimizer.step()
    return np.array([expression.item(), action.item()])


def save_checkpoint(path: Path, student: Student, optimizer: Any, schedule: Any, phase: int, step: int) -> None:
    """Write all that going on needs, under another name first."""
    state = {"student": student.state_dict(), "phase": phase, "step": step}
    state |= {"optimizer": optimizer.state_dict(), "schedule": schedule.state_dict()}
    torch.save(state, path.with_suffix(".partial"))
    path.with_suffix(".partial").replace(path)


def save(backbone: Backbone, out: Path, num_frames: int) -> None:
    """Write float16 safetensors with the card in the metadata."""
    from safetensors.torch import save_file

    out.parent.mkdir(parents=True, exist_ok=True)
    tensors = {
        name: (tensor.half() if tensor.is_floating_point() else tensor).contiguous()
        for name, tensor in backbone.state_dict().items()
    }
    card = {
        "name": "synface",
        "normalize": "none",
        "purpose": "the demo and the tests of est: rendered faces, not real ones",
        "trained_on": f"{num_frames} rendered frames of the reserved seeds, by benchmarks/train_synface.py",
        "licence": "MIT",
    }
    save_file(tensors, out, metadata={"card": json.dumps(card), "normalize": "none"})
    print(f"{out}: {out.stat().st_size / 1e6:.1f} MB")


def probe(weights: Path, subjects: int) -> None:
    """Fit a linear classifier on frames of some unseen people, test it on others."""
    from safetensors.torch import load_file
    from sklearn.linear_model import LogisticRegression

    print(machine("torch"))
    backbone = Backbone()
    backbone.load_state_dict(
        {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in load_file(weights).items()}
    )
    backbone.eval()
    spec = RenderSpec(subjects=subjects, clips_per_subject=7, seed=12345)
    features, labels, people = [], [], []
    for index, plan in enumerate(plan_set(spec)):
        studio = Clip(plan)
        course = studio.course
        strong = [t for t in range(plan.num_frames) if plan.label == "neutral" or course.intensity[t] >= PROBE_EVIDENCE]
        chosen = np.random.default_rng(index).choice(strong, min(4, len(strong)), replace=False)
        crops = []
        for number in chosen.tolist():
            image, truth = studio.frame(number)
            if truth.visible:
                crops.append(warp(image, box_matrix(np.array(truth.box), BOX_MARGIN, SIZE), SIZE)[..., ::-1])
        if crops:
            with torch.inference_mode():
                images = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).float() / 255
                features.append(backbone(images).numpy())
            labels += [plan.label] * len(crops)
            people += [int(plan.subject[1:])] * len(crops)
    x, y, who = np.concatenate(features), np.array(labels), np.array(people)
    test = who % 2 == 1
    model = LogisticRegression(C=0.1, max_iter=2000, class_weight="balanced").fit(x[~test], y[~test])
    right = model.predict(x[test]) == y[test]
    print(f"linear probe on {test.sum()} frames of {len(set(who[test]))} unseen people: {right.mean():.1%}")
    for label in EXPRESSIONS:
        print(f"  {label:<10} {right[y[test] == label].mean():.1%}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    rendering = commands.add_parser("render")
    rendering.add_argument("--out", type=Path, default=Path("synface-data"))
    rendering.add_argument("--subjects", type=int, default=500)
    rendering.add_argument("--workers", type=int, default=2)
    training = commands.add_parser("train")
    training.add_argument("--data", type=Path, default=Path("synface-data"))
    training.add_argument("--out", type=Path, default=Path("encoders/weights/synface.safetensors"))
    probing = commands.add_parser("probe")
    probing.add_argument("--weights", type=Path, default=Path("encoders/weights/synface.safetensors"))
    probing.add_argument("--subjects", type=int, default=60)
    arguments = parser.parse_args()
    if arguments.command == "render":
        render_all(arguments.out, arguments.subjects, arguments.workers)
    elif arguments.command == "train":
        train(arguments.data, arguments.out)
    else:
        probe(arguments.weights, arguments.subjects)


if __name__ == "__main__":
    main()
