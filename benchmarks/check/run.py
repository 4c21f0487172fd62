"""The ratios that the documentation states, measured again: what has fallen by more than a fifth is named, with exit status 1.

    python benchmarks/check/run.py                      # minutes on two cores without other work
    python benchmarks/check/run.py --only "est --help"
    python benchmarks/check/run.py --record             # writes docs/benchmarks.toml and the table of docs/benchmarks.md

Ratios are compared, never times; those of another kind of processor are left out. What has fallen is measured a second time before it is
said, because other work on the machine makes ratios worse, too.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from kind import kind_here
from known import FILE, PAGE, ROOT, Known, page_with, read, recorded, write

sys.path.append(str(ROOT / "benchmarks"))
from _ratios import TOLD

Measure = Callable[[str], dict[str, float]]


class BenchmarkFailed(Exception):
    """A benchmark that ended with an error."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """A stated ratio beside the one of now."""

    known: Known
    measured: float | None = None
    why: str = ""  # there is none, or only one of two

    @property
    def is_bad(self) -> bool:
        """Say whether this is an error: fallen, or not measured although it should be."""
        return self.measured is None or self.known.has_fallen(self.measured)

    def __str__(self) -> str:
        known = self.known
        if self.measured is None:
            return f"NOT MEASURED  {known.name}: {self.why}"
        worth = known.worth(self.measured)
        beside = f"{known.name}: {self.measured:.3g}, stated {known.ratio:g} ({known.better} is better)"
        if known.has_fallen(self.measured):
            again = f"; not measured again: {self.why}" if self.why else ""
            return f"FELL by {1 - worth:.0%}   {beside}; {known.command}{again}"
        return f"good          {beside}" + (f"; {worth - 1:.0%} better: --record states it" if worth > 1.25 else "")


def run_benchmark(command: str) -> dict[str, float]:
    """Run a benchmark; return the ratios that it tells."""
    words = command.split()
    settings = {}
    while "=" in words[0]:
        name, _, settings[name] = words.pop(0).partition("=")
    with tempfile.TemporaryDirectory() as folder:
        told = Path(folder) / "ratios"
        env = {**os.environ, **settings, TOLD: str(told)}
        call = [sys.executable, str(ROOT / words[0]), *words[1:]]
        done = subprocess.run(call, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["nothing said"])[-1]
            raise BenchmarkFailed(f"{command} ended with status {done.returncode}: {last}")
        lines = told.read_text(encoding="utf-8").splitlines() if told.exists() else []
    return {entry["name"]: entry["ratio"] for entry in map(json.loads, lines)}


def check(known: Sequence[Known], measure: Measure) -> Iterator[Verdict]:
    """Measure ratios again, command by command, and once more where one has fallen; the better value counts."""
    for command in dict.fromkeys(item.command for item in known):
        asked = [item for item in known if item.command == command]
        try:
            found = measure(command)
        except BenchmarkFailed as error:
            yield from (Verdict(known=item, why=str(error)) for item in asked)
            continue
        why = ""
        if any(item.name in found and item.has_fallen(found[item.name]) for item in asked):
            try:
                again = measure(command)
            except BenchmarkFailed as error:
                again, why = {}, str(error)
            better = {item.name: min if item.better == "lower" else max for item in asked}
            found |= {
                name: choose(found[name], again[name])
                for name, choose in better.items()
                if name in found and name in again
            }
        for item in asked:
            if item.name in found:
                yield Verdict(known=item, measured=found[item.name], why=why)
            else:
                yield Verdict(known=item, why=f"{command} tells no such ratio")


def main() -> None:
    """Check, or record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", metavar="NAME", help="some of the ratios")
    parser.add_argument("--record", action="store_true", help="state what is measured here in the documentation")
    arguments = parser.parse_args()
    everything, kind = read(), kind_here()
    names = {item.name for item in everything}
    if unknown := set(arguments.only or ()) - names:
        sys.exit(f"no such ratio: {', '.join(sorted(unknown))}; {FILE.name} has {', '.join(sorted(names))}")
    wanted = [item for item in everything if not arguments.only or item.name in arguments.only]
    here = [item for item in wanted if item.kind == kind]
    others = [item for item in wanted if item.name not in {known.name for known in here}]
    if arguments.record:  # of a new kind of processor, every ratio is new
        here += list({item.name: item for item in others}.values())
    else:
        for item in others:
            print(f"left out      {item.name}: stated for {item.kind}; this is {kind}")
    verdicts = []
    for verdict in check(here, run_benchmark):
        verdicts.append(verdict)
        print(verdict, flush=True)
    if arguments.record:
        found = {verdict.known.name: verdict.measured for verdict in verdicts if verdict.measured is not None}
        stated = recorded(everything, found, kind, str(datetime.date.today()))
        write(stated)
        PAGE.write_text(page_with(PAGE.read_text(encoding="utf-8"), stated), encoding="utf-8")
        print(f"recorded {len(found)} ratios of {kind} in {FILE.name} and {PAGE.name}")
        sys.exit(1 if any(verdict.measured is None for verdict in verdicts) else 0)
    if not verdicts:
        sys.exit(f"no ratio is stated for {kind}: ARGS=--record states what is measured here")
    bad = [verdict for verdict in verdicts if verdict.is_bad]
    print(f"{kind}: {len(verdicts)} ratios measured, {len(bad)} bad")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
