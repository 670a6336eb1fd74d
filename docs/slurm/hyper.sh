#!/bin/bash
# hyper.sh BIDS_DIR OUTPUT_DIR WORK_DIR LEVEL [options]: start hyper, the only file to adapt.
#   HYPER_SIF   an Apptainer image; where it is not set, HYPER (default: hyper) is started as installed
set -euo pipefail
bids=$1 out=$2 work=$3 level=$4; shift 4
mkdir -p "$out" "$work"
if [ -z "${HYPER_SIF:-}" ]; then
  exec "${HYPER:-hyper}" "$bids" "$out" "$level" -w "$work" "$@"
fi
# --containall gives a 64 MB /tmp in memory and no environment: the work folder serves as temporary folder,
# and SLURM's grant goes in by name. Paths are the same inside, so that links between datasets hold.
mkdir -p "$work/tmp"
grant=()
for name in SLURM_CPUS_PER_TASK SLURM_CPUS_ON_NODE SLURM_MEM_PER_NODE SLURM_MEM_PER_CPU; do
  if [ -n "${!name:-}" ]; then grant+=(--env "$name=${!name}"); fi
done
exec apptainer run --containall ${grant[@]+"${grant[@]}"} -B "$bids:$bids:ro" -B "$out" -B "$work" -B "$work/tmp:/tmp" \
  "$HYPER_SIF" "$bids" "$out" "$level" -w "$work" "$@"
