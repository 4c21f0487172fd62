"""Damage: verify finds every flipped bit, cut file, lost or swapped chunk that changes what a read returns; repair drops what it spoils."""

import itertools
import json
import random

import numpy as np
import pytest
from cache_samples import clip_contents, contents, expected_clip, make_clip, put_copy, stored_arrays
from cache_sessions import BOTH, PHASES, VERSIONS, run_phase

from est.cache import CacheWriter, open_cache, verify_cache
from est.cache.changes.repair import repair_cache
from est.cache.schema import STRING
from est.cache.stores.zarr_format import chunk_index
from est.errors import CacheDamaged, EstError

EVERY = [False, pytest.param(True, marks=pytest.mark.slow)]
COUNTS = [pytest.param(1, id="some"), pytest.param(40, id="many", marks=pytest.mark.slow)]


@pytest.fixture
def tmp_path(ram_path):
    return ram_path


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """A cache of each store, with removed, replaced and relabelled clips, failures, crops and two features; and what it shows."""
    made = {}
    for suffix in (".zarr", ".h5"):
        path = tmp_path_factory.mktemp("sound") / f"cache{suffix}"
        for phase in PHASES:
            run_phase(path, phase)
        made[suffix] = path, contents(path)
    return made


@pytest.fixture
def copy(sound, store, tmp_path):
    """A copy to spoil, and what the sound one shows."""
    source, shown = sound[store]
    return put_copy(tmp_path / source.name, source), shown


def files(path):
    """List the files of a cache."""
    return [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())


def verdict(path, shown):
    """Verify a spoilt cache: True when that finds something; when it does not, a read must return what it always did."""
    return is_found(path) or contents(path) == shown


def is_found(path):
    """Say whether verify finds a damage."""
    try:
        return bool(verify_cache(path).problems)
    except EstError:
        return True


def same_json(found, original):
    """Say whether a document is the same to zarr's own reader, but for rows behind the commit: a writer at work makes those too."""
    try:
        found, original = json.loads(found), json.loads(original)
    except ValueError:
        return False
    if original.get("shape") and isinstance(found, dict) and isinstance(found.get("shape"), list):
        found["shape"][:1] = [min(number, original["shape"][0]) for number in found["shape"][:1]]
    return found == original


def flip(file, position, bit):
    """Flip a bit of a file, in place."""
    with open(file, "r+b") as opened:
        opened.seek(position)
        value = opened.read(1)[0]
        opened.seek(position)
        opened.write(bytes([value ^ 1 << bit]))


def committed_bytes(path):
    """Yield where each numeric array lies: its spec, and the file, offset and bytes of each run of rows that the commit counts on."""
    snapshot = open_cache(path).snapshot
    for spec in snapshot.manifest.schema.arrays().values():
        if spec.dtype == STRING:
            continue
        total = snapshot.manifest.commit.counts.of(spec.axis)
        for piece in snapshot.segments[-1].pieces(spec, 0, total):
            file = path if isinstance(piece.file, int) else piece.file
            yield spec, file, piece.offset, (piece.stop - piece.start) * spec.row_bytes, piece.start


def live_rows(path):
    """Return the id of the live clip of every frame, or None, and the live rows of both tables."""
    snapshot = open_cache(path).snapshot
    columns = {name: snapshot.column(spec) for name, spec in snapshot.manifest.schema.clip_columns().items()}
    owner = [None] * snapshot.manifest.commit.counts.frames
    for row in np.flatnonzero(columns["live"]):
        for frame in range(columns["start"][row], columns["start"][row] + columns["count"][row]):
            owner[frame] = columns["id"][row]
    return owner, columns


