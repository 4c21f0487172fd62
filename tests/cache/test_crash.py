"""Killed writers: whatever moment SIGKILL falls on, what was committed is there, whole, and the next run goes on to the same cache."""

import json
import random
import shutil
import signal
import time

import pytest
from cache_samples import LABELS, STORES, leftovers, put_copy, stored_arrays, stored_files
from cache_sessions import PHASES, RELABELLED, REMOVED, Sessions

from est.cache import CacheWriter, open_cache, verify_cache
from est.cache.schema import CLIP_COLUMNS
from est.cache.stores.snapshot import staging_path
from est.cache.stores.zarr_format import chunk_index, num_chunks
from est.cache.writing.creation import committed_rows
from est.errors import UsageError

EDITABLE = {f"clips/{name}" for name in ("label", "subject", "split", "fold", "live", "xxh3/row")}
EDITABLE |= {f"failures/{name}" for name in ("label", "subject", "split", "fold", "live", "xxh3/row")}
KILLS = [pytest.param(10, id="10 kills"), pytest.param(100, id="100 kills", marks=pytest.mark.slow)]


@pytest.fixture
def tmp_path(ram_path):
    return ram_path


@pytest.fixture(scope="module")
def sessions():
    server = Sessions()
    yield server
    server.close()


@pytest.fixture(scope="module", params=STORES)
def undisturbed(request, sessions, tmp_path_factory):
    """A cache of each store after each phase: its path, what is stored in it, and how long the phase took."""
    path = tmp_path_factory.mktemp("undisturbed") / f"cache{request.param}"
    states = []
    for phase in PHASES:
        begun = time.monotonic()
        assert sessions.run(path, phase)[0] == 0
        took = time.monotonic() - begun
        kept = path.with_name(f"{phase}{request.param}")
        put_copy(kept, path)
        states.append((kept, stored_arrays(kept), took))
    return states


def clear(path):
    """Remove a cache and all that belongs to it."""
    for found in (path, *(path.with_name(name) for name in leftovers(path))):
        if found.is_dir():
            shutil.rmtree(found)
        else:
            found.unlink(missing_ok=True)


def restore(path, kept):
    """Put a kept cache in a place, alone."""
    clear(path)
    put_copy(path, kept)


def expect_prefix(path, number, undisturbed, told, *, stopped=False):
    """Check what a killed session left: whole, nothing lost that it told of, and on the way from one state to the next."""
    before = undisturbed[number - 1][1] if number else {}
    after = undisturbed[number][1]
    if not path.exists() and not staging_path(path).exists():
        with pytest.raises(UsageError, match="does not exist"):
            open_cache(path)
        assert not before
        assert not told
        return
    assert open_cache(path).snapshot.manifest.commit.sequence >= told, "a commit that was told of is lost"
    assert verify_cache(path).problems == []
    found = stored_arrays(path)
    assert found.keys() <= after.keys()
    assert found.keys() >= (before.keys() or found.keys())
    for name, rows in found.items():
        old, new = before.get(name, []), after[name]
        assert len(old) <= len(rows) <= len(new), name
        if name in EDITABLE:
            assert all(row in (*old[k : k + 1], new[k]) for k, row in enumerate(rows)), name
        else:
            assert rows == new[: len(rows)], name
    if PHASES[number] == "second" and not stopped:  # one that was stopped commits the edits that it had come to
        edited = [
            REMOVED - 1,
            *(row - (row > 4) for row in RELABELLED),
        ]  # clip 4 failed, so rows behind it are one less
        states = [[found[f"clips/{name}"][row] for name in CLIP_COLUMNS] for row in edited]
        assert states in [
            [[side[f"clips/{name}"][row] for name in CLIP_COLUMNS] for row in edited] for side in (before, after)
        ]


def expect_finished(path, kept):
    """Compare a cache that was killed on its way with one that was not, byte for byte."""
    assert stored_files(path) == stored_files(kept)
    assert leftovers(path) == []


@pytest.mark.parametrize("kills", KILLS)
def test_kills_at_random_moments_lose_nothing(kills, undisturbed, sessions, tmp_path):
    rng = random.Random(kills)
    path = tmp_path / undisturbed[0][0].with_stem("killed").name
    hit = tried = 0
    while hit < kills:
        clear(path)
        for number, phase in enumerate(PHASES):
            status = -signal.SIGKILL
            while status != 0:
                longest = 1.5 * undisturbed[number][2]
                killing = {"signal": signal.SIGKILL, "delay": rng.uniform(0, longest)} if hit < kills else {}
                status, told = sessions.run(path, phase, commit_seconds=rng.choice([0, 0, 0.03, 20]), **killing)
                assert status in (0, -signal.SIGKILL)
                hit += status != 0
                tried += bool(killing)
                expect_prefix(path, number, undisturbed, told)
        expect_finished(path, undisturbed[-1][0])
        assert tried < 20 * kills, "the kills come too late to hit anything"


def kill_at(numbers, phase, undisturbed, sessions, tmp_path, **options):
    """Run a phase once for each number, killed at that operation, and then to its end."""
    number = PHASES.index(phase)
    path = tmp_path / undisturbed[0][0].with_stem("killed").name
    for stop in numbers:
        clear(path)
        if number:
            restore(path, undisturbed[number - 1][0])
        status, told = sessions.run(path, phase, stop=stop, **options)
        assert status == -signal.SIGKILL, f"operation {stop} was not reached"
        expect_prefix(path, number, undisturbed, told)
        assert sessions.run(path, phase)[0] == 0
        expect_finished(path, undisturbed[number][0])


