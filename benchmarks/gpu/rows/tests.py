"""The tests that need a GPU. On a CPU they are collected only: whatever they import is there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from measured import Context, Measured

ROOT = Path(__file__).resolve().parents[3]
MARK = "pytest.mark.gpu"
OURS = Path("tests/benchmarks")  # they run this very command


def files() -> list[str]:
    """Name the files with such tests: no other is imported."""
    found = (path.relative_to(ROOT) for path in sorted((ROOT / "tests").rglob("test_*.py")) if MARK in path.read_text())
    return [str(path) for path in found if OURS not in path.parents]


def gpu(context: Context) -> Measured:
    """Run them; warnings of another torch are no failures."""
    words = ["-m", "gpu", "-p", "no:cacheprovider", "--tb=short", "-o", "filterwarnings=default", "--no-header"]
    words += [] if context.device.type == "cuda" else ["--collect-only"]
    done = subprocess.run(
        [sys.executable, "-P", "-m", "pytest", *words, *files()], cwd=ROOT, capture_output=True, text=True, check=False
    )
    print(done.stdout, done.stderr)
    last = next((line for line in reversed(done.stdout.splitlines()) if line.strip()), "")
    if done.returncode not in (0, 1):
        raise RuntimeError(last or " ".join(done.stderr.split())[-300:] or f"pytest ended with {done.returncode}")
    failed = re.findall(r"^(?:FAILED|ERROR) \S*?([^/\s]+\.py\S*)", done.stdout, re.MULTILINE)
    return Measured(value=float(len(failed)), text=last.strip("= "), note="; ".join(failed))


MEASURES = {"gpu": gpu}
