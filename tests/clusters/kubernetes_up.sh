#!/usr/bin/env bash
# Start a real Kubernetes cluster of one node on this machine: etcd, API server, controllers, scheduler, and a kubelet on
# a Docker daemon of its own. Needs root, Debian's etcd-server, kubernetes-client, docker.io, busybox-static, openssl.
#   METTA_SWEEP_LAB  where clusters keep their state; this one in its folder `kubernetes`
#   KUBERNETES_BIN   the four programs (see kubernetes_build.sh, which is run where they are missing)
#   KUBERNETES_PORT  the first of six ports on loopback (default 16600)
# Writes env.sh (KUBECONFIG, KUBERNETES_*). `kubernetes_up.sh apiserver` or `kubelet` starts only that one again.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
lab=${METTA_SWEEP_LAB:-${TMPDIR:-/tmp}/metta-sweep-clusters}/kubernetes
bin=${KUBERNETES_BIN:-${XDG_CACHE_HOME:-$HOME/.cache}/metta-sweep/kubernetes}
port=${KUBERNETES_PORT:-16600}
node=lab-node
export PATH=/usr/sbin:/usr/bin:/sbin:/bin:$PATH
export KUBECONFIG=$lab/kubeconfig DOCKER_HOST=unix://$lab/docker.sock

start() { # NAME COMMAND...: in a session of its own, so that a test's Ctrl-C does not reach it
  local name=$1
  shift
  setsid "$@" </dev/null >>"$lab/log/$name.log" 2>&1 9>&- &
  echo $! >"$lab/pid/$name"
}

until_true() { # SECONDS WHAT COMMAND...
  local tries=$(($1 * 5)) what=$2
  shift 2
  for _ in $(seq "$tries"); do "$@" >/dev/null 2>&1 && return 0; sleep 0.2; done
  echo "$what did not come up; the last lines of its logs:" >&2
  tail -n 5 "$lab"/log/*.log >&2
  return 1
}

start_dockerd() {
  # Without the capability SYS_RESOURCE (a container) no process may get the negative oom_score_adj that the kubelet
  # asks for. Where we have it the wrapper changes nothing that matters here.
  cat >"$lab/runc" <<'RUNC'
#!/bin/sh
previous= bundle=
for argument in "$@"; do
  [ "$previous" = --bundle ] && bundle=$argument
  previous=$argument
done
[ -f "$bundle/config.json" ] && sed -i 's/"oomScoreAdj":-[0-9]*/"oomScoreAdj":0/' "$bundle/config.json"
exec /usr/sbin/runc "$@"
RUNC
  chmod +x "$lab/runc"
  # No bridge and no firewall rules: pods use the host's network, as nested machines seldom may have one of their own.
  start dockerd dockerd -H "$DOCKER_HOST" --data-root "$lab/docker" --exec-root "$lab/exec" --pidfile "$lab/dockerd.pid" \
    --iptables=false --ip6tables=false --bridge=none --ip-forward=false --exec-opt native.cgroupdriver=cgroupfs \
    --add-runtime "lab=$lab/runc" --default-runtime lab
  until_true 30 dockerd docker version
}

make_image() {
  # One image, made of busybox: no registry is reached. It holds pods open (CMD, which has to end when it is asked to),
  # and runs tasks: Python and its libraries are mounted from this machine.
  docker image inspect metta-sweep/lab:1 >/dev/null 2>&1 && return
  local root=$lab/image
  mkdir -p "$root"/{bin,etc,tmp}
  chmod 1777 "$root/tmp"
  cp "$(command -v busybox)" "$root/bin/busybox"
  ln -sf busybox "$root/bin/sh"
  ln -sf busybox "$root/bin/sleep"
  echo root:x:0:0:root:/tmp:/bin/sh >"$root/etc/passwd"
  tar -C "$root" -c . | docker import -c 'CMD ["/bin/sh", "-c", "trap exit TERM; sleep 1000000000 & wait"]' -c 'ENV PATH=/bin:/usr/bin' - metta-sweep/lab:1
}

write_access() {
  [ -e "$lab/pki/service.key" ] || openssl genrsa -out "$lab/pki/service.key" 2048 2>/dev/null
  # A token of this cluster alone, which ends with it: the API server listens on loopback.
  [ -e "$lab/pki/tokens.csv" ] || (umask 077 && echo "$(openssl rand -hex 16),admin,admin,system:masters" >"$lab/pki/tokens.csv")
  (umask 077 && cat >"$KUBECONFIG" <<CONFIG
apiVersion: v1
kind: Config
clusters: [{name: lab, cluster: {server: "https://127.0.0.1:$port", certificate-authority: "$lab/pki/apiserver.crt"}}]
users: [{name: admin, user: {token: $(cut -d, -f1 "$lab/pki/tokens.csv")}}]
contexts: [{name: lab, context: {cluster: lab, user: admin}}]
current-context: lab
CONFIG
  )
}

