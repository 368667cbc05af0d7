#!/bin/bash
# images.sh DIR
#
# Look-alikes of the base images, made from this machine's own files, so that the Dockerfile and
# docker-compose.yml are built and run as they stand, without a registry. Python's carries the
# locked wheels and tells pip to look nowhere else. Needs redis-server, haproxy and busybox-static
# from Debian and a CPython 3.12 that stands in a directory of its own.
set -euo pipefail
shopt -s nullglob
out=$1
lab=$(cd "$(dirname "$0")" && pwd)
requirements=$lab/../../requirements

python_home() {
    local python home
    for python in python3.12 "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.12.*/bin/python3.12; do
        home=$("$python" -c 'import sys; print(sys.base_prefix)' 2>/dev/null) || continue
        if [ "$home" != /usr ] && [ -x "$home/bin/python3.12" ]; then echo "$home"; return; fi
    done
    echo "no CPython 3.12 in a directory of its own (pyenv's, say): the python image is made of it" >&2
    return 1
}

python_image() {
    local home=$1 root=$out/python/root
    local files=("$home/bin/python3.12" "$home"/lib/libpython3.12.so.* "$home"/lib/python3.12/lib-dynload/*.so)
    "$lab/rootfs.sh" "$root" "${files[@]}"
    mkdir -p "$root/usr/local"
    # This machine's own start-up files (site-packages/_*) are no part of Python.
    tar -C "$home" -cf - --exclude=__pycache__ --exclude=lib/python3.12/test --exclude='*.a' \
        --exclude='lib/python3.12/config-*' --exclude='lib/python3.12/site-packages/_*' bin lib |
        tar -C "$root/usr/local" -xf -
    ln -sf python3.12 "$root/usr/local/bin/python"
    # So that its library is found without a variable, which a child need not have.
    echo /usr/local/lib >"$root/etc/ld.so.conf"
    ldconfig -r "$root"
    "$home/bin/python3.12" -m pip download -qq --only-binary :all: --require-hashes --no-deps --dest "$root/wheels" \
        -r "$requirements/build.lock" -r "$requirements/api.lock" -r "$requirements/worker.lock"
    cat >"$out/python/Dockerfile" <<'END'
FROM scratch
COPY root/ /
ENV PATH=/usr/local/bin:/bin PIP_NO_INDEX=1 PIP_FIND_LINKS=/wheels
END
    docker build -q -t python:3.12-slim "$out/python"
}

program_image() { # program_image NAME TAG PROGRAM...
    local name=$1 tag=$2 root=$out/$1/root program
    shift 2
    mapfile -t programs < <(for program in "$@"; do command -v "$program"; done)
    "$lab/rootfs.sh" "$root" "${programs[@]}"
    mkdir -p "$root/usr/local/bin"
    cp -L "${programs[@]}" "$root/usr/local/bin/"
    printf 'FROM scratch\nCOPY root/ /\nENV PATH=/usr/local/bin:/bin\nWORKDIR /data\n' >"$out/$name/Dockerfile"
    docker build -q -t "$name:$tag" "$out/$name"
}

home=$(python_home)
python_image "$home"
program_image redis 7-alpine redis-server redis-cli
program_image haproxy 3.2-alpine haproxy
