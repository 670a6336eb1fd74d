#!/usr/bin/env bash
# `make test-image`: the image against the installation outside it, on a simulated dataset.
#   BIN        folder of the installation outside (.venv/bin)     IMAGE  image (hyper)
#   PARTS      of: docker apptainer speed                         SIF    keep or reuse this Apptainer image
#   SHAPE, ROUNDS  of the GLM benchmark (73x87x73, 5)
#   HYPER_TOOLS, see engine.sh. What is made lies in a temporary folder, KEEP=yes leaves it.
set -euo pipefail
. "$(dirname "$0")/engine.sh"
BIN=${BIN:-$ROOT/.venv/bin}
PARTS=${PARTS:-docker apptainer speed}
FOLDER=$(mktemp -d "${TMPDIR:-/tmp}/hyper-image-XXXXXX")
chmod 755 "$FOLDER"
if [ "${KEEP:-no}" = no ]; then at_exit "rm -rf '$FOLDER'"; else echo "in $FOLDER"; fi
FAILED=0
DATA=$FOLDER/data
OPTIONS=(--n-permutations 100 --n-cpus 2)

# Outside: the same environment as inside, since another BLAS kernel (OPENBLAS_CORETYPE) changes last digits.
bare() { env -i HOME="$HOME" PATH="$PATH" LANG=C.UTF-8 ${PYTHONPATH:+PYTHONPATH="$PYTHONPATH"} "$BIN/hyper" "$@"; }

check() { # check NAME COMMAND...: run it, say how it went and how long it took
  local name=$1 start log; shift
  log=$FOLDER/$(echo "$name" | tr -c 'a-z0-9\n' _).log; start=$(now)
  if "$@" > "$log" 2>&1; then echo "ok    $name ($(since "$start") s)"
  else echo "FAIL  $name ($(since "$start") s)"; tail -15 "$log" | sed 's/^/    /'; FAILED=1; fi
}

same() { # same NAME OUT [--participant 01]: is it what the installation outside made?
  echo "      $1:"; shift
  python3 "$ROOT/tests/container/compare.py" "$FOLDER/out" "$@" || FAILED=1
}

writable() { mkdir -p "$@"; chmod 777 "$@"; }

quick() { # the least of five start-ups
  for _ in 1 2 3 4 5; do local start; start=$(now); "$@" >/dev/null; echo "$(since_ms "$start")"; done | sort -n | head -1
}
since_ms() { awk -v a="$1" -v b="$(now)" 'BEGIN { printf "%.2f", b - a }'; }

refused() { # refused CODE WORDS COMMAND...: it must end with that exit code and say these words
  local code=$1 words=$2 said got=0; shift 2
  said=$("$@" 2>&1) || got=$?
  if [ "$got" = "$code" ] && grep -q -- "$words" <<< "$said"; then return 0; fi
  echo "exit $got, wanted $code and '$words'; it said: $said"; return 1
}

says() { local words=$1 said; shift; said=$("$@" 2>&1) || { echo "$said"; return 1; }
  grep -q -- "$words" <<< "$said" || { echo "wanted '$words'; it said: $said"; return 1; }; }

engine_up
docker image inspect "$IMAGE" >/dev/null || { echo "No image $IMAGE; run make image first." >&2; exit 2; }
echo "image $IMAGE: $(docker image inspect --format '{{.Size}}' "$IMAGE" | awk '{ printf "%.2f GB", $1 / 1e9 }')," \
  "version $(docker run --rm --entrypoint cat "$IMAGE" /version)"

part_outside() { # what the others are compared with
  "$BIN/hyper-tools" simulate "$DATA" --participants 2 --train-runs 2 --test-runs 1 --n-train-faces 60 \
    --n-test-faces 10 --repeats 3 --image-shape 14x15x12 --n-voxels 600 > "$FOLDER/simulate.log"
  chmod -R a+rX "$DATA"
  check "outside, participant" bare "$DATA" "$FOLDER/out" participant -w "$FOLDER/work" "${OPTIONS[@]}"
  check "outside, group" bare "$DATA" "$FOLDER/out" group
}

part_docker() {
  # No network, no passwd entry, no HOME, a read-only root with 64 MB of temporary folder, a read-only dataset.
  local strict=(docker run --rm --network none --read-only --tmpfs /tmp:rw,size=64m -u 4242:4242 -e HOME=/not/there)
  writable "$FOLDER"/docker/{out,work} "$FOLDER"/root/{out,work}
  strict+=(-v "$DATA:/data:ro" -v "$FOLDER/docker/out:/out" -v "$FOLDER/docker/work:/work")
  check "docker, -u 4242:4242 --read-only, participant" "${strict[@]}" "$IMAGE" /data /out participant -w /work "${OPTIONS[@]}"
  check "docker, -u 4242:4242 --read-only, group" "${strict[@]}" "$IMAGE" /data /out group
  same "docker, arbitrary user" "$FOLDER/docker/out"
  local plain=(docker run --rm -v "$DATA:/data:ro" -v "$FOLDER/root/out:/out")
  check "docker as it comes, work folder inside" "${plain[@]}" "$IMAGE" /data /out participant --participant-label 01 "${OPTIONS[@]}"
  same "docker as it comes" "$FOLDER/root/out" --participant 01
  check "docker, nothing but root's files is unreadable" test -z "$(docker run --rm -u 4242:4242 --entrypoint \
    find "$IMAGE" /opt/hyper /version ! -readable)"
  check "docker, limits are the container's" says "limits: 1 processes, 2.0 GB" \
    docker run --rm --cpus 1 --memory 2g -v "$DATA:/data:ro" "$IMAGE" /data /out participant --dry-run
  check "docker, output that cannot be written: exit 73" refused 73 "Cannot write" \
    docker run --rm -u 4242:4242 -v "$DATA:/data:ro" "$IMAGE" /data /out participant
  check "docker, descriptor names the image" says '"image": "hyper:' docker run --rm "$IMAGE" --bids-exec-spec
}

