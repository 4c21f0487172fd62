"""The errors that a user can fix, and the checks of settings that raise them; everything else is a bug and keeps its traceback.

An error says what was expected and what was found (`message`), and the command or change that fixes it (`remedy`). The cause is
Python's own: `raise CacheError(...) from error`. The exit status belongs to the class.
"""

from __future__ import annotations

import difflib
import functools
import math
import numbers
import re
import shlex
import sys
import traceback
from collections import Counter
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

STATUS_FAILED = 1
STATUS_USAGE = 2
STATUS_PARTIAL = 3  # finished, but some inputs failed, or duplicates were found: returned by a command, never raised
STATUS_INTERRUPTED = 130


class EstError(Exception):
    """An error that a user can fix: `message` says what is wrong, `remedy` how to fix it."""

    status = STATUS_FAILED

    def __init__(self, message: str, *, remedy: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        if remedy:
            self.add_note(f"try: {remedy}")  # below the message in a traceback: in a notebook nothing else shows it


class UsageError(EstError, ValueError):
    """An argument, option or configuration value that makes no sense, or that the disk contradicts."""

    status = STATUS_USAGE


class CacheError(EstError):
    """A cache that cannot do what was asked of it."""


class CacheVersionError(CacheError):
    """A cache of another format version."""


class CacheLocked(CacheError):
    """Another process writes this cache, or the file system cannot say whether one does."""


class NoLocks(CacheLocked):
    """The file system cannot say whether another process writes here."""


class CacheDamaged(CacheError):
    """Committed data that is missing or does not match its checksum."""


class RecipeMismatch(CacheError):
    """A cache made with other settings than those asked for."""


class FeaturesLeftOut(RecipeMismatch):
    """Options that leave out features which a cache has: rows of later clips would lack them."""

    status = STATUS_USAGE


class SourceError(EstError):
    """An input that cannot be read."""


@contextmanager
def damage_named(path: object, remedy: str) -> Generator[None]:
    """Say that a file of ours is damaged where what is looked up in it is absent or of another kind: somebody has edited it."""
    try:
        yield
    except EstError:
        raise
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        raise EstError(f"{path} is damaged ({type(error).__name__}: {brief(error)}).", remedy=remedy) from error


def first_line(error: BaseException) -> str:
    """Return the first line of what a library says of its error, or the error's kind where it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def brief(error: BaseException, limit: int = 160) -> str:
    """Return the first line of what a library says of its error, cut if it is long."""
    line = first_line(error)
    return line if len(line) <= limit else f"{line[: limit - 1].rstrip()}…"


def quoted(word: object) -> str:
    """Write a path as a word of a command that can be pasted into a shell: in quotes where it needs them."""
    return shlex.quote(str(word))


def nearest(found: object, names: Iterable[object], *, cutoff: float = 0.6) -> str | None:
    """Return the name that is spelt most like what was found; None where none is alike."""
    folded = {str(name).casefold(): str(name) for name in names}
    near = difflib.get_close_matches(str(found).casefold(), folded, n=1, cutoff=cutoff)
    return folded[near[0]] if near else None


def differing(where: object, settings: Mapping[str, tuple[object, object]], *, more: Sequence[str] = ()) -> str:
    """Say in which settings, name → (here, asked), something to be resumed differs; several as a table, `more` sentences below it."""
    rows = [(name, _worded(here), _worded(asked)) for name, (here, asked) in settings.items()]
    told = [f"{line.rstrip('.')}." for line in more]
    if not rows:
        return f"{where} is not what you asked for. {' '.join(told)}"
    if len(rows) == 1:
        (name, here, asked) = rows[0]
        return " ".join([f"{where} has {name} {here}, you asked for {asked}.", *told])
    rows = [("setting", "it has", "you asked for"), *rows]
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    lines = [f"  {name:<{widths[0]}}  {here:<{widths[1]}}  {asked}" for name, here, asked in rows]
    return "\n".join([f"{where} has other settings than you asked for:", *lines, *(f"  {line}" for line in told)])


def _worded(value: object) -> str:
    """Write the value of a setting for a message."""
    if value is None:
        return "not set"
    if value == "":
        return "none"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "none"
    return str(value)


OPENCV = "cv2"
OF_OPENCV = (
    "libGL",
    "libgthread",
    "libglib",
    "libSM",
    "libXext",
    "libXrender",
)  # of the libraries here it alone needs these
HEADLESS = "pip uninstall -y opencv-python && pip install opencv-python-headless"
LIBGL = "apt-get install libgl1 libglib2.0-0 libsm6 libxext6"


def missing_library(error: ImportError) -> EstError | None:
    """Explain that OpenCV, or a library of the system, cannot be loaded; None where an import failed for another reason: that is a bug."""
    explained = None
    library = re.search(r"[\w.+-]+\.so[\w.]*(?=:)", str(error))
    if isinstance(error, ModuleNotFoundError) and error.name == OPENCV:
        explained = EstError("OpenCV is not installed.", remedy="pip install opencv-python-headless")
    elif error.name == OPENCV or (library and library[0].startswith(OF_OPENCV)) or _is_raised_in(OPENCV, error):
        explained = EstError(f"OpenCV cannot be loaded: {why_not_loaded(str(error))}.", remedy=opencv_remedy())
    elif library is not None:
        explained = EstError(f"A library of the system is missing: {library[0]}.", remedy="est doctor")
    if explained is not None:
        explained.__context__ = error  # for --debug; the message says all that it says
    return explained


def opencv_remedy() -> str:
    """Return what fixes an OpenCV that cannot be loaded: the package without windows, or the libraries of the system that it lacks."""
    import importlib.metadata  # here: it costs est --help more than all else in this file

    try:
        importlib.metadata.version("opencv-python-headless")
    except importlib.metadata.PackageNotFoundError:
        return f"{HEADLESS}, or {LIBGL}"
    return LIBGL


def _is_raised_in(package: str, error: BaseException) -> bool:
    """Return whether an error was raised by a package, or below it."""
    frames = (frame for frame, _ in traceback.walk_tb(error.__traceback__))
    return any(frame.f_globals.get("__name__", "").partition(".")[0] == package for frame in frames)


def why_not_loaded(text: str) -> str:
    """Say of the words of an import that failed which library is missing; else their first line."""
    library = re.search(r"([\w.+-]+\.so[\w.]*): cannot open shared object", text)
    return (
        f"{library[1]} is missing"
        if library
        else text.strip().splitlines()[0].rstrip(".")
        if text.strip()
        else "no reason is given"
    )


def grouped(causes: Iterable[tuple[str, str]], number: int = 3) -> str:
    """Name what went wrong with inputs, (name, cause) each: the most common causes first, each with its first input and how many more."""
    first: dict[str, str] = {}
    counts: Counter[str] = Counter()
    for name, cause in causes:
        first.setdefault(cause, name)
        counts[cause] += 1
    shown = [
        f"{cause} ({f'{first[cause]} and {count - 1} more' if count > 1 else first[cause]})"
        for cause, count in counts.most_common(number)
    ]
    return some([*shown, *counts.keys() - dict(counts.most_common(number)).keys()], number, joint="; ")


def some(names: Iterable[object], number: int = 3, *, joint: str = ", ") -> str:
    """Name the first few for a message, and how many there are beside: `a, b, c and 4 more`, or with another joint `a; b; and 5 more`."""
    shown = [str(name) for name in names]
    beside = len(shown) - number
    before = " " if joint == ", " else joint
    return joint.join(shown[:number]) + (f"{before}and {beside} more" if beside > 0 else "")


def counted(number: float, noun: str, verb: str = "") -> str:
    """Count something in words, with a verb: `1 clip`, `2 clips`; with the verb have `1 clip has`, `2 clips have`."""
    if number == 1:
        return f"1 {noun} {SINGULAR.get(verb, verb + 's')}" if verb else f"1 {noun}"
    return f"{number} {noun}s {verb}".rstrip()


SINGULAR = {"are": "is", "were": "was", "have": "has", "do": "does"}
KINDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}
COUNTLESS = 2**31 - 1  # from here on the upper end is left out of a message about a number below the lower one
NUMBERS = {int: numbers.Integral, float: numbers.Real}  # those of numpy too


def expect_values(config: Any, prefix: str, **ranges: tuple[float, float]) -> None:
    """Refuse what a field's type does not have (2.5 epochs, a word that is no choice), and numbers outside of a range (low, high).

    `prefix` is what comes before a field's name: "loop." in a configuration, "--" on the command line.
    """
    for name, hint in hints_of(type(config)).items():
        found, default = getattr(config, name), getattr(type(config), name, None)
        kind, *others = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
        optional = found is None and type(None) in others
        if get_origin(kind) is Literal and not optional:
            expect_choice(_key(prefix, name), found, get_args(kind), default=default)
            continue
        if kind in KINDS and not optional and not _is_of(kind, found):
            key = _key(prefix, name)
            raise UsageError(f"{key} is {KINDS[kind]}, found {found!r}.", remedy=_setting(key, default))
        if name in ranges and not optional:
            expect_range(_key(prefix, name), found, *ranges[name], default=default)


def expect_choice(name: str, found: object, choices: Sequence[str], *, default: str | None = None) -> None:
    """Refuse a word that is none of the choices."""
    if found not in choices:
        raise wrong_choice(name, found, choices, default=default)


def wrong_choice(name: str, found: object, choices: Sequence[str], *, default: str | None = None) -> UsageError:
    """Return the error of a word that is none of the choices, which names the nearest."""
    *others, last = choices
    return UsageError(
        f"{name} is {', '.join(others)} or {last}, found {found!r}.",
        remedy=_setting(name, nearest(found, choices, cutoff=0.5) or default or choices[0]),
    )


def expect_range(name: str, found: float, low: float, high: float = math.inf, *, default: float | None = None) -> None:
    """Refuse a number outside of a range."""
    if low <= found <= high and found != math.inf:
        return
    allowed = f"goes from {low:g} to {high:g}"
    if high >= COUNTLESS:
        allowed = f"is at most {high:g}" if found > high else f"is at least {low:g}"
    shown = f"{found:g}" if abs(found) <= sys.float_info.max or not isinstance(found, int) else f"{str(found)[:9]}…"
    raise UsageError(f"{name} {allowed}, found {shown}.", remedy=_setting(name, low if default is None else default))


@functools.cache
def hints_of(kind: type) -> dict[str, Any]:
    """Return the types of a class's fields, evaluated once: a sweep makes thousands of configurations."""
    return get_type_hints(kind)


def _is_of(kind: type, found: object) -> bool:
    """Return whether a value is of a kind; true and false are numbers to Python alone."""
    if isinstance(found, bool):
        return kind is bool
    return isinstance(found, NUMBERS.get(kind, kind))


def _key(prefix: str, name: str) -> str:
    """Write a field as the user does."""
    return prefix + (name.replace("_", "-") if prefix == "--" else name)


def _setting(key: str, value: object) -> str | None:
    """Write a setting as the user does; none where there is no value to suggest."""
    if value is None:
        return None
    shown = str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else value
    return f"{key} {shown}" if key.startswith("--") else f"--set {key}={shown}"
