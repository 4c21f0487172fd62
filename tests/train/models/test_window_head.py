"""The head on windows: the published layer by torch's own convolutions, its sizes, its losses, and which windows it is shown."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tiny_models import tiny
from train_samples import STEPS, WINDOW, WINDOWED, fit_interrupted, learning_cache, outcome, tiny_config

from est.cache import open_cache
from est.errors import UsageError
from est.inputs.features.config import ImportConfig
from est.inputs.features.importing import import_features
from est.train import ProtocolConfig, fit
from est.train.config.sampling import SamplingConfig
from est.train.data.sampling import sampler_of
from est.train.data.windows import kinds_of, load_features
from est.train.models.contract import AllWindows
from est.train.models.registry import build_model, describe_model, model_config
from est.train.preparation import prepare

TWO = ProtocolConfig(folds=2)
CPU = torch.device("cpu")


def channel_norm(x, weights, name):
    """LayerNorm over the channels of (B, d, T)."""
    x = (x - x.mean(1, keepdim=True)) / (x.var(1, keepdim=True, unbiased=False) + 1e-5).sqrt()
    return x * weights[f"{name}.weight"][:, None] + weights[f"{name}.bias"][:, None]


def depthwise(x, weights, name):
    kernel = weights[f"{name}.weight"]
    bias = weights.get(f"{name}.bias")
    return F.conv1d(x, kernel.T[:, None], bias, padding=len(kernel) // 2, groups=x.shape[1])


def pointwise(x, weights, name):
    return F.conv1d(x, weights[f"{name}.weight"][..., None], weights[f"{name}.bias"])


def reference_layer(x, mask, weights, name, kind, heads, groups):
    """The published layer in evaluation, channels first: (B, d, T), (B, 1, T)."""
    own = {key.removeprefix(f"{name}."): value for key, value in weights.items() if key.startswith(f"{name}.")}
    normed = channel_norm(x, own, "norm")
    phi = F.relu(depthwise(normed.mean(2, keepdim=True), own, "whole"))
    psi = depthwise(normed, own, "gate")
    asking = (depthwise(normed, own, f"local.{kind}") + depthwise(normed, own, f"wide.{kind}")) * psi
    answering = depthwise(normed, own, "instant") * phi
    parts = {}
    for what, source in (("query", asking), ("key", answering), ("value", answering)):
        around = depthwise(source, own, f"attention.around_{what}") * mask
        parts[what] = pointwise(channel_norm(around, own, f"attention.norm_{what}"), own, f"attention.{what}")
    q, k, v = (parts[what].unflatten(1, (heads, -1)) for what in ("query", "key", "value"))
    scores = torch.einsum("bhet,bhes->bhts", q, k) / q.shape[2] ** 0.5
    shares = scores.masked_fill(mask[:, None] == 0, float("-inf")).softmax(3)
    mixed = torch.einsum("bhts,bhes->bhet", shares, v).flatten(1, 2)
    added = normed + pointwise(mixed, own, "attention.out") * mask
    x = x * mask + added * own.get("scale_mixed", torch.ones(1))[:, None]
    fed = F.group_norm(x, groups, own["group_norm.weight"], own["group_norm.bias"])
    fed = pointwise(F.gelu(pointwise(fed, own, "linear1")), own, "linear2")
    return x + fed * own.get("scale_fed", torch.ones(1))[:, None]


def reference(config, weights, features, mask, kind):
    """The logits of one kind of windows, (B, T, D), (B, T) → (B, C)."""
    x, mask = features.transpose(1, 2), mask[:, None].double()
    x = x * mask
    for number in range(config.embed_layers):
        kernel = weights[f"embed.{number}.linear.weight"].unflatten(1, (3, -1)).transpose(1, 2)  # (d, inputs, 3)
        x = F.relu(channel_norm(F.conv1d(x, kernel, padding=1) * mask, weights, f"embed_norm.{number}"))
    sizes = {"kind": kind, "heads": config.att_heads, "groups": config.norm_groups}
    for number in range(config.stem_layers):
        x = reference_layer(x, mask, weights, f"stem.{number}", **sizes)
    for branch in range(2):
        x, mask = F.max_pool1d(x, 3, stride=2, padding=1), mask[..., ::2]
        for number in range(config.branch_layers):
            x = reference_layer(x, mask, weights, f"branches.{branch}.{number}", **sizes)
    pooled = (x * mask).mean(2)
    return pooled @ weights["classifier.weight"].T + weights["classifier.bias"]


def random_batch(config, width, counts, seed=0):
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(len(counts), *counts.shape[1:], config.num_places, width, generator=generator)
    mask = torch.arange(config.num_places) < counts[..., None]
    return {"features": features.double(), "mask": mask}


def test_it_is_the_published_head():
    config = tiny("window-head", num_kinds=3, stem_layers=2, embed_layers=2)
    model = build_model(config, width=12, num_classes=4, seed=3).double().eval()
    generator = torch.Generator().manual_seed(9)
    with torch.no_grad():
        for parameter in model.parameters():  # so that scales and biases are not what they are at the start
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    counts = torch.tensor([[16, 8, 4], [3, 2, 1], [1, 1, 1], [10, 5, 3]])
    batch = random_batch(config, 12, counts)
    weights = dict(model.state_dict())
    with torch.no_grad():
        found = model(batch)
        for kind, places in enumerate((16, 8, 4)):
            mask = batch["mask"][:, kind, :places]
            wanted = reference(config, weights, batch["features"][:, kind, :places], mask, kind)
            logits = found.expression if kind == 0 else found.others[:, kind - 1]
            assert (logits - wanted).abs().max() < 1e-9


def test_branches_begin_small_and_are_dropped_for_whole_clips():
    model = build_model(tiny("window-head", path_dropout=0.5), width=12, num_classes=3, seed=3).train()
    layers = [layer for branch in model.branches for layer in branch]
    scales = [scale for layer in layers for scale in (layer.scale_mixed, layer.scale_fed)]
    assert all((scale == 1e-4).all() for scale in scales)
    assert all(layer.scale_mixed is None for layer in model.stem)  # what the stem adds is not scaled
    x, mask = torch.randn(64, 4, model.config.embed_width), torch.ones(64, 4, dtype=torch.bool)
    with torch.no_grad():
        for scale in scales:
            scale.fill_(1.0)
        same = (layers[0](x, mask, 0) == x).flatten(1)
        unscaled = model.stem[0](x, mask, 0)
    dropped = same.all(1).float().mean()  # both of what is added: 1/4
    assert 0.05 < dropped < 0.5
    assert (unscaled != x).flatten(1).any(1).all()


def test_a_kind_ends_where_the_rate_changes(tmp_path):
    told = {"start": [0, 4, 8], "stop": [4, 8, 16], "hz": [25.0, 25.0, 12.5]}  # the last one begins behind the others
    np.savez(tmp_path / "a.npz", rows=np.ones((3, 2)), **{name: np.array(values) for name, values in told.items()})
    config = ImportConfig(
        by="a test", fps=25.0, array="rows", start_column="start", stop_column="stop", rate_column="hz"
    )
    import_features([tmp_path / "a.npz"], tmp_path / "c.zarr", config)
    first, count = kinds_of(open_cache(tmp_path / "c.zarr"), np.array([0]), 2)
    assert (first.tolist(), count.tolist()) == ([[0, 2]], [[2, 1]])


def test_its_sizes_are_the_published_ones():
    """10,406,407 of 10,419,719 that the published code has: the others belong to a code of positions that it never computes."""
    assert describe_model(model_config("window-head"), 1408, 7).parameters == 10_406_407
    assert model_config("window-head").each == (16, 8, 4)


def test_other_kinds_learn_what_the_first_one_says():
    config = tiny("window-head")
    model = build_model(config, width=12, num_classes=3, seed=1).double().eval()
    batch = random_batch(config, 12, torch.tensor([[9, 4], [16, 8]]))
    output, target = model(batch), torch.tensor([0, 2])
    losses = model.losses(output, target, batch, weight=None, smoothing=0.0)
    said = output.expression.softmax(1)
    divergence = F.kl_div(output.others[:, 0].log_softmax(1), said, reduction="batchmean") * 2
    assert abs(losses["agreement"].item() - divergence.item()) < 1e-9
    first, others = torch.autograd.grad(
        losses["agreement"], [output.expression, output.others], allow_unused=True, retain_graph=True
    )
    assert first is None  # what the first kind says stays as it is
    assert others.abs().max() > 0
    alone = build_model(tiny("window-head", agree_weight=0.0), width=12, num_classes=3, seed=1)
    assert list(alone.terms) == ["expression"]


def test_all_windows_are_shown_and_of_more_than_fit_the_middle_ones():
    sampler = sampler_of(SamplingConfig(), AllWindows(each=(4, 2)))
    counts = torch.tensor([[3, 1], [8, 7]])
    shown = sampler.test(counts)
    assert shown[0].tolist() == [[0, 1, 2, 3], [0, 1, 1, 1]]  # from the count on: left over
    assert shown[1].tolist() == [[1, 3, 5, 7], [1, 5, 7, 7]]
    drawn = sampler.train(counts.expand(2, 2).repeat(50, 1), torch.Generator().manual_seed(1))
    many = drawn[1::2, 0]
    assert ((many // 2) == torch.arange(4)).all()  # each in its own part
    assert (many[:, 0] == 0).any()
    assert (many[:, 0] == 1).any()
    assert drawn[::2, 0, :3].tolist() == [[0, 1, 2]] * 50
    line, warning = sampler.describe(counts)
    assert "up to 4 + 2 of 2 kinds" in line
    assert warning.startswith("1 of 2 clips have more windows")


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    path = tmp_path_factory.mktemp("windows") / "c.zarr"
    return open_cache(learning_cache(path, 12, frames=20, windows=True))


@pytest.mark.parametrize("residency", ["device", "stream"])
def test_a_set_shows_each_clip_its_own_windows(cache, residency):
    config = tiny("window-head")
    which = [7, 2, 4]
    clips = load_features(cache, which, config, WINDOWED, CPU, residency=residency)
    wanted = [(20 - WINDOW) // step + 1 for step in STEPS]
    assert clips.count.tolist() == [wanted] * 3
    chosen = torch.tensor([2, 0])
    positions = sampler_of(SamplingConfig(), config.shown).test(clips.count[chosen])
    found = clips.take(clips.index(chosen, positions))
    mask = clips.told(["mask"], chosen, positions)["mask"]
    for place, clip in enumerate((4, 7)):
        rows = torch.from_numpy(cache.windows(clip).features[WINDOWED].astype("float32"))
        for kind, (first, count) in enumerate(((0, wanted[0]), (wanted[0], wanted[1]))):
            assert mask[place, kind].tolist() == [at < count for at in range(16)]
            assert torch.equal(found[place, kind, :count], rows[first : first + count])
    mean, _ = clips.statistics(torch.tensor([0, 1, 2]))
    rows = [torch.from_numpy(cache.windows(clip).features[WINDOWED].astype("float32")) for clip in which]
    assert (mean - torch.cat(rows).mean(0)).abs().max() < 1e-5
    assert clips.num_shown(0) == sum(wanted)


def test_what_has_no_such_windows_is_refused(cache, tmp_path):
    with pytest.raises(
        UsageError, match=r"reads 3 kinds of windows, and 12 of 12 clips of .* have others: 'clip000' has 2"
    ):
        load_features(cache, range(12), tiny("window-head", num_kinds=3), WINDOWED, CPU)
    frames = learning_cache(tmp_path / "frames.zarr", 6)
    with pytest.raises(UsageError, match="has no features of windows, asked for 'gap'") as refused:
        prepare(frames, tiny_config(model=tiny("window-head"), feature="gap", protocol=TWO))
    assert "est cache import" in refused.value.remedy
    with pytest.raises(UsageError, match="has a row for each window, and the model reads frames") as refused:
        prepare(cache, tiny_config(feature=WINDOWED, protocol=TWO))
    assert refused.value.remedy.startswith("--model window-head")
    with pytest.raises(UsageError, match="window-head reads windows, which an encoder of frames does not make"):
        tiny_config(model=tiny("window-head"), finetune=finetuned())


def test_an_interrupted_training_resumes(cache, tmp_path):
    config = tiny_config(model=tiny("window-head"), protocol=TWO, epochs=2, batch=4, control=False, eval_every=0)
    whole = fit(cache, tmp_path / "whole", config)
    fit_interrupted(cache, tmp_path / "cut", config, 1)
    assert outcome(tmp_path / "cut") == outcome(tmp_path / "whole")
    assert whole.run.complete


def finetuned():
    from est.train.config.finetune import FinetuneConfig

    return FinetuneConfig(learns="all")
