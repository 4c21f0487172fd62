"""What weights have learnt from: a record that a cache keeps whatever becomes of its clips, and that every copy carries."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from cache_samples import LABELS, SMALL, contents, make_clip, make_failure, sample_recipes, stored_files
from hypothesis import given
from hypothesis import strategies as st

from est.cache import CacheWriter, Recipes, convert_cache, merge_caches, open_cache, verify_cache
from est.cache.stores.disk import Disk
from est.cache.stores.snapshot import read_manifest
from est.cache.trained import TrainedOn
from est.cache.writing.creation import root_file
from est.cli import main
from est.errors import CacheDamaged, CacheError, RecipeMismatch, UsageError

names = st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8), max_size=5).map(tuple)
records = st.builds(
    TrainedOn,
    clips=names,
    digests=names,
    subjects=names,
    folds=names,
    how=st.sampled_from(["", "est train --finetune all", "est train --finetune layer4"]),
)


def record_of(*indices, **fields):
    """Return the record of weights that have learnt from sample clips."""
    clips = [make_clip(index) for index in indices]
    known = {
        "clips": tuple(clip.id for clip in clips),
        "digests": tuple(clip.source.digest.hex() for clip in clips),
        "subjects": tuple(clip.subject for clip in clips),
        "folds": ("fold1",),
        "how": "est train --finetune layer4",
    }
    return TrainedOn(**{**known, **fields})


def tuned_recipes(record, features=("gap",), tuned=None, **frames):
    """Return recipes of features whose weights have learnt from a record: all, or those named."""
    made = sample_recipes(features, **frames)
    named = {
        name: replace(recipe, trained_on=record.fingerprint) if tuned is None or name in tuned else recipe
        for name, recipe in made.features.items()
    }
    return Recipes(frames=made.frames, features=named)


def tuned_cache(path, record, indices=range(6), *, features=("gap",), failures=(), **settings):
    recipes = tuned_recipes(record, features)
    with CacheWriter.open(path, recipes, labels=LABELS, layout=SMALL, trained_on=[record], **settings) as writer:
        for index in indices:
            writer.add(make_clip(index, features=features))
        for index in failures:
            writer.fail(make_failure(index))
    return path


@given(records, records, records)
def test_a_record_is_its_content(one, two, three):
    again = TrainedOn.from_json(json.loads(json.dumps(one.to_json())))
    assert again == one
    assert again.fingerprint == one.fingerprint
    assert (one.fingerprint == two.fingerprint) == (one == two)
    shuffled = replace(one, clips=(*reversed(one.clips), *one.clips))
    assert shuffled == one, "neither the order nor repeats count"
    assert one.merged(one) == one
    assert one.merged(two) == two.merged(one)
    assert one.merged(two).merged(three) == one.merged(two.merged(three))
    assert set(one.merged(two).clips) == {*one.clips, *two.clips}


@pytest.mark.parametrize(
    "data",
    [
        {},
        [],
        {"clips": "abc", "digests": [], "subjects": [], "folds": [], "how": ""},
        {"clips": [1], "digests": [], "subjects": [], "folds": [], "how": ""},
        {"clips": [], "digests": [], "subjects": [], "folds": [], "how": None},
        {"clips": [], "digests": [], "subjects": [], "folds": []},
    ],
)
def test_what_is_no_record_is_refused(data):
    with pytest.raises(TypeError):
        TrainedOn.from_json(data)


def test_a_record_says_what_it_is():
    assert record_of(1, 2, 5).describe() == "learnt from 3 clips of 2 subjects, fold1 (est train --finetune layer4)"
    assert TrainedOn(clips=("a",)).describe() == "learnt from 1 clip"


def test_clips_are_known_by_id_and_else_by_their_sources_content():
    record = TrainedOn(clips=("a", "film#1-2"), digests=("d1", "d2"))
    rows = {
        "a": ("", (0, 9)),
        "copy of a": ("d1", (0, 9)),
        "film#1-2": ("d2", (30, 60)),
        "film#1.5-3": ("d2", (45, 90)),  # shares frames with it
        "film#4-5": ("d2", (120, 150)),
        "other": ("d3", (0, 9)),
        "unknown": ("", (0, 9)),
    }
    by_id, by_content = record.seen(
        list(rows), [digest for digest, _ in rows.values()], np.array([s for _, s in rows.values()])
    )
    assert dict(zip(rows, by_id.tolist(), strict=True)) == {name: name in ("a", "film#1-2") for name in rows}
    assert dict(zip(rows, by_content.tolist(), strict=True)) == {
        name: name in ("copy of a", "film#1.5-3") for name in rows
    }
    empty = TrainedOn(clips=())
    assert not np.concatenate(empty.seen(["a"], [""], np.zeros((1, 2)))).any()


def test_a_cache_keeps_the_record(cache_path):
    record = record_of(1, 2)
    tuned_cache(cache_path, record, features=("gap", "map"))
    cache = open_cache(cache_path)
    assert cache.trained_on("gap") == cache.trained_on("map") == record
    assert cache.recipes.features["gap"].trained_on == record.fingerprint
    with pytest.raises(UsageError, match="asked for 'late'"):
        cache.trained_on("late")
    assert verify_cache(cache_path).problems == []


def test_features_of_weights_that_have_seen_no_labels_have_none(cache_path, make_cache):
    make_cache(cache_path, range(3))
    assert open_cache(cache_path).trained_on("gap") is None
    assert verify_cache(cache_path).trained_on == {}


def test_a_recipe_without_its_record_is_not_written(cache_path):
    record = record_of(1, 2)
    with pytest.raises(CacheError, match="no such record was given"):
        CacheWriter.open(cache_path, tuned_recipes(record), trained_on=[record_of(3)])
    assert not cache_path.exists()


def test_the_record_survives_sessions_and_the_removal_of_its_clips(cache_path):
    record = record_of(1, 2)
    tuned_cache(cache_path, record)
    with CacheWriter.open(cache_path) as writer:
        writer.remove([make_clip(1).id, make_clip(2).id])
        writer.add(make_clip(8))
    assert open_cache(cache_path).trained_on("gap") == record
    with CacheWriter.open(cache_path, tuned_recipes(record), trained_on=[record]) as writer:
        writer.add(make_clip(9))
    assert open_cache(cache_path).trained_on("gap") == record
    assert len(open_cache(cache_path)) == 6


def test_a_feature_that_is_added_brings_its_record(cache_path, make_cache):
    """Killed half-way, and gone on with: the record is there with the first rows, and readers see it with the feature."""
    make_cache(cache_path, range(5))
    record = record_of(0, 3)
    recipes = tuned_recipes(record, ("gap", "map"), tuned=("map",))

    def fill(writer, clips):
        filler = writer.fill("map", writer.missing_features["map"])
        for _ in range(clips):
            index = int(filler.next_clip[-3:])
            clip = make_clip(index, features=("gap", "map"))
            filler.add(clip.id, clip.features["map"], clip.state)

    with CacheWriter.open(cache_path, recipes) as writer, pytest.raises(CacheError, match="no such record"):
        fill(writer, 1)
    with CacheWriter.open(cache_path, recipes, trained_on=[record]) as writer:
        fill(writer, 3)
    assert open_cache(cache_path).features == ["gap"]
    assert verify_cache(cache_path).problems == []
    with CacheWriter.open(cache_path, recipes) as writer:
        fill(writer, 2)
    cache = open_cache(cache_path)
    assert cache.trained_on("gap") is None
    assert cache.trained_on("map") == record
    assert verify_cache(cache_path).trained_on == {"map": record.describe()}


@pytest.mark.parametrize("suffix", [".zarr", ".h5"])
def test_converting_carries_the_record(cache_path, tmp_path, suffix):
    record = record_of(1, 2)
    tuned_cache(cache_path, record, features=("gap", "map"))
    out = convert_cache(cache_path, tmp_path / f"out{suffix}", features=["gap"], dtype="float32")
    assert open_cache(out).trained_on("gap") == record
    back = convert_cache(out, tmp_path / f"back{cache_path.suffix}", dtype="float16")
    once = tuned_cache(tmp_path / f"once{cache_path.suffix}", record)
    assert contents(back) == contents(once)
    assert stored_files(back) == stored_files(once)


def test_converting_leaves_a_record_behind_with_its_feature(tmp_path, store):
    record = record_of(1)
    recipes = tuned_recipes(record, ("gap", "map"), tuned=("map",))
    with CacheWriter.open(tmp_path / "both.zarr", recipes, trained_on=[record]) as writer:
        writer.add(make_clip(2, features=("gap", "map")))
    convert_cache(tmp_path / "both.zarr", tmp_path / f"gap{store}", features=["gap"])
    assert open_cache(tmp_path / f"gap{store}").snapshot.manifest.trained_on == {}


def test_a_shared_cache_knows_its_own_clips_by_their_new_names(tmp_path, store):
    """By id and by content; who else was learnt from, whose digests, subjects and folds, is told by hashes alone."""
    twin = make_clip(7, id="twin", source=make_clip(2).source, first_frame=0)
    record = record_of(0, 2, 30, folds=("S2",))
    tuned_cache(tmp_path / "named.zarr", record, [3, 0, 4, 2], failures=[30])
    with CacheWriter.open(tmp_path / "named.zarr") as writer:
        writer.add(twin)
        writer.remove([make_clip(3).id])
    out = convert_cache(tmp_path / "named.zarr", tmp_path / f"shared{store}", share=True, seed=7)
    cache = open_cache(out)
    shared = cache.trained_on("gap")
    assert cache.ids == [f"clip{number:06d}" for number in range(4)]
    order = np.random.default_rng(7).permutation(4).tolist()  # of 0, 4, 2 and the twin; 4 was not learnt from
    seen = tuple(f"clip{number:06d}" for number in range(4) if order[number] != 1)
    assert shared.clips[:3] == seen
    assert all(entry.startswith("sha256:") for entry in (*shared.clips[3:], *shared.digests))
    assert (len(shared.clips), shared.folds, shared.how) == (4, (), record.how)
    assert shared.knows_clips([make_clip(30).id, make_clip(31).id]).tolist() == [True, False]
    known = shared.knows_subjects(
        cache.clips.subject
    )  # under their new names: all but the twin's, which the record does not name
    assert known.tolist() == [place != 3 for place in order]
    assert not shared.knows_subjects([make_clip(0).subject, ""]).any()
    spans, nowhere = np.array([[0, 5]]), ["elsewhere"]
    assert shared.seen(nowhere, [next(iter(record.digests))], spans)[1].all()
    assert not shared.seen(nowhere, ["00" * 16], spans)[1].any()
    assert cache.recipes.features["gap"].trained_on == shared.fingerprint
    assert verify_cache(out).problems == []
    stored = json.dumps(cache.snapshot.manifest.attributes())
    for secret in (*record.clips, *record.digests, *record.subjects, record.fingerprint):
        assert secret not in stored, secret


def test_merging_carries_the_record(tmp_path, store):
    record = record_of(1, 2)
    parts = [tuned_cache(tmp_path / "a.zarr", record, range(3)), tuned_cache(tmp_path / "b.h5", record, range(3, 6))]
    merge_caches(parts, tmp_path / f"all{store}")
    assert contents(tmp_path / f"all{store}") == contents(tuned_cache(tmp_path / f"once{store}", record))
    assert open_cache(tmp_path / f"all{store}").trained_on("gap") == record


def test_merging_what_learnt_from_different_clips_is_refused_or_adds_them_up(tmp_path, store, make_cache):
    one, two = record_of(1, 2), record_of(2, 3, how="est train --finetune all")
    parts = [
        make_cache(tmp_path / "none.zarr", range(2)),
        tuned_cache(tmp_path / "one.zarr", one, range(2, 4)),
        tuned_cache(tmp_path / "two.h5", two, range(4, 6)),
    ]
    out = tmp_path / f"all{store}"
    with pytest.raises(RecipeMismatch, match=r"gap\.trained_on: nothing here, "):
        merge_caches(parts, out)
    merge_caches(parts, out, allow=["gap.trained_on"])
    cache = open_cache(out)
    assert cache.trained_on("gap") == one.merged(two)
    assert cache.trained_on("gap").how == "est train --finetune all; est train --finetune layer4"
    assert cache.recipes.features["gap"].trained_on == one.merged(two).fingerprint
    assert verify_cache(out).problems == []


def test_a_record_of_many_clips(cache_path):
    """More than the 64 kB that HDF5 keeps of an attribute where it likes to."""
    many = TrainedOn(
        clips=tuple(f"a set of clips/with ü/{n:06d}" for n in range(20_000)), digests=tuple(map(str, range(20_000)))
    )
    tuned_cache(cache_path, many)
    assert open_cache(cache_path).trained_on("gap") == many
    assert verify_cache(cache_path).problems == []


def rewritten(path, **changes):
    """Give a Zarr cache other attributes, as a faulty program would: their checksum is right."""
    manifest = replace(read_manifest(path), **changes)
    Disk().write(*root_file(path, manifest))


def test_a_record_that_is_gone_is_damage(tmp_path, est):
    record = record_of(1, 2)
    path = tuned_cache(tmp_path / "cache.zarr", record)
    rewritten(path, trained_on={})
    cache = open_cache(path)
    with pytest.raises(CacheDamaged, match=f"the record {record.fingerprint} of what the weights of 'gap'"):
        cache.trained_on("gap")
    (problem,) = verify_cache(path).problems
    assert record.fingerprint in problem.what
    assert problem.clip == ""
    for copy in (lambda out: convert_cache(path, out), lambda out: merge_caches([path], out)):
        with pytest.raises(CacheDamaged, match=record.fingerprint):
            copy(tmp_path / "copy.zarr")
        assert not (tmp_path / "copy.zarr").exists()
    status, text, _ = est("cache", "verify", path)
    assert status == 1
    assert record.fingerprint in text


@pytest.mark.parametrize("change", ["another clip", "no record"])
def test_a_record_that_is_not_its_fingerprint_is_damage(tmp_path, change):
    record = record_of(1, 2)
    path = tuned_cache(tmp_path / "cache.zarr", record)
    if change == "another clip":
        rewritten(path, trained_on={record.fingerprint: record_of(1)})
    else:
        odd = TrainedOn(clips=())
        object.__setattr__(odd, "clips", "abc")  # a text, and no list
        rewritten(path, trained_on={record.fingerprint: odd})
    with pytest.raises(CacheDamaged, match=r"have learnt from does not match its checksum|missing or misspelt"):
        open_cache(path)


def test_info_and_verify_show_it(cache_path, est):
    tuned_cache(cache_path, record_of(1, 2), features=("gap", "map"))
    said = "learnt from 2 clips of 2 subjects, fold1 (est train --finetune layer4)"
    assert f"gap: {said}\nmap: {said}" in est("cache", "verify", cache_path)[1]
    assert est("cache", "info", cache_path)[1].count(said) == 2
    for command in ("info", "verify"):
        *_, result = est("cache", command, cache_path, "--json")[1].splitlines()
        assert json.loads(result)["trained_on"] == {"gap": said, "map": said}


@pytest.fixture
def est(capsys):
    """Run `est` in this process; return its status and what it printed."""

    def run(*arguments):
        with pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in arguments])
        return stop.value.code, *capsys.readouterr()

    return run


def test_an_array_that_is_named_after_a_person_is_not_shared(tmp_path):
    recipes = sample_recipes(("gap",))
    named = replace(recipes.features["gap"], fold="Anna_B")
    made = Recipes(frames=recipes.frames, features={**recipes.features, "gap_Anna_B": named})
    with CacheWriter.open(tmp_path / "c.zarr", made, labels=LABELS, layout=SMALL) as writer:
        clip = make_clip(3, subject="Anna B")
        writer.add(replace(clip, features=dict.fromkeys(made.features, clip.features["gap"])))
    with pytest.raises(UsageError, match="gap_Anna_B is named after one") as refused:
        convert_cache(tmp_path / "c.zarr", tmp_path / "shared.zarr", share=True)
    assert refused.value.remedy == "--features gap"
    shared = convert_cache(tmp_path / "c.zarr", tmp_path / "shared.zarr", share=True, features=["gap"])
    assert open_cache(shared).features == ["gap"]