part_apptainer() {
  command -v apptainer >/dev/null || bash "$TOOLS/apptainer_install.sh" >/dev/null
  SIF=${SIF:-$FOLDER/hyper.sif}
  [ -s "$SIF" ] || check "apptainer build" apptainer build --mksquashfs-args "-comp zstd -Xcompression-level 1" \
    "$SIF" "docker-daemon:$IMAGE:latest"
  chmod a+r "$SIF"
  echo "      $(basename "$SIF"): $(stat -c %s "$SIF" | awk '{ printf "%.2f GB", $1 / 1e9 }')"
  writable "$FOLDER"/apptainer/{out,work} "$FOLDER"/user/{out,work} "$FOLDER/home/.local/lib/python3.11/site-packages/numpy"
  local box=(apptainer run --containall -B "$DATA:/data:ro" -B "$FOLDER/apptainer/out:/out" -B "$FOLDER/apptainer/work:/work" "$SIF")
  check "apptainer --containall, participant" "${box[@]}" /data /out participant -w /work "${OPTIONS[@]}"
  check "apptainer --containall, group" "${box[@]}" /data /out group
  same "apptainer --containall" "$FOLDER/apptainer/out"
  # The user's own numpy in ~/.local must not be found, nor may a HOME of the host that is not in the container matter.
  echo 'raise SystemExit("numpy of the home folder")' > "$FOLDER/home/.local/lib/python3.11/site-packages/numpy/__init__.py"
  check "apptainer, packages in ~/.local stay outside" \
    env HOME="$FOLDER/home" apptainer run -H "$FOLDER/home" -B "$DATA:/data:ro" "$SIF" /data "$FOLDER/never" participant --dry-run
  if [ "$(id -u)" = 0 ] && id nobody >/dev/null 2>&1; then
    local user=(setpriv --reuid=nobody --regid=nogroup --clear-groups env HOME=/nonexistent apptainer run --containall
      --no-home -B "$DATA:/data:ro" -B "$FOLDER/user/out:/out" -B "$FOLDER/user/work:/work" "$SIF")
    check "apptainer as nobody, no home" "${user[@]}" /data /out participant --participant-label 01 -w /work "${OPTIONS[@]}"
    same "apptainer as nobody" "$FOLDER/user/out" --participant 01
  fi
}

part_speed() {
  # The GLM benchmark's own measurement (seconds inside the process, after the imports), in turn; least of ROUNDS.
  local python=$BIN/python shape=${SHAPE:-73x87x73}
  mkdir "$FOLDER/bench"
  (cd "$ROOT/benchmarks" && "$python" -c "
import sys; from pathlib import Path; from glm import make_data
make_data(Path(sys.argv[1]), tuple(map(int, sys.argv[2].split('x'))), 532, 175)" "$FOLDER/bench" "$shape")
  local work=(/benchmarks/glm.py --child ours-lss+ar1 --folder /bench --bold bold.nii.gz)
  local inside=(-v "$ROOT/benchmarks:/benchmarks:ro" -v "$FOLDER/bench:/bench" --entrypoint python)
  local bound=(-B "$ROOT/benchmarks:/benchmarks" -B "$FOLDER/bench:/bench")
  for _ in $(seq "${ROUNDS:-5}"); do
    (cd "$ROOT" && env -i PATH="$PATH" ${PYTHONPATH:+PYTHONPATH="$PYTHONPATH"} OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 \
      "$python" "$ROOT/benchmarks/glm.py" --child ours-lss+ar1 --folder "$FOLDER/bench" --bold bold.nii.gz) >> "$FOLDER/bare.times"
    docker run --rm "${inside[@]}" "$IMAGE" "${work[@]}" >> "$FOLDER/docker.times"
    if [ -s "${SIF:-}" ]; then apptainer exec --containall "${bound[@]}" "$SIF" python "${work[@]}" >> "$FOLDER/apptainer.times"; fi
  done
  echo "      GLM benchmark, LSS with AR(1), $shape x 532, least of ${ROUNDS:-5} rounds in turn:"
  "$python" - "$FOLDER"/{bare,docker,apptainer}.times <<'P'
import json, sys
from pathlib import Path
base = {}
for path in map(Path, sys.argv[1:]):
    if path.exists():
        rounds = [json.loads(line) for line in path.read_text().splitlines() if line.startswith("{")]
        best = {key: min(one[key] for one in rounds) for key in ("seconds", "cpu")}
        base = base or best
        shown = ", ".join(f"{best[key]:.2f} s {what} ({100 * best[key] / base[key] - 100:+.1f} %)"
                          for key, what in (("seconds", "by the clock"), ("cpu", "of the processor")))
        print(f"      {path.stem:10} {shown}")
P
  echo "      start-up (hyper --version, least of 5): outside $(quick "$BIN/hyper" --version) s," \
    "docker $(quick docker run --rm "$IMAGE" --version) s," \
    "$(if [ -s "${SIF:-}" ]; then echo "apptainer $(quick apptainer run "$SIF" --version) s"; fi)"
}

case "$PARTS" in *docker* | *apptainer*) part_outside ;; esac
for part in $PARTS; do "part_$part"; done
if [ $FAILED = 0 ]; then echo "all checks passed"; else echo "some checks FAILED"; fi
exit $FAILED
