# Targets for setup, demo, tests and benchmarks. `make help` lists them; each installs what it needs.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3.11
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PIP = $(BIN)/python -m pip --disable-pip-version-check install --quiet --quiet
CATALOG ?= data/demo/catalogue.csv
# One index folder for each catalogue: the publish gate would stop a different one in the same folder.
INDEX ?= data/index-$(shell realpath -m "$(CATALOG)" | cksum | cut -d ' ' -f 1)
PORT ?= 8000
HOST ?= 127.0.0.1
TESTS ?=
FUZZ := tests/test_fuzz.py tests/service/test_attacks.py
FUZZ_TESTS := 12
export TF_CPP_MIN_LOG_LEVEL ?= 2

.PHONY: help setup demo serve build test lint fuzz bench lock clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "%-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY)  ## install the locked requirements into .venv

$(READY): requirements.lock setup.cfg pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is not installed (or give PYTHON=...)" >&2; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { \
	  echo "cannot create $(VENV): on Debian, apt-get install python3-venv" >&2; rm -rf $(VENV); exit 2; }
	@echo "installing into $(VENV) (a few minutes the first time)"
	@$(PIP) --require-hashes --no-deps -r requirements.lock
	@$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

build: $(READY)  ## index CATALOG into INDEX
	$(BIN)/vitrine-indexer build "$(CATALOG)" --index "$(INDEX)" --model auto

serve: $(READY)  ## serve INDEX on PORT
	$(BIN)/vitrine-service --index "$(INDEX)" --host $(HOST) --port $(PORT) --log-format text --no-access-log

demo: build serve  ## install, index the demo catalogue (or CATALOG=folder) and serve the gallery

test: $(READY)  ## lint and run all tests (or TESTS=tests/test_x.py)
	$(MAKE) --no-print-directory lint
	$(BIN)/python -m pytest $(or $(TESTS),--numprocesses 2 --dist loadfile --cov --cov-fail-under 90)

lint: $(READY)  ## ruff and mypy
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy

fuzz: $(READY)  ## run the fuzz tests with EXAMPLES (100000) inputs in all
	VITRINE_FUZZ_EXAMPLES=$$(( $(or $(EXAMPLES),100000) / $(FUZZ_TESTS) )) $(BIN)/python -m pytest $(FUZZ)

bench: $(READY)  ## measure against alternatives and write tests/benchmarks/RESULTS.md
	@$(PIP) --editable '.[bench]'
	$(BIN)/python -m tests.benchmarks

lock:  ## update requirements.lock from setup.cfg
	$(PYTHON) -m venv $(VENV)-lock
	$(VENV)-lock/bin/python -m pip install --quiet pip-tools
	$(VENV)-lock/bin/pip-compile --quiet --extra dev --generate-hashes --strip-extras --allow-unsafe \
	  --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --output-file requirements.lock setup.cfg
	rm -rf $(VENV)-lock

clean:  ## remove installed, built and cached files
	rm -rf $(VENV) $(VENV)-lock data/index* *.egg-info build dist .coverage .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
