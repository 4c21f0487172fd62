"""Make the tutorial's pictures: run its commands in an empty folder, and take the pictures that they write. Takes some minutes."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2

DOCS = Path(__file__).parent
WIDTH = 1114  # of the contact sheet, as a JPEG of some 100 kB


def main() -> None:
    """Run the commands, and write the pictures into docs/images."""
    blocks = re.findall(r"```bash\n(.*?)```", (DOCS / "tutorial.md").read_text(encoding="utf-8"), re.DOTALL)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        command = ["bash", "-euo", "pipefail", "-c", "\n".join(blocks)]
        subprocess.run(command, cwd=folder, env={**os.environ, "PATH": path}, check=True)
        take(folder, DOCS / "images")


def take(folder: Path, images: Path) -> None:
    """Copy the pictures out of the folder in which the commands ran."""
    sheet = cv2.imread(str(folder / "cache-clips" / "clips.png"))
    height = round(sheet.shape[0] * WIDTH / sheet.shape[1])
    small = cv2.resize(sheet, (WIDTH, height), interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(images / "tutorial-clips.jpg"), small, [cv2.IMWRITE_JPEG_QUALITY, 82])
    shutil.copy(folder / "runs" / "first" / "confusion.svg", images / "tutorial-confusion.svg")


if __name__ == "__main__":
    main()
