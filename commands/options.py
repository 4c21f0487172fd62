"""The options that commands share, written once.

`command(app, "name")` registers a function whose first parameter is the `Screen`: the three options that shape it (--json, --quiet,
--debug) are added to the command line, and a user's error ends the command with its message and its exit status.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import EstError, missing_library
from .screen import Screen

Json = Annotated[bool, typer.Option("--json", help="Print JSON lines on stdout, for machines.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print results, warnings and errors only.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]

Out = Annotated[Path, typer.Option("--out", "-o", help="The folder to write.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what an earlier call wrote there.")]
Seed = Annotated[int, typer.Option("--seed", help="The same seed gives the same result.")]

SCREEN_OPTIONS = [
    inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=annotation)
    for name, annotation in (("json", Json), ("quiet", Quiet), ("debug", Debug))
]

Command = Callable[..., int]  # returns the exit status


def command(app: typer.Typer, name: str, **settings: Any) -> Callable[[Command], Command]:
    """Register a function of (screen, options…) as a command."""

    def register(function: Command) -> Command:
        app.command(name, **settings)(with_screen(function))
        return function

    return register


def group_command(app: typer.Typer, **settings: Any) -> Callable[[Command], Command]:
    """Register what a group of commands does when it is called by its own name alone.

    An option between the group's name and a command's would be parsed and ignored: it is refused instead.
    """

    def register(function: Command) -> Command:
        run = with_screen(function)

        @functools.wraps(run)
        def run_alone(context: typer.Context, **options: Any) -> int:
            if context.invoked_subcommand is None:
                return run(**options)
            given = [name for name in options if str(context.get_parameter_source(name)).endswith("COMMANDLINE")]
            if given:
                option = "--" + given[0].replace("_", "-")
                path = f"{context.command_path} {context.invoked_subcommand}"
                raise typer.BadParameter(
                    f"it stands before {context.invoked_subcommand}: try {path} {option}", param_hint=option
                )
            return 0

        parameter = inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
        signature = inspect.signature(run)
        run_alone.__signature__ = signature.replace(parameters=[parameter, *signature.parameters.values()])  # ty: ignore[missing-attribute]
        run_alone.__annotations__ = {**run.__annotations__, "context": typer.Context}
        app.callback(invoke_without_command=True, **settings)(run_alone)
        return function

    return register


def with_screen(function: Command) -> Command:
    """Replace the parameter `screen` by the options that shape it, and turn a user's error into a status."""
    signature = inspect.signature(function, eval_str=True)
    first, *others = signature.parameters.values()
    assert first.annotation is Screen, f"{function} takes no Screen first"
    parameters = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in others] + SCREEN_OPTIONS

    @functools.wraps(function)
    def run(**options: Any) -> int:
        screen = Screen(**{p.name: options.pop(p.name) for p in SCREEN_OPTIONS})
        try:
            return function(screen, **options)
        except EstError as error:
            return screen.error(error)
        except ImportError as error:
            explained = missing_library(error)
            if explained is None:
                raise
            return screen.error(explained)

    run.__signature__ = signature.replace(parameters=parameters)  # ty: ignore[missing-attribute]
    run.__annotations__ = {p.name: p.annotation for p in parameters}
    return run
