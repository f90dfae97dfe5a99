#!/usr/bin/env bash
# End what kubernetes_up.sh started, containers and mounts included. May be called at any time.
set -u
lab=${METTA_SWEEP_LAB:-${TMPDIR:-/tmp}/metta-sweep-clusters}/kubernetes
[ -d "$lab/pid" ] || exit 0
socket=unix://$lab/docker.sock

lives() { [ -r "/proc/$1/stat" ] && ! grep -q ') Z ' "/proc/$1/stat" 2>/dev/null; } # a zombie is over
ours() { tr '\0' '\n' <"/proc/$1/cmdline" 2>/dev/null | grep -qF "$lab"; }           # not a stranger with a reused id
end() { # NAME: ask, wait for 10 s, insist
  local file=$lab/pid/$1 pid
  pid=$(cat "$file" 2>/dev/null) || return 0
  if lives "$pid" && ours "$pid"; then
    kill -CONT "$pid" 2>/dev/null
    kill -TERM "$pid" 2>/dev/null
    for _ in $(seq 100); do lives "$pid" || break; sleep 0.1; done
    lives "$pid" && kill -KILL "$pid" 2>/dev/null
  fi
  rm -f "$file"
}

end kubelet # first: it would start its containers again
if [ -S "$lab/docker.sock" ]; then
  timeout 60 docker -H "$socket" ps -aq 2>/dev/null | xargs -r timeout 60 docker -H "$socket" rm -f >/dev/null 2>&1
fi
for name in scheduler controllers apiserver etcd dockerd; do end "$name"; done
awk -v lab="$lab/" 'index($2, lab) == 1 { print $2 }' /proc/mounts | sort -r | xargs -r umount 2>/dev/null
rmdir "$lab/pid" 2>/dev/null
exit 0
