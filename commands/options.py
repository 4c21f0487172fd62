"""The options that commands share, written once.

`command(app, "name")` registers a function whose first parameter is the `Screen`: the three options that shape it (--json, --quiet,
--debug) are added to the command line, and a user's error ends the command with its message and its exit status. A command of many
options gets --help-all, which shows those that --help leaves out; `examples` gives it the lines that end its help.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import EstError, UsageError, missing_library
from .panels import DATA, GENERAL, OUTPUT, PLAIN, PanelCommand, show_all
from .screen import Screen

Json = Annotated[
    bool, typer.Option("--json", help="Print JSON lines on stdout, for machines.", rich_help_panel=GENERAL.rare)
]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="Print results, warnings and errors only.", rich_help_panel=GENERAL.rare)
]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.", rich_help_panel=GENERAL.rare)]
HelpAll = Annotated[
    bool,
    typer.Option(
        "--help-all",
        is_eager=True,
        callback=show_all,
        help="Show this message with every option and exit.",
        rich_help_panel=GENERAL.rare,
    ),
]

Out = Annotated[Path, typer.Option("--out", "-o", "--output", help="The folder to write.", rich_help_panel=OUTPUT)]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace what an earlier call wrote there.", rich_help_panel=OUTPUT)
]
Seed = Annotated[int, typer.Option("--seed", help="The same seed gives the same result.", rich_help_panel=DATA)]

SCREEN_OPTIONS = [
    inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=annotation)
    for name, annotation in (("json", Json), ("quiet", Quiet), ("debug", Debug))
]
HELP_ALL = inspect.Parameter("help_all", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=HelpAll)

LOCAL = {  # parameters by which something is written → what fixes a URL there
    "out": "--out FOLDER or CACHE; est cache upload CACHE URL brings a cache to an object store",
    "into": "est cache download URL --out CACHE, then --into CACHE",
}

Command = Callable[..., int]  # returns the exit status


def examples(*lines: str) -> Callable[[Command], Command]:
    """Give a command the lines that end its help, as they are typed."""

    def remember(function: Command) -> Command:
        vars(function)["examples"] = lines
        return function

    return remember


def expect_paths(options: Mapping[str, Any]) -> None:
    """Refuse a URL where something is written: else a folder of that name would be made."""
    from ..cache.remote.address import url_of

    for name, remedy in LOCAL.items():
        if isinstance(options.get(name), Path) and (url := url_of(options[name])):
            raise UsageError(f"--{name} is a path on this machine, found {url}.", remedy=remedy)


def _epilog(function: Command) -> str | None:
    return "\n".join(vars(function).get("examples", ())) or None


def with_options_of(
    asks: Callable[..., Any], *, without: Sequence[str] = (), changed: Mapping[str, Any] | None = None
) -> Callable[[Command], Command]:
    """Give a command the options of another function, as keyword arguments, behind its own.

    Those are the function's keyword-only parameters but `without`; `changed` are other declarations of some.
    """
    changed = changed or {}
    theirs = [
        one.replace(annotation=changed.get(one.name, one.annotation))
        for one in inspect.signature(asks, eval_str=True).parameters.values()
        if one.kind is inspect.Parameter.KEYWORD_ONLY and one.name not in without
    ]

    def take(function: Command) -> Command:
        signature = inspect.signature(function, eval_str=True)
        own = [one for one in signature.parameters.values() if one.kind is not inspect.Parameter.VAR_KEYWORD]

        @functools.wraps(function)
        def run(*arguments: Any, **given: Any) -> int:
            return function(*arguments, **given)

        run.__signature__ = signature.replace(parameters=[*own, *theirs])  # ty: ignore[missing-attribute]
        return run

    return take


def command(app: typer.Typer, name: str, **settings: Any) -> Callable[[Command], Command]:
    """Register a function of (screen, options…) as a command."""

    def register(function: Command) -> Command:
        app.command(name, cls=PanelCommand, epilog=_epilog(function), **settings)(with_screen(function))
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
        app.callback(invoke_without_command=True, epilog=_epilog(function), **settings)(run_alone)
        return function

    return register


def with_screen(function: Command) -> Command:
    """Replace the parameter `screen` by the options that shape it, and turn a user's error into a status."""
    signature = inspect.signature(function, eval_str=True)
    first, *others = signature.parameters.values()
    assert first.annotation is Screen, f"{function} takes no Screen first"
    parameters = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in others] + SCREEN_OPTIONS
    if len(parameters) > PLAIN:
        parameters.append(HELP_ALL)

    @functools.wraps(function)
    def run(**options: Any) -> int:
        screen = Screen(**{p.name: options.pop(p.name) for p in SCREEN_OPTIONS})
        options.pop(HELP_ALL.name, None)
        try:
            expect_paths(options)
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
