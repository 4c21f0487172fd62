"""Protocols by the name of a data set: how published work divides its clips, and what a cache has that is not as published.

A preset divides as `folds`, `split` or `kfold` does. It changes no score; it says where classes, folds or denominators differ, because
a number with another denominator is another number. What is published is written down once, with the data sets (inputs/published). A
data set that comes without folds has a usual number of them, which is a convention; who is in which fold is published nowhere, so they
are made here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from ...inputs.published import Dataset, PublishedResult, PublishedUf1, dataset_named
from ..config.protocol import GENERAL, PROTOCOLS, ProtocolConfig, PublishedProtocol
from .annotations import Annotations
from .fold import Fold, splits_of
from .labels import canonical

ALL = "all folds"
COMPOSITE = "megc"


@dataclass(frozen=True, kw_only=True)
class Published:
    """What is published of a data set: its classes, and how many clips each test half has (several where works differ)."""

    title: str
    labels: tuple[str, ...]
    tested: Mapping[str, tuple[int, ...]]  # by fold, or of `ALL`

    def counts(self) -> str:
        """Write the denominators."""
        return " / ".join(_either(counts) for counts in self.tested.values())


def published(name: str) -> Published:
    """Return what is published of a preset's data set."""
    preset, data = PROTOCOLS[name], dataset_named(name)
    counted = tuple(label for label in data.labels if f"class {label}" in data.published)
    return Published(title=data.title, labels=counted or data.labels, tested=_tested(preset, data))


def convention(asked: str) -> str:
    """Return what is published of the data set that a protocol is named after; nothing of a general one."""
    if asked not in PROTOCOLS:
        return ""
    known, preset = published(asked), PROTOCOLS[asked]
    return (
        f"{known.title}: {preset.describe()}, {len(known.labels)} classes, {known.counts()} clips tested in published work; "
        f"{preset.note}"
    )


def results_of(asked: str) -> tuple[PublishedResult, ...]:
    """Return the scores that are published of the data set that a protocol is named after; none of a general one."""
    return dataset_named(asked).results if asked in PROTOCOLS else ()


def uf1_results_of(recorded: str, clips: int) -> tuple[PublishedUf1, ...]:
    """Return UF1 and UAR that are published of the composite that a cache was extracted as, whole; none of any other clips."""
    if recorded not in PROTOCOLS or (clips,) != dataset_named(recorded).published["clips"]:
        return ()
    return dataset_named(recorded).uf1_results


def result_lines(asked: str) -> list[str]:
    """Write them, a line for each."""
    return [f"published: {one.line()}" for one in results_of(asked)]


def named(asked: str, kind: str) -> str:
    """Name a protocol: as it was asked for, and what it resolves to."""
    return kind if asked in (kind, "auto") else f"{asked} ({kind})"


def list_protocols() -> list[dict[str, Any]]:
    """Return every protocol: its name, how it divides clips, and for a data set's what is published."""
    rows: list[dict[str, Any]] = [{"name": name, "what": what} for name, what in GENERAL.items()]
    for name, preset in PROTOCOLS.items():
        known = published(name)
        rows.append(
            {
                "name": name,
                "what": preset.describe(),
                "title": known.title,
                "classes": list(known.labels),
                "tested": {half: list(counts) for half, counts in known.tested.items()},
                "note": preset.note,
                "results": [asdict(one) for one in results_of(name)],
            }
        )
    return rows


def departures(name: str, table: Annotations, rows: np.ndarray, folds: Sequence[Fold]) -> list[str]:
    """Return where the labelled clips of a cache, and their folds, are not as published, and that folds of its own are not used."""
    notes = misfits(name, table, rows, folds)
    if PROTOCOLS[name].kind == "kfold" and (table.fold[rows] >= 0).any():
        notes.append(f"The cache carries folds, which {name} does not use: --protocol official takes them.")
    return notes


def misfits(name: str, table: Annotations, rows: np.ndarray, folds: Sequence[Fold]) -> list[str]:
    """Return where classes, folds or numbers of tested clips are not as published: then a score is no number beside a published one."""
    preset, known = PROTOCOLS[name], published(name)
    notes = _other_classes(known, table, rows)
    if preset.kind == "folds" and len(folds) != preset.folds:
        here = ", ".join(fold.name for fold in folds)
        notes.append(f"{known.title} is published with {preset.folds} folds; the cache carries {len(folds)}: {here}.")
    if preset.kind == "split" and set(splits_of(table, folds[0].test).tolist()) != {preset.halves[1]}:
        here = splits_of(table, folds[0].test)[0]
        notes.append(f"{known.title} is published as tested on {preset.halves[1]}; here {here} is tested.")
    tested = {fold.name: len(fold.test) for fold in folds}
    tested |= {ALL: sum(tested.values())}
    other = [
        f"{half} {tested[half]} (published {_either(counts)})"
        for half, counts in known.tested.items()
        if half in tested and tested[half] not in counts
    ]
    if other:
        notes.append(f"Other numbers of clips are tested than published: {', '.join(other)}.")
    return notes


