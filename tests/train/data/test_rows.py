"""Clip sets: the rows that come out are the cache's own, wherever they live; and sets, features and places that make no sense."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from cache_samples import LABELS, SMALL, make_clip, sample_recipes
from hypothesis import given, settings
from hypothesis import strategies as st
from sampling_reference import stand_ins

from est.cache import CacheWriter, Recipes, open_cache
from est.errors import CacheDamaged, UsageError, quoted
from est.train.config.sampling import SamplingConfig
from est.train.data import rows
from est.train.data.clipset import ClipSet, nearest_faces, warn_of_rates
from est.train.data.feature_arrays import black_row, mirrored_name
from est.train.data.rows import HostRows, RowSource, StreamRows, first_non_finite, load_table
from est.train.data.snippets import SnippetSampler

KINDS = ("device", "stream")
CPU = torch.device("cpu")


@pytest.fixture(params=["float16", "float32"])
def dtype(request):
    return request.param


def gather(clips, places, positions, **how):
    """Take the features of a batch."""
    return clips.take(clips.index(places, positions, **how))


def written(path, *, indices=range(1, 12), mirrored=False, dtype="float16", removed=(), **settings):
    """Write sample clips, one of them without a face and one with a face in its middle only; return the cache and the clips in it."""
    recipes, features = sample_recipes(dtype=dtype), ("gap",)
    if mirrored:
        flip = replace(recipes.features["gap"], mirrored=True)
        recipes = Recipes(frames=recipes.frames, features={**recipes.features, "gap_flip": flip})
        features = ("gap", "gap_flip")
    clips = []
    for index in indices:
        clip = make_clip(index, dtype=dtype)
        state = clip.state.copy()
        if index == 5:
            state[:] = 0
        if index == 7:
            state[:] = np.arange(len(state)) == len(state) // 2
        clip = without_faces(clip, state)
        if mirrored:
            clip = replace(clip, features={**clip.features, "gap_flip": clip.features["gap"][:, ::-1].copy()})
        assert set(clip.features) == set(features)
        clips.append(clip)
    with CacheWriter.open(path, recipes, labels=LABELS, layout=SMALL, **settings) as writer:
        for clip in clips:
            writer.add(clip)
    if removed:
        with CacheWriter.open(path) as writer:
            writer.remove([make_clip(index).id for index in removed])
    return open_cache(path), [clip for index, clip in zip(indices, clips, strict=True) if index not in removed]


def without_faces(clip, state):
    """Return a clip with other states; frames that lose their face lose their rows, others get some."""
    rng = np.random.default_rng(int(state.sum()))
    gone = state == 0
    box, landmarks = np.ones_like(clip.box), np.ones_like(clip.landmarks)
    box[gone], landmarks[gone] = np.nan, np.nan
    gap = rng.normal(size=clip.features["gap"].shape).astype(clip.features["gap"].dtype)
    gap[gone] = 0
    return replace(clip, state=state, box=box, landmarks=landmarks, features={"gap": gap})


def expected_rows(clip, positions, *, feature="gap", no_face="nearest"):
    """Look a clip's frames up one by one."""
    instead = stand_ins(clip.state != 0) if no_face == "nearest" else range(clip.num_frames)
    shown = [[clip.features[feature][instead[p]] for p in snippet] for snippet in positions.tolist()]
    return np.asarray(shown, np.float32)


def every_view(clips, which, seed=0):
    """Return places in a set, some twice, and a training view of each."""
    generator = torch.Generator().manual_seed(seed)
    places = torch.randint(len(which), (3 * len(which),), generator=generator)
    counts = torch.tensor([clips[which[place]].num_frames for place in places.tolist()])
    return places, SnippetSampler(SamplingConfig(), 3, 4).train(counts, generator)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("no_face", ["nearest", "keep"])
def test_gathering_is_looking_up_frame_by_frame(cache_path, kind, no_face, dtype):
    cache, clips = written(cache_path, dtype=dtype, removed=[4])
    for which in (range(len(clips)), [6, 1, 2, 8], [3]):
        clip_set = ClipSet.from_cache(cache, which, residency=kind, no_face=no_face)
        places, positions = every_view(clips, which)
        found = gather(clip_set, places, positions)
        assert found.dtype == torch.float32
        expected = [
            expected_rows(clips[which[place]], view, no_face=no_face)
            for place, view in zip(places.tolist(), positions, strict=True)
        ]
        np.testing.assert_array_equal(found.numpy(), np.stack(expected))


