# kurir: one command each. `make demo` and `make test` need only make and Python 3.11
# or newer with venv; they set up .venv on first use.

.DEFAULT_GOAL := help
SHELL := /bin/sh

BIN    := .venv/bin
STAMP  := .venv/.ready
# Folders whose code is linted; those that do not exist yet are left out.
CODE   := $(wildcard protocol crypto server client audit examples bench tests)
PIP    := $(BIN)/python -m pip --disable-pip-version-check --no-input

# Options from the command line: make demo DEMO="--transcript FILE --out DIR"
DEMO   ?=
TEST   ?=
BENCH  ?=
LOCK   ?=
# Test processes side by side; make test JOBS=0 runs all in one, as a debugger needs it.
JOBS   ?= 2
# A particular interpreter: make test PYTHON=/path/to/python
PYTHON ?=

# Candidates are run, not looked up: a pyenv shim can exist and fail, and Debian's
# python3 lacks ensurepip until python3-venv is installed.
FIND_PYTHON = \
	for candidate in $(or $(PYTHON),python3 python3.14 python3.13 python3.12 python3.11 python); do \
		if "$$candidate" -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))' \
			>/dev/null 2>&1; then found=$$candidate; break; fi; \
	done; \
	if [ -z "$${found:-}" ]; then \
		echo "kurir needs Python 3.11 or newer with venv, and found none that works." >&2; \
		echo "On Debian and Ubuntu: apt-get install python3-venv" >&2; \
		echo "If it is somewhere else: make $(or $(MAKECMDGOALS),help) PYTHON=/path/to/python" >&2; \
		exit 1; \
	fi

.PHONY: help
help: ## Show this list
	@echo "make TARGET, where TARGET is one of"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-8s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@echo "Options: make demo DEMO=\"--transcript FILE --out DIR\"   make test TEST=\"-k meter\""

.PHONY: demo
demo: $(STAMP) ## Talk to a business through a relay that cannot read, and see the bill
	@$(BIN)/kurir demo $(DEMO)

.PHONY: test
test: $(STAMP) ## Run the tests
	$(BIN)/python -m pytest -n $(JOBS) $(TEST)

.PHONY: lint
lint: $(STAMP) ## Check format, lint rules, types and import rules
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/ruff check $(CODE)
	$(BIN)/mypy --strict $(CODE)
	$(BIN)/lint-imports --no-logo

.PHONY: format
format: $(STAMP) ## Rewrite the code in the house format
	$(BIN)/ruff check --fix --exit-zero --quiet $(CODE)
	$(BIN)/ruff format $(CODE)

.PHONY: bench
bench: $(STAMP) ## Measure
	$(BIN)/python -m bench $(BENCH)

.PHONY: venv
venv: $(STAMP) ## Set up .venv only

.PHONY: lock
lock: ## Write requirements.lock anew from pyproject.toml (LOCK=--upgrade for newer versions)
	@$(FIND_PYTHON); \
	tmp=$$(mktemp -d) && trap 'rm -rf "$$tmp"' EXIT && \
	"$$found" -m venv "$$tmp/venv" && \
	"$$tmp/venv/bin/python" -m pip install --quiet --disable-pip-version-check uv && \
	"$$tmp/venv/bin/uv" pip compile pyproject.toml --extra dev --universal --python-version 3.11 \
		--generate-hashes --no-emit-index-url --custom-compile-command "make lock" \
		--quiet --output-file requirements.lock $(LOCK)

.PHONY: clean
clean: ## Remove .venv, caches and build output
	rm -rf .venv build dist .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Prints the interpreter that .venv would be made with, or says why there is none.
.PHONY: which-python
which-python:
	@$(FIND_PYTHON); echo "$$found"

# The stamp is written last, so that a broken set-up is begun again and a finished one
# costs nothing. A .venv whose own interpreter no longer runs is made anew.
$(STAMP): requirements.lock pyproject.toml
	@if ! { $(BIN)/python -c 'import pip' && [ "$$(cat .venv/.home)" = "$(CURDIR)" ]; } >/dev/null 2>&1; then \
		$(FIND_PYTHON); \
		echo "Setting up .venv with $$("$$found" --version) (once, about a minute)"; \
		"$$found" -m venv --clear .venv && echo "$(CURDIR)" > .venv/.home; \
	else \
		echo "Bringing .venv up to date"; \
	fi
	@$(PIP) install --quiet --require-hashes -r requirements.lock
	@$(PIP) install --quiet --no-deps --no-build-isolation -e .
	@touch $@
