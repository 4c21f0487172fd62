"""Files of other encoders: strictly loaded, written under their encoder's name, and found where weights are published."""

from __future__ import annotations

import hashlib
from functools import partial

import pytest
import timm
import torch
from encoder_samples import SMALL, pictures, shaken, whole_resnet
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError
from safetensors import safe_open
from safetensors.torch import save_file
from torchvision import models

from est.cache.trained import TrainedOn
from est.encoders.backbone import Backbone, Normalization
from est.encoders.kinds import find_design
from est.encoders.kinds.published import NotHere
from est.encoders.weights import load_weights, save_weights
from est.errors import EstError, UsageError

RECORD = TrainedOn(clips=("a/1", "b/2"), subjects=("s1",), how="est tune")


@pytest.fixture(scope="module")
def resnet_file(tmp_path_factory):
    return whole_resnet(tmp_path_factory.mktemp("timm"))


@pytest.mark.parametrize("name", [*SMALL, "timm:test_vit"])
def test_what_was_saved_is_loaded_as_the_encoder_that_it_was(name, tmp_path):
    backbone = shaken(load_weights(f"{name}=random", normalize="0.48145466,0.26862954").backbone)
    settings = {"normalize": backbone.normalization.name, "trained_on": RECORD, "card": {"purpose": "a test"}}
    path = tmp_path / "tuned.safetensors"
    save_weights(path, backbone, **settings)
    for text in (str(path), f"{name}={path}"):
        found = load_weights(text)
        assert found.backbone.name == name
        assert found.backbone.normalization == backbone.normalization, "to the last digit"
        assert (found.trained_on, found.card, found.unused) == (RECORD, {"purpose": "a test"}, [])
        assert (found.name, found.licence) == ("tuned.safetensors", "")
        assert f"of {name}" in found.report()
        assert found.digest == hashlib.sha256(path.read_bytes()).hexdigest()[:32]
        for key, tensor in backbone.state_dict().items():
            assert torch.equal(found.backbone.state_dict()[key], tensor), key
    save_weights(tmp_path / "again.safetensors", found.backbone, **settings)
    assert (tmp_path / "again.safetensors").read_bytes() == path.read_bytes()
    with safe_open(path, "pt") as file:
        assert set(file.keys()) == set(backbone.trunk.state_dict()), "the library's own names"


def test_a_file_of_one_encoder_is_none_of_another(tmp_path):
    path = tmp_path / "w.safetensors"
    save_weights(path, load_weights("timm:test_resnet=random").backbone, normalize="none", trained_on=None)
    with pytest.raises(UsageError, match="holds weights of timm:test_resnet, not of timm:test_vit"):
        load_weights(f"timm:test_vit={path}")
    save_file({"a": torch.zeros(1)}, path, metadata={"encoder": "tensorflow:vgg16", "normalize": "none"})
    with pytest.raises(UsageError, match=r"An encoder is torchvision:NAME, .* found 'tensorflow:vgg16'"):
        load_weights(str(path))


def test_files_of_resnet18_are_to_the_byte_what_they_were(tmp_path):
    """What earlier versions wrote, from weights that are seven numbers in turn."""
    backbone = Backbone()
    with torch.no_grad():
        for number, tensor in enumerate(backbone.state_dict().values()):
            tensor.fill_(number % 7)
    path = tmp_path / "w.safetensors"
    save_weights(path, backbone, normalize="0.4,0.25", trained_on=None)
    digest = "80d5f111ef46ecc0e95dd657092c0504766c1e41a893239e972fdb1cb8780e7d"
    assert hashlib.sha256(path.read_bytes()).hexdigest() == digest
    assert load_weights(str(path)).digest == digest[:32]
    record = TrainedOn(clips=("a",), how="x")
    save_weights(path, backbone, normalize="0.4,0.25", trained_on=record, card={"a": "ü"})
    digest = "671ab52c953ee055bd21b052b3fb8b3ba115cf5c8ebf7f0d3163f0f4929784b9"
    assert hashlib.sha256(path.read_bytes()).hexdigest() == digest


