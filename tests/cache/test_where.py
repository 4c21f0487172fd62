"""The conditions of `--where`: what they choose, against Python's own comparison, and what they refuse, with the nearest name."""

from __future__ import annotations

import operator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from est.cache.reading.where import where
from est.cache.schema import NO_NUMBER
from est.errors import UsageError

NAN = float("nan")
COLUMNS = {
    "coverage": np.array([0.2, 0.5, NAN, 1.0]),
    "tracks": np.array([1.0, 2.0, 3.0, NAN]),
    "label": np.array(["fear", "", "Fear of 3", "joy"], object),
    "extra:age": np.array([33.0, NAN, 41.0, 7.0]),
    "extra:number": np.array([2**53, 2**53 + 1, NO_NUMBER, -5]),
}


def chosen(condition):
    return np.flatnonzero(where(condition, COLUMNS, 4)).tolist()


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("coverage < 0.5", [0]),
        ("coverage<=50%", [0, 1]),
        ("coverage != 1", [0, 1]),  # what is unknown meets no comparison
        ("coverage = none", [2]),
        ("not coverage < 0.5", [1, 2, 3]),
        ("coverage != none and tracks > 1", [1]),
        ("coverage < 0.3 or tracks >= 3 and label = joy", [0]),  # and binds closer
        ("(coverage < 0.3 or tracks >= 3) and label ~ OF", [2]),
        ("label == 'Fear of 3'", [2]),
        ('label = "none"', []),  # quoted, it is a word
        ("label != fear", [2, 3]),
        ("label = NONE", [1]),
        ("label > fear", [3]),
        ("extra:age >= 33 and NOT (label = joy)", [0, 2]),
        ("tracks >= -1e3", [0, 1, 2]),
        ("not not coverage = 1", [3]),
        ('label ~ ""', [0, 2, 3]),  # a clip without a label has no text that could contain it
        ('not label ~ ""', [1]),
        ("extra:number = 9007199254740993", [1]),  # whole numbers are compared digit by digit
        ("extra:number <= 9007199254740992", [0, 3]),
        ("extra:number < 100000000000000000000000000000", [0, 1, 3]),
        ("extra:number = none", [2]),
        ("extra:number > -5.5", [0, 1, 3]),
    ],
)
def test_it_chooses(condition, expected):
    assert chosen(condition) == expected


@pytest.mark.parametrize(
    ("condition", "message", "remedy"),
    [
        ("covrage < 0.5", "found 'covrage'", "coverage"),
        ("zzz = 1", "found 'zzz'", "coverage < 0.5"),
        ("coverage < much", "coverage is a number, found 'much'", ""),
        ("coverage != nan", "coverage is compared with numbers, found 'nan'", "coverage != none"),
        ("coverage < inf", "coverage is compared with numbers, found 'inf'", "coverage = none"),
        ("coverage > -infinity%", "coverage is compared with numbers, found '-infinity%'", ""),
        ("coverage 0.5", "expected one of = == != <= >= < > ~ after coverage, found '0.5'", ""),
        ("coverage <", "expected a value after coverage <, found the end", ""),
        ("coverage < 0.5 label = joy", "expected 'and', 'or' or the end, found 'label = joy'", ""),
        ("(coverage < 0.5", "expected a closing parenthesis, found the end", ""),
        ("", "expected a column, found the end", ""),
        ("emotion = joy", "found 'emotion'", "--where with label"),
        ("and", "expected a column, found 'and'", ""),
        ("coverage ~ 0", "coverage is a number, and ~ is for texts", ""),
        ("label = 'x", "is no column, operator or value", ""),
        ("__import__('os').system('x') = 1", "found '__import__'", ""),
        ("(" * 60 + "coverage = 1" + ")" * 60, "50 parentheses deep", ""),
        ("not " * 3000 + "coverage = 1", "50 parentheses deep", ""),
    ],
)
def test_it_refuses(condition, message, remedy):
    with pytest.raises(UsageError) as refused:
        chosen(condition)
    assert message in refused.value.message
    assert remedy in refused.value.remedy


SIGNS = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "=": operator.eq, "!=": operator.ne}
LEAF = st.tuples(
    st.sampled_from(["coverage", "tracks"]), st.sampled_from(sorted(SIGNS)), st.sampled_from([0.2, 0.5, 1, 2, 3])
)


@settings(max_examples=60)
@given(
    st.recursive(
        LEAF,
        lambda inner: st.tuples(st.sampled_from(["and", "or"]), inner, inner) | st.tuples(st.just("not"), inner),
        max_leaves=8,
    )
)
def test_it_agrees_with_python(tree):
    def text(node):
        if node[0] == "not":
            return f"not ({text(node[1])})"
        if node[0] in ("and", "or"):
            return f"({text(node[1])}) {node[0]} ({text(node[2])})"
        return f"{node[0]} {node[1]} {node[2]}"

    def value(node, row):
        if node[0] == "not":
            return not value(node[1], row)
        if node[0] in ("and", "or"):
            one, other = value(node[1], row), value(node[2], row)
            return (one and other) if node[0] == "and" else (one or other)
        known = COLUMNS[node[0]][row]
        return known == known and bool(SIGNS[node[1]](known, node[2]))

    assert chosen(text(tree)) == [row for row in range(4) if value(tree, row)]
