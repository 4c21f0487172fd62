"""Lists of clips: a table with a header (CSV, TSV), or a text file with a path in each line.

Delimiter (comma, semicolon, tab, bar) and encoding (UTF-8 with and without mark, UTF-16 by its mark, else Windows-1252) are recognised,
column names by the table `ALIASES`. A list that makes no sense is refused as a whole, with the line: it is mended in a minute, and a run
takes hours. A listed file that is not there is a matter of that clip alone.
"""

from __future__ import annotations

import codecs
import csv
import io
import math
import os
import re
import shlex
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..cache.remote.address import url_of
from ..cache.schema import MOMENTS
from ..errors import UsageError, nearest, some
from .extracolumns import PREFIX, expect_names
from .folders import MOST_DIGITS, VIDEO_SUFFIXES
from .places import not_there

LIST_SUFFIXES = (".csv", ".tsv", ".txt")
MANIFEST = "manifest.csv"
DELIMITERS = ",;\t|"
# What people call the columns, the first that a list has wins. Segments in frames (start_frame …) are none of these.
ALIASES = {
    "path": "path file filename filepath video videopath videofile videoname clip clippath clipname frames folder",
    "label": "label class classname emotion expression category labelname",
    "subject": "subject subjectid person personid actor actorid speaker speakerid identity participant participantid",
    "split": "split set subset partition",
    "fold": "fold foldid cvfold",
    "start": "start starttime startsec startseconds begin begintime",
    "end": "end endtime endsec endseconds stop stoptime",
    "id": "id clipid uid",
    "onset": "onset onsetframe",  # frames of the clip, counted from 0
    "apex": "apex apexframe",
    "offset": "offset offsetframe",
}
COUNTS = frozenset(("numframes", "nframes", "framecount"))  # columns that say how many frames a clip has
OF_THE_DEMO = frozenset(("seed",))  # columns of a rendered set's manifest that say nothing about extraction
ENDLESS = re.compile(rf"\d{{{MOST_DIGITS}}}")
EMPTY_NUMBERS = frozenset(("", "nan", "none", "null", "na", "n/a"))


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of a list."""

    line: int
    path: str
    id: str = ""
    label: str | None = None
    subject: str = ""
    split: str = ""
    fold: int = -1
    start: float | None = None
    end: float | None = None
    onset: int = -1
    apex: int = -1
    offset: int = -1
    num_frames: int = -1  # read where it is asked for
    extra: Mapping[str, str] = field(default_factory=dict)  # cells of the columns extra:NAME


@dataclass(frozen=True, kw_only=True)
class ClipList:
    """A list that was read."""

    rows: tuple[Row, ...]
    columns: tuple[str, ...] = ("path",)  # those of `ALIASES` that it has
    extra: tuple[str, ...] = ()  # names of its columns extra:NAME
    unused: tuple[str, ...] = ()  # columns that mean nothing here


def read_list(path: Path, *, keys: tuple[str, ...] = ("path",), counted: bool = False) -> ClipList:
    """Read a list, or say which line of it makes no sense; its clips are told by one of the columns `keys`.

    With `counted` a column num_frames says how many frames each clip has.
    """
    text = read_text(path)
    delimiter, header = _header(text, path, keys)
    if path.suffix.lower() == ".txt" and not any(key in _columns(header) for key in keys):
        lines = enumerate(text.splitlines(), start=1)
        return ClipList(rows=tuple(Row(line=number, path=line.strip()) for number, line in lines if line.strip()))
    return make_list(header, _records(text, delimiter, path), str(path), keys=keys, counted=counted)


def make_list(
    header: Sequence[str],
    records: Iterable[tuple[int, list[str]]],
    where: str,
    *,
    keys: tuple[str, ...] = ("path",),
    counted: bool = False,
) -> ClipList:
    """Make a list of a table's header and of its lines, each with its number."""
    columns = _columns(header)
    if counted:
        places = [place for place, name in enumerate(header) if _plain(name) in COUNTS]
        columns |= {"num_frames": places[0]} if places else {}
    if not any(key in columns for key in keys):
        wanted = " or ".join(f"`{key}`" for key in keys)
        raise UsageError(
            f"{where}: a list has a column {wanted}, found {', '.join(map(repr, header)) or 'an empty file'}.",
            remedy=_named_nearest(header, keys),
        )
    _expect_once(header, where)
    extra = {i: name.strip()[len(PREFIX) :] for i, name in enumerate(header) if name.casefold().startswith(PREFIX)}
    expect_names(extra.values(), where)
    used = {*columns.values(), *extra}
    unused = tuple(name for i, name in enumerate(header) if i not in used and name and _plain(name) not in OF_THE_DEMO)
    rows = []
    for line, cells in records:
        if len(cells) > len(header) and any(cell.strip() for cell in cells[len(header) :]):
            raise UsageError(
                f"{where}, line {line}: expected {len(header)} cells, found {len(cells)}.",
                remedy='a cell that holds the delimiter is written in quotes: "a, b.mp4"',
            )
        values = {name: cells[i].strip() if i < len(cells) else "" for name, i in columns.items()}
        more = {name: cells[i].strip() if i < len(cells) else "" for i, name in extra.items()}
        rows.append(_row(values, more, line, f"{where}, line {line}", keys))
    return ClipList(rows=tuple(rows), columns=tuple(columns), extra=tuple(extra.values()), unused=unused)


