# One environment, made by the targets themselves: a fresh machine needs git, make and python3 (3.11 or newer).
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
# How often `make bench-host` creates its containers.
ROUNDS ?= 3
READY  := $(VENV)/.ready
unexport VIRTUAL_ENV

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-push test-agent test-kill test-host test-vm check bench bench-host clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## make the environment in .venv

$(READY): pyproject.toml uv.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "voxnix needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Set PYTHON=python3.12 or the like.")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check 'uv>=0.7'
	@$(BIN)/uv sync --quiet --frozen --python $(BIN)/python
	@touch $@

demo: $(READY) ## a guided tour on a simulated host: no account, key, root or network
	@$(BIN)/voxnix demo

test: $(READY) ## the tests
	@$(BIN)/python -m pytest -n auto -m 'not kill and not host and not vm and not agent and not push'

test-push: $(READY) ## pushes by the real git client: hundreds of bad ones, random ones, two hundred at a time
	@$(BIN)/python -m pytest -n auto -m push tests/test_gate_*.py
	@$(BIN)/python -m pytest -m push -s tests/test_push_storm.py

test-agent: $(READY) ## the agent: conversations, Telegram, hostile models
	@$(BIN)/python -m pytest -n auto -m agent tests/agent

test-kill: $(READY) ## kill the controller before and after every host command
	@$(BIN)/python -m pytest -m kill -s

test-host: $(READY) ## on a real host in namespaces: systemd, machined, nspawn, Nix, ZFS (root, Debian)
	@$(BIN)/python -m tests.host.image >/dev/null
	@VOXNIX_CONTRACT_HOST=testhost $(BIN)/python -m pytest -n 2 tests/contract
	@$(BIN)/python -m pytest -n 2 --dist loadgroup -m host tests/host

test-vm: $(READY) ## on a real host in QEMU, with OpenZFS in the kernel (root, Debian)
	@$(BIN)/python -m tests.vm.image >/dev/null
	@$(BIN)/python -m pytest -m vm -s tests/vm

check: $(READY) ## lint, types, import contracts, tests
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(MAKE) --no-print-directory test

bench: $(READY) ## speed and size, one table of ratios
	@$(BIN)/python -m tests.bench

bench-host: $(READY) ## speed on a real host, against a shell script that gives the same commands
	@$(BIN)/python -m tests.host.bench --rounds $(ROUNDS)

clean: ## remove the environment and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
