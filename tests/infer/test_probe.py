"""`est probe` on models of which it is known what they look at: what is planted is found, and what is not used is not."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from finetune_samples import SMALL, cache_of, draw, tuned_run
from made_model import register
from planted import EXPRESSION, FRAMES, LABELS, LONG, MOMENTS, STILL, Timed, TimedConfig, planted_cache
from sklearn.metrics import roc_auc_score

from est.cache import open_cache
from est.errors import UsageError
from est.infer.probing import orders, probing
from est.infer.probing.evidence import agreement, clip_auc, frames_auc
from est.infer.probing.pairs import find_pairs, within_pairs
from est.infer.probing.probe import read_probe
from est.infer.probing.probing import probe_run
from est.infer.probing.resting import moments, resting_faces
from est.infer.probing.windows import LENGTH, evidence_share, in_windows, window_bounds
from est.train import fit
from est.train.models.fan.config import Config as FANConfig
from est.train.models.pooled.config import Config as PooledConfig
from est.train.results.predictions import Predictions

PAGE = Path(__file__).parents[2] / "docs" / "probe.md"
GENERATOR = torch.Generator


@pytest.fixture
def timed(monkeypatch):
    register(monkeypatch, Timed, TimedConfig)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return planted_cache(tmp_path_factory.mktemp("probe") / "cache.zarr")


def probed(cache, out, **settings):
    run = fit(cache, out, replace(STILL, model=TimedConfig(**settings))).run
    return probe_run(run)


@pytest.fixture
def measured(monkeypatch):
    """Collect what is measured of each part."""
    found = []

    def measure(*args, **kwargs):
        found.append(kept(*args, **kwargs))
        return found[-1]

    kept = probing.measure
    monkeypatch.setattr(probing, "measure", measure)
    return found


def test_a_model_that_uses_the_right_time(timed, cache, tmp_path):
    found = probed(cache, tmp_path / "run")
    war = {one.name: one.war for one in found.changes}
    assert found.war == 1
    assert war["reversed"] == war["halves exchanged"] == 0
    assert war["one frame"] == 0.5
    assert 0.3 < war["frames shuffled"] < 0.7
    assert found.index.value == pytest.approx(1 - war["frames shuffled"])
    assert found.index.low > 0
    assert found.planted == {"brief": 24, "held": 0, "without": 0}
    auc = {(one.kind, one.measure): one for one in found.agreements}
    assert set(auc) == {("brief", name) for name in ("deletion", "deletion_held", "insertion", "attention", "alpha")}
    for name in ("deletion", "insertion", "attention", "alpha"):
        assert auc["brief", name].auc == 1, name
        assert auc["brief", name].people == 6
    assert {(one.lost.units, one.lost.unit) for one in found.changes} == {(6, "people")}
    assert found.pairs[0].difference.units == 6
    assert not found.notes
    (model,) = found.pairs
    assert (model.pairs, model.share, model.clips) == (((LABELS[0], LABELS[1]),), 1, 24)


def test_a_model_that_ignores_order_loses_nothing_and_guesses(timed, cache, tmp_path):
    found = probed(cache, tmp_path / "run", blind=True)
    lost = {one.name: one.lost.value for one in found.changes}
    assert lost["reversed"] == lost["frames shuffled"] == lost["snippets shuffled"] == lost["halves exchanged"] == 0
    assert found.index.value == 0
    assert found.pairs[0].share == 0.5


def test_whether_a_frame_shows_a_face_goes_with_it(measured, tmp_path):
    cache = planted_cache(tmp_path / "cache.zarr", gap=slice(14, 38, 2))
    found = probe_run(fit(cache, tmp_path / "run", replace(STILL, model=PooledConfig(most_frames=70))).run)
    for name in ("reversed", "frames shuffled", "snippets shuffled", "halves exchanged"):
        assert next(one for one in found.changes if one.name == name).lost.value == 0
        for one in measured:
            np.testing.assert_allclose(one.truth[name], one.truth["unchanged"], atol=1e-5)


def test_places_that_a_clip_leaves_over_are_no_evidence(tmp_path):
    cache = planted_cache(tmp_path / "cache.zarr", long=30)
    found = []
    for most in (FRAMES, FRAMES + 25):
        config = FANConfig(most_frames=most)
        found.append(probe_run(fit(cache, tmp_path / str(most), replace(STILL, model=config)).run))
    same, more = ({tuple(row[:3]): dict(zip(one.header, row, strict=True)) for row in one.rows} for one in found)
    for clip, row in same.items():
        for name in ("auc alpha", "auc deletion", "auc deletion_held", "auc insertion"):
            assert float(more[clip][name]) == pytest.approx(float(row[name]), abs=2e-3), name
    alpha = [next(each.auc for each in one.agreements if each.measure == "alpha") for one in found]
    assert alpha[0] == pytest.approx(alpha[1], abs=1e-4)
    for arrays in found[1].arrays.values():
        assert (arrays["shown"] >= 0).sum(2).max() == FRAMES


def test_a_view_of_one_part_is_probed_alike(timed, cache, tmp_path):
    found = probed(cache, tmp_path / "run", parts=1, frames=75)
    war = {one.name: one.war for one in found.changes}
    assert (found.war, war["reversed"]) == (1, 0)
    assert 0.2 < war["snippets shuffled"] < 0.8
    assert next(one for one in found.agreements if one.measure == "deletion").auc == 1


def test_held_expressions_are_held_and_beside_them_stands_insertion(timed, tmp_path):
    cache = planted_cache(tmp_path / "cache.zarr", long=30)
    found = probed(cache, tmp_path / "run")
    assert found.planted["held"] == 24
    assert {one.kind for one in found.agreements} == {"held"}
    assert {"deletion", "insertion"} <= {one.measure for one in found.agreements}


def test_a_cache_without_planted_moments_is_probed_in_time_alone(timed, tmp_path):
    found = probed(planted_cache(tmp_path / "cache.zarr", told=()), tmp_path / "run")
    assert [one.name for one in found.changes][-1] == "window deleted"
    assert found.changes[0].lost.value == pytest.approx(0.5)
    assert not found.agreements
    (note,) = found.notes
    assert "No clip has a known onset and offset" in note
    assert "est cache relabel" in note


def test_the_apex_is_that_of_the_clips_whose_own_is_known(timed, measured, tmp_path):
    def told(number):
        if number < 2:
            return ()
        return ("apex",) if number < 8 else MOMENTS if number < 16 else ("onset", "offset")

    cache = planted_cache(tmp_path / "cache.zarr", told=told, faceless=(5,))
    found = probed(cache, tmp_path / "run", blind=True)
    apex = found.changes[-1]
    assert apex.name == "apex"
    assert "of the clips whose apex is known" in apex.text
    assert apex.war == pytest.approx(6 / 14), "all that show a face are taken for late: 6 of 7 late ones"
    rows = [dict(zip(found.header, row, strict=True)) for row in found.rows]
    assert {row["id"] for row in rows if row["right apex"] != ""} == {f"clip{n:03d}" for n in range(2, 16) if n != 5}
    assert found.planted == {"brief": 16, "held": 0, "without": 8}
    truth = np.concatenate([one.truth["apex"] for one in measured])
    known = np.array([row["right apex"] != "" for row in rows])
    assert (np.abs(truth[known] - 0.5) > 0.49).all(), "the frame at the apex shows the expression"


def test_whose_resting_face_is_unknown_is_said_of_all_parts(timed, tmp_path):
    def told(number):
        return () if number // 2 % 6 == 3 else MOMENTS

    found = probed(planted_cache(tmp_path / "cache.zarr", told=told), tmp_path / "run")
    assert found.notes == ("4 of 24 clips have no resting face of their person; the mean of all people is used",)


def test_clips_without_a_face_are_wrong_in_every_way(timed, tmp_path):
    found = probed(planted_cache(tmp_path / "cache.zarr", faceless=(0, 1)), tmp_path / "run")
    assert found.clips == 24
    assert found.war == pytest.approx(22 / 24)
    assert len(found.rows) == 22


def test_what_is_written_is_what_was_found_and_documented(timed, cache, tmp_path):
    found = probed(cache, tmp_path / "run")
    assert read_probe(found.run) is None
    folder = found.save()
    written = read_probe(found.run)
    assert written == json.loads(json.dumps(found.to_json()))
    page = PAGE.read_text(encoding="utf-8")
    documented = set(re.findall(r"^\| `([^`]+)` \|", page, re.MULTILINE))
    keys = {*written, *(f"changes[].{key}" for key in written["changes"][0] if key != "lost")}
    keys |= {f"agreement[].{key}" for key in written["agreement"][0]}
    keys |= {f"pairs[].{key}" for key in written["pairs"][0]}
    assert keys - {"changes", "agreement", "pairs"} <= documented, keys - documented
    with open(folder / "clips.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 24
    assert all(row["right unchanged"] == "1" and row["right reversed"] == "0" for row in rows)
    assert all(row["evidence"] == "brief" and float(row["auc deletion"]) == 1 for row in rows)
    ids = []
    for part in found.run.parts:
        with np.load(folder / f"{part}.npz") as arrays:
            assert set(arrays.files) <= documented
            ids += arrays["ids"].tolist()
            deleted = np.take_along_axis(arrays["windows"], np.nanargmax(arrays["deletion"], 1)[:, None, None], 1)[:, 0]
            onset, _, offset = arrays["moments"].T
            apart = (arrays["windows"][:, :, 1] <= onset[:, None]) | (arrays["windows"][:, :, 0] > offset[:, None])
            gained = arrays["insertion"][apart & np.isfinite(arrays["insertion"])]
            assert np.abs(gained).max() < 0.1, "nothing is gained beside a clip of resting faces"
            assert (np.minimum(deleted[:, 1], offset + 1) - np.maximum(deleted[:, 0], onset)).min() >= 0.5 * LONG
    assert sorted(ids) == sorted(row["id"] for row in rows)


@pytest.mark.parametrize("learns", ["all", "layer4"])
def test_a_run_with_an_encoder_of_its_own(tmp_path, learns):
    cache = cache_of(draw(tmp_path / "drawn", 8), tmp_path / "drawn.zarr")
    run = tuned_run(cache, tmp_path / "run", learns, epochs=1, model=replace(SMALL, snippets=2, frames=2, orders=1)).run
    found = probe_run(run)
    right = np.mean(Predictions.of_run(run).right)
    assert found.war == pytest.approx(right)
    assert {one.name for one in found.changes} >= {"one frame", "reversed", "frames shuffled", "window deleted"}
    assert not found.agreements


def test_moments_on_a_run_with_an_encoder_of_its_own_are_said_to_be_left_out(tmp_path):
    listed = draw(tmp_path / "drawn", 8)
    lines = listed.read_text().splitlines()
    listed.write_text("\n".join([lines[0] + ",onset,apex,offset", *(line + ",1,2,3" for line in lines[1:])]) + "\n")
    cache = cache_of(listed, tmp_path / "drawn.zarr")
    run = tuned_run(
        cache, tmp_path / "run", "layer4", epochs=1, model=replace(SMALL, snippets=2, frames=2, orders=1)
    ).run
    found = probe_run(run, windows=False)
    assert any("run's own encoder" in note for note in found.notes)
    assert "apex" in {one.name for one in found.changes}
    assert "window deleted" not in {one.name for one in found.changes}


def test_orders_are_orders_of_the_places_that_a_clip_fills():
    valid = torch.arange(12) < torch.tensor([[12], [7], [1]])
    generator = GENERATOR().manual_seed(1)
    places = torch.arange(12).expand(3, 12)
    for change in (orders.backwards, orders.frames_shuffled, orders.parts_shuffled, orders.halves_exchanged):
        for parts in (1, 4):
            order = change(valid, parts, generator)
            assert (order.sort(1).values == places).all(), change.__name__
            assert (order[~valid] == places[~valid]).all(), change.__name__
    assert orders.backwards(valid, 1, generator)[1, :7].tolist() == [6, 5, 4, 3, 2, 1, 0]
    assert orders.halves_exchanged(valid, 1, generator)[1, :7].tolist() == [4, 5, 6, 0, 1, 2, 3]
    assert orders.one_frame(valid, 1, generator)[1].tolist() == [3] * 7 + [7, 8, 9, 10, 11]
    shuffled = orders.parts_shuffled(valid, 4, generator)[0].view(4, 3)
    assert (shuffled % 3 == torch.arange(3)).all()


def test_a_hidden_window_holds_the_frame_before_it():
    position = torch.tensor([[0, 4, 8, 12, 6], [10, 11, 12, 13, 14], [5, 5, 5, 5, 5]])
    start, stop = torch.tensor([6, 0, 0]), torch.tensor([10, 12, 9])
    hidden = (start[:, None] <= position) & (position < stop[:, None])
    valid = torch.ones_like(hidden)
    order, possible = orders.held(position, valid, hidden, start, stop)
    assert order[:2].tolist() == [[0, 1, 1, 3, 1], [2, 2, 2, 3, 4]]
    assert possible.tolist() == [True, True, False]
    position = torch.arange(6)[None]
    valid = position < 3
    order, possible = orders.held(position, valid, valid, torch.tensor([0]), torch.tensor([3]))
    assert not possible.item(), "places that a clip leaves over hold nothing"


def test_windows_are_fifteen_in_a_hundred_and_cover_the_clip():
    for count in (20, 60, 105, 999):
        bounds = window_bounds(np.array([count]))[0]
        assert (bounds[0, 0], bounds[-1, 1]) == (0, count)
        assert np.abs(np.diff(bounds, axis=1)[:, 0] - LENGTH * count).max() <= 1
        position = np.arange(count)[None]
        assert in_windows(position, np.ones((1, count), bool), bounds[None]).any(1).all()


def test_evidence_is_a_window_that_holds_it_or_lies_in_it():
    inside = np.array([[[1, 1, 1, 1, 0, 0], [0, 0, 1, 1, 0, 0], [0, 0, 0, 0, 1, 1], [0] * 6]], bool)
    brief, held = np.array([[0, 0, 1, 1, 0, 0]], bool), np.array([[1, 1, 1, 1, 1, 0]], bool)
    np.testing.assert_array_equal(evidence_share(inside, brief), [[1, 1, 0, np.nan]])
    np.testing.assert_array_equal(evidence_share(inside, held), [[1, 1, 0.5, np.nan]])


def test_the_auc_of_a_clip_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    value, share = rng.integers(0, 6, (40, 9)).astype(float), rng.choice([0.0, 0.3, 1.0], (40, 9))
    value[:, 0] = np.nan
    found = clip_auc(value, share)
    for row in range(40):
        used = np.isfinite(value[row]) & (share[row] != 0.3)
        truth = share[row, used] == 1
        if truth.all() or not truth.any():
            assert np.isnan(found[row])
        else:
            assert found[row] == pytest.approx(roc_auc_score(truth, value[row, used]))
    assert np.isfinite(found).sum() > 30


def test_frames_are_compared_within_their_snippets():
    value = np.array([[[1.0, 9.0], [5.0, 4.0], [7.0, 8.0]]])
    planted = np.array([[[False, True], [False, True], [True, True]]])
    assert frames_auc(value, planted)[0] == 0.5
    assert np.isnan(frames_auc(value, np.zeros_like(planted))[0])


def test_resting_faces_are_of_the_person_outside_of_the_expression(cache):
    opened = open_cache(cache)
    faces, strangers = resting_faces(opened, "gap", ["P1", "nobody"])
    assert strangers.tolist() == [False, True]
    told = moments(opened, opened.ids)
    rows = [
        np.delete(clip.features["gap"].astype(float), np.arange(onset, offset + 1), 0)
        for clip, (onset, _, offset) in zip(opened.iterate(["gap"]), told, strict=True)
        if opened.clips.subject[opened.ids.index(clip.id)] == "P1"
    ]
    np.testing.assert_allclose(faces[0], np.concatenate(rows).mean(0), rtol=1e-3, atol=1e-3)
    assert abs(faces[0, EXPRESSION]) < 0.1
    assert len(rows[0]) == FRAMES - LONG


def test_resting_faces_are_of_frames_with_a_face(tmp_path):
    opened = open_cache(planted_cache(tmp_path / "cache.zarr", gap=slice(0, 9)))
    faces, _ = resting_faces(opened, "gap", ["P1"])
    told = moments(opened, opened.ids)
    rows = [
        np.delete(clip.features["gap"].astype(float), [*range(9), *range(onset, offset + 1)], 0)
        for clip, (onset, _, offset) in zip(opened.iterate(["gap"]), told, strict=True)
        if opened.clips.subject[opened.ids.index(clip.id)] == "P1"
    ]
    np.testing.assert_allclose(faces[0], np.concatenate(rows).mean(0), rtol=1e-3, atol=1e-3)


def test_agreement_counts_clips_that_are_recognised():
    auc = {"deletion": np.array([[1.0, 0.0, 0.5], [0.6, 0.2, np.nan]])}
    right = np.array([[1.0, 0.0, 1.0], [1.0, 0.0, 0.0]])
    (one,) = probing._agreements(auc, right, np.array(["brief"] * 3), np.array(["a", "b", "c"]))
    assert (one.clips, one.people, one.auc) == (2, 2, pytest.approx((0.8 + 0.5) / 2))


def test_the_interval_of_agreement_is_over_people():
    auc, people = np.repeat(np.linspace(0.5, 1, 6), 10), np.repeat(list("abcdef"), 10)
    chosen = np.ones(60, bool)
    found = agreement("deletion", "brief", auc, people, chosen)
    once = agreement("deletion", "brief", auc[::10], people[::10], chosen[::10])
    clips = agreement("deletion", "brief", auc, np.arange(60).astype(str), chosen)
    assert (found.people, found.clips, clips.people) == (6, 60, 60)
    wide, narrow = found.high - found.low, clips.high - clips.low
    assert wide > 1.5 * narrow
    assert once.auc == pytest.approx(found.auc)


def test_pairs_by_their_names_and_by_hand():
    labels = ("a-then-b", "b-then-a", "c", "d", "e-then-f")
    assert find_pairs(labels, ()) == (("a-then-b", "b-then-a"),)
    assert find_pairs(labels, [("d", "c")]) == (("a-then-b", "b-then-a"), ("c", "d"))
    with pytest.raises(UsageError, match="no class 'x'"):
        find_pairs(labels, [("c", "x")])
    with pytest.raises(UsageError, match="in two"):
        find_pairs(labels, [("d", "c"), ("c", "e-then-f")])
    predictions = Predictions(
        labels=("a", "b", "c"),
        seeds=(1,),
        ids=np.array(list("pqrstu")),
        subjects=np.array(list("xxyyzz")),
        folds=np.array(["fold1"] * 6),
        truth=np.array([0, 0, 1, 1, 1, 2]),
        predicted=np.array([[0, 1, 1, 2, 1, 2]]),
    )
    (found,) = within_pairs(predictions, (("a", "b"),), "people")
    assert (found.clips, found.pair_right, found.right) == (5, 4, 3)
