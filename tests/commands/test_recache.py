"""`est recache` on the command line: what is asked of the encoders, and of the rows that they make, arrives."""

from __future__ import annotations

import pytest

from est.cli import main
from est.encoders.engines import choice
from est.extract.config import ExtractConfig
from est.tune import TuneConfig

# Flags, what they set of the tuning, and what of the rows of the new cache.
FLAGS = {
    "": ({}, {}),
    "--precision fp32": ({"precision": "fp32"}, {"precision": "fp32"}),
    "--rows-precision fp32": ({}, {"precision": "fp32"}),
    "--rows-precision int8": ({}, {"precision": "int8"}),
    "--precision fp32 --rows-precision int8": ({"precision": "fp32"}, {"precision": "int8"}),
    "--engine torch": ({}, {"engine": "torch"}),
    "--engine onnxruntime": ({}, {"engine": "onnxruntime"}),
    "--engine onnxruntime --rows-precision int8": ({}, {"engine": "onnxruntime", "precision": "int8"}),
    "--features gap,layer3 --flip --crops": ({}, {"features": ("gap", "layer3"), "flip": True, "crops": True}),
    "--dtype float32 --workers 3": ({"workers": 3}, {"dtype": "float32", "workers": 3}),
    "--device cpu --seed 5": ({"device": "cpu", "seed": 5}, {"device": "cpu"}),
}


@pytest.fixture
def called(monkeypatch):
    """Catch what would be learnt and made, instead of doing it, on a processor that has every precision of these flags."""
    calls = {}

    def tune(source, out, config, **options):
        calls["tuning"] = (source, out.name, config, options)
        return ["arrays"]

    def make(source, out, arrays, config, **options):
        calls["rows"] = (source, out.name, arrays, config, options)
        raise KeyboardInterrupt

    monkeypatch.setattr("est.cache.open_cache", lambda path: "the cache")
    monkeypatch.setattr("est.tune.tune_folds", tune)
    monkeypatch.setattr("est.extract.recaching.expect_recachable", lambda *asked, **options: None)
    monkeypatch.setattr("est.extract.recaching.recache", make)
    monkeypatch.setattr(choice, "kind_of_processor", lambda: "VNNI")
    return calls


@pytest.mark.parametrize("flags", FLAGS)
def test_flags_arrive(called, flags):
    with pytest.raises(SystemExit) as ended:
        main(["recache", "c.zarr", "--tune", "--out", "o.zarr", "--views", "2", *flags.split()])
    assert ended.value.code == 130
    of_tuning, of_rows = FLAGS[flags]
    source, out, config, options = called["tuning"]
    assert (source, out, config) == ("the cache", "o.zarr", TuneConfig(**of_tuning))
    wanted = ExtractConfig(**{"precision": TuneConfig().precision, "device": TuneConfig().device, **of_rows})
    assert (options["taps"], options["crops"]) == (wanted.features, wanted.crops)
    assert called["rows"] == (
        "the cache",
        "o.zarr",
        ["arrays"],
        wanted,
        {**called["rows"][4], "views": 2, "crops": wanted.crops},
    )
