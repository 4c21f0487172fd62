"""What is asked of Slurm for each job."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from ...errors import UsageError, expect_values, some

LEAST_MEM = 100  # megabytes: a smaller plain number was meant as gigabytes
TIME = "04:00:00"  # short enough to be begun soon; a shard that is not done by then is queued again, and resumes
REQUEUES = 20  # times that a job may run out of its time
OWN = (  # what est asks of sbatch itself, or what leaves it without the number of a job
    *("array", "job-name", "output", "error", "open-mode", "signal", "requeue", "no-requeue", "kill-on-invalid-dep"),
    *("parsable", "wait", "wrap", "test-only", "quiet", "help", "usage", "version"),
)
FLAGS = {  # options of sbatch that have a flag of their own → the flag
    "partition": "--partition",
    "account": "--account",
    "time": "--time",
    "mem": "--mem",
    "cpus-per-task": "--cpus",
    "array": "--shards and --max-parallel",
    "requeue": "--requeues",
}
ONE = (  # of a job: it is one process on one machine
    *("nodes", "ntasks", "ntasks-per-core", "ntasks-per-gpu", "ntasks-per-node", "ntasks-per-socket"),
)
OTHERS = (  # of sbatch of Slurm 22.05: sbatch takes beginnings of these names, too
    *("acctg-freq", "batch", "bb", "bbf", "begin", "chdir", "cluster-constraint", "clusters", "comment", "constraint"),
    *("container", "contiguous", "core-spec", "cores-per-socket", "cpu-freq", "cpus-per-gpu", "deadline", "delay-boot"),
    *("dependency", "distribution", "exclude", "exclusive", "export", "export-file", "extra-node-info", "get-user-env"),
    *("gid", "gpu-bind", "gpu-freq", "gpus", "gpus-per-node", "gpus-per-socket", "gpus-per-task", "gres", "gres-flags"),
    *("hint", "hold", "ignore-pbs", "input", "licenses", "mail-type", "mail-user", "mcs-label", "mem-bind"),
    *("mem-per-cpu", "mem-per-gpu", "mincpus", "network", "nice", "no-kill", "nodefile", "nodelist", "overcommit"),
    *("oversubscribe", "power", "prefer", "priority", "profile", "propagate", "qos", "reboot", "reservation"),
    *("sockets-per-node", "spread-job", "switches", "thread-spec", "threads-per-core", "time-min", "tmp", "uid"),
    *("use-min-nodes", "verbose", "wait-all-nodes", "wckey"),
)
KNOWN = tuple(dict.fromkeys((*FLAGS, *OWN, *ONE, *OTHERS)))
MEMORY = ("mem-per-cpu", "mem-per-gpu")  # options whose plain numbers are megabytes, too
WARNING = 120  # seconds before its time ends in which a job commits what it has


@dataclass(frozen=True, kw_only=True)
class SlurmOptions:
    """Options of sbatch; `more` takes those that have no name here, by their long names."""

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
        more = {key.replace("_", "-"): value for key, value in self.more.items()}
        object.__setattr__(self, "more", more)
        for key, value in more.items():
            self._expect_passed_on(key, value)
        sizes = {"--mem ": self.mem, **{f"--slurm {key}=": more.get(key) for key in MEMORY}}
        if self.mem is not None and not re.fullmatch(r"\d{1,9}[KMGTkmgt]?", self.mem):
            raise UsageError(f"--mem is a number with K, M, G or T, found {self.mem!r}.", remedy="--mem 16G")
        for option, size in sizes.items():
            if size is not None and re.fullmatch(r"\d{1,9}", size) and 0 < int(size) < LEAST_MEM:
                raise UsageError(
                    f"{option}{size} is {size} MB to sbatch, too little for a job.", remedy=f"{option}{int(size)}G"
                )
        _ = self.minutes
        if "?" in self.more.get("dependency", ""):
            raise UsageError(
                "The job that merges waits for the others, and ? of a dependency would let it begin before.",
                remedy="--slurm dependency=afterok:1,afterok:2 waits for all; --print writes a script that you may change",
            )
        for text in (self.partition, self.mem, self.account, *self.more.values()):
            expect_line("An option of Slurm", text or "")

    def _expect_passed_on(self, key: str, value: str) -> None:
        """Refuse an option of sbatch that est sets, and a name cut short, by which sbatch takes one all the same."""
        meant = [key] if key in KNOWN else [name for name in KNOWN if name.startswith(key)]
        if len(meant) > 1 or (meant and meant[0] != key and meant[0] in OTHERS):
            first = FLAGS.get(meant[0]) or f"--slurm {meant[0]}" + (f"={value}" if value else "")
            raise UsageError(
                f"--slurm takes the whole name of an option of sbatch, found {key!r}, the beginning of {some(meant)}.",
                remedy=first,
            )
        key = meant[0] if meant else key  # else a newer one than est knows, or one of a site
        if key in FLAGS:
            raise UsageError(f"--slurm {key} has an option of its own.", remedy=FLAGS[key])
        if key in OWN:
            raise UsageError(
                f"est sets --{key} of sbatch itself.",
                remedy=f"leave out --slurm {key}; --print writes a script that you may change",
            )
        if key in ONE and value != "1":
            raise UsageError(
                f"A job is one process on one machine, found --slurm {key}={value}.", remedy="--shards N for more jobs"
            )
        if key == "clusters":
            raise UsageError(
                "est looks at the queue of the cluster that this machine belongs to alone, found --slurm clusters.",
                remedy="leave it out, on a login node of that cluster",
            )
        if key == "gpus-per-node" and self.gpus is not None:
            raise UsageError(f"--gpus {self.gpus} and --slurm {key}={value} ask for the same.", remedy="one of them")

    @property
    def without_gpus(self) -> dict[str, str]:
        """Return `more` for a last step that computes nothing."""
        return {key: value for key, value in self.more.items() if "gpu" not in key and not key.startswith("gres")}

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


def expect_line(what: str, text: str) -> None:
    """Refuse control characters in what becomes a line of a script: a line break would begin another command."""
    if not text.isprintable():
        raise UsageError(f"{what} has a control character: {text!r}.", remedy="leave the character out")


def read_more(words: list[str]) -> dict[str, str]:
    """Read KEY=VALUE, as --slurm takes them; a KEY alone is a switch."""
    found: dict[str, str] = {}
    for word in words:
        key, _, value = word.lstrip("-").partition("=")
        if not re.fullmatch(r"[a-z][a-z0-9_-]*", key):
            raise UsageError(
                f"--slurm takes an option of sbatch by its long name, as KEY=VALUE, found {word!r}.",
                remedy="--slurm qos=long",
            )
        key = key.replace("_", "-")
        if found.setdefault(key, value) != value:
            raise UsageError(f"--slurm {key} is {found[key]} and {value}.", remedy="one of them")
    return found
