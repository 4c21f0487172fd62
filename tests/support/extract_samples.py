"""A pile of small inputs with a face in them, and everything a cache holds, to compare."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from video_samples import display_matrix, make_video, stored

from est.cache import open_cache
from est.cache.schema import FRAME_COLUMNS
from est.demo import RenderSpec, plan_set
from est.demo.clip import Clip
from est.extract.config import ExtractConfig
from est.extract.extraction import extract_videos
from est.inputs.input import find_inputs

QUICK = ExtractConfig(weights="random", size=64, workers=2, precision="fp32")
SPEC = RenderSpec(subjects=1, clips_per_subject=1, seed=3, size=(256, 192), fps=25)
LIST = """path;label;start;end
turned.mp4;sad;;
whole.mp4;happy;;
whole.mp4;happy;0.41;0.95
pictures;sad;;
grey;;;
"""


def face_frames(count: int, step: int = 1) -> list[np.ndarray]:
    """Return frames of a rendered face.  # (192, 256, 3) BGR"""
    studio = Clip(plan_set(SPEC)[0])
    return [studio.frame(number * step)[0] for number in range(count)]


def make_pile(folder: Path) -> Path:
    """Write two videos, one of them on its side, a folder of pictures, one without a face, and their list; return the list."""
    frames = face_frames(30)
    make_video(folder / "whole.mp4", frames, times=[40 * i + 7 * (i % 3) for i in range(30)])
    sideways = [stored(frame, 90, False) for frame in frames[:12]]
    make_video(folder / "turned.mp4", sideways, matrix=display_matrix(90, False))
    for name, pictures in {"pictures": frames[5:14], "grey": [np.full((96, 128, 3), 127, np.uint8)] * 3}.items():
        (folder / name).mkdir()
        for number, picture in enumerate(pictures):
            cv2.imwrite(str(folder / name / f"{number}.bmp"), picture)
    (folder / "list.csv").write_text(LIST)
    return folder / "list.csv"


def extract(source, out, config=QUICK, *, limit=None, watch=None, **changes):
    """Extract inputs with the quick settings, or with changed ones."""
    sources = [source] if isinstance(source, Path) else source
    config = replace(config, **changes)
    return extract_videos(find_inputs(sources, limit=limit), out, config, watch=watch)


def contents(path: Path) -> dict[str, np.ndarray]:
    """Return every array of a cache."""
    cache = open_cache(path)
    arrays = {name: cache.load(name).rows for name in cache.features}
    arrays |= {name: cache.load_column(name) for name in FRAME_COLUMNS}
    if cache.has_crops:
        arrays["crops"] = cache.crop_rows(0, cache.num_frames)[0]
    arrays |= {name: np.asarray(column) for name, column in cache.clips.columns.items()}
    return arrays | {"label": np.array(cache.clips.label_names)}


def assert_same(one: Path, two: Path, *, names=None) -> None:
    """Compare all arrays of two caches, or some, bit by bit."""
    a, b = contents(one), contents(two)
    assert a.keys() == b.keys() if names is None else set(names) <= a.keys() & b.keys()
    for name in a if names is None else names:
        assert a[name].dtype == b[name].dtype, name
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)
