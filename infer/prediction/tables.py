"""Predictions as tables: a row for each window of each face, and a row for each frame of each face. Labels are *apparent expressions*.

Legend: R rows, C classes.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from ...cache.dataframe import expect_pandas
from ...cache.schema import NO_FACE
from ...cache.stores.disk import PARTIAL
from ...errors import EstError, UsageError
from ...packages import expect_packages
from .track import PredictedVideo

if TYPE_CHECKING:
    import pandas

LABEL = "apparent_expression"
WINDOWS, TIMELINE = "predictions", "timeline"  # names of files, without suffix
BOX = ("left", "top", "right", "bottom")
STATES = np.array(["not seen", "detected", "interpolated"])
ROWS = 4096  # that are written at once

Columns = Mapping[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class Table:
    """Named columns of one length; iterating gives rows by name."""

    columns: Columns

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()))) if self.columns else 0

    def __getitem__(self, name: str) -> np.ndarray:
        return self.columns[name]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for values in zip(*(column.tolist() for column in self.columns.values()), strict=True):
            yield dict(zip(self.columns, values, strict=True))

    def to_pandas(self) -> pandas.DataFrame:
        """Return a data frame; needs pandas."""
        return expect_pandas().DataFrame(dict(self.columns))

    def probabilities(self) -> np.ndarray:
        """Return the probabilities of the classes, in their order.  # (R, C)"""
        return np.stack([values for name, values in self.columns.items() if name.startswith("p_")], axis=1)

    @classmethod
    def of(cls, parts: Iterable[Columns]) -> Table:
        """Put tables of the same columns together."""
        found = list(parts)
        return cls({name: np.concatenate([one[name] for one in found]) for name in found[0]})


def window_columns(video: PredictedVideo | None, labels: Sequence[str]) -> Columns:
    """Return the rows of a video's windows; none of no video, which names the columns."""
    tracks = [] if video is None else video.tracks
    time = np.zeros(0) if video is None else video.time
    windows = np.concatenate([np.zeros((0, 2), np.int64), *(track.windows for track in tracks)])
    found = np.concatenate([np.zeros((0, len(labels)), np.float32), *(track.window_probabilities for track in tracks)])
    numbers = [np.full(len(track.windows), track.number) for track in tracks]
    return {
        "video": _text("" if video is None else video.id, len(windows)),
        "track": np.concatenate([np.zeros(0, np.int64), *numbers]),
        "start": time[windows[:, 0]],
        "end": time[windows[:, 1] - 1],
        "first_frame": windows[:, 0],
        "last_frame": windows[:, 1] - 1,
        "face_share": np.concatenate([np.zeros(0), *(track.window_faces for track in tracks)]),
        **_told(found, labels),
    }


def timeline_columns(video: PredictedVideo | None, labels: Sequence[str]) -> Columns:
    """Return a row for each frame of each face of a video, from its first frame to its last."""
    tracks = [] if video is None else video.tracks
    time = np.zeros(0) if video is None else video.time
    found = np.concatenate([np.zeros((0, len(labels)), np.float32), *(track.probabilities for track in tracks)])
    box = np.concatenate([np.zeros((0, 4), np.float32), *(track.box for track in tracks)])
    state = np.concatenate([np.zeros(0, np.uint8), *(track.state for track in tracks)])
    frame = np.concatenate([np.zeros(0, np.int64), *(np.arange(track.first, track.stop) for track in tracks)])
    numbers = [np.full(len(track.state), track.number) for track in tracks]
    assert np.isnan(box[state == NO_FACE]).all()
    return {
        "video": _text("" if video is None else video.id, len(frame)),
        "track": np.concatenate([np.zeros(0, np.int64), *numbers]),
        "frame": frame,
        "time": time[frame],
        **{name: box[:, place] for place, name in enumerate(BOX)},
        "state": STATES[state],
        **_told(found, labels),
    }


