"""Data sets that are known by name: where their releases put clips and official lists, and what is published about them."""

from __future__ import annotations

import re

from ...errors import UsageError, nearest
from .afew import AFEW
from .base import Dataset, Entry, Finding, Media, PublishedResult, PublishedUf1, Reading, Request
from .bu4dfe import BU4DFE
from .check import Check, CountRow
from .ckplus import CK_PLUS
from .cremad import CREMA_D
from .dfew import DFEW
from .ferv39k import FERV39K
from .finder import find_dataset
from .lists import FRAMES_LISTS, PATH_LISTS
from .mafw import MAFW
from .micro.casme2 import CASME2
from .micro.megc import MEGC
from .micro.samm import SAMM
from .micro.smic import SMIC
from .mmi import MMI
from .ravdess import RAVDESS
from .table import CSV

DATASETS = (
    DFEW,
    AFEW,
    FERV39K,
    MAFW,
    BU4DFE,
    MMI,
    CK_PLUS,
    RAVDESS,
    CREMA_D,
    CASME2,
    SAMM,
    SMIC,
    MEGC,
    FRAMES_LISTS,
    PATH_LISTS,
    CSV,
)

__all__ = [
    "DATASETS",
    "Check",
    "CountRow",
    "Dataset",
    "Entry",
    "Finding",
    "Media",
    "PublishedResult",
    "PublishedUf1",
    "Reading",
    "Request",
    "dataset_named",
    "find_dataset",
]


def dataset_named(name: str) -> Dataset:
    """Return a data set by its name or another that people use."""
    known = {_plain(word): dataset for dataset in DATASETS for word in (dataset.name, *dataset.aliases)}
    if found := known.get(_plain(name)):
        return found
    near = nearest(_plain(name), known)
    hint = (
        f"--dataset {known[near].name}"
        if near
        else "est extract --list-datasets says more; lists of your own need no name"
    )
    raise UsageError(f"No data set {name!r}; known are {', '.join(dataset.name for dataset in DATASETS)}.", remedy=hint)


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", "", name).casefold()
