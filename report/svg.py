"""Pieces of SVG, and how wide a text is about: what a browser's font makes of it is not known here."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from html import escape

SIZE = 12  # pixels of the letters
GREY, DARK = "#555", "#222"
NARROW, WIDE = set("iljtfrI.,:;|!'()[] "), set("mwMW@%—…#&+<=>~^")
CELLS = {"F": 1.0, "W": 1.0}  # of full-width letters, in ems


def picture(width: float, height: float, title: str, parts: Iterable[str], *, told: str = "") -> str:
    """Return a whole SVG; `told` says in words what it shows, for those who do not see it."""
    return (
        "\n".join(
            [
                f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" '
                f'height="{height:.0f}" font-family="sans-serif" font-size="{SIZE}" role="img">',
                f"<title>{escape(clean(title))}</title>",
                *([f"<desc>{escape(clean(told))}</desc>"] if told else []),
                f'<rect width="{width:.0f}" height="{height:.0f}" fill="white"/>',
                *parts,
                "</svg>",
            ]
        )
        + "\n"
    )


def text(x: float, y: float, words: str, *, anchor: str = "start", colour: str = GREY, full: str = "") -> str:
    """Write words with a white edge, so that lines behind leave them readable; `full` is shown under the pointer."""
    tip = f"<title>{escape(clean(full))}</title>" if full and full != words else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}" paint-order="stroke" stroke="white" '
        f'stroke-width="4">{escape(clean(words))}{tip}</text>'
    )


def line(x1: float, y1: float, x2: float, y2: float, *, colour: str, name: str = "", more: str = "") -> str:
    """Draw a straight line."""
    what = f' class="{name}"' if name else ""
    return f'<line{what} x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"{more}/>'


def path(points: Sequence[tuple[float, float]], *, colour: str, name: str, more: str = "") -> str:
    """Draw a line through points."""
    there = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline class="{name}" points="{there}" fill="none" stroke="{colour}"{more}/>'


def text_width(words: str, size: float = SIZE) -> float:
    """Return about how many pixels a text is wide: rather too many than too few."""
    return size * sum(_em(letter) for letter in words)


def fitted(words: str, room: float, size: float = SIZE) -> str:
    """Shorten a text to so many pixels; the end stays, which tells names of the same section apart."""
    words = clean(words)
    if text_width(words, size) <= room:
        return words
    for start in range(1, len(words)):
        if text_width(short := "…" + words[start:], size) <= room:
            return short
    return "…"


def clean(words: str) -> str:
    """Return a text in one line, without letters that XML cannot hold."""
    kept = "".join(letter if unicodedata.category(letter) not in ("Cc", "Cs", "Cn") else " " for letter in words)
    return " ".join(kept.split())


def _em(letter: str) -> float:
    if letter in NARROW:
        return 0.42
    if letter in WIDE:
        return 1.0
    return CELLS.get(unicodedata.east_asian_width(letter), 0.78 if letter.isupper() else 0.64)
