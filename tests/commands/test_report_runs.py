"""`est report RUN…`: where the page goes, what is said of it, and what is refused."""

from __future__ import annotations

import json

import pytest
from report_samples import cache_with_crops, reported_run

from est.cli import main


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    cache = cache_with_crops(folder / "cache.zarr")
    for name in ("first", "second"):
        reported_run(cache, folder / name, seeds=(1,), epochs=1, details=name == "first")
    return folder


def call(*words):
    with pytest.raises(SystemExit) as done:
        main(["report", *map(str, words)])
    return done.value.code


def test_a_page_of_one_run(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert call(folder / "first", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["page"] == "first-report.html"
    assert told["bytes"] == (tmp_path / "first-report.html").stat().st_size
    html = (tmp_path / "first-report.html").read_text(encoding="utf-8")
    assert "<h1>Run first</h1>" in html
    assert "<img" not in html
    assert call(folder / "first") == 2
    assert call(folder / "first", "--faces", "--overwrite") == 0
    assert "<img" in (tmp_path / "first-report.html").read_text(encoding="utf-8")


def test_a_page_of_two_runs(folder, tmp_path, capsys):
    assert call(folder / "first", folder / "second", "--out", tmp_path / "both.html") == 0
    assert f"page: {tmp_path / 'both.html'}" in capsys.readouterr().out.replace("\n", "")
    assert "2 runs: first, second" in (tmp_path / "both.html").read_text(encoding="utf-8")
    assert call(folder / "first", folder / "second", "--faces", "--out", tmp_path / "faces.html") == 2
    assert not (tmp_path / "faces.html").exists()
