"""The folder of a prediction: complete ones are refused, unfinished ones are resumed, and only files that a prediction wrote are replaced.

While it is not complete it holds `.unfinished/`: the settings, a file for each video that is predicted, and the names of what is written.
The settings hold the resolved engine and precision, too: `auto` resolves to others on another machine.
What is kept of a video is named after its identity (path, segment, size and time of the file): a source that changed is predicted again.
`predictions.json` comes last. One process writes a folder at a time: it holds a lock beside it, `FOLDER.lock`.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ...cache.stores.disk import PARTIAL
from ...cache.stores.lock import WriterLock
from ...errors import CacheError, CacheLocked, EstError, NoLocks, UsageError, damage_named, differing, some
from ...inputs.input import Input
from ...train.runs.files import read_json, write_json

FORMAT, VERSION = "est-predictions", 1
SUMMARY = "predictions.json"
UNFINISHED, SETTINGS, FILES = ".unfinished", "settings.json", "files.txt"
COMPUTED = "computed"  # in the settings; earlier folders lack it
ANOTHER = "another --out"
LONGEST_NAME, DIGEST = 255, 8  # bytes, characters


@contextmanager
def writing(folder: Path) -> Generator[None]:
    """Turn what the operating system says while a prediction is written into a sentence."""
    try:
        yield
    except BrokenPipeError:  # whoever reads what is printed is gone
        raise
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        raise EstError(
            f"The prediction in {folder} could not be written: {error.strerror or error}{where}.",
            remedy="free some space or check the permissions, then run the same command again: it resumes",
        ) from error


class OutputFolder:
    """A folder that predictions are written to."""

    def __init__(self, path: Path, settings: Mapping[str, Any], *, overwrite: bool = False) -> None:
        self.path, self._work = path, path / UNFINISHED
        self._settings = json.loads(json.dumps(settings, default=str))
        self._overwrite = overwrite
        self._lock: WriterLock | None = None
        self._used: set[str] = set()  # files of this call
        self._replaced: list[str] = []  # files of a complete prediction, which stay until the first new one is written
        self._expect_ours()

    def _expect_ours(self) -> list[str] | None:
        """Refuse what is not to be written to; return the files of an earlier prediction that goes, None where it is resumed."""
        path, overwrite = self.path, self._overwrite
        if path.exists() and not path.is_dir():
            raise UsageError(f"{path} is a file; a prediction is a folder.", remedy=ANOTHER)
        there = sorted(entry.name for entry in path.iterdir()) if path.is_dir() else []
        known = read_json(path / SUMMARY) if SUMMARY in there else {}
        if known.get("format") == FORMAT:
            if known.get("videos", ["unknown"]):  # where every input failed, the same command tries again
                self._expect(overwrite, f"{path} holds predictions.")
            return [*known.get("files", []), *self._listed()]
        if UNFINISHED in there and not (self._work / SETTINGS).is_file():
            return self._listed()  # stopped before anything was kept
        if UNFINISHED in there:
            with damage_named(self._work / SETTINGS, f"--overwrite, or {ANOTHER}"):
                difference = {} if overwrite else self._difference()
            if difference:
                self._expect(overwrite, differing(path, difference, more=["It holds an unfinished prediction"]))
            return self._listed() if overwrite else None
        if there:
            raise UsageError(f"{path} holds {some(there)}, which was not written by est predict.", remedy=ANOTHER)
        return None

    def begin(self, computed: Mapping[str, str] | None = None) -> None:
        """Lock the folder and make it ready: nothing is written or removed before.

        `computed` names the resolved precision and engine of each array.
        """
        if computed is not None:
            self._settings[COMPUTED] = dict(computed)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._acquire()
            replaced = self._expect_ours()  # another process may have written meanwhile
            if replaced is not None:
                if (self.path / SUMMARY).is_file():
                    self._replaced = replaced
                else:
                    self._clear(replaced)
                shutil.rmtree(self._work, ignore_errors=True)
            self._work.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"{self.path} cannot be written: {error.strerror}.", remedy=ANOTHER) from error
        write_json(self._work / SETTINGS, self._settings)

    @property
    def replaces(self) -> bool:
        """Return whether an earlier prediction, one of some videos, is still here."""
        return bool(self._replaced) and bool(read_json(self.path / SUMMARY).get("videos"))

    def give_up(self) -> None:
        """Leave the earlier prediction as it is."""
        shutil.rmtree(self._work)
        self.close()

    def close(self) -> None:
        """Let others write the folder."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def video(self, source: Input, num_bytes: int, mtime_ns: int) -> Path:
        """Return where what is predicted of an input, whose file had a size and a time, is kept meanwhile."""
        path = os.path.abspath(source.path)
        identity = json.dumps([source.id, path, source.kind, source.start, source.end, num_bytes, mtime_ns])
        return self._work / f"{hashlib.sha256(identity.encode()).hexdigest()[:24]}.npz"

    def file(self, name: str) -> Path:
        """Return the place of a file, which is from now on known as the prediction's own; those of an earlier prediction go."""
        self._clear(self._replaced)
        self._replaced = []
        self._used.add(name)
        if name not in self._listed():
            with open(self._work / FILES, "a", encoding="utf-8") as file:
                file.write(name + "\n")
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Write the summary, and remove the temporary files."""
        self._clear(
            [name for name in self._listed() if name not in self._used]
        )  # of inputs that are no longer among them
        files = [*(name for name in self._listed() if (self.path / name).exists()), SUMMARY]
        write_json(self.path / SUMMARY, {"format": FORMAT, "version": VERSION, **summary, "files": files})
        try:
            shutil.rmtree(self._work)
        except OSError as error:
            raise EstError(
                f"The predictions in {self.path} are complete, and {self._work} could not be removed: {error.strerror}.",
                remedy=f"rm -r '{self._work}'",
            ) from error
        self.close()

    def _acquire(self) -> None:
        whole = Path(os.path.abspath(self.path))
        lock = WriterLock(whole)
        try:
            lock.acquire()
        except NoLocks:
            raise
        except CacheLocked as error:
            said = error.message.replace(whole.name, str(self.path), 1)
            raise EstError(said, remedy=f"wait for that process, or {ANOTHER}") from None
        except CacheError as error:
            raise UsageError(error.message, remedy=ANOTHER) from None
        self._lock = lock

    def _expect(self, overwrite: bool, message: str) -> None:
        if not overwrite:
            raise UsageError(message, remedy=f"--overwrite, or {ANOTHER}")

    def _difference(self) -> dict[str, tuple[Any, Any]]:
        """Return in what an unfinished prediction differs from this one; nothing where it is resumed."""
        known = read_json(self._work / SETTINGS)
        then, now = known.get(COMPUTED), self._settings.get(COMPUTED)
        flat = [dict(_flat({**one, COMPUTED: {}})) for one in (known, self._settings)]
        if changed := {
            name: (flat[0].get(name), flat[1].get(name))
            for name in dict.fromkeys([*flat[0], *flat[1]])
            if flat[0].get(name) != flat[1].get(name)
        }:
            return changed
        if then is None or now is None:
            return {}
        return {f"precision of {name}": (then.get(name), way) for name, way in now.items() if then.get(name) != way}

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


def file_name(video_id: str, ending: str) -> str:
    """Return the name of a file about a video, in folders as its id has them."""
    *folders, name = [part for part in video_id.split("/") if part not in ("", ".", "..")] or ["video"]
    return "/".join([*map(short_name, folders), short_name(name, len((ending + PARTIAL).encode()))]) + ending


def short_name(name: str, more: int = 0) -> str:
    """Return a name that file systems take with so many bytes more: where it is too long, its beginning and a digest."""
    encoded = os.fsencode(name)
    if len(encoded) + more <= LONGEST_NAME:
        return name
    digest = hashlib.sha256(encoded).hexdigest()[:DIGEST]
    return f"{encoded[: LONGEST_NAME - more - DIGEST - 1].decode(errors='ignore')}-{digest}"


def _flat(settings: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield settings by name, those of a section by their own."""
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from _flat(value)
        else:
            yield name, value
