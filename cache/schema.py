"""The arrays of a cache, versions 1 and 2: their names, types and chunks. docs/cache-format.md is the same in words.

Everything is flat over frames with an offset per clip. Features and JPEG bytes lie in large chunks, read at the disk's own speed;
tables in small ones, because each commit rewrites the last chunk of every array.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

import numpy as np

from ..errors import UsageError

FORMAT = "est-cache"
VERSION = 2  # of new caches
VERSIONS = (1, 2)  # that are read and extended

Axis = Literal["frame", "offset", "byte", "clip", "failure", "window"]

STRING = "string"
STRINGS_A_CHUNK = 1024

NO_FACE, DETECTED, INTERPOLATED = 0, 1, 2  # frames/state
NO_LABEL, NO_FOLD = -1, -1
NO_NUMBER = -(2**63)  # of an extra column of whole numbers: nothing was told
MOMENTS = ("onset", "apex", "offset")  # columns of frames of the clip
UNKNOWN = -1  # a frame index or a count that is not known


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How many bytes lie in a chunk."""

    feature_bytes: int = 4 * 2**20
    table_bytes: int = 64 * 2**10


@dataclass(frozen=True, kw_only=True)
class ArraySpec:
    """One array: `axis` says what its rows are, and so which counter of a commit is its length."""

    name: str
    dtype: str
    axis: Axis
    row_shape: tuple[int, ...] = ()
    chunk_rows: int

    @property
    def row_bytes(self) -> int:
        """Bytes of a row; strings have none."""
        return 0 if self.dtype == STRING else np.dtype(self.dtype).itemsize * math.prod(self.row_shape)


@dataclass(frozen=True, kw_only=True)
class Counts:
    """How many rows there are along each axis."""

    clips: int = 0
    frames: int = 0
    crop_bytes: int = 0
    failures: int = 0
    windows: int = 0

    def of(self, axis: Axis) -> int:
        """Return the length of an array along its axis."""
        match axis:
            case "frame":
                return self.frames
            case "offset":
                return self.frames + 1
            case "byte":
                return self.crop_bytes
            case "clip":
                return self.clips
            case "failure":
                return self.failures
            case "window":
                return self.windows


@dataclass(frozen=True, kw_only=True)
class FeatureSpec:
    """Type and shape of a frame's row in a feature array, or of a window's."""

    dtype: str
    shape: tuple[int, ...]


FRAME_COLUMNS: Mapping[str, FeatureSpec] = MappingProxyType(
    {
        "box": FeatureSpec(dtype="float32", shape=(4,)),  # x0, y0, x1, y1 in pixels of the upright frame
        "landmarks": FeatureSpec(dtype="float32", shape=(5, 2)),
        "score": FeatureSpec(dtype="float32", shape=()),
        "time": FeatureSpec(dtype="float64", shape=()),  # seconds
        "state": FeatureSpec(dtype="uint8", shape=()),
    }
)

# The order is part of the format: a row's checksum runs over its columns in this order.
CLIP_COLUMNS: Mapping[str, tuple[str, tuple[int, ...]]] = MappingProxyType(
    {
        "id": (STRING, ()),
        "path": (STRING, ()),
        "label": ("int32", ()),  # place in the attribute `labels`
        "subject": (STRING, ()),
        "split": (STRING, ()),
        "fold": ("int32", ()),
        "fps": ("float64", ()),
        "size": ("int32", (2,)),  # width, height of the upright frame
        "rotation": ("int32", ()),  # degrees clockwise that the file asks for
        "mirrored": ("uint8", ()),
        "declared": ("int64", ()),  # frames, as the file says
        "decoded": ("int64", ()),
        "first_frame": ("int64", ()),
        "source_bytes": ("int64", ()),
        "source_mtime_ns": ("int64", ()),
        "source_digest": ("uint8", (16,)),
        "start": ("int64", ()),
        "count": ("int64", ()),
        "live": ("uint8", ()),
    }
)

