"""Every parser of text, on a few mutated texts: only errors of est come out. `benchmarks/hardening/parsers.py` tries thousands."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from est.errors import EstError

HARDENING = Path(__file__).parents[1] / "benchmarks" / "hardening"
EXAMPLES = 4


@pytest.fixture(scope="module")
def hardening():
    """`hardening(name)` imports a module of the campaign; none of them stays."""
    before = set(sys.modules)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [str(HARDENING), str(HARDENING.parent), *sys.path])
        yield importlib.import_module
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(HARDENING.parent)):
            del sys.modules[name]


@pytest.fixture(scope="module")
def parsers(hardening, tmp_path_factory):
    return hardening("parsers").all_parsers(tmp_path_factory.mktemp("parsers"))


def test_only_errors_of_est_come_out_of_any_parser(hardening, parsers):
    reading = hardening("_reading")
    found, read = {}, 0
    for parser in parsers:
        tally = reading.examine(parser, EXAMPLES, 0)
        read += tally.counts["read"]
        found |= {parser.name: [str(one) for one in tally.findings.values()]} if tally.findings else {}
    assert found == {}
    assert read > len(parsers) / 4  # they are not refused at the door


def test_each_parser_reads_a_sound_text(parsers):
    refused = []
    for parser in parsers:
        for sample in parser.samples:
            try:
                parser.read(sample)
                break
            except EstError:
                continue
        else:
            refused.append(parser.name)
    assert refused == []


def test_every_data_set_with_a_list_is_among_them(parsers):
    from est.inputs.published import DATASETS

    without_lists = {"afew", "bu4dfe", "ravdess", "crema-d", "smic"}  # names of files and folders say everything
    named = " ".join(parser.what for parser in parsers)
    assert [
        one.name
        for one in DATASETS
        if f"--dataset {one.name}`" not in named and one.name not in {*without_lists, "csv"}
    ] == []


@pytest.mark.parametrize(
    ("error", "kind"),
    [(ZeroDivisionError("x"), "ZeroDivisionError"), (UserWarning("x"), "UserWarning"), (None, "TooSlow")],
)
def test_what_is_looked_for_is_found(hardening, error, kind):
    reading = hardening("_reading")

    def read(data):
        if b"9" in data:
            if error is None:
                while True:
                    pass
            raise error

    parser = reading.Parser(name="x", what="x", samples=(b"1 2 9",), read=read)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "MOST_SECONDS", 0.01)
        tally = reading.examine(parser, 5, 0)
    assert {one.what for one in tally.findings.values()} == {kind}
