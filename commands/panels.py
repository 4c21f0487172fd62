"""A command's help: options in panels by purpose, and examples; the daily options with --help, all of them with --help-all.

An option names its panel where it is declared, with typer's `rich_help_panel=`: `FACES`, or `FACES.rare` where few need it. Of its help
--help shows the first paragraph, and of its names the first long one; --help-all shows everything. A command of at most `PLAIN` options
has one list of them and no --help-all. rich draws nothing here: its help pages take longer than everything else that a help does.

An option may have several names; two different values for it, given by two of its names, are refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import typer
from typer._click.parser import _OptionParser
from typer.core import TyperCommand, TyperGroup

from ..errors import UsageError

if TYPE_CHECKING:
    from typer._click import Command, Context, HelpFormatter, Parameter

PLAIN = 12  # so many options need no panels
COLUMN = 30  # the widest name that has its help beside it and not below
ALL = "est.help-all"  # in the context of a command: whether everything is shown


class Panel(str):
    """The heading of options that serve one purpose."""

    __slots__ = ("is_rare",)

    def __new__(cls, title: str, *, is_rare: bool = False) -> Panel:
        made = super().__new__(cls, title)
        made.is_rare = is_rare
        return made

    @property
    def rare(self) -> Panel:
        """The same panel, for options that --help leaves out."""
        return Panel(self, is_rare=True)


INPUT = Panel("Input")
DATA = Panel("Data")
MODEL = Panel("Model")
RECIPE = Panel("Recipe")
SEARCH = Panel("Search")
PROTOCOL = Panel("Protocol")
CLIPS = Panel("Clips")
COLUMNS = Panel("Columns")
WINDOWS = Panel("Windows")
FACES = Panel("Faces")
FEATURES = Panel("Features")
AUGMENTATION = Panel("Augmentation")
TIMELINE = Panel("Timeline")
CLUSTER = Panel("Cluster")
MACHINE = Panel("Machine")
OUTPUT = Panel("Output")
GENERAL = Panel("Messages and help")
ORDER = [
    *(INPUT, DATA, MODEL, RECIPE, SEARCH, PROTOCOL, CLIPS, COLUMNS, WINDOWS, FACES, FEATURES, AUGMENTATION, TIMELINE),
    *(CLUSTER, MACHINE, OUTPUT, GENERAL),
]


class OneValueParser(_OptionParser):
    """A parser that refuses two values of one option under two of its names: the last would win silently."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._is_completing = context.resilient_parsing  # of an unfinished line, in a shell
        self._given: dict[str, tuple[str, Any]] = {}  # option → the name and the value that were given first

    def _get_value_from_state(self, option_name: str, option: Any, state: Any) -> str | Sequence[str]:
        value = super()._get_value_from_state(option_name, option, state)
        first, before = self._given.setdefault(option.dest, (option_name, value))
        if first != option_name and before != value and option.action == "store" and not self._is_completing:
            raise UsageError(
                f"{first} and {option_name} are the same option, found {before!r} and {value!r}.",
                remedy=f"{first} {before}, or {first} {value}",
            )
        return value


class PanelCommand(TyperCommand):
    """A command whose help is laid out here."""

    def make_parser(self, ctx: Context) -> _OptionParser:
        return make_parser(self, ctx)

    def format_options(self, ctx: Context, formatter: HelpFormatter) -> None:
        write_options(self, ctx, formatter)

    def format_epilog(self, ctx: Context, formatter: HelpFormatter) -> None:
        write_examples(self, ctx, formatter)


class PanelGroup(TyperGroup):
    """A group of commands whose help is laid out here."""

    def make_parser(self, ctx: Context) -> _OptionParser:
        return make_parser(self, ctx)

    def format_options(self, ctx: Context, formatter: HelpFormatter) -> None:
        write_options(self, ctx, formatter)
        self.format_commands(ctx, formatter)

    def format_epilog(self, ctx: Context, formatter: HelpFormatter) -> None:
        write_examples(self, ctx, formatter)


