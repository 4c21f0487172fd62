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

from ...train.models.registry import MODELS, config_class
from ..cachenames import expect_no_cache
from ..panels import MODEL

MODEL_LIST = "; ".join(f"{name}: {title}" for name, title in MODELS.items())
FRAME_MODELS = [name for name in MODELS if not config_class(name)().of_windows]
FRAME_MODEL_LIST = "; ".join(f"{name}: {MODELS[name]}" for name in FRAME_MODELS)
ModelName = Literal[tuple(MODELS)]  # ty: ignore[invalid-type-form]
FrameModelName = Literal[tuple(FRAME_MODELS)]  # ty: ignore[invalid-type-form]


def with_model_flags(function: Callable[..., int]) -> Callable[..., int]:
    """Give a command the options of all models; it gets those that were used as keyword arguments `model.KEY`."""
    found: dict[str, list[tuple[str, Any]]] = {}  # key → the models that have it, and what `flag` says
    having: dict[str, list[str]] = {}  # key → all models that have it: an option sets it in those without a flag, too
    for name in MODELS:
        for item in fields(config_class(name)):
            having.setdefault(item.name, []).append(name)
            if "flag" in item.metadata:
                found.setdefault(item.name, []).append((name, item.metadata))
    options = {key: _parameter(key, owners, having[key]) for key, owners in found.items()}
    signature = inspect.signature(function, eval_str=True)
    own = [one for one in signature.parameters.values() if one.kind is not inspect.Parameter.VAR_KEYWORD]

    @functools.wraps(function)
    def run(*arguments: Any, **given: Any) -> int:
        expect_no_cache("--model", given.get("model"))
        of_model = {f"model.{name}": given.pop(name) for name in list(given) if name in options}
        return function(*arguments, **given, **of_model)

    place = next(number for number, one in enumerate(own) if one.name == "model") + 1
    run.__signature__ = signature.replace(parameters=[*own[:place], *options.values(), *own[place:]])  # ty: ignore[missing-attribute]
    return run


def _words(name: str, key: str) -> tuple[str, ...]:
    """Return the words that a setting of a model takes; none: it takes any value of its type."""
    kind = get_type_hints(config_class(name))[key]
    return get_args(kind) if get_origin(kind) is Literal else ()


def _parameter(key: str, owners: list[tuple[str, Any]], having: list[str]) -> inspect.Parameter:
    """Return an option that is left out unless it is typed; its help says which models have it, where there are several."""
    metadata = owners[0][1]
    spelt = {(of_model["flag"], of_model["kind"]) for _, of_model in owners}
    assert len(spelt) == 1, f"model.{key} is {spelt}: models that share a key share its option and its type"
    several = len(MODELS) > 1
    text = " ".join(f"{name}: {of_model['help']}" if several else of_model["help"] for name, of_model in owners)
    if others := [name for name in having if name not in dict(owners)]:
        text += f" Also of {', '.join(others)}."
    words = dict.fromkeys(word for name, _ in owners for word in _words(name, key))
    kind: Any = Literal[tuple(words)] if words else metadata["kind"]  # ty: ignore[invalid-type-form]
    annotation = Annotated[Optional[kind], typer.Option(metadata["flag"], help=text, rich_help_panel=MODEL.rare)]  # noqa: UP045
    return inspect.Parameter(key, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
