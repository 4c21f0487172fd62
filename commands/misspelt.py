"""Messages for a command line that could not be parsed: the nearest option, command or value, instead of the parser's message."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..errors import UsageError, nearest, some
from .cachenames import is_cache_name, no_cache, takes_option, with_cache_option
from .panels import help_line

if TYPE_CHECKING:
    from typer._click import Context
    from typer.exceptions import TyperException

# What other tools call an option that has another name here, or that a command has no option for; the first that the command has. Names
# that most people type are not here: they are further names of the option itself.
CALLED: dict[str, tuple[str, ...]] = {
    "lr": ("set loop.learning_rate=",),
    "learning-rate": ("set loop.learning_rate=",),
    "output-dir": ("out",),
    "out-dir": ("out",),
    "features": ("set data.feature=",),
    "gpu": ("device",),
    "gpus": ("device",),
    "force": ("overwrite",),
    "data": ("cache",),
    "checkpoint": ("run", "weights"),
    "num-epochs": ("epochs",),
    "num-folds": ("folds",),
    "run-dir": ("run",),
    "labels": ("label",),
}
EXPLAINED = {  # what says more of the words of an option than its help
    "--model": "est train --list-models",
    "--protocol": "est train --list-protocols",
}
KINDS = {
    "Input should be a valid number": "a number",
    "Input should be a valid integer": "a whole number",
}


def mended(error: TyperException, arguments: Sequence[str]) -> UsageError:
    """Return what a user is told of a line that could not be parsed."""
    context: Context | None = getattr(error, "ctx", None)
    message = error.format_message()
    remedy = f"{context.command_path} --help" if context else "est --help"
    if context is not None and (parameter := getattr(error, "param", None)) is not None:
        remedy = help_line(context, parameter)
    if with_cache := with_cache_option(message, context, arguments):
        return UsageError(message, remedy=with_cache)
    kind = type(error).__name__
    if kind == "NoSuchOption" and context is not None:
        return _no_option(error, context, help_line(context))
    if kind == "BadParameter":
        return _bad_value(error, message, remedy)
    return UsageError(message, remedy=_command(context, message, arguments) or remedy)


def _no_option(error: Any, context: Context, remedy: str) -> UsageError:
    """Name the option that is meant, of those that the command has."""
    given = error.option_name
    known = [name for one in context.command.params for name in (*one.opts, *one.secondary_opts) if name[:2] == "--"]
    plain = given.lstrip("-").casefold().replace("_", "-")
    meant = next((f"--{name}" for name in CALLED.get(plain, ()) if f"--{name.split(' ')[0]}" in known), None)
    elsewhere = [] if meant else _with_option(context, f"--{plain}")
    near = meant or nearest(f"--{plain}", known, cutoff=0.85 if elsewhere else 0.7)
    if near is None and not elsewhere and (called := nearest(plain, CALLED, cutoff=0.8)):
        near = next((f"--{name}" for name in CALLED[called] if f"--{name.split(' ')[0]}" in known), None)
    message = f"{context.command_path} has no option {given}"
    if elsewhere:
        message += f"; {some(elsewhere)} {'has' if len(elsewhere) == 1 else 'have'} --{plain}"
    return UsageError(f"{message}.", remedy=f"{near}, or {remedy} for all" if near else remedy)


def _with_option(context: Context, option: str) -> list[str]:
    """Return the other commands that have an option of this name, `train` first: most options that are typed elsewhere are its own."""
    root = context.find_root()
    commands = getattr(root.command, "commands", {})
    having = [name for name in commands if any(option in one.opts for one in commands[name].params)]
    return [f"{root.command_path} {name}" for name in sorted(having, key=lambda name: name != "train")]


def _bad_value(error: Any, message: str, remedy: str) -> UsageError:
    """Return what an option takes, and which of its words is nearest."""
    parameter = error.param
    option = next((name for name in getattr(parameter, "opts", ()) if name[:2] == "--"), None)
    for words, kind in KINDS.items():
        if words in error.message:
            return UsageError(message.replace(error.message, f"it takes {kind}."), remedy=remedy)
    head, between, tail = error.message.partition(" is not one of ")
    if option is None or not between:
        return UsageError(message, remedy=remedy)
    found, choices = head.partition("'")[2].rstrip("'"), re.findall(r"'([^']*)'", tail)
    if is_cache_name(found) and takes_option(error.ctx):
        return no_cache(option, found)
    *others, last = choices
    listed = f"{', '.join(others)} or {last}" if others else last
    near = nearest(found, choices, cutoff=0.5) or ("auto" if parameter.default == "auto" else None)
    remedy = f"{option} {near}" if near else EXPLAINED.get(option, remedy)
    return UsageError(f"{option} is {listed}, found {found!r}.", remedy=remedy)


def _command(context: Context | None, message: str, arguments: Sequence[str]) -> str | None:
    """Return the line with the command that is meant, where one word is none."""
    commands = getattr(getattr(context, "command", None), "commands", None)
    if context is None or commands is None or "No such command" not in message:
        return None
    found = message.partition("'")[2].partition("'")[0]
    near = nearest(found, commands, cutoff=0.5)
    if near is None or found not in arguments:
        return None
    line = list(arguments)
    line[line.index(found)] = near
    return shlex.join(["est", *line])