def misfits_of_cache(name: str, table: Annotations) -> list[str]:
    """Return where classes, folds that are carried, or the number of labelled clips are not as published, before clips are divided."""
    rows = (table.label >= 0).nonzero()[0]
    preset, known = PROTOCOLS[name], published(name)
    notes = _other_classes(known, table, rows)
    carried = len(np.unique(table.fold[rows][table.fold[rows] >= 0]))
    if preset.kind == "folds" and carried != preset.folds:
        notes.append(f"{known.title} is published with {preset.folds} folds; the cache carries {carried or 'none'}.")
    whole = known.tested.get(ALL, ())
    ways = {"kfold": whole, "loso": whole, "folds": _sums(known.tested.values())}.get(preset.kind, ())
    if ways and len(rows) not in ways:
        notes.append(f"{known.title} is published with {_either(ways)} labelled clips; the cache has {len(rows):,}.")
    return notes


def _sums(counts: Iterable[Sequence[int]]) -> tuple[int, ...]:
    """Return what the folds come to; nothing where works differ in one."""
    every = list(counts)
    return (sum(one[0] for one in every),) if all(len(one) == 1 for one in every) else ()


def of_another(asked: str, recorded: str) -> str:
    """Say so when a cache was extracted as another data set than the one that the protocol is named after."""
    if asked not in PROTOCOLS or recorded not in PROTOCOLS or asked == recorded:
        return ""
    if asked == COMPOSITE and PROTOCOLS[recorded].is_micro:
        return f"The cache was extracted as {published(recorded).title} alone: its own classes are tested, and not the composite."
    return f"The protocol is that of {published(asked).title}; the cache was extracted as {published(recorded).title}."


def has_megc_table(protocol: ProtocolConfig) -> bool:
    """Return whether runs of a protocol have the table of MEGC 2019."""
    return protocol.kind in PROTOCOLS and PROTOCOLS[protocol.kind].is_micro


def of_one_database(protocol: ProtocolConfig, recorded: str) -> ProtocolConfig:
    """Return the protocol of the database that a cache was extracted as, where that of the composite is asked for."""
    alone = recorded in PROTOCOLS and PROTOCOLS[recorded].is_micro
    return replace(protocol, kind=recorded) if protocol.kind == COMPOSITE and alone else protocol


def _tested(preset: PublishedProtocol, data: Dataset) -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...] | None]
    match preset.kind:
        case "folds":
            found = {f"fold{n}": data.published.get(f"fold {n}, tested") for n in range(1, preset.folds + 1)}
        case "split":
            found = {"split": data.published.get(f"split {preset.halves[1]}")}
        case _:
            found = {ALL: data.published.get("labelled clips") or data.published.get("clips")}
    return {half: counts for half, counts in found.items() if counts}


def _other_classes(known: Published, table: Annotations, rows: np.ndarray) -> list[str]:
    """Compare classes by what their names mean."""
    here: dict[str, list[str]] = {}
    for code in np.unique(table.label[rows]).tolist():
        here.setdefault(canonical(table.labels[code]), []).append(table.labels[code])
    there = {canonical(label): label for label in known.labels}
    lacking = [label for word, label in there.items() if word not in here]
    others = [label for word, labels in here.items() if word not in there for label in labels]
    notes = []
    if lacking or others:
        said = [f"lacks {_quoted(lacking)}"] if lacking else []
        said += [f"has {_quoted(others)} beside them" if not lacking else f"has {_quoted(others)}"] if others else []
        notes.append(f"{known.title} is published with {len(there)} classes; the cache {' and '.join(said)}.")
    notes += [
        f"{' and '.join(map(repr, labels))} are different classes here; they look like spellings of one."
        for labels in here.values()
        if len(labels) > 1
    ]
    return notes


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(map(repr, names))


def _either(counts: Sequence[int]) -> str:
    return " or ".join(f"{count:,}" for count in counts)
