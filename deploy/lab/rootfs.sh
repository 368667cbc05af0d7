#!/bin/bash
# rootfs.sh DIR FILE...
#
# A root file system out of this machine's own files: busybox, glibc, and every library that the
# given ELF files need. Needs busybox-static from Debian.
set -euo pipefail
root=$1; shift
mkdir -p "$root"/{bin,etc,data,tmp,proc,sys,dev}
chmod 1777 "$root/tmp" "$root/data"
cp "$(command -v busybox)" "$root/bin/"
for applet in $(busybox --list | grep -vx busybox); do ln -sf busybox "$root/bin/$applet"; done
echo 'root:x:0:0:root:/:/bin/sh' >"$root/etc/passwd"
echo 'root:x:0:' >"$root/etc/group"

# All of glibc, not only what is named now: a Python wheel may want another of its libraries.
{
    for file in "$@"; do ldd "$file" 2>/dev/null | grep -oE '/[^ ]+' || true; done
    dpkg -L libc6 libgcc-s1 libstdc++6 | grep -E '/lib/[^/]+-linux-gnu/[^/]+\.so[.0-9]*$'
} | sort -u | while read -r library; do
    if [ -f "$library" ] && [ "${library#"$HOME"}" = "$library" ]; then
        mkdir -p "$root$(dirname "$library")"
        cp -L "$library" "$root$library"
    fi
done
