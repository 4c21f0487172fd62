"""The prose of the documentation and of the code: lines of one width, and phrases that were rewritten once stay away."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest
from rooms import PACKAGES

ROOT = Path(__file__).parents[1]
WRAP = runpy.run_path(str(ROOT / "docs" / "wrap.py"))
PAGES = WRAP["PAGES"]
# Everything that people read and that this test guards: the pages, generated ones too, and the code.
GUARDED_PAGES = [
    *(ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "Makefile", ".ci/run")),
    *ROOT.glob("docs/*.md"),
    *ROOT.glob("docs/*.ipynb"),
    *ROOT.glob(".github/**/*.md"),
]
GUARDED_CODE = [
    *(ROOT.glob("*.py")),
    *(path for folder in (*PACKAGES, "benchmarks", "docs") for path in (ROOT / folder).rglob("*.py")),
]
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
    # Those that were found in the code's messages, help, docstrings and comments.
    "mends": "fixes",
    "mend it": "fix it",
    "leak guard": "leak check",
    "go on with": "resume",
    "going on with": "resuming",
    "looks at crops": "reads crops",
    "the settings of then": "the earlier settings",
    "made in another way": "made with other settings",
    "is not what was written": "does not match its checksum",
    "are not what was written": "do not match their checksum",
    "check the rights": "check the permissions",
    "only what it is told": "only on request",
    "is named as a cache is": "has the name of a cache",
    "where to?": "no output is given",
    "whom?": "expected a subject or a clip",
    "nobody to ask": "the confirmation needs a terminal",
    "knows no sources": "has no record of the sources",
    "what it came to": "its scores",
    "half-way": "incomplete",
    "are no numbers": "are not finite",
    "weights run away": "the weights diverge",
    "for want of": "because it ran out",
    "would have shown": "would have been detected",
    "very same": "same",
    "let go of": "close",
    "out for people": "as text",
    "what machines": "JSON data",
    "anew": "again",
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


def plain_text(path: Path) -> str:
    """Return a file in one line and in small letters, without the marks of comments; a message written in several pieces is one."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        text = re.sub(r'(?<!")"\n\s*f?"(?!")', "", text)
    if path.suffix == ".ipynb":
        text = re.sub(r'\\n",\n\s*"', " ", text)
    return " ".join(re.sub(r"\n[ \t]*[#>]+", " ", text.lower()).split())


def phrases_in(text: str) -> set[str]:
    """Return the phrases that a text has as whole words."""
    near = [phrase for phrase in PHRASES if phrase in text]
    return {phrase for phrase in near if re.search(rf"\b{re.escape(phrase)}\b", text)}


def test_phrases_stay_away():
    """A guard against what was found and rewritten, and not the proof that the rest is plain: that takes a reader."""
    assert {path.suffix for path in GUARDED_PAGES} == {"", ".md", ".ipynb"}
    assert {path.parent.name for path in GUARDED_PAGES} >= {"docs", "ISSUE_TEMPLATE", ".ci"}
    assert {path.parent.name for path in GUARDED_CODE} >= {*PACKAGES, "benchmarks", "docs"}
    found = {str(path.relative_to(ROOT)): phrases_in(plain_text(path)) for path in GUARDED_PAGES + GUARDED_CODE}
    assert not {name: phrases for name, phrases in found.items() if phrases}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("page.md", "Two clips with the very\n  same frames."),
        ("page.md", "> the very\n> same"),
        ("code.py", '    raise Error("with the very "\n        f"same frames")'),
        ("code.py", "    x = 1  # with the very\n    # same frames"),
        ("note.ipynb", '"source": [\n "the very\\n",\n "same frames"]'),
    ],
)
def test_a_phrase_is_found_over_the_end_of_a_line(tmp_path, name, text):
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert phrases_in(plain_text(tmp_path / name)) == {"very same"}
