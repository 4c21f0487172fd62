"""The options that say how clips are divided, and `--set`: shared by training, tuning and re-caching."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import typer

from ...errors import UsageError
from ...train.config.protocol import GENERAL, PROTOCOLS
from ..choices import Halves
from ..panels import PROTOCOL, RECIPE

ProtocolName = Literal[(*GENERAL, *PROTOCOLS)]  # ty: ignore[invalid-type-form]

Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Set any setting by its name; may be repeated.", rich_help_panel=RECIPE
    ),
]
Protocol = Annotated[
    ProtocolName | None,
    typer.Option(
        "--protocol",
        metavar="NAME",
        help="auto, dfew, …: see est train --list-protocols.\n\n"
        f"{'; '.join(f'{name}: {what}' for name, what in GENERAL.items())}; or the protocol of a data set: "
        f"{', '.join(PROTOCOLS)}. est train --list-protocols describes them.",
        rich_help_panel=PROTOCOL,
    ),
]
Folds = Annotated[
    int | None, typer.Option("--folds", metavar="K", help="K folds by subject.", rich_help_panel=PROTOCOL)
]
Loso = Annotated[
    bool, typer.Option("--loso", help="Leave each subject out in turn and test on it.", rich_help_panel=PROTOCOL)
]
Holdout = Annotated[
    bool, typer.Option("--holdout", help="Test on one fifth of the subjects.", rich_help_panel=PROTOCOL)
]
By = Annotated[
    Halves | None,
    typer.Option(
        "--by",
        help="What is never divided between halves or folds. [default: subject]",
        rich_help_panel=PROTOCOL.rare,
    ),
]


def protocol_options(protocol: str | None, folds: int | None, *, loso: bool, holdout: bool) -> dict[str, Any]:
    """Turn the four ways to name a protocol into settings; two that contradict each other are refused."""
    named = {"--folds": "kfold" if folds is not None else None, "--loso": "loso" if loso else None}
    named |= {"--holdout": "holdout" if holdout else None, "--protocol": protocol}
    kinds = {name: kind for name, kind in named.items() if kind is not None}
    if len(set(kinds.values())) > 1:
        raise UsageError(f"{' and '.join(kinds)} ask for different protocols.", remedy="give one of them")
    kind = next(iter(kinds.values()), None)
    if (
        folds is None and kind is not None and kind in PROTOCOLS and PROTOCOLS[kind].kind == "kfold"
    ):  # whatever number a file says
        folds = PROTOCOLS[kind].folds
    return {"protocol.kind": kind, "protocol.folds": folds}
