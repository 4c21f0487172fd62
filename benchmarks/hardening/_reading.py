"""Mutated text for a parser, and what the parser makes of it: read, refused by an error of est, or a finding.

A finding is any other exception, a warning, or more CPU time than `MOST_SECONDS` for one example. Examples are drawn by hypothesis.
"""

from __future__ import annotations

import json
import math
import signal
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from est.errors import EstError

MOST_SECONDS = 5.0  # of CPU time for one example; none of the sound ones takes a tenth of a second
ODD = (
    b"", b"\0", b"\n", b"\r", b"\r\n", b" ", b"\t", b",", b";", b"|", b'"', b"'", b"=", b":", b"/", b"\\", b"..", b"-", b"#", b"*",
    b"(", b")", b"[", b"]", b"{", b"}", b"[" * 3000, b"(" * 3000, b"{a=" * 3000, b'{"a":' * 3000, b"9" * 5000, b"1" * 20, b"-1", b"0",
    b"nan", b"inf", b"-inf", b"1e999", b"1e-999", b"1_000", b"true", b"null", b"none", b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff",
    b"\xed\xa0\x80", b"\x85", b"\xe2\x80\xa8", "é".encode(), "e\u0301".encode(), "٣".encode(), "²".encode(), b"\\ud800", b"a" * 5000,
    b"<!DOCTYPE x [<!ENTITY y SYSTEM 'file:///etc/passwd'>]>", b"&y;", b"__import__('os')", b"../../../../etc/passwd", b"sep=\"\n",
)  # fmt: skip

ABSENT = object()
NODES = (
    ABSENT,
    ABSENT,
    None,
    True,
    0,
    -1,
    1.5,
    10**30,
    math.nan,
    "",
    "x",
    "\ud800",
    "../x",
    [],
    [1],
    ["x", "x"],
    {},
    {"x": 1},
)


class TooSlow(BaseException):
    """An example that took more CPU time than any may take; no error, so that nothing takes it for one of its own."""


@dataclass(frozen=True, kw_only=True)
class Parser:
    """A parser of text: what goes through it, sound examples, and how it is called."""

    name: str
    what: str  # options and files that it reads
    samples: Sequence[bytes]
    read: Callable[[bytes], object]
    words: Sequence[bytes] = ()  # of its language, beside `ODD`
    share: float = 1.0  # of the examples that are asked for: some parsers take much longer than others


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What was no error of est, where it came from, and the shortest input that led to it."""

    what: str
    where: str
    example: bytes

    def __str__(self) -> str:
        shown = self.example if len(self.example) <= 300 else self.example[:300] + b"..."
        return f"{self.what} at {self.where} from {shown!r}"


@dataclass(kw_only=True)
class Tally:
    """What became of the examples of one parser."""

    counts: Counter[str] = field(default_factory=Counter)  # "read", "refused", "found"
    findings: dict[tuple[str, str], Finding] = field(default_factory=dict)

    def add(self, what: str, where: str, example: bytes) -> None:
        """Count a finding; of those from one place the shortest input is kept."""
        self.counts["found"] += 1
        known = self.findings.get((what, where))
        if known is None or len(example) < len(known.example):
            self.findings[what, where] = Finding(what=what, where=where, example=example)


def examine(parser: Parser, examples: int, number: int) -> Tally:
    """Give a parser so many mutated texts, the same ones for the same seed."""
    tally = Tally()

    @seed(number)
    @settings(
        max_examples=max(1, round(examples * parser.share)),
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(mutated(parser))
    def reading(data: bytes) -> None:
        try:
            with warnings.catch_warnings(), bounded():
                warnings.simplefilter("error")
                parser.read(data)
            tally.counts["read"] += 1
        except EstError:
            tally.counts["refused"] += 1
        except TooSlow:
            tally.add("TooSlow", "", data)
        except Exception as error:  # noqa: BLE001 - every other one is what is looked for
            tally.add(type(error).__name__, _place(error), data)

    reading()
    return tally


@st.composite
def mutated(draw: Any, parser: Parser) -> bytes:
    """Draw a sound text with a few changes, or any bytes."""
    if draw(st.integers(0, 15)) == 0:
        return draw(
            st.one_of(st.binary(max_size=200), st.text(max_size=200).map(lambda text: text.encode(errors="replace")))
        )
    data = draw(st.sampled_from(list(parser.samples)))
    words = [*ODD, *parser.words]
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(data)))
        until = min(len(data), at + draw(st.sampled_from([0, 0, 1, 1, 2, 4, 8, 30, len(data)])))
        kind = draw(st.sampled_from(["word", "word", "flip", "repeat", "cell", "cut", "node", "node"]))
        if kind == "word":
            data = data[:at] + draw(st.sampled_from(words)) + data[until:]
        elif kind == "flip" and at < len(data):
            data = data[:at] + bytes([data[at] ^ 1 << draw(st.integers(0, 7))]) + data[at + 1 :]
        elif kind == "repeat":
            data = data[:until] + data[at:until] * draw(st.integers(1, 3)) + data[until:]
        elif kind == "cell":  # what stands between two signs becomes a word
            first, last = _cell(data, at)
            data = data[:first] + draw(st.sampled_from(words)) + data[last:]
        elif kind == "cut":
            data = data[:at]
        elif kind == "node":
            data = _with_other_node(draw, data)
    return data


def _with_other_node(draw: Any, data: bytes) -> bytes:
    """Put another value in the place of one of a JSON text, or take it away."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return data
    places: list[tuple[Any, Any]] = []
    waiting = [document]
    while waiting:
        one = waiting.pop()
        inner = list(one.items()) if isinstance(one, dict) else list(enumerate(one)) if isinstance(one, list) else []
        places += [(one, key) for key, _ in inner]
        waiting += [value for _, value in inner]
    if not places:
        return data
    holder, key = draw(st.sampled_from(places))
    value = draw(st.sampled_from(NODES))
    if value is ABSENT:
        del holder[key]
    else:
        holder[key] = value
    return json.dumps(document).encode()


def _cell(data: bytes, at: int) -> tuple[int, int]:
    """Return where the run of letters and digits around a place begins and ends."""
    first = last = at
    while first > 0 and data[first - 1 : first].isalnum():
        first -= 1
    while last < len(data) and data[last : last + 1].isalnum():
        last += 1
    return first, last


@contextmanager
def bounded() -> Generator[None]:
    """End what takes more CPU time than it may."""

    def end(*_: Any) -> None:
        raise TooSlow

    before = signal.signal(signal.SIGVTALRM, end)
    signal.setitimer(signal.ITIMER_VIRTUAL, MOST_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def _place(error: BaseException) -> str:
    """Return the last line of the package that a traceback names."""
    root = str(Path(__file__).resolve().parents[2])
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename.startswith(root)]
    own = [frame for frame in frames if "benchmarks" not in frame.filename] or frames
    if not own:
        return ""
    return f"{Path(own[-1].filename).resolve().relative_to(root)}:{own[-1].lineno}".replace(".types/est/", "")
