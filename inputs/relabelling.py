"""Other labels, subjects, splits, folds, moments or extra columns for the clips of a cache, from lists: nothing is extracted.

`plan_relabelling` says what would change, `Relabelling.write` changes it, in one commit. What could not be extracted is changed with the
clips: scores count it under its label, in its fold. A cell with nothing in it leaves what is there, unless `clear` is asked for.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..cache import Cache, CacheWriter, open_cache
from ..cache.changes.rewriting import add_columns, finish_rewriting, naming_repair
from ..cache.interrupt import uninterrupted
from ..cache.schema import EXTRA, MOMENTS, NO_NUMBER, ColumnSpec
from ..errors import CacheError, UsageError, counted, nearest, quoted, some
from .csvlist import ClipList
from .extracolumns import PREFIX, column_specs, listed_names, names_of, text_columns, typed_cells
from .input import ANNOTATIONS, UNTOLD, is_disordered
from .listmatch import HOW, Line, Match, Unmatched, match_lines
from .tablelist import read_lists

if TYPE_CHECKING:
    from .tablelist import Given

EMPTY: Mapping[str, Any] = {**UNTOLD, **dict.fromkeys(MOMENTS, -1)}
COLUMNS = (*ANNOTATIONS, *MOMENTS)
KEYS = ("id", "path")
ALIKE = 0.75  # of difflib: a letter more or less, but not sad and calm
Values = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Change:
    """One cell of the cache's tables that becomes another."""

    id: str
    column: str
    before: Any
    after: Any

    @property
    def kind(self) -> str:
        """Return whether something is set where nothing was, changed, or cleared."""
        if _is_empty(self.column, self.before):
            return "set"
        return "cleared" if _is_empty(self.column, self.after) else "changed"


