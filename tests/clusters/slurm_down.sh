#!/usr/bin/env bash
# Ends exactly what slurm_up.sh and slurm_daemon.sh started, jobs first, and forgets all jobs.
set -u
lab=${METTA_SWEEP_LAB:-${TMPDIR:-/tmp}/metta-sweep-clusters}/slurm
[ -e "$lab/pids" ] || { echo "slurm is not up"; exit 0; }
export SLURM_CONF="$lab/etc/slurm.conf"
ours() { [ -e "/proc/$1/stat" ] && grep -q "$lab" "/proc/$1/environ" 2>/dev/null && ! grep -q ') Z ' "/proc/$1/stat"; }
any() { while read -r _ process; do ours "$process" && return; done <"$lab/pids"; return 1; }

timeout 5 scancel --user="$(id -un)" 2>/dev/null
for _ in $(seq 20); do [ -z "$(timeout 2 squeue -h 2>/dev/null)" ] && break; sleep 0.1; done
tac "$lab/pids" | while read -r name process; do
  ours "$process" || continue
  case $name in
  n*) kill -KILL "$process" ;;  # slurmd as the first process of its namespace hears no SIGTERM in time
  *) kill -CONT "$process"; kill -TERM "$process" ;;
  esac
done
for _ in $(seq 50); do any || break; sleep 0.1; done
while read -r _ process; do ours "$process" && kill -KILL "$process"; done <"$lab/pids"
rm -rf "$lab/pids" "$lab/state" "$lab/spool" "$lab/run" "$lab/log"
echo "slurm is down"
