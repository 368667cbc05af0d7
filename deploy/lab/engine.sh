#!/bin/bash
# engine.sh DIR up | in CMD... | down
#
# A private Docker engine with Compose, for testing the compose file where no engine runs and no
# registry of images is in reach. It lives in a network namespace of its own: bridges, NAT rules
# and published ports stay in there and vanish with it; `in` runs a command beside them.
# Needs root, and from Debian docker.io and iptables.
set -euo pipefail
dir=$1 verb=$2; shift 2
lab=$(cd "$(dirname "$0")" && pwd)
export DOCKER_HOST=unix://$dir/docker.sock DOCKER_CONFIG=$dir/config DOCKER_BUILDKIT=0

install_compose() {
    python3 -m venv "$dir/venv"
    "$dir/venv/bin/python" -m pip install -qq --require-hashes -r "$lab/../../requirements/lab.lock"
    # The binary itself as Docker's plugin: the package's own script hides its exit code.
    mkdir -p "$dir/config/cli-plugins"
    ln -sf "$("$dir/venv/bin/python" -c 'import compose, pathlib; print(pathlib.Path(compose.__file__).with_name("docker-compose"))')" \
        "$dir/config/cli-plugins/"
}

case $verb in
up)
    install_compose
    # shellcheck disable=SC2016  # $1 and $2 belong to the inner shell
    unshare --net sh -c 'ip link set lo up; exec dockerd --data-root "$1/data" --exec-root "$1/exec" --pidfile "$1/pid" --host "$2"' \
        sh "$dir" "$DOCKER_HOST" >"$dir/log" 2>&1 </dev/null &
    for _ in $(seq 120); do docker info >/dev/null 2>&1 && exit 0; sleep 0.5; done
    tail "$dir/log" >&2
    exit 1
    ;;
in)
    exec nsenter --net --target "$(cat "$dir/pid")" "$@"
    ;;
down)
    kill "$(cat "$dir/pid")"
    while [ -e "$dir/pid" ]; do sleep 0.2; done
    ;;
*)
    echo "usage: engine.sh DIR up | in CMD... | down" >&2
    exit 2
    ;;
esac
