"""Nothing is tested on clips that its features have learnt from: every way in is refused by name, or allowed and said in every table."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from train_samples import (
    LABELS,
    Recorder,
    learning_cache,
    learning_clip,
    learning_recipes,
    tiny_config,
    without_digests,
)

from est.cache import CacheWriter, Failure, Source, convert_cache, merge_caches, open_cache
from est.cache.trained import TrainedOn
from est.cli import main
from est.errors import EstError
from est.train import ProtocolConfig, Run, evaluate, fit
from est.train.folds.annotations import Annotations
from est.train.folds.leaks import expect_none, find_leaks, leaks_of, learnt_from
from est.train.folds.protocols import plan_folds
from est.train.runs.files import read_json

# The split of the cache below: people 2 and 5 are tested, three clips of each class of each person.
TRAIN = [index for index in range(54) if index // 3 % 3 != 2]
TEST = [index for index in range(54) if index // 3 % 3 == 2]
SPLIT = ProtocolConfig(kind="split")
BY_SUBJECT = ProtocolConfig(kind="kfold", folds=3)
BY_CLIP = ProtocolConfig(kind="kfold", folds=3, by="clip")


def source_of(index):
    """Return the source of a clip: its content is its own."""
    return Source(num_bytes=1000 + index, mtime_ns=1, digest=bytes([index + 1] * 16))


def name_of(index):
    return f"clip{index:03d}"


def shared_name(index):
    """Return what `convert_cache(…, share=True, seed=7)` calls it."""
    return f"clip{np.random.default_rng(7).permutation(54).tolist().index(index):06d}"


def record_of(indices, **fields):
    """Return the record of weights that have learnt from sample clips."""
    known = {
        "clips": tuple(map(name_of, indices)),
        "digests": tuple(source_of(index).digest.hex() for index in indices),
        "subjects": tuple(f"P{index // 3 % 6}" for index in indices),
        "folds": ("split",),
        "how": "est train --finetune layer4",
    }
    return TrainedOn(**{**known, **fields})


def tuned_cache(path, record, indices=range(54), *, failures=(), **special):
    """Write a cache whose features have learnt from a record; keywords are fields of clips, by `clipNNN`."""
    recipes = learning_recipes(trained_on="" if record is None else record.fingerprint)
    records = [] if record is None else [record]
    with CacheWriter.open(path, recipes, labels=LABELS, trained_on=records) as writer:
        for index in indices:
            fields = {"source": source_of(index), **special.get(name_of(index), {})}
            writer.add(learning_clip(index, strength=0.25, **fields))
        for name in failures:
            writer.fail(Failure(id=name, path=name, stage="decode", error="broken", label="anger", split="test"))
    return path


def refused(cache, folder, config):
    """Expect a training to be refused before it begins; return the error."""
    with pytest.raises(EstError) as caught:
        fit(cache, folder / "run", config)
    assert not (folder / "run").exists()
    assert "--allow-leak" in caught.value.remedy
    return caught.value


def test_what_was_learnt_from_is_no_test_clip(tmp_path):
    cache = tuned_cache(tmp_path / "c.zarr", record_of([*TRAIN, *TEST[:3]]))
    error = refused(cache, tmp_path, tiny_config(protocol=SPLIT))
    names = ", ".join(map(name_of, TEST[:3]))
    assert f"3 of 18 test clips of split were learnt from before, by the features 'gap': {names}" in error.message
    assert "--fold" in error.remedy


def test_learning_from_the_same_training_half_is_no_leak(tmp_path):
    cache = tuned_cache(tmp_path / "c.zarr", record_of(TRAIN))
    results = fit(cache, tmp_path / "run", tiny_config(epochs=1, protocol=SPLIT))
    assert results.leaks == ()
    assert "leaks" not in results.run.facts
    assert "leaks" not in results.to_json()
    text = (tmp_path / "run" / "summary.md").read_text(encoding="utf-8")
    assert "LEAK" not in text
    assert "weights behind gap: learnt from 36 clips of 4 subjects, split (est train --finetune layer4)" in text
    assert evaluate(results.run).leaks == ()


def test_under_another_id_it_is_known_by_its_content(tmp_path):
    renamed = {name_of(index): {"id": f"other{index}"} for index in range(54)}
    cache = tuned_cache(tmp_path / "c.zarr", record_of(TEST[:2], subjects=()), **renamed)
    error = refused(cache, tmp_path, tiny_config(protocol=SPLIT))
    assert "2 of 18 test clips of split were learnt from before under other ids" in error.message
    assert f"other{TEST[0]}, other{TEST[1]}" in error.message
    without = tuned_cache(tmp_path / "d.zarr", record_of(TEST[:2], digests=(), subjects=()), **renamed)
    assert find_leaks([(open_cache(without).trained_on("gap"), "x")], *planned(without, SPLIT)) == ()


def test_a_copy_in_the_test_half_of_a_clip_in_the_training_half(tmp_path):
    twin = {name_of(TEST[0]): {"id": "twin", "source": source_of(TRAIN[0])}}
    cache = tuned_cache(tmp_path / "c.zarr", record_of(TRAIN), **twin)
    assert "twin" in refused(cache, tmp_path, tiny_config(protocol=SPLIT)).message


def test_other_clips_of_a_source_are_other_clips(tmp_path):
    """One film, a part of which was learnt from: another part of it is tested, unless they share frames."""
    one, two = name_of(TRAIN[0]), name_of(TEST[0])
    film = {one: {"source": source_of(0), "first_frame": 0, "frames": 40}}
    for first, leaks in ((40, 0), (39, 1)):
        cache = tuned_cache(
            tmp_path / f"{first}.zarr",
            record_of(TRAIN),
            **film,
            **{two: {"source": source_of(0), "first_frame": first, "frames": 30}},
        )
        found = find_leaks([(record_of(TRAIN), "x")], *planned(cache, SPLIT))
        assert [leak.clips for leak in found] == [(two,)] * leaks


def planned(path, protocol, *, validation=False):
    table = Annotations.from_cache(open_cache(path))
    return plan_folds(table, protocol, seed=1, validation=validation), table


def test_validation_clips_count_too(tmp_path):
    """An inner validation half is drawn from the training half: the weights have seen it."""
    cache = tuned_cache(tmp_path / "c.zarr", record_of(TRAIN))
    error = refused(cache, tmp_path, tiny_config(protocol=SPLIT, select="val"))
    assert "val clips of split were learnt from before" in error.message
    assert "test clips" not in error.message
    assert "--select last" in error.remedy
    fit(cache, tmp_path / "run", tiny_config(epochs=1, protocol=SPLIT, select="last"))


def test_other_clips_of_a_person_leak_where_people_are_kept_apart(tmp_path):
    """Clips of P0 elsewhere were learnt from. Where the halves share people anyway, nothing is claimed that were no longer true."""
    record = record_of([], clips=("elsewhere",), subjects=("P0",))
    cache = tuned_cache(tmp_path / "c.zarr", record)
    error = refused(cache, tmp_path, tiny_config(protocol=BY_SUBJECT))
    assert "9 of 18 test clips of fold" in error.message
    assert "show people who were learnt from before" in error.message
    assert "est cache relabel" in error.remedy
    results = fit(cache, tmp_path / "run", tiny_config(epochs=1, protocol=BY_CLIP))
    assert results.run.facts["protocol"]["independence"].startswith("subjects shared")
    assert results.leaks == ()


def test_a_fold_whose_training_half_was_learnt_from_runs_alone(tmp_path):
    plain = tuned_cache(tmp_path / "plain.zarr", None)
    plan, table = planned(plain, BY_SUBJECT)
    first = plan.folds[0]
    record = learnt_from(table, first.train, folds=[first.name], how="est train --finetune all")
    assert set(record.clips) == set(table.ids[first.train])
    assert set(record.subjects) == set(table.subject[first.train])
    cache = tuned_cache(tmp_path / "tuned.zarr", record)
    config = tiny_config(epochs=1, protocol=BY_SUBJECT, seeds=(1,))
    error = refused(cache, tmp_path, config)
    assert "36 of 36 test clips of fold2, fold3" in error.message
    alone = ProtocolConfig(kind="kfold", folds=3, only=("fold1",))
    assert fit(cache, tmp_path / "run", tiny_config(epochs=1, protocol=alone, seeds=(1,))).leaks == ()


def test_inputs_that_gave_no_frames_were_seen_by_nobody(tmp_path):
    record = record_of(TRAIN, clips=("gone", *map(name_of, TRAIN)))
    cache = tuned_cache(tmp_path / "c.zarr", record, failures=["gone"])
    assert find_leaks([(record, "x")], *planned(cache, SPLIT)) == ()


def test_each_record_has_a_name(tmp_path):
    """As for the weights at the start, and for the run that went before."""
    cache = tuned_cache(tmp_path / "c.zarr", None)
    seen = [(record_of(TEST[:1]), "the weights mine.safetensors"), (record_of(TEST[1:3]), "the run before")]
    leaks = find_leaks(seen, *planned(cache, SPLIT))
    with pytest.raises(EstError) as caught:
        expect_none(leaks, allow=False)
    for (_, what), clips in zip(seen, (TEST[:1], TEST[1:3]), strict=True):
        assert f"{what}: {', '.join(map(name_of, clips))}" in caught.value.message
    expect_none(leaks, allow=True)
    expect_none([], allow=False)


@pytest.mark.parametrize("way", ["convert", "to h5", "to h5 and back", "share", "merge"])
def test_copies_are_guarded(tmp_path, way):
    record = record_of([*TRAIN, TEST[0]], subjects=())
    cache = tuned_cache(tmp_path / "c.zarr", record, range(3, 54) if way == "merge" else range(54))
    out = tmp_path / "out.zarr"
    match way:
        case "convert":
            convert_cache(cache, out, dtype="float32")
        case "to h5":
            out = convert_cache(cache, tmp_path / "out.h5")
        case "to h5 and back":
            convert_cache(convert_cache(cache, tmp_path / "x.h5"), out)
        case "share":
            convert_cache(cache, out, share=True, seed=7)
        case "merge":
            merge_caches([cache, tuned_cache(tmp_path / "d.h5", record, range(3))], out)
    error = refused(out, tmp_path, tiny_config(protocol=SPLIT))
    assert "1 of 18 test clips of split" in error.message
    assert error.message.endswith(f": {shared_name(TEST[0])}." if way == "share" else f": {name_of(TEST[0])}.")


def test_a_shared_cache_is_guarded_by_content_too(tmp_path):
    renamed = {name_of(index): {"id": f"other{index}"} for index in range(54)}
    cache = tuned_cache(tmp_path / "c.zarr", record_of(TEST[:2]), **renamed)
    shared = convert_cache(cache, tmp_path / "shared.h5", share=True, seed=7)
    leaks = find_leaks([(open_cache(shared).trained_on("gap"), "x")], *planned(shared, SPLIT))
    assert {leak.by: len(leak.clips) for leak in leaks} == {"id": 2, "subject": 7}  # all nine test clips of one person
    assert leaks[0].clips == tuple(sorted(map(shared_name, TEST[:2])))
    for by, ids in (("id", {}), ("content", {name_of(index): {"id": f"third{index}"} for index in range(54)})):
        elsewhere = planned(
            tuned_cache(tmp_path / f"{by}.zarr", None, **ids), SPLIT
        )  # the same videos, as their owner has them
        (leak,) = find_leaks([(open_cache(shared).trained_on("gap"), "x")], *elsewhere)
        assert (leak.by, len(leak.clips)) == (by, 2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("leaks")


@pytest.fixture(scope="module")
def leaky(folder):
    """A run that was allowed: three folds, of which two have test clips that were learnt from."""
    cache = tuned_cache(folder / "leaky.zarr", None)
    plan, table = planned(cache, BY_SUBJECT)
    record = learnt_from(table, plan.folds[0].train[:20], folds=["fold1"], how="est train --finetune all")
    cache = tuned_cache(folder / "tuned.zarr", record)
    watch = Recorder()
    config = tiny_config(epochs=1, protocol=BY_SUBJECT, seeds=(1,), allow_leak=True)
    return fit(cache, folder / "leaky", config, watch=watch), watch, record


def test_allowed_leaks_are_in_every_table(leaky):
    from est.train.results.pages.summary import headline, part_lines

    results, watch, record = leaky
    run = results.run
    found = leaks_of(run.facts)
    assert {clip for leak in found if leak.by == "id" for clip in leak.clips} == set(record.clips)
    assert {leak.fold for leak in found} == {"fold2", "fold3"}
    by_id = f"{len(record.clips)} of 36 test clips of fold2, fold3 were learnt from before, by the features 'gap'"
    by_subject = "show people who were learnt from before, by the features 'gap'"
    shown = {
        "warnings": "\n".join(watch.warned),
        "headline": "\n".join(headline(results)),
        "summary.md": (run.path / "summary.md").read_text(encoding="utf-8"),
    }
    for where, text in shown.items():
        assert by_id in text, where
        assert by_subject in text, where
    assert headline(results)[0].startswith("LEAK: ")
    metrics = read_json(run.path / "metrics.json")
    assert metrics["leaks"] == run.facts["leaks"] == results.to_json()["leaks"]
    assert all("learnt from before" in leak["words"] for leak in metrics["leaks"])
    assert "LEAK" in (run.path / "confusion.svg").read_text(encoding="utf-8")
    header, *rows = part_lines(results)
    assert header.endswith("leaks")
    clips = {fold: {c for leak in found if leak.fold == fold for c in leak.clips} for fold in run.parts}
    for row, fold in zip(rows, run.parts, strict=True):
        assert row.endswith(f"{len(clips[fold])} of 18 test clips" if clips[fold] else "none")
    table = [line for line in shown["summary.md"].splitlines() if line.startswith("| fold")]
    assert [line.endswith("| none |") for line in table] == [True, False, False]


def test_an_allowed_run_goes_on_as_it_was(leaky, tmp_path):
    results, _, _ = leaky
    copy = tmp_path / "run"
    shutil.copytree(results.run.path, copy)
    shutil.rmtree(copy / "parts" / "fold3")
    again = fit(None, copy, resume=True)
    assert again.leaks == results.leaks
    assert again.scores.to_json() == results.scores.to_json()


def test_scoring_again_is_guarded(leaky, tmp_path):
    results, _, _ = leaky
    with pytest.raises(EstError, match="were learnt from before, by the features 'gap'") as caught:
        evaluate(results.run)
    assert "--allow-leak" in caught.value.remedy
    found = evaluate(results.run, allow_leak=True)
    assert found.own
    assert found.leaks == results.leaks
    assert found.scores.to_json() == results.scores.to_json()
    found.save(tmp_path / "out")
    assert read_json(tmp_path / "out" / "metrics.json")["leaks"] == results.run.facts["leaks"]
    moved = convert_cache(results.run.facts["cache"]["path"], tmp_path / "moved.h5")
    with pytest.raises(EstError, match="learnt from before"):
        evaluate(results.run, moved)


@pytest.fixture(scope="module")
def clean(folder):
    """A run whose features have learnt from its own training half alone."""
    return fit(tuned_cache(folder / "clean.zarr", record_of(TRAIN)), folder / "clean", tiny_config(protocol=SPLIT)).run


def test_a_cache_in_the_place_of_a_runs_own_is_guarded(clean, tmp_path):
    """The run was clean; what lies there now has seen its test half."""
    cache = tuned_cache(tmp_path / "now.zarr", record_of(range(54)))
    copy = tmp_path / "run"
    shutil.copytree(clean.path, copy)
    facts = read_json(without_digests(copy) / "run.json")
    facts["cache"]["path"] = str(cache)
    (copy / "run.json").write_text(json.dumps(facts), encoding="utf-8")
    assert evaluate(clean).leaks == ()
    with pytest.raises(EstError, match="18 of 18 test clips of split were learnt from before"):
        evaluate(copy)
    assert len(evaluate(copy, allow_leak=True).leaks[0].clips) == 18


def test_another_cache_is_guarded_by_id_and_by_content(clean, tmp_path):
    """Names of people there may be other people's: they are warned about."""
    fields = {name_of(index): {"id": f"new{index}", "source": Source()} for index in range(54)}
    fields[name_of(4)] = {"id": name_of(TRAIN[1]), "source": Source()}
    fields[name_of(8)] = {"id": "copy"}
    record = record_of([*TRAIN, 8])
    other = tuned_cache(tmp_path / "other.zarr", record, range(12), **fields)
    with pytest.raises(EstError) as caught:
        evaluate(clean, other)
    message = caught.value.message
    assert f"1 of 12 clips to be scored were learnt from before, by the features 'gap': {name_of(TRAIN[1])}" in message
    assert "1 of 12 clips to be scored were learnt from before under other ids, by the features 'gap': copy" in message
    watch = Recorder()
    found = evaluate(clean, other, allow_leak=True, watch=watch)
    assert [(leak.by, leak.clips) for leak in found.leaks] == [("id", (name_of(TRAIN[1]),)), ("content", ("copy",))]
    assert found.scores.total == 12
    assert any("If subjects of one name are the same people" in text for text in watch.warned)
    rest = [index for index in range(12) if index not in (4, 8)]
    fine = tuned_cache(tmp_path / "fine.zarr", record, rest, **fields)
    assert evaluate(clean, fine).leaks == ()


