"""A mirror: the folder on this machine in which what was read of a cache at a URL lies, as a Zarr cache with holes.

It is made whole as to tables and metadata; chunks of rows come when they are asked for. Each file is compared with the digest of the
list before it gets its name, whoever fetches it; what this machine's disk does to it later, `compare` finds. A mirror belongs to one list:
another upload has another mirror, which takes over the files that are the same, compared again. A folder without its record or its list
is no mirror, and goes.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Collection, Generator, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ...errors import CacheDamaged, CacheError, EstError, quoted
from ..stores.disk import Disk, expect_free_space, writing
from ..watch import Progress, Watch
from .address import RECORD, Address, expect_cache_url
from .client import RANGE_BYTES, THREADS, ObjectStore
from .failures import NotThere, StoreError
from .upload import LIST, Entry, Upload, read_upload

PLACE = "EST_MIRRORS"  # names another folder for mirrors
LARGE = ("frames/", "windows/", "crops/")  # groups whose chunks come when they are asked for
GROWING, GOING = ".growing-", ".going-"  # beside the mirrors of a URL: one that is made, one that is removed
LEFT_AFTER = 24 * 3600  # seconds: nothing grows for so long
ATTEMPTS = 3  # at giving a mirror its place
SLACK_BYTES = 16 * 2**20


@dataclass(frozen=True)
class Mirror:
    """The folder, and what it is of."""

    root: Path

    @cached_property
    def url(self) -> str:
        """Return the URL that it was read from."""
        try:
            return str(json.loads((self.root / RECORD).read_bytes())["url"])
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise CacheDamaged(
                f"{self.root / RECORD} is damaged: it does not say of which URL this is the mirror.",
                remedy="name the URL in the place of the folder: its mirror is then made again",
            ) from error

    @cached_property
    def upload(self) -> Upload:
        """Return the list."""
        try:
            return Upload.decode((self.root / LIST).read_bytes(), self.url)
        except (OSError, StoreError) as error:
            raise CacheDamaged(
                f"The mirror of {self.url} has lost its list.", remedy=f"open {self.url} again"
            ) from error

    @cached_property
    def store(self) -> ObjectStore:
        """Return the store; made when something is asked of it."""
        return ObjectStore(self.url)

    def is_whole(self) -> bool:
        """Say whether the record and the list are what was written: the list's digest names the folder."""
        try:
            return bool(self.url) and _name_of((self.root / LIST).read_bytes()) == self.root.parent.name
        except (OSError, CacheDamaged):
            return False

    def num_bytes(self) -> int:
        """Add up what is here."""
        return sum(entry.size for name, entry in self.upload.files.items() if _is_here(self.root / name, entry))

    def bring(self, paths: Iterable[Path]) -> None:
        """Have files of the folder here; a path that the list does not name stays missing."""
        files = self.upload.files
        names = (os.path.relpath(path, self.root) for path in paths)
        self._bring({name: files[name] for name in names if name in files})

    def bring_all(self, watch: Watch | None = None) -> None:
        """Have every file here."""
        self._bring(self.upload.files, watch)

    def compare(self, watch: Watch | None = None) -> int:
        """Compare every file that is here with its digest; those that differ come again. Return how many differed."""
        sound = _sound({self.root / name: entry for name, entry in self.upload.files.items()}, watch)
        wanted = {name: entry for name, entry in self.upload.files.items() if self.root / name not in sound}
        wrong = [name for name in wanted if (self.root / name).exists()]
        if at_once := {name: entry for name, entry in wanted.items() if not _comes_later(name)}:
            fetch(self.store, at_once, self.root, watch)
        with writing(self.root):
            for name in wrong:
                if _comes_later(name):
                    (self.root / name).unlink(missing_ok=True)  # whoever reads it next fetches it
        return len(wrong)

    def _bring(self, files: Mapping[str, Entry], watch: Watch | None = None) -> None:
        wanted = {name: entry for name, entry in files.items() if not _is_here(self.root / name, entry)}
        if not wanted:
            return
        if not self.root.is_dir():
            raise CacheError(f"{self.root} was removed while {self.url} was read.", remedy=f"open {self.url} again")
        fetch(self.store, wanted, self.root, watch)


def mirror_of(url: str, watch: Watch | None = None) -> Mirror:
    """Return the mirror of the newest upload at a URL, made where it is not there."""
    expect_cache_url(url)
    store = ObjectStore(url)
    upload, data = read_upload(store)
    home = _home(url)
    mirror = Mirror(home / _name_of(data) / Address.parse(url).name)
    if not mirror.is_whole():
        _make(mirror.root, store, upload, data, watch)
        mirror = Mirror(mirror.root)
    with suppress(OSError):
        os.utime(mirror.root / RECORD)  # when it was last used
    return mirror


