"""The command line: suggestions, exit statuses, errors, and what goes where."""

from __future__ import annotations

import itertools
import json
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from video_samples import make_video

from est import __version__
from est.cache import Progress, open_cache
from est.cli import app, main
from est.commands.lazy import LazyGroup
from est.commands.options import command
from est.commands.screen import Screen, clock
from est.commands.watching import watching
from est.errors import EstError, UsageError, opencv_remedy


def est(*arguments: str, capsys) -> tuple[int, str, str]:
    """Run `est` in this process; return its status, stdout and stderr."""
    with pytest.raises(SystemExit) as stop:
        main(list(arguments))
    out, err = capsys.readouterr()
    return stop.value.code, out, err


@pytest.fixture
def trial():
    """Give `est` a command of ours for the length of a test."""
    before = list(app.registered_commands)
    yield command(app, "trial")
    app.registered_commands = before


def test_version(capsys):
    assert est("--version", capsys=capsys) == (0, f"est {__version__}\n", "")


def test_no_command_shows_help(capsys):
    status, out, _ = est(capsys=capsys)
    assert status == 0
    assert out.startswith("Usage: est")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("dmeo", "Did you mean 'demo'?"),
        ("demo rendr", "Did you mean 'render'?"),
        ("demo render --out x --subject 3", "--subjects"),
        ("demo render", "Missing option '--out'"),
        ("demo render --out x --subjects many", "--subjects"),
        ("demo --seed 3 render --out x", "est demo render --seed"),
        ("train small.zarr -q", "try: est train --cache small.zarr -q"),
        ("train --quiet a/small.h5", "try: est train --quiet --cache a/small.h5"),
        ("reproduce ablation 'my small.zarr'", "try: est reproduce ablation --cache 'my small.zarr'"),
        ("sweep small.zarr --trials 3", "try: est sweep --cache small.zarr --trials 3"),
        ("reproduce small.zarr", "try: est reproduce all --cache small.zarr"),
        ("train --model small.zarr", "try: --cache small.zarr"),
        ("train --cache c --focal abc", "'--focal': it takes a number."),
        ("extract v --engine onxruntime", "--engine is auto, torch or onnxruntime, found 'onxruntime'."),
        ("extract v --engine onxruntime", "try: --engine onnxruntime\n"),
        (
            "predict v --run r --face 'all ones'",
            "--face is all, main or largest, found 'all ones'.\n  try: --face all\n",
        ),
        ("train --cache c --epochs 1.5", "'--epochs': it takes a whole number."),
    ],
)
def test_wrong_usage_suggests_and_exits_2(line, expected, capsys):
    status, out, err = est(*shlex.split(line), capsys=capsys)
    assert status == 2
    assert out == ""
    assert err.startswith("Error: ")
    assert expected in err
    assert "Traceback" not in err


def test_wrong_usage_as_json(capsys):
    status, out, err = est("demo", "rendr", "--json", capsys=capsys)
    assert status == 2
    assert err == ""
    (event,) = [json.loads(line) for line in out.splitlines()]
    assert event["event"] == "error"
    assert "render" in event["message"]


def test_users_error_shows_message_cause_remedy_and_status(trial, capsys):
    @trial
    def fail(screen: Screen) -> int:
        try:
            raise PermissionError("not yours")
        except PermissionError as error:
            raise UsageError("Expected a folder, found a file.", remedy="est trial --out elsewhere") from error

    expected = "Error: Expected a folder, found a file.\n  cause: not yours\n  try: est trial --out elsewhere\n"
    assert est("trial", capsys=capsys) == (2, "", expected)
    status, out, err = est("trial", "--debug", capsys=capsys)
    assert status == 2
    assert "Traceback" in err
    status, out, err = est("trial", "--json", capsys=capsys)
    assert json.loads(out) == {
        "event": "error",
        "kind": "UsageError",
        "message": "Expected a folder, found a file.",
        "cause": "PermissionError: not yours",
        "remedy": "est trial --out elsewhere",
    }


@pytest.mark.parametrize(
    ("cause", "told"),
    [
        (UsageError("Onset of 'a' is 900."), ""),  # the message says it
        (UsageError("It has 12 frames."), "  cause: It has 12 frames.\n"),
        (KeyError("age"), "  cause: KeyError: 'age'\n"),
        (OSError(), "  cause: OSError\n"),
    ],
)
def test_a_cause_says_what_the_message_does_not(cause, told, capsys):
    error = UsageError("list.csv, line 2: Onset of 'a' is 900.")
    error.__cause__ = cause
    assert Screen().error(error) == 2
    assert capsys.readouterr().err == f"Error: {error.message}\n{told}"


