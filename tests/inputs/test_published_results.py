"""Published scores: as the tables of the EST paper print them, each with its source, and only beside the protocol of their data set."""

from __future__ import annotations

import json

import pytest

from est.cli import main
from est.inputs.published import DATASETS, dataset_named
from est.train.config.protocol import GENERAL, PROTOCOLS
from est.train.folds.published import result_lines, results_of

# WAR and UAR of EST and of its baseline: Tables 2 to 5 of the paper.
PAPER = {
    "bu4dfe": ((88.17, None), (85.60, None), 2),
    "mmi": ((92.50, 90.31), (90.50, 90.03), 3),
    "afew": ((54.26, 49.57), (49.72, 43.95), 4),
    "dfew": ((65.85, 53.94), (63.85, 50.39), 5),
}
WITH = {"bu4dfe", "mmi", "afew", "dfew", "ferv39k", "mafw"}


@pytest.mark.parametrize("name", PAPER)
def test_the_numbers_of_the_paper(name):
    known = {one.system: one for one in dataset_named(name).results}
    est, baseline, table = PAPER[name]
    assert (known["EST"].war, known["EST"].uar) == est
    assert (known["Transformer baseline"].war, known["Transformer baseline"].uar) == baseline
    assert known["EST"].source == f"Table {table} of the EST paper"
    assert "epoch chosen on the test fold" in known["EST"].remarks


def test_every_number_has_a_source_and_says_what_differs():
    assert {data.name for data in DATASETS if data.results} == WITH
    for data in DATASETS:
        assert len({one.system for one in data.results}) == len(data.results)
        for one in data.results:
            assert 0 < (one.uar or 1) < 100, "in percent"
            assert (one.uar or 0) <= one.war or data.name == "mmi", "UAR is the lower one where classes are uneven"
            assert one.source
            assert any("other backbone" in remark for remark in one.remarks), one


def test_afew_says_its_denominators():
    """191 of 352, and 194 of 381: both are what the percentages say."""
    known = {one.system: one for one in results_of("afew")}
    for system, right, clips in (("EST", 191, 352), ("Transformer baseline", 175, 352), ("Former-DFER", 194, 381)):
        assert f"{right} of {clips} clips" in known[system].remarks
        assert known[system].war == round(100 * right / clips, 2)


def test_lines_are_those_of_the_protocol():
    assert result_lines("dfew")[0] == (
        "published: EST 65.85 WAR / 53.94 UAR (Table 5 of the EST paper; its ResNet-18 trains with it: other backbone than "
        "cached features; epoch chosen on the test fold; the recalls that it prints average 53.43)"
    )
    assert not any(result_lines(kind) for kind in (*GENERAL, "crema-d"))
    assert "UAR" not in result_lines("bu4dfe")[0]


def test_list_protocols_shows_them(capsys):
    with pytest.raises(SystemExit):
        main(["train", "--list-protocols"])
    out = capsys.readouterr().out
    assert out.count("published: ") == sum(len(results_of(name)) for name in PROTOCOLS)
    with pytest.raises(SystemExit):
        main(["train", "--list-protocols", "--json"])
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)["protocols"]}
    assert rows["mmi"]["results"][0] == {
        "system": "EST",
        "war": 92.5,
        "uar": 90.31,
        "source": "Table 3 of the EST paper",
        "remarks": list(results_of("mmi")[0].remarks),
    }
    assert rows["ravdess"]["results"] == []
