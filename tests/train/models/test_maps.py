"""Models of maps: their formulas, what they know of places, and that they train on a cache of drawn pictures as others do."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from finetune_samples import cache_of, tuning_cache
from torch.utils.flop_counter import FlopCounterMode
from train_samples import Recorder, outcome, read_lines, tiny_config

from est.cache import open_cache
from est.cli import main
from est.errors import UsageError
from est.train import FinetuneConfig, LossConfig, ProtocolConfig, Run, evaluate, fit
from est.train.loop.checkpoint import load_checkpoint
from est.train.models.registry import build_model, describe_model, model_config
from est.train.models.stt.block import Block, DividedAttention
from est.train.runs.run import CHECKPOINT

TINY = {"num_segments": 2, "dim": 16, "heads": 2, "ffn": 32, "layers": 1, "dropout": 0.0}
READS = {"stt": ("layer3", (256, 2, 2)), "msstnet": ("pyramid4x4", (960, 4, 4))}  # of pictures of 32 pixels


def built(name, width=15, maps=(3, 2), **settings):
    return build_model(model_config(name, **{**TINY, **settings}), width=width, maps=maps, num_classes=3, seed=1).eval()


# formulas


@pytest.mark.parametrize("over", ["places", "frames"])
def test_attention_is_divided_among_frames_or_places(over):
    grid = frames, places = 3, 4
    attention = DividedAttention(8, grid, heads=2, over=over).double()
    for parameter in attention.parameters():
        torch.nn.init.normal_(parameter, std=0.5, generator=torch.Generator().manual_seed(parameter.ndim))
    x = torch.randn(5, 1 + frames * places, 8, dtype=torch.float64)
    number = torch.arange(frames * places)
    group = number // places if over == "places" else number % places
    allowed = torch.ones(13, 13, dtype=torch.bool)  # the class token attends to all, and all to it
    allowed[1:, 1:] = group[:, None] == group
    q, k, v = (one.view(5, 13, 2, 4).transpose(1, 2) for one in attention.to_qkv(x).split(8, 2))
    wanted = F.scaled_dot_product_attention(q, k, v, attn_mask=allowed).transpose(1, 2).reshape(5, 13, 8)
    assert (attention(x) - attention.to_out(wanted)).abs().max() < 1e-12
    weights = ((q[:, :, :1] @ k.transpose(2, 3)) / 2).softmax(-1)[:, :, 0]
    assert (attention.weights_of_token(x) - weights).abs().max() < 1e-6  # weights for a report are in fp32


def test_a_block_of_stt_is_its_formula_token_by_token():
    """Written out with its own softmax, layer norm and GELU, on tokens whose mean and deviation are not 0 and 1."""
    frames, places, width, heads = 3, 2, 8, 2
    block = Block(width, (frames, places), heads=heads, ffn=12, dropout=0.0).double()
    rng = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.normal_(generator=rng)
    x = 2 + 3 * torch.randn(1 + frames * places, width, generator=rng, dtype=torch.float64)

    def normed(norm, x):
        centred = x - x.mean(1, keepdim=True)
        return centred / (centred.square().mean(1, keepdim=True) + 1e-5).sqrt() * norm.weight + norm.bias

    def attended(attention, x, group_of):
        """Return what each token takes in, and what each head of the class token weighs."""
        q, k, v = (x @ weight.T for weight in attention.to_qkv.weight.chunk(3))
        found, size = torch.zeros_like(x), width // heads
        shares = torch.zeros(heads, len(x), dtype=x.dtype)
        for token in range(len(x)):
            near = [other for other in range(len(x)) if 0 in (token, other) or group_of(token) == group_of(other)]
            for head in range(heads):
                part = slice(head * size, (head + 1) * size)
                power = torch.stack([(q[token, part] @ k[other, part] / size**0.5).exp() for other in near])
                found[token, part] = (power / power.sum()) @ v[near][:, part]
                if token == 0:
                    shares[head] = power / power.sum()
        return found @ attention.to_out.weight.T + attention.to_out.bias, shares

    with torch.no_grad():
        seen, weights = block(x[None])[0], block.weights(x[None])[0]
        x = x + attended(block.spatial, normed(block.norm1, x), lambda token: (token - 1) // places)[0]
        taken, shares = attended(block.temporal, normed(block.norm2, x), lambda token: (token - 1) % places)
        x = x + taken
        hidden = normed(block.norm3, x) @ block.linear1.weight.T + block.linear1.bias
        hidden = hidden * (1 + torch.erf(hidden / 2**0.5)) / 2
        x = x + hidden @ block.linear2.weight.T + block.linear2.bias
    torch.testing.assert_close(seen, x)
    torch.testing.assert_close(weights.double(), shares, atol=1e-5, rtol=1e-5)


def test_msstnet_takes_in_one_scale_after_another():
    model = built("msstnet", layers=2)
    maps = torch.randn(2, 2, 2, 15, 3, 2)
    wanted = []
    with torch.no_grad():
        for clip in maps.flatten(1, 2):  # (F, C, h, w)
            x = model.slots[0] + model.times[0]  # (P, F, d)
            blocks = iter(model.blocks)
            for embedding, scale in zip(model.embeddings, clip.split((1, 2, 4, 8), 1), strict=True):
                kernel = embedding.weight[:, :, None, None]
                patches = F.conv2d(scale, kernel, embedding.bias)  # kernel and stride of 1
                x = x + patches.flatten(2).permute(2, 0, 1)
                for _ in range(2):
                    x = next(blocks)(x)
            wanted.append(model.classifier(F.layer_norm(x.flatten(0, 1).mean(0), (16,))))
        torch.testing.assert_close(model({"features": maps}).expression, torch.stack(wanted), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", READS)
def test_places_matter(name):
    model = built(name)
    maps = torch.randn(4, 2, 2, 15, 3, 2)
    with torch.no_grad():
        plain, turned = (model({"features": one}).expression for one in (maps, maps.flip(5)))
    assert (plain - turned).abs().amax(1).min() > 1e-4


@pytest.mark.parametrize("name", READS)
def test_multiplications_are_those_that_torch_does(name):
    model = built(name, layers=2, dim=32, ffn=64)
    batch = model.example_batch(1)
    assert batch["features"].shape == (1, 2, 2, 15, 3, 2)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(batch)
    counted = describe_model(model.config, 15, 3, (3, 2)).macs
    assert counter.get_total_flops() / 2 == pytest.approx(
        counted, rel=0.05
    )  # torch leaves norms, biases and softmax out


def test_the_published_sizes():
    stt = describe_model(model_config("stt"), 256, 7, (7, 7))
    d = 512
    block = 2 * (3 * d * d + d * d + d) + 2 * d * 2048 + 2048 + d + 3 * 2 * d
    assert stt.parameters == 256 * d + d + (1 + 16 + 49) * d + 4 * block + 2 * d + 7 * d + 7
    assert stt.backbone.parameters == 2_782_784  # of 11,176,512, without layer4
    assert (stt.side, stt.frames) == (112, 16)
    larger = describe_model(model_config("stt"), 256, 7, (14, 14))
    assert larger.parameters - stt.parameters == (14 * 14 - 7 * 7) * d  # positions alone
    assert describe_model(model_config("stt"), 128, 7, (7, 7)).backbone is None  # no ResNet-18 gives that
    assert describe_model(model_config("msstnet"), 960, 7, (4, 4)).backbone.parameters == 11_176_512


@pytest.mark.parametrize(
    ("name", "width", "maps", "text"),
    [
        ("msstnet", 512, (4, 4), r"64 \+ 128 \+ 256 \+ 512 = 960\); found 512"),
        ("stt", 256, (), r"maps \(layer3\): it is built for maps of some height and width, found \(\)"),
    ],
)
def test_what_it_cannot_be_built_for_is_refused(name, width, maps, text):
    with pytest.raises(UsageError, match=text):
        built(name, width, maps)
    with pytest.raises(UsageError, match=text):
        describe_model(model_config(name), width, 3, maps)


@pytest.mark.parametrize("name", READS)
def test_maps_of_other_sides_are_refused(name):
    with pytest.raises(UsageError, match=r"= \(2, 2, 15, 3, 2\), found \(2, 2, 15, 2, 3\)"):
        built(name)({"features": torch.zeros(1, 2, 2, 15, 2, 3)})


# training


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tuning_cache(tmp_path_factory.mktemp("maps"), features=("gap", "layer3", "pyramid4x4"))


def config(name="stt", **settings):
    settings = {"batch": 4, "scaling": True, **settings}
    return tiny_config(model=model_config(name, **TINY), protocol=ProtocolConfig(kind="holdout"), **settings)


@pytest.mark.parametrize("residency", ["device", "stream"])
@pytest.mark.parametrize("name", READS)
def test_it_trains_on_maps_wherever_they_are(cache, tmp_path, name, residency):
    found = fit(cache, tmp_path / "run", config(name, residency=residency, epochs=1, noise=0.1), watch=Recorder())
    feature, (width, *sides) = READS[name]
    assert found.control is not None
    assert f"features `{feature}`" in (found.run.path / "summary.md").read_text(encoding="utf-8")
    meta = outcome(found.run.path)[f"{found.run.parts[0]} meta"]
    assert (meta["width"], meta["maps"]) == (width, sides)


def test_every_residency_gives_the_same_run(cache, tmp_path):
    runs = [fit(cache, tmp_path / kind, config(residency=kind, epochs=2)).run for kind in ("device", "stream")]
    one, other = (outcome(run.path) for run in runs)
    assert one["predictions.csv"] == other["predictions.csv"]


@pytest.mark.parametrize("name", READS)
def test_it_learns_resumes_and_is_scored_again(cache, tmp_path, name):
    compact = 0.1 if name == "stt" else 0.0  # as published; its weight is not known
    settings = config(name, epochs=8, select="val", loss=LossConfig(compact=compact))
    found = fit(cache, tmp_path / "whole", settings)
    assert found.scores.right == found.scores.total  # which half is bright stands in the maps
    with pytest.raises(KeyboardInterrupt):
        fit(cache, tmp_path / "run", settings, watch=Recorder(5))
    fit(None, tmp_path / "run", resume=True)
    assert outcome(tmp_path / "run") == outcome(tmp_path / "whole")
    again = evaluate(Run.open(tmp_path / "run"), watch=Recorder())
    assert (again.scores.right, again.scores.total) == (found.scores.right, found.scores.total)


def test_mirrored_maps_are_shown_too(tmp_path):
    flipped = tuning_cache(tmp_path, "flip.zarr", flip=True)
    assert fit(flipped, tmp_path / "run", config(mirrored=True, epochs=1), watch=Recorder()).run.complete


def run_command(capsys, *arguments):
    with pytest.raises(SystemExit) as ended:
        main([str(one) for one in arguments])
    return ended.value.code, capsys.readouterr().out


@pytest.mark.parametrize("name", READS)
def test_the_commands_train_stacked_score_and_describe(cache, tmp_path, name, capsys):
    """The preset small scales maps channel by channel."""
    line = ["--cache", cache, "--model", name, "--preset", "small", "--epochs", "2", "--batch", "4", "--json"]
    line += ["--seeds", "1,2", "--protocol", "holdout", "--set", "model.dim=16", "--set", "loop.threads=1"]
    assert run_command(capsys, "train", *line, "--out", tmp_path / "run")[0] == 0
    run = Run.open(tmp_path / "run")
    assert run.facts["together"] > 1
    assert run_command(capsys, "evaluate", tmp_path / "run", "--json")[0] == 0
    found = read_lines(run_command(capsys, "train", "--describe", *line)[1])[0]
    width, *sides = READS[name][1]
    assert found["parameters"] == describe_model(run.config.model, width, 2, tuple(sides)).parameters


def test_a_cache_without_maps_names_the_command_that_adds_them(cache, tmp_path, capsys):
    listed = cache.parent / "drawn" / "list.csv"
    bare = cache_of(listed, tmp_path / "bare.zarr", features=("gap",))
    for name, (feature, _) in READS.items():
        line = ["--cache", bare, "--model", name, "--protocol", "holdout", "--json"]
        status, said = run_command(capsys, "train", *line)
        assert status == 2
        assert f"{name} reads {feature}, which" in said
        assert f"--features gap,{feature}" in said
    before = open_cache(bare)
    cache_of(listed, bare, features=("gap", "layer3"))
    after = open_cache(bare)
    assert after.features == ["gap", "layer3"]
    assert after.recipes.features["gap"] == before.recipes.features["gap"]
    assert after.clips.start.tolist() == before.clips.start.tolist()  # nothing is done once more


def test_scaling_is_of_each_channel_over_all_places(cache, tmp_path):
    run = fit(cache, tmp_path / "run", config(epochs=1, control=False)).run
    opened = open_cache(cache)
    halves = run.halves()
    rows = torch.cat(
        [torch.from_numpy(opened.clip(name).features["layer3"]) for name in next(iter(halves.values()))["train"]]
    )
    wanted = rows.double().mean((0, 2, 3)), rows.double().std((0, 2, 3), correction=0)
    mean = _tensor(run, "model/scaling.mean")
    torch.testing.assert_close(mean.double(), wanted[0], atol=1e-4, rtol=1e-4)
    floor = wanted[1].mean() * 0.1
    torch.testing.assert_close(
        _tensor(run, "model/scaling.std").double(), wanted[1].clamp(min=floor), atol=1e-4, rtol=1e-4
    )


def _tensor(run, name):
    return load_checkpoint(run.part(run.parts[0]) / CHECKPOINT).tensors[name]


def test_a_last_stage_alone_cannot_learn_with_it():
    with pytest.raises(UsageError, match="layer4 is for models that read gap"):
        config(finetune=FinetuneConfig(learns="layer4"))


def test_models_of_flat_features_refuse_maps(cache, tmp_path):
    with pytest.raises(UsageError, match="is a map of 256 × 2 × 2"):
        fit(cache, tmp_path / "run", tiny_config(feature="layer3", batch=4, protocol=ProtocolConfig(kind="holdout")))
