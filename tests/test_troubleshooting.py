"""docs/troubleshooting.md: each wrong command line on it prints what the page says, to the letter."""

from __future__ import annotations

import re

import pytest
import torch
from troubleshooting import PAGE, answer, blocks, make_folder

BLOCKS = blocks()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with videos, caches and a run."""
    return make_folder(tmp_path_factory.mktemp("wrong"))


@pytest.mark.parametrize(("line", "block"), BLOCKS, ids=[line for line, _ in BLOCKS])
def test_the_page_says_what_the_command_says(line, block, folder):
    if "--device cuda" in line and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    assert answer(line, folder) == block


def test_every_block_is_run():
    assert len(BLOCKS) == PAGE.read_text(encoding="utf-8").count("\n$ est ") >= 25
    assert len({line for line, _ in BLOCKS}) == len(BLOCKS)


def test_every_block_has_a_heading_that_the_search_finds():
    text = PAGE.read_text(encoding="utf-8")
    headings = re.findall(r"^### (.+)\n\n```text\n\$ est ", text, re.MULTILINE)
    assert len(headings) == len(BLOCKS)
    assert len(set(headings)) == len(headings)
