"""Decoding by OpenCV beside PyAV, in pairs: the same rendered H.264 video, upright BGR frames, one thread each. Goal: PyAV ≤ 1.10.

python benchmarks/decoders.py
"""

from __future__ import annotations

import statistics
import tempfile
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from _machine import machine
from _ratios import tell

from est.extract.video.source import open_source

SIZE = (640, 360)
FRAMES = 300
PAIRS = 15
NOISE = 6  # grey levels: a camera's, so that the codec has something to store
DECODERS = ("opencv", "pyav")


def write_video(path: Path) -> None:
    """Write a noisy gradient that moves, with B-frames, as cameras and platforms store it."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[: SIZE[1], : SIZE[0]]
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=25, options={"crf": "18", "preset": "medium", "bf": "2"})
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        for number in range(FRAMES):
            waves = [128 + 100 * np.sin((x + 3 * number) / 40 + 2 * k) * np.cos((y + number) / 30) for k in range(3)]
            noisy = np.stack(waves, -1) + rng.integers(-NOISE, NOISE + 1, (*x.shape, 3))
            frame = av.VideoFrame.from_ndarray(np.clip(noisy, 0, 255).astype(np.uint8), format="bgr24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())


def seconds(path: Path, decoder: str) -> float:
    """Return how long it takes to decode the video."""
    start = time.perf_counter()
    with open_source(path, "video", decoder=decoder) as video:
        count = sum(1 for _ in video.frames())
    assert count == FRAMES
    return time.perf_counter() - start


def main() -> None:
    print(machine("opencv-python-headless", "av"))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "moving.mp4"
        write_video(path)
        print(
            f"{FRAMES} frames of {SIZE[0]}×{SIZE[1]}, H.264, {8 * path.stat().st_size / FRAMES * 25 / 1e6:.1f} Mbit/s"
        )
        times: dict[str, list[float]] = {name: [] for name in DECODERS}
        for number in range(PAIRS + 1):  # in turns, either one first as often; the first round warms up
            for name in DECODERS if number % 2 else DECODERS[::-1]:
                times[name].append(seconds(path, name))
    base = times["opencv"][1:]
    print(f"{'decoder':<8} {'frames/s':>9} {'time to OpenCV':>15}")
    for name, values in times.items():
        ratio = statistics.median(a / b for a, b in zip(values[1:], base, strict=True))
        print(f"{name:<8} {FRAMES / statistics.median(values[1:]):>9.0f} {ratio:>15.2f}")
        tell(f"decoding by {name}", ratio)


if __name__ == "__main__":
    main()
