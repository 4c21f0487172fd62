"""The same jobs as scripts for sbatch, for those who want to read them, change them, or do without submitit."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping

from ..parts import Manifest
from ..place import Place
from .arrays import LAST_CPUS
from .options import WARNING, SlurmOptions, expect_line

INTERRUPTED = 130  # what `est submit work` ends with when a signal has stopped it
WARNED = 140  # and where it came before there was anything to stop: 128 and SIGUSR2


def sbatch_script(place: Place, manifest: Manifest, options: SlurmOptions, *, keep_shards: bool) -> str:
    """Return one script: `bash` with it submits the array, and the last step behind it."""
    expect_line("--out", str(place.out))
    est = shlex.join([sys.executable, "-m", "est"])
    out = shlex.quote(str(place.out))
    most = f"%{options.max_parallel}" if options.max_parallel else ""
    shared = {"account": options.account, "partition": options.partition, "mem": options.mem}
    own = {"cpus-per-task": options.cpus, "gpus-per-node": options.gpus or None}
    own_of_last = own if manifest.last_computes else {"cpus-per-task": min(options.cpus or LAST_CPUS, LAST_CPUS)}
    of_last = {**own_of_last, **shared, **(options.more if manifest.last_computes else options.without_gpus)}
    before = of_last.pop("dependency", None)
    wait = 'afterok:"$array"' + (f",{shlex.quote(str(before))}" if before else "")
    logs = str(place.folder / "logs").replace("%", "%%")  # sbatch reads %a and others in it
    keep = " --keep-shards" if keep_shards else ""
    return f"""#!/bin/bash
# {manifest.parts} {manifest.part}s of {place.out}, and one job that joins them. Submit both: bash THIS_FILE
# A {manifest.part} that Slurm warns, {WARNING} s before its time ends or when it is preempted,
# commits what it has and is queued again.
set -euo pipefail

array=$(sbatch --parsable <<'PART'
#!/bin/bash
#SBATCH --job-name={place.job_name}
#SBATCH --array=0-{manifest.parts - 1}{most}
#SBATCH --signal=USR2@{WARNING}
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output={shlex.quote(f"{logs}/%4a.log")}
{_flags({"time": options.time, **own, **shared, **options.more})}
srun {est} submit work {out} --part "$SLURM_ARRAY_TASK_ID" || status=$?
case "${{status:-0}}" in {INTERRUPTED}|{WARNED}) scontrol requeue "${{SLURM_ARRAY_JOB_ID}}_${{SLURM_ARRAY_TASK_ID}}" ;; esac
exit "${{status:-0}}"
PART
)

sbatch --dependency={wait} --kill-on-invalid-dep=yes <<'LAST'
#!/bin/bash
#SBATCH --job-name={place.job_name}-last
#SBATCH --output={shlex.quote(f"{logs}/last.log")}
{_flags({"time": options.time, **of_last})}
srun {est} submit merge {out}{keep}
LAST

echo {shlex.quote(f"submitted; est submit status {out} shows how far it is")}
"""


def _flags(options: Mapping[str, object]) -> str:
    """Write options as sbatch reads them in a script."""
    lines = [
        f"#SBATCH --{key}={shlex.quote(str(value))}" if value != "" else f"#SBATCH --{key}"
        for key, value in options.items()
        if value is not None
    ]
    return "".join(f"{line}\n" for line in lines)
