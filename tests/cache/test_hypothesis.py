"""Arbitrary clips and arbitrary sessions against a plain dictionary: the cache holds what the dictionary holds."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cache_samples import SMALL, STORES, clip_contents, contents, expected_clip, leftovers, sample_recipes
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from est.cache import CacheWriter, Clip, Failure, Source, convert_cache, open_cache, verify_cache
from est.cache.changes.copying import TOLD
from est.cache.quality import box_jitter, coverage
from est.cache.schema import MOMENTS, ColumnSpec
from est.cache.stores.disk import Disk

STABLE = {"derandomize": True, "suppress_health_check": list(HealthCheck)}

names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=12)
texts = names | st.just("")
integers = st.integers(-(2**31), 2**31 - 1)
counts = st.sampled_from([0, 1, 2, 3, 17, 40]) | st.integers(0, 60)
folds = st.integers(-1, 9)


@st.composite
def clips(draw, clip_id=names, frames=counts):
    """Return any clip that a cache takes."""
    count = draw(frames)
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    state = rng.choice(
        np.array([0, 1, 2], np.uint8), count, p=draw(st.sampled_from([[0, 1, 0], [1, 0, 0], [0.3, 0.4, 0.3]]))
    )
    gone = state == 0
    rows = {
        name: rng.normal(size=(count, *shape)).astype(dtype)
        for name, shape, dtype in [
            ("gap", (16,), "f2"),
            ("box", (4,), "f4"),
            ("landmarks", (5, 2), "f4"),
            ("score", (), "f4"),
        ]
    }
    rows["gap"][gone] = 0
    rows["box"][gone] = rows["landmarks"][gone] = np.nan
    return Clip(
        id=draw(clip_id),
        path=draw(texts),
        label=draw(st.none() | names),
        target=draw(st.none() | st.tuples(*[st.floats(width=32, allow_nan=False, allow_infinity=False)] * 2)),
        subject=draw(texts),
        split=draw(texts),
        fold=draw(integers),
        fps=draw(st.floats(allow_nan=False)),
        size=(draw(integers), draw(integers)),
        rotation=draw(st.sampled_from([0, 90, 180, 270])),
        mirrored=draw(st.booleans()),
        declared=draw(st.none() | st.integers(0, 2**62)),
        first_frame=draw(st.integers(0, 2**62)),
        source=Source(
            num_bytes=draw(st.integers(0, 2**62)),
            mtime_ns=draw(st.integers(0, 2**62)),
            digest=draw(st.binary(min_size=16, max_size=16)),
        ),
        state=state,
        time=np.cumsum(rng.random(count)),
        features={"gap": rows.pop("gap")},
        crops=[b"" if none else rng.bytes(int(rng.integers(1, 30))) for none in gone],
        decoder=draw(texts),
        **{name: draw(integers) for name in TOLD if name not in ("decoder", *MOMENTS)},
        **{name: draw(st.integers(-1, count - 1)) for name in MOMENTS},
        extra=draw(st.just({}) | st.fixed_dictionaries({"site": texts, "age": st.integers(1 - 2**63, 2**63 - 1)})),
        **rows,
    )


def expected_row(clip):
    """Return what a reader's table shows of a clip."""
    target = [np.nan] * 2 if clip.target is None else np.asarray(clip.target, np.float32).tolist()
    shown = {
        name: getattr(clip, name)
        for name in ("id", "path", "label", "subject", "split", "fold", "fps", "rotation", "first_frame", *TOLD)
    }
    declared = clip.num_frames if clip.declared is None else clip.declared
    return shown | {
        "target": target,
        "size": list(clip.size),
        "mirrored": clip.mirrored,
        "declared": declared,
        "decoded": clip.num_frames,
        "count": clip.num_frames,
        "source_bytes": clip.source.num_bytes,
        "source_mtime_ns": clip.source.mtime_ns,
        "source_digest": list(clip.source.digest),
        "coverage": coverage(clip.state),
        "box_jitter": box_jitter(clip.box, clip.state),
        "extra": {"age": None, "site": "", **clip.extra},
    }


def expect_clips(path, clips):
    """Compare everything that a cache shows with a list of clips."""
    cache = open_cache(path)
    assert cache.ids == [clip.id for clip in clips]
    for place, clip in enumerate(clips):
        row = cache.clips.row(place)
        row.pop("start")
        np.testing.assert_equal(row, expected_row(clip))
        assert clip_contents(cache, place) == expected_clip(clip)
    assert verify_cache(path).problems == []
    return cache


class Hasty(Disk):
    """Flushes nothing: what these tests ask does not depend on a power cut."""

    def write(self, path, data):
        path.write_bytes(data)

    def flush_file(self, path):
        pass

    def flush_folder(self, path):
        pass


