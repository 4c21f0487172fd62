"""`est export --push`: an exported model and tuned weights, with terms, a record in hashes, and no names of clips."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest
import torch
from hub_samples import FakeHub
from train_samples import LABELS, Recorder, learning_clip, learning_recipes, tiny_config

import est
from est.cache import CacheWriter, Source
from est.cache.trained import TrainedOn
from est.cli import main
from est.encoders.kinds import find_design
from est.encoders.weights import load_weights, save_weights
from est.errors import UsageError
from est.hub import client
from est.hub.sharing.models import push_export, push_weights
from est.hub.sharing.terms import Permission
from est.train import ProtocolConfig, fit

ALLOWED = Permission(licence="research only", confirmed=True)
EVERYBODY = Permission(licence="research only", confirmed=True, public=True)
SMALL = find_design("torchvision:shufflenet_v2_x0_5")
RECORD = TrainedOn(
    clips=("planted/1",), digests=("ab" * 16,), subjects=("PlantedA",), folds=("PlantedA",), how="est tune"
)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    found = FakeHub(tmp_path / "hub")
    monkeypatch.setattr(client, "open_hub", lambda: found)
    return found


def trained(folder, dataset, protocol):
    """Train once on clips with planted names."""
    with CacheWriter.open(
        folder / "c.zarr",
        learning_recipes(weights="planted.pt"),
        labels=LABELS,
        environment={"dataset": {"name": dataset}},
    ) as writer:
        for index in range(54):
            source = Source(num_bytes=1, mtime_ns=1, digest=bytes([index + 1] * 16))
            subject = f"Planted{'ABCDEF'[index // 3 % 6]}"
            writer.add(
                learning_clip(index, id=f"planted/{index:02d}", path="/videos/planted", subject=subject, source=source)
            )
    return fit(
        folder / "c.zarr",
        folder / "planted-run",
        tiny_config(epochs=1, protocol=protocol, seeds=(1,)),
        watch=Recorder(),
    ).run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("run"), "afew", ProtocolConfig(kind="split"))


def test_a_model_goes_with_its_terms_and_a_record_in_hashes(run, hub, tmp_path):
    exported, pushed = push_export(run, tmp_path / "model.onnx", "hub:me/model", ALLOWED)
    files = hub.files("me/model", "model")
    assert sorted(files) == ["README.md", "model.onnx", "trained_on.json"]
    assert files["model.onnx"] == exported.path.read_bytes()
    assert hub.public["me/model", "model"] is False
    for secret in (b"planted", b"Planted", b"/videos"):
        assert secret not in b"".join(files.values()), secret
    record = TrainedOn.from_json(json.loads(files["trained_on.json"]))
    learnt = run.halves()["split"]
    assert record.knows_clips(learnt["train"]).all()
    assert not record.knows_clips(learnt["test"]).any()
    card = files["README.md"].decode()
    assert card.startswith('---\nlicense: other\nlicense_name: "research-only"\n')
    assert "AFEW: academic research; an agreement with the authors" in card
    assert f"learnt from {len(learnt['train'])} clips" in card
    assert "apparent expressions" in card
    assert pushed.line().endswith("(private)")


@pytest.mark.parametrize(("form", "name"), [("torchscript", "model.pt"), ("onnx", "model.onnx")])
def test_an_exported_file_names_no_folder_of_this_machine(form, name, run, hub, tmp_path):
    """Entries of TorchScript's archive are compressed: each is looked into."""
    exported, _ = push_export(run, tmp_path / name, "hub:me/model", ALLOWED, form=form)
    data = hub.files("me/model", "model")[name]
    parts = [data]
    if form == "torchscript":
        with zipfile.ZipFile(exported.path) as archive:
            parts += [archive.read(entry) for entry in archive.namelist()]
        assert len(parts) > 10
    for folder in (Path(est.__file__).parent, Path(torch.__file__).parents[1], Path(__file__).parent, tmp_path):
        assert not any(str(folder.resolve()).encode() in part for part in parts), folder


