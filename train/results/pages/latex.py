r"""A run's scores as a table for a paper, in LaTeX: compiles as it is where the preamble has `\usepackage{booktabs}`.

The caption says what was measured and by which protocol, a comment says by which command, so that the number can be made again.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ..metrics import number

if TYPE_CHECKING:
    from ..predictions import Predictions

PLUS_MINUS = r"\ensuremath{\pm}"
ESCAPES = {
    "\\": r"\textbackslash{}",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    "[": "{[}",  # behind \\ a bracket or a star would be an option of it
    "]": "{]}",
    "*": "{*}",
    "±": PLUS_MINUS,
    "−": r"\ensuremath{-}",
    "×": r"\ensuremath{\times}",
    "–": "--",
    "…": r"\dots{}",
} | {letter: f"\\{letter}" for letter in "_%&#${}"}
TITLES = {"war": "WAR", "uar": "UAR", "uf1": "UF1"}
NONE = "--"


def latex_table(found: Predictions, *, caption: str, command: str, averaged: int = 0) -> str:
    """Return a table of class recall, WAR, UAR and UF1 with their intervals, and of how many seeds, clips and people.

    With `averaged` the predictions are those of so many models together, and seeds have no scores of their own.
    """
    scores, over, ends = found.scores, found.over_seeds, found.intervals
    several = len(found.seeds) > 1
    rows = [r"class & recall & right / clips \\", r"\midrule"]
    rows += [
        rf"{escape(label)} & {percent(recall)} & {number(hits)} / {clips} \\"
        for label, recall, hits, clips in zip(scores.labels, scores.recall, scores.hits, scores.truth, strict=True)
    ]
    rows += [r"\midrule", r"score & \% & 95\,\% interval \\", r"\midrule"]
    for name, title in TITLES.items():
        sd = over[name].sd
        spread = f" {PLUS_MINUS} {100 * sd:.2f}" if sd is not None else ""
        rows.append(rf"{title} & {percent(over[name].mean)}{spread} & {_interval(ends.get(name))} \\")
    units = "people" if found.by_subject else "people (not known: intervals over clips)"
    num_units = str(len(set(found.subjects.tolist()) - {""})) if found.by_subject else NONE
    rows += [
        r"\midrule",
        rf"models, averaged & {averaged} & \\" if averaged else rf"seeds & {len(found.seeds)} & \\",
        rf"clips & {scores.total} & \\",
        rf"{units} & {num_units} & \\",
    ]
    said = f"Mean {PLUS_MINUS} standard deviation over seeds. " if several else ""
    letters = "".join(scores.labels) + caption
    return "\n".join(
        [
            f"% {' '.join(command.split())}",
            r"% needs \usepackage{booktabs} in the preamble",
            *([] if _is_latin(letters) else ["% letters beyond Latin ones: compile with lualatex or xelatex"]),
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{escape(caption)} {said}Recall in \%.}}",
            r"\begin{tabular}{lrr}",
            r"\toprule",
            *rows,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def escape(text: str) -> str:
    """Write text so that LaTeX prints it as it is, line breaks as spaces."""
    return "".join(ESCAPES.get(letter, letter) for letter in " ".join(text.split()))


def percent(value: float) -> str:
    """Write a share in percent, without the sign; nothing to divide by as a dash."""
    return NONE if math.isnan(value) else f"{100 * value:.2f}"


def _interval(ends: tuple[float, float] | None) -> str:
    return f"{100 * ends[0]:.1f}--{100 * ends[1]:.1f}" if ends else NONE


def _is_latin(text: str) -> bool:
    return all(ord(letter) < 0x80 or (letter.isalpha() and ord(letter) < 0x180) or letter in ESCAPES for letter in text)
