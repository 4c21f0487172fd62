"""A CSV of labelled images: path and label, or path and a column for each class; perhaps split and subject.

Columns of classes hold votes or probabilities. Votes are counted and divided by their sum. Fractions claim to be probabilities: then
each line sums to 1, or it is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ...errors import UsageError
from ..csvlist import ALIASES, locate
from .stills import Stills, hard_target
from .tables import header_of, read_table

IMAGES = "image imagepath imagename imagefile picture photo"  # besides what a clip's path is called
ROUNDING = 0.02  # by which probabilities, written with few digits, may miss 1

Lines = Sequence[tuple[int, dict[str, str]]]  # of a table, with their numbers


def is_list(header: Sequence[str]) -> bool:
    """Return whether a list names images."""
    return "path" in _columns(header)


def read(path: Path) -> Stills:
    """Read the list."""
    columns = _columns(header_of(path))
    lines = list(read_table(path))

    def column(name: str) -> list[str]:
        return [cells[columns[name]] for _, cells in lines] if name in columns else []

    labels, target = _labels(column("label"), path, lines) if "label" in columns else _shares(columns, path, lines)
    return Stills(
        layout="a list",
        root=path,
        names=column("path"),
        pictures=[locate(path.parent, name) for name in column("path")],
        labels=labels,
        target=target,
        soft="label" not in columns,
        split=column("split"),
        subject=column("subject"),
    )


def _labels(found: list[str], path: Path, lines: Lines) -> tuple[tuple[str, ...], np.ndarray]:
    """Read a label for each image.  # → C names, (N, C)"""
    if empty := [number for (number, _), name in zip(lines, found, strict=True) if not name]:
        raise UsageError(
            f"{path}, line {empty[0]}: the label is empty, as in {len(empty)} of {len(lines)} lines.",
            remedy="label them, or remove the lines from the list",
        )
    labels = sorted(set(found))
    return tuple(labels), hard_target(np.array([labels.index(name) for name in found], np.int64), len(labels))


def _shares(columns: dict[str, str], path: Path, lines: Lines) -> tuple[tuple[str, ...], np.ndarray]:
    """Read a share of each class for each image.  # → C names, (N, C)"""
    header = header_of(path)
    classes = [name for name in header if name and name not in columns.values()]
    if len(classes) < 2:
        raise UsageError(
            f"{path} has neither a column label nor one for each of several classes; it has {', '.join(header)}.",
            remedy="add a column label, or votes for each class",
        )
    shares = np.array([[_share(cells[name], path, number, name) for name in classes] for number, cells in lines])
    return tuple(classes), _normalized(shares.reshape(-1, len(classes)), path, [number for number, _ in lines])


def _normalized(shares: np.ndarray, path: Path, lines: list[int]) -> np.ndarray:
    """Turn votes or probabilities into shares that sum to 1.  # (N, C)"""
    sums = shares.sum(1)
    if (none := np.flatnonzero(sums <= 0)).size:
        raise UsageError(
            f"{path}, line {lines[none[0]]}: the shares of all classes are 0, as in {len(none)} of {len(lines)} lines.",
            remedy="remove the lines of images without votes from the list",
        )
    if (shares != np.round(shares)).any():
        wrong = np.flatnonzero(np.abs(sums - 1) > ROUNDING)
        if wrong.size:
            raise UsageError(
                f"{path}, line {lines[wrong[0]]}: probabilities sum to 1, found {sums[wrong[0]]:g}, "
                f"as {len(wrong)} of {len(lines)} lines do not.",
                remedy="divide each line by its sum, or give votes as whole numbers",
            )
    return (shares / sums[:, None]).astype(np.float32)


def _share(text: str, path: Path, line: int, name: str) -> float:
    try:
        found = float(text or 0)
    except ValueError:
        found = -1.0
    if not 0 <= found < float("inf"):
        raise UsageError(
            f"{path}, line {line}: the share of {name!r} is a number from 0, found {text!r}.",
            remedy="columns beside path, split and subject are classes, where there is no column label",
        )
    return found


def _columns(header: Sequence[str]) -> dict[str, str]:
    """Return which column holds what."""
    plain = {"".join(sign for sign in name if sign.isalnum()).casefold(): name for name in header}
    found = {}
    for column in ("path", "label", "subject", "split"):
        names = f"{ALIASES[column]} {IMAGES}" if column == "path" else ALIASES[column]
        if name := next((plain[name] for name in names.split() if name in plain), None):
            found[column] = name
    return found
