"""Checks of settings: what a field's type allows, whatever form a value of it has, and remedies that are settings themselves."""

from __future__ import annotations

import re
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Optional

import numpy as np
import pytest

from est.cache import open_cache
from est.errors import UsageError, brief, counted, differing, expect_values, nearest, quoted

ROOT = Path(__file__).parents[1]
# A command to paste with a path that is not in quotes where it needs them.
UNQUOTED = re.compile(
    r"(?:\b(?:est (?:cache|extract|train|evaluate|report|predict) |rm |mkdir -p )|--(?:out|cache|into) )"
    r"""[^"`;]*?\{(?:path|out|folder|cache|(?:self|cache|run|init)\.path|[\w.]+\.parent)\}"""
)


@dataclass(frozen=True, kw_only=True)
class Config:
    count: int = 3
    share: float = 0.5
    switch: bool = True
    name: str = "gap"
    kind: Literal["mean", "max"] = "mean"
    limit: int | None = None
    bound: Optional[float] = None  # noqa: UP045
    side: Literal["left", "right"] | None = None
    places: tuple[int, ...] = ()


def check(**values):
    expect_values(Config(**values), "some.", count=(1, 9), share=(0, 1), limit=(0, 5), bound=(0, np.inf))


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"count": np.int64(4), "share": np.float32(0.25)},
        {"share": 1, "limit": 5, "bound": 1e300, "side": "left"},
        {"places": (1, 2)},
    ],
)
def test_what_a_type_allows_passes(values):
    check(**values)


@pytest.mark.parametrize(
    ("values", "message", "remedy"),
    [
        ({"count": 2.5}, "some.count is a whole number, found 2.5", "--set some.count=3"),
        ({"count": True}, "some.count is a whole number, found True", "--set some.count=3"),
        ({"count": 0}, "some.count goes from 1 to 9, found 0", "--set some.count=3"),
        ({"count": 10**400}, "some.count goes from 1 to 9, found 100000000…", "--set some.count=3"),
        ({"share": float("nan")}, "some.share goes from 0 to 1, found nan", "--set some.share=0.5"),
        ({"share": "half"}, "some.share is a number, found 'half'", "--set some.share=0.5"),
        ({"switch": 1}, "some.switch is true or false, found 1", "--set some.switch=true"),
        ({"name": 3}, "some.name is a text, found 3", "--set some.name=gap"),
        ({"kind": "maxx"}, "some.kind is mean or max, found 'maxx'", "--set some.kind=max"),
        ({"limit": 2.5}, "some.limit is a whole number, found 2.5", None),
        ({"limit": 7}, "some.limit goes from 0 to 5, found 7", "--set some.limit=0"),
        ({"bound": float("inf")}, "some.bound is at least 0, found inf", "--set some.bound=0"),
        ({"side": "up"}, "some.side is left or right, found 'up'", "--set some.side=left"),
    ],
)
def test_everything_else_is_refused_with_a_setting_that_passes(values, message, remedy):
    with pytest.raises(UsageError) as refused:
        check(**values)
    assert refused.value.message == f"{message}."
    assert refused.value.remedy == remedy


def test_a_traceback_shows_the_remedy_too():
    told = traceback.format_exception(UsageError("No cache.", remedy="est extract videos --out cache.zarr"))
    assert told[-2:] == ["est.errors.UsageError: No cache.\n", "try: est extract videos --out cache.zarr\n"]
    assert len(traceback.format_exception(UsageError("No cache."))) == 1


def test_one_is_counted_as_one():
    assert [counted(number, "clip") for number in range(3)] == ["0 clips", "1 clip", "2 clips"]
    assert [counted(1, "clip", verb) for verb in ("have", "are", "show")] == ["1 clip has", "1 clip is", "1 clip shows"]
    assert counted(2, "clip", "have") == "2 clips have"


def test_settings_that_differ_are_a_sentence_or_a_table():
    assert differing("c.zarr", {"size": (224, 112)}) == "c.zarr has size 224, you asked for 112."
    assert differing("run", {"seeds": ((1, 2), "")}) == "run has seeds 1, 2, you asked for none."
    assert differing(
        "c.zarr", {"size": (224, 112), "detector": ("none", "retinaface")}, more=["The cache is another"]
    ) == (
        "c.zarr has other settings than you asked for:\n"
        "  setting   it has  you asked for\n"
        "  size      224     112\n"
        "  detector  none    retinaface\n"
        "  The cache is another."
    )
    assert (
        differing("out", {}, more=["The cache: labels differ"])
        == "out is not what you asked for. The cache: labels differ."
    )


def test_the_nearest_name_and_a_brief_cause():
    assert nearest("hapiness", ["sad", "Happiness"]) == "Happiness"
    assert nearest("fold6", ["fold1", "fold2"]) in ("fold1", "fold2")
    assert nearest("zzz", ["sad"]) is None
    assert brief(OSError("x" * 400 + "\nmore")) == "x" * 159 + "…"
    assert brief(OSError("short\nmore")) == "short"
    assert brief(KeyError()) == "KeyError"


def test_a_path_in_a_command_to_paste_is_quoted_where_it_needs_to_be(tmp_path):
    assert [quoted(word) for word in ("runs/first", Path("my videos"), "it's")] == [
        "runs/first",
        "'my videos'",
        "'it'\"'\"'s'",
    ]
    (tmp_path / "study 1").mkdir()
    with pytest.raises(UsageError) as caught:
        open_cache(tmp_path / "study 1")
    assert caught.value.remedy.startswith(
        f"'study 1.zarr', where there is one; est extract '{tmp_path}/study 1' --out 'study 1.zarr'"
    )


def test_every_path_in_a_remedy_is_quoted():
    rooms = [
        path
        for path in ROOT.iterdir()
        if path.is_dir() and path.name not in ("tests", "docs", "benchmarks") and path.name[0] != "."
    ]
    lines = [
        line.strip()
        for room in rooms
        for path in room.rglob("*.py")
        for line in path.read_text(encoding="utf-8").splitlines()
    ]
    assert any("remedy=" in line for line in lines)
    assert [line for line in lines if UNQUOTED.search(line.partition("remedy")[2])] == []
