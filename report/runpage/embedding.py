"""The section on embeddings: pooled features beside what the classifier reads (T of EST), as in the paper's Fig. 12.

Each part has a model of its own, whose space is no other's: every part is drawn by itself. The pictures are of t-SNE, which exaggerates
clusters, so a number from the whole space is shown with them: how often a clip's nearest neighbour is of the same class.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ...train.models.contract import EMBEDDING
from ...train.results.details import Details
from ...train.runs.run import Run
from ..page import Cell, Section, figure, heading, percent, table, text
from ..plots import class_legend, scatter
from ..projection import MOST, spread_sample, squared_distances, tsne
from .decisions import Decisions, codes_of

SHOWN_PARTS = 4  # that are drawn
AMONG = 2000  # clips of a part among which neighbours are looked for


def embedding_section(run: Run, decisions: Decisions, truth: Mapping[str, int]) -> Section:
    """Return the points of some parts, and the neighbours of all."""
    title = "Embedding"
    there = decisions.holds(EMBEDDING)
    note = decisions.note()
    if not there:
        why = note or "This model shows no embedding."
        return Section(title=title, parts=[text(why)])
    drawn = _first_seed(run, there)
    most = MOST // len(drawn)
    left_out = any(len(there[name].ids) > most for name in drawn)
    intro = (
        "Left: the mean of the frame features that the model is shown, before it has learnt. Right: what its classifier reads. "
        "Test clips only, which the part has not learnt from. Drawn by exact t-SNE, begun from the principal components: neighbours "
        "are near, but distances between groups and sizes of groups mean nothing."
        + (f" Of each part {most} clips are drawn, evenly taken from its test half." if left_out else "")
    )
    pictures = [
        figure(picture, caption)
        for name in drawn
        for picture, caption in _pictures(name, there[name], truth, run.labels, most)
    ]
    return Section(
        title=title,
        parts=[
            text(intro),
            *([text(note)] if note else []),
            _neighbours(there, truth),
            heading(f"{len(drawn)} of {len(there)} parts" if len(there) > len(drawn) else "Pictures"),
            figure(class_legend(run.labels), "Signs of the classes"),
            f'<div class="pairs">{"".join(pictures)}</div>',
        ],
    )


def same_class_share(points: np.ndarray, codes: np.ndarray) -> tuple[int, int]:
    """Count the clips whose nearest neighbour (by cosine) is of the same class, and all that are compared."""
    if len(points) < 2:
        return 0, 0
    points = points.astype(float)
    points = points / np.maximum(np.linalg.norm(points, axis=1, keepdims=True), 1e-12)
    distances = squared_distances(points)
    np.fill_diagonal(distances, np.inf)
    return int((codes[distances.argmin(axis=1)] == codes).sum()), len(points)


def _neighbours(there: Mapping[str, Details], truth: Mapping[str, int]) -> str:
    rows, sums = [], np.zeros((2, 2), int)
    for name, one in there.items():
        chosen = spread_sample(len(one.ids), AMONG)
        codes = codes_of(one, truth)[chosen]
        counts = [same_class_share(points[chosen], codes) for points in (one.pooled, one.arrays[EMBEDDING])]
        sums += np.array(counts)
        rows.append([name, *map(_share, counts)])
    rows.append(["all parts", *(_share((int(right), int(total))) for right, total in sums)])
    header = ["Part", "Pooled features", "What the classifier reads"]
    caption = (
        "Clips whose nearest neighbour among the part's test clips has the same label, by cosine in the whole space"
    )
    return table(header, rows, caption=caption)


def _share(counts: tuple[int, int]) -> Cell:
    right, total = counts
    share = right / total if total else None
    return Cell(words=f"{percent(share).words} ({right} / {total})", value=share)


def _first_seed(run: Run, there: Mapping[str, Details]) -> list[str]:
    """Return the parts that are drawn: the folds of the first seed that has any."""
    for seed in run.config.seeds:
        if found := [name for name in run.parts_of(seed) if name in there]:
            return found[:SHOWN_PARTS]
    return list(there)[:SHOWN_PARTS]


def _pictures(
    name: str, one: Details, truth: Mapping[str, int], labels: Sequence[str], most: int
) -> list[tuple[str, str]]:
    chosen = spread_sample(len(one.ids), most)
    codes = codes_of(one, truth)[chosen]
    found = []
    for what, points in (("pooled features", one.pooled), ("what the classifier reads", one.arrays[EMBEDDING])):
        right, total = same_class_share(points[chosen], codes)
        told = (
            f"{len(chosen)} clips of {len(labels)} classes as points in two dimensions. In the whole space the nearest one of {right} "
            f"of {total} is of the same class."
        )
        found.append(
            (
                scatter(tsne(points[chosen]), codes, title=f"{name}: {what}", told=told),
                f"{name}, {what}: {len(chosen)} clips",
            )
        )
    return found
