"""`est reproduce` without a training: what its tables are made of, what is said before, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from reproduce_samples import TINY, recipe
from train_samples import Recorder, learning_cache, read_csv

from est.cache import open_cache
from est.cli import main
from est.errors import UsageError
from est.sweep.reproduce import reproducing
from est.sweep.reproduce.captions import caption
from est.sweep.reproduce.cells import difference, over_seeds, signed
from est.sweep.reproduce.measures.attention_index import shares
from est.sweep.reproduce.measures.measured import (
    Measured,
    compare,
    compare_changed,
    conclusions,
    negative,
)
from est.sweep.reproduce.pictures import Curve, Point, curve_picture, row_picture
from est.sweep.reproduce.recipe import Recipe, differences
from est.sweep.reproduce.reproducing import reproduce
from est.sweep.reproduce.runs import Runs
from est.sweep.reproduce.sheet import Cell, Sheet
from est.sweep.reproduce.tables.catalogue import TABLES, tables_named
from est.sweep.reproduce.watching import RowWatch
from est.train.folds.annotations import Annotations
from est.train.loop.world import ALONE
from est.train.models.registry import MODELS, config_class
from est.train.preparation import expect_trainable, plan_of
from est.train.results.metrics import spread
from est.train.results.paired import compare_paired
from est.train.results.predictions import Predictions

ROWS = [(table.name, row) for table in TABLES.values() for row in table.rows]


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return learning_cache(tmp_path_factory.mktemp("reproduced") / "cache.zarr", 36)


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_every_row_is_a_configuration_that_trains(table):
    for preset in ("small", "official"):
        for row in table.rows:
            made = Recipe(preset=preset).config(row.settings)
            expect_trainable(made, ALONE)
            flat = {"model.name": made.model.name, "control": made.control, "eval_every": made.eval_every}
            for key, value in row.settings.items():
                found = flat[key] if key in flat else getattr(made.model, key.removeprefix("model."))
                assert found == value, (row.label, key)


def test_rows_of_one_configuration_share_a_run_and_others_do_not():
    made = Recipe(preset="small", settings=TINY)
    names = {}
    for _, row in ROWS:
        names.setdefault(made.name(row), []).append(made.config(row.settings))
    assert all(config == found[0] for found in names.values() for config in found)
    configs = [found[0] for found in names.values()]
    assert all(one != other for place, one in enumerate(configs) for other in configs[:place])
    assert names.keys() >= {
        "est",
        "est-ssop=false",
        "est-aggregation=mean-ssop=false",
        "est-orders=20",
        "gru",
        "pooled-control=true",
    }
    assert all(len(name) <= 80 for name in names)


def test_settings_go_to_the_models_that_have_them():
    made = Recipe(preset="small", settings=("model.hidden=32", "model.dim=64", "loop.batch=4"))
    made.expect_known()
    gru, est = made.config({"model.name": "gru"}), made.config({"model.ssop": False})
    assert (gru.model.hidden, gru.loop.batch) == (32, 4)
    assert (est.model.dim, est.model.ssop) == (64, False)
    with pytest.raises(UsageError, match=r"There is no setting 'model\.hiddn'"):
        Recipe(settings=("model.hiddn=32",)).expect_known()
    with pytest.raises(UsageError, match="rows of a table say which models"):
        Recipe(settings=("model.name=gru",)).expect_known()


def test_a_row_lies_above_what_the_user_sets():
    made = Recipe(preset="small", settings=("model.ssop=false", "model.layers=2"))
    assert made.config(TABLES["ablation"].row("with both (EST)").settings).model.ssop
    heads = made.config(TABLES["layers-heads"].row("8 heads").settings).model
    assert (heads.layers, heads.heads) == (3, 8)


def test_a_caption_says_what_rows_read_and_what_numbers_are(tmp_path):
    nobody = learning_cache(tmp_path / "nobody.zarr", 36, maps=True, fields={n: {"subject": ""} for n in range(36)})
    opened = open_cache(nobody)
    for seeds, by, expected in (
        ((1,), "clip", "2 epochs, seed 1; 95 % intervals over clips. The"),
        ((1, 2), "clip", "seeds 1, 2; mean"),
    ):
        made = recipe(seeds=seeds, **{"protocol.by": by})
        plan = plan_of(opened, Annotations.from_cache(opened), made.config())
        runs = Runs(cache=opened, out=tmp_path, recipe=made, plan=plan, watch=RowWatch(Recorder(), 0))
        table = TABLES["overall"]
        rows = [table.row(label) for label in ("Transformer", "EST", "STT", "MSSTNet")]
        found = Measured(lines=[{"95 %": Cell(words="1 to 2")}])
        said = caption(table, rows, runs, found)
        assert expected in said
        assert said.startswith("nobody.zarr; gap of ")
        assert "; STT: layer3 of " in said
        assert "; MSSTNet: pyramid4x4 of " in said
        assert "intervals" not in caption(table, rows, runs, Measured(lines=[{"WAR": Cell(words="1"), "95 %": Cell()}]))


def test_differences_of_recipes_are_named_once():
    then, now = (Recipe(preset="small", options={"loop.epochs": epochs}).to_json() for epochs in (5, 6))
    assert differences(then, now) == {"loop.epochs": ("5", "6")}
    assert not differences(then, json.loads(json.dumps(then)))


@pytest.mark.slow  # torch imports for many seconds what counts without memory
def test_the_ablation_of_the_paper_has_its_parameters():
    """34.37 M, of which the unused AA-SFE is 1.05 M, and 42.78 M, with the 11.18 M of the backbone."""
    from est.train.models.registry import describe_model

    table = TABLES["ablation"]
    for label, expected in (("Transformer", 33.32), ("with AA-SFE", 34.37), ("with both (EST)", 42.78)):
        made = Recipe(preset="official").config(table.row(label).settings)
        assert describe_model(made.model, 512, 6).whole.parameters / 1e6 == pytest.approx(expected, abs=0.01)


def predictions(right, people=6):
    """Return predictions (S, N) that are right where that is said."""
    right = np.atleast_2d(np.asarray(right, bool))
    number = right.shape[1]
    return Predictions(
        labels=("a", "b"),
        seeds=tuple(range(len(right))),
        ids=np.array([f"c{place:02d}" for place in range(number)]),
        subjects=np.array([f"p{place % people}" for place in range(number)]),
        folds=np.array(["fold1"] * number),
        truth=np.zeros(number, int),
        predicted=np.where(right, 0, 1),
    )


def test_differences():
    rng = np.random.default_rng(0)
    one, other = predictions(rng.random((3, 60)) < 0.9), predictions(rng.random((3, 60)) < 0.4)
    found = compare(one, other)
    assert found.better == 1
    assert compare(other, one).value == pytest.approx(-found.value)
    fixed = predictions(rng.random(60) < 0.4)
    back = compare(fixed, one, one_fixed=True)
    assert back == negative(compare(one, fixed, other_fixed=True))
    assert (back.better, back.value) == (-1, pytest.approx(fixed.right.mean() - one.right.mean()))
    cell = difference("difference", found, "B")
    assert cell.words == f"{signed(found.value)} ({signed(found.low)} to {signed(found.high)}), p {found.p:.3f}"
    assert cell.values["against"] == "B"


def test_what_seeds_do_to_clips_and_changed_clips_alike_is_no_difference():
    """The models of three seeds differ by a lot, and each loses about the same clips: the loss is known well."""
    plain = np.random.default_rng(0).random((3, 240)) < np.array([[0.95], [0.75], [0.55]])
    black = plain & (np.random.default_rng(1).random(240) < 0.7)
    lost = compare_changed(predictions(black, people=24), predictions(plain, people=24))
    apart = compare_paired(black, plain, predictions(plain, people=24).groups)
    assert lost.value == pytest.approx(black.mean() - plain.mean())
    assert (lost.better, apart.better) == (-1, 0)
    assert lost.high - lost.low < (apart.high - apart.low) / 2


def test_conclusions():
    rng = np.random.default_rng(1)
    good, bad, alike = (predictions(rng.random((2, 60)) < share) for share in (0.95, 0.3, 0.32))
    found = {
        ("good", "bad"): compare(good, bad),
        ("alike", "bad"): compare(alike, bad),
        ("bad", "alike"): compare(bad, alike),
    }
    said = conclusions(found)
    assert "good is better" in said[0]
    assert "2 other differences cannot be told from 0" in said[1]
    assert said[2].startswith("3 comparisons")
    assert (
        "cannot tell them apart" in conclusions({("alike", "bad"): found["alike", "bad"]}, asked=(("alike", "bad"),))[0]
    )


def test_the_curves_have_every_epoch_whatever_is_asked_for():
    made = Recipe(settings=("eval_every=0",))
    assert {made.config(row.settings).eval_every for row in TABLES["convergence"].rows} == {1}
    assert made.config(TABLES["ablation"].rows[0].settings).eval_every == 0
    shared = {Recipe().name(row) for name in ("convergence", "ablation") for row in TABLES[name].rows}
    assert len(shared) == 4, "as a rule every epoch is scored, and the runs are those of the ablation"


def test_a_span_whose_ends_are_written_alike_is_one_number():
    alike = [compare(predictions([True, False] * 10), predictions([False, True] * 10))] * 2
    one = replace(alike[0], detectable=0.27101)
    other = replace(alike[0], detectable=0.27099)
    assert not one.better
    assert "one of 27.1 points would" in conclusions({("a", "b"): one, ("c", "b"): other})[0]
    assert (
        "one of 27.1 to 28.0 points would"
        in conclusions({("a", "b"): one, ("c", "b"): replace(one, detectable=0.28)})[0]
    )


def test_shares_of_the_highest_attention():
    attention = np.zeros((4, 2, 3))
    attention[[0, 1, 2, 3], :, [0, 2, 2, 1]] = 0.5
    attention[3, 0] = (0.9, 0.0, 0.1)  # one head alone: the mean over heads counts
    assert shares([attention[:2], attention[2:]]).tolist() == [0.5, 0.0, 0.5]


def test_a_sheet_is_written_in_all_forms(tmp_path):
    lines = [
        {
            "row": Cell(words="a|b", values={"row": "a|b"}),
            "WAR": over_seeds("war", spread([0.5, 0.6])),
            "order": Cell(),
        },
        {"row": Cell(words="c_d", values={"row": "c_d"}), "WAR": over_seeds("war", spread([0.25]))},
    ]
    sheet = Sheet(
        name="ablation",
        title="Table 6",
        caption="5 % of it",
        lines=lines,
        notes=("n",),
        skipped={"e": "why"},
        pictures={".svg": "<svg/>"},
    )
    assert sheet.columns == ["row", "WAR"], "a column that nothing fills is left out"
    sheet.save(tmp_path, "est reproduce ablation")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "ablation.csv",
        "ablation.md",
        "ablation.svg",
        "ablation.tex",
    ]
    page = (tmp_path / "ablation.md").read_text()
    assert "| a\\|b | 55.00 ± 7.07 % |" in page
    assert "- left out: e: why\n- n" in page
    assert read_csv(tmp_path / "ablation.csv")[0] == {
        "row": "a|b",
        "war": "0.55",
        "war_sd": str(spread([0.5, 0.6]).sd),
        "war_seeds": "2",
    }
    assert r"c\_d & 25.00 \% \\" in (tmp_path / "ablation.tex").read_text()


def test_pictures_hold_their_points():
    points = [Point(x=2, value=0.5, ends=(0.4, 0.6)), Point(x=50, value=0.7)]
    drawn = curve_picture(
        [Curve(name="EST <1>", points=points), Curve(name="chance", points=points, faint=True)],
        title="t",
        axis="orders",
    )
    assert drawn.count("<circle") == 2
    assert "EST &lt;1&gt;" in drawn
    assert "2 orders: 50.0 %; 50 orders: 70.0 %" in drawn
    one = curve_picture([Curve(name="all right", points=[Point(x=1, value=1.0)])], title="t", axis="x")
    assert "nan" not in one
    assert row_picture([("a", 0.5, None), ("b", 0.9, (0.8, 1.0))], title="t").count("<circle") == 2


def test_the_nearest_table_is_named(capsys):
    with pytest.raises(UsageError, match=r"There is no table 'ablaton'") as found:
        tables_named("ablaton")
    assert found.value.remedy == "est reproduce ablation"
    assert len(tables_named("all")) == len(TABLES)
    with pytest.raises(SystemExit, match="2"):
        main(["reproduce", "ablation"])
    assert "--cache names it" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="0"):
        main(["reproduce", "--list", "--json"])
    listed = {one["name"]: one for one in json.loads(capsys.readouterr().out)["tables"]}
    assert (listed["ablation"]["trains"], listed["datasets"]["trains"]) == (4, 0)
    assert listed["ablation"]["paper_numbers"] == ["bu4dfe"]


def test_a_dry_run_says_what_would_be_trained(cache, tmp_path):
    watch = Recorder()
    found = reproduce("ablation", cache, tmp_path / "out", recipe(), dry_run=True, watch=watch)
    assert watch.said[0].startswith("4 runs of 2 folds × 2 seeds: 16 trainings, about ")
    assert not watch.parts
    assert not (tmp_path / "out").exists()
    assert [work.name for work in found.plan.works][-1] == "est"
    assert all(work.seconds > 0 for work in found.plan.works)
    assert "est-ssop=false: 4 trainings, about" in "\n".join(found.lines)


def test_rows_that_cannot_be_made_say_why(cache, tmp_path):
    """75 frames cannot be shown of a window of ten, nor maps of a cache without; the others can."""
    short = recipe(
        "sampling.window=10",
        "sampling.snippet_window=6",
        "sampling.unified=20",
        "sampling.start_range=5",
        "sampling.test_start=5",
    )
    found = reproduce("overall", cache, tmp_path / "out", short, dry_run=True)
    skipped = found.plan.skipped["overall"]
    reads = {config_class(name).title: config_class(name)().reads for name in MODELS if config_class(name)().reads}
    assert set(skipped) == {"GRU", "LSTM", "Window head"} | reads.keys()
    assert "est cache import" in skipped["Window head"]
    assert all("est extract" in skipped[name] for name in reads)
    assert "has 10 (sampling.window)" in found.plan.skipped["overall"]["GRU"]
    assert "overall: left out: GRU" in "\n".join(found.lines)


def test_a_table_without_a_training_says_so(cache, tmp_path):
    watch = Recorder()
    found = reproduce("datasets", cache, tmp_path / "out", recipe(), watch=watch)
    assert watch.said == ["this needs no training"]
    row = read_csv(tmp_path / "out" / "datasets.csv")[0]
    assert (row["clips"], row["people"], row["classes"], row["lowest_rate"]) == ("36", "6", "3", "25.0")
    assert "paper" not in found.sheets[0].columns


def test_a_published_data_set_brings_its_protocol_and_the_paper(cache, tmp_path, monkeypatch):
    monkeypatch.setattr(reproducing, "misfits_of_cache", lambda *_: [])
    plain = Recipe(settings=TINY, options={"device": "cpu", "loop.epochs": 1, "seeds": (1,)})
    six = learning_cache(tmp_path / "six.zarr", 30, subjects=10)
    found = reproduce("datasets", six, tmp_path / "out", plain, dataset="mmi").sheets[0]
    assert "25 frames a second, 89.24 ± 35.38 frames (Table 1)" in found.text()[3]
    assert json.loads((tmp_path / "out" / "settings.json").read_text())["recipe"] == {}