@pytest.mark.parametrize("count", COUNTS)
def test_a_flipped_bit_of_any_array_is_found_and_its_clip_named(count, copy):
    path, shown = copy
    rng = random.Random(count)
    owner, columns = live_rows(path)
    seen = set()
    for spec, file, offset, size, first in committed_bytes(path):
        seen.add(spec.name)
        for _ in range(count):
            position, bit = rng.randrange(size), rng.randrange(8)
            row = first + position // spec.row_bytes
            flip(file, offset + position, bit)
            report = verify_cache(path)
            flip(file, offset + position, bit)
            if spec.name.startswith("failures"):
                assert len(report.problems) == 1, spec.name
            elif spec.axis == "frame":
                assert report.damaged == ([owner[row]] if owner[row] else []), (spec.name, row)
            elif spec.axis == "clip" and (columns["live"][row] or not spec.name.startswith("clips/xxh3/")):
                assert columns["id"][row] in report.damaged, (spec.name, row)
    assert seen == {spec.name for spec in open_cache(path).schema.arrays().values() if spec.dtype != STRING}
    assert contents(path) == shown
    assert verify_cache(path).problems == []


@pytest.mark.parametrize("count", COUNTS)
def test_a_flipped_bit_anywhere_in_a_zarr_directory_is_found(count, sound, tmp_path):
    source, shown = sound[".zarr"]
    path = put_copy(tmp_path / source.name, source)
    rng = random.Random(count)
    for file in files(path):
        original = file.read_bytes()
        used = len(original.rstrip(b"\0")) or 1
        for _ in range(count):
            position, bit = rng.randrange(rng.choice([used, used, used, len(original)])), rng.randrange(8)
            flip(file, position, bit)
            assert verdict(path, shown), f"{file}: bit {bit} of byte {position}"
            if file.name == "zarr.json" and not same_json(file.read_bytes(), original):
                assert is_found(path), f"{file}: bit {bit} of byte {position}"
            file.write_bytes(original)


@pytest.mark.parametrize("count", [pytest.param(120, id="some"), pytest.param(5000, id="many", marks=pytest.mark.slow)])
def test_a_flipped_bit_anywhere_in_an_hdf5_file_is_found(count, sound, tmp_path):
    source, shown = sound[".h5"]
    path = put_copy(tmp_path / source.name, source)
    original = path.read_bytes()
    rng = random.Random(count)
    for _ in range(count):
        position, bit = rng.randrange(len(original)), rng.randrange(8)
        flip(path, position, bit)
        assert verdict(path, shown), f"bit {bit} of byte {position}"
        flip(path, position, bit)
    assert path.read_bytes() == original


def test_every_bit_of_the_commit_counts(sound, tmp_path):
    source, shown = sound[".zarr"]
    path = put_copy(tmp_path / source.name, source)
    root = path / "zarr.json"
    original = root.read_bytes()
    rng = random.Random(3)
    for position in range(0, len(original), 11):
        bit = rng.randrange(8)
        flip(root, position, bit)
        assert verdict(path, shown), f"bit {bit} of byte {position}"
        root.write_bytes(original)


