"""What an import is going to read: which rows are which clip, what a list says of it, and everything that does not fit.

A SOURCE holds a file a clip, or, with an id column, tables of many clips. With several kinds of windows each SOURCE holds one kind, and
files of one id are one clip. What makes no sense as a whole is refused; a file that cannot be read is a failure of that clip alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ...cache.clip import Failure
from ...errors import SourceError, UsageError, grouped
from ..input import Input, failure_at
from ..pathreading import alike_labels, doubtful_labels, read_paths
from ..pathrule import NONE, parse_rules
from ..tablelist import each
from .arrays import choose, heads, row_shape
from .columns import Columns, choose_columns, expect_same_columns
from .config import ImportConfig, Level
from .files import FeatureFile, FoundFiles, find_files, two_files
from .listed import STAGE, Listed, match_list
from .rows import Span, spans_of_ids
from .tables import open_table

if TYPE_CHECKING:
    from ..tablelist import Given


@dataclass(frozen=True, kw_only=True)
class Piece:
    """Where rows of a clip lie: in a file, or in a part of one."""

    path: Path
    span: Span | None = None


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A clip that is to be imported."""

    input: Input
    pieces: tuple[Piece, ...]  # one for each kind of windows
    num_frames: int = -1  # by a list

    @property
    def id(self) -> str:
        """Return the clip's id."""
        return self.input.id


@dataclass(frozen=True, kw_only=True)
class ImportPlan:
    """Everything that an import needs to know before it reads rows."""

    config: ImportConfig
    clips: tuple[Wanted, ...]  # those of a table in the order of its rows
    problems: tuple[Failure, ...]
    shape: tuple[int, ...]
    columns: Columns | None  # of tables
    array: str  # of arrays in files
    levels: tuple[Level, ...]
    lines: tuple[str, ...] = ()  # worth knowing
    warnings: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    ignored: dict[str, int] = field(default_factory=dict)


def plan_import(
    sources: Path | str | Sequence[Path | str],
    config: ImportConfig,
    *,
    lists: Given = (),
    labels: str = NONE,
    subjects: str = NONE,
) -> ImportPlan:
    """Look at what SOURCEs hold, and at lists; rows are not read yet, but the ids of tables are."""
    paths = [Path(source) for source in ([sources] if isinstance(sources, Path | str) else sources)]
    if not paths:
        raise UsageError(
            "No features are given: SOURCE names files or folders.",
            remedy="est cache import features/ --out cache.zarr …",
        )
    rules = parse_rules(labels, subjects)
    levels = config.levels(len(paths))
    found = find_files(paths)
    look = _Look(config, found)
    pieces = look.of_tables() if config.id_column else look.of_files(len(levels))
    known = {name: places[0].path for name, places in pieces.items()}
    listed: Listed | None = match_list(named, known, look.problems) if (named := each(lists)) else None
    if listed is None:
        reading = read_paths([Input(id=name, path=path, kind="frames") for name, path in known.items()], rules)
    else:
        reading = read_paths(listed.inputs, rules)
    reading.expect_all()
    inputs = reading.inputs
    clips = [
        Wanted(input=one, pieces=pieces[one.id], num_frames=listed.num_frames.get(one.id, -1) if listed else -1)
        for one in inputs
    ]
    problems = [
        failure_at(path, name, error, **(listed.told.get(name, {}) if listed else {}))
        for name, (path, error) in look.problems.items()
        if listed is None or name in listed.told
    ]
    problems += listed.problems if listed else []
    names = {one.label for one in (*inputs, *problems) if one.label is not None}
    return ImportPlan(
        config=config,
        clips=tuple(clips),
        problems=tuple(_of_import(problem) for problem in problems),
        shape=look.shape,
        columns=look.columns,
        array=look.array,
        levels=levels,
        lines=tuple(look.lines()),
        warnings=(
            *(listed.warnings if listed else ()),
            *alike_labels([one.label for one in (*inputs, *problems)]),
            *doubtful_labels(inputs, rules),
        ),
        labels=tuple(sorted(names)),
        ignored=dict(found.ignored.most_common()),
    )


