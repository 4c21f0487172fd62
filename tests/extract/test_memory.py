"""Memory does not grow with the length of a video. (Growth shows only after thousands of frames: what batches leave is refilled before.)"""

from __future__ import annotations

import json
import subprocess
import sys

import cv2
import numpy as np
import pytest

from est.cache.schema import NO_FACE, FeatureSpec
from est.extract.workers.row_buffer import BLOCK_BYTES, RowBuffer, rows_of_block

SCRIPT = """
import json, resource, sys
from pathlib import Path
from est.extract.config import ExtractConfig
from est.extract.extraction import extract_videos
from est.inputs.input import find_inputs
video, out = map(Path, sys.argv[1:])
report = extract_videos(find_inputs([video]), out, ExtractConfig(weights="random", detector="none", workers=1))
print(json.dumps([report.frames, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]))
"""


def test_rows_come_back_in_the_caches_type_whatever_the_order():
    specs = {"gap": FeatureSpec(dtype="float16", shape=(512,)), "map": FeatureSpec(dtype="float32", shape=(64, 56, 56))}
    rows = RowBuffer(specs)
    generator = np.random.default_rng(0)
    state = np.array([1, NO_FACE, 2, 1] * 3, np.uint8)
    wanted = {
        name: generator.normal(size=(2, len(state), *spec.shape)).astype(np.float32) for name, spec in specs.items()
    }
    places = [(track, frame) for track in (0, 1) for frame in np.flatnonzero(state != NO_FACE).tolist()]
    assert len(places) > rows_of_block(specs["map"])  # several blocks
    for track, frame in generator.permutation(places).tolist():
        rows.put(track, frame, {name: values[track, frame : frame + 1] for name, values in wanted.items()}, 0)
    for name, spec in specs.items():
        for track in (0, 1):
            found = rows.of_track(track, state, name)
            expected = np.where((state != NO_FACE).reshape(-1, *[1] * len(spec.shape)), wanted[name][track], 0)
            assert found.dtype == spec.dtype
            np.testing.assert_array_equal(found, expected.astype(spec.dtype))


def test_a_block_holds_at_least_one_row():
    assert rows_of_block(FeatureSpec(dtype="float16", shape=(512,))) == BLOCK_BYTES // 1024
    assert rows_of_block(FeatureSpec(dtype="float32", shape=(512, 56, 56))) == 1


@pytest.mark.slow
def test_memory_is_flat_over_the_length_of_a_video(tmp_path):
    picture = np.random.default_rng(0).integers(0, 255, (96, 96, 3), np.uint8)
    most = {}
    for length in (1_000, 8_000):
        path = tmp_path / f"{length}.mp4"
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 25, (96, 96))
        for number in range(length):
            writer.write(np.roll(picture, number, axis=1))
        writer.release()
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, str(path), str(tmp_path / f"{length}.zarr")],
            capture_output=True,
            text=True,
            check=True,
        )
        frames, most[length] = json.loads(done.stdout.splitlines()[-1])
        assert frames == length
    assert most[8_000] < most[1_000] + 250, most  # 160 kB a frame were 1,100 MB
