"""The same call again, or two at once: what is gone is made again, what is not of these inputs is refused."""

from __future__ import annotations

import errno
import os
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from cache_samples import make_clip, sample_recipes
from cluster_samples import CONFIG, make_files, planned, use_fakes, videos

from est.cache import CacheWriter, open_cache
from est.cache.clip import Source
from est.cluster import merging, submitting
from est.cluster.computing import Computing, of_first
from est.cluster.manifest import plan, read_inputs, write
from est.cluster.parts import read_manifest, run_part
from est.cluster.place import LAST, Place
from est.cluster.slurm import queue as queues
from est.cluster.slurm.queue import Queue, read_queue, write_queue
from est.cluster.state import read_state
from est.cluster.status import read_submission
from est.cluster.submitting import prepare_extract, retry, submit_extract
from est.errors import CacheDamaged, CacheError, EstError, UsageError
from est.inputs.input import FoundInputs, Input

BF16, FP32 = (Computing(precision=name, engine="torch") for name in ("bf16", "fp32"))


def again(place, **more):
    return submit_extract(videos(place), place.out, CONFIG, engine="debug", **more)


def test_inputs_in_an_object_store_are_written_down_and_not_looked_for(tmp_path):
    remote = Source(num_bytes=700, mtime_ns=5)
    one = Input(id="a", path=Path("s3://bucket/a.mp4"), kind="video", remote=remote)
    place = Place(tmp_path / "cache.zarr")
    write(place, *plan(FoundInputs(inputs=(one,), total=1), CONFIG, 1))
    manifest = read_manifest(place)
    assert list(read_inputs(place, manifest, 0)) == [(one, remote)]
    assert manifest.shards[0].num_bytes == 700
    found = manifest.found(place, 0)
    assert (found.inputs, found.problems) == ((one,), ())


def test_a_cache_that_is_gone_is_made_again(place):
    assert again(place).is_done
    shutil.rmtree(place.out)
    gone = read_submission(place.out)
    assert (gone.is_done, gone.counts) == (False, {"missing": 3})
    assert again(place).is_done
    assert open_cache(place.out).ids == list("012345")


def test_videos_that_all_failed_are_extracted_when_they_are_mended(tmp_path, monkeypatch):
    use_fakes(monkeypatch)
    place = planned(tmp_path, shards=2, files=2)
    for path in videos(place).iterdir():
        path.write_bytes(b"broken")
    assert retry(place.out, engine="debug").result["kept"] is False
    with pytest.raises(UsageError, match=r"Every input of .* failed") as refused:
        retry(place.out)
    assert "est submit extract with the same options" in refused.value.remedy
    for path in videos(place).iterdir():
        path.write_bytes(b"mended")
    assert again(place).result["clips"] == 2
    assert open_cache(place.out).ids == ["0", "1"]


def test_what_is_no_input_of_a_shard_is_not_merged(place):
    for number in range(3):
        run_part(place, number)
    with CacheWriter.open(place.shard(1), sample_recipes()) as writer:
        for name in ("stranger", "3#1"):  # the second is a face of an input beside the one that has its name
            writer.add(make_clip(9, id=name, path="9.mp4", rng=np.random.default_rng(9)))
    with pytest.raises(EstError, match=r"Shard 1 has what none of its inputs gives: stranger\.") as refused:
        run_part(place, LAST)
    assert refused.value.remedy.startswith(f"rm -r {place.shard(1)}")
    shutil.rmtree(place.shard(1))
    assert retry(place.out, engine="debug").is_done


def test_a_shard_that_lacks_an_input_is_done_again(place):
    for number in range(3):
        run_part(place, number)
    shutil.rmtree(place.shard(1))
    with CacheWriter.open(place.shard(1), sample_recipes()) as writer:
        writer.add(make_clip(4, id="4", path="4.mp4", rng=np.random.default_rng(4)))
    with pytest.raises(EstError, match=r"shard 1: 1 input is neither a clip nor a failure \(3\)"):
        run_part(place, LAST)
    assert read_state(place.state(1)).state == "failed"
    assert read_submission(place.out).open == [1]


