"""Tables of `est reproduce` on a small cache: trained once, resumed, shared; and all of them, as files that hold what they should."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree

import pytest
from refusals import differs
from reproduce_samples import TINY, recipe
from train_samples import WIDTH, Recorder, learning_cache, read_csv

from est.cli import main
from est.errors import UsageError
from est.sweep.reproduce import reproducing, runs
from est.sweep.reproduce.recipe import Recipe
from est.sweep.reproduce.reproducing import reproduce
from est.sweep.reproduce.tables.catalogue import TABLES
from est.train import fit
from est.train.results.compare import compare_runs
from est.train.runs.run import Run

QUICK = {"epochs": 1, "seeds": (1,)}


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return learning_cache(tmp_path_factory.mktemp("reproduced") / "cache.zarr", 36, black=[0.0] * WIDTH)


@pytest.fixture
def trained(monkeypatch):
    """Return a list of the runs that are trained from now on."""
    found = []

    def counted(ready, path, *arguments, **settings):
        found.append(path.name)
        return fit(ready, path, *arguments, **settings)

    monkeypatch.setattr(runs, "fit", counted)
    return found


@pytest.fixture(scope="module")
def made(cache, tmp_path_factory):
    """Return the folder of a table of two runs."""
    out = tmp_path_factory.mktemp("made") / "out"
    reproduce("order-accuracy", cache, out, recipe(**QUICK))
    return out


def test_nothing_is_trained_twice(made, cache, trained):
    before = (made / "order-accuracy.csv").read_text()
    watch = Recorder()
    again = reproduce("order-accuracy", cache, made, recipe(**QUICK), watch=watch)
    assert watch.said[0] == "2 runs of 2 folds × 1 seed: 4 trainings, all of them done"
    assert (made / "order-accuracy.csv").read_text() == before
    matrix = reproduce("confusion", cache, made, recipe(**QUICK)).sheets[0]
    assert not trained, "the run of EST is that of the other table"
    assert sum(int(line["clips"].words) for line in matrix.lines) == 36
    assert any(note.startswith("One seed") for note in again.sheets[0].notes)
    assert [line["order"].values["order_seeds"] for line in again.sheets[0].lines] == [1, 1]


def test_runs_are_runs(made):
    rows = read_csv(made / "order-accuracy.csv")
    paths = [made / "runs" / "est", made / "runs" / "est-position=slot"]
    found = compare_runs(paths)
    assert [float(row["war"]) for row in rows] == pytest.approx(
        [one.predictions.scores.war for one in found.contestants]
    )
    assert float(rows[1]["difference_value"]) == pytest.approx(-found.duels[0].war.value)
    assert found.settings == {"model.position": ("snippet", "slot")}


def test_a_stopped_table_goes_on(cache, made, tmp_path, trained):
    """Stopped in the second run, the first of which is complete."""
    out, watch = tmp_path / "out", Recorder(6)
    with pytest.raises(KeyboardInterrupt):
        reproduce("order-accuracy", cache, out, recipe(**QUICK, **{"loop.stack": "off"}), watch=watch)
    assert watch.said[-1] == f"stopped; the same command with --out {out} resumes"
    assert trained == ["est", "est-position=slot"]
    assert [Run.open(out / "runs" / name).complete for name in trained] == [True, False]
    watch = Recorder()
    reproduce("order-accuracy", cache, out, recipe(**QUICK, **{"loop.stack": "off"}), watch=watch)
    assert trained[2:] == ["est-position=slot"]
    assert "of them done, about" in watch.said[0]


def test_other_settings_are_refused(made, cache, tmp_path):
    for changed, expected in (
        (recipe(epochs=2, seeds=(1,)), differs("loop.epochs", 1, 2)),
        (recipe(epochs=1, seeds=(2,)), differs("seeds", 1, 2)),
        (recipe("model.layers=2", **QUICK), differs("model.layers", 1, 2)),
    ):
        with pytest.raises(UsageError) as found:
            reproduce("ablation", cache, made, changed)
        assert re.search(expected, found.value.message)
    other = learning_cache(tmp_path / "other.zarr", 35, black=[0.0] * WIDTH)
    with pytest.raises(UsageError, match="clips or labels differ"):
        reproduce("ablation", other, made, recipe(**QUICK))


def test_black_clips_and_starts_are_scored_once(made, cache, monkeypatch):
    """The middle of a clip that is black everywhere else, too: nothing of the class is left."""
    calls, score = [], runs.evaluate
    monkeypatch.setattr(
        runs, "evaluate", lambda run, *rest, **how: calls.append(run.path.name) or score(run, *rest, **how)
    )
    first = reproduce("zero-middle", cache, made, recipe(**QUICK)).sheets[0]
    assert sorted(calls) == ["est", "est-position=slot", "est-ssop=false"]
    again = reproduce("zero-middle", cache, made, recipe(**QUICK)).sheets[0]
    assert len(calls) == 3
    assert again.to_json() == first.to_json()
    for row in first.to_json()["rows"]:
        run = Run.open(
            made / "runs" / {"without SSOP": "est-ssop=false", "with SSOP": "est"}.get(row["row"], "est-position=slot")
        )
        assert row["war_whole"] == pytest.approx(
            json.loads((run.path / "metrics.json").read_text())["pooled"]["war"]["value"]
        )
        assert row["lost_value"] == pytest.approx(row["war"] - row["war_whole"])


@pytest.mark.slow
def test_the_paper_stands_beside_a_published_data_set(tmp_path, monkeypatch):
    """Ten folds by subject are MMI's; that its clips are these is what the check would refuse."""
    monkeypatch.setattr(reproducing, "misfits", lambda *_: [])
    monkeypatch.setattr(reproducing, "misfits_of_cache", lambda *_: [])
    ten = learning_cache(tmp_path / "ten.zarr", 60, subjects=10)
    quick = Recipe(
        settings=TINY, options={"device": "cpu", "loop.threads": 1, "loop.epochs": 1, "loop.stack": "on", "seeds": (1,)}
    )
    out = tmp_path / "out"
    sheet = reproduce("order-accuracy", ten, out, quick, dataset="mmi").sheets[0]
    assert "protocol mmi (kfold), 10 folds" in sheet.caption
    assert "preset official" in sheet.caption
    assert {row["paper_order"] for row in read_csv(out / "order-accuracy.csv")} == {"45.0"}
    assert "--dataset mmi" in (out / "order-accuracy.tex").read_text()
    with pytest.raises(UsageError, match=differs("protocol.kind", "mmi", "kfold")):
        reproduce(
            "order-accuracy",
            ten,
            out,
            Recipe(settings=TINY, options={**quick.options, "protocol.kind": "kfold", "protocol.folds": 10}),
        )


