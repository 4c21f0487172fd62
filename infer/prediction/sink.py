"""A sink of the extraction's pipeline that predicts: rows come in as a cache would get them, windows go through the models, rows go.

Of a video the features of one face at a time are held, in one flat array: 1 kB a frame with 512 numbers in float16, 330 MB for three
hours at 30 frames a second; of models that read maps or crops 25 to 150 kB a frame. What is kept of a video is its timeline, about 50
bytes a frame.

Legend: F frames, D feature width, W windows, C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from ...cache import Clip, Failure
from ...cache.schema import NO_FACE, FeatureSpec
from ...errors import CacheError
from ...inputs.input import Input
from ...train.data.clipset import ClipSet
from ...train.data.rows import first_non_finite
from ...train.data.sampling import sampler_of
from ...train.loop.predict import predict_views
from .frame_times import frame_seconds
from .recipe import RunRecipe
from .track import FaceTrack, PredictedVideo
from .windows import Cutting, cut, spread

BATCH_ROWS = 8192  # of windows that are predicted together, at least one window;
BATCH_BYTES = 64 * 2**20  # and what these may take, of maps and crops


class PredictionSink:
    """Takes the tracks of one video after the other, and hands each video on when it is whole."""

    def __init__(
        self,
        recipe: RunRecipe,
        cutting: Cutting,
        inputs: Sequence[Input],
        done: Callable[[PredictedVideo], None],
    ) -> None:
        self._recipe, self._cutting, self._done = recipe, cutting, done
        self._inputs = {source.id: source for source in inputs}
        self._models = WindowModels(recipe)
        self._clip: Clip | None = None  # tells of the video in hand
        self._tracks: list[FaceTrack] = []

    @property
    def features(self) -> Mapping[str, FeatureSpec]:
        """The arrays that each clip is to have."""
        return self._recipe.specs

    def __contains__(self, clip_id: str) -> bool:
        return False

    def add(self, clip: Clip, *, replacing: bool) -> None:
        """Predict a track."""
        for name, rows in clip.features.items():
            seen = np.flatnonzero(clip.state != NO_FACE)
            if (
                rows.dtype != np.uint8
                and len(seen)
                and (bad := first_non_finite(rows[seen[0] : seen[-1] + 1])) is not None
            ):
                raise CacheError(
                    f"{name} of frame {bad + int(seen[0])} is NaN, infinite or too large for {rows.dtype}."
                )
        self._clip = replace(clip, features={}, crops=None)
        if (clip.state != NO_FACE).any():
            self._tracks.append(self._track(len(self._tracks) + 1, clip))

    def remove(self, clip_ids: Sequence[str]) -> None:
        """Forget clips: there are none."""

    def fail(self, failure: Failure) -> None:
        """Drop what an input gave before it failed."""
        self._clip, self._tracks = None, []

    def forget(self, clip_id: str) -> None:
        """Hand a video on: its last track has been added."""
        clip, source = self._clip, self._inputs[clip_id]
        assert clip is not None, "every input gives a clip, with or without a face"
        video = PredictedVideo(
            id=source.id,
            path=str(source.path),
            kind=source.kind,
            start=source.start,
            end=source.end,
            size=clip.size,
            fps=clip.fps,
            decoder=clip.decoder,
            missing=(clip.declared or clip.num_frames) - clip.num_frames,
            decode_errors=clip.decode_errors,
            num_bytes=clip.source.num_bytes,
            mtime_ns=clip.source.mtime_ns,
            time=clip.time,
            tracks=self._tracks,
        )
        self._clip, self._tracks = None, []
        self._done(video)

    def commit_if_due(self) -> None:
        """Keep nothing back: each video is handed on when it is whole."""

    def _track(self, number: int, clip: Clip) -> FaceTrack:
        windows = cut(clip.time, clip.state, self._cutting)
        found = self._models.predict(clip.features, windows, clip.state, clip.time)
        seen = np.flatnonzero(clip.state != NO_FACE)
        first, stop = int(seen[0]), int(seen[-1]) + 1
        within = np.clip(windows - first, 0, stop - first)
        frames = spread(found, within, clip.state[first:stop], clip.time[first:stop], self._cutting.smooth)
        faces = np.append(0, np.cumsum(clip.state != NO_FACE))
        return FaceTrack(
            number=number,
            first=first,
            state=clip.state[first:stop].copy(),
            box=clip.box[first:stop].copy(),
            probabilities=frames,
            windows=windows,
            window_probabilities=found,
            window_faces=(faces[windows[:, 1]] - faces[windows[:, 0]]) / np.diff(windows, axis=1)[:, 0],
        )


class WindowModels:
    """The models of a run, asked about windows of rows."""

    def __init__(self, recipe: RunRecipe) -> None:
        config = recipe.run.config
        self._recipe, self._sampler = recipe, sampler_of(config.sampling, config.model.shown)
        self._no_face = config.sampling.no_face

    def predict(
        self, rows: Mapping[str, np.ndarray], windows: np.ndarray, state: np.ndarray, time: np.ndarray
    ) -> np.ndarray:
        """Return the mean probabilities over the models; each window shows the face.  # name → (F, D), (W, 2), (F,), (F,) → (W, C)"""
        recipe = self._recipe
        found = np.zeros((len(windows), len(recipe.run.labels)))
        rate = 1 / max(frame_seconds(time), 1e-6)
        row_bytes = max(values[:1].nbytes for values in rows.values())
        for group in batches(windows, min(BATCH_ROWS, BATCH_BYTES // row_bytes)):
            picked = np.concatenate([np.arange(first, stop) for first, stop in windows[group].tolist()])
            count = np.diff(windows[group], axis=1)[:, 0]
            for name in {array.name for array in recipe.arrays}:
                clips = ClipSet.of_rows(
                    rows[name][picked],
                    count,
                    state[picked],
                    time[picked],
                    fps=rate,
                    device=recipe.devices[0],
                    no_face=self._no_face,
                )
                for part, model in recipe.models.items():
                    if recipe.reads[part].name == name:
                        shares, _ = predict_views(
                            model.on_features,
                            clips,
                            np.arange(len(count)),
                            self._sampler,
                            precision=recipe.run.facts["precision"],
                        )
                        found[group] += shares
        return (found / len(recipe.models)).astype(np.float32)


def batches(windows: np.ndarray, most: int = BATCH_ROWS) -> list[slice]:
    """Cut windows into groups of not too many rows.  # (W, 2)"""
    found: list[slice] = []
    begin = rows = 0
    for number, count in enumerate(np.diff(windows, axis=1)[:, 0].tolist()):
        if number > begin and rows + count > most:
            found.append(slice(begin, number))
            begin = number
            rows = 0
        rows += count
    return [*found, slice(begin, len(windows))] if len(windows) else []
