"""Sources in an object store, against an S3 server on loopback: listed, downloaded clip by clip, and the same cache as from a folder."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
from store_samples import BUCKET, KEYS, s3_server
from video_samples import make_video

from est.cache import open_cache, verify_cache
from est.cache.remote.client import ObjectStore
from est.errors import EstError, SourceError, UsageError
from est.extract.config import ExtractConfig
from est.extract.extraction import extract_videos
from est.extract.workers import at_hand
from est.infer.prediction import predicting
from est.inputs.input import find_inputs

CROPS = ExtractConfig(weights="random", size=64, detector="none", precision="fp32", workers=1)
URL = f"s3://{BUCKET}/videos"


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """A folder of videos, and the same at `URL`."""
    folder = tmp_path_factory.mktemp("remote") / "videos"
    for name in ("happy/s1.mp4", "sad/s2.mp4", "sad/s10.mp4"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        make_video(path)
    (folder / "broken.mp4").write_bytes(b"no video at all")
    (folder / "notes.txt").write_bytes(b"notes")
    (folder / ".hidden.mp4").write_bytes(b"")
    with s3_server() as address, pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("AWS_", "EST_"))]:
            patch.delenv(name)
        for name, value in {**KEYS, "AWS_ENDPOINT_URL": address, "HOME": str(folder)}.items():
            patch.setenv(name, value)
        store = ObjectStore(URL)
        for path in folder.rglob("*"):
            if path.is_file():
                store.write(path.relative_to(folder).as_posix(), path.read_bytes())
        yield folder


def test_a_bucket_is_listed_as_a_folder_is(videos):
    here, there = find_inputs([videos], labels="folders"), find_inputs([Path(URL)], labels="folders")
    assert [(one.id, one.label, one.kind) for one in there.inputs] == [
        (one.id, one.label, one.kind) for one in here.inputs
    ]
    assert [one.describe().num_bytes for one in there.inputs] == [one.describe().num_bytes for one in here.inputs]
    assert all(one.describe().mtime_ns > 10**18 for one in there.inputs)
    assert [one.place for one in there.inputs] == [f"{URL}/{one.path.relative_to(videos)}" for one in here.inputs]
    assert there.ignored == here.ignored
    assert [one.id for one in find_inputs([f"{URL}/sad/s2.mp4", f"{URL}/happy"]).inputs] == ["s1", "s2"]
    for url, message in {
        f"{URL}/nothing": "No clips in s3://",
        f"{URL}/gone.mp4": "is not there",
        f"{URL}/list.csv": "A list lies on this machine",
        "https://host/v.mp4": "the address https",
    }.items():
        with pytest.raises(EstError, match=message):
            find_inputs([url])
    ObjectStore(f"s3://{BUCKET}/frames").write("a/1.png", b"")
    with pytest.raises(UsageError, match="pictures and no videos"):
        find_inputs([f"s3://{BUCKET}/frames"])
    with pytest.raises(UsageError, match="reads videos of this machine"):
        predicting.expect_here(find_inputs([f"{URL}/sad/s2.mp4"]))


def test_lists_may_name_urls(videos, tmp_path):
    rows = (f"{URL}/sad/s2.mp4,sad", f"{URL}/gone.mp4,awe", f"{videos}/happy/s1.mp4,happy", "https://host/v.mp4,rage")
    (tmp_path / "list.csv").write_text("path,label\n" + "\n".join(rows))
    found = find_inputs([tmp_path / "list.csv"])
    assert {one.label: one.place for one in found.inputs} == {
        "sad": f"{URL}/sad/s2.mp4",
        "happy": f"{videos}/happy/s1.mp4",
    }
    assert {one.label: one.error for one in found.problems} == {
        "awe": "line 3 of the list: a URL that is not there",
        "rage": "line 5 of the list: a video over https:// is not read; download it, or copy it to a bucket",
    }
    assert found.inputs[0].id == f"{BUCKET}/videos/sad/s2"


def test_a_cache_of_a_bucket_is_that_of_the_folder(videos, tmp_path):
    here, there = tmp_path / "here.zarr", tmp_path / "there.zarr"
    extract_videos(find_inputs([videos]), here, CROPS)
    temporary = set(Path(tempfile.gettempdir()).glob(f"{at_hand.PREFIX}*"))
    report = extract_videos(find_inputs([URL]), there, CROPS)
    assert [failure.path for failure in report.failures] == [f"{URL}/broken.mp4"]
    one, other = open_cache(here), open_cache(there)
    assert one.ids == other.ids
    assert np.array_equal(one.load("gap").rows, other.load("gap").rows)
    assert (one.clips.source_digest == other.clips.source_digest).all()
    assert list(other.clips.path) == [f"{URL}/{name}.mp4" for name in other.ids]
    again = extract_videos(find_inputs([URL]), there, CROPS)
    assert (again.clips, again.unchanged) == (0, 3)
    assert set(Path(tempfile.gettempdir()).glob(f"{at_hand.PREFIX}*")) == temporary
    assert not verify_cache(there, sources=True).sources
    ObjectStore(URL).write("sad/s2.mp4", b"another")
    (problem,) = verify_cache(there, sources=True).sources
    assert problem.clip == "sad/s2"
    assert problem.what.startswith(f"its source {URL}/sad/s2.mp4 has 7 bytes, and had ")
    ObjectStore(URL).write("sad/s2.mp4", (videos / "sad/s2.mp4").read_bytes())


def test_a_video_that_changes_between_listing_and_reading_is_refused(videos):
    (source,) = find_inputs([f"{URL}/happy/s1.mp4"]).inputs
    ObjectStore(URL).write("happy/s1.mp4", b"other bytes")
    with pytest.raises(SourceError, match="when it was listed"), at_hand.at_hand(source):
        pass
    ObjectStore(URL).write("happy/s1.mp4", (videos / "happy/s1.mp4").read_bytes())
    (source,) = find_inputs([f"{URL}/happy/s1.mp4"]).inputs
    with at_hand.at_hand(source) as local:
        assert local.path.read_bytes() == (videos / "happy/s1.mp4").read_bytes()
        assert local.remote is None
    assert not local.path.parent.exists()