@dataclass(frozen=True, kw_only=True)
class Relabelling:
    """What lists would change in a cache."""

    cache: Path
    known: Mapping[str, Values]  # what is said of each clip and failure now
    failures: frozenset[str]
    columns: tuple[str, ...]
    matches: tuple[Match, ...]
    unmatched: tuple[Unmatched, ...]
    unnamed: tuple[str, ...]  # clips and failures that no line names: they stay as they are
    changes: tuple[Change, ...]
    warnings: tuple[str, ...]
    new_columns: Mapping[str, ColumnSpec] = field(default_factory=dict)  # that the cache does not have yet

    def matched(self) -> dict[str, int]:
        """Count the clips by how they were told."""
        how = {clip_id: match.how for match in self.matches for clip_id in match.ids}
        found = Counter(how.values())
        return {name: found[name] for name in HOW if found[name]}

    def kinds(self, column: str) -> dict[str, int]:
        """Count the changes of a column by kind."""
        return dict(Counter(change.kind for change in self.changes if change.column == column))

    def counts(self, column: str) -> dict[Any, tuple[int, int]]:
        """Count clips and failures by their value in a column, before and after."""
        before = Counter(values[column] for values in self.known.values() if column in values)
        after = before.copy()
        for change in self.changes:
            if change.column == column:
                after[change.before] -= 1
                after[change.after] += 1
        return {
            value: (before[value], after[value]) for value in sorted(after, key=lambda v: (_is_empty(column, v), v))
        }

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON data."""
        return {
            "cache": str(self.cache),
            "columns": list(self.columns),
            "changes": [vars(change) | {"kind": change.kind} for change in self.changes],
            "counts": {
                column: [
                    {"value": value, "before": before, "after": after}
                    for value, (before, after) in self.counts(column).items()
                ]
                for column in self.columns
            },
            "matched": self.matched(),
            "unmatched": [
                {"list": str(one.line.list), "line": one.line.row.line, "clip": one.line.says, "why": one.why}
                for one in self.unmatched
            ],
            "unnamed": list(self.unnamed),
        }

    def write(self) -> None:
        """Change the cache, in one commit; refused if it was changed meanwhile."""
        if self.changes:
            with naming_repair(self.cache):
                self._write()

    def _write(self) -> None:
        wanted: dict[str, Values] = {}
        for change in self.changes:
            wanted.setdefault(change.id, {})[change.column] = change.after
        if self.new_columns and annotations(open_cache(self.cache), self.new_columns) == self.known:
            add_columns(self.cache, self.new_columns)
        with CacheWriter.open(self.cache) as writer:
            is_same = annotations(open_cache(self.cache), self.new_columns) == self.known
            # new labels come in the order of their names
            order = sorted(wanted, key=lambda clip_id: wanted[clip_id].get("label") or "")
            with uninterrupted():  # a Ctrl-C would commit a part of it
                for clip_id in order if is_same else ():
                    writer.update(clip_id, **{_stored(name): value for name, value in wanted[clip_id].items()})
        if not is_same:
            raise CacheError(
                f"{self.cache} has changed since it was compared with the lists; nothing was written.",
                remedy="run the same command again: it shows what would change now",
            )


def plan_relabelling(
    cache: Path | str,
    lists: Given,
    *,
    only: Sequence[str] = (),
    clear: bool = False,
    strict: bool = False,
) -> Relabelling:
    """Compare lists with a cache; call `write()` on the result to apply the changes.

    Lists are files or data frames. `only` takes some of the columns, `clear` also empties cells, `strict` refuses what does not match.

    >>> found = est.plan_relabelling("cache.zarr", {"id": ["happiness/s000_00"], "split": ["test"]})
    >>> [(change.id, change.before, change.after) for change in found.changes]
    [('happiness/s000_00', 'train', 'test')]
    """
    finish_rewriting(cache)
    with naming_repair(Path(cache)):
        opened = open_cache(cache)
    read = read_lists(lists, keys=KEYS)
    columns = _columns(read, only)
    specs = column_specs((row.extra for found in read.values() for row in found.rows), opened.schema.extra)
    new = {name: spec for name, spec in specs.items() if name not in opened.schema.extra and PREFIX + name in columns}
    _expect_format(opened, columns)
    known = annotations(opened, new)
    lines = [Line(list=path, row=row) for path, found in read.items() for row in found.rows]
    matches, unmatched = match_lines(lines, _paths(opened).items())
    named = {clip_id for match in matches for clip_id in match.ids}
    unnamed = tuple(clip_id for clip_id in known if clip_id not in named)
    if not matches:
        raise _nothing_matches(opened, lines)
    if strict and (unmatched or unnamed):
        raise UsageError(
            f"--strict: {counted(len(unmatched), 'line', 'name')} no clip{_in_brackets(one.line.says for one in unmatched)}; "
            f"{counted(len(unnamed), 'clip', 'are')} on no line{_in_brackets(unnamed)}.",
            remedy="complete the lists, or leave out --strict",
        )
    wanted = _wanted(matches, read, columns, specs, clear=clear)
    _expect_moments(opened, wanted)
    changes = tuple(
        Change(id=clip_id, column=column, before=known[clip_id][column], after=wanted[clip_id][column])
        for clip_id in known
        for column in columns
        if column in wanted.get(clip_id, ())
        and column in known[clip_id]
        and wanted[clip_id][column] != known[clip_id][column]
    )
    found = Relabelling(
        cache=opened.path,
        known=known,
        failures=frozenset(known) - frozenset(opened.ids),
        columns=columns,
        matches=tuple(matches),
        unmatched=tuple(unmatched),
        unnamed=unnamed,
        changes=changes,
        warnings=(*_unused(read), *_text_columns(read, opened.schema.extra, columns), *_disordered(known, wanted)),
        new_columns=new,
    )
    return replace(found, warnings=(*found.warnings, *_odd_labels(found)))


def annotations(cache: Cache, new: Mapping[str, ColumnSpec] | None = None) -> dict[str, Values]:
    """Return what a cache says of its clips and of its failures; one whose id is that of a clip is an earlier attempt.

    Columns that are `new` say nothing yet. Failures have no moments, and of extra columns those of text.
    """
    columns = cache.clips.columns
    known = {
        clip_id: {"label": label, "subject": subject, "split": split, "fold": int(fold)}
        for clip_id, label, subject, split, fold in zip(
            cache.ids, cache.clips.label_names, columns["subject"], columns["split"], columns["fold"], strict=True
        )
    }
    more = {name: columns[name] for name in MOMENTS if name in columns}
    more |= {PREFIX + name: values for name, values in cache.clips.extra.items()}
    for place, clip_id in enumerate(cache.ids):
        known[clip_id] |= {name: _value(values[place]) for name, values in more.items()}
        known[clip_id] |= {PREFIX + name: None for name in new or () if PREFIX + name not in more}
    text = [name for name, spec in (new or {}).items() if spec.failures]
    for failure in cache.failures:
        told = {PREFIX + name: failure.extra.get(name) for name in (*cache.schema.failure_extra, *text)}
        known.setdefault(failure.id, told | {column: getattr(failure, column) for column in ANNOTATIONS})
    return known


def _paths(cache: Cache) -> dict[str, str]:
    clips = zip(cache.ids, cache.clips.columns["path"], strict=True)
    return {failure.id: failure.path for failure in cache.failures} | dict(clips)


def _columns(read: Mapping[Path, ClipList], only: Sequence[str]) -> tuple[str, ...]:
    """Return the columns that are taken from the lists."""
    if not read:
        raise UsageError("Which list?", remedy="est cache relabel CACHE LIST")
    for name in only:
        if name not in COLUMNS and not name.startswith(PREFIX):
            near = nearest(name, COLUMNS, cutoff=ALIKE)
            raise UsageError(
                f"--only takes {', '.join(COLUMNS)} and {PREFIX}NAME; found {name!r}.",
                remedy=f"--only {near}" if near else "--only fold",
            )
    extra = [PREFIX + name for found in read.values() for name in found.extra]
    all_columns = (*COLUMNS, *dict.fromkeys([*extra, *(name for name in only if name.startswith(PREFIX))]))
    wanted = tuple(name for name in all_columns if name in (only or all_columns))
    for path, found in read.items():
        if not set(wanted) & names_of(found):
            near = [(name, word) for name in found.unused if (word := nearest(name, wanted))]
            raise UsageError(
                f"{path} has no column {' or '.join(wanted)}; its columns: {listed_names([found])}.",
                remedy=f"is {near[0][0]!r} the {near[0][1]}?" if near else "name the columns in the first line",
            )
    there = {name for found in read.values() for name in names_of(found)}
    for name in only:
        if name not in there:
            raise UsageError(
                f"No list has a column {name!r}; their columns: {listed_names(read.values())}.",
                remedy=f"leave {name} out of --only",
            )
    return tuple(name for name in wanted if name in there)


def _expect_format(cache: Cache, columns: Sequence[str]) -> None:
    """Refuse columns that a cache of format 1 has no place for, and moments that are those of a cache's rows."""
    later = [name for name in columns if name in MOMENTS or name.startswith(PREFIX)]
    barred = later if cache.snapshot.manifest.version == 1 else MOMENTS
    only = f"; or --only {','.join(kept)}" if (kept := [name for name in columns if name not in barred]) else ""
    if later and cache.snapshot.manifest.version == 1:
        raise UsageError(
            f"{cache.path} has format 1, which has no place for {', '.join(later)}.",
            remedy=f"est cache convert {quoted(cache.path)} NEW upgrades it{only}",
        )
    if cache.recipes.frames.flow and set(columns) & set(MOMENTS):
        remedy = f"est extract LIST with the cache's options makes rows again{only}"
        raise UsageError(f"{cache.path} has rows of flow, which other onsets and apexes would change.", remedy=remedy)


