"""`est report RUN` on runs that tested many clips: seconds, megabytes, and what a browser makes of the page.

The run is made up but for its files: a small recurrent network, trained for an epoch on made-up clips in five folds, and its decisions.
The last three columns need playwright and a Chromium (docs/reports.md); they are left out where these are not there.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from _machine import machine
from cachepage import in_browser, make_cache, timed

HEAD = "| tested clips | report | page, MB | opened | filtered | sorted |"


def main() -> None:
    """Print a row per number of clips."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, nargs="+", default=[1_000, 10_000])
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    options = parser.parse_args()
    print(machine("numpy"))
    print(f"\n{HEAD}\n{'|---' * 6}|")
    for clips in options.clips:
        with tempfile.TemporaryDirectory() as folder:
            cache, run, page = (Path(folder) / name for name in ("cache.zarr", "run", "page.html"))
            make_cache(cache, clips)
            settings = ("--folds", 5, "--epochs", 1, "--batch", 64, "--hidden", 16, "--quiet")
            timed("train", "--cache", cache, "--model", "gru", "--out", run, *settings)
            timed("evaluate", run, "--quiet")
            seconds = timed("report", run, "--out", page, "--quiet")
            cells = [f"{clips:,}", f"{seconds:.1f} s", f"{page.stat().st_size / 1e6:.1f}"]
            print("| " + " | ".join([*cells, *in_browser(page, options.chromium)]) + " |", flush=True)


if __name__ == "__main__":
    main()