@pytest.mark.parametrize("kind", KINDS)
def test_mirrored_features_are_another_look_at_the_same_clips(cache_path, kind):
    cache, clips = written(cache_path, mirrored=True, removed=[3])
    assert mirrored_name(cache, "gap") == "gap_flip"
    assert mirrored_name(cache, "gap_flip") is None
    which = [7, 0, 4, 2, 5]
    clip_set = ClipSet.from_cache(cache, which, residency=kind, others=["gap_flip"])
    plain = ClipSet.from_cache(cache, which, residency=kind)
    assert len(clip_set) == len(plain) == len(clip_set.count) == 5
    assert clip_set.ids == [clips[place].id for place in which]
    places, positions = every_view(clips, which)
    mirrored = torch.arange(len(places)) % 3 == 0
    found = gather(clip_set, places, positions, array=mirrored)
    for place, view, flip, features in zip(places.tolist(), positions, mirrored.tolist(), found, strict=True):
        expected = expected_rows(clips[which[place]], view, feature="gap_flip" if flip else "gap")
        np.testing.assert_array_equal(features.numpy(), expected)
    assert torch.equal(gather(clip_set, places, positions), gather(plain, places, positions))
    for mine, theirs in zip(clip_set.statistics(places), plain.statistics(places), strict=True):
        assert torch.equal(mine, theirs)


@pytest.mark.parametrize("kind", KINDS)
def test_an_epoch_can_be_indexed_at_once(cache_path, kind):
    cache, clips = written(cache_path, mirrored=True)
    which = range(len(clips))
    clip_set = ClipSet.from_cache(cache, which, residency=kind, others=["gap_flip"])
    places, positions = every_view(clips, which)
    places, positions = places.view(3, -1), positions.view(3, -1, 3, 4)  # steps of batches
    mirrored = torch.rand(places.shape, generator=torch.Generator().manual_seed(0)) < 0.5
    index = clip_set.index(places, positions, array=mirrored)
    for step in range(3):
        features = gather(clip_set, places[step], positions[step], array=mirrored[step])
        assert torch.equal(clip_set.take(index[step]), features)


def test_the_row_of_a_black_picture_is_the_caches_or_refused(cache_path):
    black = tuple(float(value) for value in range(16))
    cache, _ = written(cache_path, black={"gap": black})
    assert black_row(cache, "gap").tolist() == list(black)
    bare, _ = written(cache_path.with_name(f"bare{cache_path.suffix}"), indices=[3])
    with pytest.raises(UsageError, match="has no record of 'gap' of a black image"):
        black_row(bare, "gap")


@pytest.mark.parametrize("kind", KINDS)
def test_a_set_knows_its_clips(cache_path, kind):
    cache, clips = written(cache_path, removed=[2, 9])
    which = np.array([5, 0, 3, 8])
    clip_set = ClipSet.from_cache(cache, which, residency=kind)
    chosen = [clips[place] for place in which]
    assert len(clip_set) == 4
    assert (clip_set.ids, clip_set.path) == ([c.id for c in chosen], [c.path for c in chosen])
    assert clip_set.subject == [c.subject for c in chosen]
    assert [clip_set.labels[k] if k >= 0 else None for k in clip_set.label.tolist()] == [c.label for c in chosen]
    assert clip_set.label.dtype == np.int64
    assert clip_set.fps.tolist() == [c.fps for c in chosen]
    assert clip_set.count.tolist() == [c.num_frames for c in chosen]
    assert clip_set.coverage.tolist() == [(c.state != 0).mean() for c in chosen]
    assert clip_set.has_face.tolist() == [bool(c.state.any()) for c in chosen]
    assert False in clip_set.has_face
    assert clip_set.width == 16
    for values in (clip_set.label, clip_set.fps, clip_set.has_face, clip_set.coverage):
        assert values.shape == (4,)


@pytest.mark.parametrize("kind", KINDS)
def test_statistics_are_of_the_frames_with_a_face(cache_path, kind, monkeypatch):
    monkeypatch.setattr("est.train.data.clipset.STATISTICS_ROWS", 10)
    cache, clips = written(cache_path)
    clip_set = ClipSet.from_cache(cache, range(len(clips)), residency=kind)
    which = [7, 2, 6, 4]
    seen = np.concatenate([clips[place].features["gap"][clips[place].state != 0] for place in which]).astype(np.float64)
    mean, deviation = clip_set.statistics(torch.tensor(which))
    np.testing.assert_allclose(mean.numpy(), seen.mean(0), rtol=0, atol=1e-6)
    np.testing.assert_allclose(deviation.numpy(), seen.std(0), rtol=0, atol=1e-6)
    with pytest.raises(UsageError, match="None of 1 clip shows a face"):
        clip_set.statistics(torch.tensor([4]))


