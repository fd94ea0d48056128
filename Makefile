# Everything a developer or CI does. Figures in brackets are what a target may use beyond Python.
# `make` alone lists the targets.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules
.NOTPARALLEL:

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Without --no-compile pip makes byte code of everything at once; most of it is never imported. Quiet
# twice: it tells what fails, and not what the machine's own settings make it warn of.
INSTALL := $(BIN)/python -m pip --disable-pip-version-check --no-input install --quiet --quiet --no-compile
# A lock names everything, so nothing else is looked for: for what one package asks of another with an
# extra, pip of Python 3.11 takes the newest version, and then refuses it for having no hash.
LOCKED := $(INSTALL) --no-deps --require-hashes
CORE := layers/core/python
NODE := $(shell command -v node 2>/dev/null)

DATA ?=
PORT ?=
ARGS ?=
BENCH ?=
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
	$(LOCKED) -r requirements/run.txt
	$(INSTALL) --no-deps --no-build-isolation --editable .
	@# Compiled anew by every process that shows images, these take seconds and leave 60 MB behind.
	$(BIN)/python -m compileall -q -x '[/\\]tests[/\\]' $(addprefix $(VENV)/lib/python3*/site-packages/,pydicom PIL numpy)
	@touch $@

$(DEV_STAMP): requirements/dev.txt $(RUN_STAMP)
	$(LOCKED) -r requirements/dev.txt
	@touch $@

# aws-cdk-lib is some 400 MB and does nothing without Node, so it has a lock of its own.
$(INFRA_STAMP): requirements/infra.txt $(DEV_STAMP)
	$(LOCKED) -r requirements/infra.txt
	@touch $@

# What the tests need here.
TEST_STAMP := $(if $(NODE),$(INFRA_STAMP),$(DEV_STAMP))

.PHONY: setup
setup: $(RUN_STAMP) ## build .venv with the command .venv/bin/dicomulus

# --- use -----------------------------------------------------------------------------------------

.PHONY: run
run: setup ## serve DATA=folder, or sample data made on the spot (PORT=8080)
ifeq ($(strip $(DATA)),)
	@$(BIN)/dicomulus sample "$(SAMPLE)"
endif
	@$(BIN)/dicomulus viewer --if-possible
	@exec $(BIN)/dicomulus serve "$(or $(DATA),$(SAMPLE))" $(if $(PORT),--port $(PORT))

.PHONY: emulate
emulate: $(DEV_STAMP) ## what is deployed to AWS on this machine, with moto as AWS (ARGS=--one-origin)
	@exec $(BIN)/dicomulus emulate $(if $(PORT),--port $(PORT)) $(ARGS)

.PHONY: viewer
viewer: setup ## get the OHIF viewer, for /viewer, once for this user [npm, network]
	@$(BIN)/dicomulus viewer

# --- look, and change nothing --------------------------------------------------------------------

.PHONY: lint
lint: $(DEV_STAMP) ## style and spelling
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell

# Without Node there is no CDK to check infra against.
TYPED := $(CORE) functions tests $(if $(NODE),infra,--exclude '^tests/infra/')

.PHONY: types
types: $(TEST_STAMP) ## mypy --strict over everything
	$(BIN)/mypy $(TYPED)

.PHONY: imports
imports: $(DEV_STAMP) ## who may import whom
	$(BIN)/lint-imports

.PHONY: format
format: $(DEV_STAMP) ## format the code and mend what ruff can (edits)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# --- tests ---------------------------------------------------------------------------------------

.PHONY: unit contract integration
unit: $(DEV_STAMP) ## one module's behaviour, properties
contract: $(DEV_STAMP) ## every adapter of a port obeys the same tests; the standard's tables
integration: $(DEV_STAMP) ## event in, HTTP response out
unit contract integration:
	$(PYTEST) tests/$@

# What speaks to AWS, for another emulator of it than moto; the rest of the suites would say the same again.
SECOND_VENV := build/second-emulator-venv
SECOND_STAMP := $(SECOND_VENV)/.stamp
SPEAKS_TO_AWS := tests/contract/test_aws_meter.py tests/contract/test_dynamodb_index.py \
	tests/contract/test_aws_faults.py tests/contract/test_s3_store.py tests/contract/test_search_prices.py tests/contract/test_sqs_queue.py \
	tests/integration/test_coherency_dynamodb.py tests/integration/test_emulate.py \
	$(wildcard tests/integration/test_functions*.py)
SEARCHES_ON_AWS := tests/contract/test_search_oddities.py tests/contract/test_search_reference.py \
	tests/integration/test_search_at_scale.py tests/integration/test_search_paging.py \
	tests/integration/test_whole_path.py tests/unit/services/test_modes.py

# ministack names one version of botocore, so it has an environment of its own.
$(SECOND_STAMP): requirements/second-emulator.txt
	@rm -rf $(SECOND_VENV)
	$(PYTHON) -m venv $(SECOND_VENV)
	$(SECOND_VENV)/bin/python -m pip --disable-pip-version-check --no-input install --quiet --quiet --no-deps --require-hashes -r $<
	@touch $@

