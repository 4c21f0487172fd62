"""`est cache push` and `est cache pull`: a cache to and from a hub."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ...errors import counted
from ..options import examples
from ..pushoptions import Licence, Public, Yes, permission_of
from ..screen import Screen
from .clipoptions import CachePath

To = Annotated[str, typer.Argument(metavar="hub:ORG/NAME", help="The repository of a data set to push to.")]
From = Annotated[
    str, typer.Argument(metavar="hub:ORG/NAME", help="The repository to pull from; @REVISION may follow the name.")
]
OutCache = Annotated[
    Path, typer.Option("--out", "-o", "--output", help="The cache to write; .zarr or .h5 chooses the store.")
]
Features = Annotated[str | None, typer.Option("--features", metavar="A,B", help="Only these feature arrays.")]


@examples(
    "est cache push cache.zarr hub:ORG/NAME --licence CC-BY-4.0",
    "est cache push cache.zarr hub:ORG/NAME --features gap",
)
def push(
    screen: Screen,
    *,
    cache: CachePath,
    to: To,
    features: Features = None,
    licence: Licence = None,
    public: Public = False,
    yes: Yes = False,
) -> int:
    """Push what may be shared of a cache to a hub, private, with a page: no pictures, paths or names of people."""
    from ...hub.sharing.caches import push_cache, terms_of_cache

    terms = terms_of_cache(cache)
    terms.expect_features_may_go()
    permission = permission_of(screen, terms, licence, public=public, yes=yes)
    wanted = features.split(",") if features is not None else None
    with screen.watching() as watch:
        found = push_cache(cache, to, permission, features=wanted, watch=watch)
    screen.result(found.to_json(), found.line())
    return 0


@examples("est cache pull hub:ORG/NAME --out cache.zarr", "est cache pull hub:ORG/NAME@v1 --out cache.h5")
def pull(screen: Screen, *, name: From, out: OutCache) -> int:
    """Write a cache from a hub, verified; the commit that it came from is recorded in it."""
    from ...cache import open_cache
    from ...hub.sharing.caches import pull_cache

    with screen.watching() as watch:
        found = pull_cache(name, out, watch=watch)
    clips = len(open_cache(out))
    screen.result(
        {"out": str(out), "clips": clips, "from": str(found)}, f"{counted(clips, 'clip')} in {out}, of {found}"
    )
    return 0
