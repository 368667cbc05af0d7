#!/bin/sh
# Writes the locks anew: version and hash of all that a set needs, on every system and Python.
# dev.lock comes first and binds the others, so that what is tested is what the images run.
# `make lock UPGRADE=1` takes the newest versions that pyproject.toml admits.
set -eu
cd "$(dirname "$0")/.."
command -v uv >/dev/null || { echo "make lock needs uv on PATH (pip install uv)" >&2; exit 1; }

lock() {
    file=$1.lock; shift
    uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
        --no-header --no-annotate --no-emit-index-url --constraints requirements/never.txt --constraints requirements/bounds.txt "$@" --output-file "$file"
}
lock requirements/dev pyproject.toml --extra api --extra worker --extra embedded-redis --extra langgraph --extra openai-agents --group dev ${UPGRADE:+--upgrade}
lock requirements/api pyproject.toml --extra api --constraints requirements/dev.lock
lock requirements/worker pyproject.toml --extra worker --constraints requirements/dev.lock
lock requirements/claude pyproject.toml --extra worker --extra claude --constraints requirements/dev.lock
lock requirements/providers pyproject.toml --extra worker --extra google --extra cohere --extra bedrock --constraints requirements/dev.lock
lock requirements/build --group build --constraints requirements/dev.lock
lock requirements/lab --group lab --constraints requirements/dev.lock
lock tests/bench/profile --group profile

# What tests/bench compares with: for the one Python that it runs them on.
for peer in litellm agentpool openhands; do
    uv pip compile --quiet --python-version 3.13 --generate-hashes --no-header --no-annotate --no-emit-index-url \
        --constraints requirements/never.txt ${UPGRADE:+--upgrade} "tests/bench/peers/$peer.in" --output-file "tests/bench/peers/$peer.lock"
done
