#!/usr/bin/env bash
# A Docker daemon of our own: own socket, own data, no systemd, no network. Needs root.
# Its state lies in $METTA_SWEEP_LAB/docker; `env.sh` there says where it listens. Runs again without harm: a daemon that
# answers is left alone, one that was killed is started on its old data.
#   DOCKER_STORAGE        the storage driver; vfs works where there is no overlay file system
#   DOCKER_LIVE_RESTORE   true: containers go on while the daemon is away
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
lab=${METTA_SWEEP_LAB:-${TMPDIR:-/tmp}/metta-sweep-clusters}/docker
export PATH="/usr/local/sbin:/usr/sbin:/sbin:$PATH" DOCKER_HOST="unix://$lab/docker.sock"

[ "$(id -u)" = 0 ] || { echo "a Docker daemon needs root" >&2; exit 1; }
for program in dockerd docker docker-init runc busybox; do
  command -v "$program" >/dev/null || { echo "no $program: apt-get install docker.io tini busybox-static" >&2; exit 1; }
done

mkdir -p "$lab"
if ! timeout 5 docker version >/dev/null 2>&1; then
  # After a kill its containerd may live for a while: a new daemon would wait for that one, in vain.
  old=$(cat "$lab/exec/containerd/containerd.pid" 2>/dev/null || true)
  for _ in $(seq 100); do
    [ -n "$old" ] && grep -qs "$lab" "/proc/$old/cmdline" || break
    sleep 0.1
  done
  rm -f "$lab/dockerd.pid" "$lab/docker.sock" "$lab/exec/containerd/containerd.pid"
  # --bridge=none, --iptables=false: containers here have no network or the host's, and many machines for tests may not
  #   change their firewall.
  # native.cgroupdriver: there may be no systemd to ask for cgroups.
  # --exec-root: its containerd must not meet that of a daemon of the machine.
  setsid dockerd --host "$DOCKER_HOST" --data-root "$lab/data" --exec-root "$lab/exec" --pidfile "$lab/dockerd.pid" \
    --storage-driver "${DOCKER_STORAGE:-overlay2}" --bridge=none --iptables=false --ip6tables=false --ip-forward=false \
    --exec-opt native.cgroupdriver=cgroupfs --live-restore="${DOCKER_LIVE_RESTORE:-false}" </dev/null >>"$lab/dockerd.log" 2>&1 &
  for _ in $(seq 300); do
    timeout 5 docker version >/dev/null 2>&1 && break
    sleep 0.1
  done
fi
timeout 5 docker version >/dev/null 2>&1 || { tail -n 20 "$lab/dockerd.log" >&2; exit 1; }

image=metta-sweep/python:$("$here/container_image.sh" --tag)
docker image inspect "$image" >/dev/null 2>&1 || "$here/container_image.sh" | docker import --change 'CMD ["python3"]' - "$image" >/dev/null
printf 'export DOCKER_HOST=%s\nexport METTA_SWEEP_IMAGE=%s\n' "$DOCKER_HOST" "$image" > "$lab/env.sh"
