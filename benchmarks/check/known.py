"""The ratios that the documentation states: docs/benchmarks.toml, from which the table in docs/benchmarks.md is made.

python benchmarks/check/known.py            # writes the table again
python benchmarks/check/known.py --check    # says whether it is current
"""

from __future__ import annotations

import json
import re
import sys
import tomllib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

ROOT = Path(__file__).resolve().parents[2]
FILE, PAGE = ROOT / "docs" / "benchmarks.toml", ROOT / "docs" / "benchmarks.md"
BEGIN, END = "<!-- ratios: begin -->", "<!-- ratios: end -->"
FALL = 0.2  # of its worth, beyond which a ratio has fallen
HEAD = """# The ratios that `make bench-check` measures again; docs/benchmarks.md shows them (python benchmarks/check/known.py).
# `name` is what the benchmark calls a ratio (benchmarks/_ratios.py), `kind` the kind of processor that it was measured on.
"""


@dataclass(frozen=True, kw_only=True)
class Known:
    """A ratio as the documentation states it."""

    name: str
    what: str
    command: str  # NAME=VALUE… benchmarks/FILE.py ARGUMENT…
    ratio: float
    better: Literal["lower", "higher"]
    kind: str
    date: str

    def __post_init__(self) -> None:
        if not (self.ratio > 0 and self.better in ("lower", "higher")):
            raise ValueError(f"{self.name}: expected a ratio above 0 and better = lower or higher, found {self}")

    def worth(self, measured: float) -> float:
        """Return what a measured ratio is worth beside the stated one: 1 as much, 0.8 a fifth less."""
        if measured <= 0:
            return 0.0
        return self.ratio / measured if self.better == "lower" else measured / self.ratio

    def has_fallen(self, measured: float) -> bool:
        """Say whether it is worse by more than a fifth."""
        return self.worth(measured) < 1 - FALL


def read(path: Path = FILE) -> list[Known]:
    """Read the file."""
    found = [Known(**entry) for entry in tomllib.loads(path.read_text(encoding="utf-8")).get("ratio", [])]
    keys = [(known.name, known.kind) for known in found]
    if twice := {key for key in keys if keys.count(key) > 1}:
        raise ValueError(f"{path}: more than once: {', '.join(map(str, sorted(twice)))}")
    return found


def write(known: Sequence[Known], path: Path = FILE) -> None:
    """Write the file."""
    entries = []
    for item in known:
        fields = (f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in asdict(item).items())
        entries.append("\n[[ratio]]\n" + "\n".join(fields) + "\n")
    path.write_text(HEAD + "".join(entries), encoding="utf-8")


def recorded(known: Sequence[Known], found: dict[str, float], kind: str, date: str) -> list[Known]:
    """Return the ratios with those that were measured on a kind of processor in the place of earlier ones, or beside other kinds'."""
    result = []
    for item in known:
        is_last = item is [other for other in known if other.name == item.name][-1]
        if item.kind == kind and item.name in found:
            item = replace(item, ratio=rounded(found[item.name]), date=date)
        result.append(item)
        has_kind = any(other.name == item.name and other.kind == kind for other in known)
        if is_last and item.name in found and not has_kind:
            result.append(replace(item, ratio=rounded(found[item.name]), kind=kind, date=date))
    return result


def rounded(ratio: float) -> float:
    """Return three digits."""
    return float(f"{ratio:.3g}")


def table(known: Sequence[Known]) -> str:
    """Write the table of the page."""
    lines = ["| ratio | | better | processor | measured | command |", "|---|---|---|---|---|---|"]
    lines += [
        f"| {item.what} | {item.ratio:g} | {item.better} | {item.kind} | {item.date} | `{item.command}` |"
        for item in known
    ]
    return "\n".join(lines)


def page_with(text: str, known: Sequence[Known]) -> str:
    """Put the table between the marks of a page."""
    pattern = re.compile(f"{re.escape(BEGIN)}.*?{re.escape(END)}", re.DOTALL)
    if len(pattern.findall(text)) != 1:
        raise ValueError(f"expected {BEGIN} and {END} once each, in this order")
    return pattern.sub(lambda _: f"{BEGIN}\n\n{table(known)}\n\n{END}", text)


def main() -> None:
    """Write the table, or check it."""
    before = PAGE.read_text(encoding="utf-8")
    after = page_with(before, read())
    if "--check" in sys.argv[1:] and before != after:
        sys.exit("docs/benchmarks.md is behind docs/benchmarks.toml: python benchmarks/check/known.py")
    PAGE.write_text(after, encoding="utf-8")


if __name__ == "__main__":
    main()
