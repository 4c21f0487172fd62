"""Crops of a cache on a GPU. A file of its own: machines with a GPU may lack PyAV, which makes the videos of other tests."""

from __future__ import annotations

import cv2
import pytest
import torch

from est.cache import open_cache
from est.demo.clip import Clip
from est.demo.spec import RenderSpec, plan_set
from est.extract.config import ExtractConfig
from est.extract.extraction import extract_videos
from est.inputs.input import find_inputs
from est.train.config.sampling import SamplingConfig
from est.train.data.clipset import ClipSet
from est.train.data.snippets import SnippetSampler

LOOK = torch.tensor([0.0, 0.0, 1.0, 1.0])  # as pictures are


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A cache with crops, of three folders of pictures."""
    folder = tmp_path_factory.mktemp("kept")
    for plan in plan_set(RenderSpec(subjects=3, clips_per_subject=1, seed=3, size=(256, 192))):
        pictures = folder / "pictures" / plan.subject
        pictures.mkdir(parents=True)
        for number in range(9):
            cv2.imwrite(str(pictures / f"{number}.bmp"), Clip(plan).frame(number)[0])
    how = ExtractConfig(weights="random", size=64, workers=1, device="cpu", precision="fp32", crops=True, flip=True)
    assert extract_videos(find_inputs([folder / "pictures"]), folder / "kept.zarr", how).clips == 3
    return folder / "kept.zarr"


@pytest.mark.gpu
def test_on_a_gpu_pictures_are_the_same(kept):
    cache = open_cache(kept)
    here, there = (
        ClipSet.for_tuning(cache, range(3), "crops", device=device, mirrored=True, workers=2)
        for device in ("cpu", "cuda:0")
    )
    asked = []
    for seed in range(6):
        generator = torch.Generator().manual_seed(seed)
        places = torch.randint(len(here), (6,), generator=generator)
        positions = SnippetSampler(SamplingConfig(), 3, 4).train(here.count[places], generator)
        look = LOOK + torch.tensor([0.1, 0.1, 0.1, 0.4]) * (torch.rand(6, 4, generator=generator) - 0.5)
        asked.append((here.index(places, positions, array=torch.arange(6) % 2 == 1), look))
    there.expect(asked[:5])
    for index, augmentation in asked:
        expected, found = here.take(index, augmentation), there.take(index, augmentation)
        assert found.rows.device.type == found.place.device.type == "cuda"
        assert torch.equal(found.rows.cpu(), expected.rows)
        assert torch.equal(found.place.cpu(), expected.place)
