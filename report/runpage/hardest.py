"""The clips that a run gets most confidently wrong, with their timelines; with their faces only with --faces.

A clip's margin is how much more probability its most probable wrong class has than its label, in the mean of the seeds: above 0 the
mean is wrong, 1 is certain and wrong.

Legend: N clips, S seeds, C classes, F frames.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ...cache.schema import NO_FACE
from ...train.results.predictions import Predictions
from ..page import Cell, Section, details, figure, heading, image, percent, table, text, warning
from .decisions import Decisions
from .opened import Opened
from .sources import ClipSource, Sources, open_sources
from .timeline import Watched, timeline, watched_of

SHOWN = 12  # clips
OPEN = 4  # of them, whose timelines are there at once
WHAT = (
    "Face: high where it was detected, half as high where it was interpolated, low where it is missing. Attention: over what each snippet "
    "spans; α: the frames of the snippets, the longer the more they weigh. Means over seeds."
)
CROP = 96  # pixels that a crop is shown wide
FACES = "This page shows faces, which are personal data: pass it on only as the people shown have agreed."
NO_FACES = "No picture of a face is in this page: faces are personal data. est report --faces puts the crops of these clips into it."


def margins_of(found: Predictions, probabilities: np.ndarray) -> np.ndarray:
    """Return how much more probability the best wrong class has than the label (N,), in the mean of seeds; NaN without a face."""
    clips, others = np.arange(len(found)), probabilities.mean(axis=0)
    told = others[clips, found.truth]
    others[clips, found.truth] = -np.inf
    return others.max(axis=1) - told


def hardest_of(found: Predictions, probabilities: np.ndarray, most: int = SHOWN) -> list[int]:
    """Return the places of the clips with the largest margins above 0, the hardest first."""
    margin = margins_of(found, probabilities)
    order = np.argsort(-np.nan_to_num(margin, nan=-np.inf), kind="stable")
    return [int(place) for place in order[:most] if margin[place] > 0]


def hardest_section(opened: Opened, decisions: Decisions, *, faces: bool, cache: Path | None) -> Section:
    """Return the hardest clips."""
    assert opened.results is not None
    assert opened.run is not None
    found = opened.results.predictions
    places = hardest_of(found, opened.probabilities)
    title = "Hardest clips"
    if not places:
        return Section(
            title=title, parts=[text("No clip is taken for another class with more probability than for its own.")]
        )
    sources = open_sources(opened.run, cache)
    margin = margins_of(found, opened.probabilities)
    mean = opened.probabilities.mean(axis=0)
    rows, shown, troubles = [], [], {}
    for place in places:
        name = str(found.ids[place])
        label, said = found.labels[found.truth[place]], _said(found, mean, place)
        wrong = int((~found.right[:, place]).sum())
        rows.append(
            [
                name,
                str(found.subjects[place]) or None,
                label,
                said,
                percent(float(mean[place].max())),
                percent(float(mean[place, found.truth[place]])),
                Cell(words=f"{wrong} of {len(found.seeds)}", value=wrong),
                Cell(words=signed(float(margin[place])), value=float(margin[place])),
            ]
        )
        source = sources.clip(name)
        watched = watched_of(opened.run, decisions, str(found.folds[place]), name)
        parts = _clip(name, label, said, source, watched, frames=int(opened.frames[place]))
        if faces and source is not None and parts:
            strip, trouble = _strip(sources, name, source, watched)
            parts += [strip] if strip else []
            troubles[name] = trouble
        shown.append("".join(parts))
    header = ["Clip", "Subject", "Label", "Taken for", "Probability", "Of the label", "Wrong, seeds", "Margin"]
    wrong = int((~found.right).any(axis=0).sum())
    return Section(
        title=title,
        parts=[
            text(
                f"The {len(places)} clips that are most confidently taken for another class, of {wrong} that at least one seed has wrong. "
                "Labels are of apparent expressions; a clip may be here because its label is in doubt."
            ),
            *([] if faces else [text(NO_FACES)]),
            *([warning(FACES)] if faces and not all(troubles.values()) else []),
            *([text(_trouble(troubles))] if any(troubles.values()) else []),
            *([text(sources.note)] if sources.note else []),
            table(header, rows, caption="The hardest clips; probabilities are means over seeds"),
            *shown[:OPEN],
            *([details(f"The timelines of {len(shown) - OPEN} more", *shown[OPEN:])] if len(shown) > OPEN else []),
        ],
    )


def _clip(
    name: str, label: str, said: str, source: ClipSource | None, watched: Watched | None, *, frames: int
) -> list[str]:
    if frames < 1 or (source is None and watched is None):
        return []
    words = f"{name}: {label}, taken for {said}"
    return [
        heading(words),
        figure(timeline(name, frames, source, watched), WHAT),
    ]


def _strip(sources: Sources, name: str, source: ClipSource, watched: Watched | None) -> tuple[str, str]:
    """Return some crops of a clip side by side, or why there are none."""
    crops, trouble = sources.crops(name, _chosen(source, watched))
    images = "".join(
        f"<li>{image(crop, f'Face crop of {name}, frame {frame}', width=CROP)}<br>frame {frame}</li>"
        for frame, crop in sorted(crops.items())
    )
    strip = f'<ul class="strip" aria-label="Face crops of the clip, in order">{images}</ul>' if images else ""
    return strip, trouble or ("" if images else "no frame shows a face")


def _trouble(troubles: dict[str, str]) -> str:
    """Say of how many clips no faces can be shown, and why."""
    without = {name: why for name, why in troubles.items() if why}
    first, why = next(iter(without.items()))
    return f"Of {len(without)} of these clips no faces can be shown, such as {first}: {why}."


def _chosen(source: ClipSource, watched: Watched | None) -> list[int]:
    """Return the frames whose crops are shown: the middle of each snippet, or seven of the clip, as far as they show a face."""
    last = len(source.state) - 1
    wanted = (
        watched.shown[:, watched.shown.shape[1] // 2].tolist()
        if watched is not None
        else np.linspace(0, last, 7).round().tolist()
    )
    faces = np.flatnonzero(source.state != NO_FACE)
    if not len(faces):
        return []
    return sorted({int(faces[np.abs(faces - int(frame)).argmin()]) for frame in wanted})


def signed(margin: float) -> str:
    """Write a margin with a proper minus."""
    return f"{margin:.2f}".replace("-", "−")


def _said(found: Predictions, mean: np.ndarray, place: int) -> str:
    """Return the most probable class that is not the label."""
    shares = mean[place].copy()
    shares[found.truth[place]] = -np.inf
    return found.labels[int(shares.argmax())]
