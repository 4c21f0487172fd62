"""Wrap the prose of the documentation at one width: `python docs/wrap.py` all pages, or those that are named.

Tables, fenced code, headings, pictures and blocks between `begin` and `end` comments stay as they are. A code span is never broken, so a
line with a longer one may exceed the width. Generated pages are left alone, or wrapped by what makes them.
"""

from __future__ import annotations

import re
import sys
import textwrap
from pathlib import Path

DOCS = Path(__file__).parent
WIDTH = 120
UNTOUCHED = {"cli.md", "modules.md", "results.md"}
PAGES = [page for page in sorted(DOCS.glob("*.md")) if page.name not in UNTOUCHED]
PAGES += [DOCS.parent / name for name in ("CHANGELOG.md", "CONTRIBUTING.md", "README.md")]
ITEM = re.compile(r"\s*(?:[-*+]|\d+[.)])\s+")
FIXED = re.compile(r"\s*(?:[#|<>]|!\[|\(\S+\)=|:::|$)")
GLUE = "\0"  # stands for a blank at which no line may end


def wrap_text(text: str) -> str:
    """Return a page with its paragraphs and list items wrapped."""
    done, paragraph, fence, generated = [], [], "", False

    def flush() -> None:
        if paragraph:
            done.extend(wrap_paragraph(paragraph))
            paragraph.clear()

    for line in text.splitlines():
        bare = line.lstrip()
        if fence:
            fence = "" if bare.startswith(fence) else fence
        elif bare.startswith("```"):
            flush()
            fence = bare[: len(bare) - len(bare.lstrip("`"))]
        elif generated or FIXED.match(line):
            flush()
            generated = "begin -->" in line or (generated and "end -->" not in line)
        else:
            if ITEM.match(line):
                flush()
            paragraph.append(line)
            continue
        done.append(line)
    flush()
    return "\n".join(done) + "\n"


def wrap_paragraph(lines: list[str]) -> list[str]:
    """Return the lines of one paragraph or list item, with its indentation."""
    item = ITEM.match(lines[0])
    first = item[0] if item else re.match(r"\s*", lines[0])[0]
    words = " ".join([lines[0][len(first) :].strip(), *(line.strip() for line in lines[1:])])
    words = re.sub(r"`[^`]+`", lambda span: span[0].replace(" ", GLUE), words)
    words = re.sub(r" (?=(?:[-+*=>|#]+|\d+[.)])(?: |$))", GLUE, words)  # would begin a list or a heading
    wrapped = textwrap.wrap(
        words,
        WIDTH,
        initial_indent=first,
        subsequent_indent=" " * len(first),
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [line.replace(GLUE, " ") for line in wrapped]


if __name__ == "__main__":
    for page in [Path(name) for name in sys.argv[1:]] or PAGES:
        page.write_text(wrap_text(page.read_text(encoding="utf-8")), encoding="utf-8")
