"""From what a user names on the command line to the clips that are to be extracted, and what cannot be.

An INPUT is a video file, a folder (searched for videos and for folders of frames), or a list (`csvlist`). A folder that directly holds a
`manifest.csv` with a column `path`, as `est demo render` writes it, is taken by that list, and clips that are not on it are counted as
ignored. A list's own labels and subjects go before those of `--labels` and `--subjects`, which are read from paths (`pathrule`).

Clips are in the natural order of their ids, whatever order a file system or a command line gave, so that every machine that is told i/n
takes its own share. Adapters of published data sets (`datasets`) are another source of `Input`s beside this one.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..cache.clip import Failure, Source
from ..cache.remote.address import shown, url_of
from ..cache.schema import EXTRA, MOMENTS, ColumnSpec
from ..cache.sources import source_of
from ..errors import UsageError, some
from .csvlist import (
    LIST_SUFFIXES,
    MANIFEST,
    ClipList,
    Row,
    expect_clips,
    has_path_column,
    listed_id,
    locate,
    read_list,
    segment,
)
from .extracolumns import column_specs, text_columns
from .folders import IMAGE_SUFFIXES, VIDEO_SUFFIXES, Found, file_problem, ignored_text, list_images, natural_key, search
from .pathreading import PathReading, alike_labels, doubtful_labels, read_paths
from .pathrule import COLUMNS, NONE, UNTOLD, PathRules, parse_rules
from .places import expand, not_there
from .remote import FoundRemote, look_up, search_store
from .sequence import is_sequence
from .tablelist import each, is_table, read_lists

if TYPE_CHECKING:
    from .published.check import Check
    from .tablelist import Given

STAGE = "input"
ANNOTATIONS = COLUMNS


@dataclass(frozen=True, kw_only=True)
class Input:
    """One clip to be: where it lies and what is known of it."""

    id: str  # path relative to its INPUT, without suffix, "/" between folders; "#start-end" after it for segments
    path: Path
    kind: Literal["video", "frames"]
    label: str | None = None
    subject: str = ""
    split: str = ""
    fold: int = -1
    start: float | None = None  # seconds
    end: float | None = None
    onset: int = -1  # frames of the clip
    apex: int = -1
    offset: int = -1
    extra: Mapping[str, Any] = field(
        default_factory=dict
    )  # cells of the columns extra:NAME of lists; typed when a cache is known
    remote: Source | None = None  # what an object store says of it; its path is a URL then

    def describe(self) -> Source:
        """Return its size and time; an OSError says that it is not there."""
        return self.remote or source_of(self.path, digest=False)

    @property
    def place(self) -> str:
        """Return its path or URL, as the cache records it."""
        return shown(self.path)

    @property
    def annotations(self) -> dict[str, Any]:
        """Return what is known of it but for its place, as a clip and a failure have it."""
        return {name: getattr(self, name) for name in ANNOTATIONS}

    @property
    def is_disordered(self) -> bool:
        """Return whether its onset, apex and offset, as far as they are told, do not follow each other."""
        return is_disordered([getattr(self, name) for name in MOMENTS])

    @property
    def told(self) -> dict[str, Any]:
        """Return what else a list tells of it, by the names of the cache's columns; what it does not tell is left out."""
        return self.moments() | {EXTRA + name: value for name, value in self.extra.items()}

    def moments(self, num_frames: int | None = None) -> dict[str, Any]:
        """Return the moments that are told; of `num_frames` frames, those that are among them."""
        found = {name: getattr(self, name) for name in MOMENTS if getattr(self, name) >= 0}
        return {name: frame for name, frame in found.items() if num_frames is None or frame < num_frames}


