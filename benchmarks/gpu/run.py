"""Everything that is to be measured on a GPU, in one run of at most 8 minutes without a network, the most valuable rows first.

    python benchmarks/gpu/run.py                         # on the GPU that torch sees, into bench-gpu/
    python benchmarks/gpu/run.py --dry-device cpu        # the same code with small sizes: does it run?
    python benchmarks/gpu/run.py --wheels .gpu-wheels    # takes what this machine lacks from a folder of wheels (wheels.py collects it)

The table is written after every row, gpu.json and gpu.md: an interruption loses nothing. A row has a budget of seconds; one that fails or
takes longer is a row that says why, and the next is measured. `table.py gpu.json --into docs/benchmarks.md` lets the page take it over.
This script needs nothing but Python; the rows run in processes of their own, in which est is this folder, wherever it lies.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from plan import LIMIT, PLAN, START, Planned
from process import Ended, MeasuringProcess
from table import Row, Table, row_of
from wheels import install, lacking_modules, lacking_wheels

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
LEAST = 5  # seconds that must be left for a row to begin
PATIENCE = 4  # budgets of a dry run: the machine may be busy, and nothing is measured


def environment_for(links: Path, packages: Path, dry: str) -> dict[str, str]:
    """Return the environment of the processes: est is this folder, then come the packages that were brought."""
    (links / "est").symlink_to(ROOT)
    paths = [links, packages, *filter(None, [os.environ.get("PYTHONPATH")])]
    found = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths)), "PYTHONUNBUFFERED": "1"}
    return found | {"CUDA_VISIBLE_DEVICES": ""} if dry == "cpu" else found


def rows_of(
    planned: tuple[Planned, ...], words: list[str], env: dict[str, str], log: Path, until: float, patience: int
) -> Iterator[Row]:
    """Measure rows, group by group; a process that was stopped is followed by another for the rest of its group."""
    for group, members in groupby(planned, key=lambda row: row.group):
        left = list(members)
        while left:
            if until - time.monotonic() < LEAST:
                yield from (row_of(row, {"left_out": "the time of the whole run was over"}) for row in left)
                break
            process = MeasuringProcess(
                [sys.executable, str(HERE / "worker.py"), group, *words, *(r.name for r in left)], env, log
            )
            try:
                while left:
                    row = left.pop(0)
                    budget = patience * (row.seconds + (START if process.is_new else 0))
                    budget = min(budget, until - time.monotonic())
                    ended = process.wait_for(row.name, budget)
                    yield row_of(row, ended.fields)
                    if not ended.goes_on:
                        break
            finally:
                process.end()


def describe(env: dict[str, str], log: Path, dry: str) -> dict[str, object]:
    """Ask a process what machine this is; what cannot be told is a question mark."""
    process = MeasuringProcess([sys.executable, str(HERE / "machine.py")], env, log)
    try:
        ended: Ended = process.wait_for("machine", 2 * START)
    finally:
        process.end()
    unknown = dict.fromkeys(("card", "driver", "cuda", "torch", "python", "cores", "date", "commit"), "?")
    found = unknown | ended.fields
    if "failed" in ended.fields:
        sys.exit(f"torch cannot be asked what this machine is: {ended.fields['failed']}. The whole output: {log}")
    if not found.pop("has_gpu") and dry != "cpu":
        sys.exit("torch sees no GPU here. Check nvidia-smi, or try everything on a processor: --dry-device cpu")
    return {key: value for key, value in found.items() if key in unknown}


def main() -> None:
    """Run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--dry-device",
        default="",
        choices=("cpu", "cuda"),
        help="small sizes on this device: nothing is measured",
    )
    parser.add_argument("--wheels", type=Path, help="take from this folder what the machine lacks")
    parser.add_argument("--out", type=Path, default=ROOT / "bench-gpu", help="for gpu.json, gpu.md and log.txt")
    parser.add_argument("--limit", type=float, default=LIMIT, help="seconds of the whole run")
    parser.add_argument("--rows", nargs="*", metavar="GROUP[.NAME]", help="some of the rows")
    arguments = parser.parse_args()
    planned = chosen(arguments.rows)
    until, dry = time.monotonic() + arguments.limit, arguments.dry_device
    arguments.out.mkdir(parents=True, exist_ok=True)
    log = arguments.out / "log.txt"
    log.write_text("")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that processes and temporary folders go
    made = Path(tempfile.mkdtemp(prefix="est-gpu-"))
    try:
        links, packages, work = (made / name for name in ("links", "packages", "work"))
        for folder in (links, packages, work):
            folder.mkdir()
        taken, refused = [], []
        if arguments.wheels:
            taken, refused = install(lacking_wheels(arguments.wheels, sys.executable), packages, sys.executable)
        env = environment_for(links, packages, dry)
        lacking = lacking_modules(sys.executable, packages)
        for line in (*(f"taken: {name}" for name in taken), *(f"not taken: {text}" for text in refused)):
            print(line)
        if lacking:
            print(f"not installed: {', '.join(lacking)} (make gpu-wheels collects what is small, --wheels takes it)")
        table = Table(machine=describe(env, log, dry), dry=dry, taken=taken, lacking=lacking)
        words = [dry or "cuda", "DRY" if dry else "GPU", str(work)]
        table.save(arguments.out)
        for row in rows_of(planned, words, env, log, until, PATIENCE if dry else 1):
            table.rows.append(row)
            table.save(arguments.out)
            print(f"{row.seconds:6.1f} s  {row.title}: {row.text or row.failed or row.left_out}", flush=True)
    finally:
        shutil.rmtree(made, ignore_errors=True)
    failed = [row for row in table.rows if row.failed]
    print(f"{len(table.rows)} rows, {len(failed)} failed: {arguments.out / 'gpu.md'}")
    sys.exit(1 if failed else 0)


def chosen(names: list[str] | None) -> tuple[Planned, ...]:
    """Return the rows that were asked for: all, those of groups, or single ones."""
    if not names:
        return PLAN
    known = {name for row in PLAN for name in (row.group, f"{row.group}.{row.name}")}
    if unknown := [name for name in names if name not in known]:
        sys.exit(f"no such row: {', '.join(unknown)}; there are {', '.join(f'{row.group}.{row.name}' for row in PLAN)}")
    return tuple(row for row in PLAN if row.group in names or f"{row.group}.{row.name}" in names)


if __name__ == "__main__":
    main()
