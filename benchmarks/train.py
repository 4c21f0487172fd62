"""Training on cached features beside what it replaces, on one machine in one run.

    python benchmarks/train.py              # all tables; minutes on a CPU, most of them for the end-to-end steps
    python benchmarks/train.py step epoch   # some of them
    python benchmarks/train.py step --cpu-time   # one thread, processor time: for a machine that has other work to do

step      a cached step against the end-to-end fp32 step at batch 8, and against the floor that Adam's bytes set
epoch     what an epoch spends outside of the model's step, on a cache of DFEW's size; epochs per hour
practice  the usual practice: a .npy file a clip and a DataLoader
infer     clips and frames a second of a trained model, from cached features and from pixels
Goals: ≥ 400 × end to end; ≤ 5 % of an epoch outside of the step on a CPU, ≤ 15 % on a GPU; on a GPU a step ≤ 3 × the floor.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from _machine import machine
from _ratios import tell
from cache_io import MEAN_FRAMES, NUM_CLIPS, write
from torch.utils.data import DataLoader, Dataset

from est.cache import open_cache
from est.cache.interrupt import Stop
from est.encoders.backbone import Backbone
from est.encoders.device import parse_device
from est.encoders.precision import Precision, resolve_precision, why_emulated
from est.train import LoopConfig, TrainConfig, build_model
from est.train.data.clipset import ClipSet
from est.train.data.snippets import SnippetSampler
from est.train.loop.trainer import Trainer
from est.train.loop.watch import TrainingWatch

WIDTH, CLASSES = 512, 7
ROUNDS = 15
GB = 1e9
TIMING = {"clock": time.perf_counter}  # --cpu-time puts another in its place


def synchronise(device: torch.device) -> None:
    """Wait for a GPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds(function: Callable[[], object], device: torch.device, rounds: int = 1) -> float:
    """Time one call, on average over some."""
    clock = TIMING["clock"]
    synchronise(device)
    start = clock()
    for _ in range(rounds):
        function()
    synchronise(device)
    return (clock() - start) / rounds


class Step:
    """The bare step of a model: forward, backward, Adam, on one batch that is there already."""

    def __init__(self, config: TrainConfig, device: torch.device, *, autocast: bool, width: int = WIDTH) -> None:
        self.config, self.autocast = config, autocast
        self.model = build_model(config.model, width=width, num_classes=CLASSES, seed=0).to(device).train()
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=1e-4, weight_decay=1e-4, fused=True)
        batch, n, frames = config.loop.batch, config.model.snippets, config.model.frames
        self.features = torch.randn(batch, n, frames, width, device=device)
        self.target = torch.randint(CLASSES, (batch,), device=device)
        self.picks = torch.randint(config.model.orders, (batch,), device=device)

    def __call__(self) -> None:
        """Take it."""
        self.learn(self.features)

    def loss(self, features: torch.Tensor) -> torch.Tensor:
        """Compute what it minimises."""
        with torch.autocast(features.device.type, torch.bfloat16, enabled=self.autocast):
            output = self.model({"features": features, "order": self.picks})
        loss = F.cross_entropy(output.expression.float(), self.target)
        return loss + self.config.model.weight_of_order * F.cross_entropy(output.order.float(), self.picks)

    def learn(self, features: torch.Tensor) -> None:
        """Take it on other features."""
        loss = self.loss(features)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()


class EndToEnd(Step):
    """The step that caching replaces: ResNet-18 on every frame of the batch trains too, in fp32."""

    def __init__(self, config: TrainConfig, device: torch.device) -> None:
        super().__init__(config, device, autocast=False)
        self.backbone = Backbone().to(device).train()
        self.optimizer = torch.optim.Adam(
            [*self.model.parameters(), *self.backbone.parameters()], lr=1e-4, weight_decay=1e-4, fused=True
        )
        frames = self.features.shape[0] * self.features.shape[1] * self.features.shape[2]
        self.images = torch.rand(frames, 3, 224, 224, device=device)

    def __call__(self) -> None:
        self.learn(self.backbone(self.images).view(self.features.shape))


def precisions_of(device: torch.device) -> list[Precision]:
    """Return the precisions that a device computes in: what it emulates would be timed for nothing."""
    return ["fp32"] if why_emulated("bf16", device) else ["fp32", "bf16"]


