"""R3D-18: torchvision's own numbers, pictures in place of features, and that everything after a training works with it."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
import torch
from finetune_samples import SIDE, tuned_run, tuning_cache, tuning_config
from torchvision.models.video import r3d_18
from train_samples import Recorder, fit_interrupted, outcome, read_lines

from est.cache import open_cache
from est.cli import main
from est.encoders.kinds import published
from est.errors import EstError, UsageError
from est.infer.export.exporting import export_run
from est.infer.probing.probing import probe_run
from est.train import Run, evaluate, fit
from est.train.loop.checkpoint import load_model
from est.train.loop.starts.crops import find_crop_start
from est.train.loop.sync_batchnorm import across
from est.train.loop.world import World
from est.train.models.batch_frames import BatchFrames
from est.train.models.registry import build_model, describe_model, model_config
from est.train.preparation import prepare
from est.train.runs.run import CHECKPOINT

TINY = model_config("r3d18", channels=4, frames=4)


def built(config=TINY, num_classes=2, seed=1):
    return build_model(config, width=3, maps=(SIDE, SIDE), num_classes=num_classes, seed=seed).eval()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("r3d18")


@pytest.fixture(scope="module")
def cache(folder):
    return tuning_cache(folder)


@pytest.fixture(scope="module")
def run(cache, folder):
    return tuned_run(cache, folder / "run", "none", model=TINY).run


def config_with(**finetune):
    return tuning_config("none", model=TINY, finetune=replace(tuning_config("none").finetune, **finetune))


# what it is


def test_it_is_torchvisions():
    theirs = r3d_18(weights=None, num_classes=7).eval()
    ours = built(model_config("r3d18"), num_classes=7)
    assert {name for name in ours.state_dict() if "scaling" not in name} == set(theirs.state_dict())
    drawn = [model.layer2[0].conv1[0].weight.std().item() for model in (ours, theirs)]  # of twice as many channels
    assert drawn[0] == pytest.approx(drawn[1], rel=0.05)
    ours.load_state_dict(ours.state_dict() | theirs.state_dict())
    crops = torch.randint(256, (2, 16, 1, 3, SIDE, SIDE), generator=torch.Generator().manual_seed(1)).float()
    pixels = (crops[:, :, 0] / 255).transpose(1, 2)
    mean, std = (
        torch.tensor(one).view(3, 1, 1, 1) for one in ((0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989))
    )
    with torch.no_grad():
        torch.testing.assert_close(
            ours({"features": crops}).expression, theirs((pixels - mean) / std), atol=1e-5, rtol=1e-4
        )
    found = describe_model(model_config("r3d18"), 3, 7, (112, 112))
    assert found.parameters == 33_169_863 == sum(one.numel() for one in theirs.parameters())
    assert found.macs / 1e9 == pytest.approx(40.697, rel=0.01)  # as torchvision publishes them


@pytest.mark.slow
def test_it_starts_as_torchvision_does():
    ours, theirs = built(model_config("r3d18")).state_dict(), r3d_18(weights=None).state_dict()
    for name, tensor in theirs.items():
        if tensor.ndim > 1 and not name.startswith("fc."):
            assert float(ours[name].std() / tensor.std()) == pytest.approx(1, abs=0.1), name


def test_crops_are_gathered_where_they_are_looked_at():
    rows = torch.randint(256, (3, SIDE, SIDE, 3), dtype=torch.uint8)
    place = torch.tensor([[[0], [2], [2], [1]]])
    found = built().features(BatchFrames(rows=rows, place=place))
    assert found.shape == (1, 4, 1, 3, SIDE, SIDE)
    assert torch.equal(found[0, 1, 0], rows[2].permute(2, 0, 1).float())


def test_several_processes_share_its_batches():
    model = built()
    across(model, World(rank=0, size=2))
    kinds = {type(one).__name__ for one in model.modules() if "BatchNorm" in type(one).__name__}
    assert kinds == {"AcrossBatchNorm3d"}


def test_it_learns_sixteen_clips_by_heart(cache, tmp_path):
    config = tuning_config("none", model=TINY, epochs=40, batch=8, learning_rate=3e-3, eval_every=0, control=False)
    ready = prepare(cache, config)
    rows = ready.plan.folds[0].train
    everything = replace(ready.plan, folds=(replace(ready.plan.folds[0], test=rows),))
    assert fit(replace(ready, plan=everything), tmp_path / "run", watch=Recorder()).scores.war == 1


# a run


def test_it_trains_from_crops_and_is_scored_again(cache, run):
    assert run.facts["heading"] == "R3D-18 learns from crops, end to end"
    assert (run.facts["finetune"]["source"], run.facts["finetune"]["weights"]) == ("crops", "random")
    assert run.reads == {}
    assert evaluate(run).rows == evaluate(run, cache).rows
    assert (run.path / "summary.md").read_text().count("frozen") == 0
    assert {"reversed", "frames shuffled"} <= {one.name for one in probe_run(run).changes}


def test_resumed_by_the_command_line_it_is_the_same_to_the_bit(cache, tmp_path, capsys):
    """With every picture of it augmented."""
    settings = [f"--set=finetune.{name}=0.05" for name in ("shift", "zoom", "brightness")]
    sizes = [
        "--set=model.channels=4",
        "--frames=4",
        "--batch=4",
        "--epochs=2",
        "--holdout",
        "--device=cpu",
        "--threads=1",
    ]
    out = tmp_path / "straight"
    command = ["train", "--cache", str(cache), "--model", "r3d18", *sizes, *settings, "--out", str(out), "--json"]
    with pytest.raises(SystemExit) as ended:
        main(command)
    assert ended.value.code == 0
    straight = Run.open(read_lines(capsys.readouterr().out)[-1]["run"])
    found = fit_interrupted(cache, tmp_path / "run", straight.config, 2)
    assert outcome(found.run.path) == outcome(straight.path)


def test_its_head_is_exported_and_there_is_no_encoder(run, tmp_path):
    found = export_run(run, tmp_path / "head.onnx")
    assert found.about["inputs"]["features"]["shape"] == ["clips", 4, 1, 3, SIDE, SIDE]
    assert found.about["encoder"]["encoder"] == "none: the model reads crops"
    assert "the same class for" in found.checks[2]
    with pytest.raises(UsageError, match="the head is the complete model") as refused:
        export_run(run, tmp_path / "full.onnx", what="full")
    assert refused.value.remedy == "--what head"


# weights


@pytest.fixture
def kinetics(tmp_path, monkeypatch):
    """Weights of torchvision's name in the folder where it keeps them, so that nothing is downloaded."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    path = tmp_path / "hub" / "checkpoints" / "r3d_18-b3b3357e.pth"
    path.parent.mkdir(parents=True)
    torch.save(r3d_18(weights=None).state_dict(), path)
    return path


