#!/bin/bash
# A cluster on this machine, for tests: munged, slurmctld and one slurmd a node, as root, without systemd or accounting.
#
#   apt-get install slurm-wlm munge
#   tests/support/slurm_node.sh start FOLDER 3     then: export SLURM_CONF=FOLDER/slurm.conf; sinfo
#   tests/support/slurm_node.sh stop FOLDER
#
# Nodes are node1, node2, … (one, where no number is given); each has the processors of this machine. There are two
# partitions of the same nodes: jobs of `urgent` preempt those of `batch`, which are warned and queued again. A slurmd
# that is killed (its number is in FOLDER/run/slurmd.node2.pid) is a node that is down ten seconds later.
set -euo pipefail

action=$1
folder=$(realpath -m "$2")
nodes=${3:-1}
host=$(hostname -s)
port=${EST_SLURM_PORT:-16817}
export SLURM_CONF=$folder/slurm.conf

configure() {
    mkdir -p "$folder/state" "$folder/run"
    cat > "$SLURM_CONF" <<CONF
ClusterName=one
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$port
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=$folder/run/munge.socket
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool.%n
SlurmctldPidFile=$folder/run/slurmctld.pid
SlurmdPidFile=$folder/run/slurmd.%n.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.%n.log
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
SlurmdTimeout=10
PartitionName=batch Nodes=ALL Default=YES MaxTime=INFINITE State=UP PriorityTier=1 GraceTime=60
PartitionName=urgent Nodes=ALL Default=NO MaxTime=INFINITE State=UP PriorityTier=2
CONF
    for number in $(seq "$nodes"); do
        echo "NodeName=node$number NodeHostname=$host NodeAddr=127.0.0.1 Port=$((port + number)) CPUs=$(nproc) State=UNKNOWN"
    done >> "$SLURM_CONF"
}

start() {
    configure
    dd if=/dev/urandom of="$folder/run/munge.key" bs=1024 count=1 status=none
    chmod 400 "$folder/run/munge.key"
    munged --force --socket="$folder/run/munge.socket" --key-file="$folder/run/munge.key" \
        --pid-file="$folder/run/munged.pid" --seed-file="$folder/run/munged.seed" --log-file="$folder/munged.log"
    slurmctld
    for number in $(seq "$nodes"); do
        slurmd -N "node$number"
    done
    for _ in $(seq 100); do
        if [ "$(sinfo --noheader --partition=batch --states=idle --format=%D 2>/dev/null)" = "$nodes" ]; then
            sinfo
            return
        fi
        sleep 0.3
    done
    echo "the nodes are not ready; see $folder/slurmctld.log and slurmd.node1.log" >&2
    return 1
}

stop() {
    scancel --full --user="$(id -un)" 2>/dev/null || true
    for file in "$folder"/run/slurmd.*.pid "$folder/run/slurmctld.pid" "$folder/run/munged.pid"; do
        if [ -f "$file" ]; then
            kill "$(cat "$file")" 2>/dev/null || true
        fi
    done
}

"$action"
