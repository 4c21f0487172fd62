"""Pages whose commands are run: blocks marked `bash`, in order, in one folder, as a reader would type them."""

from __future__ import annotations

import contextlib
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


def run_in_shell(blocks: Iterable[str], folder: Path) -> None:
    """Run blocks by bash, each command a process of its own; the first one that fails ends it."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    command = ["bash", "-euo", "pipefail", "-c", "\n".join(blocks)]
    subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True, timeout=1800)


def run_here(blocks: Iterable[str], folder: Path, shorten: Callable[[list[str]], list[str]] = list) -> None:
    """Run blocks in this process, which has imported everything already; `shorten` may change the words of each command of est."""
    with contextlib.chdir(folder):
        for line in "\n".join(blocks).replace("\\\n", " ").splitlines():
            name, *words = shlex.split(line, comments=True) or [""]
            if name != "est":
                subprocess.run(["bash", "-euc", line], check=True, capture_output=True)
                continue
            with pytest.raises(SystemExit) as end:
                main(shorten(words))
            assert end.value.code in (None, 0), f"{line}: exit status {end.value.code}"
