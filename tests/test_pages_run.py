"""The README and the tutorial: every command runs, and the files that they promise are there.

The fast tests run both in one process, with short trainings and small face crops, and the tutorial on the README's videos. The slow ones
run every command in a shell as it is written.
"""

from __future__ import annotations

import json
import re
import shutil

import pytest
from page_blocks import ROOT, blocks_of, printed_on, run_here, run_in_shell, shape

README, TUTORIAL = "README.md", "docs/tutorial.md"
OF_README = {
    "videos/manifest.csv",
    "cache.zarr/zarr.json",
    "cache-report.html",
    "runs/first/summary.md",
    "first-report.html",
    "predictions/s000_00/predictions.csv",
    "predictions/s000_00/s000_00.timeline.png",
    "predictions/s000_00/s000_00.annotated.mp4",
}
OF_TUTORIAL = OF_README - {"videos/manifest.csv"} | {
    "cache-clips/clips.png",
    "runs/first/confusion.svg",
    "runs/gru/metrics.json",
}


SHORT = {  # what the fast tests add to commands with these words
    "render": "--workers 1",
    "extract": "--workers 1 --size 64",
    "--dry-run": "--limit 2",
    "train": "--epochs 2",
    "predict": "--workers 1",
}


COMMENTED = {
    "cache-report.html",
    "first-report.html",
    "predictions/s000_00",
}  # what the README's comments say is written


def short(words):
    """Return a command that takes less time and does the same."""
    return [*words, *(more for word, added in SHORT.items() if word in words for more in added.split())]


def expect(folder, files):
    """Each of these files is there, with something in it."""
    missing = {name for name in files if not (folder / name).is_file() or not (folder / name).stat().st_size}
    assert not missing


def expect_printed(told, lines):
    """Commands print these lines of a page, with other numbers perhaps; a line that ends in … stands for all that begin so."""
    assert len(lines) >= 8
    printed = {shape(line) for line in told.splitlines()}
    whole = {shape(line) for line in lines if not line.endswith("…")}
    assert whole - printed == set()
    for begun in {shape(line).removesuffix("…").rstrip() for line in lines if line.endswith("…")}:
        assert any(line.startswith(begun) for line in printed), begun


@pytest.fixture(scope="module")
def after_readme(tmp_path_factory):
    """The folder in which the README's commands ran."""
    folder = tmp_path_factory.mktemp("readme")
    run_here(blocks_of(README), folder, short)
    return folder


def test_the_readme_runs(after_readme):
    expect(after_readme, OF_README)
    assert json.loads((after_readme / "runs/first/metrics.json").read_text())["clips"] == 12


def test_the_tutorial_runs(after_readme, tmp_path):
    render, *others = blocks_of(TUTORIAL)
    assert render.startswith("est demo render --out videos ")
    shutil.copytree(after_readme / "videos", tmp_path / "videos")
    told = run_here(["\n".join(render.splitlines()[1:]), *others], tmp_path, short)
    of_all_clips = ("label ", "subject ")  # rows of the dry run, which reads two clips here
    expect_printed(told, [line for line in printed_on(TUTORIAL) if not line.startswith(of_all_clips)])
    expect(tmp_path, OF_TUTORIAL)
    metrics = json.loads((tmp_path / "runs/first/metrics.json").read_text())
    assert metrics["protocol"]["independence"] == "by subject", "the patterns found the people"


@pytest.mark.slow
def test_the_readme_runs_in_a_shell(tmp_path):
    run_in_shell(blocks_of(README), tmp_path)
    expect(tmp_path, OF_README)


@pytest.mark.slow
def test_the_tutorial_runs_in_a_shell_and_its_numbers_hold(tmp_path):
    """Other processors round otherwise: scores may differ by some clips, and what the page reads from them may not."""
    told = run_in_shell(blocks_of(TUTORIAL), tmp_path)
    expect_printed(told, printed_on(TUTORIAL))
    expect(tmp_path, OF_TUTORIAL)
    metrics = json.loads((tmp_path / "runs/first/metrics.json").read_text())
    printed = re.search(r"WAR ([\d.]+) % \(\d+/(\d+)\)", (ROOT / TUTORIAL).read_text(encoding="utf-8"))
    assert metrics["clips"] == int(printed[2])
    assert metrics["pooled"]["war"]["value"] * 100 == pytest.approx(float(printed[1]), abs=8)
    assert metrics["above_control"]["better"] == 1


def test_the_comments_of_the_readme_name_what_is_written():
    """The names are written here and not read from the page: a misspelt one there would else be missing on both sides."""
    assert set(re.findall(r"# (\S+[./]\S+): ", "\n".join(blocks_of(README)))) == COMMENTED
    assert {f"{place}/" for place in COMMENTED - OF_README} <= {f"{name.rpartition('/')[0]}/" for name in OF_README}


def test_the_readme_is_short():
    assert len((ROOT / README).read_text(encoding="utf-8").splitlines()) <= 120
