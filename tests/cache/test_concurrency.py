"""Several processes on one cache: one writes, whoever reads sees a commit whole, and locks do not outlive their holders."""

import errno
import fcntl
import os
import pickle
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import cache_samples
import pytest
from cache_samples import clip_contents, contents, leftovers, make_cache, make_clip, sample_recipes
from cache_sessions import PHASES, Sessions, run_phase

from est.cache import CacheWriter, convert_cache, merge_caches, open_cache, verify_cache
from est.cache.stores.lock import WriterLock
from est.cache.stores.snapshot import staging_path
from est.errors import CacheError, CacheLocked

HERE = str(Path(cache_samples.__file__).parent)


@pytest.fixture(scope="module")
def sessions():
    server = Sessions()
    yield server
    server.close()


def python(code, *arguments, **options):
    """Start a Python process that can import the helper modules."""
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {HERE!r})\n{code}", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True, **options)


def end(process):
    """Take a process's last words."""
    said, _ = process.communicate()
    assert process.returncode == 0
    return said


# --- writers ---

HOLD = """
from cache_samples import *
with CacheWriter.open(Path(sys.argv[1]), sample_recipes()) as writer:
    writer.add(make_clip(3))
    writer.commit()
    writer.add(make_clip(4))
    print("open", flush=True)
    sys.stdin.readline()
"""


def test_a_second_writer_in_this_process_is_refused(cache_path):
    with CacheWriter.open(cache_path, sample_recipes()) as writer:
        writer.add(make_clip(3))
        with pytest.raises(
            CacheLocked, match=f"written by process {os.getpid()} on {socket.gethostname()} since"
        ) as caught:
            CacheWriter.open(cache_path, sample_recipes())
        assert "wait" in caught.value.remedy
        writer.add(make_clip(4))
    assert open_cache(cache_path).ids == ["set/clip 003", "set/clip 004"]
    assert leftovers(cache_path) == []


def test_a_second_writer_in_another_process_is_refused_until_the_first_is_killed(cache_path):
    process = python(HOLD, cache_path)
    assert process.stdout.readline() == "open\n"
    for attempt in (
        lambda: CacheWriter.open(cache_path),
        lambda: (
            merge_caches([cache_path], cache_path.with_name("cache é" + cache_path.suffix + ".x.zarr"))
            or CacheWriter.open(cache_path)
        ),
    ):
        with pytest.raises(CacheLocked, match=f"written by process {process.pid} on {socket.gethostname()}"):
            attempt()
    assert open_cache(cache_path).ids == ["set/clip 003"]
    process.kill()
    process.communicate()
    with CacheWriter.open(cache_path) as writer:
        assert f"process {process.pid} on {socket.gethostname()}" in writer.stale_lock
        assert "set/clip 004" not in writer
        writer.add(make_clip(4))
    assert open_cache(cache_path).ids == ["set/clip 003", "set/clip 004"]


def test_a_cache_that_another_writer_makes_before_this_one_has_the_lock_is_continued(cache_path, monkeypatch):
    acquire = WriterLock.acquire

    def late(lock):
        monkeypatch.undo()
        make_cache(cache_path)
        acquire(lock)

    monkeypatch.setattr(WriterLock, "acquire", late)
    with CacheWriter.open(cache_path, sample_recipes()) as writer:
        assert len(writer) == len(open_cache(cache_path)) > 0


def test_many_writers_at_once_never_write_together(cache_path, monkeypatch):
    code = """
import random, time
from cache_samples import *
from est.errors import CacheLocked
done = 0
while done < 3:
    try:
        with CacheWriter.open(Path(sys.argv[1]), sample_recipes()) as writer:
            index = len(writer)
            writer.add(make_clip(index))
            writer.commit()
            done += 1
    except CacheLocked:
        time.sleep(random.uniform(0, 0.02))
"""
    processes = [python(code, cache_path) for _ in range(4)]
    for process in processes:
        end(process)
    assert open_cache(cache_path).ids == [make_clip(index).id for index in range(12)]
    assert verify_cache(cache_path).problems == []


def test_a_forked_child_does_not_keep_the_lock(cache_path):
    code = """
import os, time
from cache_samples import *
writer = CacheWriter.open(Path(sys.argv[1]), sample_recipes())
reading, writing = os.pipe()
child = os.fork()
if child == 0:
    os.write(writing, b"!")
    time.sleep(30)
    os._exit(0)
os.read(reading, 1)  # the child is at work, and has let go of the lock
print(child, flush=True)
os.kill(os.getpid(), 9)
"""
    process = python(code, cache_path)
    child = int(process.stdout.readline())
    process.wait()
    try:
        os.kill(child, 0)
        with CacheWriter.open(cache_path) as writer:
            assert f"process {process.pid} " in writer.stale_lock
    finally:
        os.kill(child, signal.SIGKILL)
        process.communicate()