# Version 2 adds these behind the others, and behind them `target`, the places of windows, and the extra columns.
NEW_COLUMNS: Mapping[str, tuple[str, tuple[int, ...]]] = MappingProxyType(
    {
        "decoder": (STRING, ()),  # that read it; empty: unknown
        "decode_errors": ("int64", ()),  # packets that it could not read
        "onset": ("int64", ()),  # frames of the clip
        "apex": ("int64", ()),
        "offset": ("int64", ()),
        "tracks": ("int64", ()),  # faces in the source
        "identity_changes": ("int64", ()),
        "coverage": ("float64", ()),  # share of the frames that show a face
        "box_jitter": ("float64", ()),  # median step of the box's middle, in sides of the box; NaN without two in a row
    }
)
WINDOW_COLUMNS: Mapping[str, tuple[str, tuple[int, ...]]] = MappingProxyType(
    {"first_window": ("int64", ()), "windows": ("int64", ())}
)
WINDOW_ARRAYS: Mapping[str, FeatureSpec] = MappingProxyType(
    {
        "window_start": FeatureSpec(dtype="int64", shape=()),  # frames of the clip: from the first …
        "window_stop": FeatureSpec(dtype="int64", shape=()),  # … up to, but not including
        "window_rate": FeatureSpec(dtype="float64", shape=()),  # frames a second that it was sampled at
    }
)
EXTRA = "extra/"  # before the names of extra columns

FAILURE_COLUMNS: Mapping[str, tuple[str, tuple[int, ...]]] = MappingProxyType(
    {
        "id": (STRING, ()),
        "path": (STRING, ()),
        "stage": (STRING, ()),
        "error": (STRING, ()),
        "label": (
            "int32",
            (),
        ),  # these four as for clips: so that scores can count it as a clip that was predicted wrongly
        "subject": (STRING, ()),
        "split": (STRING, ()),
        "fold": ("int32", ()),
        "source_bytes": ("int64", ()),
        "source_mtime_ns": ("int64", ()),
        "live": ("uint8", ()),
    }
)


@dataclass(frozen=True, kw_only=True)
class ColumnSpec:
    """An extra column of the clip table: text, whole numbers, or numbers; of numbers also rows of so many."""

    dtype: Literal["string", "int64", "float64"]
    shape: tuple[int, ...] = ()
    failures: bool = field(default=False, compare=False)  # of text: the table of failures has the column, too

    def __post_init__(self) -> None:
        if self.dtype not in (STRING, "int64", "float64"):
            raise UsageError(f"An extra column is string, int64 or float64, found {self.dtype!r}.")
        if self.shape and (self.dtype != "float64" or len(self.shape) > 1 or self.shape[0] < 1):
            raise UsageError(
                f"Rows of numbers are float64 and one number long or longer, found {self.dtype} {self.shape}."
            )

    @property
    def empty(self) -> Any:
        """Return what stands where nothing was told."""
        return {STRING: "", "int64": NO_NUMBER}.get(self.dtype, np.full(self.shape, np.nan))


CHECKSUMS = "xxh3/"
ROW_CHECKSUM = CHECKSUMS + "row"


