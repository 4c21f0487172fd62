"""Runs: one seed is one run bit for bit, whatever store, order or process; something is learnt; what is selected is honest."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch
from finetune_samples import tuning_config
from train_samples import (
    LABELS,
    TINY,
    Recorder,
    fit_interrupted,
    learning_cache,
    outcome,
    read_csv,
    tiny_config,
)

from est.cache import open_cache
from est.errors import EstError, UsageError
from est.train import EstConfig, ProtocolConfig, fit
from est.train.data.clipset import ClipSet
from est.train.data.snippets import SnippetSampler
from est.train.loop.checkpoint import load_checkpoint, load_model
from est.train.loop.fold_training import hint
from est.train.loop.predict import predict
from est.train.runs.files import read_history
from est.train.runs.run import CHECKPOINT, RESULT

HARD = {"strength": 0.25, "failures": [("gone", "anger", "P2", "test")], "faceless": (6, 7, 8)}
EVERYTHING = {
    "select": "val",
    "seeds": (3, 4),
    "scaling": True,
    "mirrored": True,
    "class_weights": True,
    "label_smoothing": 0.1,
    "noise": 0.2,
    "mixup": 0.3,
    "clip_norm": 1.0,
    "optimizer": "adamw",
    "eval_every": 2,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def cache(folder):
    """A cache that is hard enough for everything to matter; among its test clips one without a face, and a failure."""
    return learning_cache(folder / "cache.zarr", flip=True, **HARD)


@pytest.fixture(scope="module")
def base(cache, folder):
    """The run that others are compared with."""
    return fit(cache, folder / "base", tiny_config())


def test_one_seed_is_one_run(cache, base, tmp_path):
    torch.manual_seed(99)
    before = torch.get_rng_state(), torch.get_num_threads()
    fit(cache, tmp_path / "again", tiny_config())
    assert outcome(tmp_path / "again") == outcome(base.run.path)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert torch.get_num_threads() == before[1]
    assert 0.3 < base.scores.war < 0.95, "a result that everything changes"
    other = fit(cache, tmp_path / "other", tiny_config(seeds=(1,)))
    assert outcome(tmp_path / "other")["split tensors"] != outcome(base.run.path)["split tensors"]
    assert not np.array_equal(other.scores.confusion, base.scores.confusion)


def test_where_and_in_which_order_things_lie_does_not_matter(base, folder, tmp_path):
    expected = outcome(base.run.path)
    shuffled = np.random.default_rng(0).permutation(54).tolist()
    for name, options in {
        "store.h5": {},
        "labels.zarr": {"listed": ("surprise", "anger", "nobody's", "happiness")},
        "clips.zarr": {"order": shuffled},
    }.items():
        learning_cache(tmp_path / name, flip=True, **HARD, **options)
        fit(tmp_path / name, tmp_path / f"run of {name}", tiny_config())
        assert outcome(tmp_path / f"run of {name}") == expected, name


def test_rows_may_be_streamed(cache, base, tmp_path):
    fit(cache, tmp_path / "run", tiny_config(residency="stream"))
    found, expected = outcome(tmp_path / "run"), outcome(base.run.path)
    for name in ("split tensors", "predictions.csv"):
        assert found[name] == expected[name]


def test_an_interrupted_run_is_an_undisturbed_one(cache, base, tmp_path):
    # 4 steps an epoch: in its middle, at its end, in the next, right behind
    fit_interrupted(cache, tmp_path / "run", tiny_config(), 2, 2, 3, 1)
    assert outcome(tmp_path / "run") == outcome(base.run.path)


@pytest.mark.parametrize("after", [(1, 4, 9), (3, 3, 14)])
def test_so_is_one_with_everything_that_a_seed_decides(cache, folder, tmp_path, after):
    config = tiny_config(**EVERYTHING)
    whole = folder / "everything"
    if not whole.exists():
        fit(cache, whole, config)
    fit_interrupted(cache, tmp_path / "run", config, *after)
    assert outcome(tmp_path / "run") == outcome(whole)


def test_each_option_changes_what_is_learnt(tmp_path):
    cache = learning_cache(tmp_path / "cache.zarr", 50, flip=True)  # one class has fewer clips than the others
    seen = []
    for number, setting in enumerate(
        [
            {},
            {"scaling": True},
            {"mirrored": True},
            {"balanced": True},
            {"class_weights": True},
            {"label_smoothing": 0.1},
            {"noise": 0.2},
            {"mixup": 0.3},
            {"clip_norm": 0.1},
            {"optimizer": "adamw"},
            {"schedule": "constant"},
            {"weight_decay": 0.01},
            {"model": EstConfig(**{**vars(TINY), "position": "slot"})},
        ]
    ):
        fit(cache, tmp_path / str(number), tiny_config(epochs=3, control=False, eval_every=0, **setting))
        seen.append(outcome(tmp_path / str(number))["split tensors"])
    assert all(one != other for place, one in enumerate(seen) for other in seen[:place])


def test_it_learns(tmp_path):
    """Three classes: chance is one third."""
    results = fit(learning_cache(tmp_path / "c.zarr"), tmp_path / "run", tiny_config(epochs=6))
    assert results.scores.war > 0.8
    history = read_csv(tmp_path / "run" / "history.csv")
    assert float(history[-1]["loss"]) < 0.8 * float(history[0]["loss"])
    assert results.answers[0].chance == 0.1


def test_a_checkpoint_predicts_what_the_run_predicted(cache, base):
    run = base.run
    checkpoint = load_checkpoint(run.part("split") / CHECKPOINT)
    assert {name.split("/")[0] for name in checkpoint.tensors} == {"model"}, "the optimiser's state is dropped"
    model, meta = load_model(checkpoint)
    assert meta["labels"] == list(run.labels)
    assert model.orders.tolist() == run.facts["orders"]["3456"]
    rows = [row for row in read_csv(run.path / "predictions.csv") if row["prediction"]]
    opened = open_cache(cache)
    clips = ClipSet.from_cache(opened, [opened.clips.index(row["id"]) for row in rows])
    sampler = SnippetSampler(run.config.sampling, model.config.snippets, model.config.frames)
    probabilities, _ = predict(model, clips, np.arange(len(rows)), sampler)
    printed = [[row[f"p_{label}"] for label in run.labels] for row in rows]
    assert [[f"{share:.6g}" for share in line] for line in probabilities.tolist()] == printed
    assert [run.labels[place] for place in probabilities.argmax(1)] == [row["prediction"] for row in rows]


def test_the_oracle_is_a_number_beside_the_result(cache, base, tmp_path):
    without = fit(cache, tmp_path / "run", tiny_config(eval_every=0, control=False))
    assert without.oracle is None
    assert without.control is None
    assert np.array_equal(without.scores.confusion, base.scores.confusion)
    history = read_csv(base.run.path / "history.csv")
    assert base.oracle == (max(int(row["test_right"]) for row in history), base.scores.total)
    assert int(history[-1]["test_right"]) == base.scores.right
    assert outcome(tmp_path / "run")["split tensors"] == outcome(base.run.path)["split tensors"]


def test_a_part_that_is_trained_and_not_scored_keeps_its_model(cache, tmp_path):
    """As a kill between the last checkpoint and the result leaves it; the mean of weights is what is scored."""
    config = tiny_config(epochs=2, average=0.9)
    run = fit(cache, tmp_path / "run", config).run
    before = outcome(run.path)
    (run.part("split") / RESULT).unlink()
    run.reopen()
    again = fit(None, run.path, resume=True).run
    assert outcome(again.path)["split tensors"] == before["split tensors"]
    assert outcome(again.path)["predictions.csv"] == before["predictions.csv"]


def test_several_folds_and_seeds_are_parts_of_one_run(cache, tmp_path):
    watch = Recorder()
    config = tiny_config(epochs=2, seeds=(5, 6), protocol=ProtocolConfig(kind="kfold", folds=3))
    results = fit(cache, tmp_path / "run", config, watch=watch)
    names = [f"fold{fold}-seed{seed}" for seed in (5, 6) for fold in (1, 2, 3)]
    assert results.run.parts == [name for name, _ in watch.parts] == names
    assert results.run.complete
    rows = read_csv(tmp_path / "run" / "predictions.csv")
    assert len(rows) == 2 * 55, "each clip is tested once with each seed, the failed one too"
    assert results.scores.total == 55, "and is still one clip"
    assert results.scores.truth.sum() == sum(row.total for row in results.by_length) == 55
    assert results.answers[0].total == 2 * 51, "those that show a face"
    assert results.over_seeds["war"].number == 2
    assert results.over_folds["war"].number == 3
    reached = [
        np.mean([row["truth"] == row["prediction"] for row in rows if row["part"].endswith(f"seed{seed}")])
        for seed in (5, 6)
    ]
    assert results.over_seeds["war"].mean == pytest.approx(np.mean(reached)) == pytest.approx(results.scores.war)
    assert results.over_seeds["war"].sd == pytest.approx(np.std(reached, ddof=1))
    assert results.control.total == 55, "the control has no seed"
    one = fit(cache, tmp_path / "one", tiny_config(epochs=2, seeds=(6,), protocol=config.protocol))
    ours, theirs = outcome(results.run.path), outcome(one.run.path)
    # folds are dealt by the first seed: another first seed, other folds
    assert ours["folds"] != theirs["folds"]
    only = ProtocolConfig(kind="kfold", folds=3, only=("fold2",))
    alone = outcome(fit(cache, tmp_path / "alone", tiny_config(epochs=2, seeds=(5, 6), protocol=only)).run.path)
    assert alone["fold2-seed6 tensors"] == ours["fold2-seed6 tensors"]


def test_leave_one_subject_out_has_a_folder_for_each(tmp_path):
    names = ["Ä b/c", "..", "a:b", "A:B", "CON", "x" * 80]
    fields = {index: {"subject": names[index // 3 % 6]} for index in range(54)}
    cache = learning_cache(tmp_path / "c.zarr", fields=fields)
    results = fit(cache, tmp_path / "run", tiny_config(epochs=1, control=False, protocol=ProtocolConfig(kind="loso")))
    folders = sorted(path.name for path in (tmp_path / "run" / "parts").iterdir())
    assert len({name.casefold() for name in folders}) == 6
    assert all("/" not in name and name.strip(".") and len(name) < 100 for name in folders)
    assert {row["subject"] for row in read_csv(tmp_path / "run" / "predictions.csv")} == set(names)
    assert results.scores.total == 54


def test_it_runs_in_a_thread(cache, base, tmp_path):
    """Where no signal can be caught, as in a notebook's worker."""
    found = []
    thread = threading.Thread(target=lambda: found.append(fit(cache, tmp_path / "run", tiny_config())))
    thread.start()
    thread.join()
    assert outcome(found[0].run.path) == outcome(base.run.path)


