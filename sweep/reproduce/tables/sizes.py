"""Settings of EST that the paper varies: Figs. 8, 10 and 11."""

from __future__ import annotations

from collections.abc import Mapping

from ..table import Row, Table
from .components import FULL

NUM_ORDERS = (2, 5, 10, 20, 50)
NUM_SNIPPETS, NUM_FRAMES = (4, 5, 7, 9, 11), (1, 3, 5, 7, 9)
NUM_LAYERS, NUM_HEADS = (1, 2, 3, 4, 6), (1, 2, 4, 8, 16)
POINTS = "The paper's curves are drawn and not printed: which values they pass through is not known, and the best is the one it names."


def points(
    word: str,
    key: str,
    values: tuple[int, ...],
    best: int,
    *,
    curve: str,
    beside: Mapping[str, int] | None = None,
    against: str = "",
) -> tuple[Row, ...]:
    """Return a row for each value of a setting, `beside` others; the paper's choice has the number that the paper prints."""
    return tuple(
        Row(
            label=f"{value} {word}{'s' * (value > 1)}",
            settings={**FULL, **(beside or {}), key: value},
            against=against,
            curve=curve,
            x=value,
            paper="est" if value == best else "",
        )
        for value in values
    )


ORDERS = Table(
    name="orders",
    number="Fig. 8",
    title="how many orders SSOP tells apart",
    measure="scores",
    rows=points("order", "model.orders", NUM_ORDERS, 10, curve="EST"),
    baseline="10 orders",
    axis="orders",
    order=True,
    paper_notes=(POINTS,),
)

SNIPPETS = Table(
    name="snippets",
    number="Fig. 10",
    title="frames of a snippet, and snippets of a clip",
    measure="scores",
    rows=(
        *points(
            "frame", "model.frames", NUM_FRAMES, 5, curve="frames of each of 7 snippets", beside={"model.snippets": 7}
        ),
        *points(
            "snippet",
            "model.snippets",
            NUM_SNIPPETS,
            7,
            curve="snippets of 5 frames",
            beside={"model.frames": 5},
            against="7 snippets",
        ),
    ),
    baseline="5 frames",
    axis="number",
    notes=(
        "Snippets span 15 of the 75 frames of a window whatever their number: more of them overlap more. Of 3 snippets there are but 5 "
        "orders besides the natural one, so that 4 is the least.",
    ),
    paper_notes=(POINTS,),
)

LAYERS_HEADS = Table(
    name="layers-heads",
    number="Fig. 11",
    title="layers and heads of the Transformer",
    measure="scores",
    rows=(
        *points("layer", "model.layers", NUM_LAYERS, 3, curve="layers, of 4 heads", beside={"model.heads": 4}),
        *points(
            "head",
            "model.heads",
            NUM_HEADS,
            4,
            curve="heads, of 3 layers",
            beside={"model.layers": 3},
            against="4 heads",
        ),
    ),
    baseline="3 layers",
    axis="number",
    sizes=True,
    notes=(
        "Layers and heads are those of the row, whatever the preset has: 3 layers of 4 heads is the paper's choice.",
    ),
    paper_notes=(POINTS,),
)
