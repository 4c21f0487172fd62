"""A disk that fails: every change of a file that a command makes is answered with an error once, in one run of the command each.

    python benchmarks/hardening/faults.py                                 # every change of every command
    python benchmarks/hardening/faults.py --what train,export --every 5   # every fifth

The errors take turns: no space left, input/output error, permission denied; and so does whether the fault passes or lasts until the
command ends. The command must end with a sentence and its remedy and a status other than 0, or, where the change did not matter, with
the same result as always. What is left must be a beginning of the finished result; run again on a sound disk, the command must end with
the content and the files of an undisturbed run. The exit status is 1 where something was found.
"""

from __future__ import annotations

import argparse
import errno
import re
import shutil
import signal
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

import _cases
import _states
import _syscalls
import _warm
from _cases import CASES, Case
from _machine import machine
from _syscalls import Fault
from kills import differences

ERRORS = (errno.ENOSPC, errno.EIO, errno.EACCES)
FAILED, USAGE, PARTLY = 1, 2, 3  # exit statuses


@dataclass(kw_only=True)
class Tally:
    """What was counted of one command."""

    changes: int = 0  # that an undisturbed run makes
    faults: int = 0
    told: int = 0  # a sentence, a remedy and a status other than 0
    harmless: int = 0  # the usual result all the same
    found: list[str] = field(default_factory=list)


def main() -> None:
    """Let changes fail, and print what was counted."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--what", default=",".join(CASES), help="commands, with commas between them")
    parser.add_argument("--every", type=int, default=1, help="every N-th change only")
    parser.add_argument("--first", type=int, default=1, help="the first change that fails")
    parser.add_argument("--sentences", action="store_true", help="print what the commands said, and how often")
    parser.add_argument("--scratch", type=Path, help="a folder for what is written; by default one in memory")
    options = parser.parse_args()
    _syscalls.expect_possible()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    _warm.warm_up()
    home = _cases.place(options.scratch)
    tallies = {name: Tally() for name in options.what.split(",")}
    said: Counter[str] = Counter()
    begun = time.monotonic()
    try:
        _cases.make_inputs(home)
        for name, tally in tallies.items():
            fail_everywhere(CASES[name], options.first, options.every, home, tally, said)
            print(f"{name}: {tally.faults} faults", file=sys.stderr)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
    finally:
        shutil.rmtree(home)
    if options.sentences:
        for text, times in sorted(said.items()):
            print(f"{times:>5}  {text}")
    print(machine("torch", "zarr", "h5py"))
    print(table(tallies, time.monotonic() - begun))
    sys.exit(any(tally.found for tally in tallies.values()))


def fail_everywhere(case: Case, first: int, every: int, home: Path, tally: Tally, said: Counter[str]) -> None:
    """Let one change after the other fail."""
    outcome, files, _ = _cases.undisturbed(case, home)
    folder = _cases.fresh(home, "counted")
    counting = Fault()
    ended = _syscalls.run(case.next_command(folder), folder, counting, lambda: _cases.settle(folder))
    assert ended.status == 0, f"{case.name} ended with {ended.status}:\n{ended.said}"
    tally.changes = len(counting.seen)
    for turn, at in enumerate(range(first, tally.changes + 1, every)):
        fault = Fault(at=at, number=ERRORS[turn % len(ERRORS)], lasting=bool(turn // len(ERRORS) % 2))
        problems = fail_once(case, fault, outcome, files, home, tally, said)
        where = fault.seen[at - 1] if at <= len(fault.seen) else "a change that did not come"
        how = f"{errno.errorcode[fault.number]}{' from then on' * fault.lasting} at {where} ({at})"
        for problem in problems:
            print(f"{case.name}: {how}: {problem}", file=sys.stderr)
        tally.found += [f"{how}: {problem}" for problem in problems]
        tally.faults += 1


def fail_once(
    case: Case, fault: Fault, outcome: _states.Outcome, files: list[str], home: Path, tally: Tally, said: Counter[str]
) -> list[str]:
    """Run a command with a fault, look at what it left, and let it finish; return what is wrong."""
    folder = _cases.fresh(home, "failing")
    ended = _syscalls.run(case.next_command(folder), folder, fault, lambda: _cases.settle(folder))
    problems = [f"{lost} processes stayed behind"] if (lost := _warm.orphans()) else []
    if ended.status == 0:
        tally.harmless += 1
        return problems + _but_for_leftovers(fault, differences(case, outcome, files, folder))
    text = _states.sentence(ended.said)
    said[text] += 1
    if ended.status not in (FAILED, USAGE, PARTLY) or "Traceback" in ended.said:
        problems.append(f"ended with {ended.status}: {text}\n{ended.said[-600:]}")
    elif ended.status != PARTLY and not ("Error:" in text and "try:" in text):
        problems.append(f"no remedy: {text}")
    else:
        tally.told += 1
    if remedy := re.search(r"try: rm -r '([^']+)'", ended.said):
        shutil.rmtree(folder / remedy[1])
    try:
        _warm.ask(case.so_far, folder / case.result, outcome)
    except (AssertionError, ChildProcessError) as error:
        problems.append(f"what is left: {error}")
    if ended.status == PARTLY or not case.is_refused(folder / case.result):
        again = [*case.next_command(folder), *(["--overwrite"] if case.is_replaced(folder / case.result) else [])]
        ended = _warm.run(again, folder, lambda: _cases.settle(folder))
        if ended.status:
            problems.append(f"run again it ended with {ended.status}: {_states.sentence(ended.said)}")
            return problems
        return problems + differences(case, outcome, files, folder)
    return problems + _but_for_leftovers(fault, differences(case, outcome, files, folder))


def _but_for_leftovers(fault: Fault, found: list[str]) -> list[str]:
    """Leave out that files stay which could not be removed: on a disk that fails until the end, the result is there and they are too."""
    return [one for one in found if not (fault.lasting and one.startswith("left behind"))]


def table(tallies: dict[str, Tally], seconds: float) -> str:
    """Lay out what was counted."""
    lines = ["command       changes  faults  told of  harmless  found"]
    rows = [[one.changes, one.faults, one.told, one.harmless, len(one.found)] for one in tallies.values()]
    for name, row in zip([*tallies, "all"], [*rows, map(sum, zip(*rows, strict=True))], strict=True):
        cells = zip(row, (9, 8, 9, 10, 7), strict=True)
        lines.append(f"{name:<12}" + "".join(f"{number:>{width}}" for number, width in cells))
    return "\n".join([*lines, f"{seconds:.0f} s"])


if __name__ == "__main__":
    main()
