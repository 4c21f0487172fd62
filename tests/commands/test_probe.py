"""`est probe` on the command line: options arrive, and what is shown and written."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from made_model import register
from planted import STILL, Timed, TimedConfig, planted_cache

from est.cli import main
from est.train import fit


def call(*words):
    with pytest.raises(SystemExit) as stopped:
        main(["probe", *map(str, words)])
    return stopped.value.code


@pytest.fixture
def run(tmp_path, monkeypatch):
    register(monkeypatch, Timed, TimedConfig)
    return fit(planted_cache(tmp_path / "cache.zarr"), tmp_path / "run", replace(STILL, model=TimedConfig())).run


def test_a_table_and_files(run, capsys):
    assert call(run.path, "-q") == 0
    out = capsys.readouterr().out
    for said in (
        "as they are        100.0 %",
        "reversed           0.0 %",
        "temporal-reliance index",
        "within 1 temporal pairs",
    ):
        assert said in out, out
    assert "random" in out
    assert (run.path / "probe" / "probe.json").is_file()


def test_json_and_options(run, tmp_path, capsys):
    cache = (tmp_path / "cache.zarr").rename(tmp_path / "away.zarr")
    assert call(run.path, "--json", "-q") == 2
    assert "--cache" in json.loads(capsys.readouterr().out.splitlines()[-1])["remedy"]
    assert call(run.path, "--json", "-q", "--cache", cache, "--no-windows", "--device", "cpu") == 0
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert said["format"] == "est-probe"
    assert "window deleted" not in {one["name"] for one in said["changes"]}


def test_what_is_no_pair_is_wrong_usage(run, capsys):
    assert call(run.path, "--pair", "happy") == 2
    assert "--pair is A=B" in capsys.readouterr().err
    assert call(run.path, "--pair", "happy=sad") == 2
    assert "no class 'happy'" in capsys.readouterr().err
