"""The last part of an extraction: shards that are whole become the cache, which is verified before it has its name.

A shard that is missing, incomplete, or made with other settings is refused by name. A merge that was killed begins again, and one that was
killed after the new cache had its name only removes the shards.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ..cache import Cache, merge_caches, open_cache, verify_cache
from ..cache.stores.disk import Disk, expect_free_space, writing
from ..cache.stores.snapshot import staging_path
from ..cache.watch import Watch
from ..errors import CacheDamaged, CacheError, EstError, RecipeMismatch, counted, quoted, some
from ..extract.clip_pipeline import clips_of
from .manifest import ExtractManifest, read_inputs
from .place import LAST, Place, named, read_json, write_json
from .reading import reading
from .state import read_state


def merge_shards(place: Place, manifest: ExtractManifest, *, keep_shards: bool, watch: Watch) -> dict[str, Any]:
    """Merge, verify, rename, and remove the shards; return how many clips and failures there are."""
    with contextlib.chdir(manifest.folder), writing(place.out):
        record = place.folder / "merged.json"
        made = place.folder / f"merged{place.out.suffix}"
        disk = Disk()
        if not is_in_place(place):
            if place.out.exists():
                raise CacheError(
                    f"{place.out} is there, and was not made of these shards.",
                    remedy=f"move it away, then est submit merge {place.out}",
                )
            for leftover in (made, staging_path(made)):
                disk.remove(leftover)
            shards = whole_shards(place, manifest)
            result = {"clips": sum(map(len, shards)), "failures": sum(len(shard.failures) for shard in shards)}
            if not result["clips"]:  # as an extraction that finds none leaves no cache
                return {**result, "kept": False}
            expect_free_space(place.folder, sum(map(_size, shards)), "Merging the shards")
            merge_caches([shard.path for shard in shards], made, watch=watch)
            if problems := verify_cache(made, watch=watch).problems:
                raise CacheDamaged(
                    f"The merged cache is not sound: {problems[0].what}.", remedy=f"est submit merge {place.out}"
                )
            write_json(record, {**result, "kept": True, "commit": open_cache(made).commit_id})
            disk.rename(made, place.out)
        if not keep_shards:
            disk.remove(place.folder / "shards")
        return _merged(place)


def is_in_place(place: Place) -> bool:
    """Say whether the cache is the one that was merged."""
    try:
        record = _merged(place)
    except FileNotFoundError:
        return False
    return place.out.exists() and open_cache(place.out).commit_id == record["commit"]


def _merged(place: Place) -> dict[str, Any]:
    """Return what the merge recorded."""
    path = place.folder / "merged.json"
    remedy = f"rm {quoted(path)} {quoted(place.state(LAST))}, move {place.out.name} away, then submit again"
    data = read_json(path, remedy=remedy)
    with reading(path, remedy):
        clips, failures, kept, commit = (data[name] for name in ("clips", "failures", "kept", "commit"))
        if not (isinstance(clips, int) and isinstance(failures, int) and kept is True and isinstance(commit, str)):
            raise TypeError(f"it holds {data}")
    return data


def whole_shards(place: Place, manifest: ExtractManifest) -> list[Cache]:
    """Open the shards; refuse one that is not there, not whole, or made with other settings than the others."""
    lacking = dict(_lacking(place, manifest))
    if lacking:
        told = [f"shard {number}: {what}" for number, what in lacking.items()]
        raise EstError(
            f"{counted(len(lacking), 'shard', 'are')} not ready to be merged: {some(told, joint='; ')}.",
            remedy=f"est submit retry {quoted(place.out)}",
        )
    for number in range(manifest.parts):
        if surplus := _surplus(place, manifest, number):
            raise EstError(
                f"Shard {number} has what none of its inputs gives: {some(surplus)}.",
                remedy=f"rm -r {quoted(place.shard(number))}, then est submit retry {quoted(place.out)}",
            )
    shards = [open_cache(place.shard(number)) for number in range(manifest.parts)]
    first, *others = shards
    for number, shard in enumerate(others, start=1):
        if names := [
            name for name in first.recipes.differences(shard.recipes) if name != "decoder"
        ]:  # chosen file by file
            raise RecipeMismatch(
                f"Shards 0 and {number} were made in other ways: {first.recipes.describe(shard.recipes, names)}.",
                remedy=f"rm -r {shard.path}, or {named(0)}.zarr beside it, then est submit retry {place.out}",
            )
    return shards


def _lacking(place: Place, manifest: ExtractManifest) -> Iterator[tuple[int, str]]:
    """Yield the shards that are not whole, and why."""
    for number in range(manifest.parts):
        state, path = read_state(place.state(number)), place.shard(number)
        if state is None:
            yield number, "it has not begun"
        elif not state.is_done:
            yield number, f"it is {state.state}"
        elif not path.exists():
            yield number, f"{path} is gone"
        elif left := _left(place, manifest, number):
            why = f"{counted(len(left), 'input', 'are')} neither a clip nor a failure ({some(left)})"
            failed = replace(state, state="failed", left=len(left), error=why)  # else a retry would take it for done
            write_json(place.state(number), asdict(failed))
            yield number, why


def _left(place: Place, manifest: ExtractManifest, number: int) -> list[str]:
    """Name the inputs of which a shard has nothing."""
    shard = open_cache(place.shard(number))
    clips, failures = set(shard.ids), {failure.id for failure in shard.failures}
    ids = [one.id for one, _ in read_inputs(place, manifest, number)]
    return [name for name in ids if name not in failures and not clips_of(name, clips)]


def _surplus(place: Place, manifest: ExtractManifest, number: int) -> list[str]:
    """Name the clips and failures of a shard that belong to none of its inputs."""
    shard = open_cache(place.shard(number))
    clips, ids = set(shard.ids), [one.id for one, _ in read_inputs(place, manifest, number)]
    known = {clip for name in ids for clip in clips_of(name, clips)}
    failed = {*ids, *(problem.id for problem in manifest.problems if number == 0)}
    strange = (failure.id for failure in shard.failures if failure.id not in failed)
    return [*(name for name in shard.ids if name not in known), *strange]


def _size(shard: Cache) -> int:
    return sum(path.stat().st_size for path in Path(shard.path).rglob("*") if path.is_file())
