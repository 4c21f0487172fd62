"""The built site: it needs no network, and its search finds what people type."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"
EXTERNAL = re.compile(r"<(?:script|img|link|iframe)\b[^>]*\b(?:src|href)=\"(?:https?:)?//[^\"]*\"")


@pytest.mark.slow
def test_the_site_works_offline_and_is_searched(tmp_path):
    command = [sys.executable, "-m", "sphinx", "--fail-on-warning", "-q", "-b", "html", str(DOCS), str(tmp_path)]
    subprocess.run(command, check=True, capture_output=True)
    pages = sorted(tmp_path.glob("*.html"))
    assert {page.stem for page in pages} >= {page.stem for page in DOCS.glob("*.md")}
    loaded = [match for page in pages for match in EXTERNAL.findall(page.read_text(encoding="utf-8"))]
    assert not loaded, "a page loads something from another host"
    search = (tmp_path / "search.html").read_text(encoding="utf-8")
    assert '<script src="searchindex.js"' in search, "the index is a script, which browsers load from a disk too"
    text = (tmp_path / "searchindex.js").read_text(encoding="utf-8")
    index = json.loads(re.fullmatch(r"Search\.setIndex\((.*)\)\s*", text, re.DOTALL)[1])
    for word, page in {
        "tutori": "tutorial",
        "libgl": "troubleshooting",
        "afew": "howto-datasets",
        "leak": "concepts",
    }.items():
        found = [index[of].get(word, []) for of in ("terms", "titleterms")]
        places = {place for some in found for place in ([some] if isinstance(some, int) else some)}
        assert page in {index["docnames"][place] for place in places}, word
    titles = {
        title.lower(): {index["docnames"][place] for place, _ in places} for title, places in index["alltitles"].items()
    }
    for message in ("no label", "too few clips", "no such option", "weights are missing", "damaged"):
        assert any("troubleshooting" in places for title, places in titles.items() if message in title), message
    scorer = (tmp_path / "_static" / "language_data.js").read_text(encoding="utf-8")
    assert "troubleshooting: 1" in scorer, "docs/search_scorer.js orders the results"
    # single words that a search of a message is left with, once words like "no" and "few" are dropped
    for word in ("label", "batch", "fold", "subject", "option"):
        found = index["titleterms"].get(word, [])
        assert "troubleshooting" in {
            index["docnames"][place] for place in ([found] if isinstance(found, int) else found)
        }
