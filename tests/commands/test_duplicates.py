"""`est cache duplicates` on the command line: what it prints, and how it ends."""

from __future__ import annotations

import json

import pytest
from train_samples import LABELS, learning_clip, learning_recipes

from est.cache import CacheWriter, Source
from est.cli import main


def source(number):
    """Return a source; number 0 has no digest."""
    return Source(num_bytes=1000, mtime_ns=1, digest=bytes([number] * 16))


def write(path, **clips):
    """Write sample clips of 30 frames, by id; what is told of each are fields."""
    with CacheWriter.open(path, learning_recipes(), labels=LABELS) as writer:
        for number, (clip_id, fields) in enumerate(clips.items()):
            writer.add(learning_clip(number, id=clip_id, frames=30, **fields))
    return path


@pytest.fixture
def copied(tmp_path):
    """A cache in which `a` is there again as `b`, of another person and class, and one clip has no digest."""
    one = {"source": source(1), "subject": "anna", "label": "anger", "split": "train"}
    other = {"source": source(1), "subject": "bert", "label": "surprise", "split": "train"}
    return write(tmp_path / "c.zarr", a=one, b=other, c={"source": source(2)}, d={"source": source(0)})


def est(capsys, *arguments):
    with pytest.raises(SystemExit) as stop:
        main(["cache", "duplicates", *map(str, arguments)])
    return stop.value.code, *capsys.readouterr()


def test_a_page_of_groups_and_status_3(copied, capsys):
    status, out, err = est(capsys, copied)
    assert status == 3
    assert err == ""
    assert out.splitlines() == [
        "2 clips show the same frames; they contradict each other in subject, label",
        "  a\tanger\tanna\ttrain\t-1\tframes 0-29",
        "  b\tsurprise\tbert\ttrain\t-1\tframes 0-29",
        "1 group of duplicates among 4 clips; 1 with contradictions",
        "1 clip has no digest of its source: whether it is there twice is not known",
    ]


def test_json(copied, capsys):
    status, out, _ = est(capsys, copied, "--json")
    assert status == 3
    result = json.loads(out.splitlines()[-1])
    assert {name: result[name] for name in ("num_clips", "num_caches", "unknown")} == {
        "num_clips": 4,
        "num_caches": 1,
        "unknown": 1,
    }
    (group,) = result["groups"]
    assert (group["kind"], group["contradicts"]) == ("same frames", ["subject", "label"])
    assert [(clip["id"], clip["subject"], clip["first"], clip["stop"]) for clip in group["clips"]] == [
        ("a", "anna", 0, 30),
        ("b", "bert", 0, 30),
    ]


def test_none_and_the_same_cache_twice(tmp_path, capsys):
    path = write(tmp_path / "c.h5", a={"source": source(1)}, b={"source": source(2)})
    assert est(capsys, path, path) == (0, "No duplicates among 2 clips.\n", "")
    empty = write(tmp_path / "empty.zarr")
    assert est(capsys, empty, "--near", "--quiet") == (0, "No duplicates among 0 clips.\n", "")


def test_across_caches_each_is_named(copied, tmp_path, capsys):
    other = write(tmp_path / "other.h5", z={"source": source(2)})
    status, out, _ = est(capsys, copied, other)
    assert status == 3
    assert f"\tframes 0-29\t{other}" in out
    assert "2 groups of duplicates among 5 clips of 2 caches; 2 with contradictions" in out


def test_near_duplicates_by_their_features(tmp_path, capsys):
    """Noise around a direction of each class and person: clip 0 again, from other bytes, with a little noise of its own."""
    path = tmp_path / "c.zarr"
    with CacheWriter.open(path, learning_recipes(), labels=LABELS) as writer:
        for number in range(12):
            writer.add(learning_clip(number, source=source(number + 1)))
        again = learning_clip(0, id="again", source=source(99))
        again.features["gap"][again.state > 0] += 0.1
        writer.add(again)
    assert est(capsys, path)[0] == 0
    status, out, _ = est(capsys, path, "--near", "--quiet")
    assert status == 3
    assert [line.split("\t")[0].strip() for line in out.splitlines()[1:3]] == ["clip000", "again"]
    assert "look alike (0.9" in out or "look alike (1.0" in out
    assert "1 group of duplicates among 13 clips, 1 of them by features" in out


def test_wrong_usage(copied, capsys):
    assert est(capsys, copied, "--similarity", "0.5")[0] == 2
    status, _, err = est(capsys, copied, "--near", "--similarity", "3")
    assert status == 2
    assert "--similarity goes from 0.1 to 1" in err
    assert est(capsys, copied.with_name("none.zarr"))[0] in (1, 2)