start_etcd() {
  start etcd etcd --data-dir "$lab/etcd" --unsafe-no-fsync \
    --listen-client-urls "http://127.0.0.1:$((port + 1))" --advertise-client-urls "http://127.0.0.1:$((port + 1))" \
    --listen-peer-urls "http://127.0.0.1:$((port + 2))" --initial-advertise-peer-urls "http://127.0.0.1:$((port + 2))" \
    --initial-cluster "default=http://127.0.0.1:$((port + 2))"
}

start_apiserver() {
  # ServiceAccount would have every pod wait for a token of a controller that a young cluster does not have yet; no
  # reconciler, as there is no service to reach the API by. The removal of jobs that are over is still a trial in 1.20.
  start apiserver "$bin/kube-apiserver" --etcd-servers="http://127.0.0.1:$((port + 1))" \
    --bind-address=127.0.0.1 --advertise-address=127.0.0.1 --secure-port="$port" --cert-dir="$lab/pki" \
    --token-auth-file="$lab/pki/tokens.csv" --authorization-mode=RBAC --service-cluster-ip-range=10.250.0.0/24 \
    --service-account-issuer=https://lab --service-account-key-file="$lab/pki/service.key" \
    --service-account-signing-key-file="$lab/pki/service.key" --disable-admission-plugins=ServiceAccount \
    --feature-gates=TTLAfterFinished=true \
    --endpoint-reconciler-type=none --kubelet-preferred-address-types=Hostname
  until_true 60 "the API server" kubectl get --raw /readyz
}

start_controllers() {
  # A node is lost after 8 s without a sign of it, instead of 40: tests wait for that.
  start controllers "$bin/kube-controller-manager" --kubeconfig="$KUBECONFIG" --bind-address=127.0.0.1 \
    --secure-port=$((port + 3)) --port=0 --cert-dir="$lab/pki" --leader-elect=false \
    --service-account-private-key-file="$lab/pki/service.key" --feature-gates=TTLAfterFinished=true \
    --node-monitor-period=1s --node-monitor-grace-period=8s
  start scheduler "$bin/kube-scheduler" --kubeconfig="$KUBECONFIG" --bind-address=127.0.0.1 \
    --secure-port=$((port + 4)) --port=0 --cert-dir="$lab/pki" --leader-elect=false
}

start_kubelet() {
  # cgroupRoot: below the cgroups that we have. Nothing is reserved and swap is no reason to refuse: it is a guest here.
  cat >"$lab/kubelet.yaml" <<CONFIG
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: 127.0.0.1
port: $((port + 5))
readOnlyPort: 0
healthzPort: 0
authentication: {anonymous: {enabled: true}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
cgroupDriver: cgroupfs
cgroupRoot: /
enforceNodeAllocatable: []
failSwapOn: false
evictionHard: {memory.available: 100Mi, nodefs.available: 1%, imagefs.available: 1%}
nodeStatusUpdateFrequency: 2s
makeIPTablesUtilChains: false
CONFIG
  start kubelet "$bin/kubelet" --config="$lab/kubelet.yaml" --kubeconfig="$KUBECONFIG" --root-dir="$lab/kubelet" \
    --cert-dir="$lab/pki" --hostname-override="$node" --docker-endpoint="$DOCKER_HOST" --container-runtime=docker \
    --pod-infra-container-image=metta-sweep/lab:1 --network-plugin= --runtime-cgroups=/ --kubelet-cgroups=/
  until_true 60 "the kubelet" sh -c "kubectl get node $node --no-headers | grep -q ' Ready '"
}

case ${1:-all} in
apiserver | kubelet) "start_$1" ;;
all)
  for program in etcd kubectl openssl dockerd docker runc busybox setsid; do
    command -v "$program" >/dev/null || { echo "missing: $program" >&2; exit 1; }
  done
  [ "$(id -u)" = 0 ] || { echo "a kubelet needs root" >&2; exit 1; }
  KUBERNETES_BIN=$bin bash "$here/kubernetes_build.sh"
  bash "$here/kubernetes_down.sh"
  rm -rf "$lab/etcd" "$lab/kubelet" "$lab/log" "$lab/shared" # a new cluster each time; images and keys are kept
  mkdir -p "$lab"/{pki,log,pid,etcd,kubelet}
  write_access
  start_etcd
  start_dockerd
  make_image
  start_apiserver
  start_controllers
  start_kubelet
  printf 'export %s\n' "KUBECONFIG=$KUBECONFIG" "KUBERNETES_LAB=$lab" "KUBERNETES_IMAGE=metta-sweep/lab:1" >"$lab/env.sh"
  ;;
*) echo "usage: $0 [apiserver|kubelet]" >&2; exit 2 ;;
esac
