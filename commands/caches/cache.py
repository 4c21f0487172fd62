"""`est cache`: show a cache, verify it, find duplicates, import, merge, convert, relabel, drop clips, push, pull, upload and download."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ...errors import STATUS_FAILED, STATUS_PARTIAL, UsageError, counted, quoted
from ..choices import Dtype
from ..options import command, examples
from ..panels import OUTPUT
from ..screen import Screen
from .clipoptions import CachePath, Fold, Label, Split, Subject
from .importing import import_
from .ls import ls
from .sharing import pull, push
from .show import show
from .storing import download, mirrors, upload

if TYPE_CHECKING:
    from ...cache.reading.reader import Cache

app = typer.Typer(
    help="Show, verify, merge, convert, relabel or share a cache. Also find duplicates, import, drop clips, push, pull; erase people.",
    rich_markup_mode=None,
    no_args_is_help=True,
)

OutCache = Annotated[
    Path,
    typer.Option(
        "--out", "-o", "--output", help="The cache to write; .zarr or .h5 chooses the store.", rich_help_panel=OUTPUT
    ),
]


@command(app, "info")
@examples("est cache info cache.zarr", "est cache info cache.zarr --json")
def info(screen: Screen, *, cache: CachePath) -> int:
    """Show what a cache holds: recipe, sizes, clips per label and subject, face coverage, failures."""
    from ...cache import open_cache
    from ...cache.reading.summary import summarise
    from .infopage import page

    summary = summarise(open_cache(cache))
    screen.result(asdict(summary) | {"bytes": summary.num_bytes}, page(summary))
    return 0


command(app, "import")(import_)
command(app, "ls")(ls)
command(app, "show")(show)
command(app, "push")(push)
command(app, "pull")(pull)
command(app, "upload")(upload)
command(app, "download")(download)
command(app, "mirrors")(mirrors)


@command(app, "verify")
@examples("est cache verify cache.zarr", "est cache verify cache.zarr --sources --repair")
def verify(
    screen: Screen,
    *,
    cache: CachePath,
    sources: Annotated[
        bool, typer.Option("--sources", help="Also compare the videos with their recorded size and digest.")
    ] = False,
    repair: Annotated[
        bool, typer.Option("--repair", help="Drop damaged clips, so that est extract makes them again.")
    ] = False,
) -> int:
    """Check every checksum, offset and chunk; name each damaged clip; exit 1 if there is one."""
    from ...cache import verify_cache
    from ...cache.remote.address import expect_writable, shown, url_of

    named = shown(cache)
    if repair:
        expect_writable(cache)

    with screen.watching() as watch:
        report = verify_cache(cache, sources=sources, watch=watch)
    problems = [*report.problems, *report.sources]
    lines = [f"{problem.clip}: {problem.what}" if problem.clip else problem.what for problem in problems]
    data: dict[str, Any] = {
        "clips": report.clips,
        "frames": report.frames,
        "problems": [{"clip": problem.clip, "what": problem.what} for problem in report.problems],
        "sources": [{"clip": problem.clip, "what": problem.what} for problem in report.sources],
        "damaged": report.damaged,
        "fetched_again": report.fetched_again,
        "trained_on": report.trained_on,
    }
    learnt = [f"{name}: {what}" for name, what in report.trained_on.items()]
    if report.fetched_again:
        learnt.append(
            f"{counted(report.fetched_again, 'file')} of the mirror differed from what was uploaded, and came again."
        )
    if not problems:
        sound = (
            f"{named}: {counted(report.clips, 'clip')}, {counted(report.frames, 'frame')}, all as they were written."
        )
        screen.result(data, "\n".join([sound, *learnt]))
        return 0
    summary = f"{named}: {counted(len(report.problems), 'problem')}, {len(report.damaged)} of {counted(report.clips, 'clip')} damaged"
    summary += f", {counted(len(report.sources), 'source')} missing or changed." if sources else "."
    if repair and report.problems:
        from ...cache.changes.repair import repair_cache

        repair_cache(cache)
        again = verify_cache(cache)
        data["repaired"] = not again.problems
        summary += f"\nRepaired: {counted(again.clips, 'clip', 'are')} left; est extract with the same settings makes the others again."
        screen.result(data, "\n".join([*lines, *learnt, summary]))
        return STATUS_FAILED if again.problems or report.sources else 0
    if report.problems:
        summary += (
            f"\nest cache upload CACHE {quoted(url)} --resend, from an undamaged copy, replaces it."
            if (url := url_of(cache))
            else f"\nest cache verify {quoted(named)} --repair drops what is damaged, so that est extract makes it again."
        )
    screen.result(data, "\n".join([*lines, *learnt, summary]))
    return STATUS_FAILED


@command(app, "duplicates")
@examples("est cache duplicates cache.zarr", "est cache duplicates dfew.zarr ferv39k.zarr --near")
def duplicates(
    screen: Screen,
    *,
    caches: Annotated[list[Path], typer.Argument(metavar="CACHE", help="Caches to search together.")],
    near: Annotated[
        bool, typer.Option("--near", help="Also find copies that were encoded again, by their features; slower.")
    ] = False,
    similarity: Annotated[
        float | None,
        typer.Option(
            "--similarity",
            help="With --near: the least cosine similarity of the whitened features of two clips, of their means, "
            "then frame by frame at the best offset. 0.1 to 1. [default: 0.5]",
        ),
    ] = None,
    feature: Annotated[
        str | None, typer.Option("--feature", help="With --near: the array that is compared. [default: gap]")
    ] = None,
) -> int:
    """List clips that are there twice, and where their subjects, labels, splits or folds contradict each other; exit 3 if there are any."""
    from ...cache import open_cache
    from ...cache.reading.duplicates import ClipList, find_duplicates
    from ...cache.reading.near_duplicates import SIMILARITY, find_near_duplicates
    from .duplicatespage import duplicate_groups, duplicates_page

    if not near and (similarity is not None or feature is not None):
        raise UsageError("--similarity and --feature need --near.", remedy="add --near, or leave them out")
    paths = list({path.resolve(): path for path in caches}.values())  # the same cache twice is no duplicate
    clips = ClipList.of([open_cache(path) for path in paths])
    found = find_duplicates(clips)
    if near:
        share = SIMILARITY if similarity is None else similarity
        with screen.watching() as watch:
            found += find_near_duplicates(clips, feature, similarity=share, known=found, watch=watch)
    groups = duplicate_groups(clips, found)
    counts = {"num_clips": len(clips), "num_caches": len(paths), "unknown": int((clips.digest == "").sum())}
    screen.result({"groups": groups, **counts}, duplicates_page(groups, **counts))
    return STATUS_PARTIAL if groups else 0


@command(app, "merge")
@examples(
    "est cache merge part1.zarr part2.zarr --out all.zarr",
    "est cache merge a.zarr b.zarr --out all.zarr --duplicates first",
)
def merge(
    screen: Screen,
    *,
    caches: Annotated[list[Path], typer.Argument(metavar="CACHE", help="Caches of one recipe.")],
    out: OutCache,
    duplicates: Annotated[
        Literal["refuse", "first", "last"],
        typer.Option("--duplicates", help="Clips in several caches: refuse them, or keep the first or the last."),
    ] = "refuse",
    allow: Annotated[
        list[str] | None, typer.Option("--allow", metavar="FIELD", help="A field in which the recipes may differ.")
    ] = None,
) -> int:
    """Merge caches that were extracted separately; completely, or not at all."""
    from ...cache import merge_caches, open_cache

    with screen.watching() as watch:
        allowed = merge_caches(caches, out, duplicates=duplicates, allow=allow or (), watch=watch)
    for difference in allowed:
        screen.warn(f"Allowed to differ, and recorded in {out}: {difference}")
    merged = open_cache(out)
    screen.result(
        {"out": str(out), "clips": len(merged), "failures": len(merged.failures), "allowed": allowed},
        f"{counted(len(merged), 'clip')} of {counted(len(caches), 'cache')} in {out}",
    )
    return 0


@command(app, "convert")
@examples("est cache convert cache.zarr cache.h5", "est cache convert cache.zarr small.zarr --features gap --no-crops")
def convert(
    screen: Screen,
    *,
    cache: CachePath,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The cache to write; .zarr or .h5 chooses the store.")],
    features: Annotated[
        str | None, typer.Option("--features", metavar="A,B", help="Only these feature arrays.")
    ] = None,
    dtype: Annotated[Dtype | None, typer.Option("--dtype", help="Type of the cached numbers.")] = None,
    crops: Annotated[
        bool | None, typer.Option("--crops/--no-crops", help="With the JPEG crops; as they are when left out.")
    ] = None,
    chunk_mb: Annotated[
        float | None, typer.Option("--chunk-mb", help="Megabytes per chunk of features, for .zarr.")
    ] = None,
    share: Annotated[
        bool,
        typer.Option("--share", help="Leave out crops, landmarks, paths and identifying ids; people get random names."),
    ] = False,
) -> int:
    """Write a copy of a cache, in the other store or another form, without removed clips; verify it."""
    from ...cache import convert_cache, open_cache

    wanted = features.split(",") if features is not None else None
    with screen.watching() as watch:
        convert_cache(
            cache, out, features=wanted, dtype=dtype, crops=crops, chunk_mb=chunk_mb, share=share, watch=watch
        )
    clips = len(open_cache(out))
    screen.result({"out": str(out), "clips": clips}, f"{counted(clips, 'clip')} in {out}, verified")
    return 0


@command(app, "drop")
@examples("est cache drop cache.zarr clip7 clip9", "est cache drop cache.zarr --split song")
def drop(
    screen: Screen,
    *,
    cache: CachePath,
    ids: Annotated[list[str] | None, typer.Argument(metavar="ID", help="Clips to remove.")] = None,
    label: Label = None,
    subject: Subject = None,
    split: Split = None,
    fold: Fold = None,
) -> int:
    """Remove clips, by id or by label, subject, split or fold; their bytes stay until est cache convert or erase."""
    from ...cache import CacheWriter, open_cache

    if not ids and not any((label, subject, split, fold)):
        raise UsageError(
            "No clips are given: expected ids, or --label, --subject, --split or --fold.",
            remedy=f"est cache ls {quoted(cache)}",
        )
    opened = open_cache(cache)
    expect_there(opened, label=label, subject=subject, split=split, fold=fold)
    chosen = list(ids or [])
    if any((label, subject, split, fold)):
        chosen += [opened.ids[index] for index in opened.select(label=label, subject=subject, split=split, fold=fold)]
    with CacheWriter.open(cache) as writer:
        before = len(writer)
        writer.remove(chosen)
        removed, left = before - len(writer), len(writer)
    kept = f"their bytes stay until est cache convert {quoted(cache)} NEW, or erase"
    text = f"{counted(removed, 'clip')} removed, {left} left in {cache}; {kept}"
    screen.result({"removed": removed, "clips": left}, text)
    return 0


@command(app, "erase")
@examples("est cache erase cache.zarr --subject S07", "est cache erase cache.zarr --clip S07_happy --yes")
def erase(
    screen: Screen,
    *,
    cache: CachePath,
    subject: Annotated[
        list[str] | None, typer.Option("--subject", help="A person, with all clips; may be repeated.")
    ] = None,
    clip: Annotated[list[str] | None, typer.Option("--clip", help="A clip, by id; may be repeated.")] = None,
    runs: Annotated[
        Path | None,
        typer.Option(
            "--runs",
            help="Where to search for runs that have learnt from them. [default: runs, and the cache's folder]",
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Erase without asking.")] = False,
) -> int:
    """Erase people or clips for good: rows, crops and names; list the runs that have learnt from them."""
    from ...cache import erase_clips, open_cache
    from ...cache.changes.rewriting import clips_named, finish_rewriting, naming_repair
    from .erasepage import erased_data, erased_text, look_for_runs, where_to_look

    if not subject and not clip:
        raise UsageError("Expected a subject or a clip to erase, found none.", remedy="--subject S, or --clip ID")
    places = where_to_look(runs, cache)
    finish_rewriting(cache)
    with naming_repair(cache):
        opened = open_cache(cache)
    clips = clips_named(opened, clip or ())
    agreed = yes or screen.confirm(
        f"Erase {', '.join([*(subject or []), *clips])} from {cache}? This cannot be undone."
    )
    if agreed is None:
        raise UsageError("Nothing is erased: the confirmation needs a terminal.", remedy="--yes erases without asking")
    if not agreed:
        screen.note("Nothing is erased.")
        return 0
    with screen.watching() as watch:
        erased = erase_clips(cache, clips, subjects=subject or (), watch=watch)
    found = look_for_runs(places, erased, cache)
    screen.result(erased_data(erased, found), erased_text(cache, erased, found))
    return 0


@command(app, "relabel")
@examples(
    "est cache relabel cache.zarr labels.csv --dry-run", "est cache relabel cache.zarr folds.csv --only fold --yes"
)
def relabel(
    screen: Screen,
    *,
    cache: CachePath,
    lists: Annotated[
        list[Path],
        typer.Argument(metavar="LIST", help="Lists as in est extract; a column id or path identifies the clips."),
    ],
    only: Annotated[
        str | None,
        typer.Option(
            "--only", metavar="A,B", help="Only these: label, subject, split, fold, onset, apex, offset, extra:NAME."
        ),
    ] = None,
    clear: Annotated[
        bool, typer.Option("--clear", help="An empty cell clears the value; else the value stays.")
    ] = False,
    strict: Annotated[
        bool,
        typer.Option("--strict", help="Refuse lists with a line that matches no clip, or if a clip is on no line."),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would change, and exit.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Write without asking.")] = False,
) -> int:
    """Give clips other labels, subjects, splits, folds or extra columns; what would change is shown first."""
    from ...inputs.relabelling import plan_relabelling
    from .relabelpage import relabel_page

    if dry_run and yes:
        raise UsageError("--dry-run writes nothing, and --yes confirms writing.", remedy="give one of them")
    wanted = [part.strip() for part in only.split(",")] if only is not None else []
    found = plan_relabelling(cache, lists, only=wanted, clear=clear, strict=strict)
    for warning in found.warnings:
        screen.warn(warning)
    if not screen.json:
        screen.result({}, relabel_page(found))
    agreed = bool(found.changes) and not dry_run and (yes or screen.confirm(f"Write this to {cache}?"))
    if agreed:
        found.write()
    if screen.json:
        screen.result({**found.to_json(), "written": agreed is True}, "")
    elif agreed:
        screen.note(f"{counted(len({change.id for change in found.changes}), 'clip', 'are')} relabelled in {cache}")
    elif agreed is False and found.changes and not dry_run:
        screen.note("Nothing is written.")
    if agreed is None:
        raise UsageError(
            "Nothing is written: the confirmation needs a terminal.", remedy="--yes writes, --dry-run only shows"
        )
    return 0


def expect_there(cache: Cache, **conditions: list[Any] | None) -> None:
    """Refuse a label, subject, split or fold that no clip has: it is misspelt."""
    for name, values in conditions.items():
        for value in values or ():
            if not len(cache.select(**{name: [value]})):
                raise UsageError(
                    f"{cache.path} has no clip of {name} {value!r}; nothing is removed.",
                    remedy=f"est cache ls {quoted(cache.path)}",
                )