def make_parser(command: Command, context: Context) -> OneValueParser:
    """Return the parser of a command's options."""
    parser = OneValueParser(context)
    for parameter in command.get_params(context):
        parameter.add_to_parser(parser, context)
    return parser


def show_all(context: typer.Context, wanted: bool) -> None:
    """Print the whole help and stop, when it is wanted."""
    if wanted and not context.resilient_parsing:
        typer.echo(whole_help(context))
        raise typer.Exit


def whole_help(context: Context) -> str:
    """Return the help with every option."""
    context.meta[ALL] = True
    return context.get_help()


def write_options(command: Command, context: Context, formatter: HelpFormatter) -> None:
    """Write the panels that have options to show; of a command with few options, its arguments and its options."""
    panels: dict[str, list[tuple[str, str]]] = {}
    for parameter in shown(command, context):
        panels.setdefault(_title(command, parameter), []).append(_row(command, context, parameter))
    width = min(COLUMN, max((len(names) for rows in panels.values() for names, _ in rows), default=0))
    for title in sorted(panels, key=lambda title: ORDER.index(Panel(title)) if title in ORDER else 0):
        with formatter.section(title):
            formatter.write_dl([(names.ljust(width), text) for names, text in panels[title]], col_max=COLUMN)


def write_examples(command: Command, context: Context, formatter: HelpFormatter) -> None:
    """Write the examples, a line each as it is typed, and how many options --help-all shows besides."""
    if command.epilog:
        with formatter.section("Examples"):
            for line in command.epilog.splitlines():
                formatter.write(f"{'':>{formatter.current_indent}}{line}\n")
    if hidden := len(_visible(command, context)) - len(shown(command, context)):
        formatter.write_paragraph()
        formatter.write(f"{context.command_path} --help-all shows {hidden} more options.\n")


def shown(command: Command, context: Context) -> list[Parameter]:
    """Return the arguments and options that the help has now, daily ones first."""
    visible = _visible(command, context)
    if not has_panels(command):
        return visible
    daily = [one for one in visible if not _panel(one).is_rare]
    return daily + [one for one in visible if _panel(one).is_rare] if _is_whole(context) else daily


def has_panels(command: Command) -> bool:
    """Return whether a command has so many options that they stand in panels."""
    return any(parameter.name == "help_all" for parameter in command.params)


def help_line(context: Context, parameter: Parameter | None = None) -> str:
    """Return the line whose help shows an option, or, where none is given, every option."""
    is_hidden = parameter is None or _panel(parameter).is_rare
    return f"{context.command_path} --help{'-all' * (has_panels(context.command) and is_hidden)}"


def aliases(parameter: Parameter) -> list[str]:
    """Return the further long names of an option, which other tools have for it."""
    return [name for name in parameter.opts if name.startswith("--")][1:]


def _visible(command: Command, context: Context) -> list[Parameter]:
    return [one for one in command.get_params(context) if one.get_help_record(context) is not None]


def _is_whole(context: Context) -> bool:
    return context.meta.get(ALL, False)


def _panel(parameter: Parameter) -> Panel:
    panel = getattr(parameter, "rich_help_panel", None)
    return panel if isinstance(panel, Panel) else GENERAL.rare  # --help is the parser's own


def _title(command: Command, parameter: Parameter) -> str:
    if has_panels(command):
        return str(_panel(parameter))
    return "Arguments" if parameter.param_type_name == "argument" else "Options"


def _row(command: Command, context: Context, parameter: Parameter) -> tuple[str, str]:
    """Return the names and the help of an option."""
    names, text = parameter.get_help_record(context) or ("", "")
    said = getattr(parameter, "help", None) or ""
    first, *more = said.split("\n\n")
    rest = text.removeprefix(said).split()  # its default, and whether it is required
    if parameter.param_type_name == "argument" and parameter.metavar is not None:
        names = parameter.metavar  # without its type
    if not _is_whole(context):
        for alias in aliases(parameter):
            names = names.replace(f", {alias}", "", 1)
        more = [] if has_panels(command) else more
    return names, " ".join([first, *rest, *more])
