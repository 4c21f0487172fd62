"""The section on time: what probe.json holds is on the page, number by number; without it stands the command that makes it."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
from page_tables import HtmlPage

from est.infer.probing import probe as kept
from est.infer.probing.evidence import Agreement
from est.report.page import page
from est.report.runpage.probe import FILE, FORMAT, VERSION, probe_section
from est.train.results.paired import Difference


def difference(value, low, high):
    return Difference(
        value=value, low=low, high=high, p=0.01, units=12, unit="people", detectable=0.1, seeds=(2, 2), fixed=True
    )


@pytest.fixture
def run(tmp_path):
    facts = {"heading": "EST"}
    return SimpleNamespace(path=tmp_path / "a run", facts=facts, config=SimpleNamespace(seeds=(1, 2)))


@pytest.fixture
def probe(run):
    changes = (
        kept.Changed(name="reversed", text="from the end", war=0.25, lost=difference(0.5, 0.4, 0.6)),
        kept.Changed(name="frames shuffled", text="at random", war=0.625, lost=difference(0.125, 0.05, 0.2)),
        kept.Changed(name="apex", text="the apex", war=0.8, lost=difference(-0.05, None, None)),
    )
    pairs = (("a-up", "a-down"),)
    model = kept.WithinPairs(
        of="model", pairs=pairs, clips=20, pair_right=16, right=12, difference=difference(0.25, 0.1, 0.6)
    )
    control = kept.WithinPairs(of="control", pairs=pairs, clips=20, pair_right=0, right=0, difference=None)
    agreement = Agreement(measure="deletion", kind="brief", auc=0.875, low=0.8, high=None, clips=9, people=4)
    return kept.Probe(
        run=run,
        clips=36,
        people="12 people",
        war=0.75,
        changes=changes,
        agreements=(agreement, replace(agreement, measure="alpha", high=0.9)),
        pairs=(model, control),
        planted={"brief": 9, "held": 3, "without": 24},
        notes=("no maps <here>",),
        header=["id"],
        rows=[],
        arrays={},
    )


def shown(run):
    section = probe_section(run)
    assert section.title == "Does it use time?"
    return HtmlPage(page("T", [section], paths=True))


def test_the_page_says_what_the_probe_says(run, probe):
    (run.path / "probe").mkdir(parents=True)
    probe.save()
    assert run.path.joinpath(*FILE).is_file()
    found = shown(run)
    assert found.table("Changed clips: 36 clips of 12 people")[1:] == [
        ["as they are", "75.0 %", "–", "–", "the unchanged clips"],
        ["reversed", "25.0 %", "50.0", "40.0 to 60.0", "from the end"],
        ["frames shuffled", "62.5 %", "12.5", "5.0 to 20.0", "at random"],
        ["apex", "80.0 %", "−5.0", "–", "the apex"],
    ]
    assert "Temporal-reliance index: 12.5 points (95 % 5.0 to 20.0). The models use the order of frames." in found.text
    assert "a-up / a-down" in found.text
    assert found.table("Clips taken for either class")[1:] == [
        ["model", "75.0 %", "60.0 to 100.0", "12 / 16", "20"],
        ["control", "–", "–", "0 / 0", "20"],
    ]
    assert found.table("Agreement with the planted moment")[1:] == [
        ["deletion", "brief", "0.88", "–", "9", "4"],
        ["alpha", "brief", "0.88", "0.80 to 0.90", "9", "4"],
    ]
    assert "9 clips have brief planted evidence, 3 held, of 24 none is known" in found.text
    assert "no maps <here>" in found.text
    assert "other seeds" not in found.text
    run.config.seeds = (1,)
    assert "The probe is of other seeds than the run has now" in shown(run).text


@pytest.mark.parametrize(
    ("low", "high", "says"),
    [
        (-0.1, 0.2, "Its interval contains 0: use of the order of frames is not shown."),
        (-0.3, -0.2, "do better with frames in random order"),
        (None, None, "index: 0.0 points. There are too few people for an interval"),
    ],
)
def test_the_interval_of_the_index_decides(run, probe, low, high, says):
    changes = (replace(probe.changes[1], lost=difference(0.0, low, high)),)
    (run.path / "probe").mkdir(parents=True)
    replace(probe, changes=changes, agreements=(), pairs=(), notes=()).save()
    found = shown(run)
    assert says in found.text
    assert len(found.tables) == 1


def test_another_order_may_show_what_the_index_does_not(run, probe):
    (run.path / "probe").mkdir(parents=True)
    changes = (probe.changes[0], replace(probe.changes[1], lost=difference(0.05, -0.1, 0.2)), probe.changes[2])
    replace(probe, changes=changes).save()
    assert "contains 0, but clips with frames reversed lose more than 0" in shown(run).text


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "Not probed yet."),
        ("{", "is not as this release writes it"),
        ("[]", "is not as this release writes it"),
        (json.dumps({"format": FORMAT, "version": VERSION}), "is not as this release writes it"),
        (json.dumps({"format": FORMAT, "version": 9}), "is 'est-probe' version 9, expected 'est-probe' version 1."),
    ],
)
def test_without_a_probe_stands_the_command(run, content, says):
    if content is not None:
        (run.path / "probe").mkdir(parents=True)
        run.path.joinpath(*FILE).write_text(content)
    found = shown(run)
    assert says in found.text
    assert f"est probe '{run.path}'" in found.text
    assert not found.tables


def test_it_reads_the_format_that_is_written():
    assert (FORMAT, VERSION) == (kept.FORMAT, kept.VERSION)
    assert FILE == (kept.FOLDER, kept.FILE)
