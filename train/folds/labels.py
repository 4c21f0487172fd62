"""Names of classes in two data sets, matched: by meaning where it is only spelling, by an explicit alias where it is a decision.

`happiness` is `happy` in another spelling. `calm` is no spelling of `neutral`: calling it so changes a result, and only the user does it.
The order of names never matters.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ...errors import UsageError, nearest

SPELLINGS = {
    "angry": "anger ang",
    "disgust": "disgusted dis",
    "fear": "fearful fea",
    "happy": "happiness hap",
    "neutral": "neu",
    "sad": "sadness",
    "surprise": "surprised sur",
}
_CANONICAL = {word: name for name, words in SPELLINGS.items() for word in (name, *words.split())}


@dataclass(frozen=True, kw_only=True, eq=False)
class Aligned:
    """The truth of another data set in the classes of a run."""

    labels: tuple[str, ...]  # what is scored: the run's classes, and behind them the unknown ones that count as errors
    rows: np.ndarray  # places of the clips that are scored
    truth: np.ndarray  # their classes, as places in `labels`
    excluded: dict[str, int]  # clips left out, by a class that the run lacks
    unlabelled: int


def canonical(name: str) -> str:
    """Return a class's name in one spelling: case, spacing and the well-known forms of seven emotions."""
    plain = " ".join(unicodedata.normalize("NFKC", name).casefold().replace("_", " ").replace("-", " ").split())
    return _CANONICAL.get(plain, plain)


def parse_aliases(texts: Iterable[str]) -> dict[str, str]:
    """Read `theirs=ours` pairs, as calm=neutral."""
    found: dict[str, str] = {}
    for text in texts:
        theirs, equals, own = (part.strip() for part in text.partition("="))
        if not (theirs and equals and own):
            raise UsageError(f"An alias is THEIRS=OURS, found {text!r}.", remedy="--alias calm=neutral")
        if found.setdefault(theirs, own) != own:
            raise UsageError(f"{theirs!r} is an alias of both {found[theirs]!r} and {own!r}.", remedy="name it once")
    return found


def match_labels(
    own: Sequence[str], theirs: Sequence[str], aliases: Mapping[str, str] | None = None
) -> dict[str, str | None]:
    """Return for each of their names the one of ours, or None; two become one only by an alias."""
    told: dict[str, str] = {}
    for their, ours in (aliases or {}).items():
        who = f"The alias {their}={ours}:"
        name, one = _find(their, theirs, f"{who} the data have"), _find(ours, own, f"{who} the run has")
        if told.setdefault(name, one) != one:
            raise UsageError(f"{name!r} is an alias of both {told[name]!r} and {one!r}.", remedy="name it once")
    matched = {name: told[name] if name in told else _same(name, own, theirs) for name in theirs}
    for ours, number in Counter(matched[name] for name in theirs if name not in told).items():
        if ours is not None and number > 1:
            same = [name for name in theirs if name not in told and matched[name] == ours]
            raise UsageError(
                f"{_listed(same)} of the data would all become {ours!r} of the run.",
                remedy=f"--alias {same[1]}={ours} where that is meant",
            )
    if theirs and not any(matched.values()):
        raise UsageError(
            f"No class in common: the run has {_listed(own)}, the data have {_listed(theirs)}.",
            remedy="--alias THEIRS=OURS names the ones that mean the same",
        )
    return matched


def align_truth(
    truth: Sequence[str | None],
    own: Sequence[str],
    matched: Mapping[str, str | None],
    *,
    unknown: Literal["exclude", "wrong"] = "exclude",
) -> Aligned:
    """Return which clips of another data set are scored, and as what; classes that the run lacks are left out, or are errors."""
    lacking = [name for name in matched if matched[name] is None]
    labels = (*own, *(lacking if unknown == "wrong" else ()))
    place = {name: number for number, name in enumerate(labels)}
    assert len(place) == len(labels), labels
    code = {theirs: place.get(theirs if ours is None else ours, -1) for theirs, ours in matched.items()}
    codes = np.array([-1 if name is None else code[name] for name in truth], np.int64)
    rows = np.flatnonzero(codes >= 0)
    counted = Counter(name for name in truth if name is not None and code[name] < 0)
    if not len(rows):
        raise UsageError(
            f"No clip is left to score: the run has {_listed(own)}, the data have {_listed([*matched])}.",
            remedy="--alias THEIRS=OURS names the ones that mean the same",
        )
    return Aligned(
        labels=labels,
        rows=rows,
        truth=codes[rows],
        excluded={name: counted[name] for name in matched if counted[name]},
        unlabelled=sum(name is None for name in truth),
    )


def _same(name: str, own: Sequence[str], theirs: Sequence[str]) -> str | None:
    """Return the one of ours that is spelt so, or that is another spelling of it."""
    if name in own:
        return name
    same = [ours for ours in own if canonical(ours) == canonical(name)]
    if len(same) > 1:
        raise UsageError(
            f"{name!r} of the data may be {' or '.join(map(repr, same))} of the run.",
            remedy=f"--alias {name}={same[0]}",
        )
    return same[0] if same else None


def _find(name: str, names: Sequence[str], who: str) -> str:
    """Return the one of the names that an alias means."""
    same = [known for known in names if known == name] or [k for k in names if canonical(k) == canonical(name)]
    if len(same) == 1:
        return same[0]
    near = nearest(name, names)
    hint = f"did you mean {near!r}?" if near else "an alias is THEIRS=OURS: --alias calm=neutral"
    raise UsageError(f"{who} {_listed(names)}, not {name!r}.", remedy=hint)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names)) or "none"
