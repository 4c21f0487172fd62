"""The prose of the documentation: lines of one width, and phrases that were rewritten once stay away."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
WRAP = runpy.run_path(str(ROOT / "docs" / "wrap.py"))
PAGES = WRAP["PAGES"]
# Sentences with these were rewritten, because a reader asks "meaning what?"; the plain word is beside each.
PHRASES = {
    "goes on where it stopped": "resumes",
    "the same command goes on": "the same command resumes",
    "stopping, going on": "resuming",
    "the luck of": "the variation between seeds",
    "knows nothing of": "ignores",
    "learnt nothing about time": "learnt nothing from the order of frames",
    "nothing leaves the denominator": "failed clips count as errors",
    "scores that can be believed": "how scores are computed",
    "weak reader": "gives weak features",
    "reads faces as it was taught": "was trained on other data",
    "at cached speed": "on cached features",
    "on another day": "augmented",
    "what comes out": "output",
    "what comes in": "what is downloaded",
    "what goes out": "what is uploaded",
    "what may go out": "what may be pushed",
    "what it is told": "what is given",
    "what predicts": "how a prediction is computed",
    "what disturbs": "disturbances",
    "a cache promises": "guarantees",
    "runs beside one another": "comparing runs",
    "have got them": "have downloaded them",
    "has got it": "has downloaded it",
    "cannot be had": "is not available",
    "nobody guesses": "it is an error",
    "is nobody's": "is not predicted",
    "lies on your disk": "is on your disk",
    "as they lie on disk": "on disk",
    "to the bottom": "recursively",
    "wants to be forgotten": "delete the data of a person",
    "the detector's opinion": "accuracy of the detector",
    "told, and gone on with": "warnings",
    "names tell all": "file names contain",
    "the whole way": "the complete pipeline",
    "is a walk over": "reads",
    "brings along": "is shipped with",
    "named rightly": "predicted correctly",
    "by the file's own account": "as the file states",
    "to be looked at": "check them",
    "dealt out": "assigned in turn",
    "sign of life": "does not update its trial",
    "come on top": "need additional space",
    "knew the erased": "were tuned on the erased clips",
    "gone on with": "continued",
    "goes on with": "continues",
    "lay the edits": "apply the edits",
    "carry no meaning": "have no meaning",
    "belong beside no": "are not comparable with",
    "stands beside": "is compared with",
    "stand beside": "are compared with",
    "drawn anew": "with random weights",
    "a cold head": "an untrained head",
    "got wrong": "wrong prediction",
    "nothing can be told": "is not significant",
}


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


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_phrases_stay_away(page):
    """A guard against what was found and rewritten, and not the proof that the rest is plain: that takes a reader."""
    text = " ".join(page.read_text(encoding="utf-8").lower().split())
    found = {phrase: plain for phrase, plain in PHRASES.items() if re.search(rf"\b{re.escape(phrase)}\b", text)}
    assert not found