def _named_nearest(header: Sequence[str], keys: tuple[str, ...]) -> str:
    """Return which column to rename: the one whose name is most like one of those that are read."""
    known = {alias: key for key in keys for alias in ALIASES[key].split()}
    for cutoff in (0.8, 0.7, 0.6):
        for name in header:
            if (near := nearest(_plain(name), known, cutoff=cutoff)) is not None:
                return f"rename the column {name!r} to {known[near]}"
    return f"name the columns in the first line; for the path any of {', '.join(ALIASES['path'].split())} will do"


def has_path_column(path: Path) -> bool:
    """Return whether a table is a list of clips."""
    return "path" in _columns(_header(read_text(path), path, ("path",))[1])


def expect_clips(read: ClipList, path: Path) -> None:
    """Refuse a list that names nothing, or nothing that is there: it is empty, no list, or its files lie elsewhere."""
    if not read.rows:
        raise UsageError(f"{path}: the list names no clip.", remedy="a line for each clip, with the path of its file")
    if any(url_of(row.path) or os.path.lexists(locate(path.parent, row.path)) for row in read.rows):
        return
    first, number = read.rows[0], len(read.rows)
    none = f"none of the {number} files that it names is there" if number > 1 else "the file that it names is not there"
    looked = (
        os.path.abspath(path.parent / first.path).encode(errors="surrogateescape").decode(errors="backslashreplace")
    )
    folder = f"{path.parent}, the folder of the list" if path.is_absolute() else "the folder in which Python works"
    no_list = "; only a text that lists clips can be an INPUT" if path.suffix.lower() == ".txt" else ""
    raise UsageError(
        f"{path}: {none}; line {first.line} is {first.path!r}, looked for at {looked}.",
        remedy=f"paths that begin at {folder}, or at /{no_list}",
    )


def locate(folder: Path, written: str) -> Path:
    """Return where a listed path lies, also when the list was written on another system: backslashes, accents in another form."""
    forms = [written, *(unicodedata.normalize(form, written) for form in ("NFC", "NFD"))]
    forms += [form.replace("\\", "/") for form in forms]
    return next((folder / form for form in forms if os.path.exists(folder / form)), folder / written)


def listed_id(path: Path, folder: Path) -> str:
    """Return the id of a listed clip; what lies outside the list's folder keeps its path less what leads out."""
    relative = (
        str(Path(*path.parts[1:]))
        if url_of(path)
        else os.path.relpath(path, folder)
        if path.is_relative_to(folder.parent)
        else str(path.relative_to(path.anchor))
    )
    parts = [part for part in Path(relative).parts if part != ".."]
    name = Path(*parts)
    return (name.with_suffix("") if name.suffix.lower() in VIDEO_SUFFIXES else name).as_posix()


def segment(row: Row) -> str:
    """Return what tells a segment's id from its video's."""
    if row.start is None and row.end is None:
        return ""
    return f"#{_brief(row.start or 0.0)}-{'' if row.end is None else _brief(row.end)}"


def _brief(seconds: float) -> str:
    return f"{seconds:.6f}".rstrip("0").rstrip(".")


def _row(values: dict[str, str], extra: dict[str, str], line: int, where: str, keys: tuple[str, ...]) -> Row:
    if not any(values.get(key) for key in keys):
        raise UsageError(f"{where}: the {' and the '.join(key for key in keys if key in values)} is empty.")
    start = _seconds(values.get("start", ""), f"{where}: start")
    end = _seconds(values.get("end", ""), f"{where}: end")
    if end is not None and end <= (start or 0.0):
        raise UsageError(f"{where}: a segment ends after it starts, found {start or 0:g} to {end:g} s.")
    return Row(
        line=line,
        path=values.get("path", ""),
        id=values.get("id", ""),
        label=values.get("label") or None,
        subject=values.get("subject", ""),
        split=values.get("split", ""),
        fold=_whole(values.get("fold", ""), f"{where}: fold"),
        start=start or None,  # a start of 0 is no segment
        end=end,
        **{name: _frame(values.get(name, ""), f"{where}: {name}") for name in MOMENTS},
        num_frames=_whole(values.get("num_frames", ""), f"{where}: num_frames"),
        extra=extra,
    )


