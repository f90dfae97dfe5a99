#!/usr/bin/env bash
# Ends the service of podman_up.sh and its containers. Its data stays for the next start.
set -u
lab=${METTA_SWEEP_LAB:-${TMPDIR:-/tmp}/metta-sweep-clusters}/podman
[ -e "$lab/podman.pid" ] || exit 0
export PATH="/usr/local/sbin:/usr/sbin:/sbin:$PATH"
export CONTAINERS_CONF="$lab/containers.conf" CONTAINERS_STORAGE_CONF="$lab/storage.conf"
pid=$(cat "$lab/podman.pid")

timeout 60 podman rm --all --force --time 0 >/dev/null 2>&1
# The process of that number must be ours: numbers are used again.
grep -qs "$lab" "/proc/$pid/cmdline" && kill -TERM "$pid"
awk -v lab="$lab/" 'index($2, lab) == 1 {print $2}' /proc/mounts | sort -r | xargs -r umount 2>/dev/null
rm -f "$lab/podman.pid" "$lab/podman.sock"
