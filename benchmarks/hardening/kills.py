"""SIGKILL at random moments: whichever moment it is, what was committed is there, whole, and the same command ends as if nothing had been.

    python benchmarks/hardening/kills.py                  # 1,000 kills over all commands
    python benchmarks/hardening/kills.py --count 50 --what train,predict --seed 3

A round is one result: its command is killed once to three times, and then left to finish. After each kill the result is opened and must
be a beginning of the finished one, no smaller than after the kill before; no process may stay behind. A finished round must have the
content and the files of an undisturbed run. Ctrl-C prints what was counted so far. The exit status is 1 where something was found.
"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

import _cases
import _states
import _warm
from _cases import CASES, Case
from _machine import machine

COUNT = 1000
COMMIT_SECONDS = (0.0, 0.03, 20.0)  # between commits of a cache, of checkpoints and of a sweep's files
KILLED = [name for name in CASES if name not in ("export", "report")]


@dataclass(kw_only=True)
class Tally:
    """What was counted of one command."""

    kills: int = 0
    late: int = 0  # came when the command had ended
    nothing: int = 0  # kills that left nothing yet
    part: int = 0  # kills that left a beginning
    finished: int = 0  # rounds whose result was compared
    found: list[str] = field(default_factory=list)


def main() -> None:
    """Kill, and print what was counted."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=COUNT, help="kills in all")
    parser.add_argument("--what", default=",".join(KILLED), help="commands, with commas between them")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scratch", type=Path, help="a folder for what is written; by default one in memory")
    options = parser.parse_args()
    names = options.what.split(",")
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which who starts it in the background has it ignore
    _warm.warm_up()
    home = _cases.place(options.scratch)
    tallies = {name: Tally() for name in names}
    begun = time.monotonic()
    try:
        _cases.make_inputs(home)
        kill_all(names, options.count, random.Random(options.seed), home, tallies)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
    finally:
        shutil.rmtree(home)
    print(machine("torch", "zarr", "h5py"))
    print(table(tallies, time.monotonic() - begun))
    sys.exit(any(tally.found for tally in tallies.values()))


def kill_all(names: list[str], count: int, rng: random.Random, home: Path, tallies: dict[str, Tally]) -> None:
    """Kill one command after the other, a round each, until there were so many kills in all."""
    known = {name: _cases.undisturbed(CASES[name], home) for name in names}
    seconds = {name: took for name, (_, _, took) in known.items()}
    number = 0
    while (done := sum(tally.kills for tally in tallies.values())) < count:
        name = names[number % len(names)]
        outcome, files, _ = known[name]
        tally = tallies[name]
        seconds[name] = round_of(
            CASES[name], outcome, files, seconds[name], min(CASES[name].most_kills, count - done), rng, home, tally
        )
        number += 1
        if number % (5 * len(names)) == 0:
            print(f"{sum(tally.kills for tally in tallies.values())} kills", file=sys.stderr)


def round_of(
    case: Case,
    outcome: _states.Outcome,
    files: list[str],
    seconds: float,
    most: int,
    rng: random.Random,
    home: Path,
    tally: Tally,
) -> float:
    """Kill a command up to so many times and let it finish; return how long it takes, as far as is known now."""
    folder = _cases.fresh(home, "killed")
    left, reached = rng.randint(1, most), -1
    problems: list[str] = []
    between = rng.choice(COMMIT_SECONDS)
    while not case.is_refused(folder / case.result):
        child = _warm.begin(case.next_command(folder), folder, lambda: _before(folder, between))
        if left:
            time.sleep(rng.uniform(0, 1.1 * seconds))
            child.kill()
        ended = child.wait()
        if lost := _warm.orphans():
            problems.append(f"{lost} processes stayed behind")
        if not ended.killed:
            tally.late += bool(left)
            if ended.status:
                problems.append(f"ended with {ended.status}: {_states.sentence(ended.said)}")
            seconds += 0.2 * (ended.seconds - seconds) if not ended.status else 0
            break
        tally.kills += 1
        left -= 1
        try:
            now = _warm.ask(case.so_far, folder / case.result, outcome)
        except (AssertionError, ChildProcessError) as error:
            problems.append(f"after kill {tally.kills}: {error}")
            break
        if now < reached:
            problems.append(f"after kill {tally.kills}: {now}, which was {reached} before")
        reached = max(reached, now)
        tally.nothing += now < 0
        tally.part += now >= 0
    if not problems:
        problems += differences(case, outcome, files, folder)
        tally.finished += 1
    for problem in problems:
        print(f"{case.name}: {problem}", file=sys.stderr)
    tally.found += problems
    return seconds


def differences(case: Case, outcome: _states.Outcome, files: list[str], folder: Path) -> list[str]:
    """Say in what a finished result differs from that of an undisturbed run."""
    try:
        found = _warm.ask(case.outcome, folder / case.result)
    except (AssertionError, ChildProcessError) as error:
        return [f"cannot be read: {error}"]
    other = sorted(name for name in found.keys() | outcome.keys() if found.get(name) != outcome.get(name))
    names = _states.names_below(folder)
    strange, missing = sorted(set(names) - set(files)), sorted(set(files) - set(names))
    return [
        *([f"other content: {', '.join(other[:6])}"] if other else []),
        *([f"left behind: {', '.join(strange[:6])}"] if strange else []),
        *([f"missing: {', '.join(missing[:6])}"] if missing else []),
    ]


def _before(folder: Path, between: float) -> None:
    """Have a command commit and save so often, in its process."""
    from est.cache.writing import writer

    _cases.settle(folder)
    writer.COMMIT_SECONDS = between
    if epochs := sys.modules.get("est.train.loop.epochs"):
        epochs.SECONDS_BETWEEN_CHECKPOINTS = between


def table(tallies: dict[str, Tally], seconds: float) -> str:
    """Lay out what was counted."""
    lines = ["command        kills  nothing yet  a beginning  too late  rounds compared  found"]
    rows = [[one.kills, one.nothing, one.part, one.late, one.finished, len(one.found)] for one in tallies.values()]
    for name, row in zip([*tallies, "all"], [*rows, map(sum, zip(*rows, strict=True))], strict=True):
        cells = zip(row, (7, 13, 13, 10, 17, 7), strict=True)
        lines.append(f"{name:<12}" + "".join(f"{number:>{width}}" for number, width in cells))
    return "\n".join([*lines, f"{seconds:.0f} s"])


if __name__ == "__main__":
    main()