def test_what_forbids_the_push_is_found_before_the_export(run, hub, tmp_path):
    """Everybody may not see what has learnt from a data set by agreement, and the run knows it without its cache."""
    facts = json.loads((run.path / "run.json").read_text())
    assert facts["cache"]["datasets"] == ["afew"]
    for permission, says in (
        (EVERYBODY, "which go to users whom an agreement names"),
        (Permission(licence=None, confirmed=True), "No licence is given"),
        (Permission(licence="x", confirmed=False), "is not confirmed"),
    ):
        with pytest.raises(UsageError, match=says):
            push_export(run, tmp_path / "model.onnx", "hub:me/model", permission)
    assert hub.calls == []
    hub.put("me/open", {"README.md": b"old"})
    with pytest.raises(UsageError, match="is there already, and public"):
        push_export(run, tmp_path / "model.onnx", "hub:me/open", ALLOWED)
    assert not (tmp_path / "model.onnx").exists()


def test_a_part_that_is_named_after_a_person_stays(hub, tmp_path):
    run = trained(tmp_path, "", ProtocolConfig(kind="loso", only=("PlantedA",)))
    with pytest.raises(UsageError, match="is named after a person"):
        push_export(run, tmp_path / "model.onnx", "hub:me/model", ALLOWED)


def test_weights_go_with_hashes_and_come_back_by_name(hub, tmp_path):
    card = {
        "data": {"from": "/videos/planted", "dataset": ""},
        "start": {"weights": "imagenet"},
        "licence": {"start": "BSD"},
    }
    path = tmp_path / "tuned.safetensors"
    save_weights(path, SMALL.build(1), normalize="imagenet", trained_on=RECORD, card=card)
    push_weights(path, "hub:me/encoder", EVERYBODY)
    files = hub.files("me/encoder", "model")
    assert sorted(files) == ["README.md", "backbone.safetensors"]
    for secret in (b"planted", b"Planted", b"/videos", str(tmp_path).encode()):
        assert secret not in b"".join(files.values()), secret
    found = load_weights("hub:me/encoder")
    assert found.trained_on.knows_clips(["planted/1", "planted/2"]).tolist() == [True, False]
    assert found.trained_on.knows_subjects(["PlantedA", "PlantedB"]).tolist() == [True, False]
    assert found.backbone.normalization.name == "imagenet"
    own = load_weights(str(path)).backbone.trunk.state_dict()
    assert all((tensor == own[name]).all() for name, tensor in found.backbone.trunk.state_dict().items())
    text = files["README.md"].decode()
    assert "learnt from 1 clip of 1 subject (est tune)" in text
    assert "est extract videos/ --out cache.zarr --weights hub:me/encoder" in text


def test_files_of_others_are_not_pushed(hub, tmp_path):
    from safetensors.torch import save_file

    save_file(SMALL.build().trunk.state_dict(), tmp_path / "other.safetensors")
    with pytest.raises(UsageError, match="was not written by est"):
        push_weights(tmp_path / "other.safetensors", "hub:me/encoder", ALLOWED)
    (tmp_path / "w.pt").write_bytes(b"x")
    with pytest.raises(UsageError, match="as a file of safetensors"):
        push_weights(tmp_path / "w.pt", "hub:me/encoder", ALLOWED)
    for data in ({"dataset": "AffectNet"}, {"dataset": "", "datasets": ["AffectNet"]}):
        save_weights(
            tmp_path / "t.safetensors", SMALL.build(), normalize="none", trained_on=RECORD, card={"data": data}
        )
        with pytest.raises(UsageError, match="AffectNet, which go to users"):
            push_weights(tmp_path / "t.safetensors", "hub:me/encoder", EVERYBODY)
    assert hub.calls == []


def test_the_command_line_does_the_same(run, hub, tmp_path, capsys):
    out, path = str(tmp_path / "model.onnx"), tmp_path / "tuned.safetensors"
    save_weights(path, SMALL.build(), normalize="none", trained_on=None)
    agreed = ["--push", "hub:me/model", "--licence", "mine", "--yes"]
    for arguments, status in (
        ([str(run.path), "--out", out, *agreed], 0),
        ([str(path), "--push", "hub:me/encoder", "--licence", "mine", "--yes", "--json"], 0),
        ([str(run.path), "--out", out, "--public"], 2),
        ([str(run.path)], 2),
        ([str(path), "--out", out], 2),
    ):
        with pytest.raises(SystemExit) as ended:
            main(["export", *arguments])
        assert ended.value.code == status, capsys.readouterr()
    told = capsys.readouterr()
    assert "hub:me/model@" in told.out
    assert "--out model.onnx" in told.err
    assert "backbone.safetensors" in hub.files("me/encoder", "model")
