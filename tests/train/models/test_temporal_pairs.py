"""Classes that differ in nothing but the direction of time: models that ignore order guess, all others learn them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tiny_models import ORDER_BLIND, TINY, tiny
from train_samples import MAPS, WIDTH, as_maps, learning_clip, learning_recipes, make_trainer

from est.cache import CacheWriter, open_cache
from est.train.config.sampling import SamplingConfig
from est.train.data.clipset import ClipSet
from est.train.data.sampling import sampler_of
from est.train.loop.predict import predict

FRAMES, PEOPLE, EPOCHS = 30, 24, 60
LEARNT, TESTED = np.arange(2 * 16), np.arange(2 * 16, 2 * PEOPLE)
RATES = {"est": 5e-3, "gru": 2e-2, "lstm": 2e-2}  # of learning; of the others 1e-2
SLOWER = {"lstm", "gru", "slstt", "stt", "msstnet"}
OTHERS = {"r3d18", "window-head"}  # see pixels, or windows, which these clips do not have


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Write a clip of each person that rises along one direction, and the same frames from the last to the first."""
    path = tmp_path_factory.mktemp("pairs") / "pairs.zarr"
    labels = ("rising", "falling")
    direction = np.random.default_rng(1).normal(size=WIDTH)
    with CacheWriter.open(path, learning_recipes(maps=True), labels=labels) as writer:
        for person in range(PEOPLE):
            rng = np.random.default_rng([2, person])
            course = np.linspace(-1, 1, FRAMES) + rng.normal(scale=0.2, size=FRAMES)
            rows = rng.normal(size=WIDTH) + 2 * course[:, None] * direction
            rows = (rows + 0.3 * rng.normal(size=(FRAMES, WIDTH))).astype(np.float16)
            for number, seen in enumerate((rows, rows[::-1].copy())):
                features = {"gap": seen, **{name: as_maps(seen, shape) for name, shape in MAPS.items()}}
                clip = learning_clip(2 * person + number, labels=labels, frames=FRAMES, maps=True)
                box, landmarks = np.zeros((FRAMES, 4), np.float32), np.zeros((FRAMES, 5, 2), np.float32)
                state = np.ones(FRAMES, np.uint8)
                writer.add(replace(clip, state=state, box=box, landmarks=landmarks, features=features))
    return open_cache(path)


@pytest.mark.parametrize(
    "name",
    [pytest.param(one, marks=[pytest.mark.slow] * (one in SLOWER)) for one in TINY if one not in OTHERS],
)
def test_who_knows_the_order_tells_them_apart(cache, name):
    config = tiny(name, **({"frames": 75} if name in ("gru", "lstm") else {}))
    clips = ClipSet.from_cache(cache, range(2 * PEOPLE), config.reads or "gap", told=["mask"], maps=bool(config.reads))
    rate = RATES.get(name, 1e-2)
    trainer = make_trainer(
        clips, model=config, train=LEARNT, epochs=EPOCHS, batch=8, learning_rate=rate, weight_decay=0.0, warmup=1
    )
    sampler, right = sampler_of(SamplingConfig(), config.shown), np.zeros(0)
    for epoch in range(EPOCHS):
        plan = trainer.begin_epoch(epoch)
        for step in range(trainer.num_steps):
            trainer.step(plan, step, epoch)
        if epoch % 6 == 5:
            shares = predict(trainer.model, clips, TESTED, sampler)[0][:, :2]  # of a third class there is no clip
            right = shares.argmax(1) == clips.label[TESTED]
            if right.mean() > 0.8:
                break
    if name in ORDER_BLIND:
        assert right.mean() == 0.5  # of each two clips of the same frames exactly one
    else:
        assert right.mean() > 0.8
