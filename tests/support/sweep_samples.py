"""Sweeps that tests share, the degenerate ones too, and how a test reads the pictures of one."""

from __future__ import annotations

import itertools
import math
import random
import re
from collections.abc import Iterator
from xml.etree import ElementTree

from est.sweep.found.record import Record, StudyRecord, Sweep

HOSTILE = '<b>&"|`*]]>\x00'
# fmt: off
# Widths of the letters from space to ~ in DejaVu Sans, one of the widest of its kind, in hundredths of the size.
LETTERS = [
    32, 40, 46, 84, 64, 95, 78, 27, 39, 39, 50, 84, 32, 36, 32, 34, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 34, 34, 84, 84, 84, 53,
    100, 68, 69, 70, 77, 63, 58, 77, 75, 29, 29, 66, 56, 86, 75, 79, 60, 79, 69, 63, 61, 73, 68, 99, 69, 61, 69, 39, 34, 39, 84, 50,
    50, 61, 63, 55, 63, 62, 35, 63, 63, 28, 28, 58, 28, 97, 63, 61, 63, 63, 41, 52, 39, 63, 59, 82, 59, 59, 52, 64, 34, 64, 84,
]
# fmt: on
SVG = "{http://www.w3.org/2000/svg}"


def trial(number: int, value: float | None = 0.5, state: str = "complete", **more) -> Record:
    """Return a trial; its settings are `values`."""
    return Record(number=number, state=state, value=value, epochs=20, seconds=10.0, **more)


def study_of(*records: Record, name: str = "fold1", control: bool = False) -> StudyRecord:
    """Return a study of a fold."""
    return StudyRecord(
        name=f"{name}/control" if control else name,
        fold=name,
        control=control,
        learnt=400,
        chosen_by=90,
        tested=49,
        records=records,
    )


def sweep_of(*studies: StudyRecord, **more) -> Sweep:
    """Return a sweep of these studies."""
    facts = {
        "heading": "Nested search",
        "cache": "/data/cache",
        "models": ("EST",),
        "objective": "UAR",
        "sampler": "TPE",
        "pruner": "none",
        "trials": 20,
        "space": ("loop.learning_rate: 3e-5 to 0.01",),
        "seconds": 120.0,
    }
    return Sweep(**facts | {"studies": studies} | more)


def searched(name: str = "fold1", number: int = 24, seed: int = 0, control: bool = False) -> StudyRecord:
    """Return a study in which the learning rate alone decides; a third of its trials have a setting of their own."""
    drawn = random.Random(seed)
    records = []
    for place in range(number):
        rate = 10 ** drawn.uniform(-5, -1)
        values = {"loop.learning_rate": rate, "loop.batch": drawn.choice([8, 16, 32]), "model.name": "est"}
        if place % 3 == 0:
            values |= {"model.name": "gru", "model.size": drawn.choice([64, 128])}
        records.append(trial(place, 0.7 - 0.1 * abs(math.log10(rate) + 3), loss=1.0, values=values))
    return study_of(*records, name=name, control=control)


DEGENERATE = {
    "empty": study_of(),
    "one trial": study_of(trial(0, 0.5, values={"a": 1})),
    "one trial without a setting": study_of(trial(0, 0.5)),
    "all equal": study_of(*(trial(n, 0.5, values={"a": 1, "b": HOSTILE}) for n in range(12))),
    "all failed": study_of(*(trial(n, None, "failed", values={"a": n}, error=HOSTILE) for n in range(5))),
    "all pruned": study_of(*(trial(n, 0.1 * n, "pruned", values={"a": n}) for n in range(5))),
    "NaN": study_of(trial(0, math.nan, values={"a": 1}), trial(1, None, values={"a": 2}), trial(2, None, "running")),
    "zero and one": study_of(trial(0, 0.0, values={"a": -1.5}), trial(1, 1.0, values={"a": 0})),
    "nearly equal": study_of(*(trial(n, 0.62 + 1e-6 * n, values={"a": 10**9 + n}) for n in range(9))),
    "mixed": study_of(
        *(trial(n, 0.1 * n, values={"a": value}) for n, value in enumerate((1, 2.5, None, "x", True, [1, 2], math.inf)))
    ),
    "wide": study_of(
        *(
            trial(
                n,
                0.4 + 0.001 * n,
                values={
                    f"a.rather.long.section.and.a.long.name.{k:02d}": f"choice-{HOSTILE}-number-{n * k % 40}"
                    for k in range(17)
                },
            )
            for n in range(40)
        )
    ),
    "twelve": study_of(
        *(
            trial(
                n, n / 31, values={f"section.a_long_name_of_{k:02d}": 10.0 ** ((n * (k + 1)) % 13) for k in range(12)}
            )
            for n in range(31)
        )
    ),
}


def parsed(svg: str) -> ElementTree.Element:
    """Parse a picture, which must be XML."""
    return ElementTree.fromstring(svg)


def of_class(root: ElementTree.Element, name: str) -> list[ElementTree.Element]:
    """Return the elements of a class."""
    return [node for node in root.iter() if name in node.get("class", "").split()]


def boxes(root: ElementTree.Element) -> Iterator[tuple[str, float, float, float, float]]:
    """Return where each text stands: text, left, top, right, bottom."""
    size = float(root.get("font-size"))
    for node in root.iter(f"{SVG}text"):
        words, x, y = node.text or "", float(node.get("x")), float(node.get("y"))
        wide = size * sum(LETTERS[ord(letter) - 32] if " " <= letter <= "~" else 100 for letter in words) / 100
        left = x - {"start": 0.0, "middle": wide / 2, "end": wide}[node.get("text-anchor")]
        yield words, left, y - 9, left + wide, y + 3


def check_layout(svg: str) -> ElementTree.Element:
    """Check that numbers are numbers, that no text leaves the picture, and that no two overlap; return the picture."""
    assert not re.search(r"\b(nan|inf)\b", re.sub(r">[^<]*<", "><", svg))
    root = parsed(svg)
    _, _, width, height = map(float, root.get("viewBox").split())
    placed = list(boxes(root))
    for words, left, top, right, bottom in placed:
        assert left >= 0 and top >= 0 and right <= width and bottom <= height, words  # noqa: PT018
    for one, other in itertools.combinations(placed, 2):
        apart = one[3] <= other[1] or other[3] <= one[1] or one[4] <= other[2] or other[4] <= one[2]
        assert apart, (one, other)
    return root
