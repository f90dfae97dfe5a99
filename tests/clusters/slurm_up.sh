#!/usr/bin/env bash
# A real SLURM on this machine: slurmctld, slurmdbd (so that sacct works) and three slurmd. Needs root and Debian's
# packages slurm-wlm, munge, slurmdbd and mariadb-server. Its state, keys, sockets and logs lie in one folder.
#   METTA_SWEEP_LAB   the folder of all test clusters; this one is in LAB/slurm
#   SLURM_BASE_PORT   the first of its ports (17100): slurmctld, then one per node; +98 slurmdbd, +99 mariadbd
# Each node has process and mount namespaces of its own, so that slurm_daemon.sh can cut its power.
set -euo pipefail
lab=${METTA_SWEEP_LAB:-${TMPDIR:-/tmp}/metta-sweep-clusters}/slurm
here=$(cd "$(dirname "$0")" && pwd)
base=${SLURM_BASE_PORT:-17100}
host=$(hostname -s)
nodes=3
export PATH="$PATH:/usr/sbin:/sbin" SLURM_CONF="$lab/etc/slurm.conf"

fail() { echo "$1" >&2; exit 1; }
[ "$(id -u)" = 0 ] || fail "starting nodes in namespaces needs root"
for program in slurmctld slurmd slurmdbd munged mariadbd mariadb-install-db unshare; do
  command -v "$program" >/dev/null || fail "$program is not installed: apt-get install slurm-wlm munge slurmdbd mariadb-server"
done
getent hosts "$host" >/dev/null || fail "the host name $host must resolve: add '127.0.0.1 $host' to /etc/hosts"
unshare --pid --fork --mount-proc true 2>/dev/null || fail "this machine does not let root make namespaces"

"$here/slurm_down.sh" >/dev/null
mkdir -p "$lab"/{etc,log,run,state,munge,spool}
for i in $(seq $nodes); do mkdir -p "$lab/spool/n$i"; done
chmod 700 "$lab/munge"; chmod 755 "$lab/run"
[ -s "$lab/munge/key" ] || (umask 077; head -c 128 /dev/urandom >"$lab/munge/key")

# Time-outs are as short as they go: a test waits for each of them.
# cred_expire=5       a requeued job waits until the credential of its last start has expired: 2 minutes by default
# MinJobAge=30        so that tests see both a job that slurmctld still knows and one that only sacct knows
# proctrack/linuxproc, task/none, and CgroupPlugin=cgroup/v1 in cgroup.conf: no control groups are needed
# config_overrides    nodes claim more than this machine has
# EnforcePartLimits   what no node can run is refused; without it such a job waits for ever
# GPUs are pretended: any character device will do
cat >"$lab/etc/slurm.conf" <<CONF
ClusterName=lab
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$base
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket=$lab/run/munge.socket,cred_expire=5
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
StateSaveLocation=$lab/state
SlurmdSpoolDir=$lab/spool/%n
SlurmctldPidFile=$lab/run/slurmctld.pid
SlurmdPidFile=$lab/run/slurmd.%n.pid
SlurmctldLogFile=$lab/log/slurmctld.log
SlurmdLogFile=$lab/log/slurmd.%n.log
SlurmctldDebug=info
SlurmdDebug=info
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=1
SwitchType=switch/none
MpiDefault=none
PropagateResourceLimits=NONE
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=2,batch_sched_delay=0,sched_interval=2,sched_min_interval=0
SlurmdParameters=config_overrides
DefMemPerCPU=200
RebootProgram=/bin/true
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmctldTimeout=5
SlurmdTimeout=5
MessageTimeout=5
TCPTimeout=2
KillWait=4
MinJobAge=30
InactiveLimit=0
Waittime=0
UnkillableStepTimeout=6
BatchStartTimeout=10
ReturnToService=2
JobRequeue=1
MaxArraySize=400
EnforcePartLimits=ALL
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort=$((base + 98))
# Here "Pass" means the socket of munge; without it the plugin looks for the system's.
AccountingStoragePass=$lab/run/munge.socket
AccountingStorageTRES=gres/gpu
GresTypes=gpu
NodeName=n[1-$nodes] NodeHostname=$host NodeAddr=127.0.0.1 Port=[$((base + 1))-$((base + nodes))] CPUs=2 RealMemory=4000 Gres=gpu:2 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE DefaultTime=60 State=UP PriorityTier=1 PreemptMode=REQUEUE
PartitionName=high Nodes=ALL Default=NO MaxTime=INFINITE DefaultTime=60 State=UP PriorityTier=10 PreemptMode=OFF
PartitionName=brief Nodes=ALL Default=NO MaxTime=2 DefaultTime=1 State=UP PriorityTier=1 PreemptMode=REQUEUE
CONF
printf 'Name=gpu File=/dev/null\nName=gpu File=/dev/zero\n' >"$lab/etc/gres.conf"
echo 'CgroupPlugin=cgroup/v1' >"$lab/etc/cgroup.conf"
(umask 077; cat >"$lab/etc/slurmdbd.conf") <<CONF
AuthType=auth/munge
AuthInfo=socket=$lab/run/munge.socket
CommunicationParameters=NoInAddrAny
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort=$((base + 98))
SlurmUser=root
LogFile=$lab/log/slurmdbd.log
PidFile=$lab/run/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort=$((base + 99))
StorageUser=slurm
StoragePass=slurm
StorageLoc=slurm_acct_db
CommitDelay=0
CONF
echo "export SLURM_CONF=$lab/etc/slurm.conf" >"$lab/env.sh"

await() {  # await SECONDS COMMAND...: until it succeeds
  for _ in $(seq $(($1 * 10))); do "${@:2}" >/dev/null 2>&1 && return; sleep 0.1; done
  tail -n 5 "$lab"/log/* >&2; fail "$2 did not come up"
}
daemon() { "$here/slurm_daemon.sh" start "$1"; }
sql() { mariadb --no-defaults --socket="$lab/run/mysql.sock" --user=root -N -e "$1"; }

: >"$lab/pids"
daemon munged
[ -d "$lab/mysql/mysql" ] || mariadb-install-db --no-defaults --datadir="$lab/mysql" --user=root \
  --auth-root-authentication-method=normal --skip-test-db --skip-name-resolve >"$lab/log/mysql_install.out" 2>&1
daemon mariadbd
await 10 test -S "$lab/run/munge.socket"
await 15 sql 'select 1'
sql "create database if not exists slurm_acct_db; create user if not exists slurm@'127.0.0.1' identified by 'slurm';
     grant all on slurm_acct_db.* to slurm@'127.0.0.1'"
daemon slurmdbd
await 15 timeout 5 sacctmgr -n -i list cluster
timeout 10 sacctmgr -i -Q add cluster lab >/dev/null 2>&1 || true
daemon slurmctld
for i in $(seq $nodes); do daemon "n$i"; done
all_idle() { [ "$(timeout 2 sinfo -h -N -p main -t idle -o %N | sort -u | wc -l)" = $nodes ]; }
await 20 all_idle
echo "slurm is up: $nodes nodes"
