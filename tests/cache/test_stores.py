"""Uploads and mirrors, in a store that is a folder: whole or not at all, never a wrong byte, nothing twice."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
from cache_samples import contents, make_cache
from store_samples import run

from est.cache import CacheWriter, download_cache, open_cache, upload_cache, verify_cache
from est.cache.remote import mirror as mirrors
from est.cache.remote.mirror import list_mirrors, mirror_of, remove_mirrors, replaced
from est.cache.remote.upload import LIST, Upload
from est.cli import main
from est.errors import CacheDamaged, CacheError, CacheLocked, CacheVersionError, EstError, UsageError


@pytest.fixture
def cache(tmp_path):
    return make_cache(tmp_path / "c.zarr", range(8), crops=True, failures=(20,))


def test_a_cache_at_a_url_shows_what_the_cache_shows(cache, url):
    done = upload_cache(cache, url)
    assert (done.clips, done.sent > 0, done.left_over) == (8, True, 0)
    assert contents(url) == contents(cache)
    assert contents(Path(url)) == contents(cache)  # pathlib folds the slashes
    assert not verify_cache(url).problems
    opened = open_cache(url)
    assert (opened.url, opened.place) == (url, url)
    assert pickle.loads(pickle.dumps(opened)).commit_id == open_cache(cache).commit_id
    assert opened.group()["frames/gap"].shape == open_cache(cache).group()["frames/gap"].shape


def test_chunks_come_when_they_are_read_and_once(cache, url, monkeypatch):
    upload_cache(cache, url)
    asked = []
    read = mirrors.ObjectStore.read
    monkeypatch.setattr(mirrors.ObjectStore, "read", lambda self, name, *size: asked.append(name) or read(self, name))
    opened = open_cache(url)
    gap = {
        entry.object for name, entry in opened.snapshot.mirror.upload.files.items() if name.startswith("frames/gap/c")
    }
    assert not gap & set(asked)
    opened.clip(0), opened.clip(5)
    first = len(gap & set(asked))
    assert 0 < first < len(gap)
    opened.load("gap")
    assert [asked.count(name) for name in gap] == [1] * len(gap)
    before = len(asked)
    open_cache(url).load("gap")
    assert asked[before:] == [LIST]  # what is newest is asked for at every opening


def test_what_is_there_is_not_sent_again_and_a_new_state_replaces_the_old_whole(cache, url, there):
    first = upload_cache(cache, url)
    assert upload_cache(cache, url).sent == 0
    reader = open_cache(url)
    with CacheWriter.open(cache) as writer:
        writer.remove(["set/clip 003"])
    second = upload_cache(cache, url)
    assert 0 < second.sent < first.sent
    assert second.left_over > 0
    assert reader.load("gap").rows.shape == (
        reader.num_frames,
        16,
    )  # the older state, from objects that are still there
    newer = open_cache(url)
    assert (len(newer), len(reader)) == (7, 8)
    assert newer.path != reader.path
    old, new = reader.path / "frames/gap/c.0.0", newer.path / "frames/gap/c.0.0"
    newer.load("gap")
    assert new.read_bytes() == (cache / "frames/gap/c.0.0").read_bytes()
    assert [one.root for one in replaced(list_mirrors())] == [reader.path]
    pruned = upload_cache(cache, url, prune=True)
    assert (pruned.left_over, pruned.pruned) == (second.left_over, True)
    assert upload_cache(cache, url).left_over == 0
    assert not verify_cache(url).problems
    assert old.exists()
    assert remove_mirrors(list_mirrors()) > 0
    assert list_mirrors() == []
    assert contents(url) == contents(cache)


def test_a_newer_mirror_takes_over_the_files_that_are_the_same(cache, url, monkeypatch):
    upload_cache(cache, url)
    open_cache(url).load("gap")
    with CacheWriter.open(cache) as writer:
        writer.remove(["set/clip 003"])
    upload_cache(cache, url)
    asked = []
    read = mirrors.ObjectStore.read
    monkeypatch.setattr(mirrors.ObjectStore, "read", lambda self, name, *size: asked.append(name) or read(self, name))
    open_cache(url).load("gap")
    upload = open_cache(url).snapshot.mirror.upload
    assert not {entry.object for name, entry in upload.files.items() if name.startswith("frames/gap/c")} & set(asked)


def test_a_cut_upload_is_never_read_and_resumes(cache, url, monkeypatch):
    writes = []
    write = mirrors.ObjectStore.write

    def cut(self, name, data):
        writes.append(name)
        if len(writes) > 10:
            raise KeyboardInterrupt
        write(self, name, data)

    with monkeypatch.context() as patch:
        patch.setattr(mirrors.ObjectStore, "write", cut)
        with pytest.raises(KeyboardInterrupt):
            upload_cache(cache, url)
    with pytest.raises(EstError, match=r"not uploaded to its end.*written last"):
        open_cache(url)
    assert not (cache.parent / "c.zarr.lock").exists()
    resumed = upload_cache(cache, url)
    files = json.loads(Upload.encode(mirror_of(url).upload))["files"].values()
    assert 0 < resumed.sent <= len({sha for _, sha in files}) - 10
    assert contents(url) == contents(cache)


def test_bytes_that_differ_from_the_list_are_never_read(cache, url, there):
    upload_cache(cache, url)
    entry = mirror_of(url).upload.files["frames/gap/c.1.0"]
    data = bytearray((there / entry.object).read_bytes())
    data[100] ^= 1
    (there / entry.object).write_bytes(data)
    with pytest.raises(CacheDamaged, match=r"frames/gap/c\.1\.0 of s3://.* is not what was uploaded"):
        open_cache(url).load("gap")
    assert not list(open_cache(url).path.glob("frames/gap/c.1.0*"))
    damaged = verify_cache(url)
    assert 0 < len(damaged.damaged) < 8
    assert upload_cache(cache, url).sent == 0  # its size is right
    assert upload_cache(cache, url, resend=True).sent > 0
    assert not verify_cache(url).problems
    (there / entry.object).write_bytes(data[:-1])
    assert upload_cache(cache, url).sent == 1


def test_an_object_that_is_gone_is_named(cache, url, there):
    upload_cache(cache, url)
    (there / mirror_of(url).upload.files["frames/gap/c.1.0"].object).unlink()
    with pytest.raises(CacheError, match=r"lacks the object of frames/gap/c\.1\.0") as caught:
        open_cache(url).load("gap")
    assert f"est cache upload CACHE {url}" in caught.value.remedy


def test_a_list_that_leads_elsewhere_is_refused(cache, url, there):
    upload_cache(cache, url)
    found = json.loads((there / LIST).read_bytes())
    for name in (
        "../zarr.json",
        "/etc/zarr.json",
        "frames//zarr.json",
        "frames/gap/passwd",
        "a\\b/zarr.json",
        "est-mirror.json",
    ):
        odd = found | {"files": found["files"] | {name: [3, "0" * 64]}}
        (there / LIST).write_text(json.dumps(odd))
        with pytest.raises(EstError, match="lists what no file of a cache can be"):
            open_cache(url)
    for entry in ([-1, "0" * 64], [True, "0" * 64], [3, "0/../x"], [3]):
        (there / LIST).write_text(json.dumps(found | {"files": {"zarr.json": entry}}))
        with pytest.raises(EstError, match=r"lists what no file|lacks or misnames"):
            open_cache(url)
    (there / LIST).write_text(json.dumps(found | {"version": 2}))
    with pytest.raises(CacheVersionError, match="reads est-upload 1"):
        open_cache(url)
    (there / LIST).write_bytes(b"<html>")
    with pytest.raises(EstError, match="is not the list of an upload"):
        open_cache(url)


def test_a_download_is_the_cache_whole_and_resumes(cache, url, tmp_path, there, monkeypatch):
    upload_cache(cache, url)
    out = tmp_path / "d.zarr"
    partial = tmp_path / "d.zarr.partial/frames/gap"
    partial.mkdir(parents=True)
    (partial / "c.0.0").write_bytes((cache / "frames/gap/c.0.0").read_bytes())
    (partial / "c.1.0").write_bytes(bytes(2048))  # of the right size
    (partial / "c.9999.0").write_bytes(b"of another upload")
    asked = []
    read = mirrors.ObjectStore.read
    monkeypatch.setattr(mirrors.ObjectStore, "read", lambda self, name, *size: asked.append(name) or read(self, name))
    download_cache(url, out)
    upload = Upload.decode((there / LIST).read_bytes(), url)
    assert upload.files["frames/gap/c.0.0"].object not in asked
    assert {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()} == set(upload.files)
    assert contents(out) == contents(cache)
    with CacheWriter.open(out) as writer:  # a cache like others
        writer.remove(["set/clip 003"])
    with pytest.raises(UsageError, match="exists already"):
        download_cache(url, out)
    for wrong in (tmp_path / "d.h5", Path(url)):
        with pytest.raises(UsageError, match=r"a \.zarr folder of this machine"):
            download_cache(url, wrong)
    with pytest.raises(UsageError, match="is no URL"):
        download_cache("c.zarr", tmp_path / "e.zarr")


def test_large_files_are_fetched_in_ranges(cache, url, monkeypatch):
    monkeypatch.setattr("est.cache.remote.client.RANGE_BYTES", 700)
    monkeypatch.setattr(mirrors, "RANGE_BYTES", 700)
    upload_cache(cache, url)
    assert contents(url) == contents(cache)


def test_what_cannot_be_uploaded_is_refused(cache, url, tmp_path):
    with pytest.raises(UsageError, match="goes to a URL"):
        upload_cache(cache, "bucket/c.zarr")
    with pytest.raises(UsageError, match=r"named \.zarr"):
        upload_cache(cache, url.removesuffix(".zarr"))
    with pytest.raises(UsageError, match="takes no uploads"):
        upload_cache(cache, "https://host/c.zarr")
    with pytest.raises(UsageError, match="does not exist"):
        upload_cache(tmp_path / "none.zarr", url)
    h5 = make_cache(tmp_path / "c.h5", range(2))
    with pytest.raises(UsageError, match="HDF5") as caught:
        upload_cache(h5, url)
    assert "est cache convert" in caught.value.remedy
    with pytest.raises(UsageError, match=r"is a \.zarr one"):
        open_cache(url.replace(".zarr", ".h5"))
    with CacheWriter.open(cache), pytest.raises(CacheLocked):
        upload_cache(cache, url)
    upload_cache(cache, url)
    for source in (url, open_cache(url).path):
        with pytest.raises(UsageError, match="a URL already"):
            upload_cache(source, url + "/d.zarr")
    data = bytearray((cache / "frames/gap/c.0.0").read_bytes())
    data[5] ^= 1
    (cache / "frames/gap/c.0.0").write_bytes(data)
    with pytest.raises(CacheDamaged, match="is not uploaded: it has 1 problem"):
        upload_cache(cache, url)
    assert not verify_cache(url).problems


def test_a_verification_of_a_url_shows_what_it_does(cache, url, capsys):
    """What is fetched first, the comparison of the mirror's files, then its clips from none on; nothing with --quiet."""

    def told(*more):
        with pytest.raises(SystemExit) as stop:
            main(["cache", "verify", url, "--json", *more])
        assert stop.value.code == 0
        events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        return [(one["what"], one["done"], one["total"]) for one in events if one["event"] == "progress"]

    files = upload_cache(cache, url).files
    first = told()
    assert list(dict.fromkeys(what for what, _, _ in first)) == ["Downloading", "Comparing", "Verifying"]
    assert [(done, total) for what, done, total in first if what == "Verifying"] == [(0, 8), (8, 8)]
    again = told()
    assert list(dict.fromkeys(what for what, _, _ in again)) == ["Comparing", "Verifying"]
    assert [one for one in again if one[0] == "Comparing"][-1] == ("Comparing", files, files)
    assert told("--quiet") == []