@pytest.mark.slow
def test_it_starts_from_kinetics(kinetics):
    config = replace(config_with(weights="kinetics400"), model=model_config("r3d18"))
    start = find_crop_start(config, SIDE)
    model = built(model_config("r3d18"))
    classifier = model.fc.weight.clone()
    start.enter(model)
    wanted = torch.load(kinetics, weights_only=True)
    assert torch.equal(model.layer4[1].conv2[0].weight, wanted["layer4.1.conv2.0.weight"])
    assert torch.equal(model.fc.weight, classifier)
    assert "no licence for these weights" in " ".join(start.report())
    assert start.to_json()["digest"] == hashlib.sha256(kinetics.read_bytes()).hexdigest()[:32]
    with pytest.raises(UsageError, match="are of other sizes than this R3D-18"):
        start.enter(built())


def test_weights_that_are_not_here_are_named(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(published.torch.hub, "download_url_to_file", lambda *_, **__: pytest.fail("downloads"))
    with pytest.raises(EstError, match="est downloads only on request") as refused:
        find_crop_start(config_with(weights="kinetics400"), SIDE)
    assert refused.value.remedy == "est doctor --weights kinetics400 --fetch downloads them; or --weights random"
    with pytest.raises(UsageError, match="starts from random or kinetics400, found --weights imagenet"):
        find_crop_start(config_with(weights="imagenet"), SIDE)
    assert find_crop_start(config_with(), SIDE).tensors == {}


# what is missing, or makes no sense


@pytest.mark.slow
def test_a_cache_without_crops_or_sources_says_so(cache, tmp_path):
    opened = open_cache(tuning_cache(tmp_path, crops=False))
    assert prepare(opened, config_with()).source == "videos"  # cut again
    for path in (tmp_path / "drawn").rglob("*.png"):
        path.unlink()
    with pytest.raises(EstError, match="cannot be cut again") as refused:
        prepare(opened, config_with())
    assert "est extract … --crops" in refused.value.remedy


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"learns": "all"}, "it has no backbone before it"),
        ({"noise": 0.1}, "data.noise"),
        ({"views": True}, "data.views"),
        ({"graph": True}, "loop.graph"),
    ],
)
def test_what_is_for_features_is_refused(settings, message):
    with pytest.raises(UsageError, match=message):
        tuning_config(settings.pop("learns", "none"), model=TINY, **settings)


@pytest.mark.parametrize(("name", "value"), [("rate", 0.3), ("init", "run"), ("source", "maps")])
def test_settings_of_a_backbone_are_refused(name, value):
    with pytest.raises(UsageError, match=f"finetune.{name}|not at maps"):
        config_with(**{name: value})


def test_a_sweep_is_for_features(cache, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["sweep", "--cache", str(cache), "--model", "r3d18", "--out", str(tmp_path / "sweep")])
    assert ended.value.code == 2
    assert "r3d18 reads crops" in capsys.readouterr().err


def test_pixels_are_scaled_by_what_is_learnt_from(cache, tmp_path):
    run = tuned_run(cache, tmp_path / "run", "none", model=TINY, scaling=True, epochs=1, control=False).run
    scaling = load_model(run.part(run.parts[0]) / CHECKPOINT)[0].scaling
    assert (scaling.mean - 255 * torch.tensor([0.43216, 0.394666, 0.37645])).abs().min() > 1
    assert ((scaling.std > 5) & (scaling.std < 60)).all()
