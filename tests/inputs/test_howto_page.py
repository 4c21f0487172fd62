"""docs/howto-datasets.md: what est knows of published data sets, all of it, and nothing else."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from est.inputs.published import DATASETS
from est.recipes.registry import RECIPES

DOCS = Path(__file__).parents[2] / "docs"
KNOWN = [dataset for dataset in DATASETS if not dataset.is_generic]


@pytest.fixture(scope="module")
def page():
    sys.path.insert(0, str(DOCS))
    try:
        import make_datasets
    finally:
        sys.path.remove(str(DOCS))
    return make_datasets.build()


def test_it_is_current(page):
    assert (DOCS / "howto-datasets.md").read_text(encoding="utf-8") == page


def test_every_data_set_has_its_commands_and_numbers(page):
    sections = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL))
    assert list(sections) == [dataset.title for dataset in KNOWN]
    recipes = {recipe.name for recipe in RECIPES}
    for dataset in KNOWN:
        text = sections[dataset.title]
        assert f"est extract --dataset {dataset.name} --root " in text
        assert f"--protocol {dataset.name}" in text
        assert (f"est recipe run {dataset.name} " in text) == (dataset.name in recipes)
        assert dataset.licence in text
        for one in dataset.results:
            assert f"| {one.system} | {one.war:.2f} |" in text
            assert all(remark in text for remark in one.remarks)
        for one in dataset.uf1_results:
            assert all(f"| {row} | {uf1:.3f} |" in text for row, (uf1, _) in one.scores.items())
        has_scores = bool(dataset.results or dataset.uf1_results)
        assert ("No published score" in text) == (not has_scores)
