"""Runs beside one another: listed, sorted, filtered; compared on the same clips, and refused where the numbers would not be the same."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from train_samples import TINY, learning_cache, tiny_config, without_digests

from est.cache import CacheWriter, open_cache
from est.cli import main
from est.errors import EstError, UsageError
from est.train import ProtocolConfig, fit, model_config
from est.train.config.configfile import to_toml
from est.train.results.compare import compare_runs
from est.train.results.paired import compare_paired
from est.train.runs.files import read_json, write_csv, write_json
from est.train.runs.table import filter_runs, list_runs, sort_runs

FOLDS = ProtocolConfig(kind="kfold", folds=3)
HARD = {"strength": 0.3}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two models, the first with two seeds, on one cache."""
    folder = tmp_path_factory.mktemp("runs")
    cache = learning_cache(folder / "c.zarr", **HARD)
    fit(cache, folder / "est", tiny_config(epochs=3, seeds=(1, 2), protocol=FOLDS))
    fit(cache, folder / "gru", tiny_config(epochs=3, seeds=(1,), protocol=FOLDS, model=model_config("gru", hidden=8)))
    return folder


def est(*arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    return ended.value.code, capsys.readouterr()


def rows_of(run, seed):
    return {
        row["id"]: row
        for part in (part["name"] for part in read_json(run / "run.json")["parts"] if part["seed"] == seed)
        for row in read_rows(run / "parts" / part / "predictions.csv")
    }


def read_rows(path):
    import csv

    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_two_models_are_compared_clip_by_clip(runs, capsys):
    found = compare_runs([runs / "est", runs / "gru"])
    assert [one.name for one in found.contestants] == ["EST", "GRU"]
    assert (found.clips, found.units) == (54, 6)
    ours = [rows_of(runs / "est", seed) for seed in (1, 2)]
    theirs = rows_of(runs / "gru", 1)
    names = sorted(theirs)
    right = np.array([[one[name]["truth"] == one[name]["prediction"] for name in names] for one in ours])
    other = np.array([theirs[name]["truth"] == theirs[name]["prediction"] for name in names])
    (duel,) = found.duels
    assert duel.war == compare_paired(right, other, [theirs[name]["subject"] for name in names])
    assert duel.war.value == pytest.approx(right.mean() - other.mean())
    happy = np.array([theirs[name]["truth"] == "happiness" for name in names])
    assert duel.classes["happiness"].value == pytest.approx(right[:, happy].mean() - other[happy].mean())
    assert duel.uar.value == pytest.approx(np.mean([one.value for one in duel.classes.values()]))
    assert duel.mcnemar is None, "people are known"
    sizes = {"model.dim": (16, "-"), "model.ffn": (32, "-"), "model.heads": (2, "-"), "model.hidden": ("-", 8)}
    assert found.settings == {"model.name": ("est", "gru")} | sizes, "nothing else differs; one layer have both"
    assert [note for note in found.notes if note.startswith("one seed: ")]
    status, said = est("compare", runs / "est", runs / "gru", capsys=capsys)
    assert status == 0
    assert f"WAR: {duel.war.sentence('EST', 'GRU')}" in said.out
    assert "settings that differ:\n  model.name    est  gru\n" in said.out
    status, said = est("compare", runs / "est", runs / "gru", "--json", capsys=capsys)
    told = json.loads(said.out.splitlines()[-1])
    assert told["differences"][0]["war"]["value"] == duel.war.value
    assert told["runs"][0]["over_seeds"]["war"]["number"] == 2


def test_a_run_alone_is_compared_with_its_control(runs):
    found = compare_runs([runs / "est"])
    metrics = read_json(runs / "est" / "metrics.json")
    (duel,) = found.duels
    assert duel.war.to_json() == metrics["above_control"]
    assert found.contestants[1].predictions.scores.war == metrics["control"]["war"]["value"]


def changed_copy(run, path, **changed):
    """Copy a run, with changes to its run.json."""
    shutil.copytree(run, path)
    write_json(path / "run.json", {**read_json(without_digests(path) / "run.json"), **changed})
    return path


def test_the_order_of_labels_does_not_matter(runs, tmp_path):
    first, second, *others = read_json(runs / "gru" / "run.json")["labels"]
    moved = changed_copy(runs / "gru", tmp_path / "gru", labels=[second, *others, first])
    expected = compare_runs([runs / "est", runs / "gru"])
    found = compare_runs([runs / "est", moved])
    assert found.duels[0].to_json() == expected.duels[0].to_json()
    for one, other in zip(found.contestants, expected.contestants, strict=True):
        assert one.predictions.to_json() == other.predictions.to_json()
    back = compare_runs([moved, runs / "est"]).duels[0]
    assert back.war.value == pytest.approx(-expected.duels[0].war.value)
    for label, difference in expected.duels[0].classes.items():
        assert back.classes[label].value == pytest.approx(-difference.value), label


def test_a_cache_that_was_made_again_is_named(runs, tmp_path):
    cache = read_json(runs / "gru" / "run.json")["cache"]
    then = {**cache, "fingerprints": {**cache["fingerprints"], "gap": "of another recipe"}}
    made_again = changed_copy(runs / "gru", tmp_path / "gru", cache=then)
    note = f"{runs / 'c.zarr'} was made with other settings, or had other features, when each run was started"
    assert note in compare_runs([runs / "est", made_again]).notes
    assert note not in compare_runs([runs / "est", runs / "gru"]).notes


def test_runs_of_one_model_go_by_their_folders(runs, tmp_path):
    fit(runs / "c.zarr", tmp_path / "other", tiny_config(epochs=2, seeds=(1,), protocol=FOLDS))
    found = compare_runs([runs / "est", tmp_path / "other"])
    assert [one.name for one in found.contestants] == ["est", "other"]
    assert found.settings == {"loop.epochs": (3, 2)}


def test_what_models_read_is_compared(runs, tmp_path):
    other = changed_copy(runs / "gru", tmp_path / "stt", model="stt")
    config = tiny_config(epochs=3, seeds=(1,), protocol=FOLDS, model=model_config("stt", segment_frames=4))
    (other / "config.toml").write_text(to_toml(config), encoding="utf-8")
    settings = compare_runs([runs / "gru", other]).settings
    assert settings["reads"] == ("gap", "layer3")
    assert settings["model.segment_frames"] == ("-", 4)
    assert "model.num_segments" not in settings, "has its default"


def test_what_cannot_be_compared_is_refused(runs, tmp_path):
    first = runs / "est"
    with pytest.raises(UsageError, match="found the same twice"):
        compare_runs([first, first])
    with pytest.raises(UsageError, match="Which runs"):
        compare_runs([])
    copy = tmp_path / "unfinished"
    shutil.copytree(runs / "gru", copy)
    (copy / "parts" / "fold2" / "result.json").unlink()
    with pytest.raises(UsageError, match="is not complete") as refused:
        compare_runs([first, copy])
    assert f"--resume --out {copy}" in refused.value.remedy
    two = learning_cache(tmp_path / "two.zarr", labels=("anger", "joy"))
    fit(two, tmp_path / "classes", tiny_config(epochs=1, protocol=FOLDS))
    with pytest.raises(UsageError, match="scores over different classes"):
        compare_runs([first, tmp_path / "classes"])
    fit(runs / "c.zarr", tmp_path / "plain", tiny_config(epochs=1, protocol=FOLDS, control=False))
    with pytest.raises(UsageError, match="has no control"):
        compare_runs([tmp_path / "plain"])


def test_other_clips_are_refused_or_left_out_and_named(runs, tmp_path):
    fewer = learning_cache(tmp_path / "c.zarr", [n for n in range(54) if n != 5], **HARD)
    fit(fewer, tmp_path / "fewer", tiny_config(epochs=1, protocol=FOLDS, model=TINY))
    pair = [runs / "gru", tmp_path / "fewer"]
    with pytest.raises(UsageError, match=r"GRU tested 1 clip that others have not: clip005") as refused:
        compare_runs(pair)
    assert "--common compares them on the 53 clips" in refused.value.remedy
    found = compare_runs(pair, common=True)
    assert found.clips == 53
    assert "compared on the 53 clips that all tested" in found.notes
    assert any(note.startswith("trained on different caches") for note in found.notes)
    with CacheWriter.open(fewer, open_cache(fewer).recipes) as writer:
        writer.update("clip007", label="anger")
    fit(fewer, tmp_path / "relabelled", tiny_config(epochs=1, protocol=FOLDS, model=TINY))
    with pytest.raises(EstError, match="scored by other labels of 1 clip: clip007"):
        compare_runs([runs / "gru", tmp_path / "relabelled"], common=True)


def test_other_videos_behind_the_same_ids_are_refused(runs, tmp_path):
    copy = tmp_path / "gru"
    shutil.copytree(runs / "gru", copy)
    known = read_json(without_digests(copy) / "clips.json")
    write_json(copy / "clips.json", known | {"clip003": ["00ff", known["clip003"][1] + 1]})
    with pytest.raises(UsageError, match=r"In EST and GRU the same ids stand for different videos \(1 clip\): clip003"):
        compare_runs([runs / "est", copy])
    (copy / "clips.json").unlink()  # as runs of before have none
    assert compare_runs([runs / "est", copy]).clips == 54


def test_whoever_knows_people_tells_them(runs, tmp_path):
    copy = tmp_path / "gru"
    shutil.copytree(runs / "gru", copy)
    for part in sorted((without_digests(copy) / "parts").iterdir()):
        rows = read_rows(part / "predictions.csv")
        write_csv(part / "predictions.csv", list(rows[0]), [[*({**row, "subject": ""}).values()] for row in rows])
    one, other = compare_runs([runs / "est", copy]), compare_runs([copy, runs / "est"])
    assert one.units == other.units == 6
    assert one.duels[0].war.low == -other.duels[0].war.high
    rows = read_rows(copy / "parts" / "fold1" / "predictions.csv")
    write_csv(
        copy / "parts" / "fold1" / "predictions.csv",
        list(rows[0]),
        [[*({**row, "subject": "X"}).values()] for row in rows],
    )
    with pytest.raises(EstError, match="name different people for 18 clips"):
        compare_runs([runs / "est", copy])


@pytest.mark.parametrize("damage", ["shorter", "twice", "class", "letters"])
def test_damaged_predictions_are_named(runs, tmp_path, damage):
    copy = tmp_path / "gru"
    shutil.copytree(runs / "gru", copy)
    path = copy / "parts" / "fold2" / "predictions.csv"
    lines = path.read_bytes().splitlines(keepends=True)
    changed = {
        "shorter": lines[:-2],
        "twice": [*lines, lines[-1]],
        "class": [
            *lines[:-1],
            lines[-1].replace(b"happiness", b"joy").replace(b"anger", b"joy").replace(b"surprise", b"joy"),
        ],
        "letters": [*lines[:-1], b"\xff" + lines[-1]],
    }
    path.write_bytes(b"".join(changed[damage]))
    with pytest.raises(EstError, match=r"damaged|cannot be read") as refused:
        compare_runs([runs / "est", copy])
    assert refused.value.remedy
    text = path.read_text(encoding="latin-1")
    path.write_text(text.replace(",control,", ",kontrol,"), encoding="latin-1")
    with pytest.raises(EstError, match=r"damaged|cannot be read"):
        compare_runs([copy])


def test_people_who_are_not_known(runs, tmp_path):
    nobody = learning_cache(tmp_path / "c.zarr", subjects=1, fields={n: {"subject": ""} for n in range(54)}, **HARD)
    by_clip = ProtocolConfig(kind="kfold", folds=3, by="clip")
    for name, model in (("a", TINY), ("b", model_config("gru", hidden=8))):
        fit(nobody, tmp_path / name, tiny_config(epochs=1, protocol=by_clip, model=model))
    found = compare_runs([tmp_path / "a", tmp_path / "b"])
    assert 0 <= found.duels[0].mcnemar <= 1
    assert found.duels[0].war.unit == "clips"


def test_runs_are_listed(runs, tmp_path, capsys):
    folder = tmp_path / "runs"
    shutil.copytree(runs / "est", folder / "nested" / "est")
    shutil.copytree(runs / "gru", folder / "gru")
    shutil.copytree(runs / "gru", folder / "half")
    (folder / "half" / "parts" / "fold3" / "result.json").unlink()
    shutil.copytree(runs / "gru", folder / "broken")
    (folder / "broken" / "run.json").write_text("{", encoding="utf-8")
    shutil.copytree(runs / "gru", folder / "newer")
    write_json(folder / "newer" / "run.json", {"format": "est-run", "version": 99})
    shutil.copytree(runs / "gru", tmp_path / "elsewhere" / "deep" / "linked")
    (folder / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "circle").symlink_to(folder)
    metrics = read_json(runs / "gru" / "metrics.json")
    shutil.copytree(runs / "gru", folder / "words")
    write_json(folder / "words" / "metrics.json", metrics | {"pooled": {"war": {"value": "high"}}})
    rows = {row.name: row for row in list_runs(folder)}
    assert {name: row.status for name, row in rows.items()} == {
        "nested/est": "complete",
        "gru": "complete",
        "half": "unfinished",
        "broken": "damaged",
        "newer": "damaged",
        "words": "damaged",
        "link/deep/linked": "complete",
    }
    metrics = read_json(runs / "est" / "metrics.json")
    mine = rows["nested/est"]
    assert (mine.war, mine.war_sd) == (metrics["over_seeds"]["war"]["mean"], metrics["over_seeds"]["war"]["sd"])
    assert (mine.clips, mine.seeds, mine.folds, mine.model, mine.data) == (54, 2, 3, "est", "c.zarr")
    assert rows["half"].parts == 2
    metrics["pooled"]["war"] |= {"right": 2 * metrics["pooled"]["war"]["right"], "total": 2 * metrics.pop("clips")}
    write_json(
        without_digests(folder / "nested" / "est") / "metrics.json", metrics
    )  # as of before 2026-11-29: each clip once a seed
    assert {row.name: row.clips for row in list_runs(folder)}["nested/est"] == 54
    assert "version 99" in rows["newer"].problem
    best = sort_runs(rows.values(), "war")
    assert [row.war for row in best[:2]] == sorted((rows["gru"].war, mine.war), reverse=True)
    done = filter_runs(list(rows.values()), ["model=gru", "status=complete"])
    assert {row.name for row in done} == {"gru", "link/deep/linked"}
    assert [row.name for row in filter_runs(list(rows.values()), ["seeds=[1,2]"])] == ["nested/est"]
    assert [row.name for row in filter_runs(list(rows.values()), ["seeds=1,2"])] == ["nested/est"]
    assert len(filter_runs(list(rows.values()), ["loop.epochs=3"])) == 4
    status, said = est("runs", folder, "--sort", "war", "--where", "model=gru", capsys=capsys)
    assert status == 0
    assert "unfinished 2 of 3" in said.out
    assert "3 of 7 runs" in said.out
    status, said = est("runs", folder, "--json", capsys=capsys)
    assert {row["name"] for row in json.loads(said.out)["runs"]} == set(rows)


def test_models_that_are_right_on_the_same_clips(runs, tmp_path):
    shutil.copytree(runs / "gru", tmp_path / "again")
    found = compare_runs([runs / "gru", tmp_path / "again"]).duels[0].war
    assert found.sentence("a", "b") == "a − b = +0.0 points: right on exactly the same clips (6 people)"
    assert not compare_runs([runs / "est", runs / "gru"]).duels[0].war.alike


def test_a_configuration_of_another_run_is_damage(runs, tmp_path):
    shutil.copytree(runs / "est", tmp_path / "run")
    (without_digests(tmp_path / "run") / "config.toml").write_text("", encoding="utf-8")
    with pytest.raises(EstError, match="is not the one that"):
        compare_runs([tmp_path / "run"])


def test_permuted_labels_are_marked(runs, tmp_path, capsys):
    shutil.copytree(runs / "gru", tmp_path / "permuted")
    facts = read_json(without_digests(tmp_path / "permuted") / "run.json")
    facts["protocol"]["notes"] = [
        "Labels were permuted within people (permutation 1 of est audit): a reference, no result."
    ]
    write_json(tmp_path / "permuted" / "run.json", facts)
    assert any("permuted labels" in note for note in compare_runs([runs / "est", tmp_path / "permuted"]).notes)
    status, said = est("runs", tmp_path, capsys=capsys)
    assert status == 0
    assert "complete, permuted labels" in said.out
    with pytest.raises(UsageError, match="A status is complete, training"):
        filter_runs(list_runs(tmp_path), ["status=running"])


def test_folders_without_runs_and_wishes_that_mean_nothing(runs, tmp_path):
    with pytest.raises(UsageError, match="There is no folder"):
        list_runs(tmp_path / "none")
    with pytest.raises(UsageError, match="There is no run in"):
        list_runs(tmp_path)
    rows = list_runs(runs)
    with pytest.raises(UsageError, match="found 'speed'"):
        sort_runs(rows, "speed")
    with pytest.raises(UsageError, match="found 'epochs=3'"):
        filter_runs(rows, ["epochs=3"])


def test_looking_at_runs_imports_no_torch(runs):
    code = (
        "import sys; from est.train.runs.table import list_runs; from est.train.results.compare import compare_runs; "
        f"list_runs({str(runs)!r}); compare_runs([{str(runs / 'est')!r}]); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
