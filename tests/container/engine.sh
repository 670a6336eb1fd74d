# Sourced by the other scripts: a Docker engine, or one started from $HYPER_TOOLS for the time of the script.
# HYPER_TOOLS: folder with docker_up.sh, docker_base.sh, docker_build.sh, docker_down.sh, apptainer_install.sh,
# slurm_up.sh, slurm_down.sh (default: ../shared/tools beside the repository).
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
TOOLS=${HYPER_TOOLS:-$ROOT/../shared/tools}
LOCAL=${HYPER_ENGINE:-${TMPDIR:-/tmp}/docker-local}
IMAGE=${IMAGE:-hyper}
STAND_IN=no

engine_up() {
  if docker version >/dev/null 2>&1; then return; fi
  [ -x "$TOOLS/docker_up.sh" ] || {
    echo "No Docker engine answers, and there is no docker_up.sh in $TOOLS (set HYPER_TOOLS)." >&2; exit 2; }
  local before=no
  [ -S "$LOCAL/docker.sock" ] && DOCKER_HOST=unix://$LOCAL/docker.sock docker version >/dev/null 2>&1 && before=yes
  bash "$TOOLS/docker_up.sh" "$LOCAL"
  . "$LOCAL/env"
  STAND_IN=yes
  [ $before = yes ] || at_exit "bash '$TOOLS/docker_down.sh' '$LOCAL'"
}

# Commands to run at the end, the last one first.
AT_EXIT=:
at_exit() { AT_EXIT="$1; $AT_EXIT"; trap 'eval "$AT_EXIT"' EXIT; }

now() { date +%s.%N; }
since() { awk -v a="$1" -v b="$(now)" 'BEGIN { printf "%.1f", b - a }'; }
