#!/bin/bash
# A cluster of one node, this machine, for tests: munged, slurmctld and slurmd, as root, without systemd or accounting.
#
#   apt-get install slurm-wlm munge
#   tests/support/slurm_node.sh start FOLDER     then: export SLURM_CONF=FOLDER/slurm.conf; sinfo
#   tests/support/slurm_node.sh stop FOLDER
#
# Two partitions of the same node: jobs of `urgent` preempt those of `batch`, which are warned and queued again.
set -euo pipefail

action=$1
folder=$(realpath -m "$2")
host=$(hostname -s)
export SLURM_CONF=$folder/slurm.conf

configure() {
    mkdir -p "$folder/state" "$folder/spool" "$folder/run"
    cat > "$SLURM_CONF" <<CONF
ClusterName=one
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=${EST_SLURM_PORT:-16817}
SlurmdPort=$((${EST_SLURM_PORT:-16817} + 1))
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=$folder/run/munge.socket
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/run/slurmctld.pid
SlurmdPidFile=$folder/run/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=2,bf_interval=2
SlurmctldParameters=preempt_send_user_signal
ReturnToService=2
JobRequeue=1
KillWait=20
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
NodeName=$host NodeAddr=127.0.0.1 CPUs=$(nproc) State=UNKNOWN
PartitionName=batch Nodes=$host Default=YES MaxTime=INFINITE State=UP PriorityTier=1 GraceTime=60
PartitionName=urgent Nodes=$host Default=NO MaxTime=INFINITE State=UP PriorityTier=2
CONF
}

start() {
    configure
    dd if=/dev/urandom of="$folder/run/munge.key" bs=1024 count=1 status=none
    chmod 400 "$folder/run/munge.key"
    munged --force --socket="$folder/run/munge.socket" --key-file="$folder/run/munge.key" \
        --pid-file="$folder/run/munged.pid" --seed-file="$folder/run/munged.seed" --log-file="$folder/munged.log"
    slurmctld
    slurmd
    for _ in $(seq 100); do
        if sinfo --noheader --format=%t 2>/dev/null | grep -q idle; then
            sinfo
            return
        fi
        sleep 0.3
    done
    echo "the node is not ready; see $folder/slurmctld.log and slurmd.log" >&2
    return 1
}

stop() {
    scancel --full --user="$(id -un)" 2>/dev/null || true
    for name in slurmd slurmctld munged; do
        if [ -f "$folder/run/$name.pid" ]; then
            kill "$(cat "$folder/run/$name.pid")" 2>/dev/null || true
        fi
    done
}

"$action"
