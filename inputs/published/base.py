"""What an adapter of a data set is given and what it gives: the one interface of this package.

An adapter knows where a release puts its lists and its clips. It gives an `Entry` for every clip that the official lists name (or the disk,
where that is the list), whether its files are there or not: whether they are is looked up once, for all adapters, by `finder`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ...errors import UsageError

Media = Literal["frames", "videos"]
KINDS: dict[Media, Literal["frames", "video"]] = {"frames": "frames", "videos": "video"}
SHOWN = 5  # clips that a message names

# What people call the seven emotions; one that is spelt otherwise is another class.
SPELLINGS = {
    "angry": "anger ang",
    "disgust": "disgusted dis",
    "fear": "fearful fea",
    "happy": "happiness hap joy",
    "neutral": "neu",
    "sad": "sadness",
    "surprise": "surprised sur",
}
_SPELT = {word: name for name, words in SPELLINGS.items() for word in (name, *words.split())}


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that the check of a data set found: a sentence, of how many clips it speaks, and some of them."""

    kind: str
    text: str
    count: int = 0
    examples: tuple[str, ...] = ()
    is_expected: bool = False  # nothing is wrong; it is reported for information

    def line(self) -> str:
        """Say it, naming a few clips."""
        named = ", ".join(self.examples[:SHOWN]) + (" …" if self.count > SHOWN else "")
        return f"{self.text}: {named}" if self.examples else self.text


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One clip, as the lists have it."""

    id: str
    path: Path  # where it lies, or would
    kind: Literal["video", "frames"]
    where: str = ""  # the list and the line; empty where the disk is the list
    label: str | None = None
    subject: str = ""
    split: str = ""
    fold: int = -1
    frames: int | None = None  # by the list's account
    start: float | None = None  # seconds
    end: float | None = None
    onset: int = -1  # frames of the clip, counted from 0
    apex: int = -1
    offset: int = -1
    database: str = ""  # of a composite, or of one that may become a part of one: the column extra:database
    problem: str = ""  # why it gives no clip, where the adapter knows more than that the path is empty


@dataclass(frozen=True, kw_only=True)
class Request:
    """What the user asks of an adapter."""

    root: Path
    media: Media | None = None  # None: face crops where there are some
    lists: tuple[Path, ...] = ()  # of generic data sets
    label_names: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What an adapter read below a root."""

    layout: str  # which lists and which folders, in a line
    labels: tuple[str, ...]  # in the data set's own order
    entries: tuple[Entry, ...]
    are_crops: bool = False  # each picture is a face crop by itself
    findings: tuple[Finding, ...] = ()
    others: tuple[Path, ...] = ()  # clips on the disk that no list names
    others_are: str = ""  # why there may be such, where it is known


@dataclass(frozen=True, kw_only=True)
class PublishedResult:
    """What a paper prints as a system's score on the data set, in percent; only what was read in the source that is named."""

    system: str
    war: float
    source: str  # table and paper
    uar: float | None = None
    remarks: tuple[str, ...] = ()  # what to know before it is compared with a run

    def line(self) -> str:
        """Say it in a line."""
        uar = f" / {self.uar:.2f} UAR" if self.uar is not None else ""
        return f"{self.system} {self.war:.2f} WAR{uar} ({'; '.join((self.source, *self.remarks))})"


@dataclass(frozen=True, kw_only=True)
class PublishedUf1:
    """What a paper prints as a system's UF1 and UAR on a composite and on its databases, in shares; only what was read in the source."""

    system: str
    source: str
    scores: Mapping[str, tuple[float, float | None]]  # of all clips ("Full") and of each database: UF1, UAR
    remarks: tuple[str, ...] = ()  # what to know before it is compared with a run

    def line(self) -> str:
        """Say it in a line."""
        told = [
            f"{name} UF1 {uf1:.3f}" + (f", UAR {uar:.3f}" if uar is not None else "")
            for name, (uf1, uar) in self.scores.items()
        ]
        return f"{self.system}: {'; '.join(told)} ({'; '.join((self.source, *self.remarks))})"


OWN_BACKBONE = "its ResNet-18 trains with it: other backbone than cached features"
ON_TEST = "epoch chosen on the test fold"
REPRODUCED = "reproduced by EST's authors"
PRETRAINED = "pre-trained ResNet-18: other backbone"


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A data set that is known by name."""

    name: str
    title: str
    labels: tuple[str, ...]
    licence: str
    layouts: tuple[str, ...]
    protocol: str
    read: Callable[[Request], Reading]
    by_agreement: bool = False  # with its authors, each user by name: nothing that is made of single clips is passed on
    aliases: tuple[str, ...] = ()
    media: tuple[Media, ...] = ("frames", "videos")
    published: Mapping[str, tuple[int, ...]] = field(default_factory=dict)  # row of the check → counts in use
    results: tuple[PublishedResult, ...] = ()
    uf1_results: tuple[PublishedUf1, ...] = ()  # of a composite
    is_generic: bool = False  # made of lists that the user names
    takes_label_names: bool = False


def known_label(text: str, labels: tuple[str, ...]) -> str | None:
    """Return the label that a name means: itself in any case, or another spelling of one of the seven emotions."""
    plain = text.strip().casefold()
    for label in labels:
        if label.casefold() == plain:
            return label
    return next((name for name in labels if plain in _SPELT and _SPELT.get(name.casefold()) == _SPELT[plain]), None)


def expect_media(dataset: str, wanted: Media | None, there: Mapping[Media, str]) -> Media:
    """Return which form of the clips to take: the one asked for, else frames, else videos; `there` says what lies where."""
    choices: tuple[Media, ...] = ("frames", "videos") if wanted is None else (wanted,)
    for media in choices:
        if media in there:
            return media
    found = ", ".join(f"{media} in {place}" for media, place in there.items()) or "neither frames nor videos"
    raise UsageError(
        f"{dataset}: asked for {wanted or 'frames or videos'}, found {found}.",
        remedy=f"--{next(iter(there))}" if there else "--root is the folder above them, as docs/datasets.md shows it",
    )
