"""Former-DFER: published counts, layer4 as the encoder's own, from maps and end to end, and what it says where something is missing."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from finetune_samples import SIDE, cache_of, draw, tuned_run, tuning_cache, tuning_config
from train_samples import Recorder, fit_interrupted, learning_cache, outcome

from est.cache import open_cache
from est.cli import main
from est.encoders.backbone import norms_of
from est.encoders.weights import BACKBONE, load_weights, save_weights
from est.errors import EstError, UsageError
from est.infer.export.exporting import export_run
from est.infer.probing.probing import probe_run
from est.sweep.search.settings import SweepConfig
from est.sweep.search.sweeping import sweep_cache
from est.sweep.space.tables import space_of
from est.train import evaluate, fit
from est.train.loop.checkpoint import behind, load_checkpoint, load_model
from est.train.loop.stacks.rule import why_alone
from est.train.loop.starts import last_stage
from est.train.loop.starts.initial_weights import build
from est.train.loop.starts.last_stage import find_stage_start
from est.train.loop.sync_batchnorm import across
from est.train.loop.watch import Part
from est.train.loop.world import World
from est.train.models import FinetunedModel
from est.train.models.batch_frames import BatchFrames
from est.train.models.registry import build_model, describe_model, model_config
from est.train.runs.run import CHECKPOINT, HISTORY

SIZES = {"spatial_heads": 2, "spatial_head_width": 8, "spatial_ffn": 32}
TINY = model_config("former-dfer", layers=1, heads=2, head_width=8, ffn=32, num_segments=2, **SIZES)
MAPS = (SIDE // 16, SIDE // 16)


def built(config=TINY, seed=1, maps=MAPS):
    return build_model(config, width=256, num_classes=2, seed=seed, maps=maps).eval()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("former")


@pytest.fixture(scope="module")
def cache(folder):
    return tuning_cache(folder)


@pytest.fixture(scope="module")
def from_maps(cache, folder):
    return tuned_run(cache, folder / "maps", "none", model=TINY, control=False).run


@pytest.fixture(scope="module")
def whole(cache, folder):
    return tuned_run(cache, folder / "whole", "all", model=TINY, control=False, epochs=1).run


def model_of(run):
    return load_model(run.part(run.parts[0]) / CHECKPOINT)[0]


def losses(run):
    lines = (run.part(run.parts[0]) / HISTORY).read_text().splitlines()
    return [json.loads(line)["loss"] for line in lines]


# what it is


def test_its_parameters_are_the_published_ones():
    found = describe_model(model_config("former-dfer"), 256, 7, (7, 7))
    assert {row.part: row.parameters for row in found.rows} == {
        "spatial": 538_880,
        "layer4": 8_393_728,
        "tokens": 9_216,
        "blocks": 6_303_744,
        "classes": 3_591,
    }
    assert found.whole.parameters == 18_031_943 == 11_176_512 + 6_303_744 + 9_216 + 3_591 + 538_880
    assert found.to_json()["backbone"]["image_side"] == 112


def test_positions_follow_the_sides_of_maps():
    model = built(maps=(14, 14))
    assert model.spatial.positions.shape == (1, 196, 256)
    assert abs(float(model.spatial.positions.detach().std()) - 1) < 0.05
    with pytest.raises(UsageError, match=r"\(256, 14, 14\), found \(256, 7, 7\)"):
        model({"features": torch.zeros(1, 2, 2, 256, 7, 7)})


def test_without_its_spatial_half_frames_are_the_encoders(cache):
    encoder = load_weights("random").backbone
    clip = next(open_cache(cache).iterate(["gap", "layer3"]))
    maps, gap = (torch.from_numpy(clip.features[name][:4]).float() for name in ("layer3", "gap"))
    model = built()
    model.start_from(encoder)
    with torch.no_grad():
        found = model._frames({"features": maps.view(1, 2, 2, *maps.shape[1:])}).flatten(0, 2)
        assert (found - gap).abs().max() > 0.1  # positions of a normal are large
        for parameter in (model.spatial.positions, *model.spatial.blocks[0].to_out.parameters()):
            parameter.zero_()
        for parameter in model.spatial.blocks[0].linear2.parameters():
            parameter.zero_()
        model.scaling.fit(maps.mean((0, 2, 3)), maps.std((0, 2, 3)))  # which is undone before layer4
        plain = model._frames({"features": maps.view(1, 2, 2, *maps.shape[1:])}).flatten(0, 2)
    torch.testing.assert_close(plain, gap, atol=2e-3, rtol=2e-3)


@pytest.mark.parametrize("norm", ["train", "frozen"])
def test_behind_the_encoder_it_says_what_it_says_of_maps(norm):
    encoder = load_weights("random").backbone
    pictures = torch.randint(256, (3, SIDE, SIDE, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(2))
    place = torch.tensor([[[0, 1], [2, 2]], [[2, 0], [1, 0]]])
    head = built()
    head.start_from(encoder)
    with torch.no_grad():
        maps = encoder.taps(pictures.permute(0, 3, 1, 2).float() / 255, ("layer3",))["layer3"]
        wanted = head({"features": maps[place]}).expression
        parameters = sum(one.numel() for one in encoder.parameters()) + sum(
            one.numel() for part in (head.spatial, head.temporal) for one in part.parameters()
        )
        model = behind(encoder, head, tuning_config("all", batch_norm=norm).finetune)
        found = model.eval()({"rows": pictures, "place": place}).expression
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)
    assert parameters == sum(one.numel() for one in model.parameters())  # one layer4, the model's
    learning = {name for name, one in model.named_parameters() if one.requires_grad}
    assert ("est.layer4.0.bn1.weight" in learning) == (norm == "train")
    assert {"est.layer4.0.conv1.weight", "backbone.conv1.weight", "est.spatial.positions"} <= learning
    model.train()
    assert {one.training for one in norms_of(model)} == {norm == "train"}
    output = model({"rows": pictures, "place": place}).expression
    output.sum().backward()
    assert all(one.grad is not None for one in model.parameters() if one.requires_grad)


def test_several_processes_share_the_batches_of_layer4():
    model = built()
    across(model, World(rank=0, size=2))
    assert {type(norm).__name__ for norm in norms_of(model)} == {"AcrossBatchNorm2d"}


def test_a_stack_says_that_it_cannot_be():
    config = tuning_config("none", model=TINY)
    assert why_alone(config, precision="fp32") == "the model former-dfer cannot be stacked"


# from maps


def test_from_maps_layer4_starts_as_the_caches_encoder_and_learns(from_maps):
    assert losses(from_maps)[1] < losses(from_maps)[0]
    start, model = load_weights("random").backbone, model_of(from_maps)
    assert from_maps.facts["finetune"]["digest"] == load_weights("random").digest
    assert from_maps.facts["heading"].startswith("Former-DFER on a frozen backbone, whose last stage learns")
    moved = (model.layer4[0].conv1.weight - start.layer4[0].conv1.weight).abs().max()
    drawn = (built().layer4[0].conv1.weight - start.layer4[0].conv1.weight).abs().max()
    assert 0 < moved < 0.05 < drawn
    assert not torch.equal(model.layer4[0].bn1.running_mean, start.layer4[0].bn1.running_mean)
    assert evaluate(from_maps).predictions.predicted.shape[1] > 0


@pytest.mark.slow
def test_held_norms_stay(cache, tmp_path):
    run = tuned_run(
        cache,
        tmp_path / "run",
        "none",
        model=TINY,
        control=False,
        epochs=1,
        finetune=replace(tuning_config("none").finetune, batch_norm="frozen"),
    ).run
    start, model = load_weights("random").backbone, model_of(run)
    assert all(torch.equal(a, b) for a, b in zip(norm_state(model.layer4), norm_state(start.layer4), strict=True))
    assert not torch.equal(model.layer4[0].conv1.weight, start.layer4[0].conv1.weight)


def norm_state(stage):
    return [tensor for norm in norms_of(stage) for tensor in norm.state_dict().values()]


@pytest.mark.slow
def test_interrupted_it_resumes_to_the_bit(cache, folder, from_maps, tmp_path):
    """Its batch norms' statistics are in the checkpoint, also those of a running mean of weights."""
    for average in (0.0, 0.9):
        config = tuning_config("none", model=TINY, control=False, average=average)
        wanted = from_maps if not average else fit(cache, tmp_path / "straight", config, watch=Recorder()).run
        found = fit_interrupted(cache, tmp_path / f"run{average}", config, 1, 3)
        assert outcome(found.run.path) == outcome(wanted.path)


