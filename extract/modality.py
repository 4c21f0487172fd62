"""What a clip's rows are made from: face crops of its frames, or the flow from its onset. Whoever extracts knows it by this interface.

Clip workers make the pictures (`workers/clip_worker`, `workers/flow_task`); recipes say which they are (`extraction.recipes_of`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from ..cache.schema import MOMENTS, ColumnSpec
from ..errors import UsageError
from ..inputs.input import Input
from .config import ExtractConfig
from .flow.columns import COLUMNS
from .flow.pictures import MIRRORED, PLAIN
from .flow.selection import APEX, ONSETS, Moments
from .workers.device_worker import FLIP, Encoding


class Modality(Protocol):
    """What extraction asks of it."""

    columns: Mapping[str, ColumnSpec]  # of the clip table, which it fills
    encoding: Encoding  # what a device worker makes of its pictures

    def expect_inputs(self, inputs: Sequence[Input]) -> None:
        """Refuse inputs of which none can give rows, before anything is loaded."""
        ...

    def problem(self, source: Input) -> str:
        """Say why an input cannot give rows, as far as that is known before a frame is decoded; empty where nothing is."""
        ...

    def is_outdated(self, source: Input, cells: Mapping[str, Any]) -> bool:
        """Say whether the rows of a clip that is there would be others by what is told of it now; `cells` are those of its columns."""
        ...

    def told(self, source: Input) -> dict[str, Any]:
        """Return what is told of a clip beside its label, subject, split and fold, and can be brought up to date without extracting it."""
        ...

    def place_of(self, name: str, number: int) -> tuple[int, str]:
        """Return the track whose pictures give the rows of an array, for the face of that number, and what the device worker calls them."""
        ...


class Faces:
    """A face crop of every frame."""

    columns: Mapping[str, ColumnSpec] = {}
    encoding = Encoding()

    def expect_inputs(self, inputs: Sequence[Input]) -> None:
        """Take any."""

    def problem(self, source: Input) -> str:
        """Any can show a face."""
        return ""

    def is_outdated(self, source: Input, cells: Mapping[str, Any]) -> bool:
        """Rows depend on the file alone."""
        return False

    def told(self, source: Input) -> dict[str, Any]:
        """Return moments and extra columns."""
        return source.told

    def place_of(self, name: str, number: int) -> tuple[int, str]:
        """Each face is a track, and device workers mirror its crops."""
        return number, name


class Flow:
    """The flow from the onset frame to eleven later ones, coloured; mirrored before it is coloured, and so by clip workers."""

    columns = COLUMNS

    def __init__(self, config: ExtractConfig) -> None:
        self._frames = config.flow_frames
        self.encoding = Encoding(names=config.encoded)

    def expect_inputs(self, inputs: Sequence[Input]) -> None:
        """Refuse a list without the moments that are needed; single clips without them fail by themselves."""
        if self._frames == "whole" or not inputs:
            return
        for name, remedy in (("onset", ONSETS), ("apex", APEX)):
            if all(getattr(source, name) < 0 for source in inputs):
                raise UsageError(
                    f"--modality flow compares a clip's onset frame with frames around its apex, and of none of {len(inputs)} inputs the "
                    f"{name} is known.",
                    remedy=f"{remedy}; or --flow-frames whole, which needs no apex, and takes the first frame where no onset is known",
                )

    def problem(self, source: Input) -> str:
        """Say which moment is not told, or cannot be."""
        return Moments(onset=source.onset, apex=source.apex).problem(self._frames)

    def is_outdated(self, source: Input, cells: Mapping[str, Any]) -> bool:
        """Say whether the clip has rows of another onset or apex than it is told to have."""
        told = Moments(onset=source.onset, apex=source.apex)
        apex = told.apex >= 0 and self._frames == "apex" and told.apex != int(cells["flow_apex"])
        return apex or (told.onset >= 0 and told.onset != int(cells["flow_onset"]))

    def told(self, source: Input) -> dict[str, Any]:
        """Leave out moments: they are frames of the source, and the clip has eleven rows."""
        return {name: value for name, value in source.told.items() if name not in MOMENTS}

    def place_of(self, name: str, number: int) -> tuple[int, str]:
        """Pictures of mirrored flow come as a track of their own."""
        return (MIRRORED, name.removesuffix(FLIP)) if name.endswith(FLIP) else (PLAIN, name)


def modality_of(config: ExtractConfig) -> Modality:
    """Return what a configuration asks for."""
    return Flow(config) if config.modality == "flow" else Faces()
