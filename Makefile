# Needs Python 3.11+, git and make. Everything else comes from PyPI into .venv.
PYTHON ?= python3
VENV   ?= .venv
BIN     = $(VENV)/bin
WORKERS ?= 2

.DEFAULT_GOAL := help
.PHONY: help demo test check format bench clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(VENV)/.%: pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --editable '.[$*]'
	@touch $@

demo: $(VENV)/.demo  ## a year of flights through the loop, into ./flights
	$(BIN)/headrace demo

test: $(VENV)/.test  ## the whole test suite
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

check: $(VENV)/.dev  ## lint, types and layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/pyright

format: $(VENV)/.dev  ## rewrite the sources to the house format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.test  ## every benchmark, quick
	@for script in benchmarks/*.py; do $(BIN)/python $$script --quick || exit 1; done

clean:  ## remove what make made
	rm -rf $(VENV) dist build .pytest_cache .ruff_cache .hypothesis
