"""What is added to a cache: a clip with a row per delivered frame, or the record of an input that gave none.

Everything is checked before a byte is written; a message names the clip and, where it can, the frame.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import CacheDamaged, CacheError
from . import checksum
from .quality import box_jitter, coverage
from .remote.address import repair_of
from .schema import (
    EXTRA,
    FRAME_COLUMNS,
    INTERPOLATED,
    MOMENTS,
    NEW_COLUMNS,
    NO_FACE,
    NO_FOLD,
    NO_LABEL,
    STRING,
    UNKNOWN,
    WINDOW_ARRAYS,
    ArraySpec,
    ColumnSpec,
    FeatureSpec,
    Schema,
)

# what a rerun with other annotations changes
UPDATED = ("label", "subject", "split", "fold", "path", "target", *MOMENTS)
UNSHOWN = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")  # control characters and half characters
KINDS = {"f": "fiu", "i": "iub", "u": "iub"}  # of numbers that a column of floats, integers or counts takes


@dataclass(frozen=True, kw_only=True)
class Source:
    """The file or folder that a clip came from; unchanged size and time mean an unchanged source."""

    num_bytes: int = 0
    mtime_ns: int = 0
    digest: bytes = bytes(16)  # XXH3-128 of the content; zeros when it was not computed


@dataclass(frozen=True, kw_only=True, eq=False)
class Windows:
    """The windows of a clip: which of its frames each covers, and its row of each feature."""

    start: np.ndarray  # (windows,) frames of the clip
    stop: np.ndarray  # (windows,)
    rate: np.ndarray  # (windows,) frames a second that were looked at
    features: Mapping[str, np.ndarray]  # (windows, *shape)


@dataclass(frozen=True, kw_only=True, eq=False)
class Clip:
    """One clip: its annotations, its source and its rows. `features` holds every array of the recipes, (frames, *shape)."""

    id: str
    path: str = ""
    label: str | None = None
    target: Sequence[float] | None = None
    subject: str = ""
    split: str = ""
    fold: int = NO_FOLD
    fps: float = 0.0
    size: tuple[int, int] = (0, 0)
    rotation: int = 0
    mirrored: bool = False
    declared: int | None = None  # frames as the file says; as many as decoded when left out
    first_frame: int = 0
    source: Source = field(default_factory=Source)
    state: np.ndarray  # (frames,)
    time: np.ndarray
    box: np.ndarray  # (frames, 4)
    landmarks: np.ndarray  # (frames, 5, 2)
    score: np.ndarray
    features: Mapping[str, np.ndarray]
    crops: Sequence[bytes] | None = None  # a JPEG per frame, empty where there is no face
    decoder: str = ""
    decode_errors: int = UNKNOWN
    onset: int = UNKNOWN  # frames of the clip
    apex: int = UNKNOWN
    offset: int = UNKNOWN
    tracks: int = UNKNOWN  # faces in the source
    identity_changes: int = UNKNOWN
    extra: Mapping[str, Any] = field(default_factory=dict)  # of the cache's extra columns; others stay empty
    windows: Windows | None = None  # where the cache has features of windows

    @property
    def num_frames(self) -> int:
        """Count the rows."""
        return len(self.state)


@dataclass(frozen=True, kw_only=True)
class Failure:
    """An input that could not be extracted, and why; with its annotations, so that scores count it as an error."""

    id: str
    path: str
    stage: str
    error: str
    label: str | None = None
    subject: str = ""
    split: str = ""
    fold: int = NO_FOLD
    source: Source = field(default_factory=Source)
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)  # of the extra columns that failures have

    def __post_init__(self) -> None:
        """Escape what no store and no terminal should be given of a reason: it may quote bytes of a damaged file."""
        if isinstance(self.error, str) and UNSHOWN.search(self.error):
            object.__setattr__(self, "error", UNSHOWN.sub(lambda sign: ascii(sign[0])[1:-1], self.error))


def checked_rows(clip: Clip, schema: Schema) -> dict[str, np.ndarray]:
    """Return a clip's arrays in the types of the schema, or say what is wrong with them."""
    who = f"Clip {clip.id!r}"
    expect_text(who, id=clip.id, path=clip.path, subject=clip.subject, split=clip.split)
    expect_label(who, clip.label)
    if not clip.id:
        raise CacheError("Expected a clip id, found an empty one.")
    found = {**{name: getattr(clip, name) for name in FRAME_COLUMNS}, **clip.features}
    wanted = {**FRAME_COLUMNS, **schema.features}
    if found.keys() != wanted.keys():
        raise CacheError(f"{who} has the arrays {sorted(found)}, expected {sorted(wanted)}.")
    rows = {name: typed_rows(found[name], wanted[name], clip.num_frames, f"{who}, {name}") for name in wanted}
    _expect_values(rows, schema, who)
    if (clip.crops is not None) != schema.crops:
        raise CacheError(
            f"{who} comes {'without' if schema.crops else 'with'} crops, and the cache is made {'with' if schema.crops else 'without'}."
        )
    if clip.crops is not None and len(clip.crops) != clip.num_frames:
        raise CacheError(f"{who} has {len(clip.crops)} crops for {clip.num_frames} frames.")
    if (
        clip.crops is not None
        and (wrong := np.flatnonzero([bool(c) for c in clip.crops] != (rows["state"] != NO_FACE))).size
    ):
        raise CacheError(f"{who}: frame {wrong[0]} has a face without a crop, or a crop without a face.")
    target_row(clip.target, schema.num_targets, who)
    if clip.declared is not None and clip.declared < 0:
        raise CacheError(f"{who}: expected a number of declared frames from 0, found {clip.declared}.")
    if unknown := sorted(clip.extra.keys() - schema.extra.keys()):
        raise CacheError(
            f"{who} has the extra columns {', '.join(unknown)}; the cache has {', '.join(schema.extra) or 'none'}.",
            remedy="declare them when the cache is made: columns=",
        )
    expect_text(who, decoder=clip.decoder)
    for name in MOMENTS:
        expect_moment(getattr(clip, name), clip.num_frames, f"{who}, {name}")
    return rows | _window_rows(clip, schema, who)


