"""Tuning on clips of a cache: it learns, follows from its seed, goes on to the bit, and touches nothing but the training half."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from processor import PRECISIONS
from refusals import differs
from safetensors import safe_open
from train_samples import Recorder
from tune_samples import (
    LABELS,
    colour_cache,
    config,
    picture,
    random_start,
    small_start,
    start_that_saw,
    table_of,
)

from est.cache import open_cache
from est.encoders.weights import load_weights
from est.errors import UsageError
from est.train.config.protocol import ProtocolConfig
from est.train.folds.protocols import plan_folds
from est.train.loop import epochs
from est.tune import encoder_training, read_card, tune_cache, tune_clips


@pytest.fixture(scope="module")
def caches(tmp_path_factory):
    return colour_cache(tmp_path_factory.mktemp("tune") / "cache.zarr")


@pytest.fixture(scope="module")
def tuned(caches, tmp_path_factory):
    """A ResNet-18 that has learnt, and what was said meanwhile."""
    watch = Recorder()
    out = tune_cache(caches, tmp_path_factory.mktemp("out") / "tuned.safetensors", config(weights=""), watch=watch)
    return out, watch


def small_tuned(cache, out, watch=None, start=None, **changes):
    """Tune the small encoder on the first clips, the last ones choosing."""
    opened, table = table_of(cache)
    rows = np.arange(len(table))
    return tune_clips(
        opened, rows[:18], rows[18:], out, config(**changes), start=start or small_start(), folds=["fold1"], watch=watch
    )


def test_it_learns_to_tell_colours_apart(tuned):
    out, watch = tuned
    assert [record["loss"] for record in watch.records][-1] < 0.8 < np.log(len(LABELS))
    scores = read_card(out)["validation"]
    assert scores["clips"]["uar"] == 1.0
    assert scores["clips"]["total"] == 6  # one subject of four
    assert scores["frames"]["total"] == 24  # four frames of each clip
    assert watch.results[0]["right"] == 6


def test_what_is_written_is_taken_without_a_flag(tuned):
    out, _ = tuned
    found = load_weights(str(out))
    assert found.backbone.normalization.name == "none"
    assert found.trained_on is not None
    assert len(found.trained_on.clips) == 24  # those that choose the epoch too
    assert found.trained_on.subjects == ("P0", "P1", "P2", "P3")
    assert found.trained_on.how == "est tune"
    assert found.card["start"]["weights"] == "random"
    with torch.no_grad():  # the features of two pictures of a colour are nearer than those of two colours
        pictures = np.stack([picture(label, seed)[..., ::-1] for label in range(3) for seed in (900, 901)])
        rows = found.backbone(torch.from_numpy(pictures.copy()).permute(0, 3, 1, 2).float() / 255)
    away = torch.cdist(rows, rows)
    assert away[0::2, 1::2].diagonal().max() < away[::2, ::2][~torch.eye(3, dtype=bool)].min()


def test_the_card_is_a_page_too(tuned):
    out, _ = tuned
    page = out.with_suffix(".md").read_text(encoding="utf-8")
    assert "| learnt from | 18 | 108 | 3 | 6 | 6 | 6 |" in page
    assert "random" in page
    assert not out.with_suffix(".tuning").exists()
    assert "safetensors" in page


def test_the_same_seed_gives_the_same_bytes(caches, tmp_path):
    first = small_tuned(caches, tmp_path / "a.safetensors")
    again = small_tuned(caches, tmp_path / "b.safetensors", workers=2)
    other = small_tuned(caches, tmp_path / "c.safetensors", seed=2)
    assert first.read_bytes() == again.read_bytes()
    assert first.read_bytes() != other.read_bytes()


@pytest.mark.parametrize("precision", PRECISIONS)
def test_interrupted_it_goes_on_to_the_bit(caches, tmp_path, precision):
    changes = {"precision": precision, "average": 0.9, "together": 2}
    whole = small_tuned(caches, tmp_path / "whole.safetensors", **changes)
    out = tmp_path / "parts.safetensors"
    for steps in (1, 6, 4):  # six steps an epoch: inside one, and at its end
        with pytest.raises(KeyboardInterrupt):
            small_tuned(caches, out, Recorder(steps), **changes)
        assert out.with_suffix(".tuning").exists()
        assert not out.exists()
    watch = Recorder()
    small_tuned(caches, out, watch, **changes)
    assert any("resuming" in line for line in watch.said)
    assert out.read_bytes() == whole.read_bytes()
    assert out.with_suffix(".md").read_text().replace("parts", "whole") == whole.with_suffix(".md").read_text()
    assert not out.with_suffix(".tuning").exists()


def test_checkpoints_are_written_now_and_then_and_change_nothing(caches, tmp_path, monkeypatch):
    whole = small_tuned(caches, tmp_path / "whole.safetensors", epochs=2)
    saved = []
    save = encoder_training.save_checkpoint
    monkeypatch.setattr(epochs, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    monkeypatch.setattr(
        encoder_training, "save_checkpoint", lambda path, *rest: (saved.append(path), save(path, *rest))
    )
    out = small_tuned(caches, tmp_path / "often.safetensors", epochs=2)
    assert saved == [out.with_suffix(".tuning")] * 11  # after each of twelve steps but the last
    assert out.read_bytes() == whole.read_bytes()


def test_what_is_there_is_left_alone(caches, tmp_path):
    out = small_tuned(caches, tmp_path / "a.safetensors")
    before = out.stat().st_mtime_ns
    watch = Recorder()
    assert small_tuned(caches, out, watch) == out
    assert out.stat().st_mtime_ns == before
    assert not watch.records
    with pytest.raises(UsageError, match=differs("learning_rate", 0.01, 0.02)) as caught:
        small_tuned(caches, out, learning_rate=0.02)
    assert str(out) in caught.value.remedy
    with pytest.raises(UsageError, match=differs("start", "5" * 12, "6" * 12)):
        small_tuned(caches, out, start=small_start(digest="6" * 32))


def test_a_state_of_other_settings_is_refused(caches, tmp_path):
    out = tmp_path / "a.safetensors"
    with pytest.raises(KeyboardInterrupt):
        small_tuned(caches, out, Recorder(2))
    with pytest.raises(UsageError, match=differs("epochs", 3, 4)) as caught:
        small_tuned(caches, out, epochs=4)
    assert "rm" in caught.value.remedy
    opened, table = table_of(caches)
    with pytest.raises(UsageError, match="val 6 clips"):
        tune_clips(opened, np.arange(18), np.arange(20, 24), out, config(), start=small_start(), folds=["fold1"])
    assert len(table) == 24


def test_clips_that_are_tested_have_no_part_in_it(caches, tmp_path):
    _, table = table_of(caches)
    quick = config(epochs=1, frames_per_clip=1)
    protocol = ProtocolConfig(kind="kfold", folds=2, only=("fold1",))
    fold = plan_folds(table, protocol, seed=quick.seed, validation=True).folds[0]
    out = tune_cache(caches, tmp_path / "a.safetensors", quick, protocol=protocol)
    record = load_weights(str(out)).trained_on
    assert record.folds == ("fold1",)
    assert set(record.clips) == set(table.ids) - set(table.ids[fold.test])
    # the same clips, but those that are tested have other labels, and show nobody
    fields = {row: {"label": LABELS[(row + 1) % 3]} for row in fold.test.tolist()}
    other = open_cache(colour_cache(tmp_path / "other.zarr", fields=fields, faceless=set(fields)))
    start = random_start()
    again = tune_clips(other, fold.train, fold.val, tmp_path / "b.safetensors", quick, start=start, folds=["fold1"])
    assert tensors(again) == tensors(out)


def test_batch_norms_stand_still_or_learn(caches, tmp_path):
    frozen = tensors(small_tuned(caches, tmp_path / "a.safetensors", batch_norm="frozen", epochs=1))
    learnt = tensors(small_tuned(caches, tmp_path / "b.safetensors", batch_norm="train", epochs=1))
    start = {name: tensor.numpy().tobytes() for name, tensor in small_start().backbone.state_dict().items()}
    norms = {name for name in start if name.startswith("norm.")}
    assert {name for name in norms if frozen[name] != start[name]} == set()
    assert {name for name in norms if learnt[name] != start[name]} == norms
    assert frozen["conv.weight"] != start["conv.weight"]


def test_the_start_is_left_as_it_was(caches, tmp_path):
    start = small_start()
    before = {name: tensor.clone() for name, tensor in start.backbone.state_dict().items()}
    small_tuned(caches, tmp_path / "a.safetensors", start=start, epochs=1)
    assert all(torch.equal(tensor, before[name]) for name, tensor in start.backbone.state_dict().items())


def test_a_rate_of_zero_teaches_the_head_alone(caches, tmp_path):
    out = tensors(small_tuned(caches, tmp_path / "a.safetensors", rate=0.0, batch_norm="frozen", epochs=1))
    start = small_start().backbone.state_dict()
    assert all(out[name] == tensor.numpy().tobytes() for name, tensor in start.items())


def test_without_clips_to_choose_by_the_last_epoch_is_kept(caches, tmp_path):
    opened, table = table_of(caches)
    watch = Recorder()
    out = tune_clips(
        opened,
        np.arange(len(table)),
        [],
        tmp_path / "a.safetensors",
        config(epochs=2),
        start=small_start(),
        watch=watch,
    )
    card = read_card(out)
    assert card["kept"] == {"epoch": 2, "by": "last"}
    assert not card["validation"]
    assert "val_uar" not in watch.records[0]
    assert "None" in out.with_suffix(".md").read_text()


def test_records_are_merged_with_those_of_the_start(caches, tmp_path):
    opened, _ = table_of(caches)
    start = start_that_saw(["elsewhere"], subjects=["Q"])
    out = tune_clips(opened, np.arange(18), [], tmp_path / "a.safetensors", config(epochs=1), start=start)
    with safe_open(out, "np") as file:
        text = file.metadata()["trained_on"]
    assert '"elsewhere"' in text
    assert '"clip00"' in text
    assert '"clip20"' not in text
    assert "before; est tune" in text


def test_only_frames_with_a_face_are_looked_at(tmp_path):
    cache = colour_cache(tmp_path / "c.zarr", shown=(1, 4), faceless=(3,))
    watch = Recorder()
    out = small_tuned(cache, tmp_path / "a.safetensors", watch, epochs=1)
    card = read_card(out)
    assert card["data"]["train"]["clips"] == 17
    assert card["data"]["train"]["frames"] == 34
    assert any("clip03" in line for line in watch.said)


def tensors(path):
    """Return the bytes of each tensor in a file."""
    with safe_open(path, "np") as file:
        return {name: file.get_tensor(name).tobytes() for name in file.keys()}  # noqa: SIM118