.PHONY: second-emulator
second-emulator: $(SECOND_STAMP) ## make the environment of a second, stricter emulator of AWS [network]

.PHONY: second
second: $(DEV_STAMP) $(SECOND_STAMP) ## what speaks to AWS, against the second emulator, as CI does [network]
	DICOMULUS_TEST_AWS=second $(PYTEST) $(SPEAKS_TO_AWS) -k "not everything_ends_with_the_command"

.PHONY: second-all
second-all: $(DEV_STAMP) $(SECOND_STAMP) ## all that speaks to AWS, searches too, against the second emulator [network]
	DICOMULUS_TEST_AWS=second $(PYTEST) $(SPEAKS_TO_AWS) $(SEARCHES_ON_AWS)

SEEDS ?= 100:200

.PHONY: faults
faults: $(DEV_STAMP) $(SECOND_STAMP) ## the archive on AWS while requests fail, on both emulators: SEEDS=100:200 [network]
	DICOMULUS_FAULT_SEEDS="$(SEEDS)" $(PYTEST) -s -q tests/integration/test_faults.py -k agree

.PHONY: infra
infra: $(TEST_STAMP) ## template, permissions, layers (skipped without Node)
ifeq ($(NODE),)
	@echo "infra: skipped, because Node is not on the PATH and the CDK's templates are made by it"
else
	$(PYTEST) tests/infra
endif

.PHONY: test
test: unit contract integration infra ## the four suites above

.PHONY: e2e
e2e: $(DEV_STAMP) ## a stranger's client against a running archive: URL=https://host/dicom-web
	@test -n "$(URL)" || { echo "e2e: say which archive: make e2e URL=https://host/dicom-web" >&2; exit 2; }
	DICOMULUS_E2E_URL="$(URL)" $(PYTEST) tests/e2e

.PHONY: cov
cov: $(DEV_STAMP) ## branch coverage of the package, gate at 95 %
	$(PYTEST) --cov --cov-report=term tests/unit tests/contract tests/integration

.PHONY: bench
bench: $(DEV_STAMP) ## measurements beside Orthanc and nginx, with no bound that could fail (BENCH=--quick)
	$(BIN)/python -m tests.benchmarks.bench_ingest
	$(BIN)/python -m tests.benchmarks.bench_store
	$(BIN)/python -m tests.benchmarks.bench_cold_start
	$(BIN)/python -m tests.benchmarks $(BENCH)

.PHONY: docs
docs: $(DEV_STAMP) ## links and citations of the documents
	$(PYTEST) tests/unit/test_docs.py

.PHONY: check
check: lint types imports test ## all that CI does, but for `second`

# --- what is deployed ----------------------------------------------------------------------------

.PHONY: layers
layers: $(DEV_STAMP) ## build the Lambda layers into build/layers [network]
	$(BIN)/python -m infra.layers build/layers

.PHONY: synth
synth: $(if $(NODE),$(INFRA_STAMP)) ## write the CloudFormation templates to cdk.out [Node]
ifeq ($(NODE),)
	@echo "synth: needs Node on the PATH" >&2; exit 1
else
	@# jsii has let go of Node 20, which many still have, and which writes the same templates.
	@JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION=20 \
		CDK_OUTDIR=cdk.out CDK_CONTEXT_JSON="$$($(BIN)/python -c 'import json; print(json.dumps(json.load(open("cdk.json"))["context"]))')" \
		$(BIN)/python -m infra.app
	@ls cdk.out/*.template.json
endif

.PHONY: clean
clean: ## remove what the tools made, except .venv and sample data
	rm -rf build cdk.out dist htmlcov .coverage .coverage.* .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find $(CORE) functions infra tests -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

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
	$(call compile_lock,requirements/run.txt,--python-version 3.11 pyproject.toml --group build -c requirements/dev.txt,What `dicomulus serve` needs.,pyproject.toml)
	$(call compile_lock,requirements/infra.txt,--python-version 3.11 --group infra -c requirements/dev.txt,What synthesising the template needs besides dev.txt and Node.,pyproject.toml)
	$(call compile_lock,layers/dependencies/requirements.txt,--python-version 3.13 layers/dependencies/requirements.in -c requirements/dev.txt,The dependencies layer.,layers/dependencies/requirements.in)
	$(call compile_lock,layers/imaging/requirements.txt,--python-version 3.13 layers/imaging/requirements.in -c requirements/dev.txt,The imaging layer.,layers/imaging/requirements.in)
	$(call compile_lock,layers/authorization/requirements.txt,--python-version 3.13 layers/authorization/requirements.in -c requirements/dev.txt,The authorization layer.,layers/authorization/requirements.in)
	$(call compile_lock,requirements/lambda-runtime.txt,--python-version 3.13 --group lambda-runtime -c requirements/dev.txt,What Lambda itself provides to functions.,pyproject.toml)
	$(call compile_lock,requirements/second-emulator.txt,--python-version 3.11 --group second-emulator,A second emulator of AWS in an environment of its own.,pyproject.toml)