def _window_rows(clip: Clip, schema: Schema, who: str) -> dict[str, np.ndarray]:
    """Return the rows of a clip's windows, or say what is wrong with them."""
    if (clip.windows is not None) != bool(schema.window_features):
        have = "with" if clip.windows is not None else "without"
        raise CacheError(
            f"{who} comes {have} windows, and the cache has the window features {sorted(schema.window_features)}."
        )
    if clip.windows is None:
        return {}
    windows = clip.windows
    found = {
        "window_start": windows.start,
        "window_stop": windows.stop,
        "window_rate": windows.rate,
        **windows.features,
    }
    wanted = {**WINDOW_ARRAYS, **schema.window_features}
    if found.keys() != wanted.keys():
        raise CacheError(
            f"{who} has the window features {sorted(windows.features)}, expected {sorted(schema.window_features)}."
        )
    rows = {name: typed_rows(found[name], wanted[name], len(windows.start), f"{who}, {name}") for name in wanted}
    start, stop = rows["window_start"], rows["window_stop"]
    if ((start < 0) | (stop <= start) | (stop > clip.num_frames)).any():
        raise CacheError(
            f"{who}: a window covers frames of the clip, from the first up to, but not including, the last one."
        )
    for name in ("window_rate", *schema.window_features):
        expect_finite(rows[name], f"{who}, {name}")
    return rows


def clip_row(clip: Clip, columns: Mapping[str, ArraySpec], *, start: int, first_window: int = 0) -> dict[str, Any]:
    """Return a clip's row of the table, its label and its checksums left to the writer."""
    row: dict[str, Any] = {
        "id": clip.id,
        "path": clip.path,
        "label": NO_LABEL,
        "subject": clip.subject,
        "split": clip.split,
        "fold": clip.fold,
        "fps": clip.fps,
        "size": clip.size,
        "rotation": clip.rotation,
        "mirrored": clip.mirrored,
        "declared": clip.num_frames if clip.declared is None else clip.declared,
        "decoded": clip.num_frames,
        "first_frame": clip.first_frame,
        "source_bytes": clip.source.num_bytes,
        "source_mtime_ns": clip.source.mtime_ns,
        "source_digest": np.frombuffer(clip.source.digest, np.uint8),
        "start": start,
        "count": clip.num_frames,
        "live": 1,
    }
    if "target" in columns:
        row["target"] = target_row(clip.target, columns["target"].row_shape[0], f"Clip {clip.id!r}")
    if "decoder" in columns:
        row |= {name: getattr(clip, name) for name in NEW_COLUMNS if hasattr(clip, name)}
        row |= {"coverage": coverage(clip.state), "box_jitter": box_jitter(clip.box, clip.state)}
    if "windows" in columns:
        row |= {"first_window": first_window, "windows": 0 if clip.windows is None else len(clip.windows.start)}
    row |= {name: clip.extra.get(name.removeprefix(EXTRA)) for name in columns if name.startswith(EXTRA)}
    return {name: typed_value(value, columns[name], f"Clip {clip.id!r}, {name}") for name, value in row.items()}


