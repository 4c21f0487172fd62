"""The run of all benchmarks for a GPU: its rows, its table, and what it does when rows fail, hang or die."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
GPU = ROOT / "benchmarks" / "gpu"

STUB = """
import json, os, sys, time
for name in sys.argv[5:]:
    if name == "dies":
        print("out of luck", file=sys.stderr, flush=True)
        os._exit(7)
    if name == "hangs":
        time.sleep(600)
    print("a library says something", flush=True)
    result = {"failed": "ValueError: no"} if name == "fails" else {"value": 2.5, "text": "2.5 ×", "note": name}
    print(json.dumps({"end": name, "seconds": 0.1, **result}), flush=True)
"""


@pytest.fixture
def load(monkeypatch):
    """Import a module of the benchmarks by name; none of them stays."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(GPU)
    monkeypatch.setattr(sys, "path", [*sys.path, str(ROOT / "benchmarks")])
    yield importlib.import_module
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(ROOT / "benchmarks")):
            del sys.modules[name]


@pytest.fixture
def measure(load, tmp_path, monkeypatch):
    """`measure(names, seconds)` runs rows by a worker that does what their names say."""
    run, plan = load("run"), load("plan")
    (tmp_path / "worker.py").write_text(STUB)
    monkeypatch.setattr(run, "HERE", tmp_path)
    monkeypatch.setattr(run, "START", 5)

    def rows(names, *, budget=30, seconds=60.0):
        planned = tuple(
            plan.Planned(group="any", name=name, title=name, seconds=budget, goal=plan.at_most(3)) for name in names
        )
        log = tmp_path / "log.txt"
        log.touch()
        return run.rows_of(planned, ["cpu", "DRY", str(tmp_path)], {}, log, time.monotonic() + seconds, 1)

    return rows


def test_a_row_that_fails_or_dies_says_why_and_the_next_goes_on(measure):
    good, fails, dies, last = measure(["good", "fails", "dies", "last"])
    assert (good.text, good.reached, good.note, good.failed) == ("2.5 ×", True, "good", "")
    assert (fails.failed, fails.reached) == ("ValueError: no", None)
    assert dies.failed == "the process ended with status 7: out of luck"
    assert last.text == "2.5 ×"


def test_a_row_that_hangs_is_stopped(measure, monkeypatch):
    monkeypatch.setattr(sys.modules["run"], "START", 0.4)
    hangs, last = measure(["hangs", "last"], budget=0)
    assert re.fullmatch(r"stopped after 0\.\d s, its budget", hangs.failed)
    assert last.group == "any"


def test_no_row_has_more_time_than_is_left(load, measure, monkeypatch):
    run, granted = load("run"), []

    class Recording:
        is_new = True

        def __init__(self, *arguments):
            pass

        def wait_for(self, name, seconds):
            granted.append(seconds)
            return run.Ended(fields={"value": 1.0, "text": "1 ×"})

        def end(self):
            pass

    monkeypatch.setattr(run, "MeasuringProcess", Recording)
    list(measure(["good"], budget=30, seconds=20))
    list(measure(["good"], budget=30, seconds=600))
    assert granted[0] <= 20
    assert granted[1] == 35  # its budget, and the start of the process


def test_nothing_begins_when_the_time_is_over(measure):
    assert [row.left_out for row in measure(["good"], seconds=1)] == ["the time of the whole run was over"]


def test_the_table_is_whole_after_every_row(load, measure, tmp_path):
    table = load("table")
    machine = dict.fromkeys(("card", "driver", "cuda", "torch", "python", "cores", "date", "commit"), "x")
    made = table.Table(machine=machine)
    for number, row in enumerate(measure(["good", "fails"]), start=1):
        made.rows.append(row)
        made.save(tmp_path)
        assert len(table.load(tmp_path / "gpu.json").rows) == number
        assert (tmp_path / "gpu.md").read_text().count("\n| ") == number + 1
    assert table.load(tmp_path / "gpu.json") == made
    assert "| good | 2.5 × | ≤ 3 | reached | good |" in made.markdown()
    assert "| fails | failed: ValueError: no | ≤ 3 |  |  |" in made.markdown()
    assert "reached" not in table.Table(machine=machine, dry="cpu", rows=made.rows).markdown()


def test_a_page_takes_the_table_over_and_no_dry_one(load, measure, tmp_path, monkeypatch):
    table = load("table")
    machine = dict.fromkeys(("card", "driver", "cuda", "torch", "python", "cores", "date", "commit"), "x")
    made = table.Table(machine=machine, rows=list(measure(["good"])))
    made.save(tmp_path)
    page = tmp_path / "page.md"
    page.write_text(f"before\n\n{table.BEGIN}\nold\n{table.END}\n\nafter\n")
    monkeypatch.setattr(sys, "argv", ["table.py", str(tmp_path / "gpu.json"), "--into", str(page)])
    table.main()
    first = page.read_text()
    table.main()
    assert page.read_text() == first == f"before\n\n{table.BEGIN}\n\n{made.markdown()}\n{table.END}\n\nafter\n"
    table.Table(machine=machine, dry="cpu").save(tmp_path)
    with pytest.raises(SystemExit, match="dry run on cpu"):
        table.main()
    with pytest.raises(ValueError, match="once each"):
        table.insert("x", "a page without marks")
    assert table.insert("x", (ROOT / "docs" / "benchmarks.md").read_text())


