"""The options of a push: to where, under which licence, for whom."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from .panels import OUTPUT
from .screen import Screen

if TYPE_CHECKING:
    from ..hub.sharing.terms import Permission, Terms

Licence = Annotated[
    str | None,
    typer.Option(
        "--licence",
        metavar="NAME",
        help="The licence of the data, which must allow passing this on.",
        rich_help_panel=OUTPUT.rare,
    ),
]
Public = Annotated[
    bool,
    typer.Option("--public", help="Let everybody see the repository. [default: private]", rich_help_panel=OUTPUT.rare),
]
Yes = Annotated[
    bool,
    typer.Option(
        "--yes", "-y", help="Confirm without being asked that the licence allows it.", rich_help_panel=OUTPUT.rare
    ),
]


def permission_of(screen: Screen, terms: Terms, licence: str | None, *, public: bool, yes: bool) -> Permission:
    """Ask whether the licence allows to pass something on, where it is named and not confirmed yet."""
    from ..hub.sharing.terms import Permission

    question = f"This is derived from {terms.describe()}. Does {licence!r} allow passing it on?"
    confirmed = yes or (licence is not None and screen.confirm(question) is True)
    return Permission(licence=licence, confirmed=confirmed, public=public)
