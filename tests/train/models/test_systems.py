"""The systems of the literature that read frame vectors: their formulas, sizes, what they know of order, and that each learns."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_models import ORDER_BLIND, TINY, tiny
from torch import nn
from train_samples import MAPS, WIDTH, WINDOWED, learning_cache, make_trainer, tiny_config

from est.cache import open_cache
from est.errors import UsageError
from est.train import EstConfig, evaluate, fit
from est.train.config.loss import LossConfig
from est.train.config.sampling import SamplingConfig
from est.train.data.control import pooled
from est.train.data.sampling import sampler_of
from est.train.data.windows import load_features
from est.train.loop.predict import predict
from est.train.models.description import backbone_macs
from est.train.models.registry import MODELS, build_model, config_class, describe_model, model_config

SHAPES = {**MAPS, "crops": (3, 16, 16)}  # of what models read of a frame, where it is no vector
WHOLE = {"transformer": 33_322_695, "former-temporal": 17_493_063}  # parameters with ResNet-18, 7 classes


def built(config, seed=1):
    """Build a model of three classes on what it reads of the caches of train_samples."""
    width, *sides = SHAPES.get(config.reads, (WIDTH,))
    return build_model(config, width=width, maps=tuple(sides), num_classes=3, seed=seed)


def batch_of(config, clips, seed=0):
    """Return what a model is shown of random clips in the test."""
    generator = torch.Generator().manual_seed(seed)
    sampler = sampler_of(SamplingConfig(), config.shown)
    shape = (clips, len(config.shown.each)) if config.of_windows else (clips,)  # counts are of each kind
    counts = torch.randint(10, 28, shape, generator=generator)
    positions = sampler.test(counts)
    frames = torch.randn(clips, 30, *SHAPES.get(config.reads, (WIDTH,)), generator=generator)
    if config.reads == "crops":
        frames = 128 + 64 * frames
    features = torch.stack([one[at.clamp(max=29)] for one, at in zip(frames, positions, strict=True)])
    mask = positions < (counts[..., None] if config.of_windows else counts[:, None, None])
    return {"features": features, **({"mask": mask} if "mask" in config.told else {})}


def test_every_model_is_looked_at():
    assert set(TINY) == set(MODELS)
    assert {name: config_class(name).name for name in MODELS} == {name: name for name in MODELS}


def test_a_summary_says_which_frames_each_model_is_shown():
    shown = {name: tiny(name).shown for name in MODELS}
    told = {name: SamplingConfig().sentence(one) for name, one in shown.items()}
    assert {name for name in MODELS if "105" in told[name]} == {"est", "gru", "lstm", "transformer"}
    assert f"up to {shown['slstt'].most}" in told["slstt"]
    assert f"{shown['clip-temporal'].parts} × {shown['clip-temporal'].frames} frames" in told["clip-temporal"]
    assert "all windows" in told["window-head"]
    assert "in the test all frames" in told["fan"]
    assert "consecutive frames" in SamplingConfig(unify="native").sentence(shown["est"])


@pytest.mark.parametrize("name", MODELS)
def test_clips_of_a_batch_know_nothing_of_each_other(name):
    config = tiny(name)
    model = built(config).eval()
    batch = batch_of(config, 4)
    with torch.no_grad():
        together = model(batch).expression
        for clip in range(4):
            alone = model({key: value[clip : clip + 1] for key, value in batch.items()}).expression
            torch.testing.assert_close(alone[0], together[clip], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_what_is_counted_is_what_it_has(name):
    config = tiny(name)
    model = built(config)
    found = describe_model(config, model.width, 3, model.maps)
    assert found.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert found.macs > 0
    if name in WHOLE:
        assert describe_model(model_config(name), 512, 7).whole.parameters == WHOLE[name]


def test_the_backbone_sees_the_crops_of_the_cache():
    """Of a cache every model's backbone is counted on its crops; without one on the side that the name says."""
    shapes = {"": (512,), "layer3": (256, 7, 7), "pyramid4x4": (960, 4, 4)}
    for name in MODELS:
        config = model_config(name)
        if config.reads not in shapes or config.of_windows:
            continue
        width, *maps = shapes[config.reads]
        plain, cached = (describe_model(config, width, 7, tuple(maps), side=side) for side in (0, 112))
        usual = 112 if maps else 224
        assert plain.backbone.part.endswith(f"frames of {usual} × {usual}"), name
        assert cached.backbone.part.endswith(f"{cached.frames:g} frames of 112 × 112"), name
        assert cached.backbone.macs == round(cached.frames * backbone_macs(112, config.reads or "gap"))
        assert plain.side == usual == plain.to_json()["backbone"]["image_side"]


