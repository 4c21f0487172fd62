"""Sheets of an .xlsx file as rows of text, read with the standard library: a zip of XML, of which only values are wanted.

Formulas count by the value that was saved with them; formats, dates and merged cells mean nothing here.
"""

from __future__ import annotations

import re
import zipfile
import zlib
from pathlib import Path
from xml.etree import ElementTree

from ....errors import UsageError, brief
from ...folders import natural_key

MOST_BYTES = 64 << 20  # of one part, unpacked: a coding table has a hundredth of that
SHARED = "xl/sharedStrings.xml"
SHEET = re.compile(r"xl/worksheets/[^/]+\.xml")
UNREADABLE = (  # what the readers of zip and XML raise of a damaged file
    OSError, EOFError, ValueError, LookupError, RuntimeError, OverflowError, zipfile.BadZipFile, zlib.error, ElementTree.ParseError,
)  # fmt: skip
Sheet = list[tuple[int, list[str]]]  # the number of each row, and its cells


def read_workbook(path: Path) -> list[Sheet]:
    """Return the sheets of a workbook, empty rows left out."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
            texts = _shared_texts(archive) if SHARED in names else []
            sheets = sorted(filter(SHEET.fullmatch, names), key=natural_key)
            if not sheets:
                raise ValueError("it holds no sheet")
            return [_rows(_parse(archive, name), texts) for name in sheets]
    except UNREADABLE as error:
        raise UsageError(
            f"{path} cannot be read as an Excel workbook (.xlsx): {brief(error)}.",
            remedy="save the sheet as CSV beside it, which is used instead",
        ) from error


def _parse(archive: zipfile.ZipFile, name: str) -> ElementTree.Element:
    if archive.getinfo(name).file_size > MOST_BYTES:
        raise ValueError(f"{name} has more than {MOST_BYTES >> 20} MiB")
    return ElementTree.fromstring(archive.read(name))


def _shared_texts(archive: zipfile.ZipFile) -> list[str]:
    return [_text(item) for item in _named(_parse(archive, SHARED), "si")]


def _rows(sheet: ElementTree.Element, texts: list[str]) -> Sheet:
    found: Sheet = []
    number = 0
    for row in _named(sheet, "row"):
        number = int(row.get("r", number + 1))
        cells: list[str] = []
        for cell in _named(row, "c"):
            column = _column(cell.get("r", ""), len(cells))
            cells += [""] * (column - len(cells) + 1)
            cells[column] = _value(cell, texts)
        if any(cells):
            found.append((number, cells))
    return found


def _value(cell: ElementTree.Element, texts: list[str]) -> str:
    kind = cell.get("t", "n")
    if kind == "inlineStr":
        return _text(cell)
    value = next((found.text or "" for found in cell if _tag(found) == "v"), "").strip()
    if kind == "s" and value:
        return texts[int(value)]
    # A spreadsheet keeps every number as a float; whole ones are read as people see them.
    return re.sub(r"\.0+", "", value) if re.fullmatch(r"-?\d+\.0+", value) else value


def _text(holder: ElementTree.Element) -> str:
    """Join the pieces of a text, each with a format of its own; how it is spoken (rPh) is no part of it."""
    pieces: list[str] = []
    for inner in holder:
        tag = _tag(inner)
        if tag == "t":
            pieces.append(inner.text or "")
        elif tag in ("r", "is"):
            pieces.append(_text(inner))
    return "".join(pieces).strip()


def _column(reference: str, following: int) -> int:
    """Return the column of a cell such as AB12, counted from 0; one without a reference follows the one before."""
    letters = re.match(r"[A-Z]{1,3}", reference)
    if letters is None:
        return following
    number = 0
    for letter in letters[0]:
        number = 26 * number + ord(letter) - ord("A") + 1
    return number - 1


def _named(element: ElementTree.Element, tag: str) -> list[ElementTree.Element]:
    return [found for found in element.iter() if _tag(found) == tag]


def _tag(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2]
