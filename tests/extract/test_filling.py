"""New features for clips that are in a cache: the rows of an extraction with all features at once, or none of them."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from extract_samples import assert_same, contents, extract, face_frames, make_pile
from video_samples import make_video
from watch_samples import Calling

from est.cache import CacheWriter, convert_cache, open_cache, verify_cache
from est.cache.writing import writer as writer_module
from est.errors import CacheError, RecipeMismatch
from est.extract.workers import pipeline as pipeline_module
from est.extract.workers.recrop import source_change

ALL = {"features": ("gap", "layer3", "pyramid4x4"), "flip": True}
NEW = ("layer3", "pyramid4x4", "gap_flip", "layer3_flip", "pyramid4x4_flip")


@pytest.fixture(scope="module")
def pile(tmp_path_factory) -> Path:
    return make_pile(tmp_path_factory.mktemp("pile"))


@pytest.fixture(scope="module")
def at_once(pile, tmp_path_factory) -> Path:
    """All features at once, from the sources."""
    path = tmp_path_factory.mktemp("once") / "once.zarr"
    assert extract(pile, path, **ALL).clips == 5
    return path


@pytest.fixture(scope="module")
def gap_only(pile, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("gap") / "gap.zarr"
    assert extract(pile, path).clips == 5
    return path


@pytest.fixture
def begun(gap_only, tmp_path) -> Path:
    """A cache of five clips with one feature."""
    return Path(shutil.copytree(gap_only, tmp_path / "cache.zarr"))


@pytest.fixture
def small_commits(monkeypatch):
    """Commit each clip, and tell of each."""
    monkeypatch.setattr(writer_module, "COMMIT_BYTES", 1)
    monkeypatch.setattr(pipeline_module, "PROGRESS_SECONDS", 0.0)


def stop_after(clips: int):
    """Return a watch that raises once some clips of a filling are written."""

    def progress(state):
        if state.stage and state.done >= clips:
            raise KeyboardInterrupt

    return Calling(progress=progress)


def test_filled_from_the_sources_equals_made_at_once(pile, begun, at_once):
    assert set(open_cache(begun).ids) == {"turned", "whole", "whole#0.41-0.95", "pictures", "grey"}
    report = extract(pile, begun, **ALL, workers=3)
    assert (report.clips, report.unchanged, report.filled, set(report.filling)) == (0, 5, 5, set(NEW))
    assert any("added to 5 clips" in line for line in report.lines())
    assert_same(begun, at_once)
    assert open_cache(begun).black == open_cache(at_once).black
    assert verify_cache(begun).problems == []
    shown = open_cache(begun).clip("whole#0.41-0.95")
    assert shown.mask.all()
    assert np.abs(shown.features["layer3"]).max() > 0


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".h5", ".zarr"])
def test_filled_from_the_stored_crops_equals_made_at_once(pile, tmp_path, suffix):
    folder = Path(shutil.copytree(pile.parent, tmp_path / "pile"))
    once, parts = tmp_path / f"once{suffix}", tmp_path / f"parts{suffix}"
    extract(folder / "list.csv", once, **ALL, crops=True)
    extract(folder / "list.csv", parts, crops=True)
    for path in (folder / "whole.mp4", folder / "turned.mp4"):
        path.write_bytes(path.read_bytes()[::-1])  # not needed any more
        os.utime(path, ns=(path.stat().st_mtime_ns, open_cache(parts).clips.row(path.stem)["source_mtime_ns"]))
    assert extract(folder / "list.csv", parts, **ALL, crops=True).filled == 5
    assert_same(parts, once)
    assert verify_cache(parts).problems == []


@pytest.mark.parametrize("decoder", ["opencv", pytest.param("pyav", marks=pytest.mark.slow)])
def test_every_kind_of_file_gives_its_crops_again(tmp_path, decoder):
    folder = tmp_path / "odd"
    folder.mkdir()
    frames = face_frames(14)
    make_video(folder / "bframes.mkv", frames, options={"bf": "3", "preset": "fast"})
    make_video(folder / "plain.avi", frames, codec="mpeg4", pixels="yuv420p")
    make_video(folder / "late.mp4", frames, times=[900 + 40 * i for i in range(14)])
    whole = make_video(folder / "cut.mkv", frames, options={"g": "1"})  # without an index; each frame by itself
    whole.write_bytes(whole.read_bytes()[: int(0.6 * whole.stat().st_size)])
    for out in ("parts.zarr", "once.zarr"):
        if out == "parts.zarr":
            assert extract(folder, tmp_path / out, decoder=decoder).clips == 4
        extract(folder, tmp_path / out, decoder=decoder, features=("gap", "layer4"))
    cache = open_cache(tmp_path / "parts.zarr")
    assert 0 < cache.clips.row("cut")["decoded"] < 14
    assert all(clip.mask.all() for clip in cache.iterate())
    assert_same(tmp_path / "parts.zarr", tmp_path / "once.zarr")


@pytest.mark.slow
def test_new_clips_come_with_all_features(pile, at_once, tmp_path):
    path = tmp_path / "cache.h5"
    assert extract(pile, path, limit=3).clips == 3
    seen = []
    report = extract(pile, path, **ALL, watch=Calling(progress=lambda state: seen.append(state.stage)))
    assert (report.clips, report.filled, report.unchanged) == (2, 3, 3)
    assert_same(path, at_once)
    assert seen.index("") > 0  # first the old ones
    assert seen[0].startswith("adding gap_flip, layer3")
    # Clips are filled whichever inputs are named.
    other = tmp_path / "other.zarr"
    extract(pile, other, limit=3)
    report = extract(pile, other, limit=1, **ALL)
    assert (report.filled, report.clips) == (3, 0)


@pytest.mark.parametrize("clips", [pytest.param(1, marks=pytest.mark.slow), 3])
def test_a_stopped_filling_goes_on(pile, begun, at_once, clips, small_commits):
    before = contents(begun)
    with pytest.raises(KeyboardInterrupt):
        extract(pile, begun, **ALL, workers=1, watch=stop_after(clips))
    assert open_cache(begun).features == ["gap"]
    now = contents(begun)
    assert all(np.array_equal(now[name], rows, equal_nan=rows.dtype.kind == "f") for name, rows in before.items())
    assert verify_cache(begun).problems == []
    report = extract(pile, begun, **ALL)
    assert 0 < report.filled <= 5 - clips
    assert_same(begun, at_once)


def test_features_begun_at_different_times_are_finished_together(pile, begun, at_once, small_commits):
    some = {"features": ("gap", "layer3"), "flip": False}
    with pytest.raises(KeyboardInterrupt):
        extract(pile, begun, **some, workers=1, watch=stop_after(2))
    assert extract(pile, begun, **ALL).filled == 5
    assert_same(begun, at_once)


def test_one_that_is_not_asked_for_any_more_is_not_left_half_way(pile, begun, small_commits):
    with pytest.raises(KeyboardInterrupt):
        extract(pile, begun, features=("gap", "layer3"), workers=1, watch=stop_after(2))
    with pytest.raises(
        RecipeMismatch, match=r"layer3 is incomplete in .*: [23] of 5 clips have it, and --features does not name it"
    ) as error:
        extract(pile, begun)
    assert "add it to --features" in error.value.remedy
    # As the remedy says, a converted cache is without it.
    assert f"est cache convert {begun} NEW" in error.value.remedy
    convert_cache(begun, begun.with_name("new.h5"))
    assert open_cache(begun.with_name("new.h5")).features == ["gap"]
    assert extract(pile, begun.with_name("new.h5")).unchanged == 5


def test_one_that_was_begun_in_another_way_is_not_gone_on_with(pile, begun, small_commits):
    recipes = open_cache(begun).recipes
    other = replace(recipes.features["gap"], tap="layer3", shape=(256, 4, 4), precision="bf16")
    with CacheWriter.open(begun) as writer:
        filler = writer.fill("layer3", other)
        first = open_cache(begun).clip(0)
        filler.add(first.id, np.zeros((len(first.state), 256, 4, 4), np.float16), first.state)
    with pytest.raises(RecipeMismatch, match=r"precision bf16, you asked for fp32\. .*1 of 5 clips have it"):
        extract(pile, begun, features=("gap", "layer3"))


# --- what cannot be cut again ---


@pytest.fixture
def own(pile, tmp_path):
    """A pile and a cache that a test may spoil."""
    folder = Path(shutil.copytree(pile.parent, tmp_path / "own"))
    path = tmp_path / "cache.zarr"
    extract(folder / "list.csv", path)
    return folder, path


def refused(folder, path):
    with pytest.raises(CacheError) as error:
        extract(folder / "list.csv", path, features=("gap", "layer3"))
    assert "nothing of layer3 is in it" in error.value.message
    assert open_cache(path).features == ["gap"]
    assert verify_cache(path).problems == []
    return error.value.message


def test_changed_and_missing_sources_are_named_before_anything_is_written(own, at_once):
    folder, path = own
    whole = (folder / "whole.mp4").read_bytes()
    (folder / "whole.mp4").write_bytes(whole[:-100])
    shutil.move(folder / "pictures", folder / "elsewhere")
    message = refused(folder, path)
    assert not (path / "frames" / "layer3").exists()
    assert "3 clips" in message
    assert f"whole: its source {folder / 'whole.mp4'} has {len(whole) - 100:,} bytes, and had {len(whole):,}" in message
    assert "whole#0.41-0.95: " in message
    assert "pictures: its source" in message
    # As the remedy says: dropped clips are extracted again where there is something.
    (folder / "whole.mp4").write_bytes(whole)
    with CacheWriter.open(path) as writer:
        writer.remove(["pictures", "whole", "whole#0.41-0.95"])
    report = extract(folder / "list.csv", path, **ALL)
    assert (report.filled, report.clips) == (2, 2)
    assert [failure.id for failure in report.failures] == ["pictures"]
    for clip_id in ("whole", "whole#0.41-0.95"):
        for name, rows in open_cache(at_once).clip(clip_id).features.items():
            np.testing.assert_array_equal(open_cache(path).clip(clip_id).features[name], rows, err_msg=name)


def test_a_source_that_decodes_otherwise_is_noticed(own):
    folder, path = own
    pictures = folder / "pictures"
    row = open_cache(path).clips.row("pictures")
    (pictures / "8.bmp").rename(pictures / "8.txt")  # the same bytes in the folder, and one frame less

    def restore_times():
        for file in pictures.iterdir():
            os.utime(file, ns=(row["source_mtime_ns"],) * 2)

    restore_times()
    assert source_change(pictures, row["source_bytes"], row["source_mtime_ns"]) is None
    assert "pictures: it has 8 frames now, and had 9" in refused(folder, path)
    (pictures / "8.txt").rename(pictures / "8.bmp")
    restore_times()
    assert extract(folder / "list.csv", path, features=("gap", "layer3")).filled == 4  # the first one is in
    assert open_cache(path).features == ["gap", "layer3"]


def test_sources_that_were_moved_are_found_by_their_id(own, at_once):
    folder, path = own
    moved = folder.rename(folder.parent / "moved")
    assert extract(moved / "list.csv", path, **ALL).filled == 5
    assert_same(path, at_once, names=[*NEW, "gap", "box", "time"])


def test_a_worker_that_dies_costs_the_run_and_not_what_is_there(pile, begun, at_once):
    killed = []

    def kill_once(progress):
        workers = multiprocessing.active_children()
        if workers and not killed:
            killed.append(workers[0].pid)
            os.kill(workers[0].pid, signal.SIGKILL)

    with pytest.raises(CacheError, match=r"the decoder crashed \(SIGKILL\)"):
        extract(pile, begun, **ALL, workers=1, watch=Calling(progress=kill_once))
    assert killed
    assert open_cache(begun).features == ["gap"]
    extract(pile, begun, **ALL)
    assert_same(begun, at_once)


def test_damaged_crops_are_not_used(pile, tmp_path):
    path = tmp_path / "cache.zarr"
    extract(pile, path, limit=2, crops=True)
    (chunk,) = (path / "crops" / "data").glob("c*0")
    data = bytearray(chunk.read_bytes())
    data[1000] ^= 1
    chunk.write_bytes(data)
    with pytest.raises(CacheError, match="its crops in the cache do not match their checksum"):
        extract(pile, path, limit=2, crops=True, features=("gap", "layer3"))
    assert open_cache(path).features == ["gap"]