def read_text(path: Path) -> str:
    """Return what a list says, whatever its encoding."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise not_there(path) from None
    except OSError as error:
        remedy = f"a list (.csv, .tsv, .txt) in {path}" if path.is_dir() else f"chmod u+r {shlex.quote(str(path))}"
        raise UsageError(f"{path}: the list cannot be read ({error.strerror}).", remedy=remedy) from error
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encodings = ("utf-16",)
    else:
        encodings = ("utf-8-sig", "cp1252", "latin-1")
    for encoding in encodings:
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" not in text:
            return _without_endless_numbers(text, path)
    raise UsageError(f"{path}: the list is not text.", remedy="save it as CSV in UTF-8")


def _without_endless_numbers(text: str, path: Path) -> str:
    """Refuse a list with a number that Python would not read: nothing that is counted has so many digits."""
    if found := ENDLESS.search(text):
        line = text.count("\n", 0, found.start()) + 1
        raise UsageError(
            f"{path}, line {line}: a number has more than {MOST_DIGITS:,} digits.", remedy="correct the line"
        )
    return text


def _header(text: str, path: Path, keys: tuple[str, ...]) -> tuple[str, list[str]]:
    """Return the delimiter and the first line's cells: by the delimiter that finds a key and the most columns."""
    if found := re.match(r'sep=([^"\r])\r?\n', text):  # as Excel writes it
        return found[1], [cell.strip() for cell in next(_records(text, found[1], path, header=True), (0, []))[1]]
    candidates = [
        (delimiter, [cell.strip() for cell in next(_records(text, delimiter, path, header=True), (0, []))[1]])
        for delimiter in DELIMITERS
    ]
    return max(candidates, key=lambda found: (any(key in _columns(found[1]) for key in keys), len(found[1])))


def _records(text: str, delimiter: str, path: Path, *, header: bool = False) -> Iterator[tuple[int, list[str]]]:
    """Yield the lines with something in them, numbered as the file counts them; the header only when asked for."""
    skip = re.match(r"sep=.\r?\n", text)
    reader = csv.reader(io.StringIO(text[skip.end() :] if skip else text, newline=""), delimiter=delimiter, strict=True)
    before, is_header = bool(skip), True
    try:
        for cells in reader:
            line, before = before + 1, reader.line_num + bool(skip)
            if not any(cell.strip() for cell in cells):
                continue
            if header or not is_header:
                yield line, cells
            is_header = False
    except csv.Error as error:
        if not header:
            raise UsageError(
                f"{path}, line {before + 1}: {error}.",
                remedy="close the quotes that this line opens, or write them twice",
            ) from error


def _columns(header: Sequence[str]) -> dict[str, int]:
    """Return which column holds what."""
    plain = [_plain(name) for name in header]
    found = {}
    for column, names in ALIASES.items():
        for name in names.split():
            if name in plain:
                found[column] = plain.index(name)
                break
    return found


def _expect_once(header: Sequence[str], where: str) -> None:
    """Refuse a column that is named twice: which of the two is meant?"""
    named = Counter(_plain(name) for name in header)
    known = {name for names in ALIASES.values() for name in names.split()}
    if twice := [name for name, count in named.items() if count > 1 and name in known]:
        raise UsageError(
            f"{where}: {some(f'{named[name]} columns are named {name!r}' for name in twice)}.",
            remedy="remove or rename all but one",
        )


def _plain(name: str) -> str:
    return re.sub(r"[\s_.-]+", "", name).casefold()


def _whole(text: str, where: str) -> int:
    if text.casefold() in EMPTY_NUMBERS:
        return -1
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not (-1 <= number < 2**31 and number == math.floor(number)):
        raise UsageError(f"{where}: expected a whole number, found {text!r}.")
    return int(number)


def _frame(text: str, where: str) -> int:
    try:
        return _whole(text, where)
    except UsageError as error:
        raise UsageError(
            f"{error.message.rstrip('.')}: the frame of the clip, counted from 0.",
            remedy="another name for a column that holds something else",
        ) from error


def _seconds(text: str, where: str) -> float | None:
    """Read seconds (12.5, also 12,5) or a clock (1:02:03.5)."""
    if text.casefold() in EMPTY_NUMBERS:
        return None
    try:
        parts = [float(part) for part in text.replace(",", ".").split(":")]
    except ValueError:
        parts = [math.nan]
    total = sum(part * 60**power for power, part in enumerate(reversed(parts)))
    if len(parts) > 3 or min(parts) < 0 or not math.isfinite(total):
        raise UsageError(f"{where}: expected seconds or a clock like 1:02.5, found {text!r}.")
    return total