class TableFiles:
    """The tables on the disk, written a video at a time: CSV, and Parquet where it is asked for."""

    def __init__(self, folder: Path, labels: Sequence[str], *, parquet: bool) -> None:
        self._folder, self._labels, self._parquet = folder, labels, parquet
        self._stack = ExitStack()
        self.names = [f"{name}.csv" for name in (WINDOWS, TIMELINE)]
        self.names += [f"{name}.parquet" for name in (WINDOWS, TIMELINE)] if parquet else []

    def __enter__(self) -> TableFiles:
        self._csv: dict[str, IO[str]] = {}
        self._writers: dict[str, Any] = {}
        for name, columns in ((WINDOWS, window_columns), (TIMELINE, timeline_columns)):
            empty = columns(None, self._labels)
            file = self._stack.enter_context(open(self._partial(f"{name}.csv"), "w", newline="", encoding="utf-8"))
            csv.writer(file, lineterminator="\n").writerow(empty)
            self._csv[name] = file
            if self._parquet:
                arrow, parquet = expect_pyarrow()
                kinds = {name: arrow.from_numpy_dtype(v.dtype) for name, v in empty.items() if v.dtype != object}
                schema = arrow.schema([(column, kinds.get(column, arrow.string())) for column in empty])
                path = self._partial(f"{name}.parquet")
                self._writers[name] = self._stack.enter_context(parquet.ParquetWriter(path, schema))
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._stack.close()
        if kind is None:
            for name in self.names:
                self._partial(name).rename(self._folder / name)

    def add(self, video: PredictedVideo) -> None:
        """Write the rows of a video."""
        for name, columns in ((WINDOWS, window_columns), (TIMELINE, timeline_columns)):
            found = columns(video, self._labels)
            _write_rows(self._csv[name], found)
            if name in self._writers and len(found["video"]):
                arrow, _ = expect_pyarrow()
                self._writers[name].write_table(arrow.Table.from_pydict(dict(found), self._writers[name].schema))

    def _partial(self, name: str) -> Path:
        return self._folder / (name + PARTIAL)


def expect_pyarrow() -> tuple[Any, Any]:
    """Return pyarrow and its Parquet module, or say how to get them."""
    expect_packages("--parquet needs the package pyarrow", "pyarrow", kind=UsageError)
    import pyarrow
    import pyarrow.parquet

    return pyarrow, pyarrow.parquet


def read_table(path: Path) -> Table:
    """Read a table that `TableFiles` wrote as CSV."""
    try:
        with open(path, newline="", encoding="utf-8") as file:
            header, *rows = csv.reader(file)
        return _table_of(header, rows)
    except (OSError, ValueError, csv.Error) as error:
        raise EstError(f"{path} cannot be read.", remedy="est predict … --overwrite writes it again") from error


def _table_of(header: list[str], rows: list[list[str]]) -> Table:
    texts = {"video", "state", LABEL}
    whole = {"track", "frame", "first_frame", "last_frame"}
    columns = dict(zip(header, zip(*rows, strict=True) if rows else [()] * len(header), strict=True))
    return Table(
        {
            name: np.array(cells, dtype=object)
            if name in texts
            else np.array([int(cell) if name in whole else float(cell or "nan") for cell in cells])
            for name, cells in columns.items()
        }
    )


def names_of(probabilities: np.ndarray, labels: Sequence[str]) -> np.ndarray:
    """Return the likeliest class of each row, empty where there is none.  # (R, C) → (R,)"""
    known = ~np.isnan(probabilities).any(axis=1)
    found = np.full(len(probabilities), "", dtype=object)
    found[known] = np.array(labels, dtype=object)[probabilities[known].argmax(1)]
    return found


def _told(probabilities: np.ndarray, labels: Sequence[str]) -> Columns:
    """Return the columns of what is predicted."""
    shares = {f"p_{label}": probabilities[:, place] for place, label in enumerate(labels)}
    return {LABEL: names_of(probabilities, labels), **shares}


def _text(text: str, count: int) -> np.ndarray:
    return np.full(count, text, dtype=object)


def _write_rows(file: IO[str], columns: Columns) -> None:
    """Write rows, some thousands at a time: a long video has many."""
    writer = csv.writer(file, lineterminator="\n")
    count = len(next(iter(columns.values())))
    for begin in range(0, count, ROWS):
        cells = [_cells(name, values[begin : begin + ROWS]) for name, values in columns.items()]
        writer.writerows(zip(*cells, strict=True))


def _cells(name: str, values: np.ndarray) -> list[Any]:
    if values.dtype.kind != "f":
        return values.tolist()
    form = ".3f" if name in ("start", "end", "time") else ".1f" if name in BOX else ".6g"
    return ["" if value != value else format(value, form) for value in values.tolist()]