def test_every_tensor_must_be_there_and_fit(resnet_file, tmp_path):
    path = tmp_path / "mine.pth"
    with safe_open(resnet_file, "pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    text = f"timm:test_resnet={path}"

    torch.save({key: tensor for key, tensor in tensors.items() if not key.startswith("layer3")}, path)
    with pytest.raises(EstError, match=r"lacks \d+ of 90 tensors of timm:test_resnet: layer3\.0\.conv1\.weight"):
        load_weights(text, normalize="none")
    torch.save({**tensors, "layer1.0.conv1.weight": torch.zeros(1, 2)}, path)
    with pytest.raises(EstError, match=r"layer1\.0\.conv1\.weight has shape \(1, 2\), expected"):
        load_weights(text, normalize="none")
    torch.save({"some.weight": torch.zeros(3)}, path)
    with pytest.raises(EstError, match=r"matches no tensor of timm:test_resnet. It holds some\.weight"):
        load_weights(text, normalize="none")
    torch.save(tensors, path)
    with pytest.raises(UsageError, match=r"The pixel normalisation of mine\.pth is not known") as refused:
        load_weights(text)
    assert refused.value.remedy.startswith(
        "--normalize 0.5,0.5,0.5,0.5,0.5,0.5 (published weights of timm:test_resnet)"
    )
    with pytest.raises(EstError, match="of ResNet-18") as refused:
        load_weights(str(path), normalize="none")
    assert f"--weights timm:NAME={path}" in refused.value.remedy
    with pytest.raises(UsageError, match=r"there is no file 'nowhere\.pth'"):
        load_weights("timm:test_resnet=nowhere.pth")


def test_torchvisions_weights_are_found_where_models_lie(tmp_path, monkeypatch):
    model = shaken(models.squeezenet1_1())
    file = tmp_path / models.SqueezeNet1_1_Weights.DEFAULT.url.rpartition("/")[2]
    torch.save(model.state_dict(), file)
    found = load_weights("torchvision:squeezenet1_1", models_dir=tmp_path)
    assert found.backbone.normalization == Normalization.named("imagenet")
    assert found.digest == hashlib.sha256(file.read_bytes()).hexdigest()[:32]
    assert (found.name, found.unused) == ("torchvision:squeezenet1_1", ["classifier.1.weight", "classifier.1.bias"])
    assert found.licence.startswith("BSD-3-Clause code of torchvision; trained on ImageNet")

    def offline(url, target, **settings):
        assert settings["hash_prefix"] == "b8a52dc0"
        raise OSError("no network")

    file.unlink()
    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    with pytest.raises(EstError, match=r"weights of torchvision's squeezenet1_1 are not at .*squeezenet1_1-b8") as no:
        find_design("torchvision:squeezenet1_1").fetch(tmp_path, download=True)
    assert "--weights torchvision:squeezenet1_1=FILE" in no.value.remedy
    monkeypatch.setattr(torch.hub, "download_url_to_file", lambda *_, **__: pytest.fail("downloads"))
    with pytest.raises(NotHere, match="est downloads only on request") as no:
        load_weights("torchvision:squeezenet1_1", models_dir=tmp_path)
    told = f"est doctor --weights torchvision:squeezenet1_1 --fetch --models-dir {tmp_path} downloads them; or "
    assert no.value.remedy == f"{told}--weights torchvision:squeezenet1_1=FILE"


class Hub:
    """The hub's library, with a cache and a server of its own."""

    def __init__(self, *, cached=(), served=(), online=True):
        self.cached, self.served, self.online = dict(cached), dict(served), online
        self.asked = []

    def __call__(self, model, file, *, revision, cache_dir, local_files_only):
        self.asked.append((model, file, local_files_only))
        if file in self.cached:
            return str(self.cached[file])
        if local_files_only or not self.online:
            raise LocalEntryNotFoundError("not here")
        if file in self.served:
            return str(self.served[file])
        raise EntryNotFoundError("no such file")


def test_timms_weights_come_from_the_folder_of_models_the_hubs_cache_or_the_hub(resnet_file, monkeypatch):
    name = "timm:test_resnet"
    monkeypatch.setattr("huggingface_hub.hf_hub_download", hub := Hub(online=False))
    found = load_weights(name, models_dir=resnet_file.parent)
    assert not hub.asked
    assert found.backbone.normalization == Normalization.named("0.5,0.5")
    assert (found.name, sorted(found.unused)) == (name, ["fc.bias", "fc.weight"])
    assert found.digest == hashlib.sha256(resnet_file.read_bytes()).hexdigest()[:32]
    assert found.licence == "weights of timm, apache-2.0"

    monkeypatch.setattr("huggingface_hub.hf_hub_download", hub := Hub(cached={"model.safetensors": resnet_file}))
    assert load_weights(name).digest == found.digest
    assert hub.asked == [("timm/test_resnet.r160_in1k", "model.safetensors", True)]

    monkeypatch.setattr("huggingface_hub.hf_hub_download", hub := Hub(served={"pytorch_model.bin": resnet_file}))
    with pytest.raises(NotHere, match="est downloads only on request") as no:
        load_weights(name)
    assert no.value.remedy.startswith(f"est doctor --weights {name} --fetch downloads them; or ")
    assert all(here for _, _, here in hub.asked)
    assert find_design(name).fetch(None, download=True) == resnet_file
    assert [file for _, file, here in hub.asked if not here] == ["model.safetensors", "pytorch_model.bin"]


def test_without_a_network_the_way_by_hand_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.hf_hub_download", Hub(online=False))
    with pytest.raises(EstError, match=r"timm:test_resnet \(timm/test_resnet.r160_in1k on the hub\) are not on") as no:
        find_design("timm:test_resnet").fetch(tmp_path, download=True)
    assert str(tmp_path / "test_resnet.r160_in1k.safetensors") in no.value.remedy
    assert "--weights timm:test_resnet=FILE --normalize 0.5,0.5,0.5,0.5,0.5,0.5" in no.value.remedy
    monkeypatch.setattr("huggingface_hub.hf_hub_download", Hub())
    with pytest.raises(EstError, match=r"has none of model.safetensors, pytorch_model.bin"):
        find_design("timm:test_resnet").fetch(None, download=True)


@pytest.fixture
def narrow_clip(monkeypatch):
    """CLIP's ViT-B-32 with two thin blocks in place of twelve wide ones: a thousandth of its size."""
    made = partial(timm.create_model, embed_dim=64, depth=2, num_heads=2)
    monkeypatch.setattr(timm, "create_model", made)


def openai_names(tensors):
    """Name the tensors of a ViT of timm as OpenAI's CLIP does."""
    renames = {
        "cls_token": "class_embedding",
        "pos_embed": "positional_embedding",
        "patch_embed.proj": "conv1",
        "norm_pre": "ln_pre",
        "blocks": "transformer.resblocks",
        "norm1": "ln_1",
        "norm2": "ln_2",
        "attn.qkv.": "attn.in_proj_",
        "attn.proj": "attn.out_proj",
        "mlp.fc1": "mlp.c_fc",
        "mlp.fc2": "mlp.c_proj",
    }
    found = {}
    for key, tensor in tensors.items():
        key = "ln_post." + key.removeprefix("norm.") if key.startswith("norm.") else key
        for theirs, openais in renames.items():
            key = key.replace(theirs, openais)
        shape = {"class_embedding": tensor.shape[-1:], "positional_embedding": tensor.shape[-2:]}.get(key)
        found[f"visual.{key}"] = tensor if shape is None else tensor.reshape(shape)
    return found | {"logit_scale": torch.zeros(1), "visual.proj": torch.zeros(64, 32)}


def test_clip_is_loaded_from_files_with_openais_names(narrow_clip, tmp_path):
    expected = load_weights("clip:ViT-B-32=random").backbone
    save_file(openai_names(expected.trunk.state_dict()), tmp_path / "clip.safetensors")
    found = load_weights(f"clip:ViT-B-32={tmp_path / 'clip.safetensors'}", normalize=expected.normalization.name)
    assert found.matched == len(expected.trunk.state_dict())
    for key, tensor in expected.trunk.state_dict().items():
        assert torch.equal(found.backbone.trunk.state_dict()[key], tensor), key
    assert found.backbone.name == "clip:ViT-B-32"
    assert found.backbone.normalization.mean == (0.48145466, 0.4578275, 0.40821073)
    assert found.backbone.normalization.std == (0.26862954, 0.26130258, 0.27577711)
    with torch.inference_mode():
        assert torch.equal(found.backbone(pictures(1, 224)), expected(pictures(1, 224)))
    with pytest.raises(UsageError, match="clip:ViT-B-32 does not take crops of 112 pixels") as refused:
        found.backbone.shape_of("gap", 112)
    assert refused.value.remedy == "--size 224"


def test_clip_is_the_network_with_the_activation_it_was_trained_with(narrow_clip):
    """An independent sigmoid of 1.702 x in every block; timm's plain CLIP networks have another."""
    net = load_weights("clip:ViT-B-32=random").backbone.trunk
    x = torch.linspace(-3, 3, 50)
    for block in net.blocks:
        torch.testing.assert_close(block.mlp.act(x.clone()), x * torch.sigmoid(1.702 * x))
