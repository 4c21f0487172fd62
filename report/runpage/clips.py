"""Every clip that a run tested, with what was predicted of it: a table to search, filter and sort."""

from __future__ import annotations

import numpy as np

from ..page import Section, text
from ..paged import Column, paged_table
from .hardest import margins_of
from .opened import Opened

NO_FACE = "no prediction"
WORDS = (
    "The margin is how much more probability the best wrong class has than the label: above 0 is wrong, 1 certain and wrong. "
    "Coverage is the share of frames that show a face."
)


def clip_section(opened: Opened) -> Section:
    """Return the table."""
    assert opened.results is not None
    found = opened.results.predictions
    margin = margins_of(found, opened.probabilities)
    mean = opened.probabilities.mean(axis=0)
    seen = ~np.isnan(mean).any(axis=1)
    favourite = np.where(seen, np.nan_to_num(mean).argmax(axis=1), -1)
    names = np.array([*found.labels, NO_FACE], str)  # −1 is the last
    right = found.right.mean(axis=0)
    verdict = np.where(right == 1, "right", np.where(right == 0, "wrong", "right in some seeds"))
    columns = [
        Column(name="Clip", values=found.ids.tolist()),
        Column(name="Subject", values=found.subjects.tolist()),
        Column(name="Fold", values=found.folds.tolist()),
        Column(name="Label", values=names[found.truth].tolist()),
        Column(name="Predicted", values=names[favourite].tolist()),
        Column(name="Verdict", values=verdict.tolist()),
        Column(name="Probability", values=np.where(seen, mean.max(axis=1, initial=0), np.nan).tolist(), kind="share"),
        Column(name="Margin", values=margin.tolist(), kind="number"),
        Column(name="Frames", values=opened.frames.astype(int).tolist(), kind="number"),
        Column(name="Coverage", values=opened.coverage.tolist(), kind="share"),
    ]
    if found.control is not None:
        columns.append(Column(name="Control", values=names[found.control].tolist()))
    seeds = len(found.seeds)
    caption = "Tested clips" + (f"; predicted: by the mean probability of {seeds} seeds" if seeds > 1 else "")
    return Section(
        title="Tested clips",
        parts=[text(WORDS), paged_table("clips-table", columns, caption=caption, noun="clips")],
    )
