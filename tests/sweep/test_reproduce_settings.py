"""What makes a folder of tables one of the same settings: files by what they hold, arrays that were read, defaults below what is asked."""

from __future__ import annotations

import shlex
from types import SimpleNamespace

import pytest

from est.cli import main
from est.errors import UsageError
from est.sweep.reproduce import reproducing, settings
from est.sweep.reproduce.recipe import Recipe
from est.sweep.reproduce.tables.catalogue import TABLES
from est.train.config.config import TrainConfig


def known(config=None, *, fingerprints=None, annotations="a", rows="r", monkeypatch):
    """Return what settings.json holds of a cache that is made up."""
    monkeypatch.setattr(settings, "digest", lambda _: annotations)
    monkeypatch.setattr(settings, "rows_digest", lambda *_: rows)
    recipes = SimpleNamespace(fingerprints=lambda: fingerprints or {"frames": "1", "gap": "2", "layer3": "3"})
    cache = SimpleNamespace(path=settings.Path("cache.zarr"), recipes=recipes)
    recipe = SimpleNamespace(to_json=Recipe(preset="small").to_json)
    return settings.settings_of(cache, None, recipe, config or TrainConfig())


def refusal(out, now):
    """Return what is said against a folder; empty where it may be gone on with."""
    try:
        settings.expect_same(out, now, "gap")
    except UsageError as error:
        return error.message
    return ""


def test_what_a_folder_is_of(tmp_path, monkeypatch):
    out = tmp_path / "out"
    out.mkdir()
    settings.keep(out, known(monkeypatch=monkeypatch))
    assert not refusal(out, known(monkeypatch=monkeypatch))
    assert "features of some clips differ" in refusal(out, known(rows="s", monkeypatch=monkeypatch))
    assert "clips or labels differ" in refusal(out, known(annotations="b", monkeypatch=monkeypatch))

    def other(**changed):
        prints = {"frames": "1", "gap": "2", "layer3": "3", **changed}
        return refusal(out, known(fingerprints=prints, monkeypatch=monkeypatch))

    assert "gap was made with other settings" in other(gap="9")
    assert "frames was made with other settings" in other(frames="9")
    assert not other(pyramid="4"), "a new array was read by no table"
    assert not other(layer3="9"), "neither was this one, until now"
    run = out / "runs" / "stt"
    run.mkdir(parents=True)
    (run / "run.json").write_text("{}")
    monkeypatch.setattr(settings.Run, "open", lambda path: SimpleNamespace(reads={"fold1": "layer3"}))
    assert "layer3 was made with other settings" in other(layer3="9")


@pytest.mark.parametrize("name", ["data.votes", "finetune.weights"])
def test_files_count_by_what_they_hold(name, tmp_path, monkeypatch):
    out, file = tmp_path / "out", tmp_path / "file"
    out.mkdir()
    file.write_text("then")
    section, key = name.split(".")
    config = SimpleNamespace(data=SimpleNamespace(votes=""), finetune=SimpleNamespace(weights=""))
    setattr(getattr(config, section), key, str(file))
    settings.keep(out, known(config, monkeypatch=monkeypatch))
    assert not refusal(out, known(config, monkeypatch=monkeypatch))
    file.write_text("now")
    assert f"{name}: the content of the file has changed" in refusal(out, known(config, monkeypatch=monkeypatch))


def test_defaults_lie_below_what_is_asked(tmp_path):
    file = tmp_path / "run.toml"
    file.write_text('seeds = [5]\ncontrol = true\n\n[model]\nname = "est"\n')
    assert Recipe().config().seeds == Recipe(preset="small").config().seeds == (1, 2, 3)
    assert not Recipe().config().control
    assert Recipe(file=file).config().seeds == (5,)
    assert Recipe(file=file).config().control
    typed = Recipe(file=file, settings=("seeds = [7, 8]", "control=false", "tensorboard=true"))
    assert (typed.config().seeds, typed.config().control, typed.config().tensorboard) == ((7, 8), False, True)
    assert Recipe(file=file, settings=("seeds=[7]",), options={"seeds": (9,)}).config().seeds == (9,)
    assert Recipe(file=file, options={"seeds": None}).config({"model.name": "gru"}).seeds == (5,)


def test_tables_are_of_the_last_epoch(tmp_path):
    file = tmp_path / "run.toml"
    file.write_text('select = "val"\n')
    for chosen in (Recipe(settings=("select=val",)), Recipe(file=file)):
        with pytest.raises(UsageError, match="last epoch, found select = val"):
            chosen.expect_known()
    Recipe(file=file, settings=("select=last",)).expect_known()


def test_a_data_set_holds_its_protocol_however_another_is_asked_for(tmp_path):
    file = tmp_path / "run.toml"
    file.write_text('[protocol]\nkind = "kfold"\n')
    for other in (
        Recipe(settings=("protocol.kind=kfold",)),
        Recipe(file=file),
        Recipe(options={"protocol.kind": "kfold"}),
    ):
        with pytest.raises(UsageError, match="--protocol kfold is another"):
            reproducing._with_defaults(other, "mmi")
    for same in (
        Recipe(settings=("protocol.kind=mmi",)),
        Recipe(file=file, settings=("protocol.kind=auto",)),
        Recipe(),
    ):
        assert reproducing._with_defaults(same, "mmi").config().protocol.kind == "mmi"


class Asked(Exception):
    """What the command asks of the library."""


@pytest.fixture
def asked(monkeypatch):
    """Return a function that reads a command line, and returns the recipe and what stands beside it."""

    def stop(what, cache, out, recipe, **rest):
        raise Asked(recipe, {"what": what, "cache": cache, "out": out, **rest})

    monkeypatch.setattr(reproducing, "reproduce", stop)

    def read(*words):
        with pytest.raises(Asked) as found:
            main(["reproduce", *words, "--debug"])
        return found.value.args

    return read


@pytest.mark.parametrize("dataset", ["", "mmi"])
def test_the_command_beside_a_table_makes_it_again(asked, dataset, tmp_path):
    file = tmp_path / "my run.toml"
    file.write_text("seeds = [5, 6]\n\n[loop]\nbatch = 9\n")
    words = ["ablation", "--cache", "a b.zarr", "--out", "o", "--config", str(file), "--epochs", "5", "--seeds", "7"]
    words += ["--set", "loop.epochs=3", "--set", "model.dim=64", "--set", "sampling.start_range=20", "--lr", "1e-05"]
    words += ["--device", "cpu", "--precision", "fp32", "--stack", "off", "--allow-leak"]
    words += ["--dataset", dataset] if dataset else ["--folds", "4", "--by", "clip"]
    recipe, rest = asked(*words)
    recipe = reproducing._with_defaults(recipe, dataset)
    runs = SimpleNamespace(recipe=recipe, dataset=dataset, test_cache=None, out=rest["out"])
    runs.cache = SimpleNamespace(path=rest["cache"])
    written = reproducing.command_of(TABLES["ablation"], runs)
    assert "--seeds 7 " in written
    again, beside = asked(*shlex.split(written)[2:])
    assert {**beside, "watch": None} == {**rest, "watch": None}
    assert reproducing._with_defaults(again, dataset).to_json() == recipe.to_json()
    made = recipe.config()
    assert (made.seeds, made.loop.epochs, made.loop.batch, made.model.dim) == ((7,), 5, 9, 64)
    assert (made.loop.learning_rate, made.allow_leak) == (1e-5, True)
    assert (made.protocol.kind, made.protocol.by) == ((dataset, "subject") if dataset else ("kfold", "clip"))
