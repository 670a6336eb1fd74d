#!/usr/bin/env bash
# The demo: a simulated dataset through participant and group. Called by `make demo`.
set -euo pipefail
start=$SECONDS
rm -rf "$DEMO"
mkdir -p "$(dirname "$DEMO")"
cpus=()
if [ -n "${CPUS:-}" ]; then cpus=(--n-cpus "$CPUS"); fi

echo "== 1 of 3: simulate two participants who look at drawn faces"
"$BIN/hyper-tools" simulate "$DEMO/bids"
for participant in 01 02; do
  echo "== 2 of 3: decode sub-$participant"
  "$BIN/hyper" "$DEMO/bids" "$DEMO/out" participant --participant-label "$participant" --n-voxels 1200 -w "$DEMO/work" "${cpus[@]}"
done
echo "== 3 of 3: the group"
"$BIN/hyper" "$DEMO/bids" "$DEMO/out" group

echo
echo "Done in $((SECONDS - start)) s. Open the reports in a browser:"
for page in "$DEMO"/out/sub-01.html "$DEMO"/out/sub-02.html "$DEMO"/out/group.html; do
  echo "  $(cd "$(dirname "$page")" && pwd)/$(basename "$page")"
done
