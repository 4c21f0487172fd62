"""What could not be extracted, grouped by cause."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ...cache.clip import Failure

QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
PATH = re.compile(r"(?:[A-Za-z]:)?(?:[^\s/:,;]*/)+[^\s:,;]*")
NUMBER = re.compile(r"\d[\d.,]*")


@dataclass(frozen=True, kw_only=True)
class Cause:
    """Failures of one stage whose messages differ in names and numbers alone."""

    stage: str
    words: str
    failures: Sequence[Failure]


def causes(failures: Sequence[Failure]) -> list[Cause]:
    """Group failures by stage and cause, the most frequent first."""
    groups: dict[tuple[str, str], list[Failure]] = {}
    for failure in failures:
        error = failure.error.replace(failure.path, "…") if failure.path else failure.error  # spaces may be in it
        groups.setdefault((failure.stage, cause_of(error)), []).append(failure)
    found = [Cause(stage=stage, words=words, failures=some) for (stage, words), some in groups.items()]
    return sorted(found, key=lambda cause: (-len(cause.failures), cause.stage, cause.words))


def cause_of(error: str) -> str:
    """Return a message without what tells one input from another: quoted names, paths, numbers."""
    first = error.strip().partition("\n")[0]
    return NUMBER.sub("#", PATH.sub("…", QUOTED.sub("…", first)))
