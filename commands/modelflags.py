"""The options of `est train` that belong to models: fields of a model's settings that `flag` made.

A name that several models have is one option; whether the model that is chosen has it is checked with all other settings.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import fields
from typing import Annotated, Any, Literal, Optional, get_args, get_origin, get_type_hints

import typer

from ..train.models.registry import MODELS, config_class

MODEL_LIST = "; ".join(f"{name}: {title}" for name, title in MODELS.items())


def with_model_flags(function: Callable[..., int]) -> Callable[..., int]:
    """Give a command the options of all models; it gets those that were used as keyword arguments `model.KEY`."""
    found: dict[str, list[tuple[str, Any, Any]]] = {}  # key → the models that have it, its type and what `flag` says
    for name in MODELS:
        kind = config_class(name)
        hints = get_type_hints(kind)
        for item in fields(kind):
            if "flag" in item.metadata:
                found.setdefault(item.name, []).append((name, hints[item.name], item.metadata))
    options = {key: _parameter(key, owners) for key, owners in found.items()}
    signature = inspect.signature(function, eval_str=True)
    own = [one for one in signature.parameters.values() if one.kind is not inspect.Parameter.VAR_KEYWORD]

    @functools.wraps(function)
    def run(*arguments: Any, **given: Any) -> int:
        of_model = {f"model.{name}": given.pop(name) for name in list(given) if name in options}
        return function(*arguments, **given, **of_model)

    place = next(number for number, one in enumerate(own) if one.name == "model") + 1
    run.__signature__ = signature.replace(parameters=[*own[:place], *options.values(), *own[place:]])  # ty: ignore[unresolved-attribute]
    return run


def _parameter(key: str, owners: list[tuple[str, Any, Any]]) -> inspect.Parameter:
    """Return an option that is left out unless it is typed; its help says which models have it, where there are several."""
    _, kind, metadata = owners[0]
    spelt = {(of_model["flag"], _plain(one)) for _, one, of_model in owners}
    assert len(spelt) == 1, f"model.{key} is {spelt}: models that share a key share its option and its type"
    several = len(MODELS) > 1
    text = " ".join(f"{name}: {of_model['help']}" if several else of_model["help"] for name, _, of_model in owners)
    plain: Any = _plain(kind)
    annotation = Annotated[Optional[plain], typer.Option(metadata["flag"], help=text)]  # noqa: UP045
    return inspect.Parameter(key, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _plain(kind: Any) -> Any:
    """Return the type of an option: a word where the settings name the choices, and what is not None where it may be left out."""
    if get_origin(kind) is Literal:
        return str
    return next((one for one in get_args(kind) if one is not type(None)), kind)
