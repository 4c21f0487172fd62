"""What is interrupted, damaged or replaced below a URL, in a store that is a folder: removals, mirrors, uploads side by side, videos."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import pytest
from cache_samples import contents, make_cache
from store_samples import run

from est.cache import CacheWriter, open_cache, upload_cache
from est.cache.changes import upload as changes
from est.cache.remote import client
from est.cache.remote import mirror as mirrors
from est.cache.remote.address import RECORD, repair_of
from est.cache.remote.mirror import list_mirrors, mirror_of, remove_mirrors
from est.cache.remote.upload import LIST
from est.cli import main
from est.errors import CacheDamaged, SourceError
from est.extract.workers import at_hand
from est.inputs.remote import search_store


@pytest.fixture
def cache(tmp_path):
    return make_cache(tmp_path / "c.zarr", range(8), crops=True, failures=(20,))


def test_a_removal_that_is_killed_leaves_no_mirror_and_no_hindrance(cache, url, monkeypatch):
    upload_cache(cache, url)
    mirror = mirror_of(url)

    def killed(path, **_):
        (path / "c.zarr/zarr.json").unlink()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(mirrors.shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            remove_mirrors([mirror])
    assert list_mirrors() == []
    assert contents(url) == contents(cache)
    assert not list(mirror.root.parent.parent.glob(".*"))  # what the kill left
    remove_mirrors(list_mirrors())
    (mirror.root / "frames").mkdir(parents=True)  # by a fetch that was under way during the removal
    assert contents(url) == contents(cache)


@pytest.mark.parametrize("name", [RECORD, LIST])
def test_a_damaged_mirror_is_none_and_made_again(cache, url, name):
    upload_cache(cache, url)
    mirror = mirror_of(url)
    (mirror.root / name).write_bytes(b"")  # as a power failure leaves files
    assert list_mirrors() == []
    with pytest.raises(CacheDamaged, match="mirror"):
        open_cache(mirror.root).load("gap")
    assert contents(url) == contents(cache)
    assert [one.root for one in list_mirrors()] == [mirror.root]


def test_what_a_mirror_holds_is_flushed(cache, url, monkeypatch):
    upload_cache(cache, url)
    flushed, fsync = [], os.fsync
    monkeypatch.setattr(os, "fsync", lambda file: flushed.append(os.readlink(f"/proc/self/fd/{file}")) or fsync(file))
    mirror = mirror_of(url)
    mirror.bring_all()
    partials = [Path(name).name for name in flushed if name.endswith(".partial")]
    assert len(partials) == len(mirror.upload.files) + 2  # copies of files of the same content, too
    assert {f"{LIST}.partial", f"{RECORD}.partial"} <= set(partials)


def test_a_changed_bit_of_a_mirror_is_found_and_no_newer_mirror_takes_it_over(cache, url, capsys):
    upload_cache(cache, url)
    reader = open_cache(url)
    reader.load("gap")
    tables = [name for name in reader.snapshot.mirror.upload.files if name.startswith("clips/") and "/c." in name]
    chunk = reader.path / "frames/gap/c.1.0"

    def damage():
        for path in (chunk, reader.path / tables[0], reader.path / "zarr.json"):
            data = bytearray(path.read_bytes())
            data[10] ^= 1
            path.write_bytes(data)

    damage()
    status, event = run(capsys, "cache", "verify", url)
    assert (status, event["problems"], event["fetched_again"]) == (0, [], 3)
    assert contents(url) == contents(cache)
    damage()
    with CacheWriter.open(cache) as writer:
        writer.remove(["set/clip 003"])
    upload_cache(cache, url)
    assert contents(url) == contents(cache)
    assert chunk.stat().st_nlink == 1
    assert repair_of(reader.path) == f"est cache mirrors {url} --remove, then the same command again"
    assert repair_of(cache) == f"est cache verify {cache} --repair"


def test_pruning_beside_another_upload_removes_nothing_that_a_list_names(cache, url, tmp_path, monkeypatch):
    upload_cache(cache, url)
    other = make_cache(tmp_path / "other.zarr", range(8, 12))
    upload_cache(other, url)  # the objects of both are there
    write, between = mirrors.ObjectStore.write, []

    def interrupted(self, name, data):
        write(self, name, data)
        if name == LIST and not between:
            between.append(name)
            upload_cache(other, url)  # replaces the list before the first one prunes

    with monkeypatch.context() as patch:
        patch.setattr(mirrors.ObjectStore, "write", interrupted)
        assert upload_cache(cache, url, prune=True).pruned
    assert contents(url) == contents(other)
    upload_cache(cache, url)
    named = list(mirror_of(url).upload.objects)
    listing, looks = changes.ObjectStore.listing, []

    def pruned_meanwhile(self, folder=""):
        found = listing(self, folder)
        looks.append(folder)
        if len(looks) == 1:  # after this one has seen what is there
            self.remove(named[:3])
        return found

    with monkeypatch.context() as patch:
        patch.setattr(changes.ObjectStore, "listing", pruned_meanwhile)
        upload_cache(cache, url)
    remove_mirrors(list_mirrors())
    assert contents(url) == contents(cache)


def test_an_object_that_is_too_large_is_not_read_into_memory(cache, url, there, monkeypatch):
    upload_cache(cache, url)
    entry = mirror_of(url).upload.files["frames/gap/c.1.0"]
    (there / entry.object).write_bytes(bytes(entry.size + 1))
    with pytest.raises(CacheDamaged, match=f"expected at most {entry.size:,}"):
        open_cache(url).load("gap")
    monkeypatch.setattr(client, "MOST_BYTES", 100)
    with pytest.raises(CacheDamaged, match=rf"{LIST} has .* bytes, expected at most 100"):
        open_cache(url)


def test_the_page_of_a_url_offers_no_erasing(cache, url, capsys):
    upload_cache(cache, url)
    for place, offered in ((url, False), (cache, True)):
        with pytest.raises(SystemExit):
            main(["cache", "info", str(place)])
        assert ("est cache erase" in capsys.readouterr().out) == offered


def test_a_video_that_is_replaced_while_it_is_downloaded_is_refused(url, there, tmp_path, monkeypatch):
    store = client.ObjectStore("s3://bucket/videos")
    store.write("a.mp4", b"a" * 100)
    source = search_store("s3://bucket/videos/a.mp4").videos[Path("s3://bucket/videos/a.mp4")]
    download = partial(at_hand._download, "s3://bucket/videos/a.mp4", source, tmp_path / "a.mp4")
    download()
    assert (tmp_path / "a.mp4").read_bytes() == b"a" * 100
    monkeypatch.setattr(client, "RANGE_BYTES", 50)
    read = client.ObjectStore.read_into

    def replaced_between(self, name, size, take):
        read(self, name, size, take)
        self.write(name, b"b" * 100)

    with monkeypatch.context() as patch:
        patch.setattr(client.ObjectStore, "read_into", replaced_between)
        with pytest.raises(SourceError, match="replaced while it was downloaded"):
            download()
    os.utime(there / "a.mp4", (1, 1))
    with pytest.raises(SourceError, match="replaced since it was listed"):
        download()
