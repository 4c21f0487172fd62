"""hsemotion:NAME: the own network is timm's to the bit, published names of tensors fit, and the record says what chose a file."""

from __future__ import annotations

import pytest
import timm
import torch
from encoder_samples import pictures, shaken

from est.cache.trained import TrainedOn
from est.encoders.backbone import Normalization
from est.encoders.kinds import find_design
from est.encoders.kinds.efficientnet import SCALES, EfficientNet
from est.encoders.kinds.hsemotion import FILES, record_of
from est.encoders.weights import load_weights
from est.errors import EstError, UsageError


def published(net, head="classifier", classes=8):
    """Return the module as it is published, with the classifier of the library, alone or in a Sequential."""
    model = shaken(timm.create_model(f"tf_efficientnet_{net}", num_classes=classes))
    if head == "classifier.0":
        model.classifier = torch.nn.Sequential(model.classifier)
    return model


@pytest.mark.parametrize(("net", "side"), [("b0", 64), ("b2", 97)])
@torch.no_grad()
def test_the_network_computes_what_timms_does(net, side):
    """Odd sides tell TensorFlow's padding from others."""
    theirs = shaken(timm.create_model(f"tf_efficientnet_{net}", num_classes=0))
    ours = EfficientNet(SCALES[net]).eval()
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict(theirs.state_dict())
    shown = pictures(2, side)
    wanted = theirs(shown)
    assert wanted.abs().max() > 0.1
    assert (ours(shown) - wanted).abs().max() <= 1e-6 * wanted.abs().max()


def test_a_published_module_is_loaded_by_its_name_without_timm(tmp_path, monkeypatch):
    model = published("b0", "classifier.0", 10)
    torch.save(model, tmp_path / FILES["b0"])
    monkeypatch.setitem(__import__("sys").modules, "timm", None)
    found = load_weights("hsemotion:b0", models_dir=tmp_path)
    tensors = found.backbone.trunk.state_dict()
    assert all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in tensors.items())
    assert found.matched == len(tensors)
    assert found.unused == ["classifier.0.weight", "classifier.0.bias"]
    assert (found.name, found.backbone.name) == ("hsemotion:b0", "hsemotion:b0")
    assert (found.backbone.width, found.backbone.side) == (1280, 224)
    assert found.backbone.normalization == Normalization.named("imagenet")
    assert "research only" in found.licence
    assert "VGGFace2" in found.report()
    assert "AffectNet" in found.report()
    assert found.backbone.stages  # which est train --finetune layer4 takes


def test_a_file_by_hand_is_the_same_encoder_and_its_name_tells_what_chose_it(tmp_path):
    torch.save(published("b0"), tmp_path / "enet_b0_8_best_afew.pt")
    for name in ("", "hsemotion:b0="):
        found = load_weights(f"{name}{tmp_path / 'enet_b0_8_best_afew.pt'}", normalize="imagenet" if name else None)
        assert found.backbone.name == "hsemotion:b0"
        assert found.name == "enet_b0_8_best_afew.pt"
        assert "research only" in found.licence
        assert any(entry.startswith("AFEW: ") for entry in found.trained_on.datasets)
    chosen = [one for one in record_of("enet_b0_8_best_vgaf.pt").datasets if one.startswith("VGAF: ")]
    assert chosen == ["VGAF: the file was chosen on it, by its name"]
    assert load_weights("hsemotion:b0=random").trained_on is None


def test_no_name_stands_for_a_file_that_a_video_data_set_chose():
    assert set(FILES) == {"b0", "b2"}
    for model, file in FILES.items():
        assert "best" not in file
        record = find_design(f"hsemotion:{model}").learnt(f"hsemotion:{model}")
        assert [entry.partition(":")[0] for entry in record.datasets] == ["AffectNet", "VGGFace2"]
    with pytest.raises(UsageError, match="chosen on AFEW has no name here"):
        load_weights("hsemotion:b0_best_afew")


def test_other_tensors_are_not_b0(tmp_path):
    torch.save(published("b2", classes=7), tmp_path / FILES["b0"])
    with pytest.raises(EstError, match=r"is not the file of hsemotion:b0: .*lacks|has shape") as refused:
        load_weights("hsemotion:b0", models_dir=tmp_path)
    assert "itself" in refused.value.remedy
    assert [path.name for path in tmp_path.iterdir()] == [FILES["b0"]]  # nothing was recorded


def test_a_record_of_data_sets_is_stored_only_where_there_is_one():
    plain = TrainedOn(clips=("a",))
    assert "datasets" not in plain.to_json()  # earlier records keep their fingerprints
    told = TrainedOn(clips=(), datasets=("AffectNet: expressions",))
    assert TrainedOn.from_json(told.to_json()) == told
    assert told.merged(plain).datasets == told.datasets
    assert (
        told.merged(plain).describe() == "learnt from 1 clip, trained and chosen on data sets (AffectNet: expressions)"
    )
    assert told.describe() == "trained and chosen on data sets (AffectNet: expressions)"
