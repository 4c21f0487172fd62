"""Jobs of Slurm by submitit: an array of parts, then the last step, which waits until all of them have ended well."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ...errors import EstError, first_line
from ...packages import expect_packages
from ..parts import Manifest
from ..place import LAST, Place
from .jobs import PartJob
from .options import WARNING, SlurmOptions
from .queue import Queue, slurm, write_queue

LAST_CPUS = 2
MOST = 100_000  # jobs at once, where nobody says
UNREACHABLE = ("configuration source", "contact slurm controller", "unable to contact", "resolve_ctls")  # says sbatch
WORKING = ("RUNNING", "COMPLETING")


def expect_slurm() -> None:
    """Refuse to submit where there is no submitit, or no Slurm."""
    expect_packages("est submit --engine slurm needs the package submitit", "submitit", install="'est-fer[cluster]'")
    if lacking := [name for name in ("sbatch", "srun", "squeue", "scancel") if shutil.which(name) is None]:
        raise EstError(
            f"Slurm is not on this machine: there is no {' and no '.join(lacking)}.",
            remedy="run it on a login node of the cluster; --engine local does the same on this machine; --print writes the scripts",
        )


def submit_slurm(
    place: Place, manifest: Manifest, queue: Queue, numbers: Sequence[int], waiting: Mapping[int, str]
) -> Queue:
    """Queue parts, and the last step behind them and behind those that are queued already; return what is queued now."""
    if waiting.get(LAST) in WORKING:
        return queue
    if LAST in waiting:
        slurm("scancel", queue.jobs[LAST])  # it waits for jobs that have failed
    jobs = {number: job for number, job in queue.jobs.items() if number in waiting and number != LAST}
    after, before = list(jobs.values()), queue.options.more.get("dependency")
    if numbers:
        made = _executor(place, "part", queue.options, gpus=True, dependency=before)
        found = _submit(lambda: made.submit_array([PartJob(place.out, number) for number in numbers]))
        jobs |= {number: job.job_id for number, job in zip(numbers, found, strict=True)}
        after.append(found[0].job_id.partition("_")[0])  # the whole array
    queue = replace(queue, jobs=jobs)
    write_queue(place, queue)  # already: what fails below finds the parts queued
    waits = ",".join(filter(None, [f"afterok:{':'.join(after)}" if after else "", before]))
    made = _executor(place, "last", queue.options, gpus=manifest.last_computes, dependency=waits)
    last = _submit(lambda: made.submit(PartJob(place.out, LAST, keep_shards=queue.keep_shards)))
    queue = replace(queue, jobs={**jobs, LAST: last.job_id})
    write_queue(place, queue)
    return queue


def cancel_slurm(queue: Queue, waiting: Mapping[int, str]) -> list[int]:
    """Take jobs out of the queue; return which parts they were to do."""
    if waiting:
        slurm("scancel", *(queue.jobs[number] for number in waiting))
    return sorted(waiting)


def _executor(place: Place, name: str, options: SlurmOptions, *, gpus: bool, dependency: str | None) -> Any:
    """Return submitit's executor with what was asked of Slurm."""
    from submitit import SlurmExecutor

    more = options.more if gpus else options.without_gpus
    additional = {key: value or True for key, value in more.items() if key != "dependency"}
    made = SlurmExecutor(folder=place.slurm, max_num_timeout=options.requeues)
    asked = {
        "partition": options.partition,
        "account": options.account,
        "cpus_per_task": options.cpus if gpus else min(options.cpus or LAST_CPUS, LAST_CPUS),
        "mem": options.mem,
        "gpus_per_node": (options.gpus or None) if gpus else None,
        "array_parallelism": options.max_parallel or MOST,
        "dependency": dependency or None,
    }
    made.update_parameters(
        job_name=f"{place.job_name}-{name}",
        time=options.minutes,
        signal_delay_s=WARNING,
        stderr_to_stdout=True,
        additional_parameters={**additional, "requeue": True, "kill-on-invalid-dep": "yes"},
        **{key: value for key, value in asked.items() if value is not None},
    )
    return made


def _submit(submit: Any) -> Any:
    """Hand over, and say what sbatch says where it refuses."""
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    try:
        return submit()
    except (FailedJobError, FailedSubmissionError) as error:
        unreachable = any(words in str(error).casefold() for words in UNREACHABLE)
        raise EstError(
            f"sbatch refused the jobs: {first_line(error)}",
            remedy="run it on a login node of the cluster, or --engine local"
            if unreachable
            else "mend the option that it names; fewer --shards where the array is too large",
        ) from error