class _Look:
    """Looks at each file's head: what is its width, which columns has it, which clips."""

    def __init__(self, config: ImportConfig, found: FoundFiles) -> None:
        self.config = config
        self.files = found.files
        self.columns: Columns | None = None
        self.array = ""
        self.shape: tuple[int, ...] = ()
        self.problems: dict[str, tuple[Path, str]] = {file.id: (file.path, error) for file, error in found.problems}
        kinds = {file.is_table for file in found.files}
        if len(kinds) > 1:
            one, other = (next(file.path for file in found.files if file.is_table is kind) for kind in (True, False))
            raise UsageError(
                f"The SOURCEs hold tables and arrays, {one} and {other}; expected one kind.",
                remedy="name one kind",
            )
        self.are_tables = kinds == {True}

    def of_files(self, num_levels: int) -> dict[str, tuple[Piece, ...]]:
        """Return the files of each clip."""
        groups: dict[str, list[FeatureFile]] = {}
        for file in self.files:
            groups.setdefault(file.id, []).append(file)
        several = num_levels > 1
        for name, files in groups.items():
            if len(files) > 1 and (not several or len({file.source for file in files}) < len(files)):
                raise two_files(name, *files[:2])
        self._look_at_heads()
        pieces = {}
        for name, files in groups.items():
            if several and len(files) < num_levels and name not in self.problems:
                there = {file.source for file in files}
                missing = next(number for number in range(num_levels) if number not in there)
                self.problems[name] = (
                    files[0].path,
                    f"SOURCE {missing + 1} has no file of this clip: one of {num_levels} kinds of windows is missing",
                )
            if name not in self.problems:
                pieces[name] = tuple(Piece(path=file.path) for file in files)
        return pieces

    def of_tables(self) -> dict[str, tuple[Piece, ...]]:
        """Return the rows of each clip of tables that hold many."""
        if not self.are_tables:
            raise UsageError(
                "--id-column is for tables that hold many clips, and these are arrays.", remedy="leave --id-column out"
            )
        if self.problems:
            path, error = next(iter(self.problems.values()))
            raise UsageError(f"{path}: {error}.")
        pieces: dict[str, tuple[Piece, ...]] = {}
        for file in self.files:
            try:
                table = open_table(file.path)
                self._take_columns(choose_columns(table.names, table.holds_numbers(), self.config))
                spans = spans_of_ids(table, self.config.id_column)
            except SourceError as error:  # a table that holds many clips is mended before anything is read
                raise UsageError(f"{file.path}: {error.message}.") from error
            for name, span in spans.items():
                if name in pieces:
                    raise UsageError(
                        f"Two tables hold rows of the clip {name!r}: {pieces[name][0].path} and {file.path}.",
                        remedy="join its rows in one table, or give the clips other ids",
                    )
                pieces[name] = (Piece(path=file.path, span=span),)
        return pieces

    def lines(self) -> list[str]:
        """Return what was found."""
        shape = " × ".join(map(str, self.shape))
        return self.columns.lines if self.columns else [f"features: {self.array or 'arrays'}, {shape} numbers a row"]

    def _look_at_heads(self) -> None:
        """Find the width that most files have; others are failures of their clips."""
        shapes: dict[FeatureFile, tuple[int, ...]] = {}
        arrays: dict[FeatureFile, str] = {}
        columns: dict[FeatureFile, Columns] = {}
        for file in self.files:
            try:
                if self.are_tables:
                    table = open_table(file.path)
                    columns[file] = choose_columns(table.names, table.holds_numbers(), self.config)
                else:
                    there = heads(file.path)
                    name = choose(there, self.config.array)
                    shapes[file] = row_shape(there[name])
                    arrays[file] = name
            except SourceError as error:
                self.problems[file.id] = (file.path, error.message)
        if shapes:
            self._take_array(arrays)
            shapes = {file: shape for file, shape in shapes.items() if file.id not in self.problems}
        if shapes:
            self._take_shape(shapes)
        if columns:
            self._take_most_common(columns)
        if not self.shape:
            told = grouped((str(path), error) for path, error in self.problems.values())
            raise UsageError(
                f"None of {len(self.files) or len(self.problems)} files can be read: {told}.",
                remedy="--columns with names that they have; without it all columns of numbers are features"
                if self.config.columns
                else None,
            )

    def _take_array(self, arrays: dict[FeatureFile, str]) -> None:
        """Take the array that most .npz have; files whose one array has another name are failures of their clips."""
        counted = Counter(name for name in arrays.values() if name).most_common()
        if not counted:
            return
        self.array, most = counted[0]
        if 2 * most <= sum(count for _, count in counted):
            first, second = (next(file for file, name in arrays.items() if name == one) for one, _ in counted[:2])
            raise UsageError(
                f"The files have arrays of differing names: {arrays[first]!r} in {first.path}, {arrays[second]!r} in {second.path}.",
                remedy="name files of one kind",
            )
        for file, name in arrays.items():
            if name not in ("", self.array):
                self.problems[file.id] = (
                    file.path,
                    f"its features are the array {name!r}, and those of {most} other files {self.array!r}",
                )

    def _take_shape(self, shapes: dict[FeatureFile, tuple[int, ...]]) -> None:
        counted = Counter(shapes.values()).most_common()
        self.shape, most = counted[0]
        if 2 * most <= len(shapes) and len(counted) > 1:
            first, second = (next(file for file, shape in shapes.items() if shape == one) for one, _ in counted[:2])
            raise UsageError(
                f"The files have rows of differing widths: {_told(shapes[first])} in {first.path}, "
                f"{_told(shapes[second])} in {second.path}.",
                remedy="name files of one kind",
            )
        for file, shape in shapes.items():
            if shape != self.shape:
                self.problems[file.id] = (
                    file.path,
                    f"its rows have {_told(shape)} numbers, and {most} other files {_told(self.shape)}",
                )

    def _take_most_common(self, columns: dict[FeatureFile, Columns]) -> None:
        """Take the columns that most tables have; those of others are failures of their clips."""
        wanted = Counter(tuple(sorted(found.features)) for found in columns.values()).most_common(1)[0][0]
        self._take_columns(next(found for found in columns.values() if tuple(sorted(found.features)) == wanted))
        for file, found in columns.items():
            try:
                self._take_columns(found)
            except SourceError as error:
                self.problems[file.id] = (file.path, error.message)

    def _take_columns(self, found: Columns) -> None:
        if self.columns is None:
            self.columns, self.shape = found, (len(found.features),)
        expect_same_columns(found, self.columns)


def of_each_table(clips: Iterable[Wanted]) -> dict[Path, list[Wanted]]:
    """Return the clips of each table that holds many, in the order of its rows."""
    found: dict[Path, list[Wanted]] = {}
    for clip in clips:
        found.setdefault(clip.pieces[0].path, []).append(clip)
    for of_one in found.values():
        of_one.sort(key=lambda clip: clip.pieces[0].span.first if clip.pieces[0].span else 0)
    return found


def _told(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape))


def _of_import(problem: Failure) -> Failure:
    return replace(problem, stage=STAGE)
