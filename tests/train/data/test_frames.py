"""Maps for a backbone whose last stage learns: those of the cache, wherever they live; and what a backbone learns from."""

from __future__ import annotations

from dataclasses import replace
from unittest.mock import patch

import numpy as np
import pytest
import torch
from cache_samples import LABELS, SHAPES, SMALL, make_clip, sample_recipes

from est.cache import CacheWriter, Recipes, convert_cache, open_cache
from est.errors import CacheDamaged, UsageError
from est.train.config.sampling import SamplingConfig
from est.train.data.clipset import ClipSet
from est.train.data.pixels import choose_source
from est.train.data.rows import RowSource, SparseRows, load_table
from est.train.data.snippets import SnippetSampler
from est.train.models.batch_frames import BatchFrames

CPU = torch.device("cpu")
SHAPE = (3, 2, 2)
WHICH = (3, 1, 6, 5, 2)  # clips, by their places


def write_cache(path, *, features=("gap", "layer3"), flip=False, crops=False, dtype="float16"):
    """Write a cache whose maps are small, and perhaps those of mirrored crops; return it."""
    shapes = {"layer3": SHAPE, "gap_flip": SHAPES["gap"], "layer3_flip": SHAPE}
    with patch.dict(SHAPES, shapes):
        recipes = sample_recipes(features, dtype=dtype, crops="jpeg 95" if crops else "")
        mirrored = {f"{name}_flip": replace(made, mirrored=True) for name, made in recipes.features.items() if flip}
        recipes = Recipes(frames=recipes.frames, features={**recipes.features, **mirrored})
        with CacheWriter.open(path, recipes, labels=LABELS, layout=SMALL, crops=crops) as writer:
            for index in range(2, 10):
                writer.add(make_clip(index, crops=crops, features=tuple(recipes.features), dtype=dtype))
    return open_cache(path)


def views(clips, seed=0, batch=6):
    """Return the rows of a batch of training views, every second one mirrored.  # (B, 3, 4)"""
    generator = torch.Generator().manual_seed(seed)
    places = torch.randint(len(clips), (batch,), generator=generator)
    positions = SnippetSampler(SamplingConfig(), 3, 4).train(clips.count.cpu()[places], generator)
    return clips.index(places, positions, array=torch.arange(batch) % 2 == 1)


@pytest.mark.parametrize("residency", ["device", "stream"])
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_maps_are_the_caches_wherever_they_live(cache_path, residency, dtype):
    cache = write_cache(cache_path, flip=True, dtype=dtype)
    clips = ClipSet.for_tuning(cache, WHICH, "maps", shape=(512,), mirrored=True, residency=residency, no_face="keep")
    assert clips.width == 512
    assert clips.residency.startswith("maps: 0.0")
    assert clips.residency.endswith("in memory" if residency == "device" else "read batch by batch; 3 batches ahead")
    for place, number in enumerate(WHICH):
        clip = cache.clip(number)
        positions = torch.tensor([[[0, 2, 2], [len(clip.state) - 1, 1, 0]]])
        for mirrored, feature in ((False, "layer3"), (True, "layer3_flip")):
            frames = clips.take(clips.index(torch.tensor([place]), positions, array=torch.tensor([mirrored])))
            assert isinstance(frames, BatchFrames)
            assert frames.rows.dtype == torch.float32
            assert frames.rows.shape == (4, *SHAPE)  # four different ones of six
            expected = clip.features[feature][positions.numpy()].astype(np.float32)
            np.testing.assert_array_equal(frames.rows[frames.place].numpy(), expected)


def test_maps_that_are_read_ahead_are_those_in_memory(cache_path):
    cache = write_cache(cache_path, flip=True)
    here, there = (
        ClipSet.for_tuning(cache, WHICH, "maps", mirrored=True, residency=kind) for kind in ("device", "stream")
    )
    asked = [(views(here, seed), None) for seed in range(6)]
    there.expect(asked[:5])
    for index, _ in [*asked, asked[0]]:
        one, other = here.take(index), there.take(index)
        assert torch.equal(one.rows, other.rows)
        assert torch.equal(one.place, other.place)
        assert len(one.rows) == len(index.unique())
    assert here.waited == 0.0
    assert there.waited > 0.0
    for clips in (here, there):
        with pytest.raises(AssertionError, match="maps cannot be moved"):
            clips.take(asked[0][0], torch.ones(6, 4))


def test_rows_that_are_read_one_by_one_are_those_of_the_table(cache_path, monkeypatch):
    cache = write_cache(cache_path, flip=True)
    places = np.sort(WHICH)
    start, count = np.asarray(cache.clips.start)[places], np.asarray(cache.clips.count)[places]
    source = RowSource(cache=cache, features=("layer3", "layer3_flip"), start=start, count=count)
    table, sparse = load_table(source, CPU), SparseRows(source, CPU)
    assert table.shape == (2 * count.sum(), 12)
    read = []
    rows_of = RowSource.read
    monkeypatch.setattr(RowSource, "read", lambda self, *call: read.append(call) or rows_of(self, *call))
    for seed in range(8):
        read.clear()
        generator = torch.Generator().manual_seed(seed)
        index = torch.randperm(len(table), generator=generator)[: 1 + 20 * seed].sort().values
        assert torch.equal(sparse.take(index), table[index].float())
        assert sum(stop - begin for _, begin, stop in read) == len(index)  # and nothing else
    read.clear()
    assert torch.equal(sparse.take(torch.arange(len(table))), table.float())
    assert len(read) <= 2 * len(WHICH)  # neighbours together
    with pytest.raises(AssertionError, match="each row once, in order"):
        sparse.take(torch.tensor([3, 3]))


