"""Write docs/howto-datasets.md from what est knows of published data sets and recipes; with --check say whether it is current."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from wrap import wrap_text

from est.inputs.published import DATASETS, Dataset
from est.inputs.published.est_paper import CLIPS
from est.recipes.recipe import DatasetRecipe
from est.recipes.registry import RECIPES
from est.train.config.protocol import PROTOCOLS

PAGE = Path(__file__).parent / "howto-datasets.md"
LAYOUTS = Path(__file__).parent / "datasets.md"
HEAD = """\
# How to use a published data set

For each data set: the commands, how many clips there should be, the published scores, and how their conditions differ from a run of yours.
This page is made by `python docs/make_datasets.py` from what `est` knows (`inputs/published/`, `recipes/`); `make test` checks that
it is current. Layouts on disk, lists, and what else to know about each release: [data sets](datasets.md).

No data set comes with est or is downloaded. Before you begin:

1. **Get the weights.** `imagenet` is the default, and `est doctor --fetch` downloads it. For research on real faces we recommend
   `--weights hsemotion:b0`: [download the file](encoders.md#hsemotion-encoders-trained-on-expressions) yourself, then
   `est doctor --weights hsemotion:b0 --fetch --from FILE`. Find out which data the weights were
   trained and selected on. If your test clips are among them, scores are too high (a [leak](concepts.md#leak)).
2. **Do the dry run.** It compares your copy with the published counts and lists every difference.
3. **Choose between two ways.** `est recipe run` fixes clips, folds and scores, and writes a [result card](recipes.md) that can be
   compared with other people's. With `est extract` and `est train` you choose every setting.

We read every published score on this page in the source that is named beside it. **None of them is for frozen features, which are
est's default**, so a difference to your run has several causes at once. First compare your score with its control ([what scores
mean](reading-scores.md)).
"""
WITHOUT_APEX = ("smic", "megc")  # clips of SMIC have none, and optical flow around it would fail
NONE = "No published score was read in a source that could be named, so none is quoted."


def main() -> None:
    """Write the page, or check it."""
    page = build()
    if sys.argv[1:] != ["--check"]:
        PAGE.write_text(page, encoding="utf-8")
    elif not PAGE.exists() or PAGE.read_text(encoding="utf-8") != page:
        sys.exit("docs/howto-datasets.md is out of date: python docs/make_datasets.py")


def build() -> str:
    """Return the page."""
    anchors = dict(re.findall(r"^\| \[`([^`]+)`\]\((#[^)]+)\)", LAYOUTS.read_text(encoding="utf-8"), re.MULTILINE))
    recipes = {recipe.name: recipe for recipe in RECIPES}
    known = [dataset for dataset in DATASETS if not dataset.is_generic]
    sections = [
        "\n".join(section(dataset, recipes.get(dataset.name), anchors[dataset.name])) + "\n" for dataset in known
    ]
    return wrap_text("\n".join([HEAD, *sections]))


def section(dataset: Dataset, recipe: DatasetRecipe | None, anchor: str) -> Iterator[str]:
    """Yield the lines about one data set."""
    name, root = dataset.name, dataset.name.upper()
    cache = f"{re.sub(r'[^a-z0-9]', '', name.replace('+', 'plus'))}.zarr"
    yield from (f"## {dataset.title}", "")
    yield from (f"Licence: {dataset.licence}. Layout and lists: [data sets](datasets.md{anchor}).", "", "```text")
    if recipe:
        yield f"est recipe run {name} --root {root} --dry-run            # prints the steps and an estimate of the time"
        yield f"est recipe run {name} --root {root}                      # all of it; the same command resumes"
        yield from ("```", "", "or step by step, with settings of your own:", "", "```text")
    yield f"est extract --dataset {name} --root {root} --dry-run"
    if PROTOCOLS[name].is_micro:
        frames = " --flow-frames auto" if name in WITHOUT_APEX else ""
        yield f"est extract --dataset {name} --root {root} --modality flow{frames} --out {cache}"
        yield f"est train --cache {cache} --protocol {name} --model slstt"
    else:
        yield f"est extract --dataset {name} --root {root} --out {cache}"
        yield f"est train --cache {cache} --protocol {name}"
    yield from ("```", "")
    yield f"- **Classes** ({len(dataset.labels)}): {', '.join(dataset.labels)}."
    yield f"- **Protocol:** {dataset.protocol.partition(': est train')[0]}."
    if recipe:
        yield f"- **Recipe:** {recipe.what} (`{recipe.protocol}`; results: [table](results.md))."
    if counts := list(count_words(dataset)):
        yield f"- **Counts in use:** {'; '.join(counts)}."
    if name in CLIPS:
        rate, mean, deviation = CLIPS[name]
        yield f"- **Clips**, by Table 1 of the EST paper: {rate} frames a second, {mean} ± {deviation} frames."
    yield from published(dataset)


def count_words(dataset: Dataset) -> Iterator[str]:
    """Yield the counts that published work names; several where works differ."""
    for row, counts in dataset.published.items():
        yield f"{row} {' or '.join(f'{count:,}' for count in counts)}"


def published(dataset: Dataset) -> Iterator[str]:
    """Yield what is published, and what to know before it is compared with a run."""
    if dataset.results:
        yield from ("", "| system | WAR | UAR | source | what differs |", "|---|---|---|---|---|")
        for one in dataset.results:
            uar = f"{one.uar:.2f}" if one.uar is not None else "–"
            yield f"| {one.system} | {one.war:.2f} | {uar} | {one.source} | {'; '.join(one.remarks)} |"
    elif dataset.uf1_results:
        yield from ("", "| system | clips of | UF1 | UAR | source | what differs |", "|---|---|---|---|---|---|")
        for one in dataset.uf1_results:
            for row, (uf1, uar) in one.scores.items():
                told = f"{uar:.3f}" if uar is not None else "–"
                yield f"| {one.system} | {row} | {uf1:.3f} | {told} | {one.source} | {'; '.join(one.remarks)} |"
    else:
        yield f"- **Published:** {NONE}"


if __name__ == "__main__":
    main()