def test_a_child_that_is_started_while_a_writer_is_open_does_not_keep_the_lock(cache_path):
    writer = CacheWriter.open(cache_path, sample_recipes())
    child = subprocess.Popen(["sleep", "30"], close_fds=False)
    writer.close()
    try:
        with CacheWriter.open(cache_path):
            pass
    finally:
        child.kill()
        child.wait()


@pytest.mark.parametrize(
    "flock",
    [lambda *_: None, lambda *_: (_ for _ in ()).throw(OSError(errno.ENOLCK, "No locks available"))],
    ids=["granting", "refusing"],
)
def test_a_file_system_without_working_locks_is_refused(flock, cache_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(fcntl, "flock", flock)
        with pytest.raises(CacheLocked, match="has no working locks") as caught:
            CacheWriter.open(cache_path, sample_recipes())
    assert "local disk" in caught.value.remedy
    assert not cache_path.exists()
    assert not staging_path(cache_path).exists()
    make_cache(cache_path, range(2))
    assert len(open_cache(cache_path)) == 2


@pytest.mark.parametrize("call", ["ftruncate", "pwrite"])
def test_a_lock_that_cannot_be_signed_is_a_sentence(call, cache_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(os, call, lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left on device")))
        with pytest.raises(CacheError, match=r"cannot be created, so .* cannot be written: No space left on device"):
            make_cache(cache_path, range(2))
    assert len(open_cache(make_cache(cache_path, range(2)))) == 2


def test_a_lock_whose_file_cannot_be_removed_is_given_back_all_the_same(tmp_path, monkeypatch):
    lock = WriterLock(tmp_path / "cache.zarr")
    lock.acquire()
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", lambda *_, **__: (_ for _ in ()).throw(PermissionError(errno.EACCES, "no")))
        lock.release()
    again = WriterLock(tmp_path / "cache.zarr")
    again.acquire()
    again.release()
    assert not list(tmp_path.iterdir())


# --- readers ---

READ = """
import time
from cache_samples import *
from cache_sessions import VERSIONS
from est.cache import verify_cache
from est.errors import CacheDamaged, EstError, UsageError
path, rows, opened, lengths = Path(sys.argv[1]), {}, 0, []
print("ready", flush=True)
stop = time.monotonic() + float(sys.argv[2])
while time.monotonic() < stop:
    try:
        cache = open_cache(path)
    except UsageError as error:
        assert "does not exist" in error.message and not opened, error
        continue
    opened += 1
    if opened % 5 == 0:
        problems = verify_cache(path).problems
        assert problems == [], problems
    for place, clip_id in enumerate(cache.ids):
        version = cache.clips.source_mtime_ns[place] - 10**18
        key = clip_id, version, tuple(cache.features)
        if key not in rows:
            rows[key] = expected_clip(make_clip(int(clip_id[-3:]), version=version, crops=True, features=cache.features))
        try:
            found = clip_contents(cache, place)
        except CacheDamaged as error:  # the directory that this state lay in has been folded away
            assert "open the cache again" in error.remedy and path.suffix == ".h5", error
            break
        assert found == rows[key], clip_id
    row = {name: cache.clips.row("set/clip 002")[name] for name in ("label", "subject")} if "set/clip 002" in cache.ids else None
    assert row in (None, {"label": "neutral", "subject": "S2"}, {"label": "contempt", "subject": "Ünal"}), row
    assert len(set(cache.ids)) == len(cache.ids)
    lengths.append(cache.snapshot.manifest.commit.counts.clips)
assert lengths == sorted(lengths), "a reader went back in time"
print(opened, len(set(lengths)))
"""


@pytest.mark.parametrize("rounds", [1, pytest.param(12, marks=pytest.mark.slow)])
def test_readers_see_whole_commits_while_a_writer_works(rounds, cache_path, sessions, tmp_path):
    seen = 0
    for turn in range(rounds):
        path = tmp_path / f"{turn}{cache_path.suffix}"
        reader = python(READ, path, 3 if rounds == 1 else 8)
        assert reader.stdout.readline() == "ready\n"
        for phase in PHASES:
            assert sessions.run(path, phase, commit_seconds=0)[0] == 0
        opened, states = map(int, end(reader).split())
        assert opened > 3
        seen += states
        assert verify_cache(path).problems == []
    assert seen > 3 * rounds, "the reader has hardly seen the writer at work"


def test_a_state_that_was_opened_stays_as_it_was(cache_path):
    run_phase(cache_path, "first")
    cache = open_cache(cache_path)
    before = [clip_contents(cache, place) for place in range(len(cache))]
    run_phase(cache_path, "second")
    run_phase(cache_path, "fill")
    assert [clip_contents(cache, place) for place in range(len(cache))] == before
    assert len(open_cache(cache_path)) > len(cache) - 2


def read_clip(cache, place):
    """Read a clip in a worker."""
    return clip_contents(cache, place)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_read_what_their_parent_does(method, cache_path):
    code = """
import multiprocessing
from cache_samples import *
def main():
    cache = open_cache(Path(sys.argv[1]))
    here = [clip_contents(cache, place) for place in range(len(cache))]
    with multiprocessing.get_context(sys.argv[2]).Pool(2) as pool:
        there = pool.starmap(clip_contents, [(cache, place) for place in range(len(cache))])
        again = pool.map(contents, [cache.path] * 2)
    assert here == there
    assert again == [contents(cache.path)] * 2
    print(len(here))
if __name__ == "__main__":
    main()
"""
    make_cache(cache_path, range(6), crops=True)
    assert end(python(code, cache_path, method)) == "6\n"


def test_an_inherited_cache_reads_right_in_forked_children_at_once(cache_path):
    code = """
import os
from cache_samples import *
cache = open_cache(Path(sys.argv[1]))
here = [clip_contents(cache, place) for place in range(len(cache))]
children = []
for turn in range(4):
    child = os.fork()
    if child == 0:
        for _ in range(20):
            assert [clip_contents(cache, place) for place in range(len(cache))] == here
        os._exit(0)
    children.append(child)
assert all(os.waitpid(child, 0)[1] == 0 for child in children)
assert [clip_contents(cache, place) for place in range(len(cache))] == here
"""
    make_cache(cache_path, range(6), crops=True)
    end(python(code, cache_path))


def test_a_pickled_cache_insists_on_its_state(cache_path, monkeypatch):
    make_cache(cache_path, range(3))
    monkeypatch.chdir(cache_path.parent)
    data = pickle.dumps(open_cache(cache_path.name))
    monkeypatch.chdir("/")
    assert pickle.loads(data).ids == open_cache(cache_path).ids
    with CacheWriter.open(cache_path) as writer:
        writer.add(make_clip(5))
    with pytest.raises(CacheError, match="has changed since it was opened in another process"):
        pickle.loads(data)


# --- copies ---


def killed(path, sessions):
    """Leave a cache whose writer was killed amid its second session."""
    assert sessions.run(path, "first")[0] == 0
    assert sessions.run(path, "second", commit_seconds=0, stop=420)[0] == -signal.SIGKILL
    return path


@pytest.mark.parametrize("suffix", [".zarr", ".h5"])
def test_what_a_killed_writer_committed_is_merged_and_converted(suffix, store, sessions, tmp_path):
    source = killed(tmp_path / f"killed{store}", sessions)
    files = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*") if file.is_file()}
    shown = contents(source)
    other = make_cache(tmp_path / "other.zarr", range(50, 53), crops=True, failures=(60,))
    merged, copied = tmp_path / f"merged{suffix}", tmp_path / f"copied{suffix}"
    merge_caches([source, other], merged)
    convert_cache(source, copied)
    assert open_cache(merged).ids == shown["id"] + open_cache(other).ids
    assert open_cache(copied).ids == shown["id"]
    for path in (merged, copied):
        assert verify_cache(path).problems == []
        assert contents(path)["clips"][: len(shown["id"])] == shown["clips"]
    assert files == {file: file.stat().st_mtime_ns for file in files}, "the source was touched"
    assert sessions.run(source, "second")[0] == 0


COPY = """
import os, signal
from cache_samples import *
from cache_sessions import Counter, HalfDisk
from est.cache import convert_cache, merge_caches
sources, out, stop = [Path(name) for name in sys.argv[3:]], Path(sys.argv[2]), int(sys.argv[1])
os.fsync = lambda descriptor: None
log = []
counter = Counter(stop, lambda: os.kill(os.getpid(), signal.SIGKILL), log=log)
counter.install()
disk = HalfDisk(counter)
merge_caches(sources, out, disk=disk) if len(sources) > 1 else convert_cache(sources[0], out, disk=disk)
print("\\n".join(log))
"""


@pytest.mark.parametrize("every", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["some", "every"])
@pytest.mark.parametrize("number", [1, pytest.param(2, marks=pytest.mark.slow)], ids=["convert", "merge"])
def test_a_copy_that_is_killed_leaves_no_result_and_runs_again(number, every, store, tmp_path):
    sources = [make_cache(tmp_path / f"{k}.zarr", range(5 * k, 5 * k + 5), crops=True) for k in range(number)]
    out = tmp_path / f"out{store}"
    log = end(python(COPY, 0, out, *sources)).splitlines()
    finished = contents(out)
    rename = len(log) - log[::-1].index(f"rename .out.growing{store}")
    steps = range(10, rename, max(1, rename // 40)) if every else (rename // 2, rename)
    for stop in (*steps, rename + 1):
        shutil.rmtree(out) if out.is_dir() else out.unlink(missing_ok=True)
        process = python(COPY, stop, out, *sources)
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        if stop <= rename:
            assert not out.exists()
            merge_caches(sources, out) if number > 1 else convert_cache(sources[0], out)
        assert contents(out) == finished
        assert [name for name in leftovers(out) if not name.endswith(".lock")] == []
