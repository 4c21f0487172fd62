"""CPU time of `est --help` beside `python -c 'import typer'`, in pairs. Goal: at most twice as much."""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys

from _machine import machine
from _ratios import tell

PAIRS = 15
COMMANDS = {
    "import typer": [sys.executable, "-c", "import typer"],
    "est --help": [sys.executable, "-m", "est", "--help"],
    "est demo render --help": [sys.executable, "-m", "est", "demo", "render", "--help"],
}


def cpu_seconds(command: list[str]) -> float:
    """Run a command and return the user and system time it took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def main() -> None:
    print(machine("typer"))
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(PAIRS + 1):  # in turns, so that a drift of the machine hits all alike; the first round warms up
        for name, command in COMMANDS.items():
            times[name].append(cpu_seconds(command))
    base = times["import typer"][1:]
    print(f"{'command':<24} {'median ms':>9} {'ratio':>6}")
    for name, values in times.items():
        ratio = statistics.median(a / b for a, b in zip(values[1:], base, strict=True))
        print(f"{name:<24} {statistics.median(values[1:]) * 1000:>9.0f} {ratio:>6.2f}")
        tell(name, ratio)


if __name__ == "__main__":
    main()
