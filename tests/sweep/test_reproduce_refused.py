"""What `est reproduce` refuses, before anything is trained."""

from __future__ import annotations

import json

import pytest
from reproduce_samples import TINY, recipe
from train_samples import learning_cache

from est.cache import Source, open_cache
from est.cli import main
from est.errors import UsageError
from est.inputs.published.est_paper import CLIPS
from est.sweep.reproduce import reproducing
from est.sweep.reproduce.recipe import Recipe
from est.sweep.reproduce.reproducing import PAPER_DATASETS, reproduce
from est.sweep.reproduce.settings import expect_same, keep, settings_of
from est.sweep.reproduce.tables.catalogue import tables_named
from est.train.folds.annotations import Annotations
from est.train.provenance import _listed


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return learning_cache(tmp_path_factory.mktemp("reproduced") / "cache.zarr", 36)


def refused(*arguments, **settings):
    """Return the error of a call."""
    with pytest.raises(UsageError) as found:
        reproduce(*arguments, **settings)
    return found.value


def test_bad_input(cache, tmp_path):
    out = tmp_path / "out"
    unlabelled = learning_cache(tmp_path / "unlabelled.zarr", 12, fields={n: {"label": None} for n in range(12)})
    assert "has a label" in refused("ablation", unlabelled, out, recipe()).message
    nobody = learning_cache(tmp_path / "nobody.zarr", 12, fields={n: {"subject": ""} for n in range(12)})
    assert "subject" in refused("ablation", nobody, out, recipe()).message
    assert "tests on a second cache" in refused("cross-database", cache, out, recipe()).message
    others = learning_cache(tmp_path / "others.zarr", 12, labels=("awe", "pride"))
    error = refused("cross-database", cache, out, recipe(), test_cache=others)
    assert "none of the classes" in error.message
    assert "awe, pride there" in error.message
    error = refused("cross-database", cache, out, recipe(), test_cache=cache)
    assert "is the training cache itself" in error.message
    error = refused("zero-middle", cache, out, recipe())
    assert "black" in error.message
    error = refused("ablation", cache, out, Recipe(options={"device": "cpu"}), dataset="dfew")
    assert "is not DFEW as it is published" in error.message
    assert "DFEW is published with 7 classes" in error.message
    assert "DFEW is published with 5 folds; the cache carries none" in error.message
    assert "labelled clips; the cache has 36" in error.message
    assert error.remedy.startswith("leave --dataset out")
    assert "is not DFEW" in refused("ablation", cache, out, recipe(), dataset="dfew").message, (
        "not that --folds is another"
    )
    error = refused("ablation", cache, out, Recipe(), dataset="ck+")
    assert "one of the paper's, dfew, afew, bu4dfe, mmi, found 'ck+'" in error.message
    assert error.remedy.startswith("leave --dataset out: --protocol ck+ makes the tables")
    assert refused("ablation", cache, out, Recipe(), dataset="rendered").remedy == "leave --dataset out", (
        "which is no protocol"
    )
    assert set(PAPER_DATASETS) == set(CLIPS)
    plain = Recipe(settings=TINY, options={"device": "cpu"})
    error = refused("ablation", learning_cache(tmp_path / "people.zarr", 90, subjects=30), out, plain, dataset="mmi")
    assert "MMI as it is published" in error.message
    assert "published with 6 classes" in error.message
    assert error.remedy.startswith("leave --dataset out")
    assert not out.exists(), "what is refused leaves nothing"
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("x")
    assert "contains no tables" in refused("ablation", cache, tmp_path / "full", recipe()).message


def test_settings_without_effect_are_refused(cache, tmp_path):
    out = tmp_path / "out"
    for setting, told in (
        ("loss.temperature=3", "loss.temperature is a setting of loss.contrastive, which is not used"),
        ("model.hidden=3", "model.hidden is a setting of gru, lstm, slstt, and no row uses these models"),
    ):
        error = refused("ablation", cache, out, recipe(setting), dry_run=True)
        assert told in error.message
        assert error.remedy.startswith(f"leave {setting.partition('=')[0]} out")
    error = refused("ablation", cache, out, recipe(), test_cache=cache)
    assert error.message == "ablation tests on no second cache: --test-cache has no effect."
    recipe("model.hidden=3").expect_effective(tables_named("overall"))
    recipe("loss.temperature=3", "loss.contrastive=0.1").expect_effective(tables_named("ablation"))
    assert not out.exists()


