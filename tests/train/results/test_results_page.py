"""docs/scores.md is the schema: every key and column of a run's files is on the page, and what is on the page is in the files."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas
import pytest
from train_samples import learning_cache, read_csv, tiny_config

from est.cache.schema import ColumnSpec
from est.train import Change, ProtocolConfig, evaluate, fit, model_config
from est.train.folds.leaks import Leak
from est.train.results.results import FORMAT, VERSION
from est.train.runs.files import read_json, write_json

PAGE = (Path(__file__).parents[3] / "docs" / "scores.md").read_text(encoding="utf-8")
RENAMED = "of another name"
PLANTED = ("leak.json", "whole.json")  # what no small run has


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run of two seeds and three folds, one of a published protocol, and evaluations of the first."""
    folder = tmp_path_factory.mktemp("page")
    fields = {index: {"extra": {"sex": "fm"[index // 3 % 2], "age": 20 + index}} for index in range(54)}
    columns = {"sex": ColumnSpec(dtype="string"), "age": ColumnSpec(dtype="int64")}
    settings = {"strength": 0.25, "black": (0.1,) * 16, "subjects": 18}
    failures = [("gone", "anger", "P2", "")]
    cache = learning_cache(folder / "c.zarr", fields=fields, columns=columns, failures=failures, **settings)
    config = tiny_config(epochs=2, seeds=(1, 2), protocol=ProtocolConfig(kind="kfold", folds=3))
    run = fit(cache, folder / "run", config).run
    evaluate(run, groups=["sex", "age"]).save(folder / "own")
    other = learning_cache(
        folder / "other.zarr", 12, labels=("anger", "odd"), fields={n: {"id": f"o{n}"} for n in range(12)}, **settings
    )
    evaluate(run, other, change=Change(shuffle=True, zero="middle")).save(folder / "other")
    halves = {n: {"split": "val"} for n in range(54) if n // 3 % 3 == 2}
    afew = learning_cache(folder / "afew.zarr", fields=halves, **settings)
    plain = tiny_config(epochs=1, select="val", control=False, eval_every=0, protocol=ProtocolConfig(kind="afew"))
    evaluate(fit(afew, folder / "afew", plain).run).save(folder / "afew-own")
    fields = {n: {"extra": {"database": ("SMIC", "SAMM")[n // 3 % 2]}} for n in range(18)}
    micro = learning_cache(
        folder / "micro.zarr", 18, fields=fields, columns={"database": ColumnSpec(dtype="string")}, **settings
    )
    megc = {"model": model_config("pooled"), "protocol": ProtocolConfig(kind="megc")}
    evaluate(fit(micro, folder / "megc", tiny_config(epochs=1, control=False, eval_every=0, **megc)).run).save(
        folder / "megc-own"
    )
    write_json(folder / "whole.json", {"megc": {"published": ["of the whole composite"]}})
    leak = Leak(what="features", fold="fold1", half="test", by="duplicate", clips=("a",), total=3, same_as=("b",))
    write_json(folder / "leak.json", {"leaks": [leak.to_json()]})
    return folder


def section(title):
    """Return the first cells of the tables below a heading."""
    text = re.search(rf"^##+ {re.escape(title)}\n(.*?)(?=^##+ |\Z)", PAGE, re.DOTALL | re.MULTILINE)[1]
    return [line.split("`")[1] for line in text.splitlines() if line.startswith("| `")]


def keys(value, at=""):
    """Return the paths of everything that is no object, and of objects that are empty."""
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from keys(inner, f"{at}.{name}" if at else name)
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for inner in value:
            yield from keys(inner, f"{at}[]")
    else:
        yield at


def on_page(path):
    """Return the names on the page that a path in the file stands for."""
    if shape := re.match(r"(pooled|scores|control)\.(.+)", path):
        return {shape[1], f"SCORES.{shape[2]}"}
    if shape := re.match(r"(over_\w+)\.\w+\.(.+)", path):
        return {f"{shape[1]}.METRIC", f"SPREAD.{shape[2]}"}
    path = re.sub(r"^(intervals|groups\[\]\.largest_gap)\.(war|uar|uf1)", r"\1.METRIC", path)
    path = re.sub(r"^by_seed\.\d+\.\w+", "by_seed.SEED.METRIC", path)
    path = re.sub(r"^protocol\.folds\.\w+", "protocol.folds.FOLD", path)
    path = re.sub(r"^megc\.rows\[\]\.f1\.\w+", "megc.rows[].f1.LABEL", path)
    path = re.sub(r"^excluded\.\w+", "excluded.LABEL", path)
    path = re.sub(r"^part_intervals\.[\w-]+(\.\w+)?", "part_intervals.PART.METRIC", path)  # or empty
    return {re.sub(r"^models\.[\w-]+", "models.PART", path)}


def found_in(folder, *files):
    return {name for file in files for path in keys(read_json(folder / file)) for name in on_page(path)}


def test_every_key_of_a_run_is_on_the_page_and_the_other_way_round(folder):
    page = section("`metrics.json` of a run") + section("Scores") + section("Spread")
    assert len(set(page)) == len(page), "a key stands twice"
    assert found_in(folder, "run/metrics.json", "afew/metrics.json", "megc/metrics.json", *PLANTED) == set(page)
    assert found_in(folder, "run/metrics.json") >= {"pooled", "part_intervals.PART.METRIC", "parts[].oracle.right"}


def test_every_key_of_an_evaluation_is_on_the_page_and_the_other_way_round(folder):
    page = section("`metrics.json` of `est evaluate`")
    assert len(set(page)) == len(page), "a key stands twice"
    files = ("own/metrics.json", "other/metrics.json", "afew-own/metrics.json", "megc-own/metrics.json", *PLANTED)
    assert found_in(folder, *files) == {*page, *section("Scores"), *section("Spread")}


def test_a_key_that_is_not_on_the_page_would_be_seen(folder, tmp_path):
    data = read_json(folder / "run" / "metrics.json")
    data["pooled"]["war"][RENAMED] = 1
    write_json(tmp_path / "x.json", data)
    assert f"SCORES.war.{RENAMED}" in found_in(tmp_path, "x.json") - set(section("Scores"))


def test_the_format_and_version_on_the_page_are_those_of_the_files(folder):
    assert f'`"format": "{FORMAT}"`, `"version": {VERSION}`' in PAGE
    for name in ("run", "own", "other"):
        data = read_json(folder / name / "metrics.json")
        assert (data["format"], data["version"]) == (FORMAT, VERSION)


@pytest.mark.parametrize("file", ["predictions", "scores", "classes", "confusion", "groups", "history", "megc"])
def test_every_column_is_on_the_page_and_the_other_way_round(folder, file):
    labels = {"anger", "happiness", "surprise"}
    there = set()
    for place in ("run", "own", "other", "afew", "megc"):
        if (folder / place / f"{file}.csv").exists():
            names = read_csv(folder / place / f"{file}.csv")[0]
            there |= {re.sub(f"(?<=p_|1_)({'|'.join(labels)})$", "LABEL", name) for name in names}
    if file == "confusion":
        there = {"LABEL" if name in labels else name for name in there}
    page = set(section(f"`{file}.csv`"))
    assert there - page == set()
    assert page - there <= ({"waited"} if file == "history" else set()), "where pictures are looked at"


def test_pandas_makes_the_scores_again(folder):
    """The numbers of metrics.json and scores.csv follow from predictions.csv."""
    run = folder / "run"
    table = pandas.read_csv(run / "predictions.csv", keep_default_na=False)
    metrics = read_json(run / "metrics.json")
    scores = pandas.read_csv(run / "scores.csv").set_index("part")
    table["right"] = table.truth == table.prediction
    table["seed"] = table.part.map(scores.seed)
    assert table.groupby("part").right.mean().to_dict() == pytest.approx(scores.war.to_dict())
    recalls = table.groupby(["part", "truth"]).right.mean()
    assert recalls.groupby("part").mean().to_dict() == pytest.approx(scores.uar.to_dict())
    war = table.groupby("seed").right.mean()
    uar = table.groupby(["seed", "truth"]).right.mean().groupby("seed").mean()
    assert metrics["pooled"]["war"]["value"] == pytest.approx(war.mean())
    assert metrics["pooled"]["uar"]["value"] == pytest.approx(uar.mean())
    for seed in (1, 2):
        assert metrics["by_seed"][str(seed)]["war"] == pytest.approx(war[seed])
        assert metrics["by_seed"][str(seed)]["uar"] == pytest.approx(uar[seed])
    assert metrics["over_seeds"]["war"]["sd"] == pytest.approx(war.std())
    folds = scores.groupby("fold")[["war", "uar"]].mean().mean()
    mean = next(one for one in metrics["conventions"] if one["name"] == "mean_of_folds")
    assert (mean["war"], mean["uar"]) == pytest.approx((folds.war, folds.uar))
    oracle = next(one for one in metrics["conventions"] if one["name"] == "oracle")
    assert oracle["war"] == pytest.approx(scores.oracle.mean())
    assert oracle["war"] >= mean["war"]
    classes = pandas.read_csv(run / "classes.csv").set_index("class")
    each = table.groupby(["truth", "seed"]).right.agg(["sum", "count"]).groupby("truth").mean()
    assert classes.right.to_dict() == pytest.approx(each["sum"].to_dict())
    assert classes.total.to_dict() == each["count"].to_dict()
    assert classes.recall.mean() == pytest.approx(metrics["pooled"]["uar"]["value"])
    assert 0.2 < np.mean(war) < 0.99, "numbers that could be wrong"


def test_groups_follow_from_predictions(folder):
    table = pandas.read_csv(folder / "own" / "predictions.csv", keep_default_na=False)
    groups = pandas.read_csv(folder / "own" / "groups.csv", keep_default_na=False)
    known = table[table.id.str.startswith("clip")]
    sex = known.id.str.slice(4).astype(int) // 3 % 2
    war = (known.truth == known.prediction).groupby(sex.map({0: "f", 1: "m"})).mean()
    found = groups[groups.column == "extra:sex"].set_index("group")
    assert found.war.astype(float)[["f", "m"]].to_dict() == pytest.approx(war.to_dict())
    assert found.clips.to_dict() == {"f": 27, "m": 27, "unknown": 1}
    assert found.units.to_dict() == {"f": 9, "m": 9, "unknown": 1}
    assert len(groups[groups.column == "extra:age"]) == 5
    assert {path.name for path in (folder / "own").iterdir()} == {
        *("metrics.json", "predictions.csv", "scores.csv", "classes.csv", "confusion.csv", "groups.csv", "table.tex")
    }


def test_published_results_stand_beside_a_run_of_their_protocol(folder):
    text = (folder / "afew" / "summary.md").read_text(encoding="utf-8")
    assert "- published: EST 54.26 WAR / 49.57 UAR (Table 4 of the EST paper; 191 of 352 clips; " in text
    assert "published: " not in (folder / "run" / "summary.md").read_text(encoding="utf-8")
    curves = (folder / "afew" / "curves.svg").read_text(encoding="utf-8")
    assert "<circle" in curves, "one epoch"
    assert "test (never" not in curves
    assert "![Loss and WAR by epoch](curves.svg)" in text
    assert "mean over folds (many papers)" in text
    assert "most published numbers" not in text.split("## The same run")[1], (
        "no epoch was tested, so there is no oracle"
    )
