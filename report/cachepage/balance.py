"""How clips and failures are spread over labels, splits, folds and subjects, for the page."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np

from ...cache.reading.listing import Listing
from ...errors import counted
from ..charts import bars
from ..page import Cell, figure, heading, percent, table, text

NONE = "(none)"
SUBJECTS = 300  # shown; the clips' table has all


def balance(listing: Listing) -> list[str]:
    """Return the pieces of the section: labels, labels by split and fold, subjects."""
    columns = listing.columns
    labels = [label or NONE for label in columns["label"].tolist()]
    failed = Counter(failure.label or NONE for failure in listing.cache.failures)
    counts = Counter(labels)
    names = [*listing.cache.labels, *([NONE] if counts[NONE] or failed[NONE] else [])]
    shares = {name: f"{counts[name]:,} ({percent(counts[name] / max(len(labels), 1)).words})" for name in names}
    parts = [heading("Labels")]
    if names:
        drawn = bars({name: counts[name] for name in names}, "Clips by label", words=shares)
        parts.append(figure(drawn, f"Clips by label{_imbalance([counts[name] for name in names if name != NONE])}"))
    for name in ("split", "fold"):
        groups = [NONE if value in ("", None) or value != value else _group(value) for value in columns[name].tolist()]
        if set(groups) != {NONE}:
            parts += [heading(f"Labels by {name}"), _cross(names, labels, groups, failed, name)]
    return [*parts, *_subjects(listing, labels)]


def _cross(names: Sequence[str], labels: Sequence[str], groups: Sequence[str], failed: Counter[str], by: str) -> str:
    """Count clips by label and group, failures beside them."""
    counts = Counter(zip(labels, groups, strict=True))
    header = sorted(set(groups), key=lambda group: (group == NONE, not group.isdigit(), group.zfill(9)))
    rows = [
        [name, *(counts[name, group] for group in header), sum(counts[name, group] for group in header), failed[name]]
        for name in names
    ]
    return table(["label", *header, "clips", "failures"], rows, caption=f"Clips by label and {by}; inputs that failed")


def _subjects(listing: Listing, labels: Sequence[str]) -> list[str]:
    """Return a row per subject: clips, labels, splits, coverage."""
    subjects = listing.columns["subject"].tolist()
    members: dict[str, list[int]] = defaultdict(list)
    for place, subject in enumerate(subjects):
        if subject:
            members[subject].append(place)
    if not members:
        return [
            heading("Subjects"),
            text("The cache does not name the subjects of its clips; est cache relabel adds them."),
        ]
    coverage, splits = listing.columns["coverage"], listing.columns["split"]
    order = sorted(members, key=lambda subject: (-len(members[subject]), subject))
    rows = [
        [
            subject,
            len(members[subject]),
            len({labels[place] for place in members[subject]} - {NONE}),
            Cell(words=", ".join(sorted({splits[place] for place in members[subject]} - {""})) or "–"),
            percent(float(np.mean(coverage[members[subject]]))),
        ]
        for subject in order[:SUBJECTS]
    ]
    unknown = sum(not subject for subject in subjects)
    least, most = len(members[order[-1]]), len(members[order[0]])
    each = f"from {least:,} to {most:,} clips each" if least < most else f"{counted(most, 'clip')} each"
    words = f"{counted(len(members), 'subject')}; {each}"
    words += f"; of {counted(unknown, 'clip')} the subject is not known" if unknown else ""
    parts = [heading("Subjects"), text(words + ".")]
    crossing = [subject for subject in order if len({splits[place] for place in members[subject]} - {""}) > 1]
    if crossing:
        parts.append(text(f"Clips in more than one split: of {counted(len(crossing), 'subject')}."))
    shown = f" (the first {SUBJECTS} of {len(order):,})" if len(order) > SUBJECTS else ""
    header = ["subject", "clips", "labels", "splits", "mean coverage"]
    return [*parts, table(header, rows, caption=f"Subjects, most clips first{shown}")]


def _imbalance(counts: Sequence[int]) -> str:
    known = [count for count in counts if count]
    if len(known) < 2 or max(known) == min(known):
        return "."
    return f": the most frequent label has {max(known) / min(known):.1f} times as many as the rarest."


def _group(value: float | str) -> str:
    return value if isinstance(value, str) else str(int(value))
