"""`est cache upload`, `download` and `mirrors`: a cache to an object store and back, and what was read of others."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...errors import UsageError, counted
from ..options import examples
from ..panels import INPUT, OUTPUT
from ..screen import Screen, columns

if TYPE_CHECKING:
    from ...cache.remote.mirror import Mirror

LocalCache = Annotated[
    Path, typer.Argument(metavar="CACHE", help="A .zarr cache of this machine.", rich_help_panel=INPUT)
]
Url = Annotated[
    str, typer.Argument(metavar="URL", help="s3://BUCKET/NAME.zarr, gs://… or https://….", rich_help_panel=INPUT)
]
To = Annotated[
    str, typer.Argument(metavar="URL", help="s3://BUCKET/NAME.zarr or gs://BUCKET/NAME.zarr.", rich_help_panel=OUTPUT)
]
Resend = Annotated[
    bool, typer.Option("--resend", help="Send what is there already, too: objects that were damaged in the store.")
]
Prune = Annotated[
    bool,
    typer.Option("--prune", help="Then remove what earlier uploads left there; who reads one of them is interrupted."),
]
OutCache = Annotated[
    Path, typer.Option("--out", "-o", "--output", help="The .zarr cache to write.", rich_help_panel=OUTPUT)
]
Urls = Annotated[
    list[str] | None, typer.Argument(metavar="URL", help="Only mirrors of these URLs.", rich_help_panel=INPUT)
]
Old = Annotated[
    bool, typer.Option("--old", help="Only mirrors of uploads that a newer mirror of the same URL replaces.")
]
Remove = Annotated[bool, typer.Option("--remove", help="Remove them; the URLs stay as they are.")]


@examples(
    "est cache upload cache.zarr s3://bucket/cache.zarr", "est cache upload cache.zarr s3://bucket/cache.zarr --prune"
)
def upload(screen: Screen, *, cache: LocalCache, url: To, resend: Resend = False, prune: Prune = False) -> int:
    """Upload a cache to an object store, verified, its list of files last; the same command resumes.

    Everything goes: names, paths and crops. est cache convert --share leaves them out.
    """
    from ...cache import upload_cache

    with screen.resumable(), screen.watching() as watch:
        done = upload_cache(cache, url, resend=resend, prune=prune, watch=watch)
    screen.result(done.to_json(), done.line())
    return 0


@examples(
    "est cache download s3://bucket/cache.zarr --out cache.zarr",
    "est cache download https://host/cache.zarr --out cache.zarr",
)
def download(screen: Screen, *, url: Url, out: OutCache) -> int:
    """Write a cache at a URL into a folder of this machine, whole, every file compared; the same command resumes."""
    from ...cache import download_cache, open_cache

    with screen.resumable(), screen.watching() as watch:
        download_cache(url, out, watch=watch)
    clips = len(open_cache(out))
    screen.result({"out": str(out), "clips": clips, "from": url}, f"{counted(clips, 'clip')} in {out}, of {url}")
    return 0


@examples("est cache mirrors", "est cache mirrors --old --remove", "est cache mirrors s3://bucket/cache.zarr --remove")
def mirrors(screen: Screen, *, urls: Urls = None, old: Old = False, remove: Remove = False) -> int:
    """List what this machine keeps of caches at URLs, the one used last first; or remove it."""
    from ...cache.remote.mirror import list_mirrors, mirrors_folder, remove_mirrors, replaced

    found = list_mirrors()
    if unknown := sorted(set(urls or ()) - {mirror.url for mirror in found}):
        raise UsageError(f"There is no mirror of {unknown[0]}.", remedy="est cache mirrors lists those that there are")
    chosen = [mirror for mirror in found if not urls or mirror.url in urls]
    chosen = replaced(chosen) if old else chosen
    rows = [_row(one) for one in chosen]
    if remove:
        freed = remove_mirrors(chosen)
        text = f"{counted(len(chosen), 'mirror')} removed, {freed / 1e6:.1f} MB"
        screen.result({"removed": rows, "bytes": freed}, text)
        return 0
    table = [
        [one.url, f"{one.num_bytes() / 1e6:.1f} of {one.upload.num_bytes / 1e6:.1f} MB", str(one.root)]
        for one in chosen
    ]
    nothing = f"no {'old ' * old}mirrors in {mirrors_folder()}"
    screen.result({"mirrors": rows}, "\n".join(columns(table)) if table else nothing)
    return 0


def _row(mirror: Mirror) -> dict[str, Any]:
    about = {"url": mirror.url, "path": str(mirror.root), "commit": mirror.upload.commit}
    return about | {"bytes": mirror.num_bytes(), "whole": mirror.upload.num_bytes}
