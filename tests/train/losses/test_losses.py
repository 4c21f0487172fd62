"""Each loss against its formula, written out in numpy for one clip at a time; and what it must be where it is off."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from est.train.losses.centres import centre_loss, compact_loss, draw_centres
from est.train.losses.class_weights import by_effective_number, inverse, log_prior, summed_weight
from est.train.losses.classes import cross_entropy, focal_loss
from est.train.losses.contrastive import contrastive_loss

B, C, E = 6, 4, 5
RNG = np.random.default_rng(3)
LOGITS = torch.from_numpy(RNG.normal(size=(B, C)) * 3)
TARGET = torch.tensor([0, 1, 1, 3, 0, 1])
VOTES = torch.from_numpy(RNG.dirichlet(np.ones(C), B))
WEIGHT = torch.tensor([0.5, 2.0, 1.0, 0.25], dtype=torch.float64)
EMBEDDING = torch.from_numpy(RNG.normal(size=(B, E)))
CENTRES = torch.from_numpy(RNG.normal(size=(C, E)))


def focal_by_hand(logits, target, gamma, weight, smoothing):
    total = 0.0
    for row, aim in zip(logits.numpy(), target.numpy(), strict=True):
        p = np.exp(row) / np.exp(row).sum()
        q = (1 - smoothing) * (np.eye(C)[aim] if np.ndim(aim) == 0 else aim) + smoothing / C
        w = np.ones(C) if weight is None else weight.numpy()
        total += sum(-w[c] * q[c] * (1 - p[c]) ** gamma * np.log(p[c]) for c in range(C))
    return total


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["alike", "weighted"])
@pytest.mark.parametrize("target", [TARGET, VOTES], ids=["labels", "votes"])
def test_the_loss_of_the_classes(target, weight, smoothing):
    how = {"weight": weight, "smoothing": smoothing}
    stacked = {"weight": weight, "smoothing": torch.tensor(smoothing, dtype=torch.float64)}
    plain = focal_by_hand(LOGITS, target, 0, weight, smoothing)
    assert float(cross_entropy(LOGITS, target, **how)) == pytest.approx(plain)
    assert float(cross_entropy(LOGITS, target, **stacked)) == pytest.approx(plain)
    assert float(focal_loss(LOGITS, target, 0.0, **how)) == pytest.approx(plain)
    for gamma in (0.5, 2.0):
        wanted = focal_by_hand(LOGITS, target, gamma, weight, smoothing)
        assert float(focal_loss(LOGITS, target, gamma, **how)) == pytest.approx(wanted)
        assert float(focal_loss(LOGITS, target, torch.tensor(gamma), **stacked)) == pytest.approx(wanted)
        assert wanted < 0.99 * plain


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
def test_what_is_quite_certain_has_a_gradient(gamma):
    logits = torch.tensor([[200.0, 0.0, 0.0], [0.0, 200.0, 0.0]], requires_grad=True)
    focal_loss(logits, torch.tensor([0, 0]), gamma, weight=None, smoothing=0.0).backward()
    assert logits.grad.isfinite().all()
    assert logits.grad[0].abs().max() < 1e-6
    assert logits.grad[1, 0] == pytest.approx(-1)  # quite wrong: as cross-entropy


@given(st.lists(st.integers(1, 5000), min_size=2, max_size=8), st.floats(0.5, 0.99999))
def test_weights_by_effective_number(counts, beta):
    numbers = torch.tensor(counts, dtype=torch.float64)
    found = by_effective_number(numbers, beta)
    wanted = np.array([(1 - beta) / (1 - beta**n) for n in counts])
    np.testing.assert_allclose(found / found[0], wanted / wanted[0], rtol=1e-6)
    assert float((found * numbers).sum() / numbers.sum()) == pytest.approx(1)


def test_effective_numbers_lie_between_all_alike_and_inverse():
    counts = torch.tensor([100.0, 10.0, 0.0], dtype=torch.float64)
    assert by_effective_number(counts, 0.0).tolist() == pytest.approx([1, 1, 0])
    assert by_effective_number(counts, 1e-6).tolist() == pytest.approx([1, 1, 0], abs=1e-5)
    torch.testing.assert_close(by_effective_number(counts, 1 - 1e-9), inverse(counts), rtol=1e-5, atol=0)


def test_the_prior_and_what_losses_are_divided_by():
    assert log_prior(torch.tensor([6.0, 3.0, 0.0])).exp().tolist() == pytest.approx([6 / 9, 3 / 9, 1 / 9])
    assert summed_weight(None, TARGET, None) == summed_weight(None, TARGET, VOTES) == B
    assert float(summed_weight(WEIGHT, TARGET, None)) == pytest.approx(0.5 * 2 + 2.0 * 3 + 0.25)
    shared = sum(float(VOTES[i, c] * WEIGHT[c]) for i in range(B) for c in range(C))
    assert float(summed_weight(WEIGHT, TARGET, VOTES)) == pytest.approx(shared)
    assert abs(shared - float(summed_weight(WEIGHT, TARGET, None))) > 0.1
    certain = F.one_hot(TARGET, C).double()
    assert float(summed_weight(WEIGHT, TARGET, certain)) == pytest.approx(float(summed_weight(WEIGHT, TARGET, None)))


def test_supervised_contrastive():
    temperature, total = 0.3, 0.0
    z = EMBEDDING.numpy() / np.linalg.norm(EMBEDDING.numpy(), axis=1, keepdims=True)
    for i in range(B):
        others = [a for a in range(B) if a != i]
        positives = [p for p in others if TARGET[p] == TARGET[i]]
        below = sum(np.exp(z[i] @ z[a] / temperature) for a in others)
        if positives:
            total -= np.mean([np.log(np.exp(z[i] @ z[p] / temperature) / below) for p in positives])
    assert float(contrastive_loss(EMBEDDING, TARGET, temperature)) == pytest.approx(total)
    scaled = EMBEDDING * torch.arange(1, B + 1)[:, None]
    assert float(contrastive_loss(scaled, TARGET, torch.tensor(temperature))) == pytest.approx(total)


@pytest.mark.parametrize("target", [[0, 1, 2, 3], [2]], ids=["no positives", "one clip"])
def test_without_positives_the_contrastive_loss_is_0(target):
    z = torch.randn(len(target), E, requires_grad=True)
    found = contrastive_loss(z, torch.tensor(target), 0.1)
    found.backward()
    assert float(found.detach()) == 0
    assert (z.grad == 0).all()


def test_a_batch_of_one_class_and_embeddings_of_zeros_have_gradients():
    z = torch.zeros(3, E, requires_grad=True)
    contrastive_loss(z, torch.tensor([1, 1, 1]), 0.1).backward()
    assert z.grad.isfinite().all()


def test_losses_of_centres():
    x, c = EMBEDDING.numpy(), CENTRES.numpy()
    pairs = list(zip(range(B), TARGET.tolist(), strict=True))
    wanted = sum(0.5 * ((x[i] - c[y]) ** 2).sum() for i, y in pairs)
    assert float(centre_loss(EMBEDDING, TARGET, CENTRES)) == pytest.approx(wanted)
    x, c = (a / np.linalg.norm(a, axis=1, keepdims=True) for a in (x, c))
    between = np.mean([((c[j] - c[k]) ** 2).sum() for j in range(C) for k in range(C) if j != k])
    wanted = sum(((x[i] - c[y]) ** 2).sum() - between + 2 * C / (C - 1) for i, y in pairs)
    assert float(compact_loss(EMBEDDING, TARGET, CENTRES)) == pytest.approx(wanted)


def test_centres_are_drawn_by_a_seed_and_touch_no_stream():
    before = torch.get_rng_state()
    one, same, other = (draw_centres(C, E, seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    torch.testing.assert_close(one.norm(dim=1), torch.ones(C))


@pytest.mark.parametrize("name", ["contrastive", "compact"])
def test_free_embeddings_gather_by_class(name):
    generator = torch.Generator().manual_seed(2)
    z = torch.randn(9, 4, generator=generator).requires_grad_()
    centres = draw_centres(3, 4, seed=1).requires_grad_()
    target = torch.arange(9) % 3
    for _ in range(150):
        found = contrastive_loss(z, target, 0.5) if name == "contrastive" else compact_loss(z, target, centres)
        learnt = [z] if name == "contrastive" else [z, centres]
        for one, grad in zip(learnt, torch.autograd.grad(found, learnt), strict=True):
            one.data -= 0.1 * grad
    alike = F.normalize(z.detach(), dim=1) @ F.normalize(z.detach(), dim=1).T
    same = target[:, None] == target[None, :]
    assert alike[same].min() > 0.95
    assert alike[~same].max() < -0.3  # three directions at most 120 degrees apart have -0.5
