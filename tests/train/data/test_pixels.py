"""Pictures for a backbone that learns: those that the cache's features were made of, whoever decodes them and wherever from."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from extract_samples import QUICK, extract, make_pile

from est.cache import convert_cache, open_cache
from est.crops.jpeg import decode_crop
from est.encoders.encoder import Encoder
from est.encoders.weights import load_weights
from est.errors import CacheDamaged, CacheError, UsageError
from est.extract.workers.device_worker import CROP_BATCH
from est.train.config.sampling import SamplingConfig
from est.train.data import pixels
from est.train.data.clipset import ClipSet
from est.train.data.pixels import CutCrops, augmented
from est.train.data.rows import ClipRows
from est.train.data.snippets import SnippetSampler
from est.train.models.batch_frames import BatchFrames

CPU = torch.device("cpu")
SIDE = QUICK.size
SHIFT = torch.tensor([[3 / SIDE, -5 / SIDE, 1.0, 1.0]])


@pytest.fixture(scope="module")
def pile(tmp_path_factory) -> Path:
    return make_pile(tmp_path_factory.mktemp("pile"))


@pytest.fixture(scope="module")
def kept(pile, tmp_path_factory) -> Path:
    """A cache with crops and maps, of mirrored crops too."""
    path = tmp_path_factory.mktemp("kept") / "kept.zarr"
    assert extract(pile, path, crops=True, features=("gap", "layer3"), flip=True, workers=1).clips == 5
    return path


@pytest.fixture(scope="module")
def bare(pile, tmp_path_factory) -> Path:
    """A cache of the same clips without crops, of the first backbone's features alone."""
    path = tmp_path_factory.mktemp("bare") / "bare.h5"
    assert extract(pile, path, flip=True, workers=1).clips == 5
    return path


def tuning_set(path, source, which=None, **settings):
    cache = open_cache(path)
    which = range(len(cache)) if which is None else which
    return ClipSet.for_tuning(cache, which, source, **{"mirrored": True, "workers": 2, **settings})


def every_frame(clips, place, *, mirrored=False):
    """Return the index of all frames of a clip.  # (1, 1, J)"""
    positions = torch.arange(int(clips.count[place])).view(1, 1, -1)
    return clips.index(torch.tensor([place]), positions, array=torch.tensor([mirrored]))


def views(clips, seed=0, batch=6):
    """Return the rows of a batch of training views, some clips twice and every second one mirrored.  # (B, 3, 4)"""
    generator = torch.Generator().manual_seed(seed)
    places = torch.randint(len(clips), (batch,), generator=generator)
    positions = SnippetSampler(SamplingConfig(), 3, 4).train(clips.count[places], generator)
    return clips.index(places, positions, array=torch.arange(batch) % 2 == 1)


def looks(batch, seed=0):
    drawn = torch.rand(batch, 4, generator=torch.Generator().manual_seed(seed)) - 0.5
    return torch.tensor([0.1, 0.1, 0.1, 0.4]) * drawn + torch.tensor([0.0, 0.0, 1.0, 1.0])


def shown(frames):
    """Return the picture or map of every place.  # (B, n, J, …)"""
    assert isinstance(frames, BatchFrames)
    return frames.rows[frames.place]


def stored_pictures(cache, place):
    """Return a clip's crops as extraction has seen them.  # (frames, S, S, 3) RGB"""
    black = np.zeros((SIDE, SIDE, 3), np.uint8)
    return np.stack([decode_crop(jpeg)[..., ::-1] if jpeg else black for jpeg in cache.crops(place)])


# --- pictures are those that the features were made of ---


def test_stored_crops_are_what_is_seen(kept):
    cache = open_cache(kept)
    clips = tuning_set(kept, "crops", no_face="keep")
    for place, clip_id in enumerate(cache.ids):
        expected = stored_pictures(cache, place)
        frames = clips.take(every_frame(clips, place))
        assert frames.rows.dtype == torch.uint8
        assert frames.rows.is_contiguous()
        np.testing.assert_array_equal(shown(frames)[0, 0].numpy(), expected, err_msg=clip_id)
        mirrored = shown(clips.take(every_frame(clips, place, mirrored=True)))[0, 0]
        np.testing.assert_array_equal(mirrored.numpy(), expected[:, :, ::-1], err_msg=clip_id)
        assert expected.any() == (clip_id != "grey")


