#!/usr/bin/env bash
# Ends the Docker daemon of docker_up.sh and its containers. Its data stays for the next start.
set -u
lab=${METTA_SWEEP_LAB:-${TMPDIR:-/tmp}/metta-sweep-clusters}/docker
[ -e "$lab/dockerd.pid" ] || exit 0
export PATH="/usr/local/sbin:/usr/sbin:/sbin:$PATH" DOCKER_HOST="unix://$lab/docker.sock"
pid=$(cat "$lab/dockerd.pid")

containers=$(timeout 5 docker ps --all --quiet)
# shellcheck disable=SC2086  # one argument each
[ -n "$containers" ] && timeout 30 docker rm --force $containers >/dev/null

alive() { [ -r "/proc/$1/stat" ] && ! grep -q ') Z ' "/proc/$1/stat"; } # nobody may be there to collect a zombie
# The process of that number must be ours: numbers are used again.
grep -qs "$lab" "/proc/$pid/cmdline" && kill -TERM "$pid"
for _ in $(seq 150); do
  alive "$pid" && grep -qs "$lab" "/proc/$pid/cmdline" || break
  sleep 0.1
done
# Network name spaces and layers stay mounted after the daemon has gone.
awk -v lab="$lab/" 'index($2, lab) == 1 {print $2}' /proc/mounts | sort -r | xargs -r umount 2>/dev/null
rm -f "$lab/dockerd.pid"