@dataclass(frozen=True, kw_only=True)
class FoundInputs:
    """All that a command line names: clips, what looks like one and is none, and what was passed over."""

    inputs: tuple[Input, ...]
    problems: tuple[Failure, ...] = ()
    ignored: dict[str, int] = field(default_factory=dict)  # files that are no clips, by suffix, most frequent first
    unused_columns: dict[str, tuple[str, ...]] = field(default_factory=dict)  # list → columns that mean nothing here
    warnings: tuple[str, ...] = ()  # what looks like a slip
    total: int = 0  # clips before `shard` and `limit`
    labels: tuple[str, ...] = ()  # in a data set's own order; sorted names where there is none
    are_crops: bool = False  # a data set's frames, each a face crop by itself
    check: Check | None = None  # of a data set
    reading: PathReading | None = None  # where annotations were read from, and which clips do not say them
    columns: Mapping[str, ColumnSpec] = field(
        default_factory=dict
    )  # types of extra columns, by all clips before `shard` and `limit`
    is_part: bool = False  # of the inputs of an extraction that others take the rest of
    dataset: Mapping[str, Any] | None = None  # what a cache records of a data set, where it was checked elsewhere

    @property
    def record(self) -> Mapping[str, Any] | None:
        """Return what a cache records of a data set."""
        return self.check.record() if self.check is not None else self.dataset


def find_inputs(
    inputs: Given,
    *,
    labels: str = NONE,
    subjects: str = NONE,
    limit: int | None = None,
    shard: tuple[int, int] | None = None,
    complete: bool = True,
) -> FoundInputs:
    """Find the clips in files, folders, lists and data frames, one of these or several, without reading a frame.

    `labels` and `subjects` say how label and person are read from paths: "none", "folders", or a pattern with a group. Clips whose paths
    do not say them are refused; with `complete=False` they are in `reading`. `limit` takes the first clips, `shard=(i, n)` every n-th
    from i = 0.

    >>> found = est.find_inputs("videos", limit=1)
    >>> [(clip.id, clip.label) for clip in found.inputs], found.total
    ([('anger/s001_01', 'anger')], 4)
    """
    rules = parse_rules(labels, subjects)
    _expect_part(limit, shard)
    search_all = _Search()
    named = each(inputs)
    paths = [Path(one) for one in named if isinstance(one, Path | str)]
    for path in expand(paths):
        search_all.add(path)
    for name, read in read_lists([one for one in named if is_table(one)]).items():
        search_all.add_list(name, read)
    reading = read_paths(search_all.inputs, rules)
    if complete:
        reading.expect_all()
    clips = reading.inputs
    known = {clip.label for clip in clips}
    problems = [_annotated(problem, rules, known) for problem in search_all.problems]
    if not clips and not problems:
        raise _nothing_found(paths, search_all.ignored)
    return replace(
        arrange(clips, problems, limit=limit, shard=shard),
        ignored=dict(search_all.ignored.most_common()),
        unused_columns=search_all.unused_columns,
        warnings=(
            *search_all.warnings,
            *alike_labels([one.label for one in (*clips, *problems)]),
            *doubtful_labels(clips, rules),
        ),
        reading=reading,
    )


def arrange(
    inputs: Sequence[Input],
    problems: Sequence[Failure],
    *,
    limit: int | None = None,
    shard: tuple[int, int] | None = None,
) -> FoundInputs:
    """Bring clips into the order that every machine has, and take a part of them."""
    _expect_part(limit, shard)
    _expect_distinct(inputs, problems)
    inputs = sorted(inputs, key=lambda clip: natural_key(clip.id))
    problems = sorted(problems, key=lambda problem: natural_key(problem.id))
    total, columns = len(inputs), column_specs(clip.extra for clip in inputs)
    if shard is not None:
        inputs, problems = inputs[shard[0] :: shard[1]], problems[shard[0] :: shard[1]]
    return FoundInputs(inputs=tuple(inputs[:limit]), problems=tuple(problems), total=total, columns=columns)


def is_disordered(moments: Sequence[int]) -> bool:
    """Return whether an onset, an apex and an offset do not follow each other; −1 is unknown."""
    known = [frame for frame in moments if frame >= 0]
    return known != sorted(known)


def failure_at(path: Path, clip_id: str, error: str, **annotations: Any) -> Failure:
    """Return the record of an input that gives no clip, as far as it can be looked at."""
    try:
        found = os.stat(path)
        source = Source(num_bytes=found.st_size, mtime_ns=found.st_mtime_ns)
    except OSError:
        source = Source()
    known = {name: value for name, value in annotations.items() if name in (*ANNOTATIONS, "extra")}  # no segment
    return Failure(
        id=unicode_text(clip_id), path=unicode_text(shown(path)), stage=STAGE, error=error, source=source, **known
    )