def test_maps_that_are_no_numbers_are_named_where_they_are_taken(cache_path, monkeypatch):
    cache = write_cache(cache_path)
    bad = int(cache.clips.start[6]) + 2
    read = type(cache.snapshot).rows

    def damaged(snapshot, spec, start, stop):
        found = read(snapshot, spec, start, stop)
        if spec.name == "frames/layer3" and start <= bad < stop:
            found[bad - start, 1, 0, 1] = np.nan
        return found

    monkeypatch.setattr(type(cache.snapshot), "rows", damaged)
    clips = ClipSet.for_tuning(cache, WHICH, "maps", residency="stream", no_face="keep")
    index = [clips.index(torch.tensor([place]), torch.tensor([[[1, 2, 3]]])) for place in range(3)]
    clips.expect([(rows, None) for rows in index])
    for rows in index[:2]:
        assert torch.isfinite(clips.take(rows).rows).all()
    with pytest.raises(CacheDamaged, match=f"layer3 of clip '{cache.ids[6]}', frame 2, is not finite"):
        clips.take(index[2])


def test_maps_that_are_not_there_are_asked_for(cache_path):
    cache = write_cache(cache_path, features=("gap",))
    with pytest.raises(UsageError, match="has the features gap, asked for 'layer3'") as error:
        ClipSet.for_tuning(cache, WHICH, "maps")
    frames, row = int(cache.clips.count.sum()), 256 * 14 * 14 * 2
    told = f"layer3 takes 100 kB a frame, {frames * row / 1e6:.0f} MB for {frames} frames."
    assert error.value.message.endswith(told)
    assert error.value.remedy.startswith("est extract ")
    assert error.value.remedy.endswith(" --features gap,layer3")
    cache = write_cache(cache_path.with_name(f"plain{cache_path.suffix}"))
    with pytest.raises(UsageError, match="has no array 'layer3_flip' that is 'layer3' of mirrored crops") as error:
        ClipSet.for_tuning(cache, WHICH, "maps", mirrored=True)
    assert "--flip" in error.value.remedy


# --- what is chosen ---


def test_the_fastest_source_is_chosen(tmp_path):
    everything = write_cache(tmp_path / "all.zarr", flip=True, crops=True)
    for learns, options, expected in (
        ("layer4", {}, "maps"),
        ("layer4", {"mirrored": True}, "maps"),
        ("layer4", {"augments": True}, "crops"),
        ("all", {}, "crops"),
        ("all", {"mirrored": True, "augments": True}, "crops"),
    ):
        assert choose_source(everything, "auto", learns, **options) == expected
    for wanted in ("crops", "videos", "maps"):
        assert choose_source(everything, wanted, "layer4", mirrored=True) == wanted
    gap = write_cache(tmp_path / "gap.zarr", features=("gap",))
    assert choose_source(gap, "auto", "layer4") == choose_source(gap, "auto", "all") == "videos"
    maps = write_cache(tmp_path / "maps.zarr")  # not of mirrored crops
    assert choose_source(maps, "auto", "layer4") == "maps"
    assert choose_source(maps, "auto", "layer4", mirrored=True) == "videos"


def test_what_a_cache_cannot_give_is_refused(tmp_path):
    plain = write_cache(tmp_path / "plain.zarr")
    kept = write_cache(tmp_path / "kept.zarr", crops=True)
    flipped = write_cache(tmp_path / "flipped.zarr", features=("gap",), flip=True)
    convert_cache(tmp_path / "flipped.zarr", tmp_path / "shared.zarr", share=True)
    shared = open_cache(tmp_path / "shared.zarr")
    mirrored, augments = {"mirrored": True}, {"augments": True}
    for cache, wanted, learns, options, message, remedy in (
        (
            shared,
            "auto",
            "layer4",
            {},
            "has no crops and no record of the sources of its clips",
            "est extract … --crops",
        ),
        (shared, "videos", "all", {}, "no record of the sources", "finetune.source=auto"),
        (shared, "crops", "all", {}, "has no crops", "est extract … --crops into a new cache"),
        (plain, "crops", "all", {}, "has no crops", "finetune.source=videos"),
        (flipped, "maps", "layer4", {}, r"has no maps of layer3\.", "--features gap,layer3 --flip adds them"),
        (plain, "maps", "layer4", mirrored, "no maps of layer3 of mirrored crops", "--features gap,layer3 --flip"),
        (kept, "maps", "layer4", augments, "cannot be moved, scaled or lit", "finetune.source=crops"),
    ):
        with pytest.raises(UsageError, match=message) as error:
            choose_source(cache, wanted, learns, **options)
        assert remedy in error.value.remedy


@pytest.mark.gpu
def test_on_a_gpu_maps_are_the_same(cache_path):
    cache = write_cache(cache_path, flip=True)
    here = ClipSet.for_tuning(cache, WHICH, "maps", mirrored=True)
    for residency in ("device", "pinned", "stream"):
        there = ClipSet.for_tuning(cache, WHICH, "maps", "cuda:0", mirrored=True, residency=residency)
        there.expect([(views(there, seed), None) for seed in range(5)])
        for seed in range(6):
            expected, found = here.take(views(here, seed)), there.take(views(there, seed))
            assert found.rows.device.type == found.place.device.type == "cuda"
            assert torch.equal(found.rows.cpu(), expected.rows)
            assert torch.equal(found.place.cpu(), expected.place)