def test_a_tiny_row_goes_through_the_worker(load, tmp_path, monkeypatch, capsys):
    worker = load("worker")
    monkeypatch.setattr(sys, "argv", ["worker.py", "step", "cpu", "DRY", str(tmp_path), "graph_gain", "copy", "graph"])
    worker.main()
    said = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    ended = {line["end"]: line for line in said if "end" in line}
    assert [line["begin"] for line in said if "begin" in line] == ["graph_gain", "graph_gain", "copy", "graph"]
    assert ended["graph_gain"]["left_out"] == "needs the row that measures the step, eager"
    assert ended["copy"]["value"] > 0.1
    assert ended["graph"]["left_out"].startswith("steps are recorded on a GPU")


@pytest.fixture
def context(load, tmp_path):
    """`context(device, **numbers)`: where rows are measured, with what others have kept."""

    def make(device, **numbers):
        made = load("measured").Context(device=torch.device(device), sizes=load("sizes").DRY, work=tmp_path)
        made.keep(**numbers)
        return made

    return make


def test_the_floor_of_a_step_is_what_adam_moves(load, context, monkeypatch):
    """Weight, gradient and two means are read, and all but the gradient written: 7 floats of 4 bytes a parameter."""
    step, trainer = load("rows.step"), SimpleNamespace(num_steps=1, begin_epoch=lambda epoch: None)
    trainer.step, trainer.model = lambda plan, number: None, SimpleNamespace(parameters=lambda: [torch.empty(1000)])
    monkeypatch.setattr(load("training"), "trainer_of", lambda *arguments, **options: trainer)
    monkeypatch.setattr(step, "random_cache", lambda *arguments: None)
    text = step.step(context("cpu", bandwidth=28e3), "eager", precision="fp32", graph=False).text
    assert text.endswith("floor 1000.000 ms)")


@pytest.mark.parametrize(
    ("device", "on_cores", "on_device", "bound", "name"),
    [
        ("cuda", 50, 500, 50, "decode and crop in 2 processes"),
        ("cuda", 500, 50, 50, "detect and encode on the device"),
        ("cpu", 100, 100, 50, "detect and encode on the device"),  # they share the cores
    ],
)
def test_extraction_is_bound_by_its_slowest_stage(load, context, monkeypatch, device, on_cores, on_device, bound, name):
    extraction = load("rows.extraction")
    monkeypatch.setattr(extraction, "num_cores", lambda: 2)
    monkeypatch.setattr(extraction, "default_workers", lambda devices: 2)
    monkeypatch.setattr(extraction, "extracted", lambda _, copies: (40 * copies, copies, {"encode": 1.0}))
    rates = {"decode": 2 * on_cores, "crop": 2 * on_cores, "detect": 2 * on_device, "encode": 2 * on_device}
    measured = extraction.whole(context(device, **rates))
    assert measured.value == pytest.approx(40 / bound)
    assert measured.note.startswith(f"bound by {name}: {bound} ")


def test_the_encoder_alone_is_measured(load, tmp_path, monkeypatch, capsys):
    worker = load("worker")
    monkeypatch.setattr(sys, "argv", ["worker.py", "extraction", "cpu", "DRY", str(tmp_path), "encode"])
    worker.main()
    ended = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (ended["end"], ended.get("failed")) == ("encode", None)
    assert ended["value"] > 0


@pytest.mark.parametrize(
    ("device", "status"), [("gpu", 2), ("cuda", "torch sees no GPU here. Check nvidia-smi, or try .*--dry-device cpu")]
)
def test_a_device_that_is_none_or_not_there_is_refused_at_the_start(
    load, tmp_path, monkeypatch, capsys, device, status
):
    run = load("run")
    (tmp_path / "machine.py").write_text("""print('{"end": "machine", "has_gpu": false}')""")
    monkeypatch.setattr(run, "HERE", tmp_path)
    monkeypatch.setattr(run, "rows_of", lambda *arguments: pytest.fail("rows are measured"))
    monkeypatch.setattr(run.signal, "signal", lambda *arguments: None)
    monkeypatch.setattr(sys, "argv", ["run.py", "--dry-device", device, "--out", str(tmp_path / "out")])
    with pytest.raises(SystemExit) as stop:
        run.main()
    if device == "gpu":
        assert stop.value.code == status
        assert "--dry-device: invalid choice: 'gpu'" in capsys.readouterr().err
    else:
        assert re.match(status, stop.value.code)


def test_every_planned_row_has_its_measurement(load):
    planned = {}
    for row in load("plan").PLAN:
        planned.setdefault(row.group, []).append(row.name)
    for group, names in planned.items():
        text = (GPU / "rows" / f"{group}.py").read_text()
        assert re.findall(r'"(\w+)": ', text[text.index("MEASURES = ") :]) == names
    assert set(planned) == {path.stem for path in (GPU / "rows").glob("[a-z]*.py")}


def test_the_tests_for_a_gpu_import_nothing_that_its_machine_may_lack(load):
    """onnxruntime, insightface and PyAV are in no folder of wheels."""
    files = load("rows.tests").files()
    assert "tests/train/loop/test_graph.py" in files
    assert len(files) >= 7
    for name in files:
        text = (ROOT / name).read_text()
        assert not re.search(r"\b(onnx|onnxruntime|insightface|video_samples|extract_samples)\b", text.split('"""')[-1])


@pytest.mark.slow
def test_a_whole_dry_run_fails_nowhere(tmp_path):
    call = [sys.executable, str(GPU / "run.py"), "--dry-device", "cpu", "--out", str(tmp_path)]
    done = subprocess.run(call, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    rows = json.loads((tmp_path / "gpu.json").read_text())["rows"]
    assert {row["left_out"] for row in rows if row["name"] in ("gru", "videos", "plain", "all")} == {""}
