"""Under which terms something may be given away: what is known of the data sets behind it, and what the user says.

est is no lawyer: a data set whose copies go to named users by agreement is refused, anything else needs its licence named and confirmed
by the user.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ...errors import UsageError
from ...inputs.published import DATASETS
from ...inputs.stills import affectnet, rafdb

IMAGES = {"affectnet": affectnet.LICENCE, "rafdb": rafdb.LICENCE}  # data sets of images, each by agreement
NO_NAME = "your own data, or a data set that est does not know"


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What is known of the data sets behind something."""

    names: tuple[str, ...]  # as they are recorded
    licences: tuple[str, ...]  # in words, of those that are known
    by_agreement: tuple[str, ...]  # titles of those whose users are named in an agreement

    @classmethod
    def of(cls, names: Iterable[str]) -> Terms:
        """Look data sets up by the names under which caches and cards have them."""
        known = {
            _plain(word): dataset for dataset in DATASETS for word in (dataset.name, dataset.title, *dataset.aliases)
        }
        licences, agreements, recorded = [], [], sorted({name for name in names if name})
        for name in recorded:
            if found := known.get(_plain(name)):
                licences.append(f"{found.title}: {found.licence}")
                agreements += [found.title] if found.by_agreement else []
            elif licence := IMAGES.get(_plain(name)):
                licences.append(licence)
                agreements.append(licence.partition(":")[0])
        return cls(names=tuple(recorded), licences=tuple(licences), by_agreement=tuple(agreements))

    def describe(self) -> str:
        """Return what is known."""
        return "; ".join(self.licences) or (f"not known to est: {', '.join(self.names)}" if self.names else NO_NAME)

    def expect_features_may_go(self) -> None:
        """Refuse features of faces whose data set is given to named users."""
        if self.by_agreement:
            raise UsageError(
                f"{' and '.join(self.by_agreement)} go to users whom an agreement names ({self.describe()}): features "
                "of the clips are not passed on.",
                remedy="est export RUN --push hub:ORG/NAME shares the trained model instead; others extract the "
                "features from their own copy",
            )

    def expect_private(self, *, public: bool) -> None:
        """Refuse to show everybody what has learnt from a data set that is given to named users."""
        if public and self.by_agreement:
            raise UsageError(
                f"The model has learnt from {' and '.join(self.by_agreement)}, which go to users whom an agreement names.",
                remedy="leave --public out",
            )


@dataclass(frozen=True, kw_only=True)
class Permission:
    """What the user says about giving something away."""

    licence: str | None  # of the data, in the user's words
    confirmed: bool
    public: bool = False

    def expect(self, terms: Terms) -> str:
        """Return the licence that was named and confirmed, or say what is missing."""
        if not self.licence or not self.licence.strip() or "\n" in self.licence:
            raise UsageError(
                f"No licence is given under which this may be passed on. It is derived from {terms.describe()}.",
                remedy="--licence 'NAME OF THE LICENCE', in one line",
            )
        if not self.confirmed:
            raise UsageError(
                f"Nothing is pushed: it is not confirmed that {self.licence!r} allows it. It is derived from {terms.describe()}.",
                remedy="--yes confirms it",
            )
        return self.licence.strip()


def _plain(name: str) -> str:
    return "".join(filter(str.isalnum, name)).casefold()
