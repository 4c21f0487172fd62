"""Which columns of a table mean what: those of features by patterns, those of times, faces and frames by name.

Two tools are recognised by their headers, and what their columns mean is said: OpenFace (frame, timestamp, confidence, success) and
py-feat (frame, FaceScore). An option goes before what is recognised. A column named as labels, people, clips or frames are is a
feature only where --columns has its whole name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase

from ...errors import SourceError, counted, nearest
from .config import ImportConfig

KNOWN: Mapping[str, Mapping[str, str]] = {
    "OpenFace": {"time": "timestamp", "state": "success", "score": "confidence", "frame": "frame", "face": "face_id"},
    "py-feat": {"score": "FaceScore", "frame": "frame"},
}
NO_FEATURES = frozenset(
    (
        *("label", "labels", "class", "class_id", "target", "expression", "emotion", "subject", "subject_id", "person"),
        *(
            "participant",
            "split",
            "fold",
            "set",
            "id",
            "clip",
            "clip_id",
            "video",
            "video_id",
            "path",
            "file",
            "filename",
        ),
        *("frame", "frame_id", "frame_number", "face_id", "time", "timestamp", "index", "level_0", "__index_level_0__"),
        *("onset", "apex", "offset", "num_frames"),
    )
)  # what columns of these names say is no feature, although it may be a number
INDEX = "Unnamed: "  # what pandas calls the columns of an index that has no name
ROLES = ("time", "state", "score", "frame", "start", "stop", "rate")
SHOWN = 40  # columns that are named to people


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
    named: tuple[str, ...] = ()  # left out by their names: labels, people, clips, frames

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
        """Return what is read."""
        found = [f"{counted(len(self.features), 'column')} of features: {shortened(self.features, SHOWN)}"]
        if self.roles:
            by = f" (as {self.tool} writes them)" if self.tool else ""
            found.append(f"other columns{by}: " + ", ".join(f"{name} from {of}" for name, of in self.roles.items()))
        if self.left_out:
            found.append(f"columns without numbers, left out: {shortened(self.left_out, SHOWN)}")
        if self.named:
            found.append(
                "columns left out because of their names: "
                f"{shortened(self.named, SHOWN)} (--columns takes one that is a feature, by its whole name)"
            )
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
    named = tuple(name for name in names if name and name not in others and is_no_feature(name))
    free = [name for name in names if name and name not in others and name not in named]
    if config.columns:
        meant = {
            one: [one] if one in names else [name for name in free if fnmatchcase(name, one)] for one in config.columns
        }
        for one, of_one in meant.items():
            if not of_one:
                raise SourceError(f"no column is {one!r} (--columns){_nearest(one, names)}")
        features = tuple(dict.fromkeys(name for of_one in meant.values() for name in of_one))
        left_out: tuple[str, ...] = ()
        named = tuple(
            name for name in named if name not in features and any(fnmatchcase(name, one) for one in config.columns)
        )
    else:
        features = tuple(name for name in free if are_numbers.get(name))
        left_out = tuple(name for name in free if not are_numbers.get(name))
    if not features:
        raise SourceError(f"it has no column of features; its columns: {shortened(names)}")
    return Columns(features=features, tool=tool, left_out=left_out, named=named, **found)


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


def is_no_feature(name: str) -> bool:
    """Return whether a column's name says that it tells labels, people, clips or frames."""
    return name.strip().casefold() in NO_FEATURES or name.startswith(INDEX)


def shortened(names: Sequence[str], most: int = 6) -> str:
    """Name columns, of many the first and the last ones."""
    if len(names) <= most:
        return ", ".join(names)
    return f"{', '.join(names[: most - 2])}, …, {names[-1]}"


def _is(names: Sequence[str], told: Mapping[str, str]) -> bool:
    return all(name in names for role, name in told.items() if role != "face")


def _nearest(name: str, names: Sequence[str]) -> str:
    near = nearest(name.strip("*?"), filter(None, names), cutoff=0.3)
    return f"; did you mean {near!r}?" if near else f"; its columns: {shortened(list(names))}"
