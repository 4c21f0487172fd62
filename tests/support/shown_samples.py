"""Caches whose clips can be looked at: videos in every orientation whose corners tell which way is up, boxes around whole pictures."""

from __future__ import annotations

import numpy as np
from video_samples import ALL_ORIENTATIONS, display_matrix, make_video, picture, stored

from est.cache import CacheWriter, Clip, Failure, FeatureRecipe, FramesRecipe, Recipes
from est.cache.sources import source_of
from est.crops.crop import crop_face
from est.crops.jpeg import encode_crop
from est.extract.video.source import open_source

SIDE, FRAMES = 64, 5
STATES = np.array([1, 2, 1, 0, 2], np.uint8)


def shown_clip(path, clip_id, *, crops=False, moved=0.0, **fields):
    """Return the clip of a video: its frames 0 and 2 detected, 1 and 4 interpolated, 3 without a face."""
    with open_source(path, "video") as video:
        frames = list(video.frames())
        info = video.info
    box = np.tile(np.array([0, 0, SIDE, SIDE], np.float32), (FRAMES, 1))
    box[2:] += moved * SIDE
    box[STATES == 0] = np.nan
    points = np.tile(np.array([[20, 24], [44, 24], [32, 36], [24, 48], [40, 48]], np.float32), (FRAMES, 1, 1))
    points[STATES == 0] = np.nan
    jpegs = [
        encode_crop(crop_face(frame, box[n], points[n], align="box", margin=0.0, size=SIDE)[0]) if STATES[n] else b""
        for n, (frame, _) in enumerate(frames)
    ]
    return Clip(
        id=clip_id,
        path=str(path),
        label="fear",
        subject="s1",
        split="train",
        fps=25.0,
        size=info.size,
        rotation=info.rotation,
        mirrored=info.mirrored,
        declared=info.declared,
        source=source_of(path),
        state=STATES,
        time=np.array([moment for _, moment in frames]),
        box=box,
        landmarks=points,
        score=np.where(STATES == 0, np.nan, 0.9).astype(np.float32),
        features={"gap": np.where(STATES[:, None] == 0, 0, np.ones((FRAMES, 4))).astype(np.float16)},
        crops=jpegs if crops else None,
        **fields,
    )


def shown_cache(folder, name="shown.zarr", *, crops=False, orientations=ALL_ORIENTATIONS, failures=(), **fields):
    """Write a cache with a video of each orientation; return its path."""
    parent = FramesRecipe(decoder="opencv", detector="retinaface", size=SIDE, crops="jpeg 95" if crops else "")
    gap = FeatureRecipe(parent=parent.fingerprint, backbone="resnet18", weights="random", shape=(4,))
    recipes = Recipes(frames=parent, features={"gap": gap})
    with CacheWriter.open(folder / name, recipes, labels=("fear", "joy"), crops=crops) as writer:
        for rotation, mirrored in orientations:
            clip_id = f"turned {rotation}{' mirrored' if mirrored else ''}"
            pictures = [stored(picture(n, (SIDE, SIDE)), rotation, mirrored) for n in range(FRAMES)]
            video = folder / f"{clip_id}.mp4"
            if not video.exists():
                make_video(video, pictures, matrix=display_matrix(rotation, mirrored))
            writer.add(shown_clip(video, clip_id, crops=crops, **fields))
        for number, (stage, error) in enumerate(failures):
            writer.fail(Failure(id=f"lost {number}", path=f"/lost/{number}.mp4", stage=stage, error=error, label="joy"))
    return folder / name
