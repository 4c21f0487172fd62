"""Tracks travel from their first frame to their last, and become clips over all frames."""

from __future__ import annotations

import numpy as np
import pytest

from est.extract.faces.track import Track, TrackConfig, choose, select
from est.extract.workers.messages import TrackRows

COLUMNS = ("state", "box", "landmarks", "score")


def track(start, count, num_frames=40):
    rng = np.random.default_rng(start)
    return Track(
        num_frames=num_frames,
        start=start,
        scene=0,
        state=rng.integers(1, 3, count).astype(np.uint8),
        box=rng.random((count, 4)).astype(np.float32),
        landmarks=rng.random((count, 5, 2)).astype(np.float32),
        score=rng.random(count).astype(np.float32),
    )


@pytest.mark.parametrize(("start", "count"), [(0, 40), (0, 12), (28, 12), (7, 20)])
def test_rows_over_all_frames_are_those_of_the_whole_track(start, count):
    config = TrackConfig(face="all")
    (narrow,), (wide,) = select([track(start, count)], config), choose([track(start, count)], config)
    assert len(narrow.state) == count
    crops = [bytes([number + 1]) for number in range(count)]
    rows = TrackRows(start=narrow.start, **{name: getattr(narrow, name) for name in COLUMNS}, crops=crops).over(40)
    assert rows.start == 0
    for name in COLUMNS:
        mine, theirs = getattr(rows, name), getattr(wide, name)
        np.testing.assert_array_equal(mine, theirs, err_msg=name)
        assert mine.dtype == theirs.dtype
    assert rows.crops is not None
    assert [len(crop) for crop in rows.crops] == (wide.state > 0).astype(int).tolist()
    assert b"".join(rows.crops) == b"".join(crops)
