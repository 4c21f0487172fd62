"""What a page does not tell unless it is asked to: the folders in which caches, runs and videos lie.

Folders are named after people, projects and machines. A page is passed on, so paths in it begin at the folder of the cache or run, and
other absolute paths are their last part alone. Pages are shortened as a whole, because messages of failures hold paths, too.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Sequence
from html import escape
from pathlib import Path

NAMES = "Clip ids and names of subjects may tell who people are: pass this page on only where they may be known."
FOLDERS = "Folders are left out of paths; --paths shows them."
BEFORE = r"(?<![^\s\"'`>(=;\[])"  # what may stand before a path: no letter (and/or), and no comma (base64,/9j/)
ROOT = r"(?:[A-Za-z]:[\\/]+|/)"
QUOTED = re.compile(rf"(?P<quote>&#x27;|&quot;|\"|')(?P<path>{ROOT}[^<>\"'\n]*?)(?P=quote)")
FOLDER = re.compile(rf"{BEFORE}{ROOT}(?:[^\s\\/<>\"'&;:,]+[\\/]+)+")


def without_folders(html: str, begin: Sequence[Path] = ()) -> str:
    """Leave out the folders in absolute paths; paths inside the folders `begin` begin there."""
    for folder in sorted({one for path in begin for one in (path, path.resolve()) if one.is_absolute()}, reverse=True):
        if len(folder.parts) > 1:
            typed = shlex.quote(f"{folder}{os.sep}")  # in commands a name with an apostrophe is in pieces
            html = html.replace(escape(typed[:-1]), escape("'")) if typed.startswith("'") else html
            html = re.sub(f"{BEFORE}{re.escape(escape(str(folder)) + os.sep)}", "", html)
    html = QUOTED.sub(lambda found: found["quote"] + re.split(r"[\\/]", found["path"])[-1] + found["quote"], html)
    return FOLDER.sub("", html)


def by_name(message: str, path: str) -> str:
    """Write a file that a message names by its name alone, whatever its folders are called."""
    return message.replace(path, Path(path).name) if path else message
