"""The pipeline of new videos without a cache: whatever takes clips gets what a cache would hold."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from extract_samples import QUICK, extract, face_frames
from video_samples import make_video

from est.cache import Watch, open_cache
from est.cache.interrupt import Stop
from est.cache.schema import FRAME_COLUMNS, FeatureSpec
from est.encoders.engines.choice import choose_engine
from est.encoders.engines.preparation import prepare
from est.encoders.weights import load_weights
from est.extract.clip_pipeline import ClipPipeline
from est.extract.extraction import at_work
from est.extract.workers.device_worker import DeviceWorker
from est.inputs.input import find_inputs

CONFIG = replace(QUICK, size=32, workers=1, crops=True, flip=True)


class Kept(dict):
    """Clips by their ids, in memory."""

    def __init__(self, names):
        super().__init__()
        self.features = {name: FeatureSpec(dtype="float16", shape=(512,)) for name in names}
        self.failures = {}

    def add(self, clip, *, replacing):
        self[clip.id] = clip

    def remove(self, clip_ids):
        for clip_id in clip_ids:
            del self[clip_id]

    def fail(self, failure):
        self.failures[failure.id] = failure

    def forget(self, clip_id):
        self.failures.pop(clip_id, None)

    def commit_if_due(self):
        pass


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A video of a moving face, and what is no video."""
    folder = tmp_path_factory.mktemp("videos")
    make_video(folder / "face.mp4", face_frames(12))
    (folder / "text.mp4").write_text("no video")
    return folder


def run(folder, sink):
    """Run the pipeline alone."""
    cpu = torch.device("cpu")
    encoder = prepare(load_weights("random").backbone, CONFIG.size, choose_engine("torch", "fp32", cpu), print)
    device_worker = DeviceWorker(cpu, "fp32", CONFIG, [encoder])
    with at_work([device_worker]):
        pipeline = ClipPipeline(find_inputs([folder]).inputs, sink, [device_worker], CONFIG, 1, Stop())
        pipeline.run(Watch())
    return pipeline


def test_a_sink_gets_what_a_cache_holds(folder, tmp_path):
    sink = Kept(["gap", "gap_flip"])
    sink["face#1"] = None  # of an earlier run, which looked for every face
    pipeline = run(folder, sink)
    assert (pipeline.clips, pipeline.frames, pipeline.left) == (1, 12, 0)
    extract(folder, tmp_path / "cache.zarr", CONFIG)
    cache = open_cache(tmp_path / "cache.zarr")
    assert list(sink) == cache.ids == ["face"]
    kept, held = sink["face"], cache.clip("face")
    assert held.mask.all()
    assert kept.features.keys() == held.features.keys()
    for name, rows in held.features.items():
        np.testing.assert_array_equal(kept.features[name], rows, err_msg=name)
    for name in FRAME_COLUMNS:
        np.testing.assert_array_equal(getattr(kept, name), cache.load_column(name), err_msg=name)
    assert list(kept.crops) == list(cache.crops("face"))
    assert [failure.id for failure in cache.failures] == list(sink.failures) == ["text"]
    assert cache.failures[0] == sink.failures["text"]
