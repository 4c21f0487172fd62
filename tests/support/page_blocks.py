"""Pages whose commands are run: blocks marked `bash`, in order, in one folder, as a reader would type them."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from est.cli import main

ROOT = Path(__file__).parents[2]


def blocks_of(page: str | Path) -> list[str]:
    """Return the blocks of a page, named from the repository's root, in order."""
    return re.findall(r"```bash\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL)


def printed_on(page: str | Path) -> list[str]:
    """Return the lines that a page shows as what its commands print, those of trees of folders left out."""
    shown = re.findall(r"```text\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL)
    return [line for block in shown if not block.startswith("videos/") for line in block.splitlines()]


def shape(line: str) -> str:
    """Return a line of output without what changes from processor to processor: numbers, and the verdict that follows from them."""
    line = re.sub(r"[+−-]?\d+(?:[.,]\d+)*", "N", line)
    return " ".join(re.sub(r"(points \(.*?\)): .*", r"\1", line).split())


def run_in_shell(blocks: Iterable[str], folder: Path) -> str:
    """Run blocks by bash, each command a process of its own; the first one that fails ends it. Return what they print."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    command = ["bash", "-euo", "pipefail", "-c", "\n".join(blocks)]
    return subprocess.run(
        command,
        cwd=folder,
        env=environment,
        check=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        timeout=1800,
    ).stdout


def run_here(blocks: Iterable[str], folder: Path, shorten: Callable[[list[str]], list[str]] = list) -> str:
    """Run blocks in this process, which has imported everything already; `shorten` may change the words of each command of est.

    Return what the commands of est print.
    """
    told = io.StringIO()
    with contextlib.chdir(folder), contextlib.redirect_stdout(told), contextlib.redirect_stderr(told):
        for line in "\n".join(blocks).replace("\\\n", " ").splitlines():
            name, *words = shlex.split(line, comments=True) or [""]
            if name != "est":
                subprocess.run(["bash", "-euc", line], check=True, capture_output=True)
                continue
            with pytest.raises(SystemExit) as end:
                main(shorten(words))
            assert end.value.code in (None, 0), f"{line}: exit status {end.value.code}\n{told.getvalue()}"
    return told.getvalue()
