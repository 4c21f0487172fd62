"""The paper's numbers beside our rows: those that it prints, each beside its row, with what is known of it."""

from __future__ import annotations

from types import SimpleNamespace

from est.inputs.published.est_paper import NUMBERS
from est.sweep.reproduce.measures.measured import paper_cell, paper_line, paper_remarks
from est.sweep.reproduce.tables.catalogue import TABLES
from est.sweep.reproduce.tables.systems import PUBLISHED
from est.train.folds.published import results_of

ROWS = [(table.name, row) for table in TABLES.values() for row in table.rows]


def test_numbers_of_the_paper_stand_beside_rows_that_there_are():
    known = {(TABLES[name].source, row.paper) for name, row in ROWS if row.paper}
    assert {(one.source, one.row) for one in NUMBERS} <= known
    systems = {row.paper for row in TABLES["overall"].rows if row.paper}
    printed = {one.system for name in ("dfew", "afew", "mmi", "bu4dfe") for one in results_of(name)}
    assert systems == printed & systems, "a row of a system whose number is nowhere printed"
    assert {row.settings["model.name"]: row.paper for row in TABLES["overall"].rows if row.paper} == PUBLISHED
    table = TABLES["overall"]
    assert paper_line("afew", table, table.row("EST")).war == 54.26
    assert paper_line("bu4dfe", TABLES["ablation"], TABLES["ablation"].row("with AA-SFE")).war == 87.12
    assert paper_line("dfew", TABLES["ablation"], TABLES["ablation"].row("with AA-SFE")) is None


def test_numbers_are_those_that_the_paper_prints():
    """Written here a second time, from the paper's own tables."""
    printed = {
        ("bu4dfe", "Table 6"): {
            "transformer": (85.60, 34.37, 63.85),
            "aa-sfe": (87.12, 34.37, 63.88),
            "est": (88.17, 42.78, 63.89),
        },
        ("bu4dfe", "Table 7"): {
            "mean": (85.60, 34.37, None),
            "self-attention": (87.63, 42.78, None),
            "se": (87.46, 43.30, None),
            "hierarchical": (88.17, 42.78, None),
        },
        ("bu4dfe", "Table 9"): {"without": (82.5, None, None), "with": (87.5, None, None)},
        ("dfew", "Table 11"): {"transformer": (48.86, None, None), "est": (51.14, None, None)},
        ("bu4dfe", "Table 11"): {"transformer": (19.66, None, None), "est": (25.17, None, None)},
        **{("bu4dfe", f"Fig. {number}"): {"est": (88.17, None, None)} for number in (8, 10, 11)},
    }
    found: dict[tuple[str, str], dict] = {}
    for one in NUMBERS:
        if one.war is not None:
            found.setdefault((one.dataset, one.source), {})[one.row] = (one.war, one.parameters, one.macs)
    assert found == printed
    assert {(one.dataset, one.row): one.order for one in NUMBERS if one.source == "Table 8"} == {
        ("bu4dfe", "order"): 55.4,
        ("mmi", "order"): 45.0,
        ("afew", "order"): 50.9,
        ("dfew", "order"): 46.1,
    }
    assert {one.row: one.variance for one in NUMBERS if one.source == "Fig. 6"} == {"without": 1.2, "with": 0.669}


def test_the_column_of_the_paper():
    def words(dataset, table, label, show="war"):
        found = paper_cell(SimpleNamespace(dataset=dataset), TABLES[table], TABLES[table].row(label), show)
        return found["paper"].words if found else None

    assert words("bu4dfe", "ablation", "with AA-SFE") == "87.12 % (Table 6)"
    assert words("bu4dfe", "ablation", "with SSOP") == "–"
    assert words("dfew", "overall", "EST") == "65.85 %, UAR 53.94 % (Table 5)"
    assert words("mmi", "order-accuracy", "EST, code of the new slot", "order") == "order 45.0 % (Table 8)"
    assert words("bu4dfe", "start-frames", "without AA-SFE", "variance") == "variance 1.2 (Fig. 6)"
    assert words("afew", "overall", "FAN") == "51.18 % (Table 4)"
    assert words("afew", "overall", "R3D-18") == "45.67 %, UAR 42.14 % (Table 4)"
    assert words("dfew", "overall", "R3D-18") == "56.19 %, UAR 45.05 % (Table 5)"
    assert words("mmi", "overall", "LSTM") == "70.27 %, UAR 70.48 % (Table 3)"
    assert words("", "ablation", "with AA-SFE") is None


def test_remarks_of_the_paper_stand_below():
    said = paper_remarks("afew", TABLES["overall"], TABLES["overall"].rows)
    assert any(line.startswith("the paper's EST (Table 4 of the EST paper): 191 of 352 clips") for line in said)
    assert any("Former-DFER (Table 4 of the EST paper): 194 of 381 clips" in line for line in said)
    assert not any("last epoch" in line for line in said), "no row has that number"
    assert not paper_remarks("", TABLES["overall"], TABLES["overall"].rows)
    assert not paper_remarks("afew", TABLES["ablation"], TABLES["ablation"].rows)
