#!/bin/bash
#SBATCH --job-name=hyper
#SBATCH --cpus-per-task=4
#SBATCH --mem=8G
#SBATCH --time=08:00:00
#SBATCH --signal=B:TERM@120
#SBATCH --requeue
# One participant a task. Normally submitted by submit.sh, which counts the participants:
#   sbatch --array=1-N participants.sh LIST BIDS_DIR OUTPUT_DIR WORK_DIR [options of hyper]
# LIST: a file with one participant a line. How hyper is started: see hyper.sh beside this file.
#
# CPUs and memory are not given to hyper: it takes them from SLURM's environment and from the cgroup.
# Two minutes before the walltime hyper gets SIGTERM and ends; the same submission goes on from there.
set -euo pipefail
list=$1 bids=$2 out=$3 work=$4; shift 4
label=$(sed -n "${SLURM_ARRAY_TASK_ID}p" "$list")
[ -n "$label" ] || { echo "line $SLURM_ARRAY_TASK_ID of $list is empty" >&2; exit 64; }
echo "sub-$label on $(hostname), job $SLURM_JOB_ID: $SLURM_CPUS_PER_TASK CPUs, ${SLURM_MEM_PER_NODE:-?} MB"

# exec: the signal has to reach hyper, not a shell that waits for it. A work folder of its own for each
# participant; the output folder is the same for all.
exec bash "${HYPER_SCRIPTS:?}/hyper.sh" "$bids" "$out" "$work/sub-$label" participant --participant-label "$label" "$@"
