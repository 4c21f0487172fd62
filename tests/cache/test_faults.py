"""A disk that fails: whichever operation it is and whatever the system says, what was committed stays, and the next session goes on."""

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import cache_samples
import pytest
from cache_samples import contents, leftovers, make_clip, put_copy, sample_recipes, stored_arrays, stored_files
from cache_sessions import PHASES, FaultyDisk, run_phase

from est.cache import CacheWriter, convert_cache, merge_caches, open_cache, verify_cache
from est.cache.changes.repair import repair_cache
from est.cache.stores.hdf5_builder import Hdf5Builder
from est.cache.stores.snapshot import staging_path
from est.errors import CacheError, UsageError

SAID = {
    errno.ENOSPC: "No space is left to write",
    errno.EACCES: "No permission to write",
    errno.EIO: "Writing .* failed",
}
NUMBERS = sorted(SAID)


@pytest.fixture
def tmp_path(ram_path):
    return ram_path


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Caches of both stores after each phase, and what is stored in them."""
    states = {}
    for suffix in (".zarr", ".h5"):
        path = tmp_path_factory.mktemp("finished") / f"cache{suffix}"
        for phase in PHASES:
            run_phase(path, phase)
            kept = path.with_name(phase + suffix)
            put_copy(kept, path)
            states[suffix, phase] = kept, stored_arrays(kept), contents(kept)
    return states


def put(path, kept):
    """Put a kept cache in a place where nothing else is left."""
    for old in path.parent.iterdir():
        shutil.rmtree(old) if old.is_dir() else old.unlink()
    if kept is not None:
        put_copy(path, kept)


def chosen(said, every):
    """Choose the operations that fail: all, or the last of each kind, and the first write."""
    if every:
        return range(1, len(said) + 1)
    kinds = [line.split(" ")[0] for line in said]
    return sorted({kinds.index("write") + 1, *(len(kinds) - kinds[::-1].index(kind) for kind in set(kinds))})


def fail_everywhere(step, start, end, path, *, every=False, **options):
    """Let one operation of a phase after the other fail; check what is left, and that the phase can be ended."""
    counting = FaultyDisk()
    put(path, start and start[0])
    step(counting)
    assert counting.count >= 10
    for turn, stop in enumerate(chosen(counting.said, every)):
        put(path, start and start[0])
        number = NUMBERS[turn % len(NUMBERS)]
        with pytest.raises(CacheError, match=SAID[number]) as caught:
            step(FaultyDisk(stop, number, **options))
        assert caught.value.remedy
        assert not path.with_name(path.name + ".lock").exists(), "the lock is not released"
        expect_committed(path, start, end)
        step(FaultyDisk())
        assert stored_files(path) == stored_files(end[0]), counting.said[stop - 1]
        assert leftovers(path) == []


def expect_committed(path, start, end):
    """Whatever failed: the cache opens, is sound, and lies between two states; only one that is being made may be absent."""
    if start is None and not path.exists() and not staging_path(path).exists():
        with pytest.raises(UsageError, match="does not exist"):
            open_cache(path)
        return
    assert verify_cache(path).problems == []
    found = stored_arrays(path)
    for name in ("frames/gap", "frames/box", "crops/data", "clips/id"):
        assert found[name] == end[1][name][: len(found[name])]
        assert len(found[name]) >= (len(start[1][name]) if start else 0)


@pytest.mark.parametrize(
    ("phase", "options", "every"),
    [
        *(pytest.param(phase, {}, False, id=phase) for phase in ("first", "second", "fill")),
        pytest.param("second", {"after": True}, False, id="second-after"),
        pytest.param("second", {"lasting": True}, False, id="second-lasting"),
        *(pytest.param(phase, {}, True, id=f"{phase}-every", marks=pytest.mark.slow) for phase in PHASES),
    ],
)
def test_any_operation_may_fail(phase, options, every, store, finished, tmp_path):
    number = PHASES.index(phase)
    path = tmp_path / f"cache{store}"
    start = finished[store, PHASES[number - 1]] if number else None
    end = finished[store, phase]
    fail_everywhere(lambda disk: run_phase(path, phase, disk=disk), start, end, path, every=every, **options)


@pytest.mark.parametrize("name", ["array", "strings", "close"])
@pytest.mark.parametrize("number", NUMBERS)
def test_h5py_may_fail_while_a_cache_is_folded(name, number, finished, tmp_path, monkeypatch):
    path = tmp_path / "cache.h5"
    start, end = finished[".h5", "first"], finished[".h5", "second"]
    put(path, start[0])
    with monkeypatch.context() as patch:
        original = getattr(Hdf5Builder, name)

        def failing(self, *args):
            original(self, *args)
            raise OSError(number, os.strerror(number))

        patch.setattr(Hdf5Builder, name, failing)
        with pytest.raises(CacheError, match=SAID[number]):
            run_phase(path, "second")
    expect_committed(path, start, end)
    assert contents(path) == end[2], "the staging holds all that was committed"
    run_phase(path, "second")
    assert stored_files(path) == stored_files(end[0])


LIMITED = """
import resource, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from cache_sessions import run_phase
from est.errors import CacheError
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), resource.RLIM_INFINITY))
try:
    run_phase(Path(sys.argv[2]), "first")
except CacheError as error:
    print(error.message)
    raise SystemExit(3)
