"""The flow of a clip of a cache once more, from its source: the same onset, the same frames, the same square.

That it is the same source is made sure of: its size and time of change, the size of its frames, and when each that is compared is shown.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ...cache.reading.reader import ClipFrames
from ...cache.recipe import FramesRecipe
from ..flow.pictures import fields_of
from ..flow.selection import neighbours
from ..flow.square import cut, grey
from ..video.source import open_source
from .task import StageError, Timed


def fields_again(
    clip: ClipFrames, row: dict[str, Any], recipe: FramesRecipe, path: Path, *, timed: Timed = iter
) -> Iterator[np.ndarray]:
    """Decode a clip's source and yield the field of each row; `row` is its row of the table.  # each (S, S, 2)"""
    places, reference = np.asarray(row["extra"]["flow_frames"], float), int(row["extra"]["flow_onset"])
    wanted = {frame for place in places.tolist() for frame, _ in neighbours(place)} | {reference}
    moments = {int(place): moment for place, moment in zip(places, clip.time, strict=True) if place == int(place)}
    square, decoder = clip.box[0], row.get("decoder")
    squares: dict[int, np.ndarray] = {}
    with open_source(
        path,
        "frames" if path.is_dir() else "video",
        decoder=decoder if decoder in ("opencv", "pyav") else recipe.decoder,
        sizes_may_differ=True,
    ) as video:
        number = video.info.first_frame - row["first_frame"]  # negative before the clip, of a segment
        for frame, moment in timed(video.frames()):
            if number in wanted:
                if (found := frame.shape[1::-1]) != (was := tuple(row["size"])):
                    raise StageError("decode", f"its frames are {found[0]}×{found[1]} now, and were {was[0]}×{was[1]}")
                if number in moments and moment != (told := moments[number]):
                    raise StageError(
                        "decode", f"its frame {number} is shown at {moment:.6f} s now, and was at {told:.6f}"
                    )
                squares[number] = grey(cut(frame, square))
            number += 1
            if len(squares) == len(wanted):
                break
    if lost := sorted(wanted - squares.keys()):
        raise StageError("decode", f"its frame {lost[0]} is not there now")
    yield from fields_of(squares[reference], squares, places)
