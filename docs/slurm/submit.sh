#!/bin/bash
# submit.sh BIDS_DIR OUTPUT_DIR WORK_DIR [options of hyper]: an array with a participant a task, then the group.
#   HYPER_SIF or HYPER   what is started, see hyper.sh
#   SBATCH_ARRAY         further words for the array's sbatch, as in SBATCH_ARRAY="--mem=16G --time=2:00:00"
#   PARTICIPANTS         labels, as in PARTICIPANTS="01 02" (default: every sub- folder)
set -euo pipefail
[ $# -ge 3 ] || { sed -n '2,5s/^# //p' "$0" >&2; exit 64; }
export HYPER_SCRIPTS; HYPER_SCRIPTS=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$2" "$3/logs"
bids=$(cd "$1" && pwd) out=$(cd "$2" && pwd) work=$(cd "$3" && pwd); shift 3
list=$work/participants.txt
if [ -n "${PARTICIPANTS:-}" ]; then printf '%s\n' $PARTICIPANTS; else
  for folder in "$bids"/sub-*/; do basename "$folder" | sed 's/^sub-//'; done; fi > "$list"
array=$(sbatch --parsable --array="1-$(wc -l < "$list")" --output="$work/logs/%x_%A_%a.log" ${SBATCH_ARRAY:-} \
  "$HYPER_SCRIPTS/participants.sh" "$list" "$bids" "$out" "$work" "$@")
# afterok: only if every participant succeeded; afterany would take those that did.
group=$(sbatch --parsable --dependency="afterok:$array" --kill-on-invalid-dep=yes --output="$work/logs/%x_%j.log" \
  "$HYPER_SCRIPTS/group.sh" "$bids" "$out" "$work" "$@")
echo "array $array ($(wc -l < "$list") participants), then group $group; logs in $work/logs"
