"""Permuted labels: they change places within people, the same in every fold, and never where they are tested."""

from __future__ import annotations

import numpy as np
import pytest
from train_samples import learning_cache, tiny_config

from est.sweep.audit.permutation import changed_share, permute_rows, permuted
from est.train import ProtocolConfig, prepare
from est.train.folds.annotations import Annotations


def table_of(people: list[str], labels: list[str | None], **columns) -> Annotations:
    """Return annotations of so many clips."""
    ids = [f"clip{number:03d}" for number in range(len(people))]
    return Annotations.from_columns(ids=ids, label=labels, subject=people, **columns)


def taught(table: Annotations, *, seed: int = 1, number: int = 1, rows: np.ndarray | None = None) -> np.ndarray:
    """Return the labels that a permutation teaches."""
    rows = np.arange(len(table)) if rows is None else rows
    return table.label[permute_rows(table, rows, seed=seed, number=number)]


def test_labels_stay_within_people():
    rng = np.random.default_rng(0)
    people = [f"P{number}" for number in rng.integers(0, 7, 120)]
    table = table_of(people, [("a", "b", "c")[number] for number in rng.integers(0, 3, 120)])
    found = taught(table)
    for person in set(people):
        own = table.subject == person
        assert sorted(found[own]) == sorted(table.label[own])
    assert (found != table.label).mean() > 0.4
    assert (taught(table) == found).all()
    assert (taught(table, number=2) != found).any()
    assert (taught(table, seed=2) != found).any()


def test_the_order_of_the_cache_does_not_matter():
    people, labels = ["P", "P", "P", "Q", "Q", "Q", "", "", ""], ["a", "b", "c"] * 3
    table = table_of(people, labels)
    order = np.random.default_rng(3).permutation(len(table))
    other = Annotations.from_columns(
        ids=table.ids[order].tolist(), label=[labels[n] for n in order], subject=[people[n] for n in order]
    )
    assert (taught(other) == taught(table)[order]).all()


def test_people_with_one_class_exchange_it_as_a_whole():
    people = [f"P{number // 4}" for number in range(40)]
    table = table_of(people, [("a", "b")[number // 4 % 2] for number in range(40)])
    found = [taught(table, number=number) for number in range(20)]
    for one in found:
        by_person = one.reshape(10, 4)
        assert (by_person == by_person[:, :1]).all()
        assert by_person[:, 0].sum() == 5
    assert any((one != table.label).any() for one in found)


def test_clips_without_a_person_change_places_among_themselves():
    table = table_of([""] * 30 + ["P"] * 4, ["a", "b", "c"] * 10 + ["d", "d", "e", "e"])
    found = taught(table)
    assert sorted(found[:30]) == sorted(table.label[:30])
    assert sorted(found[30:]) == sorted(table.label[30:])
    assert (found[:30] != table.label[:30]).any()


def test_what_has_no_frames_or_is_not_used_keeps_its_label():
    table = table_of(["P"] * 12, ["a", "b", "c"] * 4, missing=[number in (0, 5) for number in range(12)])
    for number in range(10):
        teacher = permute_rows(table, np.arange(10), seed=1, number=number)
        kept = [0, 5, 10, 11]
        assert (teacher[kept] == kept).all()
        assert sorted(teacher) == list(range(12))


def test_the_share_of_changed_labels():
    table = table_of(["P", "P", "Q", "Q"], ["a", "b", "a", "a"])
    assert changed_share(table, np.arange(4), np.array([1, 0, 2, 3])) == 0.5
    assert changed_share(table, np.arange(4), np.arange(4)) == 0.0


@pytest.mark.parametrize("by", ["subject", "clip"])
def test_folds_learn_from_permuted_labels_and_test_true_ones(tmp_path, by):
    cache = learning_cache(tmp_path / "cache.zarr", 36, failures=[("gone", "anger", "P0", "train")])
    protocol = ProtocolConfig(kind="kfold", folds=3, by=by)
    ready = prepare(cache, tiny_config(protocol=protocol, select="val", control=False, seeds=(1, 2)))
    table = ready.data.table
    teacher = permute_rows(table, np.arange(len(table)), seed=1, number=1)
    other = permuted(ready, teacher, 1, 2)
    assert other.config.seeds == (2,)
    assert "permuted" in other.plan.notes[0]
    for fold in ready.plan.folds:
        true, data = ready.fold_data.of(fold.name), other.fold_data.of(fold.name)
        learnt = np.concatenate([fold.train, fold.val])
        assert (data.truth[learnt] == true.truth[teacher[learnt]]).all()
        assert (data.truth[learnt] != true.truth[learnt]).any()
        assert (data.truth[fold.test] == true.truth[fold.test]).all()
        shown = learnt[data.place[learnt] >= 0]
        assert (data.target.numpy()[data.place[shown]] == data.truth[shown]).all()
        assert data.clips is true.clips


def test_a_classifier_reaches_chance_on_permuted_labels_and_more_on_true_ones(tmp_path):
    """The nearest class mean of pooled statistics, over many permutations."""
    cache = learning_cache(tmp_path / "cache.zarr", 90, subjects=10, strength=0.7)
    ready = prepare(cache, tiny_config(protocol=ProtocolConfig(kind="kfold", folds=3), seeds=(1,)))
    table = ready.data.table

    def accuracy(data_of):
        right = []
        for fold in ready.plan.folds:
            data = data_of(fold.name)
            rows, learnt = data.control[data.place], data.truth[fold.train]
            means = np.stack([rows[fold.train][learnt == code].mean(axis=0) for code in range(3)])
            distance = ((rows[fold.test][:, None] - means) ** 2).sum(axis=2)
            right.append(distance.argmin(axis=1) == data.truth[fold.test])
        return np.concatenate(right).mean()

    permutations = [permute_rows(table, np.arange(len(table)), seed=1, number=number) for number in range(60)]
    reached = [accuracy(permuted(ready, teacher, 1, 1).fold_data.of) for teacher in permutations]
    assert accuracy(ready.fold_data.of) > 0.8
    assert abs(np.mean(reached) - 1 / 3) < 0.06
