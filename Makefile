# The two commands a newcomer needs: `make quickstart` and `make test`.
PYTHON ?= $(shell for p in python3.11 python3.12 python3; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null && command -v $$p && break; done)
VENV ?= .venv
BIN := $(VENV)/bin
CORPUS ?=

.PHONY: quickstart test test-fast test-long lint lock clean

quickstart: $(VENV)/.installed
	$(BIN)/cpt quickstart $(if $(CORPUS),--corpus $(CORPUS))

# What CI runs: fast, real Slurm, and the slow ones that train. `make test-fast` is the inner loop (under 2 minutes),
# `make test-long` adds every layout, 30 kill points and every fault (results: benchmarks/README.md).
test: $(VENV)/.installed slurm-packages
	$(BIN)/python -m pytest -q -m 'not long'

test-long: $(VENV)/.installed
	KILL_POINTS=30 $(BIN)/python -m pytest -q -m 'slow or long'

test-fast: $(VENV)/.installed
	$(BIN)/python -m pytest -q

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

$(VENV)/.installed: requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11 or 3.12 is needed; name one with: make PYTHON=/path/to/python3.11" >&2; exit 2; }
	@echo "installing into $(VENV): 2.7 GB, a few minutes"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --editable .
	@touch $@

# Slurm for the tests that start one: only root can install it, others skip those tests with a reason.
.PHONY: slurm-packages
slurm-packages:
	@if ! command -v slurmctld >/dev/null && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends slurm-wlm munge iproute2; fi

# A new lock: the newest versions that pyproject.toml admits, from an empty environment.
lock:
	rm -rf build/lock && $(PYTHON) -m venv build/lock
	build/lock/bin/python -m pip install --quiet '.[test,lint,semantic,wandb]'
	build/lock/bin/python -m pip freeze --exclude cpt-launcher | sed 's/+cpu$$//' > requirements.lock

clean:
	rm -rf $(VENV) build *.egg-info
