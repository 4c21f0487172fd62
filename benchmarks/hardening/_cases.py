"""The commands that are killed, that fail, and whose results are damaged: tiny inputs for each, what it writes, and how that is judged.

Inputs are twelve drawn clips of six to eight frames of 64 × 64 pixels, read by an encoder with random weights. Each command runs in a
folder of its own beside the inputs, with its temporary files in it too, so that whatever a command leaves behind is seen.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import _states
import _warm
from _states import Outcome

CLIPS, SIDE, PEOPLE = 12, 64, 6
INPUTS, TEMPORARY = "inputs", "tmp"
EXTRACT = "--weights random --size 32 --detector none --crops --precision fp32 --device cpu --workers 1"
TINY = "--set model.dim=16 --set model.ffn=32 --heads 2 --layers 1 --snippets 3 --frames 2 --orders 5"
QUICK = "--folds 2 --batch 4 --threads 1 --precision fp32 --device cpu"
SWEPT = "--sampler grid --trials 2 --inner 2 --folds 2 --workers 1 --retrain-best --seeds 1 --device cpu"
GRU = "--model gru --set model.hidden=8 --set loop.epochs=1 --set loop.batch=2 --set loop.threads=1"
SPACE = "[loop]\nlearning_rate = [0.001, 0.01]\n"


@dataclass(frozen=True, kw_only=True)
class Case:
    """A command, and how its result is judged."""

    name: str
    command: str  # run in a folder beside the inputs
    result: str
    resume: str = ""  # the command that resumes; empty: the same
    outcome: Callable[[Path], Outcome]
    so_far: Callable[[Path, Outcome], int]  # of what a killed or failed command left
    is_refused: Callable[[Path], bool] = lambda path: (
        False
    )  # whether the command refuses to run again, because its result is there
    is_replaced: Callable[[Path], bool] = lambda path: False  # whether only --overwrite goes on, as the sentence says
    most_kills: int = 3  # in a row

    def next_command(self, folder: Path) -> list[str]:
        """Return the command that goes on in a folder."""
        begun = self.resume and (folder / self.result / _states.FACTS).is_file()
        return (self.resume if begun else self.command).split()


def _cache_case(name: str, command: str, result: str, **fields: object) -> Case:
    judged = {"outcome": _states.cache_rows, "so_far": _states.whole_cache, "is_refused": Path.exists, **fields}
    return Case(name=name, command=f"{command} {result}", result=result, **judged)  # ty: ignore[invalid-argument-type]


CASES = {
    case.name: case
    for case in (
        *(
            _cache_case(
                f"extract {suffix}",
                f"extract ../{INPUTS}/videos/list.csv {EXTRACT} --out",
                f"out.{suffix}",
                so_far=_states.cache_so_far,
                is_refused=lambda path: False,
            )
            for suffix in ("zarr", "h5")
        ),
        *(
            _cache_case(
                f"merge {suffix}", f"cache merge ../{INPUTS}/one.zarr ../{INPUTS}/two.zarr --out", f"out.{suffix}"
            )
            for suffix in ("zarr", "h5")
        ),
        _cache_case("convert zarr", f"cache convert ../{INPUTS}/all.h5", "out.zarr"),
        _cache_case("convert h5", f"cache convert ../{INPUTS}/all.zarr", "out.h5"),
        Case(
            name="train",
            command=f"train --cache ../{INPUTS}/all.zarr --out out {TINY} {QUICK} --epochs 3",
            resume="train --resume --out out",
            result="out",
            outcome=_states.files_in,
            so_far=_states.run_so_far,
            is_refused=_states.is_complete,
        ),
        Case(
            name="sweep",
            command=f"sweep --cache ../{INPUTS}/all.zarr --space ../{INPUTS}/space.toml --out out {SWEPT} {GRU}",
            result="out",
            outcome=_states.sweep_outcome,
            so_far=_states.sweep_so_far,
            most_kills=2,  # a trial whose process was lost three times is given up
        ),
        Case(
            name="predict",
            command=f"predict ../{INPUTS}/videos/clip0.mp4 ../{INPUTS}/videos/clip1.mp4 --run ../{INPUTS}/run --out out "
            "--video --picture --device cpu --workers 1",
            result="out",
            outcome=_states.predicted_files,
            so_far=_states.predictions_so_far,
            is_refused=lambda path: (path / _states.SUMMARY).is_file(),
            is_replaced=lambda path: (path / _states.SUMMARY).is_file(),
        ),
        Case(
            name="export",
            command=f"export ../{INPUTS}/run --out out.onnx",
            result="out.onnx",
            outcome=_states.files_in,
            so_far=_states.whole_files,
            is_refused=lambda path: path.exists() and path.with_name(path.name + ".md").exists(),
            is_replaced=lambda path: path.with_name(path.name + ".md").exists(),
        ),
        Case(
            name="report",
            command=f"report ../{INPUTS}/run --out out.html",
            result="out.html",
            outcome=_states.files_in,
            so_far=_states.whole_files,
            is_refused=Path.exists,
        ),
    )
}


def place(scratch: Path | None) -> Path:
    """Make a folder for a campaign, in memory where there is a file system of that kind."""
    memory = Path("/dev/shm")
    root = scratch or (memory if memory.is_dir() else None)
    return Path(tempfile.mkdtemp(prefix="est-hardening-", dir=root))


def make_inputs(home: Path) -> None:
    """Make the inputs of all commands below a folder."""
    folder = home / INPUTS
    folder.mkdir()
    _warm.ask(draw_clips, folder / "videos")
    (folder / "space.toml").write_text(SPACE, encoding="utf-8")
    for command in (
        f"extract videos/list.csv --out all.zarr {EXTRACT}",
        "cache convert all.zarr all.h5",
        f"extract videos/list.csv --out one.zarr {EXTRACT} --shard 1/2",
        f"extract videos/list.csv --out two.zarr {EXTRACT} --shard 2/2",
        f"train --cache all.zarr --out run {TINY} {QUICK} --epochs 1",
    ):
        ended = _warm.run(command.split(), folder, lambda: settle(home))
        assert ended.status == 0, f"est {command} ended with {ended.status}:\n{ended.said}"


def draw_clips(folder: Path) -> None:
    """Write videos that move to the left or to the right, and their list."""
    import av
    import numpy as np

    folder.mkdir()
    generator, lines = np.random.default_rng(0), ["path,label,subject"]
    for number in range(CLIPS):
        moves = number % 2
        ground = generator.integers(0, 255, (8, 8, 3), np.uint8).repeat(SIDE // 8, 0).repeat(SIDE // 8, 1)
        with av.open(str(folder / f"clip{number}.mp4"), "w") as file:
            stream = file.add_stream("libx264", rate=25)
            stream.width = stream.height = SIDE
            stream.pix_fmt = "yuv420p"
            for frame in range(6 + number % 3):
                picture = np.ascontiguousarray(np.roll(ground, frame * (3 if moves else -3), 1))
                file.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
            file.mux(stream.encode())
        lines.append(f"clip{number}.mp4,{('left', 'right')[moves]},P{number // 2 % PEOPLE}")
    (folder / "list.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def fresh(home: Path, name: str) -> Path:
    """Make an empty folder for a command beside the inputs."""
    folder = home / name
    if folder.exists():
        shutil.rmtree(folder)
    (folder / TEMPORARY).mkdir(parents=True)
    return folder


def settle(folder: Path) -> None:
    """Have a command keep its temporary files and its state in a folder; called in its process."""
    os.environ["TMPDIR"] = str(folder / TEMPORARY) if (folder / TEMPORARY).is_dir() else str(folder)
    os.environ["XDG_STATE_HOME"] = str(folder.parent)  # what a user is told once is told once
    os.environ["XDG_CACHE_HOME"] = str(folder)
    tempfile.tempdir = None


def undisturbed(case: Case, home: Path) -> tuple[Outcome, list[str], float]:
    """Run a command to its end; return its result, the names of what it wrote, and how long it took."""
    folder = fresh(home, "undisturbed")
    ended = _warm.run(case.next_command(folder), folder, lambda: settle(folder))
    assert ended.status == 0, f"{case.name} ended with {ended.status}:\n{ended.said}"
    return _warm.ask(case.outcome, folder / case.result), _states.names_below(folder), ended.seconds
