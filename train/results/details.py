"""What models show of their decisions about the clips that they tested: `details.npz` of each part, for pages and probes.

`est evaluate RUN` writes it, on the run's own clips as they are; reading needs no torch. Clips without a face have no row.

Legend: N clips, n snippets (or parts of a clip), J frames of each, D feature width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ...cache.arrayfile import UNREADABLE
from ...errors import EstError, brief, quoted
from ..runs.files import write_arrays
from ..runs.run import Run

DETAILS = "details.npz"
_OWN = ("ids", "shown", "pooled")


@dataclass(frozen=True, kw_only=True, eq=False)
class Details:
    """What the model of one part shows of its decisions."""

    ids: np.ndarray  # (N,) names of clips
    shown: np.ndarray  # (N, n, J) which frames of its clip it was shown, from 0
    pooled: np.ndarray  # (N, D) the mean of their features
    arrays: Mapping[
        str, np.ndarray
    ]  # by the names of train/models/contract.py: embedding (N, any), attention (N, heads, n), alpha (N, n, J)

    def save(self, run: Run, part: str) -> None:
        """Write it into the part's folder."""
        write_arrays(run.part(part) / DETAILS, ids=self.ids, shown=self.shown, pooled=self.pooled, **self.arrays)


def read_details(run: Run, part: str) -> Details | None:
    """Read what was written of a part; nothing where nothing was."""
    path = run.part(part) / DETAILS
    if not path.is_file():
        return None
    try:
        with open(path, "rb") as held, np.load(held, allow_pickle=False) as file:
            found = {name: file[name] for name in file.files}
        return Details(**{name: found.pop(name) for name in _OWN}, arrays=found)
    except UNREADABLE as error:
        raise EstError(
            f"{path} is damaged: {brief(error)}.", remedy=f"est evaluate {quoted(run.path)} writes it again"
        ) from error