def unicode_text(text: str) -> str:
    """Return a name that can be stored and shown: bytes that are not UTF-8 as backslash escapes."""
    return text.encode(errors="surrogateescape").decode(errors="backslashreplace")


class _Search:
    def __init__(self) -> None:
        self.inputs: list[Input] = []
        self.problems: list[Failure] = []
        self.ignored: Counter[str] = Counter()
        self.unused_columns: dict[str, tuple[str, ...]] = {}
        self.warnings: list[str] = []
        self._unlike_frames: list[
            str
        ] = []  # clips of the list that is read whose pictures are not called as frames are

    def add(self, path: Path) -> None:
        """Take one INPUT."""
        suffix = path.suffix.lower()
        if url := url_of(path):
            self._add_remote(path, search_store(url))
        elif path.is_dir():
            if not self._add_manifest(path):
                self._add_found(path, search(path))
        elif not os.path.lexists(path):
            raise not_there(path)
        elif suffix in LIST_SUFFIXES:
            self.add_list(path, read_list(path))
        elif suffix in IMAGE_SUFFIXES:
            raise UsageError(
                f"{path} is a picture; a clip is a video or a folder of frames.",
                remedy="the folder that holds the frames of one clip, one folder a clip",
            )
        elif problem := file_problem(path):
            self._fail(path, _id(path, path.parent), problem)
        else:
            self._take(path, _id(path, path.parent), "video")

    def _add_remote(self, root: Path, found: FoundRemote) -> None:
        root = root.parent if root in found.videos else root
        for path, source in found.videos.items():
            self._take(path, _id(path, root), "video", remote=source)
        self.ignored.update(found.ignored)
        self.warnings += found.warnings

    def _add_found(self, root: Path, found: Found) -> None:
        for path in found.videos:
            self._take(path, _id(path, root), "video")
        for path in found.folders:
            self._take(path, _folder_id(path, root), "frames")
        for path, problem in found.problems:
            self._fail(path, _folder_id(path, root) if path.is_dir() else _id(path, root), problem)
        self.ignored.update(found.ignored)
        self._warn_of_stills([_folder_id(path, root) for path in found.unlike_frames])

    def _warn_of_stills(self, ids: list[str]) -> None:
        if ids:
            self.warnings.append(
                f"{some(ids)}: pictures that are not named by number, as frames are, and are taken as the frames of one clip a folder. "
                "Pictures of different people or moments: one folder for each picture, or est tune --images for labelled ones."
            )

    def _add_manifest(self, folder: Path) -> bool:
        manifest = folder / MANIFEST
        if not manifest.is_file() or not has_path_column(manifest):
            return False
        listed = self.add_list(manifest, read_list(manifest))
        found = search(folder)
        others = [path for path in (*found.videos, *found.folders) if path not in listed]
        if others:
            self.ignored[f"clips not in {MANIFEST}"] += len(others)
        return True

    def add_list(self, path: Path, read: ClipList) -> set[Path]:
        """Take a list's clips; return their paths."""
        folder = Path(os.path.abspath(path.parent))
        expect_clips(read, path)
        if read.unused:
            self.unused_columns[unicode_text(str(path))] = read.unused
        self.warnings += text_columns(path, read)
        listed, lines, self._unlike_frames = set(), {}, []
        remote = look_up({url for row in read.rows if (url := url_of(row.path))})
        for row in read.rows:
            url = url_of(row.path)
            clip_path = Path(url or os.path.normpath(locate(folder, row.path)))
            listed.add(clip_path)
            clip_id = row.id or listed_id(clip_path, folder) + segment(row)
            if clip_id in lines:
                raise UsageError(
                    f"{path}: lines {lines[clip_id]} and {row.line} both give the clip {clip_id!r}.",
                    remedy="remove one, or tell them apart by a column id, or by start and end",
                )
            lines[clip_id] = row.line
            self._add_row(row, clip_path, clip_id, remote.get(url or ""))
        self._warn_of_stills(self._unlike_frames)
        return listed

    def _add_row(self, row: Row, path: Path, clip_id: str, remote: Source | str | None) -> None:
        annotations = {name: getattr(row, name) for name in (*ANNOTATIONS, *MOMENTS, "start", "end", "extra")}
        if isinstance(remote, Source):
            self._take(path, clip_id, "video", remote=remote, **annotations)
        elif remote is not None:
            self._fail(path, clip_id, f"line {row.line} of the list: {remote}", **annotations)
        elif not os.path.lexists(path):
            self._fail(path, clip_id, f"line {row.line} of the list names a file that does not exist", **annotations)
        elif not path.is_dir():
            if problem := file_problem(path):
                self._fail(path, clip_id, problem, **annotations)
            else:
                self._take(path, clip_id, "video", **annotations)
        else:
            try:
                images = list_images(path)
            except OSError as error:
                self._fail(path, clip_id, f"the folder cannot be read ({error.strerror})", **annotations)
                return
            if images:
                self._take(path, clip_id, "frames", **annotations)
                self._unlike_frames += [] if is_sequence(images) else [clip_id]
            else:
                self._fail(path, clip_id, "the folder holds no pictures", **annotations)

    def _take(self, path: Path, clip_id: str, kind: Literal["video", "frames"], **annotations: Any) -> None:
        if not _is_unicode(str(path)) or not _is_unicode(clip_id):
            self._fail(path, clip_id, "its name is not UTF-8 and cannot be stored; rename it", **annotations)
            return
        self.inputs.append(Input(id=clip_id, path=path, kind=kind, **annotations))

    def _fail(self, path: Path, clip_id: str, error: str, **annotations: Any) -> None:
        self.problems.append(failure_at(path, clip_id, error, **annotations))


