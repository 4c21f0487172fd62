"""The frame of report pages and their pieces: words are escaped, tables can be sorted and read, names are distinct."""

from __future__ import annotations

import re

import numpy as np
import pytest
from page_tables import HtmlPage

from est.errors import UsageError
from est.report.charts import bars, histogram
from est.report.output import expect_free, write_output
from est.report.page import Cell, Section, facts, figure, image, items, page, percent, table, text, warning

HOSTILE = "<script>alert('&\x00\ud800')</script>"


def test_words_are_words_wherever_they_stand():
    rows = [[HOSTILE, 1], [HOSTILE, Cell(words=HOSTILE, value=2)]]
    parts = [text(HOSTILE), warning(HOSTILE), items([HOSTILE]), facts({HOSTILE: HOSTILE})]
    parts += [table([HOSTILE, "n"], rows, caption=HOSTILE), figure(bars({HOSTILE: 1}, HOSTILE), HOSTILE)]
    html = page(HOSTILE, [Section(title=HOSTILE, parts=parts), Section(title=HOSTILE, parts=[])])
    html.encode()  # no half of a surrogate pair is left
    found = HtmlPage(html)
    found.expect_whole()
    assert len(found.attributes("script")) == 1  # the page's own
    assert found.text.count("<script>alert('& ')</script>") >= 12


def test_a_page_lists_its_sections_and_can_be_skipped_to():
    found = HtmlPage(page("T", [Section(title="One & two", parts=[]), Section(title="One – two", parts=[])]))
    links = [one["href"] for one in found.attributes("a")]
    assert links == ["#content", "#one-two", "#one-two-2"]
    assert [one["aria-labelledby"] for one in found.attributes("section")] == ["one-two", "one-two-2"]
    assert found.attributes("html")[0]["lang"] == "en"


@pytest.mark.parametrize(
    "titles", [["a-2", "a", "a"], ["a", "a", "a-2"], ["content", "Content", "content 2"], ["?", "!"]]
)
def test_no_name_is_there_twice(titles):
    html = page("T", [Section(title=one, parts=[]) for one in titles])
    names = re.findall(r' id="([^"]*)"', html)
    assert len(set(names)) == len(names) == len(titles) + 1
    assert re.findall(r'<main id="([^"]*)"', html) == ["content"]
    assert [one["href"][1:] for one in HtmlPage(html).attributes("a")[1:]] == [one for one in names if one != "content"]


def test_numbers_of_numpy_are_numbers():
    html = table(["n", "x"], [[np.int64(123456), np.float32(0.5)], [np.int64(7), 123456.0]], caption="C")
    found = HtmlPage(html)
    assert found.tables["C"] == [["n", "x"], ["123,456", "0.5"], ["7", "123,456"]]
    assert [one.get("class") for one in found.attributes("th") if one["scope"] == "col"] == ["number", "number"]
    assert [one["data-value"] for one in found.attributes("td")] == ["0.5", "123456.0"]


def test_a_table_tells_how_it_is_sorted_and_which_cells_are_numbers():
    html = table(
        ["name", "share", "words", "face"],
        [["a", percent(0.25), "x", None], ["b", percent(None), "y", None]],
        caption="C",
        unsorted=("face",),
    )
    found = HtmlPage(html)
    assert found.tables["C"] == [["name", "share", "words", "face"], ["a", "25.0 %", "x", "–"], ["b", "–", "y", "–"]]
    heads = [one for one in found.attributes("th") if one["scope"] == "col"]
    assert [one.get("aria-sort") for one in heads] == ["none", "none", "none", None]
    assert [one.get("class") for one in heads] == [None, "number", None, None]  # a column without any number is none
    assert len(found.attributes("button")) == 3
    assert [one["data-value"] for one in found.attributes("td") if "data-value" in one] == ["0.25"]
    assert [one["scope"] for one in found.attributes("th")][4:] == ["row", "row"]


def test_a_table_of_one_row_has_nothing_to_sort():
    assert "button" not in table(["a"], [["x"]], caption="C")


def test_pictures_are_in_the_page():
    assert 'src="data:image/jpeg;base64,/9gA" alt="a &amp; b"' in image(b"\xff\xd8\x00", "a & b")
    with pytest.raises(KeyError):
        image(b"GIF", "no picture")


def test_a_histogram_counts_what_it_is_given():
    svg = histogram([0.0, 0.01, 0.5, 1.0, float("nan")], "H", axis="a", share=True)
    told = [int(one) for one in re.findall(r"<title>[^<]* to [^<]*: (\d+)</title>", svg)]
    assert sum(told) == 4  # NaN is no value
    assert [told[0], told[10], told[19]] == [2, 1, 1]
    for values in ([], [3.0] * 5, [-1.0, -1.0], [0.0]):
        assert histogram(values, "H", axis="a").count('class="bar"') == 20
    heights = [float(one) for one in re.findall(r'height="([\d.]+)" fill="#1f548c"', svg)]
    assert heights[0] == pytest.approx(2 * heights[10])


def test_files_are_not_replaced_unasked(tmp_path):
    path = write_output(tmp_path / "new" / "a.txt", "é", overwrite=False)
    assert path.read_text(encoding="utf-8") == "é"
    with pytest.raises(UsageError, match="exists already") as refused:
        write_output(path, "b", overwrite=False)
    assert "--overwrite" in refused.value.remedy
    assert write_output(path, b"c", overwrite=True).read_bytes() == b"c"
    with pytest.raises(UsageError, match="is a folder"):
        expect_free([tmp_path], overwrite=True)
    assert [one.name for one in path.parent.iterdir()] == ["a.txt"]
