"""`est evaluate --group` and `--latex` on the command line: what is shown, what is written, and what is refused."""

from __future__ import annotations

import shlex

import pytest
from train_samples import learning_cache, read_lines, tiny_config

from est.cache.schema import ColumnSpec
from est.cli import main
from est.train import Run, evaluate, fit


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluated")
    fields = {index: {"extra": {"sex": "fm"[index // 3 % 2], "pose": (0.5, 1.0)}} for index in range(36)}
    columns = {"sex": ColumnSpec(dtype="string"), "pose": ColumnSpec(dtype="float64", shape=(2,))}
    cache = learning_cache(folder / "c a.zarr", 36, fields=fields, columns=columns, strength=0.25, subjects=12)
    return fit(cache, folder / "run", tiny_config(epochs=1, control=False)).run


@pytest.fixture
def est(capsys):
    """Run a command line; return status, stdout and stderr."""

    def call(*words):
        try:
            status = main([str(word) for word in words])
        except SystemExit as stop:
            status = stop.code
        out, err = capsys.readouterr()
        return status or 0, out, err

    return call


def test_groups_are_shown(est, run):
    status, out, _ = est("evaluate", run.path, "--group", "sex", "--group", "subject")
    lines = out.splitlines()
    assert status == 0
    start = lines.index("by extra:sex")
    assert [line.split()[0] for line in lines[start + 1 : start + 4]] == ["group", "f", "m"]
    assert "largest gap in WAR: " in lines[start + 4]
    assert lines[start + 4].endswith("(95 % over people: –)"), "two people of each sex are tested"
    assert "by subject" in lines
    assert "The largest of the 6 gaps between 4 groups is large by chance too" in out


def test_groups_in_json(est, run):
    status, out, _ = est("evaluate", run.path, "--group", "extra:sex", "--group", "sex", "--json")
    found = read_lines(out)[-1]["groups"]
    assert status == 0
    assert [one["column"] for one in found] == ["extra:sex"] * 2
    assert found[0]["groups"] == found[1]["groups"]
    assert sum(one["clips"] for one in found[0]["groups"]) == 12
    assert "groups" not in evaluate(run).to_json()


@pytest.mark.parametrize(
    ("column", "words"),
    [
        ("film", ("has no column 'film' to group by", "subject, split, fold", "extra:sex")),
        ("pose", ("has no column 'pose'",)),
        ("label", ("has no column 'label'",)),
        ("split", ("All 12 clips that are scored have the same split: test", "a column of several values")),
        ("fold", ("have the same fold: unknown",)),
    ],
)
def test_a_column_that_gives_no_groups_is_refused(est, run, column, words):
    status, _, err = est("evaluate", run.path, "--group", column)
    assert status == 2
    for word in words:
        assert word in err
    assert "pose" not in err.split("try:")[1], "rows of numbers are not offered"


def test_latex_alone_is_printed(est, run, tmp_path):
    line = ["evaluate", run.path, "--start", "15", "--group", "sex", "--latex"]
    status, out, err = est(*line, "--out", tmp_path / "out", "--quiet")
    assert (status, err) == (0, "")
    assert out == (tmp_path / "out" / "table.tex").read_text(encoding="utf-8")
    assert out.startswith(f"% est evaluate {run.path} --start 15 --group sex --latex\n")
    assert "protocol split, independence by subject" in out
    assert "from frame 15" in out
    assert read_lines(est(*line, "--json")[1])[-1]["latex"] == out


def test_the_command_of_an_evaluation_does_the_same(est, run, tmp_path):
    fields = {n: {"id": f"o{n}", "label": ("calm", "odd")[n % 2]} for n in range(12)}
    other = learning_cache(tmp_path / "other one.zarr", 12, listed=("odd", "calm"), fields=fields)
    found = evaluate(run, other, split=["test"], aliases={"calm": "anger"}, unknown="wrong")
    assert f"--cache '{other}' --split test --alias calm=anger --unknown wrong --latex" in found.command
    assert r"models, averaged & 1 & \\" in found.latex()
    status, out, _ = est(*shlex.split(found.command)[1:])
    assert (status, out) == (0, found.latex())


def test_a_run_has_its_own_results(run, tmp_path):
    assert Run.open(run.path).complete
    found = evaluate(run)
    found.save(tmp_path / "out")
    assert not (tmp_path / "out" / "groups.csv").exists()
    assert found.published
