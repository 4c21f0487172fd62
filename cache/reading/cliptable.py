"""The table of clips as readers see it: one array or list per column, clips that were removed left out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from ...errors import CacheDamaged, UsageError, nearest
from ..dataframe import expect_pandas
from ..remote.address import repair_of
from ..schema import CHECKSUMS, EXTRA, NO_LABEL, NO_NUMBER
from ..stores.snapshot import Column, Snapshot

if TYPE_CHECKING:
    import pandas
    import pyarrow


@dataclass(frozen=True, kw_only=True, eq=False)
class ClipTable:
    """The columns of docs/cache-format.md. `label` is the number of a name in `labels`, −1 where there is none."""

    columns: dict[str, Column]
    labels: tuple[str, ...]
    rows: np.ndarray  # places in the stored table

    @classmethod
    def read(cls, snapshot: Snapshot) -> Self:
        """Read the table of a snapshot, without its checksums."""
        specs = {
            name: spec
            for name, spec in snapshot.manifest.schema.clip_columns().items()
            if not name.startswith(CHECKSUMS)
        }
        columns = {name: snapshot.column(spec) for name, spec in specs.items()}
        live = np.asarray(columns.pop("live"), bool)
        rows = np.flatnonzero(live)
        if not live.all():
            columns = {
                name: [values[row] for row in rows] if isinstance(values, list) else values[rows]
                for name, values in columns.items()
            }
        labels = snapshot.manifest.labels
        _expect_possible(snapshot, columns)
        return cls(columns=columns, labels=labels, rows=rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __getattr__(self, name: str) -> Column:
        try:
            return self.__dict__["columns"][name]
        except KeyError:
            raise AttributeError(f"the clip table has no column {name!r}") from None

    @property
    def ids(self) -> list[str]:
        """Name the clips."""
        return self.columns["id"]  # ty: ignore[invalid-explicit-return]

    @cached_property
    def label_names(self) -> list[str | None]:
        """Return each clip's label by name."""
        return [None if code == NO_LABEL else self.labels[code] for code in np.asarray(self.columns["label"]).tolist()]

    @cached_property
    def _places(self) -> dict[str, int]:
        return {clip_id: place for place, clip_id in enumerate(self.ids)}

    def index(self, which: str | int) -> int:
        """Return a clip's place."""
        if isinstance(which, str):
            if which not in self._places:
                raise UsageError(f"There is no clip {which!r}.", remedy="est cache ls shows the ids")
            return self._places[which]
        if not -len(self) <= which < len(self):
            raise UsageError(f"There are {len(self)} clips, asked for number {which}.")
        return int(which) % len(self)

    def row(self, which: str | int) -> dict[str, Any]:
        """Return one clip's values, its label by name; an extra number that no list gave is None."""
        place = self.index(which)
        values = {name: _plain(column[place]) for name, column in self.columns.items()}
        extra = {name.removeprefix(EXTRA): _told(values.pop(name)) for name in list(values) if name.startswith(EXTRA)}
        return values | {"label": self.label_names[place], **({"extra": extra} if extra else {})}

    @property
    def extra(self) -> dict[str, Column]:
        """Return the extra columns by name, as they are stored: where nothing was told, −2⁶³, NaN or an empty text."""
        return {name.removeprefix(EXTRA): values for name, values in self.columns.items() if name.startswith(EXTRA)}

    def select(self, **conditions: Any) -> np.ndarray:
        """Return the places of the clips that meet all conditions; a condition is a value or several."""
        chosen = np.ones(len(self), bool)
        for name, wanted in conditions.items():
            if wanted is None:
                continue
            if name not in self.columns or np.ndim(self.columns[name]) > 1:
                raise UsageError(
                    f"Clips are not selected by {name!r}.", remedy="select by label, subject, split or fold"
                )
            values = set(wanted) if isinstance(wanted, Iterable) and not isinstance(wanted, str) else {wanted}
            if name == "label":
                unknown = values - set(self.labels)
                if unknown:
                    first = min(map(str, unknown))
                    near = nearest(first, self.labels)
                    raise UsageError(
                        f"The labels are {', '.join(self.labels)}; asked for {', '.join(sorted(map(str, unknown)))}.",
                        remedy=f"--label {near or self.labels[0]}" if self.labels else None,
                    )
            column: Any = self.label_names if name == "label" else self.columns[name]
            chosen &= np.fromiter((value in values for value in column), bool, len(self))
        return np.flatnonzero(chosen)

    def to_pandas(self) -> pandas.DataFrame:
        """Return the table as a data frame, labels by name; needs pandas. Whole numbers that no list gave are missing (Int64)."""
        pandas = expect_pandas()
        flat = self._flat()
        for name, untold in self._untold().items():
            flat[name] = pandas.arrays.IntegerArray(np.asarray(flat[name]), untold)
        return pandas.DataFrame(flat)

    def to_arrow(self) -> pyarrow.Table:
        """Return the table as an Arrow table, labels by name; needs pyarrow."""
        import pyarrow

        untold = self._untold()
        return pyarrow.table(
            {name: pyarrow.array(values, mask=untold.get(name)) for name, values in self._flat().items()}
        )

    def _untold(self) -> dict[str, np.ndarray]:
        """Say of the extra columns of whole numbers, by their names in a data frame, where nothing was told."""
        columns = {name: np.asarray(values) for name, values in self.extra.items() if not isinstance(values, list)}
        return {f"extra:{name}": values == NO_NUMBER for name, values in columns.items() if values.dtype.kind == "i"}

    def _flat(self) -> dict[str, Any]:
        """Return columns of scalars: sizes as width and height, digests as text, targets as lists."""
        flat: dict[str, Any] = {}
        for name, values in self.columns.items():
            match name:
                case "size":
                    flat |= {"width": np.asarray(values)[:, 0], "height": np.asarray(values)[:, 1]}
                case "label":
                    flat["label"] = self.label_names
                case "source_digest":
                    flat["source_digest"] = [bytes(digest).hex() for digest in np.asarray(values)]
                case _:
                    name = f"extra:{name.removeprefix(EXTRA)}" if name.startswith(EXTRA) else name
                    flat[name] = list(values) if np.ndim(values) > 1 else values
        return flat


def _expect_possible(snapshot: Snapshot, columns: dict[str, Column]) -> None:
    """Refuse numbers of labels that no label has, and places beyond the rows that there are."""
    counts = snapshot.manifest.commit.counts
    codes, num_labels = np.asarray(columns["label"]), len(snapshot.manifest.labels)
    impossible = {"label": (codes < NO_LABEL) | (codes >= num_labels)}
    for first, length, total in (("start", "count", counts.frames), ("first_window", "windows", counts.windows)):
        if first in columns:
            start, count = np.asarray(columns[first]), np.asarray(columns[length])
            impossible[length] = (count < 0) | (count > total) | (start < 0) | (start > total - count)
    for name, wrong in impossible.items():
        if wrong.any():
            place = int(np.flatnonzero(wrong)[0])
            told = (
                f"the label of the clip {columns['id'][place]!r} is number {codes[place]} of {num_labels}"
                if name == "label"
                else f"the clip {columns['id'][place]!r} lies beyond the rows that were committed"
            )
            raise CacheDamaged(f"{snapshot.path}: {told}.", remedy=repair_of(snapshot.path))


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


def _told(value: Any) -> Any:
    """Return a cell of an extra column, None for a number that no list gave."""
    return None if value == NO_NUMBER or value != value else value
