"""What the models of a run show of their decisions, of all parts together: `details.npz` of each, as far as they are there.

Legend: N clips, n snippets of J frames, D feature width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ...errors import EstError, quoted
from ...train.results.details import Details, read_details
from ...train.runs.run import Run


@dataclass(frozen=True, kw_only=True, eq=False)
class Decisions:
    """The details of the parts that have them."""

    parts: Mapping[str, Details]
    missing: tuple[str, ...]  # parts without
    problems: tuple[str, ...]  # files that are damaged
    remedy: str

    def holds(self, name: str) -> dict[str, Details]:
        """Return the parts whose models show an array of this name."""
        return {part: one for part, one in self.parts.items() if name in one.arrays and len(one.ids)}

    def note(self) -> str:
        """Return which parts are missing, and which command adds them; empty where all are there."""
        if not self.missing and not self.problems:
            return ""
        what = (
            [f"{len(self.missing)} of {len(self.missing) + len(self.parts) + len(self.problems)} parts have none"]
            if self.missing
            else []
        )
        return f"{'; '.join([*what, *self.problems])}. {self.remedy} writes what the models decide by into the run."


def read_decisions(run: Run) -> Decisions:
    """Read what there is."""
    parts, missing, problems = {}, [], []
    for name in run.parts:
        try:
            found = read_details(run, name)
        except EstError as error:
            problems.append(error.message.rstrip("."))
            continue
        if found is None:
            missing.append(name)
        else:
            parts[name] = found
    return Decisions(
        parts=parts, missing=tuple(missing), problems=tuple(problems), remedy=f"est evaluate {quoted(run.path)}"
    )


def snippet_attention(details: Details) -> np.ndarray:
    """Return how much each snippet is attended to, the mean over heads (N, n); sums to 1 for each clip."""
    return details.arrays["attention"].astype(float).mean(axis=1)


def frame_weights(details: Details) -> np.ndarray:
    """Return the weight of each frame within its snippet (N, n, J); sums to 1 for each snippet."""
    alpha = details.arrays["alpha"].astype(float)
    return alpha / np.maximum(alpha.sum(axis=2, keepdims=True), 1e-12)


def codes_of(details: Details, truth: Mapping[str, int]) -> np.ndarray:
    """Return the class of each clip (N,)."""
    return np.array([truth[name] for name in details.ids.tolist()], int)
