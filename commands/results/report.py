"""`est report`: one page of a cache, of a run, or of several runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ...errors import UsageError, quoted
from ..options import Overwrite, examples
from ..screen import Screen

CACHES = (".zarr", ".h5", ".hdf5")

Paths = Annotated[
    list[Path], typer.Argument(metavar="PATH", help="A cache, or one or several runs, which are compared.")
]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        "-o",
        "--output",
        help="The HTML file. [default: NAME-report.html here; of several runs, runs-report.html]",
    ),
]
Faces = Annotated[
    bool,
    typer.Option(
        "--faces", help="Show face pictures. They are personal data: share such a page only where that is allowed."
    ),
]
FullPaths = Annotated[
    bool, typer.Option("--paths", help="Show the folders of caches, runs and videos, which may name people.")
]
CachePath = Annotated[
    Path | None,
    typer.Option("--cache", "-c", help="Where the cache of a run is now. [default: where it was]"),
]
Open = Annotated[bool, typer.Option("--open", help="Open the page in the browser.")]


@examples("est report cache.zarr --faces --open", "est report runs/mine runs/other --out comparison.html")
def report(
    screen: Screen,
    *,
    paths: Paths,
    out: Out = None,
    cache: CachePath = None,
    faces: Faces = False,
    full_paths: FullPaths = False,
    open_page: Open = False,
    overwrite: Overwrite = False,
) -> int:
    """Write a cache, or the results of runs, as one HTML page. It needs no other file and no network."""
    from ...report.output import expect_free

    caches = [path for path in paths if path.suffix.lower() in CACHES]
    if caches and len(paths) > 1:
        raise UsageError(
            f"A page is of one cache, or of runs; found {len(caches)} caches and {len(paths) - len(caches)} others.",
            remedy=f"est report {quoted(caches[0])}",
        )
    if caches and cache is not None:
        raise UsageError("--cache says where the cache of a run is; this page is of a cache.", remedy="leave it out")
    for path in paths:
        if not path.exists() and not caches:
            raise UsageError(f"There is no {path}.", remedy="est runs lists runs, est cache ls DIR lists caches")
    if out is None:
        out = Path("runs-report.html" if len(paths) > 1 else f"{paths[0].resolve().stem}-report.html")
    if out.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"--out is an HTML file, found {out}.", remedy=f"--out {quoted(str(out) + '.html')}")
    expect_free([out], overwrite=overwrite)
    if caches:
        from ...report.cachepage.page import cache_page

        with screen.watching() as watch:
            written = cache_page(caches[0], out, faces=faces, paths=full_paths, overwrite=overwrite, watch=watch)
    else:
        from ...report.runpage.page import run_page

        with screen.watching() as watch:
            written = run_page(paths, out, faces=faces, paths=full_paths, cache=cache, overwrite=overwrite, watch=watch)
    screen.result({"page": str(written), "bytes": written.stat().st_size}, f"page: {written}")
    if open_page:
        import webbrowser

        if not webbrowser.open(written.resolve().as_uri()):
            screen.warn(f"No browser was found: open {written} yourself.")
    return 0
