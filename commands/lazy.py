"""A group of commands that are imported when they are called: `est --help` lists them by a table and imports none."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command, get_group

from .options import command

if TYPE_CHECKING:
    from typer._click import Command, Context, HelpFormatter


class LazyCommands(MutableMapping[str, Any]):
    """Commands by name: of a module of that name in a folder here, its `app`, or its function of that name."""

    def __init__(self, folders: dict[str, str]) -> None:
        self._folders = folders
        self._made: dict[str, Command | None] = dict.fromkeys(folders)

    def __getitem__(self, name: str) -> Command:
        found = self._made[name]
        if found is None:
            found = self._made[name] = _made(name, self._folders[name])
        return found

    def __setitem__(self, name: str, made: Command) -> None:
        self._made[name] = made

    def __delitem__(self, name: str) -> None:
        del self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._made)

    def __len__(self) -> int:
        return len(self._made)


class LazyGroup(TyperGroup):
    """The group; those that inherit it say what its commands do, by name, in the words with which each help begins, and where they lie."""

    texts: ClassVar[dict[str, str]] = {}
    folders: ClassVar[dict[str, tuple[str, ...]]] = {}  # with the commands in each; others lie beside this module

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        homes = {name: folder for folder, names in self.folders.items() for name in names}
        others, self.commands = self.commands, LazyCommands({name: homes.get(name, "") for name in self.texts})
        self.commands.update(others)

    def format_commands(self, ctx: Context, formatter: HelpFormatter) -> None:
        """List the commands."""
        limit = formatter.width - 6 - max(map(len, self.commands))
        texts = {name: self.texts.get(name) or self.commands[name].help for name in self.commands}
        rows = [(name, TyperCommand(name, help=text).get_short_help_str(limit)) for name, text in texts.items()]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def _made(name: str, folder: str) -> Command:
    """Import a command."""
    module = import_module(f".{folder}.{name}" if folder else f".{name}", __package__)
    if hasattr(module, "app"):
        found: Command = get_group(module.app)
    else:
        app = typer.Typer(rich_markup_mode=None, add_completion=False)
        command(app, name)(getattr(module, name))
        found = get_command(app)
    found.name = name
    return found