@pytest.mark.slow
def test_all_tables(tmp_path, capsys):
    cache = learning_cache(tmp_path / "cache.zarr", 36, maps=True, black=[0.0] * WIDTH)
    other = learning_cache(
        tmp_path / "other.zarr", 12, labels=("anger", "happiness", "awe"), maps=True, black=[0.0] * WIDTH
    )
    out = tmp_path / "out"
    words = [
        "reproduce",
        "all",
        "--cache",
        str(cache),
        "--out",
        str(out),
        "--test-cache",
        str(other),
        "--folds",
        "2",
        "--epochs",
        "2",
    ]
    words += ["--seeds", "1,2", "--device", "cpu", "--threads", "1", "--json"]
    words += [word for text in (*TINY, "model.hidden=8") for word in ("--set", text)]
    with pytest.raises(SystemExit, match="0"):
        main(words)
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    result = events[-1]
    assert result["event"] == "result"
    assert [table["what"] for table in result["tables"]] == list(TABLES)
    assert not result["refused"]
    assert any("rows share a run with another one" in one.get("message", "") for one in events)
    for name, table in TABLES.items():
        assert (out / f"{name}.md").read_text().startswith(f"# {table.number}: ")
        rows = read_csv(out / f"{name}.csv")
        if table.rows and name != "confusion":
            left_out = json.loads((out / f"{name}.json").read_text())["left_out"]
            assert [row["row"] for row in rows] == [row.label for row in table.rows if row.label not in left_out]
            assert name in ("overall", "complexity") or not left_out
            assert "STT" not in left_out
        assert r"\bottomrule" in (out / f"{name}.tex").read_text()
    pictures = list(out.glob("*.svg"))
    assert {path.name.split(".")[0].split("-")[0] for path in pictures} >= {
        "ablation",
        "orders",
        "snippets",
        "start",
        "embedding",
        "convergence",
    }
    for path in pictures:
        numbers = [
            value
            for node in ElementTree.parse(path).iter()
            for name, value in node.items()
            if name in ("x1", "y1", "cx", "points")
        ]
        assert not [value for value in numbers if "nan" in value], path.name
    crossed = json.loads((out / "cross-database.json").read_text())
    assert any("awe 4" in note for note in crossed["notes"])
    shares = json.loads((out / "attention-index.json").read_text())["rows"]
    assert all(sum(row[f"snippet_{place}"] for place in range(1, 8)) == pytest.approx(1) for row in shares)
    with pytest.raises(SystemExit, match="0"):
        main([*words, "--dry-run"])
    plan = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert all(run["done"] == run["trainings"] for run in plan["runs"])
