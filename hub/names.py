"""`hub:ORG/NAME`, `hub:ORG/NAME/FILE` and `hub:…@REVISION`: what lies on a hub, by name.

A name is pinned when its revision is a commit and its file is named: recipes keep pinned names alone, because a branch moves.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Self

from ..errors import UsageError

PREFIX = "hub:"
PART = re.compile(r"[A-Za-z0-9][\w.-]*")
COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, kw_only=True)
class HubName:
    """A repository, perhaps a file of it, perhaps at a revision."""

    repo: str  # ORG/NAME
    file: str = ""
    revision: str = ""  # a branch, a tag or a commit; empty: the main branch

    def __str__(self) -> str:
        return (
            PREFIX + self.repo + (f"/{self.file}" if self.file else "") + (f"@{self.revision}" if self.revision else "")
        )

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a name, or say how one is written."""
        name, at, revision = text.removeprefix(PREFIX).partition("@")
        org, _, rest = name.partition("/")
        repo, _, file = rest.partition("/")
        found = cls(repo=f"{org}/{repo}", file=file, revision=revision)
        if not text.startswith(PREFIX) or not found.is_readable or bool(at) != bool(revision):
            raise UsageError(
                f"Expected hub:ORG/NAME or hub:ORG/NAME@REVISION, found {text!r}.",
                remedy="such as hub:someone/tuned-encoder",
            )
        return found

    @property
    def is_readable(self) -> bool:
        """Return whether its text is read as the same name again."""
        parts = [*self.repo.split("/"), *(self.file.split("/") if self.file else ())]
        return all(PART.fullmatch(part) for part in parts)

    @property
    def is_pinned(self) -> bool:
        """Return whether it always names the same bytes."""
        return bool(self.file) and COMMIT.fullmatch(self.revision) is not None

    def pinned(self, file: str, commit: str) -> HubName:
        """Return it with a file and a commit."""
        return replace(self, file=file, revision=commit)

    def may_be(self, recorded: HubName) -> bool:
        """Return whether it can turn out to be what was recorded under a pinned name: a branch is resolved later."""
        return (
            self.repo == recorded.repo
            and self.file in ("", recorded.file)
            and (COMMIT.fullmatch(self.revision) is None or self.revision == recorded.revision)
        )


def names_hub(text: str) -> bool:
    """Return whether a text names something on a hub, rather than a file."""
    return text.startswith(PREFIX)


def same_weights(asked: str, recorded: str) -> bool:
    """Return whether weights that are asked for by name can be those that a recipe names."""
    if names_hub(asked) and names_hub(recorded):
        return HubName.parse(asked).may_be(HubName.parse(recorded))
    return asked == recorded
