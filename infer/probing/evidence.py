"""Agreement of a measure with the planted evidence: the AUC of each clip, the mean over clips, and its interval over people.

The AUC of a clip is how often something that shows the planted expression has a higher value than something that does not: 0.5 is chance.

Legend: N clips, K things that are compared in a clip: windows, snippets, frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ...train.results.paired import compare_paired
from .windows import MOST

CHANCE = 0.5
SNIPPET = 0.4  # of its frames that show the planted expression: from there on a snippet is evidence; they overlap
MEASURES = {  # and what is compared in a clip
    "deletion": "windows: probability lost when the window's frames become the person's resting face",
    "deletion_held": "windows: probability lost when the window's frames become the frame before it",
    "insertion": "windows: probability gained when the window's frames come into a clip of the resting face",
    "attention": "snippets: attention of the last layer, mean over heads",
    "alpha": "frames of a snippet: weight in it",
}


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How well a measure finds the planted evidence."""

    measure: str
    kind: str  # brief or held
    auc: float
    low: float | None  # 95 % over people
    high: float | None
    clips: int  # that have something to compare
    people: int

    def to_json(self) -> dict[str, Any]:
        """Return what probe.json holds."""
        return {**asdict(self), "chance": CHANCE}


def clip_auc(value: np.ndarray, share: np.ndarray, *, least: float = MOST) -> np.ndarray:
    """Return the AUC of each clip, of those with at least such a share of evidence against those without any.  # (N, K), (N, K) → (N,)

    NaN where there is nothing to compare. What has less evidence, but some, is left out.
    """
    usable = np.isfinite(value) & np.isfinite(share)
    yes, no = usable & (share >= least), usable & (share == 0)
    apart = value[:, :, None] - value[:, None, :]
    won = np.where(np.isfinite(apart), (apart > 0) + 0.5 * (apart == 0), 0.0)
    pairs = yes[:, :, None] & no[:, None, :]
    number = pairs.sum((1, 2))
    return np.where(number > 0, (won * pairs).sum((1, 2)) / np.maximum(number, 1), np.nan)


def frames_auc(value: np.ndarray, planted: np.ndarray) -> np.ndarray:
    """Return the AUC of frames within their snippets, the mean over snippets that show both kinds.  # (N, n, J), (N, n, J) → (N,)"""
    clips, parts, frames = value.shape
    each = clip_auc(value.reshape(-1, frames), planted.reshape(-1, frames).astype(float)).reshape(clips, parts)
    known = np.isfinite(each)
    return np.where(known.any(1), np.where(known, each, 0).sum(1) / np.maximum(known.sum(1), 1), np.nan)


def agreement(
    measure: str, kind: str, auc: np.ndarray, groups: np.ndarray | Sequence[str], chosen: np.ndarray
) -> Agreement | None:
    """Summarise the AUCs of some clips; nothing where none has any.  # (N,), (N,), (N,)"""
    chosen = chosen & np.isfinite(auc)
    if not chosen.any():
        return None
    names = np.asarray(groups)[chosen]
    found = compare_paired(auc[chosen], np.full(int(chosen.sum()), CHANCE), names, fixed=True)
    ends = [None if end is None else float(np.clip(CHANCE + end, 0, 1)) for end in (found.low, found.high)]
    return Agreement(
        measure=measure,
        kind=kind,
        auc=float(auc[chosen].mean()),
        low=ends[0],
        high=ends[1],
        clips=int(chosen.sum()),
        people=len(np.unique(names)),
    )
