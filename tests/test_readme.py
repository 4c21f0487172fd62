"""The README's claims: its counts, its measured numbers and its targets of make are those of code, docs and Makefile."""

from __future__ import annotations

import re

from page_blocks import ROOT

from est.train.models.registry import MODELS

README = (ROOT / "README.md").read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
NUMBER = re.compile(r"\d+(?:,\d{3})*(?:\.\d+)?")
WORDS = {"eleven": 11, "twelve": 12, "thirteen": 13, "fourteen": 14, "fifteen": 15, "sixteen": 16, "seventeen": 17}


def numbers_in(text: str) -> list[str]:
    return [number.replace(",", "") for number in NUMBER.findall(text)]


def is_measured(number: str, measured: list[float]) -> bool:
    """Return whether a number is one of those that were measured, rounded to its own digits."""
    digits = len(number.partition(".")[2])
    return any(abs(float(number) - one) <= 0.5 * 10**-digits for one in measured)


def test_the_models_are_counted():
    """Those of est train --list-models, EST itself left out."""
    (count,) = re.findall(r"and (\w+) models to compare it with", " ".join(README.split()))
    assert WORDS[count] == len(MODELS) - 1


def test_the_hardware_table_has_the_numbers_of_the_benchmarks():
    text = " ".join((ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8").split())
    section = README.partition("## Supported hardware")[2].partition("\n## ")[0]
    times = re.findall(r"\d+ min \d+ s", section)
    assert times
    assert not [time for time in times if time not in text]
    measured = [float(number) for number in numbers_in(text)]
    found = numbers_in(section)
    assert len(found) > 20
    assert not [number for number in found if not is_measured(number, measured)]
    assert not is_measured("1234.5", measured), "not every number is there"


def test_the_readme_names_targets_of_make():
    blocks = re.findall(r"```console\n(.*?)```", README, re.DOTALL)
    typed = re.findall(r"^make ([a-z-]+)", "\n".join(blocks), re.MULTILINE)
    assert "demo" in typed
    mentioned = {*typed, *re.findall(r"`make ([a-z-]+)", README)}
    assert mentioned <= set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))
    called = re.findall(r"^make ([a-z-]+)$", (ROOT / ".ci" / "run").read_text(encoding="utf-8"), re.MULTILINE)
    assert called == ["test"]
    assert "test" in mentioned
