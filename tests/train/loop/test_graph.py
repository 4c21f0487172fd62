"""Steps recorded on a GPU: the same losses as steps that are not; and no GPU, no recording."""

import numpy as np
import pytest
import torch
from train_samples import learning_cache, tiny_config

from est.cache import open_cache
from est.cache.interrupt import Stop
from est.errors import UsageError
from est.train import EstConfig, LoopConfig, build_model
from est.train.config.loss import LossConfig
from est.train.data.clipset import ClipSet
from est.train.loop.trainer import Trainer
from est.train.loop.watch import TrainingWatch

PLAIN = LossConfig()
STILL = EstConfig(dim=16, heads=2, ffn=32, layers=1, dropout=0.0, head_dropout=0.0)


EVERY = LossConfig(focal=2.0, adjustment=1.0, contrastive=0.5, centre=0.1)


def trainer(path, device, *, graph, loss=PLAIN):
    loop = LoopConfig(epochs=4, warmup=0, batch=8, learning_rate=1e-3, graph=graph)
    config = tiny_config(model=STILL, loop=loop, loss=loss, device=device)
    cache = open_cache(path)
    clips = ClipSet.from_cache(cache, np.arange(len(cache)), device=device)
    model = build_model(config.model, width=clips.width, num_classes=len(cache.labels), seed=1).to(device)
    target = torch.from_numpy(clips.label).to(device)
    return Trainer(model, clips, train=np.arange(len(cache)), target=target, config=config, precision="fp32", seed=1)


def test_without_a_gpu_nothing_is_recorded(tmp_path):
    path = learning_cache(tmp_path / "c.zarr", 16)
    with pytest.raises(UsageError, match=r"loop\.graph records steps on a GPU"):
        trainer(path, "cpu", graph=True)


@pytest.mark.gpu
@pytest.mark.parametrize("loss", [PLAIN, EVERY], ids=["plain", "every loss"])
def test_recorded_steps_learn_as_others(tmp_path, loss):
    path = learning_cache(tmp_path / "c.zarr", 48)
    tallies = []
    for graph in (False, True):
        made = trainer(path, "cuda:0", graph=graph, loss=loss)
        for epoch in range(4):
            made.run_epoch(epoch, stop=Stop(), watch=TrainingWatch())
        tallies.append(made.tally.cpu())
    assert torch.allclose(tallies[0], tallies[1], atol=1e-3), (tallies[0] - tallies[1]).abs().max()