def _id(path: Path, root: Path) -> str:
    relative = path.relative_to(root)
    return relative.with_suffix("").as_posix() if relative.suffix.lower() in VIDEO_SUFFIXES else relative.as_posix()


def _folder_id(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path != root else root.name or "root"


def _is_unicode(text: str) -> bool:
    return unicode_text(text) == text


def _annotated(problem: Failure, rules: PathRules, known: set[str | None]) -> Failure:
    """Add what its path says to a problem; a folder that cannot be read has a label only where clips have it: it may be a whole class."""
    path = Path(problem.path)
    read: dict[str, Any] = {
        name: int(text) if name == "fold" else text
        for name, text in rules.read(problem.id, path).items()
        if getattr(problem, name) == UNTOLD[name]
    }
    if read.get("label") not in known and os.path.isdir(path):
        read.pop("label", None)
    return replace(problem, **read)


def _expect_part(limit: int | None, shard: tuple[int, int] | None) -> None:
    if limit is not None and limit < 1:
        raise UsageError(f"A limit is a number of clips from 1, found {limit}.")
    if shard is not None and not 0 <= shard[0] < shard[1]:
        raise UsageError(f"A shard is one of n, counted from 0; found {shard[0]} of {shard[1]}.", remedy="--shard 1/4")


def _expect_distinct(inputs: Sequence[Input], problems: Sequence[Failure]) -> None:
    taken: dict[str, str] = {}
    for clip_id, path in [*((one.id, one.place) for one in inputs), *((one.id, one.path) for one in problems)]:
        if clip_id in taken:
            raise UsageError(
                f"Two inputs have the id {clip_id!r}: {taken[clip_id]} and {path}.",
                remedy="rename one, give the folder above both as the INPUT, or a list with a column id",
            )
        taken[clip_id] = path


def _nothing_found(paths: Sequence[Path], ignored: Counter[str]) -> UsageError:
    where = ", ".join(unicode_text(shown(path)) for path in paths) or "no INPUT"
    rest = ignored_text(dict(ignored.most_common())) or "nothing"
    return UsageError(
        f"No clips in {where}: looked for videos ({' '.join(sorted(VIDEO_SUFFIXES))}), folders of frames "
        f"({' '.join(sorted(IMAGE_SUFFIXES))}) and lists ({' '.join(LIST_SUFFIXES)}); found {rest}.",
        remedy="name a video, a folder or a list",
    )
