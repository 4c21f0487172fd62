"""`est cache ls` and `est report CACHE` on caches of many clips: seconds, megabytes, and what a browser makes of the page.

The clips are made up: 3 frames each of 64 random numbers, as many labels, subjects and splits as a large data set has. The last three
columns need playwright and a Chromium (docs/reports.md); they are left out where these are not there.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
from _machine import machine

from est.cache import CacheWriter, Clip, FeatureRecipe, FramesRecipe, Recipes
from est.cli import app

LABELS = ("happiness", "sadness", "neutral", "anger", "surprise", "disgust", "fear")
FRAMES, WIDTH = 3, 64
HEAD = "| clips | ls | ls --where --sort | ls --csv | report | page, MB | opened | filtered | sorted |"


def make_cache(path: Path, clips: int) -> None:
    """Write a cache of made-up clips."""
    frames = FramesRecipe(decoder="opencv", detector="none")
    gap = FeatureRecipe(parent=frames.fingerprint, backbone="resnet18", weights="none", shape=(WIDTH,))
    rng = np.random.default_rng(1)
    with CacheWriter.open(path, Recipes(frames=frames, features={"gap": gap}), labels=LABELS) as writer:
        for number in range(clips):
            state = rng.choice(np.array([0, 1, 1, 1, 2], np.uint8), FRAMES)
            rows = rng.normal(size=(FRAMES, WIDTH)).astype(np.float16)
            box = rng.normal(size=(FRAMES, 4)).astype(np.float32) + np.array([50, 50, 150, 150], np.float32)
            landmarks, score = np.zeros((FRAMES, 5, 2), np.float32), np.ones(FRAMES, np.float32)
            for values, empty in ((rows, 0), (box, np.nan), (landmarks, np.nan), (score, np.nan)):
                values[state == 0] = empty
            writer.add(
                Clip(
                    id=f"{LABELS[number % 7]}/{number:06d}",
                    path=f"videos/{number:06d}.mp4",
                    label=LABELS[number % 7],
                    subject=f"s{number % 997:03d}",
                    split=("train", "test")[number % 5 == 0],
                    fold=number % 5,
                    state=state,
                    time=np.arange(FRAMES) / 25,
                    box=box,
                    landmarks=landmarks,
                    score=score,
                    tracks=1 + number % 3,
                    identity_changes=int(number % 11 == 0),
                    features={"gap": rows},
                )
            )


def timed(*words: object) -> float:
    """Run a command in this process; return its seconds."""
    begin = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        status = app([str(word) for word in words], prog_name="est", standalone_mode=False)
    assert not status, words
    return time.perf_counter() - begin


def in_browser(page: Path, chromium: str) -> list[str]:
    """Return the seconds until the page can be used, and until a filter and a sorted column are shown."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return ["–"] * 3
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        view = browser.new_page(bypass_csp=True)  # or the page's policy forbids to wait for a condition
        begin = time.perf_counter()
        view.goto(page.resolve().as_uri())
        view.wait_for_selector(".pages:not([hidden])")
        found = [time.perf_counter() - begin]
        steps = {
            "filtered": "box => { box.querySelector('.words').value = '777'; box.dispatchEvent(new Event('input')); }",
            "sorted": "box => box.querySelectorAll('thead button')[0].click()",
        }
        for what, script in steps.items():
            begin = time.perf_counter()
            view.eval_on_selector(".paged", script)
            word = "that match" if what == "filtered" else "sorted by"
            view.wait_for_function(f"document.querySelector('.paged [role=status]').textContent.includes('{word}')")
            found.append(time.perf_counter() - begin)
        browser.close()
    return [f"{seconds:.2f} s" for seconds in found]


def main() -> None:
    """Print a row per number of clips."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    options = parser.parse_args()
    print(machine("numpy"))
    print(f"\n{HEAD}\n{'|---' * 9}|")
    for clips in options.clips:
        with tempfile.TemporaryDirectory() as folder:
            cache, page = Path(folder) / "cache.zarr", Path(folder) / "page.html"
            make_cache(cache, clips)
            condition = "coverage < 0.9 and not (label = fear or subject ~ 77)"
            seconds = [
                timed("cache", "ls", cache),
                timed("cache", "ls", cache, "--where", condition, "--sort", "box_jitter", "--limit", 20),
                timed("cache", "ls", cache, "--csv", Path(folder) / "clips.csv"),
                timed("report", cache, "--out", page, "--quiet"),
            ]
            cells = [f"{clips:,}", *(f"{one:.2f} s" for one in seconds), f"{page.stat().st_size / 1e6:.1f}"]
            print("| " + " | ".join([*cells, *in_browser(page, options.chromium)]) + " |", flush=True)
    print(f"\nmost memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


if __name__ == "__main__":
    main()