@pytest.mark.slow
def test_a_sweep_starts_each_trial_from_the_encoder(cache, tmp_path):
    base = tuning_config("none", model=TINY, scaling=True, epochs=1)
    space = space_of({"loop.learning_rate": [1e-4, 2e-4]}, model="former-dfer", base=base)
    config = SweepConfig(trials=2, inner=1, sampler="random", control=False)
    sweep_cache(cache, tmp_path / "sweep", base, space, config, workers=1)
    (kept,) = (tmp_path / "sweep" / "kept").rglob("*.safetensors")
    found = load_checkpoint(kept).group("model")["layer4.0.conv1.weight"]
    assert (found - load_weights("random").backbone.layer4[0].conv1.weight).abs().max() < 0.05


@pytest.mark.slow
def test_it_is_exported_and_probed(cache, from_maps, whole, tmp_path):
    for run, what in ((from_maps, "head"), (from_maps, "full"), (whole, "full")):
        found = export_run(run, tmp_path / f"{run.path.name}-{what}.onnx", what=what)
        assert "the same class for" in found.checks[2]
        assert found.about["encoder"]["tap"] == "layer3"
    assert {"reversed", "frames shuffled"} <= {one.name for one in probe_run(whole).changes}


# end to end


def test_end_to_end_all_of_it_learns(whole, tmp_path):
    model = model_of(whole)
    assert isinstance(model, FinetunedModel)
    assert (model.tap, model.width, model.maps) == ("layer3", 256, MAPS)
    start = load_weights("random").backbone
    for name in ("conv1", "layer1", "layer3"):
        before, after = (getattr(one, name).state_dict() for one in (start, model.backbone))
        assert any(not torch.equal(before[key], after[key]) for key in before)
    written = load_weights(str(whole.part(whole.parts[0]) / BACKBONE)).backbone
    pictures = torch.rand(2, 3, SIDE, SIDE)
    with torch.no_grad():
        assert torch.equal(
            written.taps(pictures, ("layer3",))["layer3"], model.backbone.taps(pictures, ("layer3",))["layer3"]
        )
    assert torch.equal(written.layer4[1].conv2.weight, model.est.layer4[1].conv2.weight)
    names = load_checkpoint(whole.part(whole.parts[0]) / CHECKPOINT).tensors
    assert not [name for name in names if "backbone.layer4" in name]
    assert evaluate(whole).predictions.predicted.shape[1] > 0
    assert whole.facts["finetune"]["maps"] == list(MAPS)


