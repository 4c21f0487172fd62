"""The work of one job: a part of what was submitted, or the last step, whoever starts it: Slurm, this machine, a script, a person."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from ..cache.watch import Watch
from ..errors import EstError, UsageError
from .manifest import FORMAT, VERSION, ExtractManifest
from .place import LAST, Place, holding, read_json
from .reading import reading
from .state import Ended, State, alive, read_state


class Manifest(Protocol):
    """What was submitted."""

    @property
    def kind(self) -> str:
        """Return extract or sweep."""
        ...

    @property
    def part(self) -> str:
        """Return what a part is called."""
        ...

    @property
    def doing(self) -> str:
        """Return the work in a word, for progress."""
        ...

    @property
    def unit(self) -> str:
        """Return what `inputs_of` counts."""
        ...

    @property
    def last_computes(self) -> bool:
        """Say whether the last step needs what the parts need, such as a GPU."""
        ...

    @property
    def device(self) -> str:
        """Return the device that was asked for."""
        ...

    @property
    def parts(self) -> int:
        """Count the parts, without the last step."""
        ...

    @property
    def at_once(self) -> int:
        """Return how many parts run at once on a machine without several GPUs, where nobody says."""
        ...

    def inputs_of(self, number: int) -> int:
        """Count what a part does, in the unit that `State.left` counts."""
        ...

    def work(self, place: Place, number: int, *, workers: int | None, watch: Watch) -> Ended:
        """Do a part."""
        ...

    def finish(self, place: Place, *, keep_shards: bool, watch: Watch) -> dict[str, Any]:
        """Join what the parts have made."""
        ...

    def is_kept(self, place: Place, number: int) -> bool:
        """Say whether what a part, or the last step, has made is there still."""
        ...


def read_manifest(place: Place) -> Manifest:
    """Return what was submitted."""
    place.expect()
    with reading(place.manifest, place.remedy):
        return _read_manifest(place, read_json(place.manifest, remedy=place.remedy))


def _read_manifest(place: Place, data: Mapping[str, Any]) -> Manifest:
    if data.get("format") != FORMAT or data.get("version") != VERSION:
        raise EstError(
            f"{place.manifest} is of another release: {data.get('format')} {data.get('version')}, expected {FORMAT} {VERSION}.",
            remedy="finish with the est that submitted it",
        )
    if data["kind"] == ExtractManifest.kind:
        return ExtractManifest.from_json(data)
    if data["kind"] != "sweep":
        raise ValueError(f"kind is {data['kind']!r}")
    from .sweeping import SweepManifest  # here: it needs torch

    return SweepManifest.from_json(data)


def run_part(
    place: Place,
    number: int,
    *,
    workers: int | None = None,
    keep_shards: bool = False,
    watch: Watch | None = None,
) -> State:
    """Do one part, or the `LAST`; return how it ended. One that is done is left as it is; one process at a time works on it."""
    watch, manifest = watch or Watch(), read_manifest(place)
    if number != LAST and not 0 <= number < manifest.parts:
        raise UsageError(
            f"{place.out} has {manifest.parts} {manifest.part}s, counted from 0; found {number}.",
            remedy=f"est submit status {place.out}",
        )
    with holding(place.held(number), f"{told(manifest, number)} of {place.out}"):
        if (before := read_state(place.state(number))) is not None and is_done(place, manifest, number):
            return before
        with alive(place, number, watch) as heartbeat:
            if number == LAST:
                return heartbeat.end(
                    state="done", left=0, result=manifest.finish(place, keep_shards=keep_shards, watch=heartbeat)
                )
            place.make()  # its folders are gone where a merged cache is made again
            ended = manifest.work(place, number, workers=workers, watch=heartbeat)
            return heartbeat.end(state="stopped" if ended.signal and ended.left else "done", **vars(ended))


def is_done(place: Place, manifest: Manifest, number: int) -> bool:
    """Say whether a part is done, and what it made is there, or was joined with the others' by now."""
    state = read_state(place.state(number))
    if state is None or not state.is_done:
        return False
    return manifest.is_kept(place, number) or (number != LAST and is_done(place, manifest, LAST))


def told(manifest: Manifest, number: int) -> str:
    """Name a part for a message."""
    return "The last step" if number == LAST else f"{manifest.part.capitalize()} {number}"