def operations(phase, undisturbed, sessions, tmp_path, **options):
    """Name the operations of an undisturbed phase."""
    number = PHASES.index(phase)
    path, log = tmp_path / undisturbed[0][0].with_stem("logged").name, tmp_path / "log"
    if number:
        restore(path, undisturbed[number - 1][0])
    assert sessions.run(path, phase, log=str(log), **options)[0] == 0
    return log.read_text(encoding="utf-8").splitlines()


def some(numbers, count):
    """Choose a few numbers, evenly, the first and the last among them."""
    return sorted({numbers[round(k * (len(numbers) - 1) / (count - 1))] for k in range(count)})


@pytest.mark.parametrize("count", [pytest.param(4, id="some"), pytest.param(60, id="many", marks=pytest.mark.slow)])
@pytest.mark.parametrize("phase", PHASES)
def test_a_kill_between_any_two_operations_loses_nothing(phase, count, undisturbed, sessions, tmp_path):
    log = operations(phase, undisturbed, sessions, tmp_path, commit_seconds=0.02)
    numbers = some(range(1, int(len(log) * 0.9)), count)
    kill_at(numbers, phase, undisturbed, sessions, tmp_path, commit_seconds=0)


@pytest.mark.parametrize("count", [pytest.param(3, id="some"), pytest.param(40, id="many", marks=pytest.mark.slow)])
def test_a_kill_while_an_hdf5_cache_is_folded_loses_nothing(count, undisturbed, sessions, tmp_path):
    suffix = undisturbed[0][0].suffix
    if suffix == ".zarr":
        pytest.skip("a .zarr is never folded")
    for phase in ("second",) if count == 3 else PHASES:
        log = operations(phase, undisturbed, sessions, tmp_path)
        first = next(k for k, line in enumerate(log, start=1) if line.startswith("hdf5"))
        rename = log.index(f"rename logged{suffix}.partial") + 1
        removed = max(k for k, line in enumerate(log, start=1) if line.startswith("rmtree"))
        steps = {first, rename - 1, rename, rename + 1, removed, removed + 1}
        steps |= {*some(range(first, rename), count), *some(range(rename, len(log) + 1), count)}
        kill_at(sorted(steps), phase, undisturbed, sessions, tmp_path)
        kill_at([rename], phase, undisturbed, sessions, tmp_path, after=True)


def test_a_kill_while_a_cache_is_made_leaves_none_or_an_empty_one(undisturbed, sessions, tmp_path):
    suffix = undisturbed[0][0].suffix
    log = operations("first", undisturbed, sessions, tmp_path)
    made = "logged.h5.staging.partial" if suffix == ".h5" else "logged.zarr.partial"
    rename = log.index(f"rename {made}") + 1
    steps = [*some(range(1, rename), 4), rename, rename + 1, rename + 2]
    kill_at(steps, "first", undisturbed, sessions, tmp_path)


def test_a_killed_writer_is_named_and_its_lock_taken_over(undisturbed, sessions, tmp_path):
    path = tmp_path / undisturbed[0][0].with_stem("killed").name
    pid = sessions.start(path, "first", commit_seconds=0, stop=400)
    assert sessions.finish()[0] == -signal.SIGKILL
    with CacheWriter.open(path) as writer:
        assert writer.stale_lock is not None
        assert f"process {pid} " in writer.stale_lock
        assert writer.manifest.labels[: len(LABELS)] == LABELS
    with CacheWriter.open(path) as writer:
        assert writer.stale_lock is None


@pytest.mark.parametrize("phase", ["first", "fill"])
def test_what_a_killed_writer_left_behind_its_last_commit_is_cleared_away(phase, undisturbed, sessions, tmp_path):
    number = PHASES.index(phase)
    path = tmp_path / undisturbed[0][0].with_stem("killed").name
    if number:
        restore(path, undisturbed[number - 1][0])
    log = operations(phase, undisturbed, sessions, tmp_path, commit_seconds=0)
    halves = [k for k, line in enumerate(log, start=1) if line.startswith("half c.")]
    assert sessions.run(path, phase, stop=halves[len(halves) // 2] + 1, commit_seconds=0)[0] == -signal.SIGKILL
    root = staging_path(path) if path.suffix == ".h5" else path
    writer = CacheWriter.open(path)
    try:
        for name, spec in writer.manifest.writing_schema.arrays().items():
            first_row = open_cache(path).snapshot.segments[-1].first_row(spec)
            rows = committed_rows(writer.manifest, spec) - first_row
            assert json.loads((root / name / "zarr.json").read_text())["shape"][0] == rows, name
            chunks = [index for file in (root / name).iterdir() if (index := chunk_index(file.name)) is not None]
            assert sorted(chunks) == list(range(num_chunks(spec, rows))), name
        assert not list(root.rglob("*.partial"))
        filling = writer.manifest.filling.get("map")
        assert (filling is not None and 0 < filling.clips < 14) == (phase == "fill")
    finally:
        writer.close(folding=False)


@pytest.mark.parametrize("rounds", [pytest.param(1, id="some"), pytest.param(60, id="many", marks=pytest.mark.slow)])
def test_ctrl_c_at_any_moment_commits_whole_clips(rounds, undisturbed, sessions, tmp_path):
    rng = random.Random(7)
    path = tmp_path / undisturbed[0][0].with_stem("stopped").name
    for _ in range(rounds):
        for number, phase in enumerate(PHASES[:2]):
            if number == 0:
                clear(path)
            status, told = sessions.run(path, phase, signal=signal.SIGINT, delay=rng.uniform(0, 0.12))
            assert status in (0, 130)
            expect_prefix(path, number, undisturbed, told, stopped=True)
            assert sessions.run(path, phase)[0] == 0
            expect_finished(path, undisturbed[number][0])