def create(path):
    columns = {"site": ColumnSpec(dtype="string"), "age": ColumnSpec(dtype="int64")}
    settings = {"crops": True, "targets": ("x", "y"), "layout": SMALL, "columns": columns}
    return CacheWriter.open(path, sample_recipes(), **settings, disk=Hasty())


@given(made=st.lists(clips(), max_size=5, unique_by=lambda clip: clip.id), data=st.data())
@settings(max_examples=15, **STABLE)
def test_any_clips_go_through_both_stores_and_back(made, data):
    with tempfile.TemporaryDirectory() as folder:
        first, second = data.draw(st.permutations(STORES))
        path, there, back = (Path(folder) / name for name in (f"a{first}", f"b{second}", f"c{first}"))
        with create(path) as writer:
            for clip in made:
                writer.add(clip)
        expect_clips(path, made)
        convert_cache(path, there, disk=Hasty())
        expect_clips(there, made)
        convert_cache(there, back, disk=Hasty())
        assert contents(back) == contents(path) == contents(there)
        assert leftovers(path) == leftovers(there) == leftovers(back) == []


class Sessions(RuleBasedStateMachine):
    """A writer, the clips that it should hold, and those that a reader should see."""

    store = ".zarr"
    some = st.sampled_from(["a", "b/ü", "😀", "d", "e"])

    @initialize()
    def begin(self):
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / f"a {self.store}"
        self.held: dict[str, Clip] = {}
        self.failed: dict[str, Failure] = {}
        self.writer = create(self.path)
        self.seen = ([], [])

    @rule(clip=clips(some, st.integers(0, 30)))
    def add(self, clip):
        new = clip.id not in self.held
        self.writer.add(clip, replacing=not new)
        self.held.pop(clip.id, None)
        self.failed.pop(clip.id, None)
        self.held[clip.id] = clip

    @rule(clip_id=some, error=texts, label=st.none() | names, subject=texts, split=texts, fold=integers)
    def fail(self, clip_id, **known):
        failure = Failure(id=clip_id, path="", stage="decode", **known)
        self.writer.fail(failure)
        self.failed.pop(clip_id, None)
        self.failed[clip_id] = failure

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def remove(self, data):
        gone = data.draw(st.lists(st.sampled_from(sorted(self.held)), min_size=1, max_size=3))
        self.writer.remove(gone)
        self.held = {name: clip for name, clip in self.held.items() if name not in gone}

    @precondition(lambda self: self.held)
    @rule(
        data=st.data(),
        values=st.fixed_dictionaries(
            {},
            optional={
                "label": st.none() | st.sampled_from(["sad", "joy"]),
                "fold": folds,
                "subject": texts,
                "split": texts,
                "path": texts,
                "target": st.none() | st.just((0.25, 0.75)),
            },
        ),
    )
    def update(self, data, values):
        clip_id = data.draw(st.sampled_from(sorted(self.held)))
        old = self.held[clip_id]
        said = self.writer.update(clip_id, **values)
        assert {line.split(":")[0] for line in said} == {n for n, v in values.items() if v != getattr(old, n)}
        self.held[clip_id] = replace(old, **values)

    @precondition(lambda self: self.failed.keys() - self.held.keys())
    @rule(data=st.data(), label=st.none() | st.sampled_from(["sad", "joy"]), subject=texts, split=texts, fold=folds)
    def update_failure(self, data, **values):
        clip_id = data.draw(st.sampled_from(sorted(self.failed.keys() - self.held.keys())))
        old = self.failed[clip_id]
        said = self.writer.update(clip_id, **values)
        assert {line.split(":")[0] for line in said} == {n for n, v in values.items() if v != getattr(old, n)}
        self.failed[clip_id] = replace(old, **values)
        assert self.writer.failure(clip_id) == self.failed[clip_id]

    @rule()
    def commit(self):
        self.writer.commit()
        self.seen = (list(self.held.values()), list(self.failed.values()))

    @rule(normally=st.booleans())
    def reopen(self, normally):
        self.writer.close(folding=normally)
        self.seen = (list(self.held.values()), list(self.failed.values()))
        if normally:
            assert leftovers(self.path) == []
        self.writer = create(self.path)

    @invariant()
    def readers_see_the_last_commit(self):
        cache = expect_clips(self.path, self.seen[0])
        assert cache.failures == self.seen[1]

    def teardown(self):
        if hasattr(self, "writer"):
            self.writer.close()
            expect_clips(self.path, list(self.held.values()))
            self.folder.cleanup()


@pytest.mark.parametrize("store", STORES)
def test_any_sessions_equal_a_dictionary(store):
    machine = type("SessionsOf" + store.strip("."), (Sessions,), {"store": store})
    run_state_machine_as_test(machine, settings=settings(max_examples=12, stateful_step_count=14, **STABLE))