def measure_step(device: torch.device, end_to_end_steps: int) -> None:
    """Print the cached step beside the end-to-end one and the floor."""
    config = TrainConfig()
    steps = {
        f"cached, {precision}": Step(config, device, autocast=precision == "bf16")
        for precision in precisions_of(device)
    }
    number = sum(p.numel() for p in steps["cached, fp32"].model.parameters())
    # Adam reads weight, gradient and two moments and writes weight and two moments: seven floats a parameter.
    block = torch.empty(7 * number // 2, device=device).fill_(1.0)
    target = torch.empty_like(block)
    floor = statistics.median(seconds(lambda: target.copy_(block), device) for _ in range(ROUNDS))
    times: dict[str, list[float]] = {name: [] for name in steps}
    for step in steps.values():
        seconds(step, device, 3)
    for _ in range(ROUNDS):
        for name, step in steps.items():
            times[name].append(seconds(step, device))
    end = EndToEnd(config, device)
    slow = [seconds(end, device) for _ in range(end_to_end_steps + 1)][1:]
    print(f"{number:,} parameters, batch {config.loop.batch}; end to end: 280 frames of 224 × 224 a step")
    print(f"{'Adam, bytes moved':<20} {1000 * floor:10.2f} ms")
    for name, found in times.items():
        middle = statistics.median(found)
        print(
            f"{name:<20} {1000 * middle:10.2f} ms  {middle / floor:7.2f} × floor  "
            f"end to end is {statistics.median(slow) / middle:7.0f} × slower"
        )
        tell(f"{name}, of the floor", middle / floor)
        tell(f"end to end, of {name}", statistics.median(slow) / middle)
    print(f"{'end to end, fp32':<20} {1000 * statistics.median(slow):10.2f} ms")


def big_cache(folder: Path, clips: int) -> Path:
    """Write a cache of DFEW's lengths."""
    rng = np.random.default_rng(1)
    lengths = np.clip(rng.gamma(4, MEAN_FRAMES / 4, clips).astype(np.int64), 5, 400)
    write(folder / "big.zarr", lengths, WIDTH)
    return folder / "big.zarr"


def measure_epoch(device: torch.device, folder: Path, clips: int, max_steps: int) -> None:
    """Print how an epoch's time divides into the model's step and the rest."""
    cache = open_cache(big_cache(folder, clips))
    start = time.perf_counter()
    data = ClipSet.from_cache(cache, np.arange(len(cache)), device=device)
    loaded = time.perf_counter() - start
    target = torch.from_numpy(data.label).to(device)
    print(f"{len(data):,} clips; {data.residency}; loaded in {loaded:.2f} s")
    for precision in precisions_of(device):
        config = TrainConfig(loop=LoopConfig(precision=precision))
        bare = Step(config, device, autocast=precision == "bf16")
        train = np.arange(len(data))
        model = build_model(config.model, width=WIDTH, num_classes=CLASSES, seed=0).to(device)
        trainer = Trainer(model, data, train=train, target=target, config=config, precision=precision, seed=1)
        whole, steps = trainer.num_steps, min(trainer.num_steps, max_steps)
        plan = [seconds(lambda trainer=trainer: trainer.planner.draw(0), device) for _ in range(3)]
        # The same steps with everything around them, and bare, in turns: the difference is what the loop adds.
        shares, per_step = [], []
        trainer.num_steps = steps
        for round_ in range(5):
            bare_time = seconds(bare, device, steps)
            watch, stop = TrainingWatch(), Stop()
            epoch = seconds(lambda: trainer.run_epoch(round_, stop=stop, watch=watch), device)  # noqa: B023
            epoch += statistics.median(plan) * (steps / whole - 1) if steps < whole else 0.0
            shares.append(1 - bare_time * steps / epoch)
            per_step.append(epoch / steps)
        share, step = statistics.median(shares), statistics.median(per_step)
        print(
            f"{precision}  {1000 * step:7.2f} ms a step, {step * whole:7.1f} s an epoch of {whole} steps, "
            f"{3600 / (step * whole):6.1f} epochs/h, planning it {statistics.median(plan):.3f} s, outside of the step {share:6.1%}"
        )


class ClipFiles(Dataset):
    """The usual practice: one .npy a clip, read and sampled in a worker."""

    def __init__(self, folder: Path, lengths: np.ndarray) -> None:
        self.folder, self.lengths = folder, lengths
        config = TrainConfig()
        self.sampler = SnippetSampler(config.sampling, config.model.snippets, config.model.frames)

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, index: int) -> torch.Tensor:
        rows = np.load(self.folder / f"{index}.npy")
        generator = torch.Generator().manual_seed(index)
        positions = self.sampler.train(torch.tensor([len(rows)]), generator)[0]
        return torch.from_numpy(rows[positions.numpy()].astype(np.float32))


