"""What a list says of clips whose features are here: matched by id, path or name, and what fits nothing is named with the nearest."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...cache.clip import Failure
from ...errors import UsageError, counted, nearest, some
from ..csvlist import listed_id, segment
from ..extracolumns import text_columns
from ..input import ANNOTATIONS, Input, unicode_text
from ..listmatch import Line, Unmatched, match_lines
from ..tablelist import read_lists

if TYPE_CHECKING:
    from ..tablelist import Given

KEYS = ("id", "path")
STAGE = "import"  # of failures


@dataclass(frozen=True, kw_only=True)
class Listed:
    """Clips that are on a list."""

    inputs: tuple[Input, ...]
    num_frames: Mapping[str, int]  # that a list says
    told: Mapping[str, dict[str, Any]]  # clips, those too that cannot be read → label, subject, split, fold
    problems: tuple[Failure, ...]  # lines without features
    warnings: tuple[str, ...]


def match_list(lists: Given, known: Mapping[str, Path], unread: Mapping[str, tuple[Path, str]]) -> Listed:
    """Bring lists and files together; only what is on a list is imported. `unread` are clips whose file cannot be read."""
    read = read_lists(lists, keys=KEYS, counted=True)
    lines = [Line(list=path, row=row) for path, found in read.items() for row in found.rows]
    there = {
        **{name: str(path) for name, path in known.items()},
        **{name: str(path) for name, (path, _) in unread.items()},
    }
    matches, unmatched = match_lines(lines, there.items())
    line_of: dict[str, Line] = {}
    for match in matches:
        for name in match.ids:
            if name in line_of:
                raise UsageError(
                    f"{line_of[name].where} and {match.line.where} both name the clip {name!r}.",
                    remedy="remove one of them",
                )
            line_of[name] = match.line
    if not line_of:
        raise UsageError(
            f"None of {len(lines)} lines names a clip that has features ({some(repr(line.says) for line in lines)}; the features are of "
            f"{some(map(repr, there))}).",
            remedy="a column `id` with the paths of the files below SOURCE, without suffix",
        )
    inputs = [_input(name, known[name], line) for name, line in line_of.items() if name in known]
    order = {name: number for number, name in enumerate(known)}
    return Listed(
        inputs=tuple(sorted(inputs, key=lambda one: order[one.id])),
        num_frames={name: line.row.num_frames for name, line in line_of.items() if line.row.num_frames >= 0},
        told={name: _annotations(line) for name, line in line_of.items()},
        problems=tuple(_without_features(one, there) for one in unmatched),
        warnings=(
            *_unlisted([name for name in there if name not in line_of], [one.line.says for one in unmatched]),
            *(
                f"{path}: columns that are not used: {', '.join(found.unused)}"
                for path, found in read.items()
                if found.unused
            ),
            *(warning for path, found in read.items() for warning in text_columns(path, found)),
        ),
    )


def naming_nearest(name: str, names: Collection[str]) -> str:
    """Return a clause that names what is spelt most alike."""
    near = nearest(name, names, cutoff=0.5)
    return f"; the nearest is {near!r}" if near else ""


def _input(name: str, path: Path, line: Line) -> Input:
    row = line.row
    told = {key: getattr(row, key) for key in ("onset", "apex", "offset", "start", "end", "extra")}
    return Input(id=name, path=path, kind="frames", **_annotations(line), **told)


def _annotations(line: Line) -> dict[str, Any]:
    return {name: getattr(line.row, name) for name in ANNOTATIONS}


def _without_features(one: Unmatched, there: Collection[str]) -> Failure:
    row, folder = one.line.row, Path(os.path.abspath(one.line.list.parent))
    name = row.id or listed_id(Path(one.line.place), folder) + segment(row)
    error = f"line {row.line} of the list names no features: {one.why}{naming_nearest(name, list(there))}"
    path = unicode_text(one.line.place) if row.path else ""
    return Failure(id=unicode_text(name), path=path, stage=STAGE, error=error, **_annotations(one.line))


def _unlisted(names: Sequence[str], lines: Sequence[str]) -> Iterable[str]:
    if names:
        shown = some(
            [f"{name!r}{naming_nearest(name, lines)}" for name in names[:3]] + [repr(name) for name in names[3:]]
        )
        yield f"{counted(len(names), 'clip', 'are')} left out, as no line of the list names them: {shown}"
