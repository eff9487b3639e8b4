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
MILLION ?=
LOCK   ?=
# Seconds for each target of make fuzz-decoders; FUZZ="link request" for some targets only.
FUZZ_SECONDS ?= 600
FUZZ   ?=
MUTANTS ?=
# Messages for make alike.
CASES  ?= 100000
SOAK   ?= --cycles 200 --messages 20000
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
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
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
bench: $(STAMP) ## Measure the relay beside other servers, and what metering costs it
	$(BIN)/python -m bench $(BENCH)
	$(BIN)/python -m bench.metering

.PHONY: bench-stalled
bench-stalled: $(STAMP) ## Measure what readers that never read do to the others
	$(BIN)/python -m bench.stalled $(BENCH)

.PHONY: bench-metering
bench-metering: $(STAMP) ## Measure the second of these alone
	$(BIN)/python -m bench.metering $(BENCH)

# MILLION="--charges 20000 --businesses 20" for a short run.
.PHONY: bill-million
bill-million: $(STAMP) ## Bill a million charges three ways, and compare to the micro-unit
	@$(BIN)/python -m bench.million $(MILLION)

.PHONY: bench-crypto
bench-crypto: bench-install ## Measure sessions beside other libraries, which it installs
	@$(BIN)/python -m bench.crypto $(BENCH)

.PHONY: bench-install
bench-install: $(STAMP)
	@$(BIN)/python -c 'import vodozemac, doubleratchet, x3dh' 2>/dev/null || \
		$(PIP) install --quiet --require-hashes -r requirements-bench.lock

.PHONY: fuzz
fuzz: fuzz-network fuzz-decoders ## Look for what nobody thought of: both of these

.PHONY: fuzz-network
fuzz-network: $(STAMP) ## Run sessions through thousands of bad networks, beside another ratchet
	$(BIN)/python -m pytest -n $(JOBS) --hypothesis-profile=long --hypothesis-show-statistics \
		-o faulthandler_timeout=0 tests/crypto/test_network.py tests/oracle

.PHONY: fuzz-decoders
fuzz-decoders: fuzz-install ## Fuzz all decoders, guided by coverage (FUZZ_SECONDS=600 each)
	@$(BIN)/python -c 'import atheris' 2>/dev/null || { \
		echo "atheris has no wheel for $$($(BIN)/python --version) on $$(uname -sm);" \
			"make test replays the corpus without it" >&2; exit 1; }
	@$(BIN)/python -m tests.fuzz.run --seconds $(FUZZ_SECONDS) --jobs 2 $(FUZZ)

# Where atheris has no wheel, the lock's markers leave it out and this does nothing.
.PHONY: fuzz-install
fuzz-install: $(STAMP)
	@$(BIN)/python -c 'import atheris' 2>/dev/null || \
		$(PIP) install --quiet --require-hashes --only-binary atheris -r requirements-fuzz.lock

.PHONY: frauds
frauds: $(STAMP) ## Commit a thousand frauds, and list by which name each kind was caught
	@$(BIN)/python -m tests.frauds

.PHONY: alike
alike: $(STAMP) ## Price 100,000 messages by relay, replay and oracle, and compare (CASES=100000)
	KURIR_CASES=$(CASES) $(BIN)/python -m pytest -n $(JOBS) tests/audit/test_alike.py


# The seed of each run is printed; SOAK="--cycles 20 --messages 500 --seed 7" repeats one.
.PHONY: soak
soak: $(STAMP) ## Kill relay and clients 200 times under 20,000 messages; see that nothing is lost
	@$(BIN)/python -m tests.faults.soak $(SOAK)

# POWER="--cycles 10 --seed 7" repeats what printed that seed.
.PHONY: power-loss
power-loss: $(STAMP) ## Cut the power of 50 relays at random places; see that what was told is on disk
	@$(BIN)/python -m tests.faults.power_loss $(POWER)

# A run goes on from the last one; MUTANTS=--fresh begins anew, MUTANTS=kurir_billing takes one
# package. What it needs comes beside the rest, in its own lock.
.PHONY: mutants
mutants: $(STAMP) ## Change the code in small ways and see that a test notices (takes long)
	@$(BIN)/python -c 'import mutmut' 2>/dev/null || \
		$(PIP) install --quiet --require-hashes -r requirements-mutants.lock
	@$(BIN)/python -m tests.mutants $(MUTANTS)

.PHONY: venv
venv: $(STAMP) ## Set up .venv only

.PHONY: lock
lock: ## Write the locks anew from pyproject.toml (LOCK=--upgrade for newer versions)
	@$(FIND_PYTHON); \
	tmp=$$(mktemp -d) && trap 'rm -rf "$$tmp"' EXIT && \
	"$$found" -m venv "$$tmp/venv" && \
	"$$tmp/venv/bin/python" -m pip install --quiet --disable-pip-version-check uv && \
	for extra in dev run bench fuzz mutants; do \
		case $$extra in \
			dev) file=requirements.lock; with="--extra dev" ;; \
			run) file=requirements-run.lock; with="--constraints requirements.lock" ;; \
			*) file=requirements-$$extra.lock; with="--extra $$extra --constraints requirements.lock" ;; \
		esac; \
		"$$tmp/venv/bin/uv" pip compile pyproject.toml $$with \
			--universal --python-version 3.11 --generate-hashes --no-emit-index-url \
			--custom-compile-command "make lock" --quiet --output-file $$file $(LOCK) || exit 1; \
	done

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