def test_a_file_that_is_cut_off_or_grows_is_found(copy):
    path, shown = copy
    for turn, file in enumerate(files(path)[:: 3 if path.is_dir() else 1]):
        original = file.read_bytes()
        size = len(original)
        for spoilt in (
            (original[: [0, size // 2, size - 1][turn % 3]], original + b"\0") if path.is_dir() else cuts(original)
        ):
            file.write_bytes(spoilt)
            assert verdict(path, shown), f"{file}: {len(spoilt)} of {size} bytes"
        file.write_bytes(original)


def cuts(data):
    """Yield beginnings of a file."""
    for size in (0, 1, 100, len(data) // 3, len(data) // 2, len(data) - 1000, len(data) - 1):
        yield data[:size]


def test_a_file_that_is_gone_is_found(sound, tmp_path):
    source, shown = sound[".zarr"]
    path = put_copy(tmp_path / source.name, source)
    for file in files(path):
        original = file.read_bytes()
        file.unlink()
        with pytest.raises(EstError) if file == path / "zarr.json" else pytest.MonkeyPatch.context():
            report = verify_cache(path)
            assert report.problems, file
            assert (chunk_index(file.name) is None) or file.name in " ".join(p.what for p in report.problems)
        file.write_bytes(original)
    for folder in sorted(found for found in path.rglob("*") if found.is_dir()):
        folder.rename(tmp_path / "away")
        assert verify_cache(path).problems, folder
        (tmp_path / "away").rename(folder)
    assert contents(path) == shown


def test_swapped_chunks_are_found(sound, tmp_path):
    source, shown = sound[".zarr"]
    path = put_copy(tmp_path / source.name, source)
    swapped = 0
    for folder in sorted(found for found in path.rglob("*") if found.is_dir()):
        chunks = sorted(file for file in folder.iterdir() if chunk_index(file.name) is not None)
        for one, other in itertools.pairwise(chunks):
            swapped += one.read_bytes() != other.read_bytes()
            for _ in range(2):  # there and back
                one.rename(path / "aside")
                other.rename(one)
                (path / "aside").rename(other)
                if _ == 0:
                    assert verdict(path, shown), one
    assert swapped > 20
    assert contents(path) == shown


def test_swapped_rows_of_an_hdf5_file_are_found(sound, tmp_path):
    source, shown = sound[".h5"]
    path = put_copy(tmp_path / source.name, source)
    original = path.read_bytes()
    for spec, _, offset, size, _ in committed_bytes(path):
        half = size // spec.row_bytes // 2 * spec.row_bytes
        data = bytearray(original)
        data[offset : offset + half], data[offset + half : offset + 2 * half] = (
            original[offset + half : offset + 2 * half],
            original[offset : offset + half],
        )
        path.write_bytes(data)
        assert verdict(path, shown), spec.name


@pytest.mark.parametrize(
    "attributes",
    ['{"x": NaN}', '{"x": "\\ud800"}', "[]", "7", "null", '{"format": "est-cache", "version": 1}', "\xff"],
)
def test_attributes_of_another_kind_are_an_error_and_no_crash(attributes, copy):
    path, _ = copy
    if path.is_dir():
        document = path.joinpath("zarr.json").read_text(encoding="utf-8")
        commit = json.dumps(json.loads(document)["attributes"]["commit"])
        assert '"commit": {' in document
        start = document.index('"commit": ') + len('"commit": ')
        end = document.index("}", document.index("}", start) + 1) + 1
        assert json.loads(document[start:end]) == json.loads(commit)
        path.joinpath("zarr.json").write_text(
            document[:start] + attributes + document[end:], encoding="latin-1", errors="replace"
        )
    else:
        import h5py

        with h5py.File(path, "r+") as file:
            file.attrs["commit"] = attributes
    with pytest.raises(EstError):
        verify_cache(path)
    with pytest.raises(EstError):
        open_cache(path)


def expect_repaired(path, shown, damaged):
    """Repair a cache: it is sound, other clips are as they were, and what was dropped can be added again."""
    before = dict(zip(shown["id"], shown["clips"], strict=True))
    report = repair_cache(path)
    assert report.problems
    assert verify_cache(path).problems == []
    cache = open_cache(path)
    kept = {clip_id: clip_contents(cache, clip_id) for clip_id in cache.ids}
    assert kept == {clip_id: rows for clip_id, rows in before.items() if clip_id in kept}
    if damaged is not None:
        assert set(before) - set(kept) == set(damaged)
    with CacheWriter.open(path) as writer:
        for clip_id in sorted(set(before) - set(kept)):
            index = int(clip_id[-3:])
            writer.add(make_clip(index, version=VERSIONS.get(index, 0), crops=True, features=BOTH))
        writer.add(make_clip(40, crops=True, features=BOTH))
    assert verify_cache(path).problems == []
    cache = open_cache(path)
    assert {clip_id: clip_contents(cache, clip_id) for clip_id in before} == before
    assert clip_contents(cache, "set/clip 040") == expected_clip(make_clip(40, crops=True, features=BOTH))


SOME = (
    "frames/gap",
    "frames/time",
    "crops/data",
    "crops/offset",
    "clips/label",
    "clips/start",
    "clips/live",
    "clips/xxh3/map",
    "failures/live",
)


@pytest.mark.slow
@pytest.mark.parametrize("every", EVERY, ids=["some", "every"])
def test_repairing_drops_the_damaged_clips_and_touches_no_other(every, sound, store, tmp_path):
    source, shown = sound[store]
    path = tmp_path / source.name
    rng = random.Random(11)
    owner, columns = live_rows(source)
    runs = {spec.name: (spec, *place) for spec, *place in committed_bytes(source)}  # the last run of each array
    for spec, file, offset, size, first in runs.values():
        if not every and spec.name not in SOME:
            continue
        for position in (
            {rng.randrange(size), size - spec.row_bytes} if every else {size - spec.row_bytes}
        ):  # in the last row
            put_copy(path, source)
            row = first + position // spec.row_bytes
            flip(path / file.relative_to(source) if source.is_dir() else path, offset + position, rng.randrange(8))
            damaged = None
            if spec.axis == "frame":
                damaged = [owner[row]] if owner[row] else None
            elif spec.axis == "clip" and columns["live"][row]:
                damaged = [columns["id"][row]]
            assert verdict(path, shown), spec.name
            if verify_cache(path).problems:
                expect_repaired(path, shown, damaged)


@pytest.mark.parametrize("every", EVERY, ids=["some", "every"])
@pytest.mark.parametrize("kind", ["cut", "delete", "flip"])
def test_repairing_a_directory_puts_every_file_back(kind, every, sound, tmp_path):
    source, shown = sound[".zarr"]
    path = tmp_path / source.name
    rng = random.Random(5)
    names = [
        "zarr.json",
        "frames/zarr.json",
        "frames/box/zarr.json",
        "frames/box/c.0.0",
        "frames/gap/c.1.0",
        "clips/id/c.0",
    ]
    names += ["clips/count/c.0", "crops/data/c.1", "crops/offset/c.5", "failures/error/c.0", "failures/xxh3/zarr.json"]
    for name in [str(file.relative_to(source)) for file in files(source)] if every else names[len(kind) % 2 :: 2]:
        put_copy(path, source)
        original = (path / name).read_bytes()
        if kind == "delete":
            (path / name).unlink()
        elif kind == "cut":
            (path / name).write_bytes(original[: len(original) // 2])
        else:
            flip(path / name, rng.randrange(len(original.rstrip(b"\0")) or 1), rng.randrange(8))
        if name == "zarr.json":
            with pytest.raises(EstError) as caught:
                repair_cache(path)
            assert caught.value.remedy
        elif verify_cache(path).problems:
            expect_repaired(path, shown, None)


def test_two_kinds_of_damage_are_repaired_together(sound, tmp_path):
    source, shown = sound[".zarr"]
    path = put_copy(tmp_path / source.name, source)
    flip(path / "clips/start/c.0", 8 * 3 + 2, 6)  # rows 3 and 4 begin somewhere else
    flip(path / "clips/start/c.0", 8 * 4 + 5, 1)
    flip(path / "clips/count/c.0", 8 * 5 + 3, 1)
    (path / "frames/box/c.0.0").unlink()
    (path / "failures/error/c.0").unlink()
    expect_repaired(path, shown, None)


def test_a_sound_cache_is_repaired_by_doing_nothing(copy):
    path, _ = copy
    before = stored_arrays(path)
    modified = {file: file.stat().st_mtime_ns for file in files(path)}
    assert repair_cache(path).problems == []
    assert stored_arrays(path) == before
    assert modified == {file: file.stat().st_mtime_ns for file in files(path)}


@pytest.mark.parametrize("spoil", ["superblock", "cut"])
def test_an_hdf5_file_that_cannot_be_opened_is_said_to_be_beyond_repair(spoil, sound, tmp_path):
    source, _ = sound[".h5"]
    path = put_copy(tmp_path / source.name, source)
    if spoil == "cut":
        path.write_bytes(source.read_bytes()[:-5000])
    else:
        flip(path, 20, 3)
    with pytest.raises(CacheDamaged, match=r"cache\.h5 cannot be") as caught:
        repair_cache(path)
    assert "copy" in caught.value.remedy
