"""`--dataset` of est extract and what belongs to it: a published data set in place of INPUTs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...errors import UsageError
from ..panels import INPUT

if TYPE_CHECKING:
    from ...inputs.input import FoundInputs

DatasetName = Annotated[
    str | None,
    typer.Option(
        "--dataset",
        metavar="NAME",
        help="A published data set, such as dfew; --list-datasets lists all.\n\n"
        "Labels, subjects, splits and folds are the official ones, and the number of clips is checked.",
        rich_help_panel=INPUT,
    ),
]
Root = Annotated[
    Path | None, typer.Option("--root", metavar="DIR", help="The folder of the --dataset.", rich_help_panel=INPUT)
]
Frames = Annotated[
    bool | None,
    typer.Option(
        "--frames/--videos",
        help="Which form of the --dataset. [default: frames if there are some]",
        rich_help_panel=INPUT.rare,
    ),
]
LabelNames = Annotated[
    str | None,
    typer.Option(
        "--label-names",
        metavar="A,B…",
        help="Names for a --dataset whose lists give labels as numbers.",
        rich_help_panel=INPUT.rare,
    ),
]
ListDatasets = Annotated[
    bool,
    typer.Option(
        "--list-datasets",
        help="Show the known data sets, their layouts and protocols and exit.",
        rich_help_panel=INPUT.rare,
    ),
]


def find_named(
    name: str,
    root: Path | None,
    lists: list[Path],
    *,
    frames: bool | None,
    label_names: str | None,
    labels: str,
    subjects: str,
    part: dict[str, Any],
) -> FoundInputs:
    """Find a data set by its name."""
    from ...inputs.published import dataset_named, find_dataset

    dataset = dataset_named(name)
    for what, given in (("labels", labels), ("subjects", subjects)):
        if given != "none":
            raise UsageError(
                f"{dataset.title} has its own {what}, found --{what} {given}.", remedy=f"leave out --{what}"
            )
    if root is None and dataset.is_generic and lists:
        root = lists[0].parent
    if root is None:
        raise UsageError(
            f"No folder of {dataset.title} is given: --root names it.", remedy=f"--dataset {name} --root DIR"
        )
    names = [part.strip() for part in label_names.split(",")] if label_names else []
    media = None if frames is None else "frames" if frames else "videos"
    return find_dataset(dataset, root, media=media, lists=lists, label_names=names, **part)


def expect_inputs(inputs: list[Path] | None, of_datasets: dict[str, Any]) -> list[Path]:
    """Return the INPUTs of a line without --dataset; refuse one that names none, or that has options of --dataset."""
    if given := [option for option, value in of_datasets.items() if value is not None]:
        raise UsageError(
            f"{given[0]} needs --dataset, which is not given.",
            remedy="--dataset NAME; est extract --list-datasets",
        )
    if not inputs:
        raise UsageError(
            "No videos are given: INPUT names files, folders or lists; --dataset NAME --root DIR a data set.",
            remedy="est extract videos/ --out cache.zarr",
        )
    return inputs
