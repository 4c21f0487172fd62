"""Every parser of text on mutated text: only errors of est come out of it, and each example ends.

    python benchmarks/hardening/parsers.py                       # 2,000 examples of each, minutes
    python benchmarks/hardening/parsers.py --examples 50 --only votes --seed 3

Examples are sound texts with a few changes (cells, signs, long and deep ones, other encodings, cuts, flipped bits), or any bytes.
An example that leads to another exception, to a warning, or that takes more than 5 s of CPU time is a finding: the shortest of each
place is printed, and the exit status is 1.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path += [str(ROOT / "benchmarks"), str(ROOT / "tests" / "support")]

from _file_parsers import file_parsers  # noqa: E402
from _list_parsers import list_parsers  # noqa: E402
from _machine import machine  # noqa: E402
from _option_parsers import option_parsers  # noqa: E402
from _reading import Parser, examine  # noqa: E402
from _submission_parsers import submission_parsers  # noqa: E402


def all_parsers(folder: Path) -> list[Parser]:
    """Return every parser, with the files that it needs in a folder."""
    return [
        *option_parsers(),
        *list_parsers(folder / "lists"),
        *file_parsers(folder / "files"),
        *submission_parsers(folder / "submission"),
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a line for each parser, and what was found."""
    reader = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reader.add_argument("--examples", type=int, default=2000)
    reader.add_argument("--seed", type=int, default=0)
    reader.add_argument("--only", default="", help="parsers whose name contains this")
    asked = reader.parse_args(arguments)
    print(machine("hypothesis", "numpy"))
    print(f"{asked.examples} examples of each parser (fewer of slow ones), seed {asked.seed}\n")
    print(f"{'parser':<36} {'examples':>9} {'read':>7} {'refused':>8} {'findings':>9} {'CPU s':>7}")
    total, found = 0, []
    with tempfile.TemporaryDirectory(prefix="est-parsers-") as folder:
        for parser in all_parsers(Path(folder)):
            if asked.only not in parser.name:
                continue
            begun = time.process_time()
            tally = examine(parser, asked.examples, asked.seed)
            counts, number = tally.counts, tally.counts.total()
            spent = time.process_time() - begun
            print(
                f"{parser.name:<36} {number:>9,} {counts['read']:>7,} {counts['refused']:>8,} {len(tally.findings):>9} {spent:>7.1f}",
                flush=True,
            )
            total += number
            found += [(parser.name, one) for one in tally.findings.values()]
    print(f"\n{total:,} examples, {len(found)} findings")
    for name, one in found:
        print(f"  {name}: {one}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
