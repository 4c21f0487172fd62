"""The options of `est train` that belong to models: fields of a model's settings that `flag` made.

A name that several models have is one option; whether the model that is chosen has it is checked with all other settings.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import fields
from typing import Annotated, Any, Optional, get_args, get_type_hints

import typer

from ..train.models.registry import MODELS, config_class

MODEL_LIST = "; ".join(f"{name}: {title}" for name, title in MODELS.items())


def with_model_flags(function: Callable[..., int]) -> Callable[..., int]:
    """Give a command the options of all models; it gets those that were used as keyword arguments `model.KEY`."""
    options: dict[str, inspect.Parameter] = {}
    for name in MODELS:
        kind = config_class(name)
        hints = get_type_hints(kind)
        for item in fields(kind):
            if "flag" in item.metadata and item.name not in options:
                options[item.name] = _parameter(item.name, hints[item.name], item.metadata)
    signature = inspect.signature(function, eval_str=True)
    own = [one for one in signature.parameters.values() if one.kind is not inspect.Parameter.VAR_KEYWORD]

    @functools.wraps(function)
    def run(*arguments: Any, **given: Any) -> int:
        of_model = {f"model.{name}": given.pop(name) for name in list(given) if name in options}
        return function(*arguments, **given, **of_model)

    place = next(number for number, one in enumerate(own) if one.name == "model") + 1
    run.__signature__ = signature.replace(parameters=[*own[:place], *options.values(), *own[place:]])  # ty: ignore[unresolved-attribute]
    return run


def _parameter(name: str, kind: Any, metadata: Any) -> inspect.Parameter:
    """Return an option that is left out unless it is typed."""
    plain: Any = str if get_args(kind) else kind  # a Literal: the settings check the word
    annotation = Annotated[Optional[plain], typer.Option(metadata["flag"], help=metadata["help"])]  # noqa: UP045
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
