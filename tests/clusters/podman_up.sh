#!/usr/bin/env bash
# Podman's API service with settings, storage and socket of its own. Needs root.
# Its state lies in $METTA_SWEEP_LAB/podman; `env.sh` there says where it listens. Runs again without harm.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
lab=${METTA_SWEEP_LAB:-${TMPDIR:-/tmp}/metta-sweep-clusters}/podman
socket=$lab/podman.sock
export PATH="/usr/local/sbin:/usr/sbin:/sbin:$PATH"

[ "$(id -u)" = 0 ] || { echo "this Podman service needs root" >&2; exit 1; }
for program in podman runc tini busybox curl; do
  command -v "$program" >/dev/null || { echo "no $program: apt-get install podman runc tini busybox-static curl" >&2; exit 1; }
done

mkdir -p "$lab"
# default_ulimits: its defaults are above what this process may set without CAP_SYS_RESOURCE.
# runtime: crun refuses a kernel with both kinds of cgroups mounted.
# cgroup_manager, events_logger: there may be no systemd.
# init_path: Debian has tini, not the catatonit that it looks for.
cat > "$lab/containers.conf" <<C
[containers]
default_ulimits = ["nofile=$(ulimit -Hn):$(ulimit -Hn)", "nproc=30000:30000"]
[engine]
init_path = "$(command -v tini)"
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
C
cat > "$lab/storage.conf" <<C
[storage]
driver = "${PODMAN_STORAGE:-overlay}"
graphroot = "$lab/data"
runroot = "$lab/run"
C
export CONTAINERS_CONF="$lab/containers.conf" CONTAINERS_STORAGE_CONF="$lab/storage.conf"

answers() { curl --silent --fail --max-time 5 --unix-socket "$socket" http://podman/_ping >/dev/null; }
if ! answers; then
  rm -f "$socket"
  # There: what watches a container that is out of memory leaves a file `oom` where the service was started.
  cd "$lab"
  setsid podman system service --time=0 "unix://$socket" </dev/null >>"$lab/podman.log" 2>&1 &
  echo $! > "$lab/podman.pid"
  for _ in $(seq 300); do
    answers && break
    sleep 0.1
  done
fi
answers || { tail -n 20 "$lab/podman.log" >&2; exit 1; }

image=localhost/metta-sweep/python:$("$here/container_image.sh" --tag)
podman image exists "$image" || "$here/container_image.sh" | podman import --quiet --change 'CMD ["python3"]' - "$image" >/dev/null
# Not DOCKER_HOST: a session of tests may have both engines.
printf 'export CONTAINER_HOST=unix://%s\nexport METTA_SWEEP_PODMAN_IMAGE=%s\n' "$socket" "$image" > "$lab/env.sh"