def _expect_moments(cache: Cache, wanted: Mapping[str, Values]) -> None:
    """Refuse an onset, apex or offset behind a clip's last frame."""
    lengths = dict(zip(cache.ids, np.asarray(cache.clips.count).tolist(), strict=True))
    for clip_id, values in wanted.items():
        for name in MOMENTS:
            frame = values.get(name)
            if frame is not None and frame >= lengths.get(clip_id, frame + 1):
                raise UsageError(
                    f"{name} of {clip_id!r}: expected one of its {lengths[clip_id]} frames, counted from 0; found {frame}.",
                    remedy="correct the list: frames are those of the clip, not of the video that it was cut from",
                )


def _stored(column: str) -> str:
    """Return a column's name in the cache."""
    return EXTRA + column.removeprefix(PREFIX) if column.startswith(PREFIX) else column


def _value(cell: Any) -> Any:
    """Return a cell as lists say it: numbers of Python, rows as tuples, None for an extra one in which nothing is told."""
    value = cell.tolist() if isinstance(cell, np.ndarray | np.generic) else cell
    if isinstance(value, list):
        return None if any(number != number for number in value) else tuple(value)
    return None if value in ("", NO_NUMBER) or value != value else value


def _is_empty(column: str, value: Any) -> bool:
    return value is None if column.startswith(PREFIX) else value == EMPTY[column]


