"""What is asked of Slurm for each job."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from ...errors import UsageError, expect_values

LEAST_MEM = 100  # megabytes: a smaller plain number was meant as gigabytes
TIME = "04:00:00"  # short enough to be begun soon; a shard that is not done by then is queued again, and resumes
REQUEUES = 20  # times that a job may run out of its time
WARNING = 120  # seconds before its time ends in which a job commits what it has


@dataclass(frozen=True, kw_only=True)
class SlurmOptions:
    """Options of sbatch; `more` takes those that have no name here."""

    partition: str | None = None
    time: str = TIME
    gpus: int | None = None  # of each job
    cpus: int | None = None
    mem: str | None = None
    account: str | None = None
    max_parallel: int | None = None  # jobs that run at once
    requeues: int = REQUEUES
    more: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        expect_values(self, "--", gpus=(0, 1024), cpus=(1, 4096), max_parallel=(1, 100_000), requeues=(0, 1000))
        if self.mem is not None and re.fullmatch(r"\d{1,9}", self.mem) and 0 < int(self.mem) < LEAST_MEM:
            raise UsageError(
                f"--mem {self.mem} is {self.mem} MB to sbatch, too little for a job.", remedy=f"--mem {int(self.mem)}G"
            )
        _ = self.minutes

    @property
    def minutes(self) -> int:
        """Return the time in minutes, rounded up."""
        found = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", self.time)
        if found is None:
            raise UsageError(
                f"--time is minutes, H:MM:SS or D-HH:MM:SS, as sbatch takes it; found {self.time!r}.",
                remedy=f"--time {TIME}",
            )
        days, *parts = (None if part is None else int(part) for part in found.groups())
        first, second, third = parts
        if days is not None:  # D-H, D-H:M, D-H:M:S
            seconds = ((days * 24 + (first or 0)) * 60 + (second or 0)) * 60 + (third or 0)
        elif third is not None:  # H:M:S
            seconds = ((first or 0) * 60 + (second or 0)) * 60 + third
        else:  # M, M:S
            seconds = (first or 0) * 60 + (second or 0)
        if not seconds:
            raise UsageError(f"--time {self.time} is no time.", remedy=f"--time {TIME}")
        return -(-seconds // 60)


def read_more(words: list[str]) -> dict[str, str]:
    """Read KEY=VALUE, as --slurm takes them; a KEY alone is a switch."""
    found = {}
    for word in words:
        key, _, value = word.lstrip("-").partition("=")
        if not re.fullmatch(r"[a-z][a-z0-9-]*", key):
            raise UsageError(
                f"--slurm takes an option of sbatch as KEY=VALUE, found {word!r}.", remedy="--slurm qos=long"
            )
        found[key] = value
    return found
