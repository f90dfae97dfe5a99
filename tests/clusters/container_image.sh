#!/usr/bin/env bash
# Writes an image to standard output, as a tar for `docker import`, made from this machine without any registry: its
# Python, the shared libraries that Python and its extension modules need, and busybox for a shell.
#   container_image.sh [PYTHON]
#   container_image.sh --tag      a tag instead, another one for each Python and each change of this script
set -euo pipefail
if [ "${1:-}" = --tag ]; then
  { cat "$0"; python3 -c 'import sys; print(sys.version, sys.base_prefix)'; } | sha256sum | cut -c 1-12
  exit
fi
python=$(readlink -f "$(command -v "${1:-python3}")")
prefix=$("$python" -c 'import sys; print(sys.base_prefix)')
python=$(readlink -f "$prefix/bin/python3") # not that of a virtual environment
version=$("$python" -c 'import sys; print("python%d.%d" % sys.version_info[:2])')
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT

mkdir -p "$root"/{bin,dev,etc,lib64,proc,sys,tmp,usr/bin,usr/local/bin}
chmod 1777 "$root/tmp"
cp "$(command -v busybox)" "$root/bin/busybox"
for applet in cat echo env false id kill ls ps sh sleep true; do ln -s busybox "$root/bin/$applet"; done
echo 'root:x:0:0:root:/root:/bin/sh' > "$root/etc/passwd"
echo 'hosts: files dns' > "$root/etc/nsswitch.conf"

# What the interpreter is linked with, and what packages from PyPI expect to find (they bring everything else).
libraries() {
  { echo "$python"; find "$prefix/lib/$version/lib-dynload" -name '*.so'; } | xargs -n 1 ldd 2>/dev/null |
    awk '$3 ~ /^\// {print $3} $1 ~ /^\// {print $1}'
  for name in libdl.so.2 libgcc_s.so.1 libm.so.6 libpthread.so.0 librt.so.1 libstdc++.so.6 libutil.so.1; do
    ldconfig -p | awk -v name="$name" '$1 == name && /x86-64|AArch64/ {print $NF; exit}'
  done
}
PATH="$PATH:/sbin:/usr/sbin"
libraries | sort -u | while read -r library; do
  mkdir -p "$root$(dirname "$library")"
  cp -L "$library" "$root$library"
done

mkdir -p "$root$prefix"
tar -C "$prefix" --exclude='*/test' --exclude='*/idlelib' --exclude='*/site-packages' --exclude='*/dist-packages' \
  --exclude='__pycache__' --exclude='*.a' -c "bin/${python##*/}" "lib/$version" | tar -C "$root$prefix" -x
# Under all names that a virtual environment may link to.
for name in python python3 "${python##*/}"; do
  for folder in "$prefix/bin" /usr/bin /usr/local/bin; do
    mkdir -p "$root$folder"
    [ -e "$root$folder/$name" ] || ln -sf "$python" "$root$folder/$name"
  done
done
# The folders above the interpreter may be closed to others on this machine; here every user needs it.
find "$root" -type d -not -perm -005 -exec chmod a+rx {} +

tar -C "$root" -c .
