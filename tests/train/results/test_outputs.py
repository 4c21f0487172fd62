"""What a run leaves behind: valid, complete, in agreement with itself and with scikit-learn, whatever classes are called."""

from __future__ import annotations

import csv
import json
import sys
import types
from importlib.machinery import ModuleSpec
from xml.etree import ElementTree

import numpy as np
import pytest
from sklearn import metrics as sklearn
from train_samples import TINY, Recorder, learning_cache, read_csv, read_lines, tiny_config

from est.train import EstConfig, ProtocolConfig, Run, evaluate, fit
from est.train.config.configfile import resolve
from est.train.results.results import pool_answers
from est.train.runs.files import read_json, write_json
from est.train.runs.run import PREDICTIONS, RESULT

ODD = (
    'a, "b"\nc',
    "none | <é> & ✓",
    "喜び'; -- \\",
)  # commas, quotes, a line break, a pipe, brackets, letters of all sorts
HEADING = "EST on a frozen backbone: the published training is end to end"
TEXTS = (
    "config.toml",
    "run.json",
    "folds.json",
    "clips.json",
    "metrics.json",
    "predictions.csv",
    "confusion.csv",
    "confusion.svg",
)
TEXTS += ("history.csv", "summary.md", "classes.csv", "scores.csv", "curves.svg")


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("outputs")
    cache = learning_cache(
        folder / "cache.zarr", labels=ODD, strength=0.25, failures=[("gone, too", ODD[0], "P2", "")], faceless=(6, 7)
    )
    config = tiny_config(seeds=(1, 2), eval_every=2, protocol=ProtocolConfig(kind="kfold", folds=3))
    return fit(cache, folder / "run", config)


@pytest.fixture(scope="module")
def rows(results):
    return read_csv(results.run.path / "predictions.csv")


def test_the_folder_holds_what_it_should(results):
    run = results.run
    assert {path.name for path in run.path.iterdir()} == {*TEXTS, "parts"}
    for name in run.parts:
        assert {path.name for path in run.part(name).iterdir()} == {
            "checkpoint.safetensors",
            "history.jsonl",
            "result.json",
            "predictions.csv",
        }
    assert Run.open(run.path) == run
    assert run.complete


def test_every_json_is_strict_and_plain(results):
    def refuse(word):
        raise AssertionError(f"{word} is no JSON")

    for path in results.run.path.rglob("*.json"):
        json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)
    for path in results.run.path.rglob("*.jsonl"):
        for line in path.read_text(encoding="utf-8").splitlines():
            json.loads(line, parse_constant=refuse)
    json.dumps(results.to_json(), allow_nan=False)  # no number is NumPy's
    assert read_json(results.run.path / "metrics.json") == json.loads(json.dumps(results.to_json()))
    with pytest.raises(TypeError):
        write_json(results.run.path.parent / "x.json", {"n": np.int64(3)})


def test_numbers_agree_with_scikit_learn(results, rows):
    found = read_json(results.run.path / "metrics.json")
    labels = list(results.run.labels)
    pooled = found["pooled"]
    assert pooled["war"]["total"] == found["clips"] == len(rows) / 2 == 55
    accuracy, recalls, f1, matrix = [], [], [], []
    for seed in found["seeds"]:
        mine = [row for row in rows if row["part"].endswith(f"seed{seed}")]
        truth, predicted = [row["truth"] for row in mine], [row["prediction"] or "no prediction" for row in mine]
        accuracy.append(sklearn.accuracy_score(truth, predicted))
        recalls.append(sklearn.recall_score(truth, predicted, labels=labels, average=None, zero_division=0))
        f1.append(sklearn.f1_score(truth, predicted, labels=labels, average=None, zero_division=0).mean())
        matrix.append(sklearn.confusion_matrix(truth, predicted, labels=[*labels, "no prediction"])[:-1])
        own = found["by_seed"][str(seed)]
        assert (own["war"], own["uar"], own["uf1"]) == pytest.approx((accuracy[-1], recalls[-1].mean(), f1[-1]))
    assert pooled["war"]["value"] == pytest.approx(np.mean(accuracy))
    assert [one["recall"] for one in pooled["per_class"]] == pytest.approx(np.mean(recalls, axis=0))
    assert pooled["uar"]["value"] == pytest.approx(np.mean(recalls))
    assert pooled["uf1"]["value"] == pytest.approx(np.mean(f1))
    assert found["over_seeds"]["uf1"]["sd"] == pytest.approx(np.std(f1, ddof=1))
    assert np.array(pooled["confusion"]) == pytest.approx(np.mean(matrix, axis=0))
    assert accuracy[0] != accuracy[1]
    assert 0.2 < pooled["war"]["value"] < 0.98, "numbers that could be wrong"


