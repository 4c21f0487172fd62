"""One committed state of a cache, whichever store holds it: its attributes and the segments in which its rows lie.

`x.zarr` is one segment. `x.h5` is the file, or the staging directory of its first session, or the file and a staging that continues it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import CacheDamaged, CacheError, EstError, UsageError, quoted
from ..remote.address import local_path, mirrored
from ..schema import STRING, ArraySpec
from .hdf5_format import open_hdf5
from .manifest import REPAIR, Manifest
from .segment import Segment, ZarrSegment, read_pieces
from .zarr_format import METADATA

if TYPE_CHECKING:
    from ..remote.mirror import Mirror

ZARR_SUFFIXES = (".zarr",)
HDF5_SUFFIXES = (".h5", ".hdf5")
STAGING = ".staging"
ATTEMPTS = 20

Column = np.ndarray | list[str]


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """The data of a commit."""

    path: Path
    manifest: Manifest
    segments: tuple[Segment, ...]
    mirror: Mirror | None = None  # that it is read through, where it lies at a URL

    def rows(self, spec: ArraySpec, start: int, stop: int) -> np.ndarray:
        """Read rows of a numeric array."""
        out = np.empty((stop - start, *spec.row_shape), spec.dtype)
        for segment, first, last in self._ranges(spec, start, stop):
            read_pieces(segment.pieces(spec, first, last), out[first - start : last - start], first)
        return out

    def strings(self, spec: ArraySpec, start: int, stop: int) -> list[str]:
        """Read rows of a column of strings."""
        return [
            text
            for segment, first, last in self._ranges(spec, start, stop)
            for text in segment.strings(spec, first, last)
        ]

    def column(self, spec: ArraySpec) -> Column:
        """Read a whole column of a table, with the edits that its commit carries."""
        stop = self.manifest.commit.counts.of(spec.axis)
        values: Any = self.strings(spec, 0, stop) if spec.dtype == STRING else self.rows(spec, 0, stop)
        table, name = spec.name.split("/", 1)
        for row, value in self.manifest.edits.get(table, {}).get(name, {}).items():
            values[row] = np.nan if value is None else value
        return values

    def _ranges(self, spec: ArraySpec, start: int, stop: int) -> list[tuple[Segment, int, int]]:
        """Share a range of rows out to the segments, each of which ends where the next begins."""
        found = []
        for segment in reversed(self.segments):
            first = max(start, segment.first_row(spec))
            if first < stop:
                found.append((segment, first, stop))
                stop = first
        return found[::-1]


def is_hdf5(path: Path) -> bool:
    """Tell the store by the suffix."""
    if path.suffix in HDF5_SUFFIXES:
        return True
    if path.suffix in ZARR_SUFFIXES:
        return False
    raise UsageError(f"A cache is named .zarr, .h5 or .hdf5, found {path.name!r}.", remedy=f"{path.stem}.zarr")


def find_caches(folder: Path) -> tuple[list[Path], list[Path]]:
    """List the caches below a folder, by their attributes alone; and stores of other software with such a name."""
    found = set()
    for path in folder.rglob("*"):
        inside = any(
            parent.suffix in ZARR_SUFFIXES or parent.name.endswith(STAGING)
            for parent in path.relative_to(folder).parents
        )
        if not inside and not path.name.startswith("."):
            if path.suffix in (*ZARR_SUFFIXES, *HDF5_SUFFIXES):
                found.add(path)
            elif path.name.endswith(STAGING):
                found.add(path.with_name(path.name.removesuffix(STAGING)))
    foreign = {path for path in found if _is_foreign(path)}
    return sorted(found - foreign), sorted(foreign)


def _is_foreign(path: Path) -> bool:
    """Return whether a file or folder is no cache; one that is damaged, or that cannot be read, may be one."""
    if staging_path(path).exists():
        return False
    try:
        open_snapshot(path)
    except UsageError:
        return True
    except (EstError, OSError):
        return False
    return False


def staging_path(path: Path) -> Path:
    """Return the directory in which an HDF5 cache grows."""
    return path.with_name(path.name + STAGING)


def replaced_path(path: Path) -> Path:
    """Return the name that a Zarr cache has for a moment while another state takes its place."""
    return path.with_name(f".{path.stem}.replaced{path.suffix}")


def open_snapshot(path: Path) -> Snapshot:
    """Open the last committed state of a cache; at a URL, through its mirror."""
    path = local_path(path)
    if path.suffix not in (*ZARR_SUFFIXES, *HDF5_SUFFIXES) and path.is_dir():
        named = quoted(f"{path.name}.zarr")
        raise UsageError(
            f"A cache is named .zarr, .h5 or .hdf5, found the folder {str(path)!r}.",
            remedy=f"{named}, where there is one; est extract {quoted(path)} --out {named} makes one of videos",
        )
    if not is_hdf5(path):
        if not path.exists():
            raise no_cache(path)
        mirror = mirrored(path)
        segment = ZarrSegment(path, bring=None if mirror is None else mirror.bring)
        return Snapshot(path=path, manifest=read_manifest(path), segments=(segment,), mirror=mirror)
    for _ in range(ATTEMPTS):  # between two looks a writer may fold the staging into the file
        try:
            return _open_hdf5_cache(path)
        except FileNotFoundError:
            if not path.exists() and not staging_path(path).exists():
                raise no_cache(path) from None
    raise CacheError(f"{path} keeps being replaced while it is being opened.", remedy="try again")


def no_cache(path: Path) -> UsageError:
    """Return the error that there is nothing of that name."""
    if replaced_path(path).exists():
        return UsageError(
            f"A command that rewrote {path} was interrupted: the cache is {replaced_path(path).name} now.",
            remedy=f"run that command again; or mv {quoted(replaced_path(path))} {quoted(path)}",
        )
    return UsageError(
        f"{path} does not exist.",
        remedy="est extract … --out makes a cache; est cache ls FOLDER lists those below a folder",
    )


def _open_hdf5_cache(path: Path) -> Snapshot:
    staging = staging_path(path)
    if not staging.exists():
        manifest, segment = open_hdf5(path)
        return Snapshot(path=path, manifest=manifest, segments=(segment,))
    staged = read_manifest(staging)
    if staged.staging is None:
        raise CacheDamaged(
            f"{staging} is a separate cache, not the staging folder of an HDF5 file.",
            remedy=f"rename it to {path.stem}.zarr",
        )
    if not path.exists():
        if staged.staging.commit:
            _expect_no_writer(staging, staged)
            raise CacheDamaged(
                f"{staging} holds later clips of {path}, which does not exist.",
                remedy=f"restore {path.name}, or remove both",
            )
        return Snapshot(path=path, manifest=staged, segments=(ZarrSegment(staging),))
    manifest, segment = open_hdf5(path)
    if manifest.folded == staged.commit.id:  # a killed fold that had come as far as replacing the file
        return Snapshot(path=path, manifest=manifest, segments=(segment,))
    if manifest.commit.id != staged.staging.commit:
        _expect_no_writer(staging, staged)
        raise CacheDamaged(
            f"{staging} holds later clips of another version of {path.name} than the one found.",
            remedy=f"restore the {path.name} that it belongs to, or remove {staging.name} to continue without its clips",
        )
    return Snapshot(path=path, manifest=staged, segments=(segment, ZarrSegment(staging, first_rows(staged))))


def _expect_no_writer(staging: Path, staged: Manifest) -> None:
    """Before two states are said not to match: look again where a writer has replaced the one that was read first."""
    if read_manifest(staging).commit.id != staged.commit.id:
        raise FileNotFoundError(staging)


def is_outdated(snapshot: Snapshot) -> bool:
    """Return whether rows that a snapshot counts on were edited or folded since: what was read meanwhile may be of two states."""
    then, now = snapshot.manifest, open_snapshot(snapshot.path).manifest
    places = [(manifest.folded, manifest.staging and manifest.staging.commit) for manifest in (then, now)]
    again = (
        now.commit.id != then.commit.id and now.commit.sequence <= then.commit.sequence
    )  # written again in its place
    return again or places[0] != places[1] or now.commit.edited > then.commit.sequence


def first_rows(manifest: Manifest) -> dict[str, int]:
    """Return the rows at which the arrays of a staging begin."""
    staging = manifest.staging
    if staging is None or not staging.commit:
        return {}
    return {
        name: staging.base.of(spec.axis) for name, spec in manifest.schema.arrays().items() if name not in staging.whole
    }


def read_manifest(root: Path) -> Manifest:
    """Read the attributes of a Zarr cache."""
    return Manifest.from_attributes(read_attributes(root), str(root))


def read_attributes(root: Path) -> dict[str, Any]:
    """Read the attributes of the root group of a Zarr directory."""
    try:
        document = json.loads((root / METADATA).read_bytes())
    except NotADirectoryError as error:
        raise UsageError(
            f"{root} is a file; a .zarr cache is a directory.", remedy="a .h5 cache is a file: rename it if it is one"
        ) from error
    except FileNotFoundError as error:
        if not root.exists():
            raise
        if (root / ".zgroup").exists() or (root / ".zarray").exists():
            raise UsageError(
                f"{root} is a Zarr 2 store; a cache is Zarr 3.", remedy="est extract … --out makes a cache"
            ) from error
        raise UsageError(
            f"{root} is not a cache: it has no {METADATA}.", remedy="est extract … --out makes one"
        ) from error
    except (ValueError, RecursionError) as error:
        raise CacheDamaged(f"{root / METADATA} is not JSON.", remedy=REPAIR) from error
    attributes = document.get("attributes") if isinstance(document, dict) else None
    if not isinstance(attributes, dict) or document.get("zarr_format") != 3 or document.get("node_type") != "group":
        raise UsageError(
            f"{root} is not the root group of a Zarr 3 store, so it is not a cache.",
            remedy="est extract … --out makes one",
        )
    return attributes
