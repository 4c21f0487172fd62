"""The table of clips on a cache's page, and the failures behind them."""

from __future__ import annotations

import numpy as np

from ...cache.reading.listing import EXTRA, Listing
from ..page import text
from ..paged import Column, paged_table
from .faces import Faces

MOST = 200_000  # rows: a page of about 15 MB
FACES, FACES_CUT = 1_000, 200  # clips up to which each has a thumbnail; where faces must be cut from decoded sources
NUMBERS = {
    "frames": "count",
    "box jitter": "box_jitter",
    "tracks": "tracks",
    "identity changes": "identity_changes",
    "decode errors": "decode_errors",
}


def clips_table(listing: Listing, faces: Faces | None) -> list[str]:
    """Return the clips with search, filters and sorting; columns that tell nothing are left out."""
    places = np.arange(len(listing))
    parts = []
    if len(listing) > MOST:
        places = np.sort(np.argsort(listing.columns["coverage"], kind="stable")[:MOST])
        parts.append(
            text(
                f"The table has the {MOST:,} least covered of {len(listing):,} clips; "
                f"est cache ls {listing.cache.path} --csv FILE writes all."
            )
        )
    if not len(places):
        return [text("There are no clips.")]
    columns = [Column(name="clip", values=listing.columns["id"][places].tolist())]
    if faces is not None:
        most = FACES if listing.cache.has_crops else FACES_CUT
        if len(places) <= most:
            shown = [faces.url(int(place)) for place in places]
            columns.append(Column(name="face", values=shown, kind="picture"))
        else:
            parts.append(text(f"Thumbnails of every clip are shown up to {most:,} clips; here, of those named above."))
    columns += [
        Column(name=name, values=listing.columns[name][places].tolist()) for name in ("label", "subject", "split")
    ]
    folds = ["" if fold != fold else str(int(fold)) for fold in listing.columns["fold"][places].tolist()]
    columns.append(Column(name="fold", values=folds))
    columns.append(Column(name="coverage", values=listing.columns["coverage"][places].tolist(), kind="share"))
    for name, stored in NUMBERS.items():
        columns.append(Column(name=name, values=listing.columns[stored][places].tolist(), kind="number"))
    for name, values in listing.columns.items():
        if name.startswith(EXTRA):
            kind = "number" if values.dtype.kind in "fi" else "text"
            columns.append(Column(name=name, values=listing.values(name, places), kind=kind))
    missing = (listing.columns["declared"] - listing.columns["decoded"])[places]
    columns.append(Column(name="frames missing", values=np.maximum(missing, 0).tolist(), kind="number"))
    told = [column for column in columns if _tells(column)]
    caption = "Clips. Headings sort; unknown values stand last."
    return [*parts, paged_table("clips-table", told, caption=caption, noun="clips")]


def _tells(column: Column) -> bool:
    """Return whether a column has a value at all, or one besides 0 where that is the rule."""
    if column.kind == "number" and column.name in ("decode errors", "frames missing"):
        return any(value == value and value > 0 for value in column.values)
    return column.name == "clip" or any(value not in ("", None) and value == value for value in column.values)
