"""docs/troubleshooting.md: its wrong command lines, run in a prepared folder; run as a script, this module writes the page again.

A block that begins with `$ est` and ends with `exit status N` is what a terminal shows. The folder is called /data/project there.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from cache_samples import make_cache
from train_samples import learning_cache, learning_clip, tiny_config
from video_samples import make_video

from est.cache import CacheWriter, Source
from est.cli import main
from est.train import ProtocolConfig, fit

PAGE = Path(__file__).parents[2] / "docs" / "troubleshooting.md"
PLACE = "/data/project"
BLOCK = re.compile(r"(?<=```text\n)\$ (est .*?)\nexit status \d+\n(?=```)", re.DOTALL)
AWAY = {"TORCH_HOME": "torch", "XDG_CACHE_HOME": "home", "XDG_STATE_HOME": "home"}  # nothing of the user's is looked at


def make_folder(folder: Path) -> Path:
    """Write what the command lines speak of: videos, caches, a run."""
    video = folder / "videos" / "happy" / "s1_01.mp4"
    video.parent.mkdir(parents=True)
    make_video(video)
    (folder / "notes.docx").write_bytes(b"notes")
    cache = learning_cache(folder / "cache.zarr", clips=24, subjects=6)
    fit(cache, folder / "runs" / "first", tiny_config(epochs=1, protocol=ProtocolConfig(kind="kfold", folds=2)))
    make_cache(folder / "other.zarr")
    learning_cache(folder / "unlabelled.zarr", clips=12, label=None)
    learning_cache(folder / "nobody.zarr", clips=12, subject="")
    copied = learning_cache(folder / "copied.zarr", clips=0)
    source = Source(digest=b"\xab" * 16)
    with CacheWriter.open(copied) as writer:
        for number in range(12):
            writer.add(
                learning_clip(
                    number, split="train", subject=f"P{number % 3}", source=Source(digest=bytes([number] * 16))
                )
            )
        writer.add(learning_clip(0, id="first", split="train", subject="P0", source=source))
        writer.add(learning_clip(0, id="again", split="test", subject="P9", source=source))
    damaged = learning_cache(folder / "damaged.zarr", clips=2)
    next(
        path for path in sorted((damaged / "frames" / "gap").rglob("*")) if path.is_file() and path.name != "zarr.json"
    ).unlink()
    return folder


@contextlib.contextmanager
def inside(folder: Path) -> Iterator[None]:
    """Work in the folder, with settings of the user's own out of the way."""
    before = {name: os.environ.get(name) for name in AWAY}
    os.environ.update({name: str(folder / place) for name, place in AWAY.items()})
    try:
        with contextlib.chdir(folder):
            yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def answer(line: str, folder: Path) -> str:
    """Return what a terminal shows of a command line that is wrong."""
    told = io.StringIO()
    with inside(folder), contextlib.redirect_stderr(told), contextlib.redirect_stdout(told):
        try:
            main(shlex.split(line)[1:])
        except SystemExit as end:
            status = end.code
    text = told.getvalue().replace(str(folder), PLACE)
    return f"$ {line}\n{text.strip()}\nexit status {status}\n"


def blocks() -> list[tuple[str, str]]:
    """Return each command line of the page, and the block that it begins."""
    return [(found[1].splitlines()[0], found[0]) for found in BLOCK.finditer(PAGE.read_text(encoding="utf-8"))]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        folder = make_folder(Path(place))
        page = BLOCK.sub(lambda found: answer(found[1].splitlines()[0], folder), PAGE.read_text(encoding="utf-8"))
    PAGE.write_text(page, encoding="utf-8")
    sys.exit(0)
