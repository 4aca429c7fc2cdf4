# Every target does its own set-up: the environment in .venv is made from requirements.lock when that or pyproject.toml
# has changed. More arguments go in as ARGS: `make test ARGS="tests/adapt -k routing"`.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
ARGS ?=

BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
READY := .venv/.ready
# Folders with Python in them, as far as they are there.
CODE := $(wildcard src tests benchmarks tools docs)

.PHONY: help setup demo test check bench docs lock clean

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' Makefile | expand -t 10

setup: $(READY) ## make the environment in .venv

$(READY): requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(PIP) install --no-deps -r requirements.lock
	$(PIP) install --no-deps --no-build-isolation -e .
	touch $@

demo: $(READY) ## graft a first adapter and show what it brings
	$(BIN)/tsugiki demo $(ARGS)

# Two workers with one thread each: more threads than cores make small models slower, not faster.
test: $(READY) ## run the tests
	OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 PYTHONWARNDEFAULTENCODING=1 \
	$(BIN)/python -m pytest -n 2 --dist worksteal $(ARGS)

check: $(READY) docs ## lint, format, types, import contracts, docs
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/mypy $(CODE)
	$(BIN)/lint-imports

bench: $(READY) ## compare with peers and write the results
	$(BIN)/python -m benchmarks $(ARGS)

docs: $(READY) ## build the site into build/site, every warning an error
	$(BIN)/mkdocs --quiet build --strict

lock: ## resolve the ranges of pyproject.toml anew
	$(PYTHON) tools/lock.py

clean: ## remove all that the targets made
	rm -rf .venv build dist src/*.egg-info
	rm -rf .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find src tests tools docs benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