def mirrors_folder() -> Path:
    """Return the folder of all mirrors."""
    if place := os.environ.get(PLACE):
        return Path(place).absolute()
    base = os.environ.get("XDG_CACHE_HOME", "")
    try:
        return (Path(base) if os.path.isabs(base) else Path.home() / ".cache") / "est" / "mirrors"
    except RuntimeError as error:
        raise EstError("Nothing says where mirrors of caches can lie.", remedy=f"{PLACE}=FOLDER") from error


def list_mirrors() -> list[Mirror]:
    """List the mirrors, the one used last first."""
    found = [(mirror, _last_used(mirror)) for home in mirrors_folder().glob("*") for mirror in _others(home)]
    return [mirror for mirror, _ in sorted(found, key=lambda one: one[1], reverse=True)]


def replaced(mirrors: Iterable[Mirror]) -> list[Mirror]:
    """Return those mirrors that are not the newest of their URL on this machine; the one used last comes first."""
    seen: set[str] = set()
    found = []
    for mirror in mirrors:
        if mirror.url in seen:
            found.append(mirror)
        seen.add(mirror.url)
    return found


def remove_mirrors(mirrors: Iterable[Mirror]) -> int:
    """Remove mirrors; return the bytes that they held."""
    freed = 0
    for mirror in mirrors:
        freed += mirror.num_bytes()
        home = mirror.root.parent.parent
        _remove(mirror.root.parent)
        _sweep(home)
        with suppress(OSError):
            home.rmdir()  # the last one of its URL
    return freed


def fetch(store: ObjectStore, files: Mapping[str, Entry], root: Path, watch: Watch | None = None) -> None:
    """Fetch files into a folder, several at a time, each compared with its digest before it is named."""
    expect_free_space(root, sum(entry.size for entry in files.values()) + SLACK_BYTES, f"What is read of {store.url}")
    names: dict[Entry, list[str]] = {}  # files of one content are fetched once
    for name, entry in files.items():
        names.setdefault(entry, []).append(name)
    large = [entry for entry in names if entry.size > RANGE_BYTES]
    done = 0
    with writing(root), ThreadPoolExecutor(THREADS) as pool:
        try:
            small = (entry for entry in names if entry.size <= RANGE_BYTES)
            for _ in pool.map(lambda entry: _fetch(store, entry, names[entry], root), small):
                done += 1
                _tell(watch, "Downloading", done, len(names))
            for entry in large:  # in ranges: many at a time would fill the memory
                _fetch(store, entry, names[entry], root)
                done += 1
                _tell(watch, "Downloading", done, len(names))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _fetch(store: ObjectStore, entry: Entry, names: Sequence[str], root: Path) -> None:
    """Fetch one object, and give it its names."""
    with ExitStack() as stack:
        partials = [stack.enter_context(_partial(root / name)) for name in names]
        with open(partials[0], "w+b") as file:
            try:
                if entry.size > RANGE_BYTES:
                    store.read_into(entry.object, entry.size, lambda start, data: os.pwrite(file.fileno(), data, start))
                else:
                    file.write(store.read(entry.object, entry.size))
            except NotThere as error:
                raise CacheError(
                    f"{store.url} lacks the object of {names[0]}, which its list names: it was removed, or replaced and pruned since.",
                    remedy=f"open {store.url} again; est cache upload CACHE {store.url} sends what is missing",
                ) from error
            file.flush()
            file.seek(0)
            if (found := hashlib.file_digest(file, "sha256").hexdigest()) != entry.sha256:
                raise CacheDamaged(
                    f"{names[0]} of {store.url} is not what was uploaded: its SHA-256 is {found[:16]}…, listed is {entry.sha256[:16]}….",
                    remedy=f"est cache upload CACHE {store.url} --resend",
                )
            os.fsync(file.fileno())
        for partial in partials[1:]:
            shutil.copyfile(partials[0], partial)
            Disk().flush_file(partial)
        for partial, name in zip(partials, names, strict=True):
            os.replace(partial, root / name)