def test_one_command_adds_what_all_rows_lack(cache, tmp_path, monkeypatch):
    def told(tables, runs, **_):
        rows = [row for row in tables[0].rows if row.model in ("stt", "msstnet")]
        raise UsageError("; ".join(runs.why_not(row, trains=False) for row in rows))

    monkeypatch.setattr(reproducing, "schedule", told)
    lacking = refused("overall", cache, tmp_path / "out", recipe(), dry_run=True).message.split("; ")
    assert len(lacking) == 2
    assert all(why.endswith(" --features gap,layer3,pyramid4x4)") for why in lacking)


def test_a_number_of_the_paper_is_a_name(capsys):
    for what, name in (
        ("table6", "ablation"),
        ("Table 6", "ablation"),
        ("table3", "overall"),
        ("table-10", "complexity"),
        ("fig5", "convergence"),
        ("Figure 11", "layers-heads"),
        ("abblation", "ablation"),
    ):
        with pytest.raises(UsageError) as error:
            tables_named(what)
        assert error.value.remedy == f"est reproduce {name}"
    with pytest.raises(SystemExit, match="0"):
        main(["reproduce", "zero-middle", "--list", "--json"])
    assert [one["name"] for one in json.loads(capsys.readouterr().out)["tables"]] == ["zero-middle"]


def test_another_cache_of_the_same_frames_is_refused_before_a_training(tmp_path):
    def source(number):
        return {"source": Source(num_bytes=number, digest=number.to_bytes(16, "big"))}

    fields = {number: source(number + 1) for number in range(12)}
    one = learning_cache(tmp_path / "one.zarr", 12, fields=fields)
    copies = {number: {"id": f"other{number}", **source(number + 1)} for number in range(6)}
    two = learning_cache(tmp_path / "two.zarr", 6, fields=copies)
    error = refused("cross-database", one, tmp_path / "out", recipe(), test_cache=two, dry_run=True)
    assert "6 of 6 clips to be scored show the same frames" in error.message
    assert "--test-cache OTHER" in error.remedy
    assert "--allow-leak" in error.remedy
    assert "--batch" in refused("ablation", one, tmp_path / "out", recipe(), dry_run=True).remedy, (
        "six clips are learnt from"
    )
    reproduce(
        "cross-database",
        one,
        tmp_path / "out",
        recipe(allow_leak=True, **{"loop.batch": 4}),
        test_cache=two,
        dry_run=True,
    )


def test_clips_alone_are_looked_at_without_labels_and_beside_any_settings(cache, tmp_path):
    unlabelled = learning_cache(tmp_path / "unlabelled.zarr", 12, fields={n: {"label": None} for n in range(12)})
    sheet = reproduce("datasets", unlabelled, tmp_path / "one").sheets[0]
    assert sheet.lines[0]["classes"].words == "0"
    out = tmp_path / "out"
    for epochs in (1, 2):
        reproduce("datasets", cache, out, recipe(epochs=epochs))
    with pytest.raises(UsageError, match="clips or labels differ"):
        reproduce("datasets", unlabelled, out)
    settings = settings_of(open_cache(cache), Annotations.from_cache(open_cache(cache)), recipe(), recipe().config())
    expect_same(out, settings, "gap")
    keep(out, settings)
    reproduce("datasets", cache, out, recipe(epochs=3))
    other = recipe(epochs=3, seeds=(4,))
    with pytest.raises(UsageError, match=r"loop\.epochs +2 +3\n  seeds +1, 2 +4"):
        expect_same(out, {**settings, "recipe": other.to_json()}, "gap")


def test_a_model_of_its_own_is_refused_plainly(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["reproduce", "ablation", "--model", "gru"])
    said = " ".join(capsys.readouterr().err.split())
    assert "rows of a table say which models" in said
    assert "est train --model gru" in said


def test_what_differs_is_said_with_a_word_for_nothing():
    assert (
        _listed({"crops": ("jpeg 95", ""), "size": (112, 0)})
        == "crops: jpeg 95 in the run, none here, size: 112 in the run, 0 here"
    )
