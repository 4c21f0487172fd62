"""`est extract --from CACHE`: rows of other weights, of the crops that a cache holds or can cut again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...errors import UsageError, counted
from ..panels import FEATURES, INPUT
from ..screen import Screen
from .extractreport import show_report

if TYPE_CHECKING:
    from ...cache import Cache
    from ...extract.config import ExtractConfig

From = Annotated[
    Path | None,
    typer.Option(
        "--from",
        metavar="CACHE",
        help="Instead of INPUT: the clips of a cache, with other --weights.\n\n"
        "The new cache is made of the old one's crops, or of its sources, which are cut again.",
        rich_help_panel=INPUT,
    ),
]
Views = Annotated[
    int,
    typer.Option(
        "--views",
        metavar="K",
        help="With --from: also K sets of features of changed crops, for training.",
        rich_help_panel=FEATURES.rare,
    ),
]

# What says how rows are made of crops; everything else says how videos become crops, which with --from they are.
OF_ROWS = {
    *("source", "views", "out", "dry_run", "crops", "weights", "normalize", "features", "flip", "dtype", "precision"),
    *("encoder_engine", "device", "models_dir", "workers", "timeout", "strict", "json", "quiet", "debug"),
}


def recache_clips(
    screen: Screen,
    context: typer.Context,
    source: Path,
    out: Path | None,
    config: ExtractConfig,
    *,
    views: int,
    dry_run: bool,
) -> int:
    """Make or resume a cache of another one's clips, and show how it ended."""
    expect_rows_alone(context)
    from ...cache import open_cache
    from ...extract.recaching import expect_recachable

    cache = open_cache(source)
    # before weights are loaded
    devices, computation = expect_recachable(cache, out, config, views=views, crops=config.crops)
    if dry_run:
        how = {"engine": computation.engine, "precision": computation.precision}
        data, text = plan(cache, out, config, views)
        screen.result({**data, **how}, "\n".join([text, *computation.lines(devices)]))
        return 0
    if out is None:
        raise UsageError("No output is given: --out names the new cache.", remedy="--out tuned.zarr")
    from ...extract.recaching import recache

    with screen.watching() as watch:
        report = recache(cache, out, config=config, views=views, crops=config.crops, watch=watch)
    return show_report(screen, report, out)


def expect_rows_alone(context: typer.Context) -> None:
    """Refuse options that say how videos become crops."""
    given = [p for p in context.command.params if str(context.get_parameter_source(p.name)).endswith("COMMANDLINE")]
    wrong = [p.opts[0] if p.param_type_name == "option" else str(p.metavar) for p in given if p.name not in OF_ROWS]
    if wrong:
        raise UsageError(
            f"--from uses existing crops, and {', '.join(wrong)} are options for making crops.",
            remedy=f"leave out {', '.join(wrong)}; or extract from the videos: est extract INPUT --out CACHE",
        )


def refuse_views(views: int) -> None:
    """Refuse views where videos are extracted."""
    if views:
        raise UsageError(
            "Views are made of stored crops: --views needs --from.",
            remedy=f"est extract … --crops --out CACHE, then est extract --from CACHE --views {views} --out NEW",
        )


def plan(cache: Cache, out: Path | None, config: ExtractConfig, views: int) -> tuple[dict[str, Any], str]:
    """Return what a dry run shows, to machines and to people."""
    import numpy as np

    from ...extract.arrayplan import array_names

    names = [name for tap in config.features for name in array_names(tap, flip=config.flip, views=views)]
    data = {
        "from": str(cache.path),
        "out": None if out is None else str(out),
        "clips": len(cache),
        "frames": sum(np.asarray(cache.clips.columns["count"]).tolist()),
        "crops": "stored" if cache.has_crops else "sources",
        "weights": config.weights,
        "features": names,
        "keeps_crops": config.crops,
    }
    how = "the stored crops" if cache.has_crops else "the sources, decoded again and cut along the stored boxes"
    lines = [
        f"{counted(data['clips'], 'clip')}, {counted(data['frames'], 'frame')} of {cache.path}",
        f"{', '.join(names)} by {config.weights}, of {how}",
    ]
    return data, "\n".join(lines)