def test_a_bug_keeps_its_traceback(trial):
    @trial
    def broken(screen: Screen) -> int:
        return 1 // 0

    with pytest.raises(ZeroDivisionError):
        main(["trial"])


def test_a_missing_system_library_names_the_remedy(trial, capsys):
    @trial
    def load(screen: Screen) -> int:
        raise ImportError("libGL.so.1: cannot open shared object file: No such file or directory")

    status, _, err = est("trial", capsys=capsys)
    assert status == 1
    assert "libGL.so.1" in err
    assert opencv_remedy() in err


def test_ctrl_c_exits_130(trial, capsys):
    @trial
    def interrupted(screen: Screen) -> int:
        raise KeyboardInterrupt

    status, out, err = est("trial", capsys=capsys)
    assert (status, out) == (130, "")
    assert "Interrupted" in err


def test_the_status_of_a_command_is_that_of_the_process(trial, capsys):
    @trial
    def partial(screen: Screen) -> int:
        return 3

    assert est("trial", capsys=capsys)[0] == 3


def test_output_streams(trial, capsys):
    @trial
    def speak(screen: Screen) -> int:
        screen.note("by the way")
        screen.warn("careful")
        with watching(screen) as watch:
            for done in range(101):
                watch.progress(Progress(what="Working", unit="clips", done=done, total=100))
        screen.result({"answer": 42}, "The answer is 42.")
        return 0

    _, out, err = est("trial", capsys=capsys)
    assert out == "The answer is 42.\n"
    assert err == "by the way\nWarning: careful\nWorking: 0/100 clips, 0s\nWorking: 100/100 clips, 0s\n"
    _, out, err = est("trial", "--quiet", capsys=capsys)
    assert (out, err) == ("The answer is 42.\n", "Warning: careful\n")
    _, out, err = est("trial", "--json", capsys=capsys)
    events = [json.loads(line) for line in out.splitlines()]
    assert [event["event"] for event in events] == ["note", "warning", "progress", "progress", "result"]
    assert events[-1] == {"event": "result", "answer": 42}
    assert err == ""


def testclock():
    assert [clock(seconds) for seconds in (0, 59.4, 61, 3599.6, 3723)] == ["0s", "59s", "1:01", "1:00:00", "1:02:03"]


def test_errors_survive_a_process_boundary():
    import pickle

    error = pickle.loads(pickle.dumps(EstError("Expected this, found that.", remedy="do so")))
    assert (error.message, error.remedy, error.status) == ("Expected this, found that.", "do so", 1)
    assert isinstance(UsageError("x"), ValueError)


def test_module_and_script_are_one():
    outputs = {
        subprocess.run([*call, "--version"], capture_output=True, text=True, check=True).stdout
        for call in ([sys.executable, "-m", "est"], [str(Path(sys.executable).parent / "est")])
    }
    assert outputs == {f"est {__version__}\n"}


def test_every_command_takes_the_shared_options():
    def walk(node, path=()):
        children = getattr(node, "commands", {})
        if not children:
            yield path, node
        for name, child in children.items():
            yield from walk(child, (*path, name))

    leaves = dict(walk(typer.main.get_command(app)))
    assert ("demo", "render") in leaves
    for path, leaf in leaves.items():
        options = {option for parameter in leaf.params for option in parameter.opts}
        assert {"--json", "--quiet", "--debug"} <= options, path
        assert leaf.help, path
        assert all(p.help for p in leaf.params if p.param_type_name == "option"), path


def test_defaults_on_the_line_are_those_of_the_library():
    from est.demo import RenderSpec

    render = typer.main.get_command(app).commands["demo"].commands["render"]
    shown = {parameter.name: parameter.default for parameter in render.params}
    spec = RenderSpec()
    assert shown.pop("size") == f"{spec.size[0]}x{spec.size[1]}"
    for name in ("subjects", "clips_per_subject", "seed", "difficulty", "temporal_pairs", "dynamics", "micro"):
        assert shown[name] == getattr(spec, name), name