@pytest.mark.slow
def test_a_frozen_run_goes_on_end_to_end(cache, from_maps, tmp_path):
    still = tuned_run(
        cache,
        tmp_path / "run",
        "all",
        model=TINY,
        control=False,
        epochs=1,
        rate=0.0,
        init=str(from_maps.path),
        learning_rate=0.0,
    ).run
    ours, theirs = model_of(still).est.state_dict(), model_of(from_maps).state_dict()
    weights = [name for name in theirs if "running" not in name and "tracked" not in name]
    assert all(torch.equal(ours[name], theirs[name]) for name in weights)
    again = tuned_run(
        cache, tmp_path / "again", "all", model=TINY, control=False, epochs=1, init=str(still.path)
    ).run  # whose encoder has no layer4 of its own
    assert load_weights(str(again.part(again.parts[0]) / BACKBONE)).trained_on is not None


@pytest.mark.slow
def test_end_to_end_it_resumes_and_scales(cache, tmp_path):
    config = tuning_config("all", model=TINY, control=False, scaling=True)
    straight = fit(cache, tmp_path / "straight", config, watch=Recorder()).run
    assert not torch.equal(model_of(straight).scaling.mean, torch.zeros(256))
    found = fit_interrupted(cache, tmp_path / "run", config, 3)
    assert outcome(found.run.path) == outcome(straight.path)


# what is missing, or makes no sense


def test_layer4_is_its_own():
    with pytest.raises(UsageError, match="its own layer4 learns in every training") as refused:
        tuning_config("layer4", model=TINY)
    assert "--finetune all" in refused.value.remedy


@pytest.mark.parametrize("setting", ["source", "rate", "shift"])
def test_settings_of_fine_tuning_are_not_for_maps(setting):
    value = {"source": "crops"}.get(setting, 0.25)
    with pytest.raises(UsageError, match=f"finetune.{setting}: a setting of --finetune"):
        tuning_config("none", model=TINY, finetune=replace(tuning_config("none").finetune, **{setting: value}))


def test_a_cache_without_maps_says_what_adds_them(tmp_path, capsys):
    cache = learning_cache(tmp_path / "flat.zarr", 24)
    with pytest.raises(SystemExit) as ended:
        main(["train", "--cache", str(cache), "--model", "former-dfer", "--folds", "2", "--out", str(tmp_path / "run")])
    assert ended.value.code == 2
    assert "--features gap,layer3" in " ".join(capsys.readouterr().err.split())
    config = tuning_config("all", model=TINY)
    with pytest.raises(EstError, match=r"flat.zarr has no crops"):
        fit(cache, tmp_path / "run", replace(config, finetune=replace(config.finetune, source="crops")))


