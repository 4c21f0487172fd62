"""CITATION.cff: valid by the rules of the Citation File Format 1.2.0 that it uses, and in agreement with the package."""

from __future__ import annotations

import tomllib
from pathlib import Path

import yaml

from est import __version__
from est.report.runpage.setup import BIBTEX, PAPER, SOFTWARE

ROOT = Path(__file__).parents[1]
CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
KEYS = {"cff-version", "message", "title", "type", "version", "license", "authors", "references"}


def expect_authors(authors):
    """People have given and family names, entities a name."""
    assert authors
    for one in authors:
        assert set(one) in ({"name"}, {"given-names", "family-names"})
        assert all(isinstance(value, str) and value for value in one.values())


def test_the_software():
    assert {"cff-version", "message", "title", "authors"} <= set(CITATION) <= KEYS
    assert CITATION["cff-version"] == "1.2.0"
    assert CITATION["type"] == "software"
    assert CITATION["version"] == __version__
    with open(ROOT / "pyproject.toml", "rb") as file:
        assert CITATION["license"] == tomllib.load(file)["project"]["license"]
    assert (ROOT / "LICENSE").read_text(encoding="utf-8").startswith(f"{CITATION['license']} License")
    expect_authors(CITATION["authors"])


def test_the_paper():
    (paper,) = CITATION["references"]
    assert {"type", "title", "authors"} <= set(paper)
    expect_authors(paper["authors"])
    assert [one["family-names"] for one in paper["authors"]] == ["Liu", "Wang", "Feng", "Zhang", "Chen", "Zhan"]
    assert isinstance(paper["year"], int)


def test_pages_of_runs_cite_the_same():
    (paper,) = CITATION["references"]
    people = [(one["given-names"], one["family-names"]) for one in paper["authors"]]
    assert f"{', '.join(' '.join(one) for one in people)}: {paper['title']}. {paper['year']}." == PAPER
    assert f"author = {{{' and '.join(', '.join(one[::-1]) for one in people)}}}" in BIBTEX
    assert paper["title"] in BIBTEX
    assert CITATION["title"] in SOFTWARE
    assert f"Version {CITATION['version']}" in SOFTWARE


def test_the_readme_names_it():
    assert "CITATION.cff" in (ROOT / "README.md").read_text(encoding="utf-8")
