"""Which columns of a table mean what: those of features by patterns, those of times, faces and frames by name.

Two tools are recognised by their headers, and what their columns mean is said: OpenFace (frame, timestamp, confidence, success) and
py-feat (frame, FaceScore). An option goes before what is recognised.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase

from ...errors import SourceError, counted
from .config import ImportConfig

KNOWN: Mapping[str, Mapping[str, str]] = {
    "OpenFace": {"time": "timestamp", "state": "success", "score": "confidence", "frame": "frame", "face": "face_id"},
    "py-feat": {"score": "FaceScore", "frame": "frame"},
}
ROLES = ("time", "state", "score", "frame", "start", "stop", "rate")


@dataclass(frozen=True, kw_only=True)
class Columns:
    """The columns that are read, by what they mean; empty where there is none."""

    features: tuple[str, ...]
    id: str = ""
    time: str = ""
    state: str = ""
    score: str = ""
    frame: str = ""
    start: str = ""
    stop: str = ""
    rate: str = ""
    tool: str = ""  # that was recognised
    left_out: tuple[str, ...] = ()  # that hold no numbers

    @property
    def roles(self) -> dict[str, str]:
        """Return the columns of a row besides its features, by what they mean."""
        return {
            item.name: getattr(self, item.name)
            for item in fields(self)
            if item.name in ROLES and getattr(self, item.name)
        }

    @property
    def lines(self) -> list[str]:
        """Say what is read."""
        found = [f"{counted(len(self.features), 'column')} of features: {shortened(self.features)}"]
        if self.roles:
            by = f" (as {self.tool} writes them)" if self.tool else ""
            found.append(f"other columns{by}: " + ", ".join(f"{name} from {of}" for name, of in self.roles.items()))
        if self.left_out:
            found.append(f"columns without numbers, left out: {shortened(self.left_out)}")
        return found


def choose_columns(names: Sequence[str], are_numbers: Mapping[str, bool], config: ImportConfig) -> Columns:
    """Choose the columns of a table, or say which is not there."""
    given = {role: getattr(config, f"{role}_column") for role in ("id", *ROLES)}
    for role, name in given.items():
        if name and name not in names:
            raise SourceError(f"it has no column {name!r} (--{role}-column){_nearest(name, names)}")
    tool, known = "", {}
    if not config.of_windows:
        tool, known = next(((one, told) for one, told in KNOWN.items() if _is(names, told)), ("", {}))
    found = {role: name or (known.get(role, "") if known.get(role) in names else "") for role, name in given.items()}
    if not any(known.get(role) == found[role] for role in found if found[role]):
        tool = ""
    others = {*found.values(), known.get("face", "")}
    if config.columns:
        features = tuple(dict.fromkeys(name for one in config.columns for name in names if fnmatchcase(name, one)))
        for one in config.columns:
            if not any(fnmatchcase(name, one) for name in names):
                raise SourceError(f"no column is {one!r} (--columns){_nearest(one, names)}")
        left_out: tuple[str, ...] = ()
    else:
        rest = [name for name in names if name and name not in others]
        features = tuple(name for name in rest if are_numbers.get(name))
        left_out = tuple(name for name in rest if not are_numbers.get(name))
    if not features:
        raise SourceError(f"it has no column of features; its columns: {shortened(names)}")
    return Columns(features=features, tool=tool, left_out=left_out, **found)


def expect_same_columns(found: Columns, wanted: Columns) -> None:
    """Refuse another set of columns of features than that of the other files, in whatever order."""
    missing = [name for name in wanted.features if name not in (*found.features, *found.left_out)]
    more = [name for name in found.features if name not in wanted.features]
    if missing:
        raise SourceError(f"it lacks the column {missing[0]!r}{_nearest(missing[0], more or found.features)}")
    if more:
        raise SourceError(
            f"it has {counted(len(found.features), 'column')} of features, and others have {len(wanted.features)}: "
            f"{shortened(more)} are in this one alone; --columns chooses"
        )


def shortened(names: Sequence[str], most: int = 6) -> str:
    """Name columns, of many the first and the last ones."""
    if len(names) <= most:
        return ", ".join(names)
    return f"{', '.join(names[: most - 2])}, …, {names[-1]}"


def _is(names: Sequence[str], told: Mapping[str, str]) -> bool:
    return all(name in names for role, name in told.items() if role != "face")


def _nearest(name: str, names: Sequence[str]) -> str:
    near = difflib.get_close_matches(name.strip("*?"), [one for one in names if one], n=1, cutoff=0.3)
    return f"; did you mean {near[0]!r}?" if near else f"; its columns: {shortened(list(names))}"
