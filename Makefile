# Everything a developer or CI does. Figures in brackets are what a target may use beyond Python.
# `make` alone lists the targets.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input
CORE := layers/core/python
NODE := $(shell command -v node 2>/dev/null)

DATA ?=
PORT ?=
SAMPLE := sample-data
PYTEST := $(BIN)/python -m pytest

RUN_STAMP := $(VENV)/.stamp-run
DEV_STAMP := $(VENV)/.stamp-dev
INFRA_STAMP := $(VENV)/.stamp-infra

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort | awk -F'\t' '{printf "  %-12s %s\n", $$1, $$2}'

# --- environment ---------------------------------------------------------------------------------

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
		|| { echo "Dicomulus needs Python 3.11 or newer as '$(PYTHON)'; it found: $$($(PYTHON) --version 2>&1). Say another one with: make PYTHON=python3.13 ..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(RUN_STAMP): requirements/run.txt pyproject.toml | $(BIN)/python
	$(PIP) install --quiet --require-hashes -r requirements/run.txt
	$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

$(DEV_STAMP): requirements/dev.txt $(RUN_STAMP)
	$(PIP) install --quiet --require-hashes -r requirements/dev.txt
	@touch $@

# aws-cdk-lib is some 400 MB and does nothing without Node, so it has a lock of its own.
$(INFRA_STAMP): requirements/infra.txt $(DEV_STAMP)
	$(PIP) install --quiet --require-hashes -r requirements/infra.txt
	@touch $@

.PHONY: setup
setup: $(RUN_STAMP) ## build .venv with the command .venv/bin/dicomulus

# --- locks ---------------------------------------------------------------------------------------

# The lock tool is no dependency of anything: it lives in a throwaway environment.
LOCK_VENV := build/lock-venv
COMPILE := $(LOCK_VENV)/bin/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url \
	--no-header --annotation-style line --fork-strategy fewest

# name of the lock, then the arguments of the compiler
define compile_lock
@echo "$(1)"
@$(COMPILE) $(2) -o $(1)
@{ printf '%s\n' '# $(3)' '# Remake with `make lock`; the ranges are in $(4).'; cat $(1); } > $(1).new && mv $(1).new $(1)
endef

.PHONY: lock
lock: ## remake the locks, keeping versions that still fit (UPGRADE=1 takes the newest) [network]
	@test -x $(LOCK_VENV)/bin/uv || { $(PYTHON) -m venv $(LOCK_VENV) && $(LOCK_VENV)/bin/python -m pip install --quiet uv; }
	@if [ -n "$(UPGRADE)" ]; then rm -f requirements/*.txt layers/*/requirements.txt; fi
	$(call compile_lock,requirements/dev.txt,--python-version 3.11 pyproject.toml --all-extras --group build --group dev,Everything the Python tests and checks need.,pyproject.toml)
	$(call compile_lock,requirements/run.txt,--python-version 3.11 pyproject.toml --extra sample --group build -c requirements/dev.txt,What `dicomulus serve` needs.,pyproject.toml)
	$(call compile_lock,requirements/infra.txt,--python-version 3.11 --group infra -c requirements/dev.txt,What synthesising the template needs besides dev.txt and Node.,pyproject.toml)
	$(call compile_lock,layers/dependencies/requirements.txt,--python-version 3.13 layers/dependencies/requirements.in -c requirements/dev.txt,The dependencies layer.,layers/dependencies/requirements.in)
	$(call compile_lock,layers/imaging/requirements.txt,--python-version 3.13 layers/imaging/requirements.in -c requirements/dev.txt,The imaging layer.,layers/imaging/requirements.in)
