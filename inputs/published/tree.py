"""Where a release lies below the root that a user gives: names in any case, in the root itself or in one folder of it."""

from __future__ import annotations

import os
from pathlib import Path

from ...errors import UsageError
from ..folders import natural_key
from ..input import unicode_text

BRANCHES = 64  # a folder with more folders than that holds clips, not parts of a release
LISTED = 8  # names that a message shows


class Tree:
    """A root, searched for the parts of one data set."""

    def __init__(self, dataset: str, root: Path) -> None:
        self.dataset = dataset
        self.root = Path(os.path.abspath(root))
        if not self.root.is_dir():
            what = "is a file" if self.root.exists() else "does not exist"
            raise UsageError(
                f"{dataset}: --root is the folder of the data set; {unicode_text(str(root))} {what}.",
                remedy="docs/datasets.md shows the tree of each",
            )

    def find(self, *patterns: str) -> Path | None:
        """Return the folder or file that the first of the patterns meets, as Clip/original; None where there is none."""
        for pattern in patterns:
            if found := below(self.root, pattern):
                return found
        for pattern in patterns:
            met = [found for folder in folders(self.root, BRANCHES) if (found := below(folder, pattern))]
            if len(met) > 1:
                shown = " and ".join(self.show(path) for path in met[:2])
                raise UsageError(
                    f"{self.dataset}: {self.root} holds {pattern} more than once ({shown}): two releases, or a copy.",
                    remedy=f"--root {self.root / met[0].relative_to(self.root).parts[0]}",
                )
            if met:
                return met[0]
        return None

    def expect(self, what: str, *patterns: str) -> Path:
        """Return what the patterns meet, or say what was looked for and what is there."""
        if found := self.find(*patterns):
            return found
        raise self.lacks(what, *patterns)

    def lacks(self, what: str, *patterns: str) -> UsageError:
        """Say that the root holds no such thing, and which folder above it does."""
        above = next((up for up in self.root.parents[:2] if any(below(up, pattern) for pattern in patterns)), None)
        remedy = "docs/datasets.md shows the tree" if above is None else f"--root {above}"
        return UsageError(
            f"{self.dataset} is not in {self.root}: looked for {what} ({' or '.join(patterns)}) there and one folder further down; "
            f"found {listing(self.root)}.",
            remedy=remedy,
        )

    def show(self, path: Path) -> str:
        """Return a path as it is told: below the root."""
        return unicode_text(path.relative_to(self.root).as_posix() if path.is_relative_to(self.root) else str(path))


def below(folder: Path, pattern: str) -> Path | None:
    """Follow the parts of a pattern down from a folder, each as it is written or in another case."""
    place = folder
    for part in pattern.split("/"):
        if not (place / part).exists():
            same = [name for name in names(place) if name.casefold() == part.casefold()]
            if not same:
                return None
            part = same[0]
        place = place / part
    return place


def names(folder: Path) -> list[str]:
    """Return the names in a folder in natural order, hidden ones left out; none where it cannot be read or is no folder."""
    try:
        found = [name for name in os.listdir(folder) if not name.startswith(".")]
    except OSError:
        return []
    return sorted(found, key=natural_key)


def folders(folder: Path, at_most: int | None = None) -> list[Path]:
    """Return the folders in a folder, in natural order; none where there are more than `at_most`."""
    found = [folder / name for name in names(folder) if (folder / name).is_dir()]
    return found if at_most is None or len(found) <= at_most else []


def listing(folder: Path) -> str:
    """Name what lies in a folder, briefly."""
    found = [unicode_text(name) for name in names(folder)]
    if not found:
        return "nothing"
    return ", ".join(found[:LISTED]) + (f" … ({len(found)} entries)" if len(found) > LISTED else "")
