"""Colours of classes, and text in pictures: what the annotated video, the live window and the timeline share."""

from __future__ import annotations

import colorsys
import unicodedata

import cv2
import numpy as np

Colour = tuple[int, int, int]  # blue, green, red

# Told apart with any kind of colour vision, and dark enough for white paper: after Okabe and Ito, without their yellow.
COLOURS: tuple[Colour, ...] = (
    (0, 159, 230),
    (233, 180, 86),
    (115, 158, 0),
    (0, 94, 213),
    (178, 114, 0),
    (167, 121, 204),
    (30, 150, 165),
    (120, 120, 120),
)
INK, PAPER, FAINT, DARK = (40, 40, 40), (255, 255, 255), (222, 222, 222), (28, 26, 24)
FONT = cv2.FONT_HERSHEY_DUPLEX
CAP = 0.030  # scale of the font for capitals that are a pixel high


def colours_of(count: int) -> list[Colour]:
    """Return a colour for each class."""
    if count <= len(COLOURS):
        return list(COLOURS[:count])
    found = []
    for place in range(count):
        red, green, blue = colorsys.hsv_to_rgb(place / count, 0.75, 0.85 if place % 2 else 0.65)
        found.append((round(255 * blue), round(255 * green), round(255 * red)))
    return found


def plain(text: str) -> str:
    """Return a text in the letters that OpenCV has: accents fall off, what is left unknown becomes a question mark."""
    bare = unicodedata.normalize("NFKD", text)
    kept = "".join(letter for letter in bare if not unicodedata.combining(letter))
    return kept.replace("·", "-").replace("–", "-").encode("ascii", "replace").decode()


def text_width(text: str, height: float) -> int:
    """Return how wide a text is whose capitals are so high."""
    return cv2.getTextSize(plain(text), FONT, CAP * height * 1.5, _thickness(height))[0][0]


def write(picture: np.ndarray, text: str, at: tuple[float, float], height: float, colour: Colour) -> None:
    """Write a text whose capitals are so high; `at` is the left end of its base line."""
    cv2.putText(
        picture,
        plain(text),
        (round(at[0]), round(at[1])),
        FONT,
        CAP * height * 1.5,
        colour,
        _thickness(height),
        cv2.LINE_AA,
    )


def shortened(text: str, height: float, width: float) -> str:
    """Return as much of a text as fits into a width."""
    if text_width(text, height) <= width:
        return text
    while len(text) > 1 and text_width(text + "..", height) > width:
        text = text[:-1]
    return text.rstrip() + ".."


def contrasting(colour: Colour) -> Colour:
    """Return black or white, whichever can be read on a colour."""
    blue, green, red = colour
    return (0, 0, 0) if 0.114 * blue + 0.587 * green + 0.299 * red > 140 else (255, 255, 255)


def clock(seconds: float, *, tenths: bool = False) -> str:
    """Format a time as 0:07, 3:25.4 or 1:02:03."""
    whole = int(seconds)
    rest = f"{seconds % 60:04.1f}" if tenths else f"{whole % 60:02}"
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours}:{minutes:02}:{rest}" if hours else f"{minutes}:{rest}"


def _thickness(height: float) -> int:
    return max(1, round(height / 11))