def test_demo_render_and_sheet(tmp_path, capsys):
    import cv2

    out = tmp_path / "set with spaces"
    arguments = [
        "demo",
        "render",
        "--out",
        str(out),
        "--subjects",
        "1",
        "--clips-per-subject",
        "2",
        "--size",
        "160x128",
        "--json",
    ]
    status, text, _ = est(*arguments, capsys=capsys)
    result = json.loads(text.splitlines()[-1])
    assert status == 0
    assert (result["videos"], result["subjects"]) == (2, 1)
    assert len((out / "manifest.csv").read_text().splitlines()) == 3
    status, _, err = est(*arguments[:-1], capsys=capsys)
    assert status == 2
    assert "--overwrite" in err
    assert est(*arguments, "--overwrite", capsys=capsys)[0] == 0
    assert est("demo", "render", "--out", str(out), "--size", "huge", capsys=capsys)[0] == 2
    status, _, err = est("demo", "render", "--out", str(tmp_path / "x"), "--seed", "900000", capsys=capsys)
    assert status == 2
    assert "reserved" in err
    assert est("demo", "sheet", "--out", str(tmp_path / "faces.jpg"), capsys=capsys)[0] == 0
    assert cv2.imread(str(tmp_path / "faces.jpg")).shape[1] > 1000
    assert est("demo", "sheet", "--out", str(tmp_path / "faces.bmp"), capsys=capsys)[0] == 2
    assert est("demo", "sheet", "--out", str(tmp_path / "no" / "faces.jpg"), capsys=capsys)[0] == 2


def test_the_command_that_the_demo_ends_with_works_as_printed(tmp_path, monkeypatch, capsys):
    from est.commands.demo import FETCH, NEXT

    for number, (person, label) in enumerate(itertools.product(("ann", "bob", "cy", "dee", "eve"), ("happy", "sad"))):
        (tmp_path / "VIDEOS" / person / label).mkdir(parents=True)
        make_video(tmp_path / "VIDEOS" / person / label / "1.mp4", 3 + number)  # no two are the same video
    monkeypatch.chdir(tmp_path)
    extract, train = (shlex.split(line)[1:] for line in NEXT.split(" && "))
    quick = ("--size", "32", "--detector", "none", "--workers", "1", "--precision", "fp32")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    status, _, err = est(*extract, *quick, capsys=capsys)
    assert status == 1
    assert f"{FETCH} downloads them" in err  # the command that is printed before
    quick = ("--weights", "random", *quick)  # in the place of what it downloads
    assert est(*extract, *quick, capsys=capsys)[0] == 0
    clips = open_cache("cache.zarr").clips
    found = set(zip(clips.subject, clips.label_names, strict=True))
    assert found == set(itertools.product(("ann", "bob", "cy", "dee", "eve"), ("happy", "sad")))
    status, _, err = est(*train, *shlex.split("--model pooled --epochs 1 --out run"), capsys=capsys)
    assert status == 0, err
    facts = json.loads(Path("run/run.json").read_text())
    assert (facts["complete"], facts["protocol"]["kind"], len(facts["parts"])) == (True, "kfold", 5)
    assert facts["protocol"]["independence"] == "by subject"


def test_ctrl_c_interrupts_a_job_that_was_told_to_ignore_it(tmp_path):
    """A shell script starts its background jobs with SIGINT ignored."""
    call = [sys.executable, "-m", "est", "demo", "render", "--out", str(tmp_path / "v"), "--subjects", "40"]
    ignoring = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)}
    process = subprocess.Popen(call, stderr=subprocess.PIPE, text=True, **ignoring)
    for line in process.stderr:
        if "videos" in line:  # the first line of progress
            process.send_signal(signal.SIGINT)
            break
    process.communicate(timeout=60)
    assert process.returncode == 130


def test_the_table_of_commands_says_what_each_help_says():
    group = typer.main.get_command(app)
    assert isinstance(group, LazyGroup)
    assert list(group.commands) == list(group.texts)
    for name, made in group.commands.items():
        assert made.name == name
        assert " ".join(made.help.split()).startswith(group.texts[name])


def test_help_imports_no_command():
    code = (
        "import sys\nfrom est.cli import main\ntry:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "print(sorted(name for name in sys.modules if name.startswith('est.')))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    loaded = done.stdout.splitlines()[-1]
    assert "est.cli" in loaded
    assert not any(f".{name}'" in loaded for name in typer.main.get_command(app).texts if name != "cache")
    assert "est.commands.caches.cache'" not in loaded


def test_a_group_alone_shows_its_help(capsys):
    status, out, err = est("cache", capsys=capsys)
    assert (status, err) == (0, "")
    assert out.startswith("Usage: est cache")