def test_numbers_agree_with_each_other(results, rows):
    run, found = results.run, read_json(results.run.path / "metrics.json")
    assert found["heading"] == HEADING
    assert found["pooled"]["war"]["right"] == sum(part["right"] for part in found["parts"]) / 2
    assert found["pooled"]["war"]["total"] == sum(part["total"] for part in found["parts"]) / 2
    folds = [np.mean([part["war"] for part in found["parts"] if part["fold"] == f"fold{n}"]) for n in (1, 2, 3)]
    assert found["over_folds"]["war"]["mean"] == pytest.approx(np.mean(folds))
    assert found["over_folds"]["war"]["sd"] == pytest.approx(np.std(folds, ddof=1))
    assert (found["over_seeds"]["war"]["number"], found["over_folds"]["war"]["number"]) == (2, 3)
    assert found["order"]["total"] == sum(part["order"]["total"] for part in found["parts"]) == 2 * 52
    assert found["order"]["chance"] == 0.1
    assert found["oracle"]["right"] == sum(part["oracle"]["right"] for part in found["parts"])
    assert found["oracle"]["right"] >= 2 * found["pooled"]["war"]["right"]
    assert found["control"]["war"]["total"] == 55
    control = sum(row["control"] == row["truth"] for row in rows if row["part"].endswith("seed1"))
    assert found["control"]["war"]["right"] == control
    for table in ("by_length", "by_coverage"):
        assert sum(row["total"] for row in found[table]) == len(rows) / 2
        assert sum(row["right"] for row in found[table]) == pytest.approx(found["pooled"]["war"]["right"])
    assert found["unseen"] == ["clip006", "clip007", "gone, too"]
    assert found["seconds"] == pytest.approx(sum(part["seconds"] for part in found["parts"]), abs=0.01)
    for name in run.parts:
        result, own = read_json(run.part(name) / RESULT), read_csv(run.part(name) / PREDICTIONS)
        assert found["parts"][run.parts.index(name)] == result
        assert result["right"] == sum(row["truth"] == row["prediction"] for row in own)
        assert [row for row in rows if row["part"] == name] == [{"part": name, **row} for row in own]
    shares = [[float(row[f"p_{label}"]) for label in run.labels] for row in rows if row["prediction"]]
    assert np.sum(shares, axis=1) == pytest.approx(1, abs=1e-4)
    guessed = [run.labels[place] for place in np.argmax(shares, axis=1)]
    assert guessed == [row["prediction"] for row in rows if row["prediction"]]


def test_tables_hold_every_name_as_it_is(results, rows):
    labels = tuple(sorted(ODD))
    assert results.run.labels == labels
    assert {row["truth"] for row in rows} == set(ODD)
    with open(results.run.path / "confusion.csv", newline="", encoding="utf-8") as file:
        table = list(csv.reader(file))
    assert table[0] == ["truth \\ prediction", *labels, "no prediction"]
    assert [line[0] for line in table[1:]] == list(labels)
    assert [[float(cell) for cell in line[1:]] for line in table[1:]] == results.scores.confusion.tolist()
    again = evaluate(results.run)
    assert again.scores.to_json() == results.scores.to_json()


def test_the_history_has_every_epoch_of_every_part(results):
    history = read_csv(results.run.path / "history.csv")
    assert [(row["part"], row["epoch"]) for row in history] == [
        (name, str(epoch)) for name in results.run.parts for epoch in (1, 2, 3, 4)
    ]
    assert [bool(row["test_right"]) for row in history[:4]] == [False, True, False, True], "scored every other epoch"
    for name in results.run.parts:
        last = read_lines((results.run.part(name) / "history.jsonl").read_text(encoding="utf-8"))[-1]
        result = read_json(results.run.part(name) / RESULT)
        assert (last["test_right"], last["test_clips"], last["test_uar"]) == (
            result["right"],
            result["total"],
            result["uar"],
        )
        assert {"loss", "expression_loss", "order_loss", "order_right", "learning_rate", "train_clips"} <= set(last)


def test_the_picture_is_xml_and_says_everything(results):
    text = (results.run.path / "confusion.svg").read_text(encoding="utf-8")
    root = ElementTree.fromstring(text)
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    for label in ODD:
        assert texts.count(label) == 2, "a row and a column"
    assert "no prediction" in texts
    cells = [float(text) for text in texts if text.replace(".", "").isdigit()]
    assert cells == results.scores.confusion.reshape(-1).tolist()
    width = float(root.get("width"))
    for element in root.iter("{http://www.w3.org/2000/svg}text"):
        if element.get("text-anchor") == "end":
            assert float(element.get("x")) - 8 * len(element.text) >= 0, "a long name fits"
        assert float(element.get("x")) <= width


