"""Failures grouped by cause: names and numbers tell inputs apart, and not causes."""

from __future__ import annotations

import pytest

from est.cache import Failure
from est.report.cachepage.failures import cause_of, causes


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        ("its source /videos/a b/c1.mp4 cannot be read", "its source …"),
        ("it has 12 frames now, and had 13.5", "it has # frames now, and had #"),
        ("no clip 'x 3' here\nmore", "no clip … here"),
        ("moov atom not found", "moov atom not found"),
    ],
)
def test_what_tells_inputs_apart_is_left_out(error, cause):
    found = cause_of(error)
    assert found == cause or (cause.endswith("…") and found.startswith(cause[:-1]))
    assert not any(letter.isdigit() for letter in found)


def test_the_most_frequent_cause_is_first():
    errors = [
        ("decode", "frame 3 of /a/b.mp4"),
        ("detect", "no face"),
        ("decode", "frame 77 of /c.mp4"),
        ("x", "no face"),
    ]
    found = causes([Failure(id=str(n), path="", stage=stage, error=error) for n, (stage, error) in enumerate(errors)])
    assert [(one.stage, one.words, [failure.id for failure in one.failures]) for one in found] == [
        ("decode", "frame # of …", ["0", "2"]),
        ("detect", "no face", ["1"]),
        ("x", "no face", ["3"]),
    ]


def test_files_with_spaces_in_their_names_are_one_cause():
    paths = ["/films/Ann Lee/one two.mp4", "/films/Bo/three four.mp4"]
    found = causes([Failure(id=path, path=path, stage="decode", error=f"no frame in {path}") for path in paths])
    assert [(one.words, len(one.failures)) for one in found] == [("no frame in …", 2)]
