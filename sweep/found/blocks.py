"""What pages are made of, once: blocks that are written as Markdown or as HTML."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Literal

from ...report.svg import clean

STYLE = (
    "body{font:16px/1.5 sans-serif;color:#222;max-width:1200px;margin:2em auto;padding:0 1em}"
    "table{border-collapse:collapse;display:block;overflow-x:auto}"
    "th,td{border:1px solid #ddd;padding:.3em .6em;text-align:left;vertical-align:top}"
    "th{background:#f3f5f7}.warning{border-left:4px solid #c0392b;padding:.4em .8em;background:#fbf3f2}"
    "figure{margin:1em 0;overflow-x:auto}summary{cursor:pointer}"
)
MARKED = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "|": "\\|", "`": "\\`", "*": "\\*", "[": "\\["}


@dataclass(frozen=True, kw_only=True)
class Block:
    """A piece of a page; a picture is drawn when a page with pictures wants it."""

    kind: Literal["title", "heading", "text", "warning", "list", "table", "picture"]
    words: str = ""  # of a picture: what a closed one is called; empty for one that is always open
    items: Sequence[str] = ()
    header: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    draw: Callable[[], str] | None = None


def markdown(blocks: Sequence[Block]) -> str:
    """Return a page as Markdown, without its pictures."""
    written = [_as_markdown(block) for block in blocks if block.kind != "picture"]
    return "\n\n".join(written) + "\n"


def html(blocks: Sequence[Block]) -> str:
    """Return a page as one HTML file that needs no other, no script and no network."""
    title = next((block.words for block in blocks if block.kind == "title"), "")
    return "\n".join(
        [
            "<!DOCTYPE html>",
            f'<html lang="en"><head><meta charset="utf-8"><title>{escape(clean(title))}</title>',
            f"<style>{STYLE}</style></head><body>",
            *map(_as_html, blocks),
            "</body></html>\n",
        ]
    )


def _as_markdown(block: Block) -> str:
    if block.kind == "table":
        rows = ["| " + " | ".join(map(_marked, row)) + " |" for row in (block.header, *block.rows)]
        return "\n".join([rows[0], "|" + "---|" * len(block.header), *rows[1:]])
    if block.kind == "list":
        return "\n".join(f"- {_marked(item)}" for item in block.items)
    before, after = {"title": ("# ", ""), "heading": ("## ", ""), "warning": ("**", "**")}.get(block.kind, ("", ""))
    return f"{before}{_marked(block.words)}{after}"


def _as_html(block: Block) -> str:
    words = escape(clean(block.words))
    if block.kind == "picture":
        assert block.draw is not None
        figure = f"<figure>{block.draw()}</figure>"
        return f"<details><summary>{words}</summary>{figure}</details>" if words else figure
    if block.kind == "table":
        head = "".join(f"<th>{escape(clean(cell))}</th>" for cell in block.header)
        rows = ["".join(f"<td>{escape(clean(cell))}</td>" for cell in row) for row in block.rows]
        return f"<table><tr>{head}</tr>" + "".join(f"<tr>{row}</tr>" for row in rows) + "</table>"
    if block.kind == "list":
        return "<ul>" + "".join(f"<li>{escape(clean(item))}</li>" for item in block.items) + "</ul>"
    if block.kind == "warning":
        return f'<p class="warning">{words}</p>'
    name = {"title": "h1", "heading": "h2"}.get(block.kind, "p")
    return f"<{name}>{words}</{name}>"


def _marked(words: str) -> str:
    """Write a text so that Markdown shows it as it is."""
    return "".join(MARKED.get(letter, letter) for letter in clean(words))
