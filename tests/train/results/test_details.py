"""What models show of their decisions: the numbers are those that they decide by, and a run keeps them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from train_samples import LABELS, learning_cache, tiny_config

from est.errors import EstError
from est.train import EstConfig, ProtocolConfig, evaluate, fit
from est.train.evaluation import Change
from est.train.loop.checkpoint import load_model
from est.train.models.gru.config import Config as GruConfig
from est.train.results.details import DETAILS, read_details
from est.train.results.predictions import read_predictions
from est.train.runs.run import CHECKPOINT

KFOLD = ProtocolConfig(kind="kfold", folds=2)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return learning_cache(tmp_path_factory.mktemp("details") / "cache.zarr", strength=0.3, faceless=(4,))


@pytest.fixture(scope="module")
def run(cache, tmp_path_factory):
    found = fit(cache, tmp_path_factory.mktemp("details") / "run", tiny_config(protocol=KFOLD)).run
    assert read_details(found, found.parts[0]) is None
    evaluate(found, cache).save_details()
    return found


def test_every_tested_clip_that_shows_a_face_has_a_row(run):
    ids = []
    for part in run.parts:
        details = read_details(run, part)
        assert details is not None
        predicted = {row["id"] for row in read_predictions(run, part) if row["prediction"]}
        assert set(details.ids.tolist()) == predicted
        ids += details.ids.tolist()
        counts = dict(run.clips())
        for clip, shown in zip(details.ids.tolist(), details.shown, strict=True):
            assert shown.min() >= 0
            assert shown.max() < counts[clip][1]
    assert len(ids) == len(set(ids)) == 53


def test_the_embedding_is_what_the_classifier_reads(run):
    for part in run.parts:
        details = read_details(run, part)
        assert details is not None
        model = load_model(run.part(part) / CHECKPOINT)[0].eval()
        with torch.no_grad():
            logits = model.expression_head(torch.from_numpy(details.arrays["embedding"]))
        said = {row["id"]: row["prediction"] for row in read_predictions(run, part)}
        assert [LABELS[code] for code in logits.argmax(1)] == [said[clip] for clip in details.ids.tolist()]
        n, frames = details.shown.shape[1:]
        attention, alpha = details.arrays["attention"], details.arrays["alpha"]
        assert attention.shape[0::2] == (len(details.ids), n)
        assert alpha.shape == (len(details.ids), n, frames)
        np.testing.assert_allclose(attention.sum(2), 1, rtol=1e-5)
        assert (alpha > 0).all()


def test_pooled_features_are_means_of_the_frames_shown(run, cache):
    from est.cache import open_cache

    details, opened = read_details(run, run.parts[0]), open_cache(cache)
    assert details is not None
    clip = details.ids.tolist()[0]
    rows = opened.clip(clip).features["gap"].astype(np.float32)[details.shown[0].ravel()]
    np.testing.assert_allclose(details.pooled[0], rows.mean(0), rtol=1e-4, atol=1e-5)


def test_models_say_what_they_have(cache, tmp_path):
    for config, names in (
        (EstConfig(aggregation="mean", layers=1, dim=16, heads=2), {"embedding", "attention"}),
        (GruConfig(hidden=8), {"embedding"}),
    ):
        found = fit(cache, tmp_path / config.name, tiny_config(model=config, epochs=1)).run
        (details,) = evaluate(found, cache).details.values()
        assert set(details.arrays) == names


def test_changed_clips_are_no_details_of_the_run(run, cache):
    assert not evaluate(run, cache, change=Change(shuffle=True)).details


def message_of(run):
    """Return what is said of a damaged file, nothing where it can be read."""
    try:
        read_details(run, run.parts[0])
    except EstError as error:
        return f"{error.message} {error.remedy}"
    return ""


def test_a_damaged_file_names_the_command(run):
    path = run.part(run.parts[0]) / DETAILS
    whole, messages = path.read_bytes(), []
    try:
        for place in range(0, len(whole), len(whole) // 40):
            damaged = bytearray(whole)
            damaged[place] ^= 0x55
            for content in (whole[:place], bytes(damaged)):
                path.write_bytes(content)
                messages.append(message_of(run) if content != whole else "")
        assert {"damaged" in message for message in messages} == {
            True,
            False,
        }  # False: a byte that nothing reads, such as a time
        assert all("est evaluate" in message for message in messages if message)
    finally:
        path.write_bytes(whole)
