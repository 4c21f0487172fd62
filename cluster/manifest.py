"""What an extraction in shards is to do: the exact inputs of each shard, the settings, and what follows from all inputs together.

It is written once, before anything begins. A folder that changes afterwards shifts no clip to another shard; a file that changes makes its
clip fail, by name. The inputs of a shard lie in a file of their own: a job of a million clips reads its share.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, ClassVar, Self

from .. import __version__
from ..cache.checksum import of_text
from ..cache.clip import Failure, Source
from ..cache.schema import ColumnSpec
from ..cache.sources import source_of
from ..cache.stores.disk import Disk
from ..cache.watch import Watch
from ..errors import EstError, UsageError, counted, differing, some
from ..extract.config import ExtractConfig
from ..inputs.input import FoundInputs, Input, failure_at
from .place import Place, write_json
from .reading import expect_types, reading
from .shares import shares
from .state import Ended

FORMAT, VERSION = "est-submit", 1
CHANGEABLE = ("workers", "timeout", "models_dir")  # settings that no row depends on


@dataclass(frozen=True, kw_only=True)
class Shard:
    """What the manifest says of one shard."""

    inputs: int
    num_bytes: int
    digest: str  # of the file of its inputs


@dataclass(frozen=True, kw_only=True)
class ExtractManifest:
    """An extraction in shards."""

    kind: ClassVar[str] = "extract"
    part: ClassVar[str] = "shard"
    doing: ClassVar[str] = "Extracting"
    unit: ClassVar[str] = "videos"
    last_computes: ClassVar[bool] = False
    at_once: ClassVar[int] = 1  # an extraction uses every core by itself

    folder: str  # from which relative paths go out
    config: ExtractConfig
    labels: tuple[str, ...]  # of all clips, in the order that the cache has
    columns: Mapping[str, ColumnSpec]
    dataset: Mapping[str, Any] | None
    are_crops: bool
    problems: tuple[
        Failure, ...
    ]  # inputs that give no clip: on record with the first shard, as one extraction has them first
    shards: tuple[Shard, ...]
    est: str = __version__
    time: float = field(default_factory=time.time)

    @property
    def device(self) -> str:
        """Return the device that was asked for."""
        return self.config.device

    @property
    def parts(self) -> int:
        """Count the shards."""
        return len(self.shards)

    def inputs_of(self, number: int) -> int:
        """Count the inputs of a shard; the merge has none."""
        return self.shards[number].inputs if number >= 0 else 0

    def to_json(self) -> dict[str, Any]:
        """Return it as it is written."""
        known = {item.name: getattr(self, item.name) for item in fields(self)}
        known["config"] = {k: str(v) if isinstance(v, Path) else v for k, v in asdict(self.config).items()}
        known["columns"] = {name: asdict(spec) for name, spec in self.columns.items()}
        known["problems"] = [_failure_data(problem) for problem in self.problems]
        known["shards"] = [asdict(shard) for shard in self.shards]
        return json.loads(json.dumps({"format": FORMAT, "version": VERSION, "kind": self.kind, **known}))

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read what `to_json` returned."""
        known: dict[str, Any] = {item.name: data[item.name] for item in fields(cls)}
        settings: dict[str, Any] = {**data["config"], "features": tuple(data["config"]["features"])}
        columns: dict[str, dict[str, Any]] = {
            n: {**spec, "shape": tuple(spec["shape"])} for n, spec in data["columns"].items()
        }
        known["config"] = ExtractConfig(**settings)
        known["columns"] = {name: ColumnSpec(**spec) for name, spec in columns.items()}
        known["labels"] = tuple([] + data["labels"])  # of a list alone
        known["problems"] = tuple(_failure(problem) for problem in data["problems"])
        known["shards"] = tuple(Shard(**shard) for shard in data["shards"])
        return expect_types(cls(**known))

    def work(self, place: Place, number: int, *, workers: int | None, watch: Watch) -> Ended:
        """Extract a shard."""
        from .extracting import extract_shard  # here: the status of a submission needs no torch

        return extract_shard(place, self, number, workers, watch)

    def finish(self, place: Place, *, keep_shards: bool, watch: Watch) -> dict[str, Any]:
        """Merge the shards."""
        from .merging import merge_shards

        return merge_shards(place, self, keep_shards=keep_shards, watch=watch)

    def is_kept(self, place: Place, number: int) -> bool:
        """Say whether what a shard made is there still."""
        return place.shard(number).exists()

    def found(self, place: Place, number: int) -> FoundInputs:
        """Return what a shard extracts; inputs that are not what they were when this was written are failures."""
        inputs, problems = [], list(self.problems if number == 0 else ())
        for one, then in read_inputs(place, self, number):
            if change := _change(one, then):
                problems.append(failure_at(one.path, one.id, change, **one.annotations, extra=one.extra))
            else:
                inputs.append(one)
        return FoundInputs(
            inputs=tuple(inputs),
            problems=tuple(problems),
            total=len(inputs),
            labels=self.labels,
            are_crops=self.are_crops,
            columns=self.columns,
            dataset=self.dataset,
            is_part=True,
        )


