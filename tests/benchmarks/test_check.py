"""`make bench-check`: stated ratios beside those that are measured now, here with measurements that are made up."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import os
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HERE = "AVX2, 2 cores"


@pytest.fixture
def load(monkeypatch):
    """Import a module of the check by name; none of them stays."""
    before = set(sys.modules)
    monkeypatch.setattr(sys, "path", [str(ROOT / "benchmarks" / "check"), *sys.path, str(ROOT / "benchmarks")])
    yield importlib.import_module
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(ROOT / "benchmarks")):
            del sys.modules[name]


@pytest.fixture
def state(load):
    """`state(name, ratio, better)` → a stated ratio."""
    known = load("known")

    def make(name, ratio=4.0, better="higher", *, kind=HERE, command="benchmarks/x.py"):
        words = {"what": f"what {name} is", "command": command, "date": "2026-01-01"}
        return known.Known(name=name, ratio=ratio, better=better, kind=kind, **words)

    return make


@pytest.mark.parametrize(
    ("ratio", "better", "measured", "fallen"),
    [
        (4.0, "higher", 3.21, False),
        (4.0, "higher", 3.19, True),
        (4.0, "higher", 40.0, False),
        (2.0, "lower", 2.49, False),
        (2.0, "lower", 2.51, True),
        (2.0, "lower", 0.1, False),
        (4.0, "higher", 0.0, True),
    ],
)
def test_a_fifth_is_the_bound_whichever_way_is_better(state, ratio, better, measured, fallen):
    assert state("x", ratio, better).has_fallen(measured) is fallen


def test_what_fell_is_measured_again_and_then_named(load, state):
    run = load("run")
    rounds = [{"a": 1.0, "b": 4.1, "c": 3.0}, {"a": 2.0, "b": 0.1, "c": 3.9}]
    asked = []

    def measure(command):
        asked.append(command)
        return dict(rounds[len(asked) - 1])

    verdicts = list(run.check([state("a"), state("b"), state("c"), state("d")], measure))
    assert asked == ["benchmarks/x.py"] * 2
    assert [verdict.measured for verdict in verdicts] == [2.0, 4.1, 3.9, None]
    assert [verdict.is_bad for verdict in verdicts] == [True, False, False, True]
    assert str(verdicts[0]) == "FELL by 50%   a: 2, stated 4 (higher is better); benchmarks/x.py"
    assert str(verdicts[3]) == "NOT MEASURED  d: benchmarks/x.py tells no such ratio"


def test_a_benchmark_that_fails_is_no_success(load, state):
    run = load("run")

    def measure(command):
        if command == "bad":
            raise run.BenchmarkFailed("bad ended with status 1: x")
        return {"b": 4.0}

    bad, good = run.check([state("a", command="bad"), state("b")], measure)
    assert (bad.is_bad, bad.why) == (True, "bad ended with status 1: x")
    assert not good.is_bad


def test_a_second_measurement_that_fails_leaves_the_first(load, state):
    run = load("run")
    rounds = [{"a": 2.0, "b": 4.0}]

    def measure(command):
        if rounds:
            return rounds.pop()
        raise run.BenchmarkFailed("x ended with status 1: y")

    fell, good, untold = run.check([state("a"), state("b"), state("c")], measure)
    assert (fell.measured, good.measured, untold.measured) == (2.0, 4.0, None)
    assert str(fell).endswith("benchmarks/x.py; not measured again: x ended with status 1: y")
    assert str(good) == "good          b: 4, stated 4 (higher is better)"
    assert str(untold) == "NOT MEASURED  c: benchmarks/x.py tells no such ratio"


def test_verdicts_come_while_others_are_measured(load, state):
    asked = []
    verdicts = load("run").check(
        [state("a", command="one"), state("b", command="two")], lambda c: asked.append(c) or {}
    )
    assert next(verdicts).known.name == "a"
    assert asked == ["one"]


@pytest.fixture
def command(load, state, tmp_path, monkeypatch, capsys):
    """`command(stated, found, *arguments)` runs the check on a documentation of its own; returns status, output and the stated after it."""
    run, known = load("run"), load("known")
    file, page = tmp_path / "benchmarks.toml", tmp_path / "benchmarks.md"

    def call(stated, found, *arguments):
        known.write(stated, file)
        page.write_text(f"# Page\n\n{known.BEGIN}\n{known.END}\n\nend\n")
        monkeypatch.setattr(run, "read", lambda: known.read(file))
        monkeypatch.setattr(run, "write", lambda items: known.write(items, file))
        monkeypatch.setattr(run, "PAGE", page)
        monkeypatch.setattr(run, "kind_here", lambda: HERE)
        monkeypatch.setattr(run, "run_benchmark", lambda _: dict(found))
        monkeypatch.setattr(sys, "argv", ["run.py", *arguments])
        with pytest.raises(SystemExit) as stop:
            run.main()
        return stop.value.code, capsys.readouterr().out, known.read(file), page.read_text()

    return call


def test_the_status_says_whether_something_fell_and_other_processors_are_left_out(command, state):
    stated = [state("a"), state("b", kind="bf16, 2 cores"), state("c", kind="bf16, 2 cores"), state("c")]
    status, out, *_ = command(stated, {"a": 3.9, "c": 4.2})
    assert status == 0
    assert "left out      b: stated for bf16, 2 cores; this is AVX2, 2 cores" in out
    assert out.count("left out") == 1
    assert "2 ratios measured, 0 bad" in out
    status, out, *_ = command(stated, {"a": 3.9, "c": 1.0})
    assert status == 1
    assert "FELL by 75%   c" in out
    assert command(stated, {"a": 3.9, "c": 1.0}, "--only", "a")[0] == 0


def test_recording_states_this_processor_and_leaves_others_as_they_are(command, state):
    stated = [state("a"), state("b", kind="bf16, 2 cores")]
    status, _, after, page = command(stated, {"a": 1.23456, "b": 7.0}, "--record")
    assert status == 0
    assert [(item.name, item.kind, item.ratio) for item in after] == [
        ("a", HERE, 1.23),
        ("b", "bf16, 2 cores", 4.0),
        ("b", HERE, 7.0),
    ]
    assert after[1] == stated[1]
    assert "| what b is | 7 | higher | AVX2, 2 cores |" in page
    assert page.startswith("# Page\n")
    assert page.endswith("end\n")


def test_kinds_are_told_by_flags_and_by_what_holds_them_back(load):
    kind_of = load("kind").kind_of
    assert kind_of(["avx2", "avx512f", "avx512_bf16", "amx_bf16"], 2, {}) == "bf16 with AMX, 2 cores"
    assert kind_of(["avx2"], 4, {}) == "AVX2, 4 cores"
    held = kind_of(["avx2", "avx512_bf16"], 2, {"ONEDNN_MAX_CPU_ISA": "AVX2"})
    assert held == "bf16, 2 cores, simulated by ONEDNN_MAX_CPU_ISA=AVX2"


def test_a_benchmark_tells_its_ratios(load, tmp_path, monkeypatch):
    (tmp_path / "benchmarks").mkdir()
    script = f"import os, sys\nsys.path.append({str(ROOT / 'benchmarks')!r})\nfrom _ratios import tell\n"
    script += "tell(os.environ['NAME'] + sys.argv[1], 2.5)\nsys.exit(int(sys.argv[2]))\n"
    (tmp_path / "benchmarks" / "x.py").write_text(script)
    run = load("run")
    monkeypatch.setattr(run, "ROOT", tmp_path)
    assert run.run_benchmark("NAME=a benchmarks/x.py b 0") == {"ab": 2.5}
    with pytest.raises(run.BenchmarkFailed, match="status 3"):
        run.run_benchmark("NAME=a benchmarks/x.py b 3")
    assert not os.environ.get("NAME")


def test_the_page_shows_what_the_file_states_and_every_name_is_told(load):
    known = load("known")
    stated = known.read()
    page = known.PAGE.read_text(encoding="utf-8")
    assert known.page_with(page, stated) == page, "python benchmarks/check/known.py"
    names = {}
    for item in stated:
        path = next(word for word in item.command.split() if word.endswith(".py"))
        names.setdefault(path, set()).add(item.name)
    for path in (ROOT / "benchmarks").glob("[a-z]*.py"):
        told, known_here = told_by(path), names.pop(f"benchmarks/{path.name}", set())
        for name in known_here:
            assert any(re.fullmatch(pattern, name) for pattern in told), name
        for pattern in told:
            assert any(re.fullmatch(pattern, name) for name in known_here), f"{path.name} tells {pattern}: --record"
    assert not names


def told_by(path: Path) -> list[str]:
    """Return the names that a benchmark tells, as patterns."""
    names = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "tell":
            parts = node.args[0].values if isinstance(node.args[0], ast.JoinedStr) else [node.args[0]]
            names.append("".join(re.escape(p.value) if isinstance(p, ast.Constant) else ".+" for p in parts))
    return names


def test_extraction_has_every_row_that_is_stated(load, monkeypatch):
    spec = importlib.util.spec_from_file_location("benchmark_of_extraction", ROOT / "benchmarks" / "extract.py")
    extraction = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(extraction)
    monkeypatch.setattr(extraction, "why_not", lambda precision: None)
    end, rows = ", of the tuned loop", extraction.rows_of()
    stated = {item.name.removesuffix(end) for item in load("known").read() if item.name.endswith(end)}
    assert {"extract", "extract, int8", "extract, fp32, torch", "extract, fp32, onnxruntime"} <= stated <= set(rows)