@given(clips=st.lists(st.lists(st.booleans(), min_size=1, max_size=12), min_size=1, max_size=6))
@settings(derandomize=True)
def test_the_nearest_face_is_the_references(clips):
    count = np.array([len(clip) for clip in clips])
    first = np.cumsum(count) - count
    found = nearest_faces(np.concatenate([np.array(clip) for clip in clips]), first, count)
    expected = [begin + frame for begin, clip in zip(first, clips, strict=True) for frame in stand_ins(clip)]
    assert found.tolist() == expected


def source_of(cache, which=None, features=("gap",)):
    which = np.arange(len(cache)) if which is None else np.sort(which)
    clips = cache.clips
    return RowSource(cache=cache, features=features, start=clips.start[which], count=clips.count[which])


@pytest.mark.parametrize("which", [None, [0, 1, 2, 5, 8], [4]])
def test_a_table_is_read_in_pieces(cache_path, which, monkeypatch, dtype):
    cache, clips = written(cache_path, mirrored=True, removed=[6], dtype=dtype)
    chosen = clips if which is None else [clips[place] for place in which]
    expected = {name: np.concatenate([clip.features[name] for clip in chosen]) for name in ("gap", "gap_flip")}
    for piece_bytes in (1, 500, rows.PIECE_BYTES):
        monkeypatch.setattr(rows, "PIECE_BYTES", piece_bytes)
        one = load_table(source_of(cache, which), CPU)
        both = load_table(source_of(cache, which, ("gap", "gap_flip")), CPU)
        assert one.dtype == both.dtype == getattr(torch, dtype)
        np.testing.assert_array_equal(one.numpy(), expected["gap"])
        np.testing.assert_array_equal(both.numpy(), np.concatenate([expected["gap"], expected["gap_flip"]]))


def test_a_whole_array_is_not_copied(cache_path, monkeypatch):
    cache, _ = written(cache_path)
    loaded = []
    read = RowSource.read
    monkeypatch.setattr(RowSource, "read", lambda *call: loaded.append(read(*call)) or loaded[-1])
    table = load_table(source_of(cache), CPU)
    assert table.data_ptr() == loaded[0].ctypes.data


def test_host_rows_are_device_rows(cache_path):
    cache, _ = written(cache_path, mirrored=True)
    table = load_table(source_of(cache, None, ("gap", "gap_flip")), CPU)
    index = torch.randint(len(table), (4, 3, 2), generator=torch.Generator().manual_seed(0))
    assert torch.equal(HostRows(table, CPU).take(index), table[index].float())


@pytest.mark.parametrize("max_bytes", [0, 3000, 10**9])
def test_streaming_keeps_no_more_than_it_may(cache_path, max_bytes, monkeypatch):
    cache, _ = written(cache_path, mirrored=True, removed=[8])
    source = source_of(cache, None, ("gap", "gap_flip"))
    table, stream = load_table(source, CPU), StreamRows(source, CPU, max_bytes=max_bytes)
    read, read_rows = [], RowSource.read
    monkeypatch.setattr(RowSource, "read", lambda self, *call: read.append(call) or read_rows(self, *call))
    for index in torch.randperm(len(table), generator=torch.Generator().manual_seed(0)).split(10):
        assert torch.equal(stream.take(index), table[index].float())
        kept = sum(clip.nbytes for clip in stream._kept.values())
        assert stream._kept_bytes == kept <= max_bytes
    every_clip = 2 * len(cache)
    assert len(set(read)) == every_clip
    assert (len(read) == every_clip) == (max_bytes == 10**9)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_features_that_are_no_numbers_are_named(cache_path, kind, value, dtype, monkeypatch):
    cache, clips = written(cache_path, dtype=dtype)
    place, frame = 6, 2
    bad = int(cache.clips.start[place]) + frame
    read = type(cache.snapshot).rows

    def damaged(snapshot, spec, start, stop):
        found = read(snapshot, spec, start, stop)
        if spec.name == "frames/gap" and start <= bad < stop:
            found[bad - start, 7] = value
        return found

    monkeypatch.setattr(type(cache.snapshot), "rows", damaged)
    with pytest.raises(CacheDamaged, match=f"gap of clip '{clips[place].id}', frame {frame}, is not finite") as raised:
        gather(ClipSet.from_cache(cache, [6, 2], residency=kind), torch.tensor([0]), torch.zeros(1, 1, 1).long())
    assert raised.value.remedy == f"est cache verify {quoted(cache_path)}"
    if kind == "device":
        with pytest.raises(CacheDamaged, match="is not finite"):
            ClipSet.from_cache(cache, range(len(cache)), residency=kind)
    gather(ClipSet.from_cache(cache, [5, 2], residency=kind), torch.tensor([0]), torch.zeros(1, 1, 1).long())