@contextmanager
def _partial(path: Path) -> Generator[Path]:
    """Yield a name beside a file's own, under which it grows; others may fetch the same."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{secrets.token_hex(4)}.partial")
    try:
        yield partial
    finally:
        partial.unlink(missing_ok=True)


def _make(root: Path, store: ObjectStore, upload: Upload, data: bytes, watch: Watch | None) -> None:
    """Make a mirror beside its place, and rename it."""
    home = root.parent.parent
    try:
        home.mkdir(parents=True, exist_ok=True)
        _sweep(home)
        growing = Path(tempfile.mkdtemp(prefix=GROWING, dir=home))
    except OSError as error:
        raise EstError(
            f"No mirror of {store.url} can be made in {home}: {error.strerror}.", remedy=f"{PLACE}=FOLDER, another one"
        ) from error
    try:
        inner = growing / root.name
        inner.mkdir()
        _take_over(inner, upload, _others(home), watch)
        at_once = {name: entry for name, entry in upload.files.items() if not _comes_later(name)}
        wanted = {name: entry for name, entry in at_once.items() if not _is_here(inner / name, entry)}
        fetch(store, wanted, inner, watch)
        with writing(inner):
            Disk().write(inner / LIST, data)
            Disk().write(inner / RECORD, json.dumps({"url": store.url}).encode())
            Disk().flush_folder(inner)
        with writing(root):
            _place(growing, root)
    finally:
        shutil.rmtree(growing, ignore_errors=True)


def _place(growing: Path, root: Path) -> None:
    """Rename a new mirror to its place, but where another process was faster; what is there and is no mirror goes."""
    for attempt in range(ATTEMPTS):
        try:
            return os.rename(growing, root.parent)
        except OSError:
            if Mirror(root).is_whole():
                return None
            if attempt == ATTEMPTS - 1:
                raise
            _remove(root.parent)  # such as what a fetch that was under way during a removal has left
    return None


def _take_over(root: Path, upload: Upload, others: Collection[Mirror], watch: Watch | None) -> None:
    """Link files that an older mirror of the URL has already, and that are still right: nothing is downloaded twice."""
    wanted = set(upload.files.values())
    here = {
        other.root / name: entry for other in others for name, entry in other.upload.files.items() if entry in wanted
    }
    sources = {here[path]: path for path in _sound(here, watch)}
    for name, entry in upload.files.items():
        if source := sources.get(entry):
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with suppress(OSError):  # a file system without links: it is fetched again
                os.link(source, path)


def _others(home: Path) -> list[Mirror]:
    """Return the mirrors of a URL; a damaged one is none."""
    found = (Mirror(path.parent) for path in home.glob(f"[!.]*/*/{RECORD}"))
    return [mirror for mirror in found if mirror.is_whole()]


def _last_used(mirror: Mirror) -> float:
    with suppress(OSError):  # another process has just removed it
        return (mirror.root / RECORD).stat().st_mtime
    return 0.0


def _name_of(data: bytes) -> str:
    """Name the folder of the mirror of a list."""
    return hashlib.sha256(data).hexdigest()[:16]


def _home(url: str) -> Path:
    """Return the folder of all mirrors of a URL."""
    return mirrors_folder() / f"{Path(url).stem}-{hashlib.sha256(url.encode()).hexdigest()[:8]}"


def _sweep(home: Path) -> None:
    """Remove what processes that were killed left behind."""
    for left in home.glob(f"{GOING}*"):
        shutil.rmtree(left, ignore_errors=True)
    for left in home.glob(f"{GROWING}*"):
        with suppress(OSError):  # another process was faster
            if left.stat().st_mtime < time.time() - LEFT_AFTER:
                shutil.rmtree(left, ignore_errors=True)


def _remove(folder: Path) -> None:
    """Remove the folder of a mirror, which is none from the first step on, also when the process is killed."""
    going = folder.with_name(f"{GOING}{secrets.token_hex(4)}")
    try:
        os.rename(folder, going)
    except FileNotFoundError:
        return  # another process was faster
    shutil.rmtree(going, ignore_errors=True)  # another process may sweep it at the same time
    if going.exists():
        raise EstError(f"{going} cannot be removed whole.", remedy=f"rm -r {quoted(going)}")


def _sound(files: Mapping[Path, Entry], watch: Watch | None) -> set[Path]:
    """Return those files that are here with the bytes that their digest is of."""

    def is_sound(path: Path) -> bool:
        try:
            with path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest() == files[path].sha256
        except OSError:  # the disk cannot read it
            return False

    here = [path for path in files if path.exists()]
    found: set[Path] = set()
    with ThreadPoolExecutor() as pool:
        for done, (path, sound) in enumerate(zip(here, pool.map(is_sound, here), strict=True), 1):
            found |= {path} if sound else set()
            _tell(watch, "Comparing", done, len(here))
    return found


def _comes_later(name: str) -> bool:
    return name.startswith(LARGE) and not name.endswith("zarr.json")


def _is_here(path: Path, entry: Entry) -> bool:
    try:
        return path.stat().st_size == entry.size
    except OSError:
        return False


def _tell(watch: Watch | None, what: str, done: int, total: int) -> None:
    if watch is not None:
        watch.progress(Progress(what=what, unit="files", done=done, total=total))