def crop_rows(crops: Sequence[bytes], first: int) -> tuple[dict[str, np.ndarray], int]:
    """Return a clip's rows of the arrays of crops, of which `first` is the next free byte, and their checksum."""
    data = np.frombuffer(b"".join(crops), np.uint8)
    offsets = first + np.cumsum([0, *map(len, crops)], dtype=np.int64)
    return {"crops/data": data, "crops/offset": offsets[1:]}, checksum.of_crops(data, offsets)


def failure_row(failure: Failure, schema: Schema) -> dict[str, Any]:
    """Return a failure's row of the table, its label and its checksum left to the writer."""
    who = f"Failure {failure.id!r}"
    texts = {name: getattr(failure, name) for name in ("id", "path", "stage", "error", "subject", "split")}
    expect_text(who, **texts)
    expect_label(who, failure.label)
    if not failure.id:
        raise CacheError("Expected the id of an input that failed, found an empty one.")
    row: dict[str, Any] = {
        **texts,
        "label": NO_LABEL,
        "fold": failure.fold,
        "source_bytes": failure.source.num_bytes,
        "source_mtime_ns": failure.source.mtime_ns,
        "live": 1,
    }
    row |= {EXTRA + name: failure.extra.get(name) for name in schema.failure_extra}
    columns = schema.failure_columns()
    return {name: typed_value(value, columns[name], f"{who}, {name}") for name, value in row.items()}


def failure_of(row: Mapping[str, Any], labels: Sequence[str], path: Path) -> Failure:
    """Return the failure that a row of the table records."""
    code = int(row["label"])
    if not NO_LABEL <= code < len(labels):
        raise CacheDamaged(
            f"{path}: the label of the failure {row['id']!r} is number {code} of {len(labels)}.",
            remedy=repair_of(path),
        )
    return Failure(
        **{name: row[name] for name in ("id", "path", "stage", "error", "subject", "split")},
        label=None if code == NO_LABEL else labels[code],
        fold=int(row["fold"]),
        source=Source(num_bytes=int(row["source_bytes"]), mtime_ns=int(row["source_mtime_ns"])),
        extra={name.removeprefix(EXTRA): value for name, value in row.items() if name.startswith(EXTRA) and value},
    )


def typed_update(who: str, name: str, value: Any, columns: Mapping[str, ArraySpec], num_frames: int) -> Any:
    """Return a new value of a clip or a failure in the type of its column, a label still by its name."""
    if name not in columns or not (name in UPDATED or name.startswith(EXTRA)):
        why = "it belongs to the extraction"
        if name == "target" or name.startswith(EXTRA):
            why = "the cache has no such column"
        elif name in UPDATED:
            why = "failures, and caches of format 1, have no such column"
        raise CacheError(f"{who}: its {name} cannot be updated: {why}.")
    if name == "target":
        return target_row(value, columns[name].row_shape[0], who)
    if name == "label":
        expect_label(who, value)
        return value
    if name in MOMENTS:
        expect_moment(value, num_frames, f"{who}, {name}")
    if columns[name].dtype == STRING and not (value is None and name.startswith(EXTRA)):
        expect_text(who, **{name: value})
    return typed_value(value, columns[name], f"{who}, {name}")


def typed_value(value: Any, spec: ArraySpec, who: str) -> Any:
    """Return one cell of a table in the type of its column, or say that it does not fit."""
    if f"/{EXTRA}" in spec.name and value is None:
        return ColumnSpec(dtype=spec.dtype, shape=spec.row_shape).empty  # ty: ignore[invalid-argument-type]
    if spec.dtype == STRING:
        expect_text(who, value=value)
        return value
    found, dtype = np.asarray(value), np.dtype(spec.dtype)
    if found.shape == spec.row_shape and found.dtype.kind in KINDS[dtype.kind]:
        typed = found.astype(dtype)
        if spec.name.startswith(f"clips/{EXTRA}") and dtype.kind == "f" and np.isinf(typed).any():
            raise CacheError(f"{who}: expected finite numbers, found {value!r}.")
        if dtype.kind == "f" or np.array_equal(typed, found):
            return typed
    shape = f" of shape {spec.row_shape}" if spec.row_shape else ""
    raise CacheError(f"{who}: expected {dtype}{shape}, found {value!r}.")


