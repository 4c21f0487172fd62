"""A folder or a list → the images in it, by the layout that it has."""

from __future__ import annotations

from pathlib import Path

from ...errors import UsageError
from . import affectnet, fer2013, folders, listed, rafdb
from .stills import Stills
from .tables import LIST_SUFFIXES, header_of

LAYOUTS = (
    "fer2013.csv (a column pixels), with --votes fer2013new.csv for FER+",
    "RAF-DB (list_patition_label.txt beside Image/aligned)",
    "AffectNet (images/ and annotations/*_exp.npy, or lists with subDirectory_filePath and expression)",
    "a folder for each class, perhaps below train, val and test",
    "a CSV with path and label, or path and a column for each class",
)


def find_stills(path: Path | str, *, votes: Path | str | None = None) -> Stills:
    """Find labelled images in a folder or a list, by the layout of their release: FER2013, RAF-DB, AffectNet, folders, CSV.

    `votes` are those of FER+.
    """
    path = Path(path)
    if not path.exists():
        raise UsageError(f"There are no images at {path}.", remedy="--images with a folder or a list")
    found = _of_folder(path) if path.is_dir() else _of_list(path)
    if isinstance(found, Path):
        return fer2013.read(found, Path(votes) if votes is not None else None)
    if votes is not None:
        raise UsageError(
            f"--votes are those of FER+, whose images are fer2013.csv; {path} is {found.layout}.",
            remedy="--images fer2013.csv --votes fer2013new.csv, or leave --votes out",
        )
    return found


def _of_list(path: Path) -> Stills | Path:
    """Read a list; FER2013 is returned as the path it has."""
    if path.suffix.lower() not in LIST_SUFFIXES:
        raise _unknown(path, f"a file {path.suffix or 'without a suffix'}")
    if path.name == rafdb.LIST:
        return rafdb.read(path)
    header = header_of(path)
    if "pixels" in header:
        return path
    if affectnet.is_list(header):
        return affectnet.read_lists([path])
    if listed.is_list(header):
        return listed.read(path)
    raise _unknown(path, f"a list with the columns {', '.join(header) or 'none'}")


def _of_folder(path: Path) -> Stills | Path:
    """Read a folder; FER2013 is returned as the path of its list."""
    for name in fer2013.LISTS:
        if (path / name).is_file():
            return path / name
    for place in rafdb.PLACES:
        if (path / place / rafdb.LIST).is_file():
            return rafdb.read(path / place / rafdb.LIST)
    if halves := affectnet.find_halves(path):
        return affectnet.read_halves(path, halves)
    lists = [path / name for name in affectnet.LISTS if (path / name).is_file()]
    if lists and all(affectnet.is_list(header_of(found)) for found in lists):
        return affectnet.read_lists(lists)
    found = folders.read(path)
    if found is None:
        inside = sorted(entry.name for entry in path.iterdir())
        raise _unknown(path, f"a folder with {', '.join(inside[:5]) or 'nothing'}{' …' if len(inside) > 5 else ''}")
    return found


def _unknown(path: Path, what: str) -> UsageError:
    return UsageError(
        f"{path} is not a known layout of labelled images: it is {what}. Known are {'; '.join(LAYOUTS)}.",
        remedy="write a CSV with the columns path and label, and give that",
    )
