"""`est <command>`: the command line, put together.

Each command lives in `commands/` and does three things: options → one library call → show the result. It is imported when it is
called; and none imports numpy, torch, cv2, zarr, h5py or onnxruntime before it runs, so that help answers at once.
"""

from __future__ import annotations

import signal
import sys
import threading
from typing import Annotated

import typer
from typer.exceptions import TyperException

from . import __version__
from .commands.lazy import LazyGroup
from .commands.screen import Screen
from .errors import STATUS_INTERRUPTED, UsageError

WIDTH = 100  # of help, on terminals that are as wide


class Commands(LazyGroup):
    """The commands, each a module below `commands/`."""

    texts = {  # noqa: RUF012
        "extract": "Find faces in videos and cache the features of every frame.",
        "tune": "Train the encoder alone, on labelled frames.",
        "recache": "Tune an encoder for each fold and cache its features.",
        "train": "Train a model on a cache, every fold and seed, and score it.",
        "evaluate": "Score a run's models again, on this or another cache.",
        "predict": "Predict apparent expressions in videos by a run.",
        "export": "Write a run's model as one ONNX or TorchScript file.",
        "probe": "Test whether a run's score needs the order of frames.",
        "audit": "Test how far a score may be trusted: seeds, permuted labels.",
        "reproduce": "Make a table or figure of the EST paper on a cache.",
        "recipe": "Run a data set's fixed protocol, from videos to a result card.",
        "sweep": "Search settings for each fold inside its training half.",
        "submit": "Extract or sweep on many machines, or in parts on this one.",
        "runs": "List runs: data, model, protocol, scores, status and age.",
        "compare": "Compare runs with the first: differences over people.",
        "report": "Write a cache, or the results of runs, as one HTML page.",
        "cache": "Show, verify, merge, convert, relabel or share a cache.",
        "doctor": "Check this machine, and name the command for each problem.",
        "demo": "Run the complete pipeline on rendered faces.",
    }
    folders = {  # noqa: RUF012
        "caches": ("cache",),
        "extracting": ("extract", "tune", "recache"),
        "training": ("train", "audit", "reproduce", "recipe", "sweep"),
        "submitting": ("submit",),
        "results": ("evaluate", "predict", "export", "probe", "runs", "compare", "report"),
    }


app = typer.Typer(
    cls=Commands,
    name="est",
    help="Expression Snippet Transformer on cached features: extract once, train in seconds per epoch.",
    epilog="New here: est demo, then docs/tutorial.md.\n\n"
    "Every command takes --json, --quiet and --debug; --help-all shows all options of a command that has many. "
    "Exit status: 0 success, 1 failed, 2 wrong usage, 3 finished but some inputs failed or duplicates were found, 130 interrupted.",
    rich_markup_mode=None,  # rich's help pages alone cost more time than everything else here
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": WIDTH},
)


def show_version(wanted: bool) -> None:
    """Print the version and stop, when it is wanted."""
    if wanted:
        typer.echo(f"est {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def options(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def obey_ctrl_c() -> None:
    """Let SIGINT interrupt, also where a shell script started the command with `&` and so told it to ignore SIGINT."""
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def main(arguments: list[str] | None = None) -> None:
    """Run one command and exit with its status."""
    obey_ctrl_c()
    arguments = sys.argv[1:] if arguments is None else arguments
    screen = Screen(json="--json" in arguments, debug="--debug" in arguments)
    try:
        status = app(arguments, prog_name="est", standalone_mode=False) or 0
    except TyperException as error:  # the line could not be parsed: no command was reached
        if type(error).__name__ == "NoArgsIsHelpError":  # a group alone
            typer.echo(error.format_message())
            sys.exit(0)
        from .commands.misspelt import mended

        status = screen.error(mended(error, arguments))
    except UsageError as error:  # nor here
        status = screen.error(error)
    except (KeyboardInterrupt, typer.Abort):
        status = STATUS_INTERRUPTED
    if status == STATUS_INTERRUPTED:
        screen.note("Interrupted.")
    sys.exit(status)