def target_row(target: Sequence[float] | None, num_targets: int, who: str) -> np.ndarray:
    """Return a clip's target as it is stored; NaN where it has none."""
    if target is None:
        return np.full(num_targets, np.nan, np.float32)
    with np.errstate(over="ignore"):
        row = np.asarray(target, np.float32)
    if row.shape != (num_targets,) or not np.isfinite(row).all():
        raise CacheError(f"{who}: a target here has {num_targets} finite numbers, found {list(target)}.")
    return row


def typed_rows(rows: np.ndarray, spec: FeatureSpec, num_frames: int, who: str) -> np.ndarray:
    """Return rows in the type of their array; only float32 is narrowed to float16, and only where it fits."""
    rows = np.asarray(rows)
    expected = (num_frames, *spec.shape)
    if rows.shape != expected:
        raise CacheError(f"{who}: expected shape {expected}, found {rows.shape}.")
    dtype = np.dtype(spec.dtype)
    if rows.dtype == dtype:
        return rows
    if rows.dtype.kind != dtype.kind:
        raise CacheError(f"{who}: expected {dtype}, found {rows.dtype}.")
    with np.errstate(over="ignore"):
        typed = rows.astype(dtype)
    if dtype.kind == "u" and not np.array_equal(typed, rows):
        raise CacheError(f"{who}: expected {dtype}, found numbers up to {rows.max()}.")
    return typed


def expect_finite(rows: np.ndarray, who: str) -> None:
    """Refuse NaN and infinity, naming the frame; in float16 that is also what was too large to be narrowed."""
    if rows.dtype == np.float16:
        wrong = (np.ascontiguousarray(rows).view(np.uint16) & 0x7C00) == 0x7C00  # all bits of the exponent set
    else:
        wrong = ~np.isfinite(rows)
    if wrong.any():
        frame = int(np.flatnonzero(wrong.reshape(len(rows), -1).any(axis=1))[0])
        raise CacheError(
            f"{who}: frame {frame} is NaN, infinite or too large for {rows.dtype}.",
            remedy="check that frame, or use float32",
        )


def expect_text(who: str, **texts: str) -> None:
    """Refuse what cannot be stored as UTF-8 in both stores."""
    for name, text in texts.items():
        if not isinstance(text, str):
            raise CacheError(f"{who}: its {name} is a text, found {text!r}.")
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise CacheError(f"{who}: its {name} {text!a} is not Unicode text.", remedy="rename the file") from error
        if "\0" in text:
            raise CacheError(f"{who}: its {name} {text!a} contains a NUL character.")


def expect_moment(value: Any, num_frames: int, who: str) -> None:
    """Refuse a moment that is not a frame of the clip; −1 stands for unknown."""
    if isinstance(value, int | np.integer) and not UNKNOWN <= value < num_frames:
        raise CacheError(
            f"{who}: expected one of {num_frames} frames, counted from 0, or −1 for unknown; found {value}."
        )


def expect_label(who: str, label: str | None) -> None:
    """Refuse an empty label."""
    if label == "":
        raise CacheError(f"{who}: its label is empty.", remedy="use None for a clip without a label")
    if label is not None:
        expect_text(who, label=label)


def _expect_values(rows: Mapping[str, np.ndarray], schema: Schema, who: str) -> None:
    state = rows["state"]
    if (state > INTERPOLATED).any():
        raise CacheError(f"{who}: a state is 0, 1 or 2, found {sorted(set(state.tolist()))}.")
    if not np.isfinite(rows["time"]).all():
        raise CacheError(f"{who}: every frame has a time in seconds, found NaN or infinity.")
    absent = state == NO_FACE
    for name in schema.features:
        expect_finite(rows[name], f"{who}, {name}")
        if rows[name][absent].any():
            raise CacheError(f"{who}, {name}: rows of frames without a face are zeros, found others.")
    for name in ("box", "landmarks"):
        if not np.isnan(rows[name][absent]).all():
            raise CacheError(f"{who}: frames without a face have no {name} (NaN), found some.")
