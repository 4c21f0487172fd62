"""The same video in both halves of a fold, under another name or subject, is refused, or allowed and said in every table."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from train_samples import LABELS, Recorder, learning_clip, learning_recipes, tiny_config, without_digests

from est.cache import CacheWriter, Source, convert_cache, open_cache
from est.errors import EstError
from est.train import ProtocolConfig, evaluate, fit, prepare
from est.train.folds.annotations import Annotations
from est.train.folds.fold import Fold
from est.train.folds.leaks import Leak, describe_leaks, leaks_of
from est.train.folds.protocols import plan_folds
from est.train.results.pages.summary import headline
from est.train.runs.files import read_json

LOSO = ProtocolConfig(kind="loso")
HOLDOUT = ProtocolConfig(kind="holdout")
SPLIT = ProtocolConfig(kind="split")
CLIPS = 36  # of six people; those of P2 and P5 are the test split
TOLD = "show the same frames of the same video as clips that are learnt from"


def source(number):
    """Return the source of clip `number`, whose content is its own."""
    return Source(num_bytes=1000 + number, mtime_ns=1, digest=bytes([number + 1] * 16))


def cache_of(path, *, indices=range(CLIPS), known=True, **special):
    """Write sample clips; keywords are fields of clips, by `clipNNN`."""
    with CacheWriter.open(path, learning_recipes(), labels=LABELS) as writer:
        for index in indices:
            fields = {"source": source(index) if known else Source(), **special.get(f"clip{index:03d}", {})}
            writer.add(learning_clip(index, **fields))
    return path


def with_copy(path, **fields):
    """Write clips of which the first, P0's, is there again as clip 6, P2's, under a name of its own."""
    copy = {"id": "b/y", "path": "/videos/b/y.mp4", "source": source(0), "frames": 40, **fields}
    return cache_of(path, clip000={"id": "a/x", "path": "/videos/a/x.mp4", "frames": 40}, clip006=copy)


def refused(cache, config):
    with pytest.raises(EstError) as caught:
        prepare(cache, config)
    assert "--allow-leak" in caught.value.remedy
    return caught.value


def leaks(cache, config):
    return prepare(cache, tiny_config(allow_leak=True, protocol=config)).leaks


def test_the_same_video_of_two_subjects_is_refused(tmp_path):
    cache = with_copy(tmp_path / "c.zarr")
    error = refused(cache, tiny_config(protocol=LOSO))
    assert error.message == f"2 of 12 test clips of P0, P2 {TOLD}: a/x = b/y."  # each is tested in its turn
    assert f"est cache duplicates {cache} shows them all" in error.remedy
    assert "est cache drop" in error.remedy
    assert "est cache relabel" in error.remedy
    assert "--fold" not in error.remedy
    error = refused(cache, tiny_config(protocol=SPLIT))
    assert error.message == f"1 of 12 test clips of split {TOLD}: b/y = a/x."


def test_a_holdout_and_its_validation_half(tmp_path):
    """Every half in which the copy may fall: test against what is learnt from or chosen by, validation against what is learnt from."""
    plan = plan_folds(
        Annotations.from_cache(open_cache(cache_of(tmp_path / "plain.zarr"))), HOLDOUT, seed=1, validation=True
    )
    (fold,) = plan.folds
    for half, rows, words in (
        (
            "test",
            fold.train,
            "test clips of holdout show the same frames of the same video as clips that are learnt from or chosen by",
        ),
        ("test", fold.val, "test clips of holdout show"),
        ("val", fold.train, f"val clips of holdout {TOLD}"),
    ):
        one, other = int(rows[0]), int(getattr(fold, half)[-1])
        same = {f"clip{row:03d}": {"source": source(one), "frames": 40} for row in (one, other)}
        cache = cache_of(tmp_path / f"{one}-{other}.zarr", **same)
        error = refused(cache, tiny_config(protocol=HOLDOUT, select="val", seeds=(1,)))
        assert words in error.message
        assert f"clip{other:03d} = clip{one:03d}" in error.message
        assert ("--select last" in error.remedy) == (half == "val")
        if half == "val":
            assert prepare(cache, tiny_config(protocol=HOLDOUT, select="last", seeds=(1,))).leaks == ()


def test_copies_in_one_half_are_nobodys_leak(tmp_path):
    cache = with_copy(tmp_path / "c.zarr", subject="P0", split="train")
    assert prepare(cache, tiny_config(protocol=SPLIT)).leaks == ()


def test_allowed_it_is_in_every_table(tmp_path):
    cache = with_copy(tmp_path / "c.zarr")
    watch = Recorder()
    results = fit(cache, tmp_path / "run", tiny_config(epochs=1, protocol=SPLIT, allow_leak=True), watch=watch)
    (leak,) = results.leaks
    assert (leak.by, leak.half, leak.fold, leak.clips, leak.same_as) == (
        "duplicate",
        "test",
        "split",
        ("b/y",),
        ("a/x",),
    )
    facts = read_json(tmp_path / "run" / "run.json")
    assert leaks_of(facts) == results.leaks
    line = f"LEAK: 1 of 12 test clips of split {TOLD}: b/y = a/x"
    assert line in headline(results)
    assert line in (tmp_path / "run" / "summary.md").read_text(encoding="utf-8")
    assert line.removeprefix("LEAK: ") in watch.warned
    assert read_json(tmp_path / "run" / "metrics.json")["leaks"] == facts["leaks"]
    with pytest.raises(EstError, match=r"b/y = a/x"):
        evaluate(results.run)
    assert evaluate(results.run, allow_leak=True).leaks == results.leaks


def test_a_run_of_before_is_scored_again_with_what_is_known_now(tmp_path):
    """Its facts know of no duplicates: they are found in its cache."""
    results = fit(
        with_copy(tmp_path / "c.zarr"), tmp_path / "run", tiny_config(epochs=1, protocol=SPLIT, allow_leak=True)
    )
    facts = read_json(without_digests(tmp_path / "run") / "run.json")
    del facts["leaks"]
    (tmp_path / "run" / "run.json").write_text(json.dumps(facts), encoding="utf-8")
    with pytest.raises(EstError, match=f"1 of 12 test clips of split {TOLD}"):
        evaluate(tmp_path / "run")
    assert evaluate(tmp_path / "run", allow_leak=True).leaks == results.leaks


def test_leaks_of_before_are_read(tmp_path):
    old = {
        "what": "the features 'gap'",
        "fold": "fold1",
        "half": "test",
        "by": "id",
        "clips": ["a"],
        "total": 3,
        "words": "…",
    }
    leak = Leak.from_json(old)
    assert leak.same_as == ()
    assert leak.to_json() == {**old, "words": describe_leaks([leak])[0]}


def test_other_frames_of_one_video_are_warned_about(tmp_path):
    cache = with_copy(tmp_path / "c.zarr", first_frame=40)
    ready = prepare(cache, tiny_config(protocol=SPLIT))
    assert ready.leaks == ()
    told = "1 video has clips in both halves under several names, of other frames or other faces: a/x and b/y."
    assert told in ready.plan.notes
    watch = Recorder()
    fit(ready, tmp_path / "run", tiny_config(epochs=1, protocol=SPLIT), watch=watch)
    assert watch.warned.count(told) == 1
    (leak,) = leaks(with_copy(tmp_path / "d.zarr", first_frame=30), SPLIT)
    assert leak.clips == ("b/y",)


def test_other_faces_of_one_video_are_warned_about(tmp_path):
    """As of `--face all`: the same frames, and boxes elsewhere."""
    path = tmp_path / "c.zarr"
    with CacheWriter.open(path, learning_recipes(), labels=LABELS) as writer:
        for index in range(CLIPS):
            clip = learning_clip(
                index, source=source(min(index, 6) % 6) if index in (0, 6) else source(index), frames=40
            )
            clip.box[clip.state > 0] = np.array([0, 0, 50, 50]) + (200 if index == 6 else 0)
            writer.add(clip)
    ready = prepare(path, tiny_config(protocol=SPLIT))
    assert ready.leaks == ()
    assert any("of other frames or other faces: clip000 and clip006" in note for note in ready.plan.notes)


def test_without_digests_nothing_is_claimed(tmp_path):
    unknown = "the same video under two names would not be seen"
    ready = prepare(cache_of(tmp_path / "none.zarr", known=False), tiny_config(protocol=SPLIT))
    assert ready.leaks == ()
    assert [note for note in ready.plan.notes if unknown in note] == [
        f"36 of 36 clips have no digest of their source: {unknown}."
    ]
    fine = prepare(cache_of(tmp_path / "all.zarr"), tiny_config(protocol=SPLIT))
    assert not any("digest" in note for note in fine.plan.notes)


def test_halves_that_share_a_video_are_not_by_source(tmp_path):
    """Clips without subjects, whose files all have names of their own."""
    people = {f"clip{index:03d}": {"subject": ""} for index in range(CLIPS)}
    for first, shown in ((None, "by source"), (40, "unknown")):
        special = {name: dict(fields) for name, fields in people.items()}
        if first is not None:
            special["clip000"] |= {"frames": 40}
            special["clip006"] |= {"frames": 40, "first_frame": first, "source": source(0)}
        cache = cache_of(tmp_path / f"{first}.zarr", **special)
        assert prepare(cache, tiny_config(protocol=SPLIT)).plan.independence == shown


def test_another_cache_is_compared_with_what_the_run_has_learnt_from(tmp_path):
    run = fit(cache_of(tmp_path / "own.zarr"), tmp_path / "run", tiny_config(epochs=1, protocol=SPLIT)).run
    learnt, tested = "clip000", "clip006"
    others = {f"clip{index:03d}": {"id": f"new{index}", "source": source(100 + index)} for index in range(12)}
    others[learnt]["source"], others[tested]["source"] = source(0), source(6)
    other = cache_of(tmp_path / "other.h5", indices=range(12), **others)
    with pytest.raises(EstError) as caught:
        evaluate(run, other)
    assert caught.value.message == (
        "1 of 12 clips to be scored show the same frames of the same video as clips that the run has learnt from: new0 = clip000."
    )
    assert "--split" in caught.value.remedy
    assert "est cache drop" not in caught.value.remedy
    (leak,) = evaluate(run, other, allow_leak=True).leaks
    assert (leak.half, leak.clips, leak.same_as) == ("scored", ("new0",), ("clip000",))
    shutil.rmtree(tmp_path / "own.zarr")
    watch = Recorder()
    assert evaluate(run, other, watch=watch).leaks == ()
    assert any("is not known" in text for text in watch.said)
    shared = convert_cache(other, tmp_path / "shared.h5", share=True)
    watch = Recorder()
    assert evaluate(run, shared, watch=watch).leaks == ()
    assert any("12 of 12 clips have no digest" in text for text in watch.said)


def test_a_video_of_two_names_is_said_once_for_many_folds():
    """Clips whose paths are not known either."""
    from est.train.folds.duplicates import notes_on_content

    table = Annotations.from_columns(
        ids=[f"c{n}" for n in range(1000)], label=["a"] * 1000, digest=[f"d{n % 999}" for n in range(1000)]
    )
    rows = np.arange(1000)
    folds = [Fold(name=str(n), train=rows[rows != n], test=rows[rows == n]) for n in range(1000)]
    (note,) = notes_on_content(table, folds, ())
    assert note.startswith("1 video has clips in both halves")