def _said(line: Line, column: str, specs: Mapping[str, ColumnSpec]) -> Any:
    """Return what a line says in a column."""
    if not column.startswith(PREFIX):
        return getattr(line.row, column)
    name = column.removeprefix(PREFIX)
    return typed_cells({name: line.row.extra.get(name, "")}, specs, line.where).get(name)


def _wanted(
    matches: Iterable[Match],
    read: Mapping[Path, ClipList],
    columns: Sequence[str],
    specs: Mapping[str, ColumnSpec],
    *,
    clear: bool,
) -> dict[str, Values]:
    """Return what the lists say of each clip; two lines that contradict each other are refused."""
    said: dict[tuple[str, str], tuple[Any, Line]] = {}
    for match in matches:
        line = match.line
        for column in columns:
            value = _said(line, column, specs)
            if column not in names_of(read[line.list]) or (_is_empty(column, value) and not clear):
                continue
            for clip_id in match.ids:
                other, first = said.setdefault((clip_id, column), (value, line))
                if other != value:
                    raise UsageError(
                        f"{first.where} and {line.where} disagree on the {column} of {clip_id!r}: {other!r} and {value!r}.",
                        remedy="correct one of them; each clip has one",
                    )
    wanted: dict[str, Values] = {}
    for (clip_id, column), (value, _) in said.items():
        wanted.setdefault(clip_id, {})[column] = value
    return wanted


def _nothing_matches(cache: Cache, lines: Sequence[Line]) -> UsageError:
    listed = _in_brackets([line.says for line in lines]) or " (they are empty)"
    return UsageError(
        f"None of {len(lines)} lines names a clip{listed}; {cache.path} has {len(cache)} clips{_in_brackets(cache.ids)}.",
        remedy=f"a column `id` with the ids of est cache ls {quoted(cache.path)}",
    )


def _unused(read: Mapping[Path, ClipList]) -> tuple[str, ...]:
    unused = {path: ", ".join(found.unused) for path, found in read.items() if found.unused}
    return tuple(f"{path}: columns that are not used: {names}" for path, names in unused.items())


def _text_columns(read: Mapping[Path, ClipList], there: Collection[str], columns: Sequence[str]) -> Iterator[str]:
    """Warn of new columns that a few cells make text."""
    passed = {*there, *(name for found in read.values() for name in found.extra if PREFIX + name not in columns)}
    for path, found in read.items():
        yield from text_columns(path, found, passed)


def _disordered(known: Mapping[str, Values], wanted: Mapping[str, Values]) -> Iterator[str]:
    """Warn of clips whose onset, apex and offset would not follow each other."""
    found = [
        clip_id
        for clip_id, values in wanted.items()
        if values.keys() & set(MOMENTS)
        and is_disordered([values.get(name, known[clip_id].get(name, -1)) for name in MOMENTS])
    ]
    if found:
        yield f"{counted(len(found), 'clip', 'have')} an onset, apex and offset that do not follow each other: {some(map(repr, found))}"


def _odd_labels(found: Relabelling) -> list[str]:
    """Warn of labels that are new to the cache and look like a slip."""
    counts = found.counts("label")
    there = [label for label, (_, after) in counts.items() if after and label is not None]
    new = [label for label in there if not counts[label][0]]
    warnings = []
    numbers = [label for label in new if label.isdecimal()]
    if numbers and any(before and label and not label.isdecimal() for label, (before, _) in counts.items()):
        warnings.append(
            f"The lists have the labels {', '.join(numbers)}: a cache holds names, and the meaning of each number is not known."
        )
    folded = {label: label.casefold() for label in there}
    for label in new:
        others = {text: other for other, text in folded.items() if other != label}
        near = difflib.get_close_matches(folded[label], others, n=1, cutoff=ALIKE)
        if near and not label.isdecimal():
            warnings.append(f"The new label {label!r} is another class than {others[near[0]]!r}: is it a misspelling?")
    return warnings


def _in_brackets(names: Iterable[str]) -> str:
    """Name the first few in brackets."""
    return f" ({shown})" if (shown := some(map(repr, names))) else ""