@pytest.mark.parametrize("name", ["bare", "kept"])
def test_features_of_the_pictures_are_those_in_the_cache(name, request):
    path = request.getfixturevalue(name)
    cache = open_cache(path)
    backbone = load_weights(QUICK.weights).backbone
    encoder = Encoder(backbone, ("gap",), device=CPU, precision="fp32", batch=CROP_BATCH["cpu"])
    clips = tuning_set(path, "crops" if cache.has_crops else "videos", no_face="keep")
    for place in range(len(cache)):
        clip = cache.clip(place)
        seen = np.flatnonzero(clip.mask)
        for feature in ("gap", "gap_flip"):
            index = every_frame(clips, place, mirrored=feature == "gap_flip")
            pictures = shown(clips.take(index))[0, 0].numpy()[seen]
            for begin in range(0, len(seen), encoder.batch):
                found = encoder.encode(pictures[begin : begin + encoder.batch])["gap"].astype(np.float16)
                expected = clip.features[feature][seen[begin : begin + encoder.batch]]
                np.testing.assert_array_equal(found, expected, err_msg=f"{clip.id} {feature}")


def test_pictures_that_were_kept_once_are_cut_as_they_were_kept(kept, tmp_path):
    convert_cache(kept, tmp_path / "less.h5", crops=False)
    here, there = tuning_set(kept, "crops"), tuning_set(tmp_path / "less.h5", "videos")
    index = views(here)
    assert torch.equal(shown(here.take(index)), shown(there.take(index)))


@pytest.mark.parametrize(("name", "source"), [("kept", "crops"), ("bare", "videos")])
def test_the_same_bytes_whoever_decodes_and_however_far_ahead(name, source, request):
    path = request.getfixturevalue(name)
    before = cv2.getNumThreads()
    asked = None
    expected = []
    try:
        for workers, threads, ahead in ((1, 1, False), (1, 2, True), (2, 1, True), (5, 2, False)):
            cv2.setNumThreads(threads)
            clips = tuning_set(path, source, workers=workers)
            asked = asked or [(views(clips, seed), looks(6, seed) if seed % 2 else None) for seed in range(5)]
            if ahead:
                clips.expect(asked)
            found = [clips.take(index, augmentation) for index, augmentation in asked]
            bytes_ = [(frames.rows.numpy().tobytes(), frames.place.numpy().tobytes()) for frames in found]
            expected = expected or bytes_
            assert bytes_ == expected
            assert clips.waited > 0
    finally:
        cv2.setNumThreads(before)
    assert len({rows for rows, _ in expected}) == 5


def test_each_different_frame_comes_once(kept):
    clips = tuning_set(kept, "crops")
    index = views(clips, batch=8)
    plain = clips.take(index)
    assert len(plain.rows) == len(index.unique())
    looked = clips.take(index, looks(8))
    assert len(looked.rows) == sum(len(view.unique()) for view in index)  # no clip's look is another's
    for frames in (plain, looked):
        assert frames.place.shape == index.shape
        assert torch.equal(frames.place.unique(), torch.arange(len(frames.rows)))


def test_frames_without_a_face_show_the_nearest_or_are_black(kept):
    cache = open_cache(kept)
    nearest, keep = (tuning_set(kept, "crops", no_face=policy) for policy in ("nearest", "keep"))
    for place in range(len(cache)):
        mask = torch.from_numpy(cache.clip(place).mask)
        assert not shown(keep.take(every_frame(keep, place)))[0, 0][~mask].any()
        instead = shown(nearest.take(every_frame(nearest, place)))[0, 0]
        assert bool(instead.flatten(1).any(1).all()) == bool(mask.any())
    assert nearest.has_face.tolist() == [clip_id != "grey" for clip_id in cache.ids]


