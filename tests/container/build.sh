#!/usr/bin/env bash
# `make image`: build the image as $IMAGE:latest and $IMAGE:<version>. What is not named here is in docs/hpc.md.
set -euo pipefail
. "$(dirname "$0")/engine.sh"
cd "$ROOT"
version=$(sed -n 's/^__version__ = "\(.*\)"/\1/p' hyper_bids/__init__.py)
revision=$(git rev-parse --short HEAD 2>/dev/null || echo unknown)
flags=(-t "$IMAGE:$version" --build-arg "VERSION=$version" --build-arg "REVISION=$revision")
for name in PIP_INDEX_URL PIP_EXTRA_INDEX_URL; do
  if [ -n "${!name:-}" ]; then flags+=(--build-arg "$name"); fi
done
engine_up
start=$(now)
if [ $STAND_IN = yes ]; then
  bash "$TOOLS/docker_base.sh"
  bash "$TOOLS/docker_build.sh" . "$IMAGE:latest" "${flags[@]}"
else
  docker build -t "$IMAGE:latest" "${flags[@]}" .
fi
echo "built $IMAGE:$version in $(since "$start") s: $(docker image inspect --format '{{.Size}}' "$IMAGE:latest" |
  awk '{ printf "%.2f GB", $1 / 1e9 }')"