def measure_practice(device: torch.device, folder: Path, clips: int) -> None:
    """Print how fast batches come from files and from the cache, without any model."""
    cache = open_cache(big_cache(folder, clips))
    files = folder / "npy"
    files.mkdir()
    for clip in cache.iterate(["gap"]):
        np.save(files / f"{clip.index}.npy", clip.features["gap"])
    lengths = np.asarray(cache.clips.count)
    dataset = ClipFiles(files, lengths)
    data = ClipSet.from_cache(cache, np.arange(len(cache)), device=device)
    config = TrainConfig()
    model = build_model(config.model, width=WIDTH, num_classes=CLASSES, seed=0).to(device)
    target = torch.from_numpy(data.label).to(device)
    trainer = Trainer(model, data, train=np.arange(len(data)), target=target, config=config, precision="fp32", seed=1)

    def from_cache() -> None:
        plan = trainer.planner.draw(0)
        for step in range(trainer.num_steps):
            data.take(plan.index[step])

    def from_files(workers: int) -> None:
        for batch in DataLoader(dataset, config.loop.batch, shuffle=True, drop_last=True, num_workers=workers):
            batch.to(device)

    ways = {"cache": from_cache, "npy, 0 workers": lambda: from_files(0), "npy, 2 workers": lambda: from_files(2)}
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(3):
        for name, way in ways.items():
            times[name].append(seconds(way, device))
    best = statistics.median(times["cache"])
    for name, found in times.items():
        middle = statistics.median(found)
        print(f"{name:<16} {len(data) / middle:10.0f} clips/s  {middle / best:6.1f} × the cache's time")


@torch.inference_mode()
def measure_inference(device: torch.device) -> None:
    """Print how fast a trained model answers."""
    config = TrainConfig()
    precision, _ = resolve_precision("auto", device)
    model = build_model(config.model, width=WIDTH, num_classes=CLASSES, seed=0).to(device).eval()
    backbone = Backbone().to(device, memory_format=torch.channels_last).eval()
    batch = 64
    features = torch.randn(batch, 7, 5, WIDTH, device=device)
    images = torch.rand(140, 3, 224, 224, device=device).contiguous(memory_format=torch.channels_last)

    def head() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            model({"features": features})

    def whole() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            model({"features": backbone(images).view(4, 7, 5, WIDTH)})

    for call in (head, whole):
        call()
    cached = statistics.median(seconds(head, device) for _ in range(ROUNDS))
    pixels = statistics.median(seconds(whole, device) for _ in range(5))
    print(f"{precision}: {batch / cached:.0f} clips/s from cached features")
    print(
        f"{precision}: {140 / pixels:.0f} frames/s from face crops, backbone included (the paper: 412 on an RTX 3090)"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    tables = ("step", "epoch", "practice", "infer")
    parser.add_argument("tables", nargs="*", choices=[*tables, []], help="which tables; all when left out")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--clips", type=int, default=NUM_CLIPS, help="of the large cache (DFEW: 11,697)")
    parser.add_argument("--steps", type=int, default=60, help="at most so many steps of an epoch are taken")
    parser.add_argument("--end-to-end-steps", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="where to write; a temporary folder when left out")
    parser.add_argument("--cpu-time", action="store_true", help="one thread of a processor, and its time")
    arguments = parser.parse_args()
    device = parse_device(arguments.device)
    if arguments.cpu_time:
        if device.type != "cpu":
            parser.error(f"--cpu-time measures a processor, found the device {device}; --device cpu")
        TIMING["clock"] = time.process_time
        torch.set_num_threads(1)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{torch.get_num_threads()} threads"
    print(f"{machine('torch')}, {name}{', processor time' if arguments.cpu_time else ''}")
    for table in arguments.tables or tables:
        print(f"\n{table}")
        folder = Path(tempfile.mkdtemp(prefix="est-train-", dir=arguments.folder))
        try:
            match table:
                case "step":
                    measure_step(device, arguments.end_to_end_steps)
                case "epoch":
                    measure_epoch(device, folder, arguments.clips, arguments.steps)
                case "practice":
                    measure_practice(device, folder, min(arguments.clips, 1000))
                case "infer":
                    measure_inference(device)
        finally:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