@pytest.mark.parametrize(
    ("options", "settings", "words"),
    [
        ({"clips": 9}, {"batch": 9}, "split: 6 clips to learn from show a face, too few for a batch of 9"),
        ({"fields": {n: {"label": None} for n in range(54)}}, {}, "None of 54 clips has a label"),
        ({"fields": {n: {"label": "anger"} for n in range(54)}}, {}, "two classes"),
        (
            {"faceless": [n for n in range(54) if n % 3]},
            {},
            "split: all 12 clips to learn from that show a face are 'anger'",
        ),
        (
            {
                "faceless": [n for n in range(54) if n // 3 % 3 == 1],
                "fields": {n: {"split": "val"} for n in range(54) if n // 3 % 3 == 1},
            },
            {"select": "val"},
            "split: none of 18 clips to choose by shows a face",
        ),
        ({}, {"mirrored": True}, "no features of mirrored crops"),
        ({}, {"feature": "map"}, "asked for 'map'"),
        ({}, {"feature": "map", "mirrored": True}, "asked for 'map'"),
        ({}, {"model": EstConfig(**{**vars(TINY), "snippets": 3})}, "10 orders of 3 snippets"),
        ({}, {"model": EstConfig(**{**vars(TINY), "frames": 76})}, "--frames 75"),
        ({}, {"protocol": ProtocolConfig(only=("fold9",))}, "no fold 'fold9'"),
        ({}, {"graph": True}, "loop.graph records steps on a GPU"),
        ({}, {"device": "cuda:99"}, "cuda:99 was asked for"),
        ({}, {"tensorboard": True}, "pip install tensorboard"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_there_is_a_run(tmp_path, monkeypatch, options, settings, words):
    monkeypatch.setitem(__import__("sys").modules, "torch.utils.tensorboard", None)
    cache = learning_cache(tmp_path / "c.zarr", **options)
    with pytest.raises(EstError) as caught:
        fit(cache, tmp_path / "run", tiny_config(**settings))
    assert words in f"{caught.value.message} {caught.value.remedy}"
    assert not (tmp_path / "run").exists()


def test_a_class_that_a_fold_lacks_is_told_and_scored(tmp_path):
    fields = {n: {"label": "rare", "subject": "P9", "split": "test"} for n in (0, 1)}
    cache = learning_cache(tmp_path / "c.zarr", labels=LABELS, listed=(*LABELS, "rare"), fields=fields)
    watch = Recorder()
    results = fit(cache, tmp_path / "run", tiny_config(epochs=1), watch=watch)
    assert any("'rare'" in text and "learnt from" in text for text in watch.warned)
    assert results.run.labels == ("anger", "happiness", "rare", "surprise")
    assert results.scores.truth[2] == 2
    assert results.scores.hits[2] == results.control.hits[2] == 0


@pytest.mark.parametrize(("scaling", "words"), [(False, "--set data.scaling=true"), (True, "Another --lr")])
def test_what_has_learnt_nothing_is_told_what_to_try(cache, tmp_path, scaling, words):
    watch = Recorder()
    config = tiny_config(epochs=10, learning_rate=1e-9, scaling=scaling, control=False, eval_every=0)
    fit(cache, tmp_path / "run", config, watch=watch)
    (text,) = [text for text in watch.warned if "has learnt nothing" in text]
    assert words in text


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "data.scaling=true"),
        ({"scaling": True, "batch_norm": "frozen"}, "finetune.batch_norm=train"),
        ({"init": "run", "batch_norm": "frozen"}, "finetune.batch_norm=train"),
        ({"scaling": True, "batch_norm": "frozen", "rate": 0.0}, "--init"),
        ({"scaling": True}, "--init"),
        ({"init": "run"}, "--lr"),
    ],
)
def test_a_backbone_that_has_learnt_nothing_is_told_what_to_try(settings, words):
    assert words in hint(tuning_config("all", **settings))


def test_clips_without_a_face_are_wrong_and_named(base, cache, tmp_path):
    watch = Recorder()
    fit(cache, tmp_path / "run", tiny_config(epochs=1), watch=watch)
    (text,) = [text for text in watch.warned if "counted as wrong: " in text]
    assert text.startswith("counted as wrong: 4 clips of the test halves")
    assert text.endswith("clip006, clip007, clip008 and 1 more")
    assert base.unseen == ["clip006", "clip007", "clip008", "gone"]
    assert base.scores.unpredicted == 4
    assert base.scores.total == 19
    lines = {row["id"]: row for row in read_csv(base.run.path / "predictions.csv")}
    assert all(
        lines[name]["prediction"] == lines[name]["p_anger"] == lines[name]["control"] == "" for name in base.unseen
    )
    assert (lines["gone"]["frames"], lines["gone"]["coverage"]) == ("0", "0")
    assert (lines["clip006"]["coverage"], lines["clip006"]["frames"] > "0") == ("0", True)


def test_clips_to_learn_from_without_a_face_are_left_out_and_named(cache, tmp_path):
    watch = Recorder()
    cache = learning_cache(tmp_path / "c.zarr", faceless=(0, 1))
    fit(cache, tmp_path / "run", tiny_config(epochs=1), watch=watch)
    assert "left out, because no face is visible in 2 clips to learn from: clip000, clip001" in watch.said
    assert watch.results[0]["train_clips"] == 34


def test_frame_rates_of_the_halves_that_differ_are_warned_about(tmp_path):
    fields = {index: {"fps": 50.0} for index in range(54) if index // 3 % 3 == 2}  # those that are tested
    watch = Recorder()
    results = fit(
        learning_cache(tmp_path / "c.zarr", fields=fields), tmp_path / "run", tiny_config(epochs=1), watch=watch
    )
    assert any("25" in text and "50" in text and "frames a second" in text for text in watch.warned)
    assert results.run.facts["frame_rate"] == 25.0


def test_a_short_run_says_that_its_warm_up_is_shorter(cache, tmp_path):
    watch = Recorder()
    fit(cache, tmp_path / "run", tiny_config(epochs=2, warmup=10), watch=watch)
    assert any("warm-up: 1 of 2 epochs, and not 10" in text for text in watch.said)
    rates = [float(row["learning_rate"]) for row in read_csv(tmp_path / "run" / "history.csv")]
    assert rates == [3e-3, 3e-3]


def test_no_cache_is_a_users_error():
    with pytest.raises(UsageError, match="Which cache"):
        fit()


@pytest.mark.parametrize("line", [b'{"epoch" 1}', b'{"epoch": 1\xff}'])
def test_a_damaged_line_of_the_history_is_an_error(line, tmp_path):
    path = tmp_path / "history.jsonl"
    path.write_bytes(b'{"epoch": 0}\n' + line + b'\n{"epoch": 2')
    with pytest.raises(EstError, match=r"history\.jsonl cannot be read"):
        read_history(path)
    path.write_bytes(b'{"epoch": 0}\n{"epoch": 2')
    assert read_history(path) == [{"epoch": 0}]  # a kill cut the last line short
