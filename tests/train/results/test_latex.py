"""Tables for papers: balanced, escaped, and saying what was measured."""

from __future__ import annotations

import re

import numpy as np
import pytest

from est.train.results.pages.latex import PLUS_MINUS, escape, latex_table
from est.train.results.predictions import Predictions

ODD = ("a_b & 100 % #1", r"{x}\y^z~", '<é> "[*|', "$5 ± 1")


def table(labels=ODD, people=True, seeds=2, **settings):
    rng = np.random.default_rng(3)
    truth = np.arange(48) % len(labels)
    found = Predictions(
        labels=labels,
        seeds=tuple(range(seeds)),
        ids=np.array([f"c{n}" for n in range(48)]),
        subjects=np.array([f"P{n % 6}" if people else "" for n in range(48)]),
        folds=np.array(["fold1"] * 48),
        truth=truth,
        predicted=np.where(rng.random((seeds, 48)) < 0.6, truth, (truth + 1) % len(labels)),
    )
    settings = {
        "caption": "EST_1 on 50 % & more; protocol kfold.",
        "command": "est evaluate 'a\nb' --latex",
        **settings,
    }
    return found, latex_table(found, **settings)


def expect_balanced(text):
    """Braces and environments close in order; no special letter stands unescaped but where it means something."""
    depth, opened = 0, []
    body = "\n".join(line for line in text.splitlines() if not line.startswith("%"))
    plain = re.sub(r"\\([\\_%&#${},()])", "", body)  # what is escaped
    for letter in plain:
        depth += {"{": 1, "}": -1}.get(letter, 0)
        assert depth >= 0
    assert depth == 0
    for kind, name in re.findall(r"\\(begin|end)\{(\w+)\}", body):
        if kind == "begin":
            opened.append(name)
        else:
            assert opened.pop() == name
    assert opened == []
    assert not set('%#$^~_<>|"') & set(plain)


@pytest.mark.parametrize("labels", [ODD, ("anger", "happiness", "surprise")])
@pytest.mark.parametrize("people", [True, False])
@pytest.mark.parametrize("seeds", [1, 2])
def test_it_is_balanced_and_every_row_has_three_cells(labels, people, seeds):
    _, text = table(labels, people, seeds)
    expect_balanced(text)
    body = text[text.index(r"\toprule") : text.index(r"\bottomrule")]
    rows = [line for line in body.splitlines() if line.endswith(r"\\")]
    assert len(rows) == 1 + len(labels) + 1 + 3 + 3
    for row in rows:
        assert len(re.findall(r"(?<!\\)&", row)) == 2, row
        assert not row.startswith(("[", "*"))
    assert text.count(r"\midrule") == 4
    assert text.splitlines()[1] == r"% needs \usepackage{booktabs} in the preamble"


def test_an_unbalanced_table_would_be_seen():
    _, text = table()
    for broken in (
        text.replace("{tabular}", "{tabular", 1),
        text.replace(r"\end{tabular}", ""),
        text.replace(r"\%", "%"),
    ):
        with pytest.raises(AssertionError):
            expect_balanced(broken)


def test_numbers_are_those_of_the_scores():
    found, text = table(("anger", "joy"))
    over, ends = found.over_seeds, found.intervals
    low, high = (f"{100 * end:.1f}" for end in ends["uar"])
    assert rf"UAR & {100 * over['uar'].mean:.2f} {PLUS_MINUS} {100 * over['uar'].sd:.2f} & {low}--{high} \\" in text
    assert rf"anger & {100 * found.scores.recall[0]:.2f} &" in text
    for line in (r"seeds & 2 & \\", r"clips & 48 & \\", r"people & 6 & \\"):
        assert line in text
    assert (
        r"\caption{EST\_1 on 50 \% \& more; protocol kfold. Mean \ensuremath{\pm} standard deviation over seeds."
        in text
    )
    assert text.splitlines()[0] == "% est evaluate 'a b' --latex"


def test_models_that_are_averaged_are_no_seeds():
    _, text = table(seeds=1, averaged=6)
    assert r"models, averaged & 6 & \\" in text
    assert "seeds &" not in text


def test_letters_of_other_scripts_are_said():
    assert "xelatex" in table(("喜び", "anger"))[1]
    assert "xelatex" not in table(("é", "anger"))[1]


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("a_b", r"a\_b"),
        ("5 %", r"5 \%"),
        ("R&D #1", r"R\&D \#1"),
        ("a\nb", "a b"),
        ("\\", r"\textbackslash{}"),
        ("{", r"\{"),
    ],
)
def test_escapes(text, written):
    assert escape(text) == written
