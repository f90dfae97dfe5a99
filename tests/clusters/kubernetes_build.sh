#!/usr/bin/env bash
# Build the four programs of Kubernetes that the tests start, from Debian's source package: it brings all it needs, so
# no registry of images or modules is asked. Five minutes on two cores, once: the programs stay in the user's cache.
#   KUBERNETES_BIN  where they go (default ${XDG_CACHE_HOME:-~/.cache}/metta-sweep/kubernetes)
set -euo pipefail
bin=${KUBERNETES_BIN:-${XDG_CACHE_HOME:-$HOME/.cache}/metta-sweep/kubernetes}
programs=(kube-apiserver kube-controller-manager kube-scheduler kubelet)
complete() { local p; for p in "${programs[@]}"; do [ -x "$bin/$p" ] || return 1; done; }
complete && { echo "already built: $bin"; exit 0; }

mkdir -p "$bin"
exec 9>"$bin/.lock"
flock 9 # two test runs at once: the second waits for what the first builds
complete && exit 0
command -v apt-get >/dev/null || { echo "building needs Debian's apt-get" >&2; exit 1; }
work=$(mktemp -d)
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
mkdir -p "$work/lists/partial" "$work/home"
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends golang-1.19-go dpkg-dev make rsync jq >/dev/null

# Sources from wherever this machine gets its packages; nothing under /etc is changed.
python3 - >"$work/sources.list" <<'PYTHON'
import glob
import re

for name in glob.glob("/etc/apt/sources.list.d/*.sources"):
    for stanza in open(name).read().split("\n\n"):
        fields = dict(re.findall(r"^(\w[\w-]*):\s*(.*)$", stanza, re.MULTILINE))
        if "bookworm" in fields.get("Suites", "") and "main" in fields.get("Components", ""):
            signed = f"[signed-by={fields['Signed-By']}] " if "Signed-By" in fields else ""
            for suite in fields["Suites"].split():
                print(f"deb-src {signed}{fields['URIs'].split()[0]} {suite} main")
PYTHON
# Older machines, in the format of one line per source.
sed -n 's/^deb \(.*bookworm.*\bmain\b.*\)/deb-src \1/p' /etc/apt/sources.list 2>/dev/null >>"$work/sources.list" || true
apt=(apt-get -o "Dir::Etc::sourcelist=$work/sources.list" -o Dir::Etc::sourceparts=/dev/null -o "Dir::State::lists=$work/lists" -o APT::Sandbox::User=root)
cd "$work"
"${apt[@]}" update -qq
"${apt[@]}" source -qq kubernetes >/dev/null
cd kubernetes-1.20*/

# The build asks git for its version; a source package has none.
cat >"$work/version" <<'VERSION'
KUBE_GIT_COMMIT='unknown'
KUBE_GIT_TREE_STATE='archive'
KUBE_GIT_VERSION='v1.20.2'
KUBE_GIT_MAJOR='1'
KUBE_GIT_MINOR='20'
VERSION
export KUBE_GIT_VERSION_FILE=$work/version HOME=$work/home GOPATH=$PWD/.go
export PATH=/usr/lib/go-1.19/bin:$PATH CGO_ENABLED=0 GO111MODULE=off
mkdir -p .go/src/k8s.io
ln -s ../../.. .go/src/k8s.io/kubernetes # the layout that Go without modules expects
make WHAT="${programs[*]/#/cmd/}"
for program in "${programs[@]}"; do
  cp "_output/local/bin/linux/amd64/$program" "$bin/.$program"
  mv "$bin/.$program" "$bin/$program" # only whole files get the name
done
