"""How clips are divided: the section [protocol] of a run, and the protocols that are known by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ...errors import UsageError, expect_values, nearest

# The protocols that are not a data set's, in the order in which they are listed.
GENERAL = {
    "auto": "the cache's folds, else its splits, else 5 folds by subject",
    "official": "the folds or splits that the cache carries; refused where it carries neither",
    "folds": "the cache's folds: each clip is tested in its own, and learnt from in all others",
    "split": "the cache's splits: learnt on train, tested on test, or on val where there is no test",
    "kfold": "K folds by subject (--folds K; --by clip by clip)",
    "loso": "each subject in turn is left out and tested (--loso)",
    "holdout": "a fifth of the subjects is tested (--holdout)",
}
MICRO_NOTE = "UF1 and UAR come from counts pooled over all folds, after a fixed number of epochs."


@dataclass(frozen=True, kw_only=True)
class PublishedProtocol:
    """How the clips of a data set are divided in published work."""

    kind: Literal["folds", "split", "kfold", "loso"]
    note: str  # what to know before a number is compared
    folds: int = 1  # that are given, or made by subject
    halves: tuple[str, ...] = ()  # of a given division: learnt from, and tested
    is_micro: bool = False  # of micro-expressions: a fixed number of epochs, and the table of MEGC 2019

    def describe(self) -> str:
        """Say in a few words how clips are divided."""
        match self.kind:
            case "folds":
                return f"{self.folds} given folds"
            case "split":
                return f"learnt on {self.halves[0]}, tested on {self.halves[1]}"
            case "loso":
                return "each subject is left out in turn"
        return f"{self.folds} folds by subject"


PROTOCOLS: Mapping[str, PublishedProtocol] = {
    "dfew": PublishedProtocol(
        kind="folds",
        folds=5,
        note="each clip is tested once. A fold tests 29 clips of Disgust: one of them moves its UAR by 0.49 points.",
    ),
    "mafw": PublishedProtocol(kind="folds", folds=5, note="the clips with a single label, each tested once."),
    "afew": PublishedProtocol(
        kind="split",
        halves=("train", "val"),
        note="the labels of the test half are not public. The paper's 54.26 % is 191 of 352.",
    ),
    "ferv39k": PublishedProtocol(kind="split", halves=("train", "test"), note="31,088 clips are learnt from."),
    "bu4dfe": PublishedProtocol(
        kind="kfold", folds=10, note="101 people; the paper calls it BU-3DFE. Who is in which fold is not published."
    ),
    "mmi": PublishedProtocol(kind="kfold", folds=10, note="30 people. Who is in which fold is not published."),
    "ck+": PublishedProtocol(
        kind="kfold",
        folds=10,
        note="the sequences with an emotion, contempt among them. 10 folds by subject are usual, not official.",
    ),
    "crema-d": PublishedProtocol(
        kind="kfold", folds=5, note="91 actors. 5 folds by actor are a convention, not official."
    ),
    "ravdess": PublishedProtocol(
        kind="kfold",
        folds=6,
        note="24 actors. 6 folds by actor are a convention, not official; --loso leaves out each in turn. 1,440 clips are "
        "speech: est cache drop CACHE --split song leaves out the others.",
    ),
    "casme2": PublishedProtocol(kind="loso", is_micro=True, note=f"five classes of 26 people. {MICRO_NOTE}"),
    "samm": PublishedProtocol(kind="loso", is_micro=True, note=f"five classes of 28 people. {MICRO_NOTE}"),
    "smic": PublishedProtocol(kind="loso", is_micro=True, note=f"16 people. {MICRO_NOTE}"),
    "megc": PublishedProtocol(
        kind="loso",
        is_micro=True,
        note=f"68 people of CASME II, SAMM and SMIC. {MICRO_NOTE} Caches of one of the three are tested in the same way, on their own "
        "classes.",
    ),
}


By = Literal["subject", "clip"]


FOLDS = 5


@dataclass(frozen=True, kw_only=True)
class ProtocolConfig:
    """How clips are divided. `auto` takes the cache's folds, else its splits, else assigns subjects to folds."""

    kind: str = "auto"  # of GENERAL, or a data set of PROTOCOLS
    folds: int | None = None  # of kfold: 5 when left out; a data set's protocol knows its own
    by: By = "subject"  # what is never divided when folds or halves are made here
    test_share: float = 0.2  # of holdout
    only: tuple[str, ...] = ()  # the folds to run; all when empty
    val_share: float = 0.15  # of the training half, where an inner validation half is asked for
    val_part: str = ""  # or "K/N": it is fold K of N of the training half

    def __post_init__(self) -> None:
        expect_values(self, "protocol.")
        if isinstance(self.only, str):
            raise UsageError(
                f"protocol.only is a list of names of folds, found {self.only!r}.", remedy=f"--fold {self.only}"
            )
        kinds = (*GENERAL, *PROTOCOLS)
        if self.kind not in kinds:
            near = nearest(self.kind, kinds)
            raise UsageError(
                f"protocol.kind is {', '.join(kinds[:-1])} or {kinds[-1]}, found {self.kind!r}.",
                remedy=f"--protocol {near}" if near else "est train --list-protocols says what they are",
            )
        if self.folds is not None and self.folds < 2:
            raise UsageError(f"protocol.folds is 2 or more, found {self.folds}.", remedy="--folds 5")
        for name, share in (("test_share", self.test_share), ("val_share", self.val_share)):
            if not 0 < share < 1:
                usual = getattr(type(self), name)
                raise UsageError(
                    f"protocol.{name} lies between 0 and 1, found {share:g}.",
                    remedy=f"--set protocol.{name}={usual:g}",
                )
        if self.val_part:
            self._expect_part()
        if self.kind == "loso" and self.by == "clip":
            raise UsageError("Leave-one-subject-out goes by subject, found --by clip.", remedy="--folds 5 --by clip")
        preset = PROTOCOLS.get(self.kind)
        if preset is not None and preset.kind == "loso" and (self.folds is not None or self.by == "clip"):
            asked = "--by clip" if self.by == "clip" else f"{self.folds} folds"
            raise UsageError(
                f"The protocol {self.kind} leaves out one subject at a time, found {asked}.",
                remedy="leave it out, or --protocol kfold, which is a protocol of its own",
            )
        if preset is not None and preset.kind == "kfold":
            if self.folds not in (None, preset.folds):
                raise UsageError(
                    f"The protocol {self.kind} has {preset.folds} folds by subject, found {self.folds} folds.",
                    remedy=f"--folds {self.folds}, which is a protocol of its own",
                )
            if self.by == "clip":
                raise UsageError(
                    f"The protocol {self.kind} goes by subject, found --by clip.",
                    remedy=f"--folds {preset.folds} --by clip, whose result is not independent of the person",
                )

    @property
    def num_folds(self) -> int:
        """Return how many folds are made."""
        preset = PROTOCOLS.get(self.kind)
        return self.folds or (preset.folds if preset is not None else FOLDS)

    @property
    def inner_fold(self) -> tuple[int, int]:
        """Return which fold of how many the validation part is; (0, 0) where it is a share."""
        number, _, of = self.val_part.partition("/")
        return (int(number), int(of)) if self.val_part else (0, 0)

    def _expect_part(self) -> None:
        number, _, of = self.val_part.partition("/")
        if not (number.isdigit() and of.isdigit() and 1 <= int(number) <= int(of) and int(of) >= 2):
            raise UsageError(
                f"protocol.val_part is a fold of the training half, K/N with N of 2 or more, found {self.val_part!r}.",
                remedy="--set protocol.val_part=1/3, or protocol.val_share for a share",
            )