def plan(found: FoundInputs, config: ExtractConfig, number: int) -> tuple[ExtractManifest, list[str]]:
    """Divide inputs among shards; return the manifest, and the texts of the files of their inputs."""
    described = [(one, _described(one)) for one in found.inputs]
    parts = shares([source.num_bytes for _, source in described], number) if described else [range(0)]
    texts = [
        json.dumps([_input_data(*described[place]) for place in part], ensure_ascii=False, separators=(",", ":"))
        for part in parts
    ]
    everything = (*found.inputs, *found.problems)
    manifest = ExtractManifest(
        folder=os.getcwd(),
        config=config,
        labels=tuple(found.labels) or tuple(sorted({one.label for one in everything if one.label is not None})),
        columns=found.columns,
        dataset=found.record,
        are_crops=found.are_crops,
        problems=found.problems,
        shards=tuple(
            Shard(
                inputs=len(part),
                num_bytes=sum(described[place][1].num_bytes for place in part),
                digest=of_text(text),
            )
            for part, text in zip(parts, texts, strict=True)
        ),
    )
    return manifest, texts


def write(place: Place, manifest: ExtractManifest, texts: Sequence[str]) -> None:
    """Write a manifest, after the inputs that it names."""
    place.make()
    for number, text in enumerate(texts):
        Disk().write(place.inputs(number), text.encode())
    write_json(place.manifest, manifest.to_json())


def read_inputs(place: Place, manifest: ExtractManifest, number: int) -> Iterator[tuple[Input, Source]]:
    """Yield the inputs of a shard, each with its size and time when the manifest was written."""
    path = place.inputs(number)
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, IsADirectoryError):
        text = ""
    if of_text(text) != manifest.shards[number].digest:
        raise EstError(
            f"{path} is not what {place.manifest.name} says that was written.",
            remedy=f"{place.remedy}; or another --out",
        )
    for data in json.loads(text):
        with reading(path, place.remedy):
            source = Source(num_bytes=data.pop("num_bytes"), mtime_ns=data.pop("mtime_ns"))
            known: dict[str, Any] = {**data, "path": Path(data["path"])}
            one = Input(**known)
        yield one, source


def expect_same(place: Place, there: ExtractManifest, asked: ExtractManifest, texts: Sequence[str]) -> ExtractManifest:
    """Refuse other inputs or settings than those of a submission that is there; return it with settings that may change."""
    then, now = there.config, asked.config
    settings: dict[str, tuple[Any, Any]] = {
        item.name.replace("_", "-"): (getattr(then, item.name), getattr(now, item.name))
        for item in fields(ExtractConfig)
        if item.name not in CHANGEABLE and getattr(then, item.name) != getattr(now, item.name)
    }
    if settings:
        raise UsageError(
            differing(place.folder, settings),
            remedy="the earlier settings, or another --out",
        )
    changes = list(_changes(place, there, asked, texts))
    if changes:
        raise UsageError(
            f"{place.folder} was submitted with other inputs: {'; '.join(changes)}.",
            remedy=f"est submit retry {place.out} resumes with the earlier inputs; another --out takes the new ones",
        )
    return replace(there, config=replace(then, **{name: getattr(now, name) for name in CHANGEABLE}))


def _changes(place: Place, there: ExtractManifest, asked: ExtractManifest, texts: Sequence[str]) -> Iterator[str]:
    """Say in which inputs two manifests differ, but for the state of their files, which jobs look at."""
    then = {one.id: one for number in range(there.parts) for one, _ in read_inputs(place, there, number)}
    now = {data["id"]: data for text in texts for data in json.loads(text)}
    problems_then, problems_now = ({one.id for one in known.problems} for known in (there, asked))
    yield from _named("new", [name for name in now if name not in then and name not in problems_then], "are")
    yield from _named("gone", [name for name in then if name not in now and name not in problems_now], "are")
    for item in fields(Input):
        other = [
            name for name in now if name in then and _plain(getattr(then[name], item.name)) != now[name].get(item.name)
        ]
        yield from _named(f"of another {item.name}", other, "are")
    if list(then) != list(now) and set(then) == set(now):
        yield "they are in another order"
    if there.labels != asked.labels:
        yield f"the labels were {some(there.labels or ['none'], 8)}, and are {some(asked.labels or ['none'], 8)}"


def _named(what: str, names: Sequence[str], verb: str) -> Iterator[str]:
    if names:
        yield f"{counted(len(names), 'input', verb)} {what} ({some(names)})"


def _change(one: Input, then: Source) -> str:
    """Say how a source differs from what it was; empty: it does not."""
    try:
        now = source_of(one.path, digest=False)
    except OSError as error:
        return f"it cannot be read any more: {error.strerror}"
    if now.num_bytes != then.num_bytes:
        return f"it has changed since it was submitted: it had {then.num_bytes} bytes, and has {now.num_bytes}"
    return "" if now.mtime_ns == then.mtime_ns else "it has been written again since it was submitted"


def _described(one: Input) -> Source:
    try:
        return source_of(one.path, digest=False)
    except OSError:
        return Source()


def _input_data(one: Input, source: Source) -> dict[str, Any]:
    """Return an input as it is written: what has its default is left out."""
    known = {item.name: _plain(getattr(one, item.name)) for item in fields(Input)}
    return {**known, "num_bytes": source.num_bytes, "mtime_ns": source.mtime_ns}


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else dict(value) if isinstance(value, Mapping) else value


def _failure_data(failure: Failure) -> dict[str, Any]:
    source = {"num_bytes": failure.source.num_bytes, "mtime_ns": failure.source.mtime_ns}
    return {item.name: _plain(getattr(failure, item.name)) for item in fields(Failure)} | {"source": source}


def _failure(data: Mapping[str, Any]) -> Failure:
    known: dict[str, Any] = {**data, "source": Source(**data["source"])}
    return Failure(**known)
