"""`est cache ls`: the clips of a cache, filtered and sorted; its failures; or the caches of a folder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...errors import UsageError, counted, some
from ..options import Overwrite, examples
from ..panels import CLIPS, INPUT, OUTPUT
from ..screen import Screen
from .clipoptions import Fold, Label, Reverse, Sort, Split, Subject, Where

if TYPE_CHECKING:
    from ...cache.reading.reader import Cache

CacheOrFolder = Annotated[
    Path,
    typer.Argument(metavar="CACHE", help="A cache, or a folder to search for caches.", rich_help_panel=INPUT),
]
Failures = Annotated[
    bool, typer.Option("--failures", help="List the failures instead of the clips.", rich_help_panel=CLIPS)
]
Limit = Annotated[
    int | None,
    typer.Option("--limit", metavar="N", help="Largest number of rows. [default: all]", rich_help_panel=CLIPS),
]
Csv = Annotated[
    str | None,
    typer.Option(
        "--csv", metavar="FILE", help="Write a table with every column; - for the screen.", rich_help_panel=OUTPUT
    ),
]


@examples(
    "est cache ls cache.zarr --where 'coverage < 0.5' --sort coverage",
    "est cache ls cache.zarr --failures",
    "est cache ls cache.zarr --csv clips.csv",
)
def ls(
    screen: Screen,
    *,
    cache: CacheOrFolder,
    label: Label = None,
    subject: Subject = None,
    split: Split = None,
    fold: Fold = None,
    where: Where = None,
    sort: Sort = None,
    reverse: Reverse = False,
    limit: Limit = None,
    csv: Csv = None,
    overwrite: Overwrite = False,
    failures: Failures = False,
) -> int:
    """List the clips of a cache, one a line, by quality or any other column; or the caches in a folder."""
    from ...cache import open_cache
    from ...cache.reading.listing import Choice, Listing
    from ...cache.schema import NO_FOLD
    from ...cache.stores.snapshot import find_caches
    from .infopage import clip_line, failure_line

    if failures and (where or sort or csv):
        raise UsageError(
            "--where, --sort and --csv are for clips, and --failures lists failures.", remedy="--failures --json"
        )
    if csv == "-" and screen.json:
        raise UsageError("--csv - and --json both write to the screen.", remedy="--csv FILE --json")
    choice = Choice(
        label=label, subject=subject, split=split, fold=fold, where=where, sort=sort, reverse=reverse, limit=limit
    )
    if cache.is_dir() and cache.suffix != ".zarr":
        found, foreign = find_caches(cache)
        lines = [str(path) for path in found] or [f"No caches in {cache.resolve()}."]
        if foreign:
            lines.append(f"not caches of est: {some(foreign)}")
        screen.result(
            {"caches": [str(path) for path in found], "foreign": [str(path) for path in foreign]}, "\n".join(lines)
        )
        return 0
    opened = open_cache(cache)
    if failures:
        failed = failure_rows(opened, label=label, subject=subject, split=split, fold=fold)[:limit]
        screen.result({"failures": failed}, "\n".join(map(failure_line, failed)) or "No failures.")
        return 0
    clips = Listing(opened)
    rows = list(clips.rows(clips.choose(choice)))
    if csv is not None:
        known = [row | {"fold": None if row["fold"] == NO_FOLD else row["fold"]} for row in rows]
        write_csv(screen, csv, list(clips.columns), known, overwrite=overwrite)
    if csv != "-":
        written = {} if csv is None else {"csv": csv}
        text = "\n".join(map(clip_line, rows)) or "No clips."
        screen.result({"clips": rows} | written, text if csv is None else f"{counted(len(rows), 'clip')} in {csv}")
    return 0


def write_csv(
    screen: Screen, name: str, header: list[str], rows: Iterable[Mapping[str, Any]], *, overwrite: bool
) -> None:
    """Write clips as a CSV with a header, to a file or to the screen; what is unknown is an empty cell."""
    import csv
    import io

    text = io.StringIO(newline="")
    table = csv.DictWriter(text, header, lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    if name == "-":
        screen.result({}, text.getvalue().removesuffix("\n"))
        return
    from ...report.output import write_output

    write_output(Path(name), text.getvalue(), overwrite=overwrite)


def failure_rows(cache: Cache, **conditions: list[Any] | None) -> list[dict[str, Any]]:
    """Return what `ls --failures` says of the failures that meet all conditions."""
    cache.select(**conditions)  # refuses a label that the cache does not have
    names = ("id", "label", "subject", "split", "fold", "stage", "error", "path")
    rows = [{name: getattr(failure, name) for name in names} for failure in cache.failures]
    wanted = {name: values for name, values in conditions.items() if values is not None}
    return [row for row in rows if all(row[name] in values for name, values in wanted.items())]
