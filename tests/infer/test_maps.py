"""Models of maps are exported and probed through the contract like any other."""

from __future__ import annotations

import pytest
from finetune_samples import cache_of, draw
from train_samples import tiny_config

from est.infer.export.exporting import export_run
from est.infer.probing.probing import probe_run
from est.train import ProtocolConfig, fit
from est.train.models.registry import model_config
from est.train.results.predictions import Predictions

SIZES = {"num_segments": 2, "dim": 16, "heads": 2, "ffn": 32, "layers": 1}
READS = {"stt": ("layer3", [256, 2, 2]), "msstnet": ("pyramid4x4", [960, 4, 4])}  # of pictures of 32 pixels


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    folder = tmp_path_factory.mktemp("maps")
    listed = draw(folder / "drawn", 8)
    lines = listed.read_text().splitlines()
    listed.write_text("\n".join([lines[0] + ",onset,apex,offset", *(line + ",1,2,3" for line in lines[1:])]) + "\n")
    return cache_of(listed, folder / "cache.zarr", features=("gap", "layer3", "pyramid4x4"))


@pytest.mark.parametrize("name", READS)
def test_maps_are_exported_and_probed(cache, tmp_path, name):
    model = model_config(name, **SIZES)
    settings = {"batch": 4, "epochs": 1, "control": False, "protocol": ProtocolConfig(kind="holdout")}
    run = fit(cache, tmp_path / "run", tiny_config(model=model, **settings)).run
    feature, shape = READS[name]
    head = export_run(run, tmp_path / "head.onnx")
    assert head.about["inputs"]["features"]["shape"] == ["clips", 2, 2, *shape]
    full = export_run(run, tmp_path / "full.onnx", what="full")
    clips = len(Predictions.of_run(run))
    for found in (head, full):
        assert f"the same class for {min(clips, 3 if found is full else 16)} of" in found.checks[2]
    probed = probe_run(run)
    assert {"reversed", "frames shuffled"} <= {one.name for one in probed.changes}
    assert any(f"reads maps ({feature})" in note for note in probed.notes)
    assert {"attention", "deletion_held"} & {one.measure for one in probed.agreements}
