# The commands of this project. Each works alone on a fresh checkout.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Tests that run at a time: most of them wait, but some need a whole processor.
WORKERS ?= 3
ABUSE_SCALE ?= 50
SOAK_MINUTES ?= 10
# Of make fuzz, for all edges together.
SECONDS ?= 600
# What is installed; LOCK= takes the newest that is allowed.
EXTRAS := .[rtp,otel,pipes,flows,zmq,bench,test,check]
LOCK ?= tests/constraints.txt
STAMP := $(VENV)/.installed

.PHONY: help run test check bench bench-quick fuzz abuse soak clean lock audit

help:            ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-11s %s\n", $$1, $$2}' Makefile

run: $(STAMP)    ## start the demo server on 127.0.0.1
	@# A job of its own on the terminal: Ctrl-C is for the server, which ends well, and not
	@# for make, which would call that an error.
	@if [ -t 0 ]; then set -m; fi; $(BIN)/eventgraph serve

test: $(STAMP)   ## run the whole test suite (REQUIRE_ALL=1: nothing may be skipped)
	@# A worker that the time-out of a test ended is not replaced: the run ends, and says where.
	$(BIN)/python -m pytest -m "not alone" -n $(WORKERS) --dist loadscope --max-worker-restart 0
	$(BIN)/python -m pytest -m alone

check: $(STAMP)  ## lint, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(STAMP)  ## the latency benchmarks, each beside its baseline
	$(BIN)/eventgraph bench

bench-quick: $(STAMP)  ## the same with small loads: checks the results, not the times
	$(BIN)/eventgraph bench --quick

fuzz: $(STAMP)   ## feed every edge with damaged input for SECONDS (default 600)
	@# atheris, which finds its way by coverage, is not there for every Python: without it by damage alone.
	-$(BIN)/python -m pip install --quiet --quiet --only-binary :all: 'atheris>=3,<4'
	$(BIN)/python -m tests.security --seconds $(SECONDS)

abuse: $(STAMP)  ## the abuse tests at ABUSE_SCALE times what make test does (default 50: 10,000 offers)
	ABUSE_SCALE=$(ABUSE_SCALE) $(BIN)/python -m pytest -s -m abuse

soak: $(STAMP)   ## ten minutes of load and faults, SOAK_MINUTES=60 for more; prints a table
	$(BIN)/python -m tests.soak --minutes $(SOAK_MINUTES)

clean:           ## remove the virtual environment and caches
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis

lock:            ## write anew what the tests are locked to: the newest that pyproject.toml allows
	$(MAKE) LOCK= $(STAMP)
	$(BIN)/python -m pip install --quiet --quiet --dry-run --ignore-installed \
		--report $(VENV)/report.json --editable '$(EXTRAS)'
	$(BIN)/python -m tests.security.lock $(VENV)/report.json > $(VENV)/constraints.txt
	mv $(VENV)/constraints.txt tests/constraints.txt

audit: $(STAMP)  ## ask PyPI for known vulnerabilities of what the lock names; 1: some, or nothing is known
	$(PYTHON) -m venv $(VENV)/audit
	$(VENV)/audit/bin/python -m pip install --quiet --quiet 'pip-audit>=2.10,<3'
	$(VENV)/audit/bin/pip-audit --strict --disable-pip --no-deps --requirement tests/constraints.txt

$(STAMP): pyproject.toml $(LOCK)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "eventgraph needs Python 3.11 or newer; name one with: make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
		{ echo "Python's venv module is missing; on Debian or Ubuntu: apt-get install python3-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --quiet $(addprefix --constraint ,$(LOCK)) --editable '$(EXTRAS)'
	@touch $@