def test_commands_read_urls_and_those_that_write_refuse(cache, url, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, event = run(capsys, "cache", "upload", cache, url)
    assert (status, event["url"], event["clips"]) == (0, url, 8)
    status, event = run(capsys, "cache", "info", url)
    assert (status, event["url"], event["clips"]) == (0, url, 8)
    assert run(capsys, "cache", "ls", url)[0] == run(capsys, "cache", "verify", url)[0] == 0
    status, event = run(capsys, "cache", "mirrors")
    assert [(one["url"], one["bytes"]) for one in event["mirrors"]] == [(url, event["mirrors"][0]["whole"])]
    assert run(capsys, "cache", "convert", url, tmp_path / "copy.h5")[0] == 0
    (tmp_path / "list.csv").write_text("id,label\nset/clip 001,sad\n")
    mirror = open_cache(url).path
    before = {path: path.read_bytes() for path in mirror.rglob("*") if path.is_file()}
    for place in (url, mirror):
        for command in (
            ("drop", place, "set/clip 001"),
            ("erase", place, "--clip", "set/clip 001", "--yes"),
            ("relabel", place, "list.csv", "--yes"),
            ("verify", place, "--repair"),
        ):
            status, event = run(capsys, "cache", *command)
            assert (status, event["event"], "never changed in place" in event["message"]) == (2, "error", True), event
            assert f"est cache download {url}" in event["remedy"]
    for command in (
        ("cache", "convert", cache, url),
        ("cache", "merge", cache, "--out", url),
        ("extract", tmp_path, "--out", url),
        ("train", "--cache", cache, "--out", url),
    ):
        status, event = run(capsys, *command)
        assert (status, "is a path on this machine" in event["message"]) == (2, True), event
    assert {path: path.read_bytes() for path in mirror.rglob("*") if path.is_file()} == before
    assert not list(tmp_path.glob("s3:*"))
    status, event = run(capsys, "cache", "mirrors", url, "--remove")
    assert (status, len(event["removed"]), list_mirrors()) == (0, 1, [])
    status, event = run(capsys, "cache", "mirrors", "s3://bucket/other.zarr", "--remove")
    assert (status, "no mirror of" in event["message"]) == (2, True)
    assert run(capsys, "cache", "download", url, "--out", "d.zarr")[1]["clips"] == 8


def test_a_mirror_is_made_where_there_is_room(cache, url, monkeypatch, tmp_path):
    upload_cache(cache, url)
    monkeypatch.setattr(mirrors, "SLACK_BYTES", 10**18)
    with pytest.raises(CacheError, match="MB free"):
        open_cache(url)
    assert list_mirrors() == []
    monkeypatch.setattr(mirrors, "SLACK_BYTES", 0)
    (tmp_path / "file").touch()
    monkeypatch.setenv("EST_MIRRORS", str(tmp_path / "file"))
    with pytest.raises(EstError, match="No mirror of") as caught:
        open_cache(url)
    assert "EST_MIRRORS" in caught.value.remedy
