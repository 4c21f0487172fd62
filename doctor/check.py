"""One check of a machine: what was found, and what fixes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from ..errors import EstError, brief

State = Literal["ok", "note", "problem"]


@dataclass(frozen=True, kw_only=True)
class Check:
    """What was found of one thing."""

    group: str  # under which it is shown
    name: str
    state: State = "ok"  # note: est works without it; problem: something that est needs does not work
    found: str
    remedy: str = ""  # the command that fixes it


@dataclass(frozen=True, kw_only=True)
class Examination:
    """All checks of a machine."""

    checks: tuple[Check, ...]

    @property
    def problems(self) -> tuple[Check, ...]:
        """Return what does not work."""
        return tuple(check for check in self.checks if check.state == "problem")

    def to_json(self) -> dict[str, Any]:
        """Return it for programs."""
        return {"healthy": not self.problems, "checks": [asdict(check) for check in self.checks]}

    def groups(self) -> dict[str, Sequence[Check]]:
        """Return the checks by group, in order."""
        found: dict[str, list[Check]] = {}
        for check in self.checks:
            found.setdefault(check.group, []).append(check)
        return {**found}


def from_error(group: str, name: str, error: EstError, *, state: State = "problem") -> Check:
    """Return what an error says."""
    cause = f" ({brief(error.__cause__)})" if error.__cause__ is not None else ""
    return Check(group=group, name=name, state=state, found=f"{error.message}{cause}", remedy=error.remedy or "")