@given(
    values=st.lists(st.floats(width=16), min_size=1, max_size=30),
    dtype=st.sampled_from(["float16", "float32"]),
    wide=st.integers(1, 3),
)
@settings(derandomize=True)
def test_the_first_row_that_is_not_finite(values, dtype, wide):
    table = np.zeros((len(values), wide), dtype)
    table[:, -1] = values
    finite = np.isfinite(table).all(1)
    before, rows.CHECK_BYTES = rows.CHECK_BYTES, 16
    try:
        assert first_non_finite(table) == (None if finite.all() else int(np.argmin(finite)))
    finally:
        rows.CHECK_BYTES = before


def test_the_extremes_are_finite():
    for dtype in (np.float16, np.float32):
        top = np.finfo(dtype)
        assert first_non_finite(np.array([[top.max], [top.min], [0], [-0.0], [top.smallest_subnormal]], dtype)) is None


def test_sets_that_make_no_sense(cache_path):
    cache, clips = written(cache_path, indices=[0, 1, 2, 3])
    for which, message in {
        (): "No clip of .* is chosen",
        (1, 4): "has the clips 0 to 3, asked for 1 to 4",
        (-1,): "has the clips 0 to 3, asked for -1",
        (2, 1, 2): "A clip stands in a set once",
        (1, 0): f"'{clips[0].id}' of .* have no frames",
    }.items():
        with pytest.raises(UsageError, match=message):
            ClipSet.from_cache(cache, which)


def test_features_that_make_no_sense(cache_path):
    recipes = sample_recipes(("gap", "map"))
    with CacheWriter.open(cache_path, recipes, labels=LABELS, layout=SMALL) as writer:
        writer.add(make_clip(4, features=("gap", "map")))
    cache = open_cache(cache_path)
    with pytest.raises(UsageError, match="has the features gap, map, asked for 'layer3'") as raised:
        ClipSet.from_cache(cache, [0], feature="layer3")
    assert "--features gap,map,layer3" in raised.value.remedy
    with pytest.raises(UsageError, match=r"'map' of .* is a map of 3 × 2 × 2 per frame") as raised:
        ClipSet.from_cache(cache, [0], feature="map")
    assert raised.value.remedy == "choose gap"
    assert mirrored_name(cache, "gap") is None
    for name in ("map", "gap", "gap_flip"):
        with pytest.raises(UsageError, match=f"no array '{name}' that is 'gap' of mirrored crops"):
            ClipSet.from_cache(cache, [0], others=[name])


def test_other_frame_rates_are_warned_about():
    rates = {fps: np.array([fps, fps, 0.0, 500.0 if fps else 0.0]) for fps in (0.0, 20.0, 30.0, 31.0)}  # 0 is unknown
    assert warn_of_rates(rates[20.0], rates[30.0]) is None
    assert warn_of_rates(rates[20.0], rates[0.0]) is None
    for train, test in [(20.0, 31.0), (31.0, 20.0)]:
        assert f"{train:g} frames a second and the test clips {test:g}" in warn_of_rates(rates[train], rates[test])


@pytest.mark.gpu
def test_on_a_gpu_every_residency_gathers_the_same(cache_path):
    cache, clips = written(cache_path, mirrored=True)
    which = list(range(len(clips)))
    places, positions = every_view(clips, which)
    mirrored = places % 2 == 0
    here = ClipSet.from_cache(cache, which, others=["gap_flip"])
    expected = gather(here, places, positions, array=mirrored)
    for kind in ("device", "pinned", "stream"):
        there = ClipSet.from_cache(cache, which, device="cuda:0", residency=kind, others=["gap_flip"])
        found = gather(there, places.cuda(), positions.cuda(), array=mirrored.cuda())
        assert found.device.type == "cuda"
        assert torch.equal(found.cpu(), expected)
        for mine, theirs in zip(there.statistics(places), here.statistics(places), strict=True):
            torch.testing.assert_close(mine, theirs)