def test_weights_that_moved_are_named(cache, tmp_path):
    file = tmp_path / "mine.safetensors"
    save_weights(file, load_weights("synface").backbone, normalize="none", trained_on=None)
    cache = open_cache(cache)
    recipes, digest = cache.recipes.features, load_weights(str(file)).digest
    recipes["layer3"] = replace(recipes["layer3"], weights=file.name, weights_digest=digest)
    config = tuning_config("none", model=TINY)

    def start(weights):
        finetune = replace(config.finetune, weights=weights)
        return find_stage_start(cache, replace(config, finetune=finetune), ["layer3"])

    with pytest.raises(EstError, match="layer4 of former-dfer starts as that of the encoder") as refused:
        start("")
    assert "--weights FILE, the mine.safetensors" in refused.value.remedy
    with pytest.raises(EstError, match="whose layer4 is for other maps") as refused:
        start("synface")
    assert "--weights random" in refused.value.remedy
    assert start(str(file)).digest == load_weights(str(file)).digest
    drawn = start("random")
    one, same, other = (
        build(drawn, built(), config, Part(name="p", fold="f", seed=seed, index=0, total=1)).layer4[0].conv1.weight
        for seed in (1, 1, 2)
    )
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert torch.equal(one, load_weights("random", seed=1).backbone.layer4[0].conv1.weight)
    assert drawn.digest != load_weights("random").digest, "not what made any maps"
    earlier = drawn.as_begun(load_weights("random").digest)
    assert (earlier.by_seed, drawn.as_begun(drawn.digest).by_seed) == (False, True)


def test_weights_of_another_name_are_refused_before_a_download(cache, monkeypatch):
    opened = open_cache(cache)
    made = opened.recipes.features["layer3"].weights
    config = tuning_config("none", model=TINY)
    monkeypatch.setattr(last_stage, "load_weights", lambda *_, **__: pytest.fail("nothing is loaded"))
    for asked in ("imagenet", "timm:resnet10t"):
        other = replace(config, finetune=replace(config.finetune, weights=asked))
        with pytest.raises(UsageError, match=f"was made with {made}; asked for {asked}, whose layer4") as refused:
            find_stage_start(opened, other, ["layer3"])
        assert f"leave out --weights, for the layer4 of {made}" in refused.value.remedy


def test_maps_of_another_encoder_are_refused_by_name(cache, tmp_path):
    opened = open_cache(cache)
    recipes = opened.recipes.features
    recipes["layer3"] = replace(recipes["layer3"], backbone="timm:resnet10t")
    with pytest.raises(UsageError, match="are of timm:resnet10t"):
        find_stage_start(opened, tuning_config("none", model=TINY), ["layer3"])
    recipes["layer3"] = replace(recipes["layer3"], backbone="resnet18", shape=(128, *MAPS))
    with pytest.raises(UsageError, match="has 128 channels, and layer4 of a ResNet-18 takes 256"):
        find_stage_start(opened, tuning_config("none", model=TINY), ["layer3"])
    with pytest.raises(UsageError, match="reads layer3 of ResNet-18, and timm:resnet10t has the feature gap alone"):
        tuned_run(cache, tmp_path / "run", "all", model=TINY, weights="timm:resnet10t")


@pytest.mark.slow
def test_crops_of_another_size_are_refused(whole, tmp_path):
    other = cache_of(draw(tmp_path / "drawn", 4), tmp_path / "other.zarr", size=48)
    with pytest.raises(UsageError, match="are for crops of 32 pixels, and these have 48") as refused:
        evaluate(whole, other, allow_leak=True)
    assert "--size 32" in refused.value.remedy


@pytest.mark.slow
def test_a_model_of_maps_that_has_no_layer4_leaves_the_encoders_alone(cache, tmp_path):
    """STT reads layer3: what is behind it in the encoder neither learns nor is lost."""
    stt = model_config("stt", num_segments=2, dim=16, heads=2, ffn=32, layers=1)
    run = tuned_run(cache, tmp_path / "run", "all", model=stt, control=False, epochs=1).run
    written, start = load_weights(str(run.part(run.parts[0]) / BACKBONE)).backbone, load_weights("random").backbone
    assert all(torch.equal(a, b) for a, b in zip(norm_state(written.layer4), norm_state(start.layer4), strict=True))
    assert not torch.equal(written.layer3[1].conv2.weight, start.layer3[1].conv2.weight)
    msstnet = build_model(
        model_config("msstnet", num_segments=2, dim=16, heads=2, ffn=32, layers=1),
        width=960,
        num_classes=2,
        seed=1,
        maps=(4, 4),
    )
    model = behind(start, msstnet, tuning_config("all").finetune).eval()
    pictures = torch.randint(256, (2, SIDE, SIDE, 3), dtype=torch.uint8)
    frames = model.features(BatchFrames(rows=pictures, place=torch.zeros(1, 2, 2, dtype=torch.long)))
    assert frames.shape == (1, 2, 2, 960, 4, 4)