def test_a_set_for_tuning_knows_what_one_of_features_knows(kept):
    cache = open_cache(kept)
    which = [3, 0, 2]
    features = ClipSet.from_cache(cache, which, others=["gap_flip"])
    for source in ("crops", "videos", "maps"):
        clips = tuning_set(kept, source, which, shape=(96,))
        assert (clips.ids, clips.path, clips.labels) == (features.ids, features.path, features.labels)
        assert clips.count.tolist() == features.count.tolist()
        np.testing.assert_array_equal(clips.coverage, features.coverage)
        assert clips.width == 96  # of the encoder that will look at them
        assert torch.equal(views(clips), views(features))
        with pytest.raises(AssertionError, match="no features"):
            clips.statistics(torch.tensor([0]))
    assert tuning_set(kept, "crops").residency.endswith("kept.zarr, decoded by 2 threads, 3 batches ahead")
    assert "cut again from their sources, decoded by 1 thread," in tuning_set(kept, "videos", workers=1).residency
    with pytest.raises(UsageError, match=r"Pictures are decoded batch by batch.*found data.residency = device"):
        tuning_set(kept, "crops", residency="device")


def test_a_clip_is_looked_at_in_one_way(kept):
    clips = tuning_set(kept, "crops")
    index = views(clips, batch=6)
    plain, seen = shown(clips.take(index)), looks(6)
    for clip, (pictures, found) in enumerate(zip(plain, shown(clips.take(index, seen)), strict=True)):
        for before, after in zip(pictures.flatten(0, 1).numpy(), found.flatten(0, 1).numpy(), strict=True):
            # The colours' order does not matter to a look, and a mirrored picture is mirrored already.
            expected = augmented(before, seen[clip].double().numpy(), mirrored=False)
            assert np.abs(after.astype(int) - expected).max() <= (1 if clip % 2 == 0 else 2)
    alone = clips.take(index[2:3], seen[2:3])
    assert torch.equal(shown(alone)[0], shown(clips.take(index, seen))[2])
    moved = clips.take(index[:1], SHIFT)
    assert torch.equal(shown(moved)[0, :, :, :-5, 3:], plain[0, :, :, 5:, :-3])


# --- sources ---


@contextmanager
def gone(path):
    """Take a file or folder away for a while."""
    away = path.rename(path.with_name(f"{path.name}.away"))
    try:
        yield
    finally:
        if path.is_file():
            path.unlink()
        away.rename(path)


def test_sources_that_are_not_what_they_were_are_refused_by_name(pile, bare, tmp_path):
    video, pictures = pile.parent / "whole.mp4", pile.parent / "pictures"
    whole = video.read_bytes()
    with gone(video), gone(pictures):
        video.write_bytes(whole[:-100])
        with pytest.raises(CacheError, match=r"3 of 5 clips of .* cannot be cut again") as error:
            tuning_set(bare, "videos")
        assert (
            f"whole: its source {video} has {len(whole) - 100:,} bytes, and had {len(whole):,}" in error.value.message
        )
        assert "whole#0.41-0.95: its source" in error.value.message
        assert f"pictures: its source {pictures} cannot be read" in error.value.message
        assert "--crops" in error.value.remedy
        # Those of clips that are not used may be gone.
        ids = open_cache(bare).ids
        clips = tuning_set(bare, "videos", [ids.index("turned"), ids.index("grey")])
        assert clips.take(every_frame(clips, 0)).rows.any()
    convert_cache(bare, tmp_path / "shared.zarr", share=True)
    with pytest.raises(CacheError, match="its source is not known"):
        tuning_set(tmp_path / "shared.zarr", "videos")


def test_a_source_that_changes_meanwhile_is_named_where_its_clip_is_taken(pile, bare):
    clips = tuning_set(bare, "videos")
    names = ("turned", "pictures", "turned")
    asked = [(every_frame(clips, clips.ids.index(name)), None) for name in names]
    last = pile.parent / "pictures" / "8.bmp"
    with gone(last):  # as many bytes in the folder, and one frame less
        clips.expect(asked)
        assert clips.take(*asked[0]).rows.any()
        with pytest.raises(CacheError, match=r"crops of clip 'pictures' .*: it has 8 frames now, and had 9") as error:
            clips.take(*asked[1])
        assert "--crops" in error.value.remedy
        assert clips.take(*asked[2]).rows.any()


