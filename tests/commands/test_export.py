"""`est export` on the command line: options arrive, and what is shown."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from est.cli import main
from est.infer.export import exporting


def call(*words):
    with pytest.raises(SystemExit) as stopped:
        main(["export", *map(str, words)])
    return stopped.value.code


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """What `export_run` is called with; it writes nothing."""
    seen = {}
    found = SimpleNamespace(
        path=tmp_path / "m.onnx", card=tmp_path / "m.onnx.md", part="fold2", bytes=2_500_000, checks=("random: 1e-7",)
    )
    found.to_json = lambda: {"path": str(found.path), "part": found.part}

    def export_run(run, out, **options):
        seen.update(options, run=run, out=out)
        return found

    monkeypatch.setattr(exporting, "export_run", export_run)
    return seen


def test_every_option_arrives(asked, tmp_path, capsys):
    words = [
        "--format",
        "torchscript",
        "--what",
        "full",
        "--part",
        "fold2",
        "--cache",
        "c.zarr",
        "--weights",
        "w.pth",
        "--overwrite",
    ]
    assert call(tmp_path / "run", "--out", tmp_path / "m.pt", *words) == 0
    shown = {name: str(asked[name]) for name in ("form", "what", "part", "cache", "weights", "overwrite")}
    assert shown == {
        "form": "torchscript",
        "what": "full",
        "part": "fold2",
        "cache": "c.zarr",
        "weights": "w.pth",
        "overwrite": "True",
    }
    out = capsys.readouterr().out
    assert "m.onnx (2.5 MB), part fold2" in out
    assert "  random: 1e-7" in out


def test_defaults_and_json(asked, tmp_path, capsys):
    assert call(tmp_path / "run", "--out", tmp_path / "m.onnx", "--json") == 0
    assert (asked["form"], asked["what"], asked["part"], asked["overwrite"]) == ("onnx", "head", None, False)
    assert json.loads(capsys.readouterr().out)["part"] == "fold2"


def test_a_misspelt_format_is_wrong_usage(tmp_path, capsys):
    assert call(tmp_path / "run", "--out", tmp_path / "m.onnx", "--format", "onx") == 2
    assert "onnx" in capsys.readouterr().err


def test_what_is_no_run_is_refused(tmp_path, capsys):
    assert call(tmp_path, "--out", tmp_path / "m.onnx") == 2
    assert "is not a run" in capsys.readouterr().err
