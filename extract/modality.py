"""What a clip's rows are made from: face crops of its frames, or the flow from its onset. The extraction uses this interface.

Clip workers make the pictures (`workers/clip_worker`, `workers/flow_task`); recipes say which they are (`extraction.recipes_of`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from ..cache.schema import MOMENTS, ColumnSpec
from ..errors import UsageError
from ..inputs.input import Input
from .config import ExtractConfig
from .flow.columns import COLUMNS, chosen_by
from .flow.pictures import MIRRORED, PLAIN
from .flow.selection import APEX, ONSETS, FlowFrames, Moments
from .workers.device_worker import FLIP, Encoding


class Modality(Protocol):
    """What extraction asks of it."""

    columns: Mapping[str, ColumnSpec]  # of the clip table, which it fills
    encoding: Encoding  # what a device worker makes of its pictures

    def expect_inputs(self, inputs: Sequence[Input], *, are_all: bool = True) -> list[str]:
        """Refuse inputs of which none can give rows, before anything is loaded; return what to know of the others."""
        ...

    def problem(self, source: Input) -> str:
        """Return why an input cannot give rows, as far as that is known before a frame is decoded; empty where nothing is."""
        ...

    def is_outdated(self, source: Input, cells: Mapping[str, Any]) -> bool:
        """Return whether the rows of a clip that is there would be others by what is told of it now; `cells` are those of its columns."""
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

    def expect_inputs(self, inputs: Sequence[Input], *, are_all: bool = True) -> list[str]:
        """Take any."""
        return []

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
        self._frames: FlowFrames = config.flow_frames
        self._told: set[str] = set()  # moments of which inputs tell some
        self.encoding = Encoding(names=config.encoded)

    def expect_inputs(self, inputs: Sequence[Input], *, are_all: bool = True) -> list[str]:
        """Refuse a list without the moments that are needed, and count the clips without them, which fail or have other frames."""
        self._told = {name for name in ("onset", "apex") if any(getattr(source, name) >= 0 for source in inputs)}
        if self._frames == "whole" or not inputs:
            return []
        for name, remedy in (("onset", ONSETS), ("apex", APEX)) if self._frames == "apex" else ():
            if name not in self._told and are_all:  # of a part others may tell some
                raise UsageError(
                    "--modality flow compares a clip's onset frame with frames around its apex, and of none of "
                    f"{len(inputs)} inputs the {name} is known.",
                    remedy=f"{remedy}; or --flow-frames whole, which needs no apex, and takes the first frame where no onset is known",
                )
        return lacking(inputs, self._frames)

    def problem(self, source: Input) -> str:
        """Return which moment is not told, or cannot be."""
        moments = Moments(onset=source.onset, apex=source.apex)
        return moments.problem(moments.rule(self._frames))

    def is_outdated(self, source: Input, cells: Mapping[str, Any]) -> bool:
        """Return whether the clip would have rows by another onset or apex; inputs of which none tells a moment take back none."""
        moments = Moments(onset=source.onset, apex=source.apex)
        now = chosen_by(moments, moments.rule(self._frames))
        return any(
            now[f"flow_{name}"] != int(cells[f"flow_{name}"]) for name in ("onset", "apex") if name in self._told
        )

    def told(self, source: Input) -> dict[str, Any]:
        """Leave out moments: they are frames of the source, and the clip has eleven rows."""
        return {name: value for name, value in source.told.items() if name not in MOMENTS}

    def place_of(self, name: str, number: int) -> tuple[int, str]:
        """Pictures of mirrored flow come as a track of their own."""
        return (MIRRORED, name.removesuffix(FLIP)) if name.endswith(FLIP) else (PLAIN, name)


def lacking(inputs: Sequence[Input], frames: FlowFrames) -> list[str]:
    """Return how many inputs have no onset or no apex, of which databases, and what becomes of them."""
    bare = [source for source in inputs if source.onset < 0 or source.apex < 0]
    if not bare:
        return []
    names = Counter(str(source.extra.get("database") or "") for source in bare)
    of = ", ".join(f"{name} {count}" for name, count in names.most_common() if name)
    count = f"{len(bare)} of {len(inputs)} clips have no annotated onset or apex{f' ({of})' if of else ''}"
    if frames == "auto":
        return [f"{count}: their frames are taken evenly over the whole clip."]
    return [
        f"{count}: they fail, and count as wrong in scores. Try: --flow-frames auto, which takes their frames evenly "
        f"over the whole clip."
    ]


def modality_of(config: ExtractConfig) -> Modality:
    """Return what a configuration asks for."""
    return Flow(config) if config.modality == "flow" else Faces()
