"""The recipes that there are, by the names that `est extract --dataset` knows; and `rendered`, whose data the project makes.

Data sets of micro-expressions have none yet: they need optical flow and have a table of their own (`est train --protocol megc`).
"""

from __future__ import annotations

from ..errors import UsageError, nearest
from ..inputs.published import DATASETS, dataset_named
from ..train.config.protocol import PROTOCOLS
from .recipe import DatasetRecipe, Rendering

RECIPES = (
    DatasetRecipe(
        name="ravdess",
        title="RAVDESS",
        what="speech, 1,440 clips of 8 classes; 6 folds of 4 actors in the order of their numbers, two women and two men in each",
        folds="blocks",
        num_folds=6,
        split="speech",
        clips=(1440,),
        subjects=24,
    ),
    DatasetRecipe(
        name="crema-d",
        title="CREMA-D",
        what="7,442 clips of 6 classes; 5 folds, actors in the order of their numbers assigned in turn; files that cannot be read "
        "count as wrong",
        folds="turns",
        num_folds=5,
        clips=(7442,),
        subjects=91,
    ),
    DatasetRecipe(
        name="dfew", title="DFEW", what="11,697 clips of 7 classes; 5 official folds", num_folds=5, clips=(11697,)
    ),
    DatasetRecipe(
        name="afew",
        title="AFEW",
        what="7 classes; learnt on train, tested on val, whose clips without a face count as wrong",
        clips=(773 + 383,),
    ),
    DatasetRecipe(
        name="mafw", title="MAFW", what="9,172 clips of 11 single classes; 5 official folds", num_folds=5, clips=(9172,)
    ),
    DatasetRecipe(
        name="ferv39k",
        title="FERV39k",
        what="38,935 clips of 7 classes; learnt on train, tested on test",
        clips=(38935,),
    ),
    DatasetRecipe(
        name="ck+",
        title="CK+",
        what="327 sequences of 7 classes, contempt among them; 10 folds, subjects in the order of their numbers assigned in turn",
        folds="turns",
        num_folds=10,
        clips=(327,),
        subjects=118,
    ),
    DatasetRecipe(
        name="bu4dfe",
        title="BU-4DFE",
        what="606 sequences of 6 classes; 10 folds, subjects in the order of their names assigned in turn",
        folds="turns",
        num_folds=10,
        clips=(606,),
        subjects=101,
    ),
    DatasetRecipe(
        name="mmi",
        title="MMI",
        what="sessions with one of 6 emotions (which 205 the published ones are is not said); 10 folds, subjects assigned in turn",
        folds="turns",
        num_folds=10,
    ),
    DatasetRecipe(
        name="rendered",
        title="Rendered dynamics",
        what="72 rendered clips of 12 people, classes that differ in the course of a clip alone; 4 folds of 3 people. No real faces: "
        "it shows that the whole path works, and says nothing about people",
        folds="blocks",
        num_folds=4,
        clips=(72,),
        subjects=12,
        weights="synface",
        preset="small",
        rendering=Rendering(subjects=12, clips_per_subject=6, difficulty=0.3, size=(360, 360), fps=15, seed=0),
    ),
)


def recipe_named(name: str) -> DatasetRecipe:
    """Return a recipe by the name of its data set, or another that people use."""
    known = {recipe.name: recipe for recipe in RECIPES}
    if name.casefold() in known:
        return known[name.casefold()]
    alias = next(
        (one.name for one in DATASETS if name.casefold() in {one.name, *one.aliases, one.title.casefold()}), ""
    )
    if alias in known:
        return known[alias]
    if alias:
        title, is_micro = dataset_named(alias).title, alias in PROTOCOLS and PROTOCOLS[alias].is_micro
        flow, protocol = (" --modality flow", f" --protocol {alias}") if is_micro else ("", "")
        raise UsageError(
            f"There is no recipe of {title}; recipes are {', '.join(known)}.",
            remedy=f"est extract --dataset {alias}{flow}, then est train{protocol}",
        )
    near = nearest(name, known)
    raise UsageError(
        f"No recipe {name!r}; recipes are {', '.join(known)}.",
        remedy=f"est recipe run {near}" if near else "est recipe list says more",
    )
