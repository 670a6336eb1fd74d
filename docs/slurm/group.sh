#!/bin/bash
#SBATCH --job-name=hyper-group
#SBATCH --cpus-per-task=1
#SBATCH --mem=4G
#SBATCH --time=01:00:00
# The group level, after the participants: group.sh BIDS_DIR OUTPUT_DIR WORK_DIR [options of hyper]
set -euo pipefail
bids=$1 out=$2 work=$3; shift 3
exec bash "${HYPER_SCRIPTS:?}/hyper.sh" "$bids" "$out" "$work/group" group "$@"
