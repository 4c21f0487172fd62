"""`est cache show`: clips of a cache as a contact sheet and as a page, frame by frame."""

from __future__ import annotations

from dataclasses import dataclass, replace
from html import escape
from pathlib import Path

import cv2

from ...cache.reading.listing import Choice, Listing
from ...cache.reading.reader import Cache, open_cache
from ...cache.remote.address import repair_of
from ...cache.schema import DETECTED, INTERPOLATED, NO_FACE
from ...cache.watch import Progress, Watch
from ...errors import CacheError, UsageError, quoted
from ..output import expect_free, write_output
from ..page import Section, figure, image, page, text, warning
from ..privacy import NAMES, by_name
from .clipview import ClipView, Sampling, Viewer
from .clipwords import facts_line, mark_counts
from .marks import MARKS, Mark
from .sheet import contact_sheet
from .timeline import timeline

SHEET, PAGE = "clips.png", "clips.html"
QUALITY = 85  # JPEG, of what the page shows
LIMIT = 24  # clips, when nothing else is said
PERSONAL = "This shows faces. They are personal data: keep it where the videos may be kept, and delete it when it is no longer needed."
STYLE = """
ol.frames{display:flex;flex-wrap:wrap;gap:.6rem;list-style:none;padding:0;margin:.6rem 0}
ol.frames li{width:118px;font-size:.8em}ol.frames img,ol.frames .none{display:block;width:118px;height:118px;border:3px solid}
ol.frames .none{background:var(--band);text-align:center;line-height:112px}
.none svg{vertical-align:middle;fill:currentColor;stroke:currentColor;stroke-width:1.5}
""" + "".join(
    f".{mark.words} img,.{mark.words} .none{{border:3px {mark.edge} {mark.colour}!important}}\n"
    for mark in MARKS.values()
)


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What was made."""

    sheet: Path
    page: Path
    clips: list[str]
    on_sheet: int  # of the clips
    troubles: dict[str, str]  # clips without crops → why


def show_clips(
    cache: Cache | Path | str,
    out: Path | str,
    *,
    ids: list[str] | None = None,
    choice: Choice | None = None,
    sampling: Sampling | None = None,
    overwrite: bool = False,
    watch: Watch | None = None,
) -> Shown:
    """Write the contact sheet and the page of some clips into a folder: the first 24 of a choice, or all of its ids that meet it.

    >>> shown = est.show_clips("cache.zarr", "shown", ids=["anger/s001_01"], overwrite=True)
    >>> shown.clips, shown.sheet.name
    (['anger/s001_01'], 'clips.png')
    """
    watch, out = watch or Watch(), Path(out)
    cache = cache if isinstance(cache, Cache) else open_cache(cache)
    sheet, html = out / SHEET, out / PAGE
    expect_free([sheet, html], overwrite=overwrite)
    listing = Listing(cache)
    choice = replace(choice or Choice(), ids=ids or None)
    places = listing.choose(choice)
    if not ids and choice.limit is None and len(places) > LIMIT:
        watch.say(f"{LIMIT} of {len(places):,} clips are shown: --limit N, --where, or ids choose others")
        places = places[:LIMIT]
    if not len(places):
        raise UsageError(f"No clip of {cache.path} is chosen.", remedy=f"est cache ls {quoted(cache.path)}")
    viewer, views = Viewer(cache, sampling), []
    for number, row in enumerate(listing.rows(places), start=1):
        views.append(viewer.view(row))
        watch.progress(Progress(what="Looking", unit="clips", done=number, total=len(places)))
    troubles = {view.id: view.trouble for view in views if view.trouble}
    if troubles and not any(view.crops for view in views):
        raise _nothing_to_show(cache, troubles)
    png, drawn = contact_sheet(views)
    write_output(sheet, png, overwrite=overwrite)
    write_output(html, clips_page(cache, views), overwrite=overwrite)
    return Shown(sheet=sheet, page=html, clips=[view.id for view in views], on_sheet=drawn, troubles=troubles)


def clips_page(cache: Cache, views: list[ClipView]) -> str:
    """Return the page of some clips."""
    legend = "".join(
        f'<li class="{mark.words}">{_empty(mark, mark.words)}{mark.symbol} {mark.words}</li>'
        for mark in (MARKS[state] for state in (DETECTED, INTERPOLATED, NO_FACE))
    )
    words = "Interpolated: not looked for or not found here; its place is taken from the frames around it. Missing: there is no face."
    step = "A box step is how far the middle of the face box moves from one frame to the next, in sides of the box."
    return page(
        f"Clips of {cache.path.name}",
        [Section(title=view.id, parts=_parts(view)) for view in views],
        lead=[
            warning(f"{PERSONAL} {NAMES}"),
            f'<ol class="frames" aria-label="Marks">{legend}</ol>',
            text(words),
            text(step),
        ],
        style=STYLE,
    )


def _parts(view: ClipView) -> list[str]:
    tiles = "".join(_tile(view, frame) for frame in view.frames)
    caption = f"State of every frame ({mark_counts(view.state)}) and step of the box."
    return [
        text(facts_line(view)),
        *([warning(f"No crops are shown: {by_name(view.trouble, view.row['path'])}")] if view.trouble else []),
        f'<ol class="frames">{tiles}</ol>',
        *([figure(timeline(view), caption)] if len(view.state) else [text("It has no frames.")]),
    ]


def _tile(view: ClipView, frame: int) -> str:
    """Return a frame: its crop, its mark, when it is shown and how far the box moved."""
    mark, step, crop = MARKS[int(view.state[frame])], view.step(frame), view.crops.get(frame)
    alt = f"frame {frame}, {mark.words}"
    if crop is None:
        shown = _empty(mark, f"{alt}, no picture")
    else:
        done, data = cv2.imencode(".jpg", crop, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
        assert done
        shown = image(data.tobytes(), alt)
    moved = "" if step is None else f", step {step:.3f}"
    return f'<li class="{mark.words}">{shown}{mark.symbol} {frame}, {view.time[frame]:.2f} s{moved}</li>'


def _empty(mark: Mark, words: str) -> str:
    """Return a tile without a picture; its symbol is for the eye, its words for screen readers."""
    drawn = f'<svg viewBox="-8 -8 16 16" width="28" height="28" aria-hidden="true">{mark.shape}</svg>'
    return f'<div class="none" role="img" aria-label="{escape(words)}">{drawn}</div>'


def _nothing_to_show(cache: Cache, troubles: dict[str, str]) -> CacheError:
    """Return why no clip can be shown, and how to fix it."""
    clip, trouble = next(iter(troubles.items()))
    if cache.has_crops:
        return CacheError(
            f"No stored crop of {cache.path} can be shown ({clip}: {trouble}).",
            remedy=repair_of(cache.path),
        )
    return CacheError(
        f"{cache.path} keeps no crops, and they cannot be cut from the sources: {clip}: {trouble}.",
        remedy="put the sources back where they were, or est extract INPUT… --crops --out NEW keeps crops in a new cache",
    )
