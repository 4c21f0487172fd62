"""The folder of a prediction: what is there already is refused, what was begun goes on, what is replaced is only what a prediction wrote.

While it is not complete it holds `.unfinished/`: the settings, a file for each video that is predicted, and the names of what is written.
`predictions.json` comes last.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...cache.disk import PARTIAL
from ...errors import UsageError, some
from ...inputs.input import Input
from ...train.results.run import read_json, write_json
from .track import PredictedVideo

FORMAT, VERSION = "est-predictions", 1
SUMMARY = "predictions.json"
UNFINISHED, SETTINGS, FILES = ".unfinished", "settings.json", "files.txt"
ANOTHER = "another --out"


class OutputFolder:
    """A folder that predictions are written to."""

    def __init__(self, path: Path, settings: Mapping[str, Any], *, overwrite: bool = False) -> None:
        self.path, self._work = path, path / UNFINISHED
        self._settings = json.loads(json.dumps(settings, default=str))
        self._replaced: list[str] | None = None  # files of an earlier prediction, which go
        if path.exists() and not path.is_dir():
            raise UsageError(f"{path} is a file; a prediction is a folder.", remedy=ANOTHER)
        there = sorted(entry.name for entry in path.iterdir()) if path.is_dir() else []
        if SUMMARY in there and read_json(path / SUMMARY).get("format") == FORMAT:
            self._expect(overwrite, f"{path} holds predictions.")
            self._replaced = read_json(path / SUMMARY).get("files", [])
        elif UNFINISHED in there:
            if not self._is_same():
                self._expect(overwrite, f"{path} holds an unfinished prediction with other settings.")
                self._replaced = self._listed()
        elif there:
            raise UsageError(f"{path} holds {some(there)}, which no prediction wrote.", remedy=ANOTHER)

    def begin(self) -> None:
        """Make the folder ready: nothing is written or removed before."""
        if self._replaced is not None:
            self._clear(self._replaced)
        try:
            self._work.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"{self.path} cannot be written: {error.strerror}.", remedy=ANOTHER) from error
        write_json(self._work / SETTINGS, self._settings)

    def video(self, source: Input) -> Path:
        """Return where what is predicted of an input is kept meanwhile."""
        return self._work / f"{hashlib.sha256(source.id.encode()).hexdigest()[:24]}.npz"

    def predicted(self, source: Input, num_bytes: int, mtime_ns: int) -> bool:
        """Say whether an input has been predicted, as it is now."""
        path = self.video(source)
        if not path.is_file():
            return False
        video = PredictedVideo.load(path)
        return (video.num_bytes, video.mtime_ns) == (num_bytes, mtime_ns)

    def file(self, name: str) -> Path:
        """Return the place of a file, which is from now on known as the prediction's own."""
        if name not in self._listed():
            with open(self._work / FILES, "a", encoding="utf-8") as file:
                file.write(name + "\n")
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Write the summary, and let go of what was kept meanwhile."""
        files = [*self._listed(), SUMMARY]
        write_json(self.path / SUMMARY, {"format": FORMAT, "version": VERSION, **summary, "files": files})
        shutil.rmtree(self._work)

    def _expect(self, overwrite: bool, message: str) -> None:
        if not overwrite:
            raise UsageError(message, remedy=f"--overwrite, or {ANOTHER}")

    def _is_same(self) -> bool:
        known = self._work / SETTINGS
        return known.is_file() and read_json(known) == self._settings

    def _listed(self) -> list[str]:
        listed = self._work / FILES
        return listed.read_text(encoding="utf-8").split("\n")[:-1] if listed.is_file() else []

    def _clear(self, names: list[str]) -> None:
        """Remove what a prediction wrote."""
        for name in names:
            path = self.path / name
            if path.resolve().is_relative_to(self.path.resolve()):
                path.unlink(missing_ok=True)
                path.with_name(path.name + PARTIAL).unlink(missing_ok=True)
        if self._work.is_dir():
            shutil.rmtree(self._work)


def file_name(video_id: str, ending: str) -> str:
    """Return the name of a file about a video, in folders as its id has them."""
    parts = [part for part in video_id.split("/") if part not in ("", ".", "..")]
    return "/".join(parts) + ending
