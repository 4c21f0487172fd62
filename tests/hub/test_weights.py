"""--weights hub:ORG/NAME: safetensors alone, at a commit that the recipe keeps; what a hub does wrong is refused."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hub_samples import FakeHub, forget_downloads

from est.cache import FeatureRecipe
from est.encoders.kinds import find_design
from est.encoders.weights import is_known, load_weights, save_weights, weights_of_recipe
from est.errors import EstError, UsageError
from est.extract.command import _differing_rows
from est.extract.config import ExtractConfig
from est.hub import client
from est.hub.client import HubError, RemoteFile
from est.hub.sharing.caches import pull_cache

SMALL = find_design("torchvision:shufflenet_v2_x0_5")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Two files of weights that est has written."""
    folder = tmp_path_factory.mktemp("weights")
    for seed in (1, 2):
        save_weights(folder / f"{seed}.safetensors", SMALL.build(seed), normalize="none", trained_on=None)
    return [(folder / f"{seed}.safetensors").read_bytes() for seed in (1, 2)]


@pytest.fixture
def hub(tmp_path, monkeypatch):
    found = FakeHub(tmp_path / "hub")
    monkeypatch.setattr(client, "open_hub", lambda: found)
    return found


def test_the_commit_is_recorded_and_a_pinned_name_needs_no_network(hub, weights):
    first = hub.put("me/encoder", {"backbone.safetensors": weights[0], "README.md": b"a page"})
    found = load_weights("hub:me/encoder")
    assert found.name == f"hub:me/encoder/backbone.safetensors@{first}"
    assert is_known(found.name)
    ours = SMALL.build(1).trunk.state_dict()
    assert all(torch.equal(tensor, ours[name]) for name, tensor in found.backbone.trunk.state_dict().items())
    second = hub.put("me/encoder", {"backbone.safetensors": weights[1]})
    moved = load_weights("hub:me/encoder")
    assert moved.name.endswith(second)
    assert moved.digest != found.digest
    hub.down = True
    assert load_weights(found.name).digest == found.digest
    forget_downloads(hub)
    with pytest.raises(HubError, match="cannot be reached"):
        load_weights(found.name)


def test_which_file_is_plain_or_named(hub, weights):
    hub.put("me/one", {"tuned.safetensors": weights[0], "pytorch_model.bin": b"a pickle"})
    assert "/tuned.safetensors@" in load_weights("hub:me/one").name
    hub.put("me/two", {"a.safetensors": weights[0], "b.safetensors": weights[1]})
    with pytest.raises(UsageError, match="has 2 files of weights") as several:
        load_weights("hub:me/two")
    assert several.value.remedy == "--weights hub:me/two/a.safetensors"
    assert "/b.safetensors@" in load_weights("hub:me/two/b.safetensors").name
    with pytest.raises(HubError, match=r"has no c\.safetensors"):
        load_weights("hub:me/two/c.safetensors")


def test_pickles_are_never_downloaded(hub):
    hub.put("me/pickle", {"pytorch_model.bin": b"x", "model.onnx": b"y"})
    for name in ("hub:me/pickle", "hub:me/pickle/pytorch_model.bin"):
        with pytest.raises(UsageError, match="takes only safetensors from a hub, and me/pickle has none"):
            load_weights(name)
    assert "download" not in hub.calls


@pytest.mark.parametrize("spoils", ["half", "byte"])
def test_other_bytes_than_listed_are_refused_and_not_kept(spoils, hub, weights):
    hub.put("me/encoder", {"backbone.safetensors": weights[0]})
    hub.spoils = spoils
    with pytest.raises(HubError, match=r"is not the one that it lists: .*listed .*Nothing was kept"):
        load_weights("hub:me/encoder")
    assert not list((hub.root / "downloads").rglob("*.safetensors"))
    hub.spoils = False
    assert load_weights("hub:me/encoder").matched


@pytest.mark.parametrize("file", ["_model.safetensors", "my model.safetensors", "m@1.safetensors"])
def test_a_file_that_no_recipe_could_name_is_refused_before_it_is_fetched(file, hub, weights):
    hub.put("me/encoder", {file: weights[0]})
    with pytest.raises(HubError, match="cannot be named as hub:ORG/NAME/FILE") as refused:
        load_weights("hub:me/encoder")
    assert "--weights FILE" in refused.value.remedy
    assert "download" not in hub.calls


def test_a_commit_that_is_none_is_refused(hub, weights, tmp_path, monkeypatch):
    hub.put("me/encoder", {"backbone.safetensors": weights[0]})
    hub.put("me/encoder", {"cache.h5": b"x", "est.json": b"{}"}, kind="dataset")
    listing = hub.listing
    monkeypatch.setattr(hub, "listing", lambda *asked: replace(listing(*asked), commit="main"))
    with pytest.raises(HubError, match="names the commit 'main' of me/encoder, expected 40"):
        load_weights("hub:me/encoder")
    with pytest.raises(HubError, match="names the commit 'main'"):
        pull_cache("hub:me/encoder", tmp_path / "back.zarr")
    assert "download" not in hub.calls


def test_where_a_hub_lists_the_name_that_git_gives_it_is_compared(hub, weights, monkeypatch):
    """Files that are no large ones of git have no SHA-256 in a listing."""
    hub.put("me/encoder", {"backbone.safetensors": weights[0]})
    data = weights[0]
    listed = RemoteFile(size=len(data), git_blob=hashlib.sha1(f"blob {len(data)}\0".encode() + data).hexdigest())
    listing = hub.listing
    monkeypatch.setattr(hub, "listing", lambda *asked: replace(listing(*asked), files={"backbone.safetensors": listed}))
    hub.spoils = "byte"
    with pytest.raises(HubError, match="is not the one that it lists: git would name it"):
        load_weights("hub:me/encoder")
    hub.spoils = False
    assert load_weights("hub:me/encoder").matched


def test_a_hub_that_wants_a_token_or_lacks_it_says_so(hub):
    hub.wants_token = {"me/secret"}
    with pytest.raises(HubError) as refused:
        load_weights("hub:me/secret")
    assert "hf auth login" in refused.value.remedy
    with pytest.raises(EstError, match="has no me/nothing"):
        load_weights("hub:me/nothing")


def test_a_cache_goes_on_with_the_commit_that_it_was_begun_with(hub, weights):
    """The branch has moved: the command names no other weights before they are here, and their recipe differs then."""
    first = hub.put("me/encoder", {"backbone.safetensors": weights[0]})
    made = FeatureRecipe(parent="0" * 32, backbone=SMALL.name, weights=f"hub:me/encoder/backbone.safetensors@{first}")
    asked = ExtractConfig(weights="hub:me/encoder", dtype=made.dtype)
    assert "weights" not in _differing_rows(asked, made, "fp32", "torch")
    other = ExtractConfig(weights="hub:me/other", dtype=made.dtype)
    assert _differing_rows(other, made, "fp32", "torch")["weights"] == (made.weights, "hub:me/other")
    hub.put("me/encoder", {"backbone.safetensors": weights[1]})
    assert load_weights("hub:me/encoder").name != made.weights
    assert weights_of_recipe(made, Path("c.zarr"), normalize="none").name == made.weights