"""


@pytest.mark.parametrize("limit", [9_000, 16_000, 40_000])
def test_a_file_that_may_not_grow_while_h5py_writes_it_is_an_error_like_others(limit, finished, tmp_path):
    path = tmp_path / "cache.h5"
    command = [
        sys.executable,
        "-W",
        "error",
        "-c",
        LIMITED,
        str(Path(cache_samples.__file__).parent),
        str(path),
        str(limit),
    ]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 3, ended.stderr
    assert ended.stderr == ""
    assert "What was committed is intact" in ended.stdout
    assert not path.exists()
    assert contents(path) == finished[".h5", "first"][2]
    run_phase(path, "first")
    assert stored_files(path) == stored_files(finished[".h5", "first"][0])


def test_a_disk_that_is_too_full_for_a_fold_is_found_out_before(finished, tmp_path, monkeypatch):
    path = tmp_path / "cache.h5"
    put(path, finished[".h5", "first"][0])
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(10**9, 10**9 - 10**6, 10**6))
        with pytest.raises(CacheError, match=r"Folding cache\.h5 needs .* free in .*, found 1 MB") as caught:
            run_phase(path, "second")
    assert "it resumes" in caught.value.remedy
    assert not path.with_name("cache.h5.partial").exists()
    assert contents(path) == finished[".h5", "second"][2]
    run_phase(path, "second")
    assert stored_files(path) == stored_files(finished[".h5", "second"][0])


def stop_after(path, clips):
    """Add clips in a session that ends with an error of the caller's own."""
    with CacheWriter.open(path, sample_recipes()) as writer:
        for clip in clips:
            writer.add(clip)
        raise RuntimeError("the caller's own")


def test_an_error_in_a_session_commits_what_is_whole(cache_path):
    whole = [make_clip(index) for index in range(4)]
    with pytest.raises(RuntimeError, match="the caller's own"):
        stop_after(cache_path, whole)
    assert open_cache(cache_path).ids == [clip.id for clip in whole]
    assert not cache_path.with_name(cache_path.name + ".lock").exists()


@pytest.mark.parametrize("operation", ["merge", "convert", "repair"])
def test_a_copy_that_fails_leaves_nothing_and_the_sources_as_they_are(operation, store, finished, tmp_path):
    source, out = tmp_path / f"source{store}", tmp_path / f"out{store}"
    put(source, finished[store, "third"][0])
    if operation == "repair":
        cut_row(source)
    before = finished[store, "third"][2]

    def step(disk):
        if operation == "merge":
            merge_caches([source], out, disk=disk)
        elif operation == "convert":
            convert_cache(source, out, disk=disk)
        else:
            repair_cache(source, disk=disk)

    counting = FaultyDisk()
    keep = put_copy(tmp_path / f"keep{store}", source)
    step(counting)
    ended = contents(source if operation == "repair" else out)
    for turn, stop in enumerate(chosen(counting.said, every=False)[::2]):
        for path in (out, staging_path(source)):
            FaultyDisk().remove(path)
        put_copy(source, keep)
        number = NUMBERS[turn % len(NUMBERS)]
        with pytest.raises(CacheError, match=SAID[number]):
            step(FaultyDisk(stop, number))
        if operation != "repair":
            assert contents(source) == before
            assert not out.exists() or contents(out) == ended
            assert leftovers(out) == []
            if out.exists():
                continue
        step(FaultyDisk())
        assert contents(source if operation == "repair" else out) == ended
    assert len(ended["id"]) == len(before["id"]) - (operation == "repair")


def cut_row(path):
    """Spoil one byte of a clip's features."""
    snapshot = open_cache(path).snapshot
    spec = snapshot.manifest.schema.frame_arrays()["gap"]
    (piece,) = snapshot.segments[-1].pieces(spec, 30, 31)
    file = Path(piece.name) if path.is_dir() else path
    data = bytearray(file.read_bytes())
    data[piece.offset] ^= 1
    file.write_bytes(data)


def test_everything_is_flushed_before_the_commit_that_relies_on_it(store, tmp_path, monkeypatch):
    """What a power cut could take away at the moment of a commit: nothing that it counts on."""
    path = tmp_path / f"cache{store}"
    events = []
    fsync, rename = os.fsync, os.rename
    monkeypatch.setattr(
        os, "fsync", lambda fd: (fsync(fd), events.append(("flush", os.readlink(f"/proc/self/fd/{fd}"))))
    )
    monkeypatch.setattr(os, "rename", lambda a, b: (rename(a, b), events.append(("rename", str(a), str(b)))))
    monkeypatch.setattr("est.cache.writing.writer.COMMIT_BYTES", 4000)
    run_phase(path, "first")
    run_phase(path, "second")
    commits = 0
    flushed: set[str] = set()
    unsettled: dict[str, str] = {}  # renamed, its folder not flushed since
    for kind, *names in events:
        if kind == "flush":
            flushed.add(names[0])
            unsettled = {name: folder for name, folder in unsettled.items() if folder != names[0]}
            continue
        source, target = names
        if target.endswith(".staging.partial"):
            continue  # on its way out: whether it is gone after a power cut does not matter
        assert source in flushed or target.endswith((".staging", ".zarr")) or source.endswith(".staging"), (
            f"{source} is not flushed"
        )
        if Path(target).parent == path or Path(target).parent == staging_path(path) or target == str(path):
            assert not unsettled, "the commit relies on names that are not durable"
            commits += 1
        flushed.discard(source)
        unsettled[target] = str(Path(target).parent)
    assert not unsettled, "the last commit is not durable"
    assert commits > 6
