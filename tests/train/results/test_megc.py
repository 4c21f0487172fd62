"""The table of MEGC 2019: pooled over folds, against counts by hand and scikit-learn, from planted predictions and from runs."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sklearn
from train_samples import Recorder, learning_cache, learning_clip, learning_recipes, read_csv, tiny_config

from est.cache import CacheWriter, open_cache
from est.cache.clip import Failure
from est.cache.schema import ColumnSpec
from est.cli import main
from est.errors import UsageError
from est.extract.flow.selection import SAMPLING
from est.report.runpage.scores import score_section
from est.train import ProtocolConfig, fit, model_config
from est.train.config.config import TrainConfig
from est.train.folds.databases import apex_remark
from est.train.folds.published import uf1_results_of
from est.train.results.megc import megc_table
from est.train.results.pages.megc import megc_lines
from est.train.results.predictions import Predictions
from est.train.results.results import collect
from est.train.runs.files import read_json
from est.train.runs.run import Run

LABELS = ("negative", "positive", "surprise")
DATABASES = ("SMIC", "CASME II", "SAMM")
COLUMNS = {"database": ColumnSpec(dtype="string")}


def planted(rows, seeds=1):
    """Return predictions of (database, person, truth, prediction), − for none; each person is a fold."""
    code = {name[0]: place for place, name in enumerate(LABELS)} | {"-": -1}
    ids = [f"{database}/{at}" for at, (database, *_) in enumerate(rows)]
    found = Predictions(
        labels=LABELS,
        seeds=tuple(range(seeds)),
        ids=np.array(ids),
        subjects=np.array([f"{database}-{person}" for database, person, *_ in rows]),
        folds=np.array([f"{database}-{person}" for database, person, *_ in rows]),
        truth=np.array([code[truth] for *_, truth, _ in rows]),
        predicted=np.tile([code[said] for *_, said in rows], (seeds, 1)),
    )
    return found, dict(zip(ids, [database for database, *_ in rows], strict=True))


# Three people: a has two negative clips, both right; b a positive taken for negative and a surprise; c a negative taken for surprise.
ROWS = [
    ("SMIC", "a", "n", "n"),
    ("SMIC", "a", "n", "n"),
    ("SAMM", "b", "p", "n"),
    ("SAMM", "b", "s", "s"),
    ("SAMM", "c", "n", "s"),
]


def test_counts_are_pooled_before_anything_is_divided():
    table = megc_table(*planted(ROWS))
    full, smic, samm = table.rows
    # negative: TP 2, FP 1, FN 1 → 4/6; positive: TP 0, FN 1 → 0; surprise: TP 1, FP 1 → 2/3. UAR: (2/3 + 0 + 1) / 3
    assert full.f1 == pytest.approx({"negative": 2 / 3, "positive": 0, "surprise": 2 / 3})
    assert full.over_seeds["uf1"].mean == pytest.approx((2 / 3 + 0 + 2 / 3) / 3)
    assert full.over_seeds["uar"].mean == pytest.approx((2 / 3 + 0 + 1) / 3)
    # the mean over people of their own UF1 is another number: (1 + (0 + 1) / 2 + 0) / 3
    assert planted(ROWS)[0].over_folds["uf1"].mean == pytest.approx(0.5)
    assert full.over_seeds["uf1"].mean != pytest.approx(0.5)
    assert [row.name for row in table.rows] == ["Full", "SMIC", "SAMM"]
    assert [(row.scores.total, row.people) for row in table.rows] == [(5, 3), (2, 1), (3, 2)]
    assert smic.over_seeds["uf1"].mean == 1
    assert samm.over_seeds["uar"].mean == pytest.approx(1 / 3)
    assert "The clips of SMIC lack classes" in "\n".join(megc_lines(table))


def test_it_agrees_with_an_independent_reference():
    rng = np.random.default_rng(5)
    rows = [
        (DATABASES[person % 3], str(person), LABELS[truth][0], "-" if said < 0 else LABELS[said][0])
        for person, truth, said in zip(
            rng.integers(0, 21, 300), rng.integers(0, 3, 300), rng.integers(-1, 3, 300), strict=True
        )
    ]
    found, databases = planted(rows)
    table = megc_table(found, databases)
    assert [row.name for row in table.rows] == ["Full", *DATABASES]
    for row in table.rows:
        chosen = np.array([row.name in ("Full", databases[one]) for one in found.ids.tolist()])
        truth, said = found.truth[chosen], found.predicted[0, chosen]
        values = {}
        for c in range(3):
            tp, fp, fn = (
                ((truth == c) & (said == c)).sum(),
                ((truth != c) & (said == c)).sum(),
                ((truth == c) & (said != c)).sum(),
            )
            values[c] = (2 * tp / (2 * tp + fp + fn), tp / (truth == c).sum())
        uf1, uar = np.mean(list(values.values()), axis=0)
        assert row.over_seeds["uf1"].mean == pytest.approx(uf1, abs=1e-12)
        assert row.over_seeds["uar"].mean == pytest.approx(uar, abs=1e-12)
        assert uf1 == pytest.approx(sklearn.f1_score(truth, said, labels=[0, 1, 2], average="macro"), abs=1e-12)
        assert uar == pytest.approx(sklearn.recall_score(truth, said, labels=[0, 1, 2], average="macro"), abs=1e-12)
        low, high = row.intervals["uf1"]
        assert low < uf1 < high


def test_f1_of_classes_is_the_mean_over_seeds():
    found, _ = planted(ROWS, seeds=2)
    found.predicted[1] = found.truth
    full = megc_table(found, {}).rows[0]
    assert full.f1 == pytest.approx({"negative": 5 / 6, "positive": 1 / 2, "surprise": 5 / 6})


def test_one_database_and_none_have_one_row():
    found, _ = planted(ROWS)
    assert [row.name for row in megc_table(found, {}).rows] == ["Full"]
    assert [row.name for row in megc_table(found, dict.fromkeys(found.ids.tolist(), "SAMM")).rows] == ["SAMM"]
    some = {found.ids[0]: "SAMM", found.ids[1]: "", found.ids[2]: "other"}
    assert [row.name for row in megc_table(found, some).rows] == ["Full", "SAMM", "other", "database not known"]


def test_published_numbers_stand_beside_the_whole_composite_alone():
    (slstt,) = uf1_results_of("megc", 442)
    assert slstt.scores["Full"] == (0.816, 0.790)
    assert "the epoch on the held-out subject, which raises UF1 by 6 to 14 points" in slstt.line()
    for recorded, clips in (("megc", 441), ("casme2", 255), ("", 442), ("dfew", 442)):
        assert not uf1_results_of(recorded, clips)


def micro_fields(clips):
    """Return three databases of two people each; the third person of each class order has one class only."""
    return {
        index: {
            "id": f"{'abc'[index // 3 % 3]}/c{index:03d}",
            "subject": f"{'abc'[index // 3 % 3]}-{index // 9 % 2}",
            "extra": {"database": DATABASES[index // 3 % 3]},
        }
        for index in range(clips)
    }


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    fields = micro_fields(36)
    fields |= {
        36 + index: {"id": f"a/one{index}", "label": "positive", "subject": "a-one", "extra": {"database": "SMIC"}}
        for index in range(2)
    }
    return learning_cache(
        tmp_path_factory.mktemp("megc") / "micro.zarr",
        38,
        labels=LABELS,
        strength=0.35,
        fields=fields,
        columns=COLUMNS,
        failures=[("a/lost", "surprise", "a-0", ""), ("c/lost", "negative", "c-9", "")],
    )


def est(*line):
    with pytest.raises(SystemExit) as stop:
        main([str(word) for word in line])
    return stop.value.code


TINY = ("--model", "pooled", "--epochs", 4, "--lr", 0.03, "--threads", 1, "--device", "cpu", "--stack", "on")
QUICK = ("--no-control", "--set", "eval_every=0")


def test_a_run_ends_with_the_table_and_keeps_it(cache, tmp_path, capsys):
    run = tmp_path / "run"
    assert est("train", "--cache", cache, "--out", run, "--protocol", "megc", *TINY, *QUICK) == 0
    out, err = capsys.readouterr()
    assert "at once as one stacked model" in err
    assert "protocol: megc (loso), 8 folds, independence: by subject" in err
    assert "68 people of CASME II, SAMM and SMIC" in err
    lines = out.splitlines()
    head = lines.index("Table of MEGC 2019")
    assert [line.split("  ")[1] for line in lines[head + 2 : head + 6]] == ["Full", "SMIC", "CASME II", "SAMM"]
    assert "The last of 4 epochs is scored, in every fold." in out
    assert "SLSTT" not in out + err, "published numbers stand beside published clips"
    rows = read_csv(run / "predictions.csv")
    assert len(rows) == 40
    metrics = read_json(run / "metrics.json")
    assert "uf1" not in metrics["over_folds"], "F1 is never averaged over people"
    truth, said = [row["truth"] for row in rows], [row["prediction"] for row in rows]
    by_row = {row["row"]: row for row in metrics["megc"]["rows"]}
    uf1 = sklearn.f1_score(truth, said, labels=LABELS, average="macro")
    assert 0.2 < uf1 < 1, "a score that could be another"
    assert by_row["Full"]["uf1"]["value"] == pytest.approx(uf1)
    assert {name: row["clips"] for name, row in by_row.items()} == {"Full": 40, "SMIC": 15, "CASME II": 12, "SAMM": 13}
    assert by_row["SAMM"]["subjects"] == 3, "what could not be extracted is of its person's database, or its folder's"
    for name, line in zip(by_row, read_csv(run / "megc.csv"), strict=True):
        assert line["row"] == name
        assert float(line["uf1"]) == by_row[name]["uf1"]["value"]
    summary = (run / "summary.md").read_text(encoding="utf-8")
    assert "## Table of MEGC 2019" in summary
    assert f"| Full | 40 | 8 | {uf1:.4f} |" in summary
    section = score_section(collect(Run.open(run)))
    assert any("Table of MEGC 2019" in part for part in section.parts)
    assert est("evaluate", run, "--out", tmp_path / "again") == 0
    assert "Table of MEGC 2019" in capsys.readouterr().out
    assert read_json(tmp_path / "again/metrics.json")["megc"]["rows"] == metrics["megc"]["rows"]
    assert (tmp_path / "again/megc.csv").read_text() == (run / "megc.csv").read_text()
    # the one clip of a person could not be extracted: that fold has nothing to show, and is wrong
    assert not (run / "parts/c-9/details.npz").exists()
    assert len(list(run.glob("parts/*/details.npz"))) == 7


def test_an_annotated_apex_is_said_wherever_the_table_stands(cache, tmp_path):
    assert apex_remark(open_cache(cache)) == ""
    told = "annotated apex (the field's usual practice)"
    frames = {"sampling": f"11 frames from max(apex - 5, onset + 1), {told}"}
    chosen = learning_cache(tmp_path / "c.zarr", 18, labels=LABELS, subjects=3, weights={"frames": frames})
    results = fit(chosen, tmp_path / "run", loso(seeds=(1, 2)))
    lines = "\n".join(megc_lines(results.megc))
    assert told in lines
    assert "mean of 2 seeds" in lines
    assert "UF1 ± sd" in lines
    assert told in (tmp_path / "run/summary.md").read_text(encoding="utf-8")
    assert any(told in remark for remark in read_json(tmp_path / "run/metrics.json")["megc"]["remarks"])


def test_clips_without_an_apex_are_counted_beside_the_table(tmp_path):
    frames = {"sampling": SAMPLING["auto"]}
    columns = {**COLUMNS, "flow_apex": ColumnSpec(dtype="int64")}
    fields = {at: {"extra": {"database": DATABASES[at // 3], "flow_apex": -1 if at < 4 else 7}} for at in range(9)}
    cache = learning_cache(
        tmp_path / "c.zarr", 9, labels=LABELS, weights={"frames": frames}, fields=fields, columns=columns
    )
    remark = apex_remark(open_cache(cache))
    assert "annotated apex (the field's usual practice)" in remark
    assert (
        "of 4 of 9 clips no apex is known (SMIC 3, CASME II 1), and their frames are taken evenly over the whole"
        in remark
    )


def test_a_database_of_which_everything_failed_has_its_row(tmp_path):
    with CacheWriter.open(
        tmp_path / "c.zarr",
        learning_recipes(),
        labels=LABELS,
        columns={"database": ColumnSpec(dtype="string", failures=True)},
    ) as writer:
        for index in range(18):
            writer.add(learning_clip(index, labels=LABELS, **micro_fields(18)[index] | {"extra": {"database": "SAMM"}}))
        for at, label in enumerate(LABELS):
            why = {"path": "", "stage": "flow", "error": "its apex is not known"}
            writer.fail(Failure(id=f"x{at}", label=label, subject=f"smic-{at}", extra={"database": "SMIC"}, **why))
    table = fit(tmp_path / "c.zarr", tmp_path / "run", loso()).megc
    assert {row.name: (row.scores.total, row.people) for row in table.rows} == {
        "Full": (21, 9), "SMIC": (3, 3), "SAMM": (18, 6),
    }  # fmt: skip
    assert table.rows[1].over_seeds["uf1"].mean == 0, "what failed is wrong"


def loso(kind="megc", **settings):
    model = model_config("pooled")
    return tiny_config(
        epochs=1, eval_every=0, control=False, model=model, protocol=ProtocolConfig(kind=kind), **settings
    )


def test_what_the_protocol_cannot_serve_is_refused(tmp_path):
    one = learning_cache(
        tmp_path / "one.zarr", 9, labels=LABELS, fields={index: {"subject": "s1"} for index in range(9)}
    )
    with pytest.raises(UsageError, match="Leave-one-subject-out needs two subjects, found only 's1'"):
        fit(one, tmp_path / "run", loso())
    none = learning_cache(
        tmp_path / "none.zarr", 9, labels=LABELS, fields={index: {"subject": ""} for index in range(9)}
    )
    with pytest.raises(UsageError, match="needs every clip's subject; 9 of 9 have none") as caught:
        fit(none, tmp_path / "run", loso())
    assert "relabel" in caught.value.remedy


def test_a_cache_without_databases_has_one_row_and_is_told(tmp_path):
    cache = learning_cache(tmp_path / "c.zarr", 18, labels=LABELS, subjects=3)
    watch = Recorder()
    results = fit(cache, tmp_path / "run", loso(), watch=watch)
    assert [row.name for row in results.megc.rows] == ["Full"]
    assert results.megc.remarks[0] == "The only epoch is scored, in every fold."
    assert any("No clip says which database it is from" in text and "extra:database" in text for text in watch.warned)


def test_one_name_in_two_databases_is_refused(tmp_path):
    fields = micro_fields(18)
    fields[3]["subject"] = "a-0"
    cache = learning_cache(tmp_path / "c.zarr", 18, labels=LABELS, fields=fields, columns=COLUMNS)
    with pytest.raises(
        UsageError, match=r"1 subject has clips of several databases \(a-0\), as 'a-0' of CASME II and SMIC"
    ):
        fit(cache, tmp_path / "run", loso())


def test_no_epoch_is_chosen_on_anything(cache, capsys):
    with pytest.raises(
        UsageError, match="The protocol megc trains a fixed number of epochs, and select = val chooses one"
    ):
        TrainConfig(protocol=ProtocolConfig(kind="megc"), select="val").expect_effective()
    TrainConfig(protocol=ProtocolConfig(kind="loso"), select="val").expect_effective()
    with pytest.raises(UsageError, match="fixed number of epochs") as refused:
        fit(cache, cache.parent / "chosen", loso(select="val"))
    assert refused.value.remedy.startswith("--select last")
    assert not (cache.parent / "chosen").exists()
    assert est("train", "--cache", cache, "--protocol", "samm", "--select", "val") == 2
    assert "fixed number of epochs" in capsys.readouterr().err
    for settings in ({"folds": 5}, {"by": "clip"}):
        with pytest.raises(UsageError, match="leaves out one subject at a time"):
            ProtocolConfig(kind="smic", **settings)


def test_one_database_alone_is_tested_on_its_own_classes(tmp_path):

    labels = ("disgust", "happiness", "repression", "surprise", "others")
    environment = {"dataset": {"name": "casme2"}}
    with CacheWriter.open(
        tmp_path / "c.zarr", learning_recipes(), labels=labels, columns=COLUMNS, environment=environment
    ) as writer:
        for index in range(30):
            writer.add(learning_clip(index, labels=labels, subjects=3, extra={"database": "CASME II"}))
    watch = Recorder()
    results = fit(tmp_path / "c.zarr", tmp_path / "run", loso(), watch=watch)
    assert [row.name for row in results.megc.rows] == ["CASME II"]
    assert set(results.megc.rows[0].f1) == set(labels)
    assert (
        "The cache was extracted as CASME II alone: its own classes are tested, and not the composite." in watch.warned
    )
    assert not any("lacks 'negative'" in text for text in watch.warned)
    assert Run.open(results.run.path).facts["protocol"]["kind"] == "loso"
