"""`est report CACHE`: what is in a cache, on one page that needs no other file and no network."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...cache.reading.duplicates import ClipList
from ...cache.reading.listing import Listing
from ...cache.reading.near_duplicates import feature_of
from ...cache.reading.reader import open_cache
from ...cache.reading.summary import Summary, summarise
from ...cache.watch import Watch
from ...errors import UsageError, counted, quoted
from ..charts import histogram
from ..output import write_output
from ..page import (
    Cell,
    Section,
    code,
    details,
    facts,
    figure,
    heading,
    items,
    page,
    percent,
    side_by_side,
    table,
    text,
    warning,
)
from ..pagedscript import PAGED
from ..privacy import FOLDERS, NAMES, by_name
from .balance import balance
from .clipstable import clips_table
from .copies import Copies, find_copies
from .faces import Faces
from .failures import causes
from .outliers import clip_means, outliers

FACE = ("face",)  # columns of thumbnails
SHOWN = 50  # rows of outliers, groups of copies and causes
LEAST = 20  # covered clips
FACES = "This page shows faces. They are personal data: keep it where the videos may be kept."
NO_FACES = "No face is shown: faces are personal data. est report CACHE --faces shows thumbnails."


def cache_page(
    path: Path | str,
    out: Path | str,
    *,
    faces: bool = False,
    paths: bool = False,
    overwrite: bool = False,
    watch: Watch | None = None,
) -> Path:
    """Write what is in a cache as one HTML file: clips, quality, balance, outliers, copies, failures; return where it is.

    `faces` puts thumbnails into it, `paths` the folders of files.

    >>> est.cache_page("cache.zarr", "cache.html", overwrite=True).name
    'cache.html'
    """
    path, out = Path(path), Path(out)
    cache = open_cache(path)
    listing, summary = Listing(cache), summarise(cache)
    shown = Faces(cache, watch) if faces else None
    sections = [
        Section(title="Overview", parts=_overview(summary)),
        Section(title="Balance", parts=balance(listing)),
        Section(title="Faces followed", parts=_quality(listing, summary, shown)),
        Section(title="Failures", parts=_failures(listing, paths=paths)),
        Section(title="Outliers", parts=_outliers(listing, shown, watch or Watch())),
        Section(title="Copies", parts=_copies(listing, shown, watch or Watch())),
        Section(title="People and erasure", parts=_people(summary)),
        Section(title="Clips", parts=clips_table(listing, shown)),
        Section(title="How it was made", parts=_recipes(summary)),
    ]
    lead = [warning(f"{FACES if faces else NO_FACES} {NAMES}"), *([] if paths else [text(FOLDERS)])]
    begin = [path.absolute().parent]
    html = page(f"Cache {path.name}", sections, lead=lead, scripts=[PAGED], paths=paths, begin=begin)
    return write_output(out, html, overwrite=overwrite)


def _overview(summary: Summary) -> list[str]:
    known: dict[str, Any] = {
        "path": summary.path,
        "format": f"{summary.store}, format {summary.format}",
        "clips": f"{summary.clips:,}",
        "frames": f"{summary.frames:,} ({summary.median_frames:.0f} a clip, {summary.hours * 60:.1f} minutes)",
        "frames with a face": f"{percent(summary.detected).words} detected, {percent(summary.interpolated).words} interpolated",
        "subjects": f"{summary.subjects:,}",
        "clips without any face": f"{summary.without_face:,}",
        "incomplete clips": f"{summary.incomplete:,}",
        "failures": f"{sum(summary.failures.values()):,}",
        "size": size(summary.num_bytes),
        "last commit": summary.commit["time"],
    }
    if summary.decoders:
        known["decoders"] = ", ".join(f"{name}: {count:,}" for name, count in summary.decoders.items())
    if summary.removed:
        known["removed clips"] = f"{summary.removed:,}; their bytes stay until est cache convert or erase"
    if summary.extra:
        known["extra columns"] = ", ".join(f"{name} ({what})" for name, what in summary.extra.items())
    arrays = [[name, Cell(words=size(count), value=count)] for name, count in summary.array_bytes.items() if count]
    return [facts(known), details("Arrays and their sizes", table(["array", "size"], arrays, caption="Arrays"))]


def _quality(listing: Listing, summary: Summary, faces: Faces | None) -> list[str]:
    columns = listing.columns
    if not len(listing):
        return [text("There are no clips.")]
    figures = []
    for name, title, axis, words in (
        ("coverage", "Coverage", "share of a clip's frames that show a face", ""),
        ("box_jitter", "Box jitter", "median step of the face box, in sides", "; the last bar holds what lies beyond"),
        ("count", "Frames", "frames of a clip", "; the last bar holds what lies beyond"),
    ):
        known = columns[name][np.isfinite(columns[name])]
        if not len(known):
            continue
        low, middle, high = np.percentile(known, [5, 50, 95])
        drawn = histogram(known, f"{title} of clips", axis=axis, share=name == "coverage")
        caption = f"{title}: median {middle:.4g}; 90 % of {len(known):,} clips from {low:.4g} to {high:.4g}{words}."
        figures.append(figure(drawn, caption))
    parts = [side_by_side(*figures)]
    order = np.argsort(columns["coverage"], kind="stable")[:LEAST]
    worst = [int(place) for place in order if columns["coverage"][place] < 1]
    if worst:
        header, rows = _with_faces(
            ["clip", "label", "coverage", "box jitter", "frames"],
            [
                [row["id"], row["label"] or "–", percent(row["coverage"]), row["box_jitter"], row["count"]]
                for row in listing.rows(worst)
            ],
            worst,
            faces,
        )
        covered = f"Least covered clips ({len(worst)} of {int((columns['coverage'] < 1).sum()):,} with less than 100 %)"
        parts += [heading("Least covered"), table(header, rows, caption=covered, unsorted=FACE)]
    parts.append(text(f"est cache show {summary.path} --sort coverage shows the crops of the least covered clips."))
    return parts


def _failures(listing: Listing, *, paths: bool) -> list[str]:
    failures = listing.cache.failures
    if not failures:
        return [text("Every input gave a clip.")]
    found = causes(failures)
    rows = []
    for cause in found[:SHOWN]:
        example = cause.failures[0]
        message = example.error if paths else by_name(example.error, example.path)
        rows.append([cause.words, cause.stage, len(cause.failures), example.id, message])
    words = (  # no share: an input may give several clips, one of each face
        f"{counted(len(failures), 'failure')} beside {counted(len(listing), 'clip')}, {counted(len(found), 'cause')}. "
        "They count as errors in scores."
    )
    header = ["cause", "stage", "failures", "an example", "its message"]
    more = f" (the first {SHOWN} of {len(found):,})" if len(found) > SHOWN else ""
    return [
        text(words),
        table(header, rows, caption=f"Failures by cause, most frequent first{more}"),
        text(
            f"est cache ls {listing.cache.path} --failures lists them; est extract with the same settings tries them again."
        ),
    ]


def _outliers(listing: Listing, faces: Faces | None, watch: Watch) -> list[str]:
    cache = listing.cache
    try:
        feature = feature_of(ClipList.of([cache]))
    except UsageError as error:
        return [text(f"Outliers were not looked for: {error}")]
    found = outliers(clip_means(cache, feature, watch))
    words = (
        f"Clips whose mean {feature!r} lies far from that of their nearest neighbours: a wrong crop, another face, or "
        "a rare appearance. Look at them; being listed here does not mean that a clip is wrong."
    )
    if not found:
        return [text(words), text("No clip lies that far.")]
    places = [place for place, _ in found[:SHOWN]]
    rows = [
        [
            row["id"],
            row["label"] or "–",
            row["subject"] or "–",
            Cell(words=f"{far:.1f}", value=round(far, 3)),
            percent(row["coverage"]),
        ]
        for row, (_, far) in zip(listing.rows(places), found, strict=False)
    ]
    header, rows = _with_faces(["clip", "label", "subject", "times as far as usual", "coverage"], rows, places, faces)
    more = f" (the first {SHOWN} of {len(found):,})" if len(found) > SHOWN else ""
    return [text(words), table(header, rows, caption=f"Outliers, furthest first{more}", unsorted=FACE)]


def _copies(listing: Listing, faces: Faces | None, watch: Watch) -> list[str]:
    found, why = find_copies(listing.cache, watch)
    parts = [text(why)] if why else []
    if not found:
        return [
            *parts,
            text("No clip is there twice, and no two look alike." if not why else "No clip is there twice."),
        ]
    parts += _copies_found(found)
    rows, places = _copy_rows(listing, found[:SHOWN])
    header, rows = _with_faces(
        ["clip", "group", "similarity", "label", "subject", "split", "fold", "differ in"], rows, places, faces
    )
    more = f" (the first {SHOWN} groups of {len(found):,})" if len(found) > SHOWN else ""
    return [
        *parts,
        table(
            header,
            rows,
            caption=f"Clips that show the same frames, or look alike; those across splits first{more}",
            unsorted=FACE,
        ),
        text(f"est cache duplicates {listing.cache.path} --near compares them across caches, too."),
    ]


def _copies_found(found: Sequence[Copies]) -> list[str]:
    """Count what is certain and what should be inspected, each for itself."""
    parts = []
    for near in (False, True):
        groups = [one for one in found if (one.similarity is not None) == near]
        if not groups:
            continue
        leaks = sum(one.leak for one in groups)
        words = f"{counted(len(groups), 'group')} of clips that {'look alike' if near else 'show the same frames'}"
        if leaks:
            words += f"; {leaks:,} across splits, folds or subjects"
        if near:
            doubt = (
                "They may be copies of each other, encoded again, or different clips: where all clips are much alike, as rendered ones "
                "are, different clips reach the same similarity. Look at them"
            )
            more = ": if they are copies, a model may be tested on clips that it was trained on." if leaks else "."
            parts.append((warning if leaks else text)(f"{words}. {doubt}{more}"))
        else:
            more = ": a model may be tested on clips that it was trained on." if leaks else "."
            parts.append((warning if leaks else text)(f"{words}{more}"))
    return parts


def _copy_rows(listing: Listing, found: Sequence[Copies]) -> tuple[list[list[Any]], list[int]]:
    rows, places = [], []
    for number, group in enumerate(found, start=1):
        alike = Cell(words="the same frames") if group.similarity is None else Cell(words=f"{group.similarity:.2f}")
        for row in listing.rows(group.clips):
            known = [row[name] or "–" for name in ("label", "subject", "split")]
            fold = "–" if row["fold"] < 0 else str(row["fold"])
            rows.append([row["id"], number, alike, *known, fold, ", ".join(group.contradictions) or "–"])
        places += group.clips
    return rows, places


def _people(summary: Summary) -> list[str]:
    held = f"The cache holds {summary.face_pictures:,} face picture{'s' * (summary.face_pictures != 1)} (JPEG crops)."
    if not summary.face_pictures:
        held = "The cache holds no face pictures."
    if summary.removed_face_pictures:
        held += f" {summary.removed_face_pictures:,} more, of clips that were removed, stay until it is converted or erased."
    others = (
        "Besides, it keeps where the face is in "
        f"{round(summary.frames * (summary.detected + summary.interpolated)):,} frames, features of them, and names: "
        f"{counted(summary.subjects, 'subject')}, ids and paths."
    )
    return [
        text(held),
        text(others),
        *([] if summary.url else _erasing(summary)),
        text("A copy without crops, landmarks, paths, subjects and telling ids:"),
        code(f"est cache convert {quoted(summary.url or summary.path.name)} public.h5 --share"),
        text("Labels are apparent expressions as they were annotated, not what the people felt."),
    ]


def _erasing(summary: Summary) -> list[str]:
    return [
        text(
            "A person is erased for good, with rows, crops and names, and the runs that were trained on them are listed:"
        ),
        code(f"est cache erase {quoted(summary.path.name)} --subject NAME"),
    ]


def _recipes(summary: Summary) -> list[str]:
    parts = [heading("Frames"), facts(_told(summary.recipes["frames"], summary.fingerprints["frames"]))]
    for name, recipe in summary.recipes["features"].items():
        parts += [heading(f"Features {name}"), facts(_told(recipe, summary.fingerprints[name]))]
        if name in summary.trained_on:
            parts.append(text(summary.trained_on[name]))
    if summary.merged:
        parts += [
            heading("Merged of caches that differ"),
            text("“Here” is the first of them, whose recipes stand above."),
            items(summary.merged),
        ]
    environment = [f"{name}: {_shown(value)}" for name, value in summary.environment.items() if name != "merged"]
    return [*parts, details("The machine and the libraries that it was started with", items(environment))]


def _with_faces(
    header: list[str], rows: list[list[Any]], places: Sequence[int], faces: Faces | None
) -> tuple[list[str], list[list[Any]]]:
    """Put a thumbnail behind the first cell of each row, where faces are shown."""
    if faces is None:
        return header, rows
    shown = [faces.cell(place) for place in places]
    return [header[0], *FACE, *header[1:]], [[row[0], cell, *row[1:]] for row, cell in zip(rows, shown, strict=True)]


def _told(recipe: Mapping[str, Any], fingerprint: str) -> dict[str, Any]:
    told = {name: _shown(value) for name, value in recipe.items() if value not in ("", None, False)}
    return told | {"fingerprint": fingerprint}


def _shown(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)


def size(num_bytes: float) -> str:
    """Write a number of bytes."""
    for unit in ("B", "kB", "MB", "GB"):
        if num_bytes < 1000:
            return f"{num_bytes:.0f} {unit}" if unit == "B" else f"{num_bytes:.1f} {unit}"
        num_bytes /= 1000
    return f"{num_bytes:.1f} TB"