def test_the_summary_says_what_was_measured_and_what_stands_beside(results):
    text = (results.run.path / "summary.md").read_text(encoding="utf-8")
    scores, oracle, control = results.scores, results.oracle, results.control
    assert text.index(HEADING) < 200
    for part in (
        f"mean ± sd of 2 seeds on {scores.total} clips",
        "EST − control = ",
        f"({results.answers[0].right}/{results.answers[0].total}), chance 10.00 %",
        f"Oracle: {100 * oracle[0] / oracle[1]:.2f} %, the mean over seeds",
        "its 3 folds by themselves: WAR",
        "UAR the mean over classes",
        f"WAR {100 * control.war:.2f} % ({control.right}/{control.total})",
        "independence of training and test: by subject",
        "counted as wrong: 3 clips without a face or without frames",
        "`gone, too`",
        "4 epochs, batch 8",
        "an assumption",
        "95 % over 6 subjects",
        "over 3 of 3 classes",
    ):
        assert part in text, part
    tables = [block.splitlines() for block in text.split("\n\n") if block.startswith("| ")]
    for table in tables:
        columns = {line.replace("\\|", "").count("|") for line in table}
        assert len(columns) == 1, table
    parts = next(table for table in tables if table[0].startswith("| part"))
    assert "| oracle |" in parts[0]
    assert len(parts) == 2 + 6


def test_the_configuration_of_a_run_is_a_configuration(results):
    assert resolve(file=results.run.path / "config.toml") == results.run.config


def test_the_facts_of_a_run(results):
    facts = results.run.facts
    assert facts["protocol"]["independence"] == "by subject"
    assert facts["protocol"]["folds"]["fold1"] == {
        half: len(ids) for half, ids in results.run.halves()["fold1"].items()
    }
    assert set(facts["orders"]) == {"1", "2"}
    assert all(sorted(order) == list(range(7)) for orders in facts["orders"].values() for order in orders)
    assert facts["orders"]["1"] != facts["orders"]["2"]
    assert facts["threads"] == 1
    assert facts["precision"] == "fp32"
    assert "torch" in facts["environment"]["versions"]


def test_one_part_and_nothing_beside_it(tmp_path):
    """No second seed or fold, no orders, no control, no curve: what is not there is not spoken of."""
    model = EstConfig(**{**vars(TINY), "ssop": False})
    results = fit(
        learning_cache(tmp_path / "c.zarr"),
        tmp_path / "run",
        tiny_config(epochs=2, model=model, control=False, eval_every=0),
    )
    found = read_json(tmp_path / "run" / "metrics.json")
    assert not {"order", "oracle", "control", "above_control"} & set(found)
    assert found["over_seeds"]["war"]["sd"] is None
    assert found["over_folds"]["war"]["sd"] is None
    text = (tmp_path / "run" / "summary.md").read_text(encoding="utf-8")
    assert "Oracle" not in text
    assert "control (pooled" not in text
    assert "order of shuffled" not in text
    assert "order_loss" not in read_csv(tmp_path / "run" / "history.csv")[0]
    assert results.answers == ()


def test_curves_for_tensorboard(tmp_path, monkeypatch):
    """With a writer of ours in the place of the package's, which keeps what it is told."""
    told = []

    class SummaryWriter:
        def __init__(self, folder, purge_step):
            told.append(("open", folder, purge_step))

        def add_scalar(self, name, value, step):
            told.append((name, value, step))

        def close(self):
            told.append(("close",))

    for name in ("tensorboard", "torch.utils.tensorboard"):
        module = types.ModuleType(name)
        module.__spec__ = ModuleSpec(name, None)
        module.SummaryWriter = SummaryWriter
        monkeypatch.setitem(sys.modules, name, module)
    cache, config = learning_cache(tmp_path / "c.zarr"), tiny_config(tensorboard=True, select="val")
    watch = Recorder(interrupt_after=4)  # three steps an epoch
    with pytest.raises(KeyboardInterrupt):
        fit(cache, tmp_path / "run", config, watch=watch)
    fit(None, tmp_path / "run", resume=True)
    folder = str(tmp_path / "run" / "parts" / "split" / "tensorboard")
    assert [event for event in told if event[0] in ("open", "close")] == [
        ("open", folder, 1),
        ("close",),
        ("open", folder, 2),
        ("close",),
    ]
    history = read_csv(tmp_path / "run" / "history.csv")
    curves = {name: [event[1:] for event in told if event[0] == name] for name in {event[0] for event in told}}
    assert curves["loss/all"] == [(float(row["loss"]), int(row["epoch"])) for row in history]
    assert [value for value, _ in curves["test/war"]] == [
        int(row["test_right"]) / int(row["test_clips"]) for row in history
    ]
    assert {"val/uar", "train/order", "learning_rate", "loss/order"} <= set(curves)


def test_a_part_that_could_ask_nothing_spoils_no_results():
    """None of its test clips shows a face, so no order was asked for."""
    told = [{"order": {"right": 3, "total": 8, "orders": 10}}, {}, {"order": {"right": 1, "total": 4, "orders": 10}}]
    found = pool_answers(told, "order")
    assert (found.right, found.total, found.choices) == (4, 12, 10)
