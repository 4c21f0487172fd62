"""The table of many rows: what stands in the page's JSON, and what is there without a script."""

from __future__ import annotations

import numpy as np
from page_tables import HtmlPage

from est.report.paged import FIRST, Column, paged_table

NAN = float("nan")


def columns(count):
    return [
        Column(name="clip", values=[f"</script>{n}" for n in range(count)]),
        Column(name="label", values=[("joy", "fear", "", None)[n % 4] for n in range(count)]),
        Column(name="share", values=[(n % 3) / 3 for n in range(count)], kind="share"),
        Column(name="number", values=[(1234567.0, NAN, 0.000123456, 3)[n % 4] for n in range(count)], kind="number"),
    ]


def test_all_rows_are_in_it_and_repeated_words_once():
    html = paged_table("t", columns(200), caption="C", noun="clips")
    found = HtmlPage(html)
    packed = found.packed()
    assert packed["clip"] == [f"</script>{n}" for n in range(200)]
    assert packed["label"][:4] == ["joy", "fear", "", ""]
    assert packed["number"][:4] == [1234567, None, 0.000123456, 3]  # filters compare them, so every digit is there
    assert packed["share"][:3] == [0, 1 / 3, 2 / 3]
    assert html.count("joy") < FIRST / 2  # in the JSON once


def test_the_first_rows_are_there_without_a_script():
    found = HtmlPage(paged_table("t", columns(200), caption="C", noun="clips"))
    assert len(found.tables["C"]) == 1 + FIRST
    assert found.tables["C"][3] == ["</script>2", "–", "66.7 %", "0.0001235"]
    assert all("hidden" in one for one in found.attributes("div") if one.get("class", "").startswith("controls"))
    assert "Rows 1 to 50 of 200" in found.text


def test_columns_of_few_words_have_a_list_to_choose_from():
    found = HtmlPage(paged_table("t", columns(200), caption="C", noun="clips"))
    assert [one["data-column"] for one in found.attributes("select") if one.get("class") == "choice"] == ["1"]
    values = [one["value"] for one in found.attributes("option") if "value" in one]
    assert values == ["all", "", "fear", "joy", "2", "3", "le", "ge"]
    short = HtmlPage(paged_table("t", columns(200)[:1], caption="C", noun="clips"))
    assert [one["class"] for one in short.attributes("select")] == ["rows"]


def test_whole_numbers_keep_every_digit():
    whole = [np.int64(n) for n in range(123456, 123460)]
    long = [2**53 + 1, None, -(2**62) - 1, 5]  # JavaScript's numbers are not exact there
    found = HtmlPage(
        paged_table(
            "t",
            [
                Column(name="clip", values=list("abcd")),
                Column(name="whole", values=whole, kind="number"),
                Column(name="long", values=long, kind="number"),
                Column(name="fraction", values=[123456.78, 0.1234567, 12.0, NAN], kind="number"),
            ],
            caption="C",
            noun="clips",
        )
    )
    assert found.packed()["whole"] == [123456, 123457, 123458, 123459]
    assert found.packed()["long"] == [None if one is None else str(one) for one in long]
    assert found.packed()["fraction"] == [123456.78, 0.1234567, 12, None]
    shown = [row[1:] for row in found.tables["C"][1:]]
    assert shown == [
        ["123,456", "9,007,199,254,740,993", "123,457"],
        ["123,457", "–", "0.1235"],
        ["123,458", "-4,611,686,018,427,387,905", "12"],
        ["123,459", "5", "–"],
    ]
