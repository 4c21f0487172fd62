"""The section on attention: which snippets the decoder attends to (the paper's Figs. 7 and 9), and α, the weight of frames in a snippet.

Both are averages over the clips of a class and the seeds that tested them. Attention says what a model reads, not why it decides: deleting
what it attends to is another measurement.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ...train.models.contract import ALPHA, ATTENTION
from ...train.results.details import Details
from ..page import Section, details, figure, heading, table, text
from ..plots import shaded_matrix
from .decisions import Decisions, codes_of, frame_weights, snippet_attention

ALL = "all classes"


def attention_section(decisions: Decisions, truth: Mapping[str, int], labels: Sequence[str]) -> Section:
    """Return the mean attention to snippets by class, and the mean weights of frames."""
    note = decisions.note()
    parts = [
        *([text(note)] if note else []),
        *_attention(decisions.holds(ATTENTION), truth, labels, known=bool(decisions.parts)),
        *_alpha(decisions.holds(ALPHA), truth, labels),
    ]
    return Section(title="Attention", parts=parts)


def by_class(
    there: Mapping[str, Details], read: Callable[[Details], np.ndarray], truth: Mapping[str, int], num_classes: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean of an array over the clips of each class and of all (C + 1, …), and how many these are (C + 1,)."""
    values = np.concatenate([read(one) for one in there.values()])
    codes = np.concatenate([codes_of(one, truth) for one in there.values()])
    chosen = [*(codes == code for code in range(num_classes)), np.ones(len(codes), bool)]
    empty = np.full(values.shape[1:], np.nan)
    return (
        np.stack([values[one].mean(axis=0) if one.any() else empty for one in chosen]),
        np.array([int(one.sum()) for one in chosen]),
    )


def _attention(
    there: Mapping[str, Details], truth: Mapping[str, int], labels: Sequence[str], *, known: bool
) -> list[str]:
    if not there:
        return [text("This model has no attention to snippets.")] if known else []
    means, counts = by_class(there, snippet_attention, truth, len(labels))
    number = means.shape[1]
    names = [*labels, ALL]
    columns = [str(one + 1) for one in range(number)]
    words = [["–" if cell != cell else f"{100 * cell:.1f}" for cell in row] for row in means]
    top = float(np.nanmax(means))
    told = " ".join(
        f"{name}: most to snippet {int(np.argmax(row)) + 1}, {100 * row.max():.1f} %."
        for name, row in zip(names, means, strict=True)
        if not np.isnan(row).any()
    )
    drawn = shaded_matrix(
        names,
        columns,
        means / top,
        words,
        title="Attention to snippets by class",
        told=told,
        across="snippet, from first to last",
    )
    rows = [
        [name, int(count), *(None if cell != cell else round(100 * float(cell), 2) for cell in row)]
        for name, count, row in zip(names, counts, means, strict=True)
    ]
    return [
        heading("Which snippets are attended to"),
        text(
            f"The last decoder layer's attention, the mean over heads, in percent; equal attention would be {100 / number:.1f} % each. "
            "Snippets lie in the order of the clip. A row with little contrast says that the model reads the whole clip."
        ),
        figure(
            drawn, "Mean attention to each snippet, %, by the label of the clip; the strongest shade is the largest"
        ),
        details(
            "The same as a table",
            table(
                ["Label", "Predictions", *(f"Snippet {one}" for one in columns)],
                rows,
                caption="Mean attention to each snippet, %, over the clips of a label and the seeds",
            ),
        ),
    ]


def _alpha(there: Mapping[str, Details], truth: Mapping[str, int], labels: Sequence[str]) -> list[str]:
    if not there:
        return []
    means, _ = by_class(there, frame_weights, truth, len(labels))
    _, number, frames = means.shape
    names = [*labels, ALL]
    flat = means.reshape(len(names), -1)
    low, high = float(np.nanmin(flat)), float(np.nanmax(flat))
    shades = (flat - low) / max(high - low, 1e-12)
    columns = [str(place // frames + 1) if place % frames == frames // 2 else "" for place in range(number * frames)]
    told = (
        f"Weights of the {frames} frames of each of {number} snippets, from {100 * low:.1f} % (no shade) to {100 * high:.1f} % (full); "
        f"equal weights would be {100 / frames:.1f} %."
    )
    drawn = shaded_matrix(
        names, columns, shades, None, title="Weights of frames within their snippets (α)", told=told,
        across="frames of each snippet", cell=(15, 26), gaps=frames,
    )  # fmt: skip
    return [
        heading("Which frames weigh in a snippet (α)"),
        text(
            "α (Eq. 2) compares the frames of one snippet with one another, and no snippet with another; its weights are brought "
            f"to a sum of 100 %. They lie between {100 * low:.1f} and {100 * high:.1f} % here; equal weights would be {100 / frames:.1f} %."
        ),
        figure(
            drawn,
            f"Mean weight of each frame in its snippet; no shade is {100 * low:.1f} %, the strongest {100 * high:.1f} %",
        ),
    ]
