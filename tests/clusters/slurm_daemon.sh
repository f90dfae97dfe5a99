#!/usr/bin/env bash
# slurm_daemon.sh start|kill|pause|resume NAME: a daemon of the cluster, or a node ("n2").
# kill      of a node is a power cut: all its processes end at once
# pause     of a node cuts it off: it does not answer, but what it runs goes on
set -euo pipefail
lab=${METTA_SWEEP_LAB:-${TMPDIR:-/tmp}/metta-sweep-clusters}/slurm
name=$2
. "$lab/env.sh"
export PATH="$PATH:/usr/sbin:/sbin"
base=$(sed -n 's/^SlurmctldPort=//p' "$SLURM_CONF")

run() { setsid "$@" </dev/null >>"$lab/log/$name.out" 2>&1 & sed -i "/^$name /d" "$lab/pids"; echo "$name $!" >>"$lab/pids"; }
process() { awk -v name="$name" '$1 == name {print $2}' "$lab/pids"; }
signal() {  # a node's slurmd is the child of its `unshare`; that child's end is the end of all its processes
  process=$(process)
  case $name in n[0-9]*) process=$(pgrep -P "$process") ;; esac
  kill "-$1" "$process"
}

case $1 in
kill) signal KILL ;;
pause) signal STOP ;;
resume) signal CONT ;;
start)
  case $name in
  munged) run munged --foreground --force --key-file="$lab/munge/key" --socket="$lab/run/munge.socket" \
    --pid-file="$lab/run/munged.pid" --log-file="$lab/log/munged.log" --seed-file="$lab/munge/seed" ;;
  mariadbd) run mariadbd --no-defaults --datadir="$lab/mysql" --user=root --socket="$lab/run/mysql.sock" \
    --pid-file="$lab/run/mysql.pid" --bind-address=127.0.0.1 --port=$((base + 99)) --innodb-buffer-pool-size=64M \
    --innodb-lock-wait-timeout=900 --innodb-flush-log-at-trx-commit=0 --skip-name-resolve ;;
  slurmdbd) run slurmdbd -D ;;
  slurmctld) run slurmctld -D -f "$SLURM_CONF" ;;
  n*) run unshare --pid --fork --kill-child=KILL --mount-proc slurmd -D -N "$name" -f "$SLURM_CONF" ;;
  esac ;;
esac