@pytest.mark.parametrize("name", ["fan", "pooled"])
def test_models_of_all_frames_are_counted_on_the_clips_of_the_cache(name):
    config = model_config(name, most_frames=100)
    longest, cached = (describe_model(config, 512, 7, lengths=lengths) for lengths in ((), (0, 20, 31, 400)))
    assert (longest.frames, cached.frames) == (100, pytest.approx(151 / 3))
    assert cached.macs < longest.macs
    assert cached.lines()[-1] == "MACs are of 50.33 frames, the mean of the cache's clips"
    assert longest.lines()[-1] == "MACs are of 100 frames, the longest clip that it takes"
    assert cached.backbone.part.startswith("ResNet-18, 50.33 frames of")


@pytest.mark.parametrize("name", MODELS)
def test_a_seed_is_a_model_and_nobodys_stream_is_touched(name):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    one, same, other = (built(tiny(name), seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), same.parameters(), strict=True))
    assert any(not torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize("name", MODELS)
def test_the_order_of_frames_matters_to_those_that_know_it(name):
    config = tiny(name)
    model = built(config).eval()
    batch = batch_of(config, 3)
    turned = {key: value.flip(1, 2) for key, value in batch.items()}
    with torch.no_grad():
        same = torch.allclose(model(batch).expression, model(turned).expression, atol=1e-5)
    assert same == (name in ORDER_BLIND)


@pytest.mark.parametrize("name", MODELS)
def test_what_is_shown_of_decisions_is_what_is_decided_by(name):
    config = tiny(name)
    model = built(config).eval()
    batch = batch_of(config, 3)
    with torch.no_grad():
        told, (logits, embedding, *_) = model.explain(batch), model(batch)
        torch.testing.assert_close(told["embedding"], embedding)  # which losses compare
        with torch.autocast("cpu", torch.bfloat16):
            assert model(batch).embedding.dtype == torch.float32
        head = getattr(model, "expression_head", None) or model.classifier
        torch.testing.assert_close(head(told["embedding"]), logits)
    if "attention" in told:
        torch.testing.assert_close(told["attention"].sum(2), torch.ones(told["attention"].shape[:2]))
        assert told["attention"].shape[2] == batch["features"].shape[1]
    if "alpha" in told:
        assert told["alpha"].shape == batch["features"].shape[:3]
        assert (told["alpha"] >= 0).all()


# formulas


def test_fan_is_the_published_formula():
    config = tiny("fan")
    model = built(config, seed=4).eval()
    batch = batch_of(config, 5)
    weights = {name: value.double().numpy() for name, value in model.state_dict().items()}

    def sigmoid(x):
        return 1 / (1 + np.exp(-x))

    with torch.no_grad():
        found = model(batch).expression.numpy()
    for clip in range(5):
        frames = [
            f
            for f, there in zip(batch["features"][clip, 0].double().numpy(), batch["mask"][clip, 0], strict=True)
            if there
        ]
        alpha = [sigmoid(weights["alpha.weight"][0] @ f + weights["alpha.bias"][0]) for f in frames]
        v = sum(a * f for a, f in zip(alpha, frames, strict=True)) / sum(alpha)
        both = [np.concatenate([f, v]) for f in frames]
        beta = [sigmoid(weights["beta.weight"][0] @ fv + weights["beta.bias"][0]) for fv in both]
        share = [a * b for a, b in zip(alpha, beta, strict=True)]
        mean = sum(s * fv for s, fv in zip(share, both, strict=True)) / sum(share)
        wanted = weights["classifier.weight"] @ mean + weights["classifier.bias"]
        np.testing.assert_allclose(found[clip], wanted, atol=1e-5)


@pytest.mark.parametrize("backwards", [False, True])
def test_a_layer_of_the_lstm_is_torchs(backwards):
    from est.train.models.lstm.model import LongRecurrence

    ours = LongRecurrence(12, 8, torch.Generator().manual_seed(1))
    theirs = nn.LSTM(12, 8, batch_first=True)
    theirs.load_state_dict({f"{name}_l0": value for name, value in ours.state_dict().items()})
    x = torch.randn(3, 20, 12)
    wanted = theirs(x.flip(1))[0].flip(1) if backwards else theirs(x)[0]
    assert (ours(x, backwards=backwards) - wanted).abs().max() < 1e-6


def test_a_block_of_former_is_torchs():
    from est.train.models.former_temporal.block import Block, draw_linear

    ours = Block(16, heads=4, head_width=4, ffn=24, dropout=0.0).eval()
    draw_linear(ours, torch.Generator().manual_seed(2))
    theirs = nn.TransformerEncoderLayer(
        16, 4, 24, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
    ).eval()
    weights = ours.state_dict()
    names = {
        "to_qkv.weight": "self_attn.in_proj_weight",
        "to_out.weight": "self_attn.out_proj.weight",
        "to_out.bias": "self_attn.out_proj.bias",
    }
    renamed = {names.get(name, name): value for name, value in weights.items()}
    theirs.load_state_dict({**renamed, "self_attn.in_proj_bias": torch.zeros(48)})
    x = torch.randn(3, 7, 16)
    assert (ours(x) - theirs(x)).abs().max() < 1e-5
    assert torch.allclose(ours.weights(x).sum(-1), torch.ones(3, 4, 7))


def test_the_transformer_is_est_without_its_parts():
    sizes = {"dim": 16, "heads": 2, "ffn": 32, "layers": 2}
    plain = build_model(model_config("transformer", **sizes), width=WIDTH, num_classes=3, seed=1).eval()
    est = build_model(EstConfig(aggregation="mean", ssop=False, **sizes), width=WIDTH, num_classes=3, seed=2).eval()
    renamed = {name.replace("positions", "position.table"): value for name, value in plain.state_dict().items()}
    missing = est.load_state_dict(renamed, strict=False)
    assert set(missing.missing_keys) <= {"orders"}
    assert not missing.unexpected_keys
    batch = batch_of(plain.config, 3)
    with torch.no_grad():
        torch.testing.assert_close(plain(batch).expression, est(batch).expression)


def test_a_token_of_each_frame():
    config = tiny("transformer", tokens="frames")
    model = built(config).eval()
    assert model.positions.shape == (35, 16)
    batch = batch_of(config, 2)
    swapped = {"features": batch["features"].flip(2)}  # frames of a snippet, whose mean stays
    with torch.no_grad():
        assert not torch.allclose(model(batch).expression, model(swapped).expression, atol=1e-4)
    assert "attention" not in model.explain(batch)


def test_pooled_statistics_are_the_controls():
    config = tiny("pooled")
    model = built(config).eval()
    batch = batch_of(config, 4)
    count = batch["mask"].sum((1, 2)).numpy()
    rows = np.concatenate([one[0, :number].numpy() for one, number in zip(batch["features"], count, strict=True)])
    wanted = pooled(rows, np.cumsum(count) - count, count, np.ones(len(rows), bool))
    np.testing.assert_allclose(model.explain(batch)["embedding"].numpy(), wanted, atol=1e-5)


@pytest.mark.parametrize("name", ["fan", "pooled"])
def test_a_clip_without_a_face_has_numbers(name):
    config = tiny(name)
    model = built(config)
    batch = batch_of(config, 2)
    batch["mask"][1] = False
    model(batch).expression.sum().backward()
    for parameter in model.parameters():
        assert torch.isfinite(parameter.grad).all()


@pytest.mark.parametrize(
    ("name", "settings", "remedy"),
    [
        ("transformer", {"dim": 30, "heads": 4}, "model.dim"),
        ("transformer", {"tokens": "clips"}, "model.tokens"),
        ("fan", {"train_frames": 0}, "model.train_frames"),
        ("former-temporal", {"heads": 0}, "model.heads"),
        ("stt", {"dim": 30}, "model.heads=6"),
        ("msstnet", {"heads": 0}, "model.heads"),
        ("pooled", {"dropout": 1.0}, "model.dropout"),
        ("window-head", {"num_places": 20}, "model.num_places=16"),
        ("window-head", {"embed_width": 36}, "model.att_heads=6"),
    ],
)
def test_what_makes_no_sense_is_refused(name, settings, remedy):
    with pytest.raises(UsageError) as caught:
        model_config(name, **settings)
    assert remedy in caught.value.message + (caught.value.remedy or "")


# learning


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    path = tmp_path_factory.mktemp("systems") / "c.zarr"
    cache = open_cache(learning_cache(path, 16, strength=0.5, frames=20, maps=True, windows=True))
    return lambda config: load_features(
        cache, range(16), config, WINDOWED if config.of_windows else config.reads or "gap", torch.device("cpu")
    )


@pytest.mark.parametrize("name", [name for name in MODELS if name != "r3d18"])  # which has a test of its own
def test_it_learns_with_every_loss(clips, name):
    config, torch_state = tiny(name), torch.get_rng_state()
    loss = LossConfig(focal=1.0, adjustment=1.0, contrastive=0.5, compact=0.5)
    trainer = make_trainer(clips(config), model=config, loss=loss)
    assert trainer.model.training
    assert torch.equal(torch.get_rng_state(), torch_state)  # an example says how wide embeddings are, and moves nothing
    before = trainer.objective.centres.detach().clone()
    trainer.step(trainer.begin_epoch(0), 0)
    assert trainer.tally[0].isfinite().all()
    assert trainer.tally[0, trainer.columns.index("contrastive")] > 0
    assert (trainer.objective.centres != before).any()


@pytest.mark.parametrize("name", [name for name in MODELS if name != "r3d18"])  # which has a test of its own
def test_it_learns_sixteen_clips_by_heart(clips, name):
    config = tiny(name)
    clips = clips(config)
    trainer = make_trainer(clips, model=config, epochs=60, learning_rate=1e-2, weight_decay=0.0, warmup=1)
    sampler, right = sampler_of(SamplingConfig(), config.shown), 0.0
    for epoch in range(60):
        plan = trainer.begin_epoch(epoch)
        for step in range(trainer.num_steps):
            trainer.step(plan, step, epoch)
        right = (predict(trainer.model, clips, np.arange(16), sampler)[0].argmax(1) == clips.label).mean()
        if right == 1:
            break
    assert right == 1


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return learning_cache(
        tmp_path_factory.mktemp("systems") / "all.zarr", 24, strength=0.4, faceless=(3,), maps=True, windows=True
    )


@pytest.mark.parametrize(
    "name", [name for name in MODELS if config_class(name).own_in_stack is not None and name not in ("est", "gru")]
)
def test_it_trains_and_is_scored_again(cache, tmp_path, name):
    config = tiny_config(model=tiny(name), epochs=2, seeds=(1, 2))
    results = fit(cache, tmp_path / "run", config)
    found = evaluate(results.run, cache)
    assert found.scores.war == pytest.approx(results.scores.war)
    alone = fit(cache, tmp_path / "alone", tiny_config(model=tiny(name), epochs=2, seeds=(1, 2), stack="off"))
    assert results.run.facts["together"] > 1
    assert [one["right"] for one in results.parts] == [one["right"] for one in alone.parts]
