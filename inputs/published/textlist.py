"""Lists as releases write them: a clip a line, the label behind its name; with a header or without, in any encoding.

Lines end where a newline is, and nowhere else: what is read as Latin-1 may hold bytes that Python would also break lines at.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...errors import UsageError
from ..csvlist import read_text
from .base import known_label

HEADERS = frozenset(
    (
        "video_name",
        "name",
        "clip",
        "path",
        "file",
        "filename",
        "folder",
        "label",
        "emotion",
        "class",
        "expression",
        "category",
    )
)


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line of a list."""

    number: int
    name: str
    label: str


def lines_of(path: Path) -> list[tuple[int, str]]:
    """Return the lines of a list that hold something, with their numbers."""
    lines = enumerate(read_text(path).split("\n"), start=1)
    return [(number, line.strip("\r ")) for number, line in lines if line.strip()]


def read_lines(path: Path, is_label: Callable[[str], bool]) -> tuple[list[Line], bool]:
    """Return name and label of each line, further cells left aside, and whether the list has a header."""
    found = []
    for number, text in lines_of(path):
        cells = _cells(text)
        if len(cells) < 2:
            raise UsageError(
                f"{path}, line {number}: expected a name and a label, found {text[:60]!a}.",
                remedy="take the list as it was released, or look whether the file was cut off",
            )
        found.append(Line(number=number, name=cells[0], label=cells[1]))
    if not found:
        raise UsageError(f"{path}: the list is empty.", remedy="copy it again from the release")
    has_header = not is_label(found[0].label) and {found[0].name.casefold(), found[0].label.casefold()} <= HEADERS
    return found[has_header:], has_header


def named_labels(lines: Sequence[Line], labels: tuple[str, ...], path: Path, dataset: str) -> list[str]:
    """Return the label of each line, or say which name is none of the data set's."""
    found = []
    for line in lines:
        label = known_label(line.label, labels)
        if label is None:
            raise UsageError(
                f"{path}, line {line.number}: {line.label!r} is no label of {dataset}, which has {', '.join(labels)}.",
                remedy="take the single-label list of the release itself"
                if "_" in line.label
                else "take the list of the release itself",
            )
        found.append(label)
    return found


def numbered_labels(lines: Sequence[Line], labels: tuple[str, ...], path: Path, dataset: str) -> list[str]:
    """Return the label of each line by its number from 1; a list that counts from 0 is refused: it would name every class wrongly."""
    numbers = []
    for line in lines:
        if not is_number(line.label):
            raise UsageError(
                f"{path}, line {line.number}: {dataset} numbers its labels from 1 to {len(labels)}, found {line.label!r}.",
                remedy="take the list of the release itself",
            )
        numbers.append(int(line.label))
    meaning = ", ".join(f"{number} {name}" for number, name in enumerate(labels, start=1))
    if 0 in numbers:
        raise UsageError(
            f"{path}: its labels go from 0 to {max(numbers)} under the header of the official list, whose labels go from 1 to "
            f"{len(labels)} ({meaning}): it is a copy that counts from 0, and every class would be read as its neighbour.",
            remedy="take the list of the release, or add 1 to every label of this one",
        )
    for line, number in zip(lines, numbers, strict=True):
        if number > len(labels):
            raise UsageError(
                f"{path}, line {line.number}: the label {number} is none of {dataset} ({meaning}).",
                remedy="take the list of the release itself",
            )
    return [labels[number - 1] for number in numbers]


def numbers_named(numbers: Sequence[int], names: tuple[str, ...], where: str) -> list[str]:
    """Return the name of each number, counted from 0 or from 1 as the numbers themselves show; refused where they do not."""
    low, high, count = min(numbers), max(numbers), len(names)
    if low < 0 or high > count or (low == 0 and high == count):
        raise UsageError(
            f"{where}: the labels go from {low} to {high}, and --label-names gives {count} names.",
            remedy="name every class, in the order of the numbers"
            if high - low + 1 > count
            else "use lists of one release",
        )
    if low > 0 and high < count:
        raise UsageError(
            f"{where}: the labels go from {low} to {high}; {count} names may count from 0 to {count - 1} or from 1 to {count}.",
            remedy="write names in place of the numbers on the list, or give all lists at once",
        )
    first = 0 if low == 0 else 1
    return [names[number - first] for number in numbers]


def is_number(text: str) -> bool:
    """Return whether a label is a whole number from 0."""
    return text.isascii() and text.isdecimal()


def _cells(text: str) -> list[str]:
    """Split a line: at tabs where there are any, at commas where one ends the first word (captions have some too), else at blanks."""
    delimiter = "\t" if "\t" in text else "," if "," in text.split()[0] else None
    return [cell.strip().strip('"') for cell in text.split(delimiter)]
