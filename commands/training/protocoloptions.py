"""The options that say how clips are divided, and `--set`: shared by training, tuning and re-caching."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ...errors import UsageError

Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any setting by its name; may be repeated.")
]


Protocol = Annotated[
    str | None,
    typer.Option(
        "--protocol",
        help="auto (the cache's folds, else its splits, else folds by subject), official (those or none), folds, split, "
        "kfold, loso, holdout, or a data set: dfew, mafw, afew, megc, ….",
    ),
]


Folds = Annotated[int | None, typer.Option("--folds", metavar="K", help="K folds by subject.")]


Loso = Annotated[bool, typer.Option("--loso", help="Leave one subject out, each in turn.")]


Holdout = Annotated[bool, typer.Option("--holdout", help="One fifth of the subjects is tested.")]


By = Annotated[str | None, typer.Option("--by", help="What is never divided between halves: subject or clip.")]


def protocol_options(protocol: str | None, folds: int | None, *, loso: bool, holdout: bool) -> dict[str, Any]:
    """Turn the four ways to name a protocol into settings; two that contradict each other are refused."""
    named = {"--folds": "kfold" if folds is not None else None, "--loso": "loso" if loso else None}
    named |= {"--holdout": "holdout" if holdout else None, "--protocol": protocol}
    kinds = {name: kind for name, kind in named.items() if kind is not None}
    if len(set(kinds.values())) > 1:
        raise UsageError(f"{' and '.join(kinds)} ask for different protocols.", remedy="give one of them")
    kind = next(iter(kinds.values()), None)
    if kind is not None and folds is None:
        from ...train.config.protocol import PROTOCOLS

        if kind in PROTOCOLS and PROTOCOLS[kind].kind == "kfold":  # whatever number a file says
            folds = PROTOCOLS[kind].folds
    return {"protocol.kind": kind, "protocol.folds": folds}