@dataclass(frozen=True, kw_only=True)
class Schema:
    """The arrays of one cache: those of every cache, its features, and crops, targets, windows, extra columns where it has them."""

    features: Mapping[str, FeatureSpec] = field(default_factory=dict)
    crops: bool = False
    num_targets: int = 0
    layout: Layout = Layout()
    version: int = VERSION
    window_features: Mapping[str, FeatureSpec] = field(default_factory=dict)
    extra: Mapping[str, ColumnSpec] = field(default_factory=dict)

    @property
    def failure_extra(self) -> list[str]:
        """Name the extra columns that failures have, too."""
        return [name for name, spec in self.extra.items() if spec.failures and spec.dtype == STRING]

    @property
    def checked(self) -> list[str]:
        """Name what has a checksum per clip; each is a column `xxh3/<name>` of the clip table."""
        return [*FRAME_COLUMNS, *self.features, *(["crops"] if self.crops else []), *self.window_arrays()]

    def frame_arrays(self) -> dict[str, ArraySpec]:
        """Return the arrays with a row per frame, by the short name that a clip uses."""
        arrays = {
            name: self._spec(f"frames/{name}", "frame", row.dtype, row.shape, large=False)
            for name, row in FRAME_COLUMNS.items()
        }
        return arrays | {name: self.feature_array(name, row) for name, row in self.features.items()}

    def feature_array(self, name: str, row: FeatureSpec) -> ArraySpec:
        """Return the array of a feature."""
        return self._spec(f"frames/{name}", "frame", row.dtype, row.shape, large=True)

    def window_arrays(self) -> dict[str, ArraySpec]:
        """Return the arrays with a row per window, by the short name that a clip uses."""
        if not self.window_features:
            return {}
        places = {
            name: self._spec(f"windows/{name.removeprefix('window_')}", "window", row.dtype, row.shape, large=False)
            for name, row in WINDOW_ARRAYS.items()
        }
        features = {
            name: self._spec(f"windows/{name}", "window", row.dtype, row.shape, large=True)
            for name, row in self.window_features.items()
        }
        return places | features

    def crop_arrays(self) -> dict[str, ArraySpec]:
        """Return the two arrays of the JPEG crops: all bytes, and where each frame's begin."""
        if not self.crops:
            return {}
        data = self._spec("crops/data", "byte", "uint8", (), large=True)
        return {"crops/data": data, "crops/offset": self._spec("crops/offset", "offset", "int64", (), large=False)}

    def clip_columns(self) -> dict[str, ArraySpec]:
        """Return the columns of the clip table, its checksums last."""
        columns = dict(CLIP_COLUMNS)
        if self.version > 1:
            columns |= NEW_COLUMNS
        if self.num_targets:
            columns["target"] = ("float32", (self.num_targets,))
        if self.window_features:
            columns |= WINDOW_COLUMNS
        columns |= {EXTRA + name: (spec.dtype, spec.shape) for name, spec in self.extra.items()}
        columns |= {CHECKSUMS + name: ("uint64", ()) for name in self.checked}
        columns[ROW_CHECKSUM] = ("uint64", ())
        return {name: self._spec(f"clips/{name}", "clip", *kind, large=False) for name, kind in columns.items()}

    def failure_columns(self) -> dict[str, ArraySpec]:
        """Return the columns of the table of failures."""
        extra = {EXTRA + name: (STRING, ()) for name in self.failure_extra}
        columns = {**FAILURE_COLUMNS, **extra, ROW_CHECKSUM: ("uint64", ())}
        return {name: self._spec(f"failures/{name}", "failure", *kind, large=False) for name, kind in columns.items()}

    def arrays(self) -> dict[str, ArraySpec]:
        """Return every array by its full name."""
        groups = (
            self.frame_arrays(),
            self.window_arrays(),
            self.crop_arrays(),
            self.clip_columns(),
            self.failure_columns(),
        )
        return {spec.name: spec for group in groups for spec in group.values()}

    def groups(self) -> list[str]:
        """Name every group below the root, parents first."""
        windows = ["windows"] if self.window_features else []
        crops = ["crops"] if self.crops else []
        extra = ["clips/extra"] if self.extra else []
        failed = ["failures/extra"] if self.failure_extra else []
        return ["frames", *windows, *crops, "clips", *extra, "clips/xxh3", "failures", *failed, "failures/xxh3"]

    def _spec(self, name: str, axis: Axis, dtype: str, row_shape: tuple[int, ...], *, large: bool) -> ArraySpec:
        if dtype == STRING:
            return ArraySpec(name=name, dtype=dtype, axis=axis, chunk_rows=STRINGS_A_CHUNK)
        row_bytes = np.dtype(dtype).itemsize * math.prod(row_shape)
        budget = self.layout.feature_bytes if large else self.layout.table_bytes
        return ArraySpec(name=name, dtype=dtype, axis=axis, row_shape=row_shape, chunk_rows=max(1, budget // row_bytes))