@pytest.fixture
def decoded(monkeypatch) -> Counter[str]:
    """Count how often each clip is decoded."""
    found = Counter[str]()
    cut = pixels.cut_again

    def counted(stored, clip, path):
        found[clip.id] += 1
        return cut(stored, clip, path)

    monkeypatch.setattr(pixels, "cut_again", counted)
    return found


def every_clip(path):
    cache = open_cache(path)
    return ClipRows(cache=cache, start=np.asarray(cache.clips.start), count=np.asarray(cache.clips.count))


def test_crops_of_videos_are_kept_within_bounds(bare, decoded, monkeypatch):
    clips = every_clip(bare)
    expected = {}
    longest = 30 * SIDE * SIDE * 3
    for max_bytes in (10**9, pixels.KEPT_AT_LEAST * longest, 3 * longest, 0):
        decoded.clear()
        monkeypatch.setattr(pixels, "free_memory", lambda device: 10**12)
        pictures = CutCrops(clips, max_bytes=max_bytes)
        for _ in range(2):
            for place in range(len(clips.count)):
                rows = clips.first[place] + np.arange(0, clips.count[place], 2)
                found = np.stack(list(pictures.bring(rows)))
                np.testing.assert_array_equal(found, expected.setdefault(place, found))
                assert pictures._kept_bytes == sum(crops.nbytes for crops in pictures._kept.values()) <= max_bytes
        times = 1 if max_bytes >= pixels.KEPT_AT_LEAST * longest else 2
        assert decoded["whole"] == times
        assert decoded["pictures"] == (2 if max_bytes == 0 else 1)
        assert decoded["grey"] == 0  # nothing of it is looked at
    monkeypatch.setattr(pixels, "free_memory", lambda device: 1000)
    assert CutCrops(clips)._max_bytes == 600


def test_crops_that_were_used_longest_ago_go_first(bare, decoded, monkeypatch):
    monkeypatch.setattr(pixels, "KEPT_AT_LEAST", 1)
    clips = every_clip(bare)
    pictures = CutCrops(clips, max_bytes=25 * SIDE * SIDE * 3)  # frames
    count = {"pictures": 9, "turned": 12, "whole#0.41-0.95": 13}
    for name, times in (
        ("pictures", 1),
        ("turned", 1),
        ("pictures", 1),
        ("whole#0.41-0.95", 1),  # and `turned` goes
        ("pictures", 1),
        ("turned", 2),
    ):
        place = clips.cache.ids.index(name)
        assert len(list(pictures.bring(clips.first[place] + np.arange(count[name])))) == count[name]
        assert decoded[name] == times
        assert pictures._kept_bytes <= pictures._max_bytes


def test_a_damaged_crop_is_named(kept, tmp_path, monkeypatch):
    cache = open_cache(kept)
    bad = int(cache.clips.start[cache.ids.index("turned")]) + 5
    read = type(cache).crop_rows

    def damaged(self, start, stop):
        data, offsets = read(self, start, stop)
        if start <= bad < stop:
            begin = offsets[bad - start] - offsets[0]
            data[begin : begin + 8] = 0
        return data, offsets

    monkeypatch.setattr(type(cache), "crop_rows", damaged)
    clips = tuning_set(kept, "crops")
    index = every_frame(clips, clips.ids.index("turned"))
    clips.expect([(index, None)])
    with pytest.raises(CacheDamaged, match="crop of clip 'turned', frame 5, does not match its checksum") as error:
        clips.take(index)
    assert error.value.remedy == f"est cache verify {kept}"
    assert clips.take(index[..., :5]).rows.any()
    # The right size is part of it.
    monkeypatch.setattr(pixels, "decode_crop", lambda data: np.zeros((SIDE, SIDE - 1, 3), np.uint8))
    with pytest.raises(CacheDamaged, match=f"It is {SIDE - 1}×{SIDE}, and not {SIDE}×{SIDE}"):
        clips.take(index)
