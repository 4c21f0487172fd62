"""What `est cache duplicates --near` finds: rendered clips encoded again in five ways, and different clips, by its measure.

Different clips of one person have different expressions here (one of each class a person); "other, same class" are of other people.
"""

from __future__ import annotations

import argparse
import tempfile
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from _machine import machine

from est.cache import open_cache
from est.cache.reading.duplicates import ClipList
from est.cache.reading.near_duplicates import SIMILARITY, course_similarity, whiten
from est.demo.renderset import render_set
from est.demo.spec import RenderSpec
from est.extract.config import ExtractConfig
from est.extract.extraction import extract_videos
from est.inputs.input import find_inputs

WAYS = {  # of encoding again: x264's quality (larger is worse), size, first frame, every how many frames, brightness
    "brighter": {"crf": 30, "gain": 1.15},
    "10 frames cut off": {"crf": 30, "first": 10},
    "half the frame rate": {"crf": 30, "step": 2},
    "half the size": {"crf": 28, "scale": 0.5},
    "lowest quality": {"crf": 40},
}


def encode(
    source: Path, out: Path, *, crf: int, scale: float = 1, first: int = 0, step: int = 1, gain: float = 1
) -> None:
    """Decode a video and encode it again."""
    reader, frames = cv2.VideoCapture(str(source)), []
    while (found := reader.read())[0]:
        frames.append(found[1])
    height, width = (int(side * scale) // 2 * 2 for side in frames[0].shape[:2])
    out.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(out), "w") as file:
        stream = file.add_stream("libx264", rate=Fraction(25, step))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.options = {"crf": str(crf), "preset": "ultrafast"}
        for frame in frames[first::step]:
            picture = cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA)
            bright = np.ascontiguousarray(np.clip(picture * gain, 0, 255).astype(np.uint8))
            file.mux(stream.encode(av.VideoFrame.from_ndarray(bright, format="bgr24")))
        file.mux(stream.encode())


def measure(path: Path, feature: str = "gap") -> dict[str, np.ndarray]:
    """Return the similarities of all pairs of clips, by what they are to each other: of their means, and of their courses."""
    cache = open_cache(path)
    looks = whiten(ClipList.of([cache]), feature)
    rows, cosines = looks.rows.tolist(), looks.means @ looks.means.T
    courses = [looks.course(row) for row in rows]
    found: dict[str, list[tuple[float, float]]] = {}
    for one in range(len(rows)):
        for other in range(one + 1, len(rows)):
            kind = _kind(cache.ids[rows[one]], cache.ids[rows[other]])
            if kind is not None:
                alike = course_similarity(*courses[one], *courses[other])
                found.setdefault(kind, []).append((float(cosines[one, other]), alike))
    return {kind: np.array(pairs) for kind, pairs in found.items()}


def _kind(one: str, other: str) -> str | None:
    ways = [clip_id.split("/")[0] if clip_id.count("/") == 2 else "" for clip_id in (one, other)]
    clips = ["/".join(clip_id.split("/")[-2:]) for clip_id in (one, other)]
    if clips[0] == clips[1]:
        return None if all(ways) else f"copy: {''.join(ways)}"  # two copies are no pair of their own
    if any(ways):
        return None
    (label, name), (other_label, other_name) = (clip.split("/") for clip in clips)
    if name.split("_")[0] == other_name.split("_")[0]:
        return "same person, other clip"
    return "other person, same class" if label == other_label else "other person, other class"


def main() -> None:
    """Render, encode again, extract, compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--subjects", type=int, default=6)
    parser.add_argument("--weights", default="synface")
    parser.add_argument("--folder", type=Path, help="where the videos and the cache stay")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        originals, copies = folder / "set", folder / "copies"
        if not originals.exists():
            spec = RenderSpec(subjects=options.subjects, clips_per_subject=6, seed=71, size=(480, 360), frames=(30, 60))
            for plan in render_set(spec, originals, workers=1)[::3]:
                for way, settings in WAYS.items():
                    encode(originals / plan.path, copies / way / plan.path, **settings)
        out = folder / f"{options.weights}.zarr"
        extract_videos(find_inputs([originals, copies]), out, ExtractConfig(weights=options.weights, workers=1))
        print(machine())
        print(f"{'pairs':28} {'n':>5}   mean: least median most   course: least median most   found at {SIMILARITY}")
        for kind, pairs in sorted(measure(out).items()):
            least, median, most = np.quantile(pairs, [0, 0.5, 1], axis=0)
            share = (pairs >= SIMILARITY).all(axis=1).mean()
            print(
                f"{kind:28} {len(pairs):5}   "
                + "         ".join(f"{least[k]:5.2f} {median[k]:5.2f} {most[k]:5.2f}" for k in (0, 1))
                + f"   {share:7.1%}"
            )


if __name__ == "__main__":
    main()
