"""The prose of the documentation: lines of one width, and phrases that were rewritten once stay away."""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
WRAP = runpy.run_path(str(ROOT / "docs" / "wrap.py"))
PAGES = WRAP["PAGES"]
PHRASES = (ROOT / "tests" / "fixtures" / "phrases.txt").read_text(encoding="utf-8")


def long_lines(text: str) -> set[str]:
    """Return the lines that are too long."""
    return {line for line in text.splitlines() if len(line) > WRAP["WIDTH"]}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_prose_is_wrapped(page):
    text = page.read_text(encoding="utf-8")
    assert long_lines(text) <= long_lines(WRAP["wrap_text"](text)), f"python docs/wrap.py {page.relative_to(ROOT)}"


def test_wrapping_changes_blanks_alone():
    text = f"# {'title ' * 30}\n\n- {'word ' * 40}`a code span that stays whole`\n  - below - with a dash\n\n"
    text += f"| {'cell ' * 40} |\n\n```text\n{'code ' * 40}\n```\n\n{'x' * 110} {'y' * 20} - 2. z\n"
    wrapped = WRAP["wrap_text"](text)
    assert wrapped.split() == text.split()
    assert WRAP["wrap_text"](wrapped) == wrapped
    assert {line[:5] for line in long_lines(wrapped)} == {"# tit", "| cel", "code "}
    assert "`a code span that stays whole`" in wrapped
    assert wrapped.splitlines()[-1] == f"{'y' * 20} - 2. z", "no line begins like a list"
