# Every habit of the project. Each target uses the environment in .venv and builds it when it is missing or old.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
export UV_COMPILE_BYTECODE := 1
export RAY_USAGE_STATS_ENABLED := 0

.PHONY: help
help: ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 24

.venv/.installed: requirements/bootstrap.lock requirements/dev.lock pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --require-hashes -r requirements/bootstrap.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements/dev.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

.PHONY: install
install: .venv/.installed ## Create .venv from the lock

.PHONY: lock
lock: .venv/.installed ## Re-resolve requirements/*.lock (newest versions that satisfy pyproject.toml)
	cd requirements && ../$(BIN)/uv pip compile --upgrade --quiet --generate-hashes --no-emit-index-url --no-header --no-annotate bootstrap.in -o bootstrap.lock
	$(BIN)/uv pip compile --upgrade --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate --all-extras pyproject.toml -o requirements/dev.lock