def test_a_merged_cache_that_is_not_sound_gets_no_name(place, monkeypatch):
    merge = merging.merge_caches

    def merge_badly(shards, made, *, watch):
        merge(shards, made, watch=watch)
        chunk = max(made.rglob("c.*"), key=lambda path: path.stat().st_size)
        chunk.write_bytes(bytes(chunk.stat().st_size))

    monkeypatch.setattr(merging, "merge_caches", merge_badly)
    with pytest.raises(CacheDamaged, match="The merged cache is not sound"):
        again(place)
    assert not place.out.exists()


def test_the_first_part_chooses_for_all(tmp_path):
    place = Place(tmp_path / "cache.zarr")
    place.make()
    assert of_first(place, 1, Computing, lambda: BF16) == BF16
    assert of_first(place, 0, Computing, lambda: FP32) == BF16

    def choose_late():
        of_first(other, 1, Computing, lambda: BF16)
        return FP32

    other = Place(tmp_path / "other.zarr")
    other.make()
    assert of_first(other, 0, Computing, choose_late) == BF16, "another was first while this one chose"
    assert not list(other.folder.glob("computation.*"))


def test_the_first_part_chooses_on_file_systems_without_hard_links(tmp_path, monkeypatch):
    """Such as exFAT and some of FUSE, which have words of their own for a name that is taken, too."""
    place = Place(tmp_path / "cache.zarr")
    place.make()
    rename = os.rename

    def refuse(*_):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    monkeypatch.setattr(os, "rename", lambda old, new: refuse() if Path(new).is_dir() else rename(old, new))
    together = threading.Barrier(4)

    def choose(number):
        together.wait()  # none is first by the time that it looks
        return (BF16, FP32)[number % 2]

    with ThreadPoolExecutor(4) as pool:
        chosen = list(pool.map(lambda number: of_first(place, number, Computing, lambda: choose(number)), range(4)))
    assert chosen == [chosen[0]] * 4
    assert [path.name for path in place.folder.glob("computation*")] == ["computation"]
    place.computation.unlink()
    with pytest.raises(CacheError, match=r"No permission to write .*chosen\.json"):
        of_first(place, 0, Computing, lambda: FP32)


def test_of_two_first_submissions_one_is_first(tmp_path, monkeypatch):
    use_fakes(monkeypatch)
    out, first, second = tmp_path / "cache.zarr", make_files(tmp_path / "a", 2), make_files(tmp_path / "b", 3)
    held = submitting.holding

    @contextmanager
    def holding_late(*words):
        monkeypatch.setattr(submitting, "holding", held)
        prepare_extract(first, out, CONFIG, shards=2)
        with held(*words):
            yield

    monkeypatch.setattr(submitting, "holding", holding_late)
    with pytest.raises(UsageError, match=r"was submitted with other inputs: 1 input is new \(2\)"):
        prepare_extract(second, out, CONFIG, shards=2)
    place = Place(out)
    manifest = read_manifest(place)
    assert [one.id for number in range(2) for one, _ in read_inputs(place, manifest, number)] == ["0", "1"]


def test_jobs_in_a_queue_are_not_forgotten(place, monkeypatch):
    jobs = {0: "7_0", LAST: "8"}
    write_queue(place, Queue(engine="slurm", jobs=jobs))
    monkeypatch.setattr(queues.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(queues, "slurm", lambda *words: "7_0|PENDING|None\n8|PENDING|Dependency\n")
    with pytest.raises(UsageError, match=r"2 jobs of .* are in Slurm's queue") as refused:
        again(place)
    assert refused.value.remedy.startswith(f"est submit cancel {place.out}")
    assert read_queue(place).jobs == jobs
    monkeypatch.setattr(queues, "slurm", lambda *words: "")
    assert again(place).is_done
    assert read_queue(place).jobs == jobs, "a machine that does not know the cluster cannot say that they are gone"