def test_a_copy_without_names_has_the_same_features(clean, folder, tmp_path):
    """Its record names its own clips, and so has another fingerprint."""
    shared = convert_cache(folder / "clean.zarr", tmp_path / "shared.zarr", share=True, seed=7)
    with pytest.raises(EstError, match="36 of 54 clips to be scored"):
        evaluate(clean, shared)
    found = evaluate(clean, shared, split=["test"])
    assert not found.own
    assert found.leaks == ()
    assert found.scores.to_json() == evaluate(clean).scores.to_json()


def test_features_without_a_record_are_free(clean, folder, tmp_path):
    plain = learning_cache(tmp_path / "plain.zarr", strength=0.25)
    assert evaluate(clean, plain).leaks == ()
    assert np.isfinite(evaluate(clean, plain).scores.war)


def est(capsys, *arguments):
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    return stop.value.code, *capsys.readouterr()


def test_evaluate_on_the_command_line(leaky, capsys, tmp_path):
    results, _, _ = leaky
    run = Run.open(results.run.path)
    status, _, err = est(capsys, "evaluate", run.path)
    assert status == 1
    assert "were learnt from before, by the features 'gap'" in err
    assert "--allow-leak" in err
    status, out, _ = est(capsys, "evaluate", run.path, "--allow-leak", "--out", tmp_path / "out")
    assert status == 0
    assert out.splitlines()[1].startswith("LEAK: ")
    assert read_json(tmp_path / "out" / "metrics.json")["leaks"] == run.facts["leaks"]
    status, out, _ = est(capsys, "evaluate", run.path, "--allow-leak", "--json")
    assert json.loads(out.splitlines()[-1])["leaks"] == run.facts["leaks"]
