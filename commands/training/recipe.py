"""`est recipe`: a data set's fixed protocol as one command, and the card that it ends in."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...errors import STATUS_FAILED, STATUS_PARTIAL
from ..choices import RowsPrecision
from ..options import command, examples
from ..panels import INPUT, MACHINE, MODEL, OUTPUT, RECIPE
from ..screen import Screen, columns
from .modelflags import FRAME_MODEL_LIST, FrameModelName
from .protocoloptions import Settings
from .trainoptions import Leak, PresetName, parse_seeds

if TYPE_CHECKING:
    from ...recipes.card import Card
    from ...recipes.checking import Checked
    from ...recipes.recipe import DatasetRecipe

app = typer.Typer(
    help="Run a data set's fixed protocol, from videos to a result card. Extracts, trains, controls and evaluates.",
    rich_markup_mode=None,
    no_args_is_help=True,
)

Name = Annotated[
    str, typer.Argument(metavar="NAME", help="A recipe: est recipe list shows them.", rich_help_panel=INPUT)
]
Root = Annotated[
    Path | None, typer.Option("--root", metavar="DIR", help="The folder of the data set.", rich_help_panel=INPUT)
]
OutFolder = Annotated[
    Path | None,
    typer.Option(
        "--out",
        "-o",
        "--output",
        help="The folder of cache, runs and cards. [default: recipe-NAME]\n\n"
        "A run of the same recipe in it is resumed.",
        rich_help_panel=OUTPUT,
    ),
]
Model = Annotated[
    FrameModelName | None,
    typer.Option(
        "--model",
        metavar="NAME",
        help=f"est, transformer, gru, …: all that read frames. [default: the recipe's]\n\n{FRAME_MODEL_LIST}.",
        rich_help_panel=MODEL,
    ),
]
WeightsName = Annotated[
    str | None,
    typer.Option(
        "--weights",
        help="The encoder, as in est extract. [default: the recipe's]",
        metavar="NAME|FILE|RUN",
        rich_help_panel=MODEL,
    ),
]
Normalize = Annotated[
    str | None,
    typer.Option(
        "--normalize",
        help="Pixel normalisation of a FILE of weights: none, imagenet or MEAN,STD.",
        rich_help_panel=MODEL.rare,
    ),
]
Preset = Annotated[
    PresetName | None,
    typer.Option(
        "--preset",
        help="A preset of est train: fast, official, …. [default: the recipe's]",
        metavar="NAME",
        rich_help_panel=RECIPE,
    ),
]
Seeds = Annotated[
    str | None,
    typer.Option(
        "--seeds", metavar="N,N…", help="Train once for each of these seeds. [default: 1,2,3]", rich_help_panel=RECIPE
    ),
]
Limit = Annotated[
    int | None,
    typer.Option(
        "--limit",
        metavar="N",
        help="Only N clips: a trial, whose card is partial.\n\nThey are spread over people and classes.",
        rich_help_panel=INPUT,
    ),
]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.", rich_help_panel=MACHINE)]
Precision = Annotated[
    RowsPrecision,
    typer.Option(
        "--precision",
        help="Of the extraction: auto, fp32, bf16, fp16 or int8.",
        metavar="NAME",
        rich_help_panel=MACHINE,
    ),
]
ModelsDir = Annotated[
    Path | None, typer.Option("--models-dir", help="The folder of downloaded weights.", rich_help_panel=MACHINE.rare)
]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers", "--num-workers", help="Decoding processes. [default: one per core]", rich_help_panel=MACHINE
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be done and exit.", rich_help_panel=OUTPUT)]
Cards = Annotated[list[Path], typer.Argument(metavar="CARD", help="Result cards: JSON files.")]
AllowPartial = Annotated[
    bool, typer.Option("--allow-partial", help="Check cards of a part of a data set, too; no table takes them.")
]


@command(app, "run")
@examples(
    "est recipe run rendered --out recipe-rendered",
    "est recipe run ravdess --root RAVDESS --dry-run",
    "est recipe run dfew --root DFEW --weights hsemotion:b0 --model est",
)
def run(
    screen: Screen,
    *,
    name: Name,
    root: Root = None,
    out: OutFolder = None,
    model: Model = None,
    weights: WeightsName = None,
    normalize: Normalize = None,
    preset: Preset = None,
    seeds: Seeds = None,
    settings: Settings = None,
    limit: Limit = None,
    device: Device = "auto",
    precision: Precision = "auto",
    models_dir: ModelsDir = None,
    workers: Workers = None,
    allow_leak: Leak = None,
    dry_run: DryRun = False,
) -> int:
    """Extract, train, control and evaluate a data set under its fixed protocol; running the same command again resumes."""
    # Decoders and torch share the cores: threads that spin while they wait would take them from each other. Read when torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from ...recipes.registry import recipe_named

    recipe = recipe_named(name)
    from ...recipes.choice import RecipeChoice
    from ...recipes.running import run_recipe

    choice = RecipeChoice(
        model=model,
        weights=weights,
        normalize=normalize,
        preset=preset,
        seeds=parse_seeds(seeds),
        settings=tuple(settings or ()),
        device=device,
        precision=precision,
        models_dir=models_dir,
        workers=workers,
        allow_leak=bool(allow_leak),
    )
    with screen.watching() as watch:
        outcome = run_recipe(recipe, root, out, choice, limit=limit, dry_run=dry_run, watch=watch)
    if outcome.card is None or outcome.path is None:
        screen.result(outcome.plan.to_json(), "\n".join(outcome.plan.lines()))
        return 0
    page = outcome.path.with_suffix(".md")
    data = {"card": str(outcome.path), "page": str(page), "out": str(outcome.plan.out), **outcome.card.to_json()}
    screen.result(data, "\n".join(card_lines(outcome.card, outcome.path, limit=limit)))
    return STATUS_PARTIAL if outcome.failed else 0


@command(app, "list")
@examples("est recipe list", "est recipe list --json")
def list_recipes(screen: Screen) -> int:
    """List the recipes: data set, protocol, clips."""
    from ...recipes.registry import RECIPES

    rows = [("NAME", "data set", "protocol", "what")]
    rows += [(one.name, one.title, f"version {one.version}", one.what) for one in RECIPES]
    screen.result({"recipes": [recipe_data(one) for one in RECIPES]}, "\n".join(columns(rows)))
    return 0


@command(app, "show")
@examples("est recipe show dfew", "est recipe show ravdess --json")
def show(screen: Screen, *, name: Name) -> int:
    """Show what a recipe does: clips, folds, weights, model, seeds, settings."""
    from ...recipes.registry import recipe_named

    data = recipe_data(recipe_named(name))
    rows = [
        (key.replace("_", " "), as_text(value)) for key, value in data.items() if value not in ("", 0, {}, [], None)
    ]
    screen.result(data, "\n".join(columns(rows)))
    return 0


@command(app, "check")
@examples("est recipe check recipe-dfew/est.json", "est recipe check --allow-partial cards/trial.json")
def check(screen: Screen, *, cards: Cards, allow_partial: AllowPartial = False) -> int:
    """Check that cards are of this protocol and their numbers agree with each other; exit status 1 if one is refused."""
    from ...recipes.checking import check_card

    checked = [check_card(path, allow_partial=allow_partial) for path in cards]
    lines = [line for one in checked for line in checked_lines(one)]
    screen.result({"cards": [one.to_json() for one in checked]}, "\n".join(lines))
    return STATUS_FAILED if any(one.problems for one in checked) else 0


def card_lines(card: Card, path: Path, *, limit: int | None = None) -> list[str]:
    """Lay out the result of a run."""
    from ...recipes.cardpage import card_page

    after = f"est recipe check {path}"
    if card.partial:
        whole = "on the whole data set" if limit is None else "without --limit, on the whole data set,"
        after = f"partial: {card.partial}; {whole} the card fills a cell of the table"
    return [card_page(card).rstrip("\n"), "", f"card: {path} and {path.with_suffix('.md')}", after]


def checked_lines(one: Checked) -> list[str]:
    """Lay out what was found about a card."""
    if one.problems:
        lines = [f"{one.path}: refused", *(f"  {problem}" for problem in one.problems)]
        return [*lines, f"  try: {one.remedy}"] if one.remedy else lines
    assert one.card is not None
    head = f"{one.path}: good, {one.card.recipe} protocol {one.card.protocol}, {one.card.model['name']} on {one.card.encoder_name}"
    return [head, *(f"  {remark}" for remark in one.remarks)]


def recipe_data(recipe: DatasetRecipe) -> dict[str, Any]:
    """Return a recipe as JSON data."""
    found = {**vars(recipe), "protocol": recipe.protocol}
    found["rendering"] = None if recipe.rendering is None else dict(vars(recipe.rendering))
    return {key: list(value) if isinstance(value, tuple) else value for key, value in found.items()}


def as_text(value: object) -> str:
    """Write a value of a recipe for people."""
    if isinstance(value, dict):
        return ", ".join(f"{key} = {inner}" for key, inner in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
