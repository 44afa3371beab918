# Every target runs in .venv, which is made on first use and brought up to date when the pins change.
PYTHON ?= python3
VENV ?= .venv
ARGS ?=
BIN := $(VENV)/bin
UV := $(BIN)/uv
INSTALLED := $(VENV)/.chirpid
INSTALLED_DEV := $(VENV)/.chirpid-dev
NATIVE := hatch_build.py chirpid/native/build.py $(wildcard chirpid/native/src/*)

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help install train test lint types ui bench docs pins clean

help: ## list the targets; ARGS="..." is passed on, as in: make train ARGS="mode=lazy engine=tiny"
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(INSTALLED) ## make .venv with ChirpID in it

train: $(INSTALLED) ## train on the demo set, or what ARGS says
	@$(BIN)/python train.py $(ARGS)

test: $(INSTALLED_DEV) ## run the tests
	@$(BIN)/python -m pytest $(ARGS)

lint: $(INSTALLED_DEV) ## check style and formatting
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

types: $(INSTALLED_DEV) ## check types, strictly
	@$(BIN)/mypy $(ARGS)

ui: $(INSTALLED) ## open MLflow on the runs, port 5000
	@$(BIN)/chirpid ui $(ARGS)

bench: $(INSTALLED) ## run the benchmarks
	@$(BIN)/chirpid bench loaders $(ARGS)

docs: $(INSTALLED) ## write docs/settings.md from the schema
	@$(BIN)/python scripts/write_settings_page.py

pins: $(INSTALLED) ## take the newest versions that pyproject.toml allows into requirements*.txt
	@$(UV) pip compile -q pyproject.toml $(PIN_FLAGS) --upgrade -o requirements.txt
	@$(UV) pip compile -q pyproject.toml --group dev -c requirements.txt $(PIN_FLAGS) --upgrade -o requirements-dev.txt

PIN_FLAGS := --universal --python-version 3.11 --no-header --no-annotate --no-emit-index-url

clean: ## remove .venv and what tools leave behind; outputs/ stays
	@rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	@find . -name __pycache__ -type d -not -path './outputs/*' -prune -exec rm -rf {} +

$(UV):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { echo "ChirpID needs Python 3.11 or newer, and '$(PYTHON)' is not. Try: make PYTHON=python3.12" >&2; exit 2; }
	@echo "making $(VENV), once; PyTorch with CUDA is some gigabytes to download" >&2
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -q 'uv>=0.5,<1'

# One environment for both: the second install only adds what the first has not.
$(INSTALLED): requirements.txt pyproject.toml $(NATIVE) | $(UV)
	@$(UV) pip install -q --python $(BIN)/python -r requirements.txt
	@$(UV) pip install -q --python $(BIN)/python --no-deps -e .
	@touch $@

$(INSTALLED_DEV): requirements-dev.txt $(INSTALLED) | $(UV)
	@$(UV) pip install -q --python $(BIN)/python -r requirements-dev.txt
	@touch $@
