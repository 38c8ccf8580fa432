# A fresh machine needs Python 3.11 or newer, git and make: the rest is set up here, in .venv.

PYTHON ?= python3
WORKERS ?= auto
ARGS ?=
SHARE ?= 10
MINUTES ?= 10
CASES ?= 500

VENV := .venv
BIN := $(VENV)/bin
# The stamp names the directory it was made in: a virtual environment that was copied or moved still points at the
# old checkout, and would test that one.
HERE := $(shell pwd -P | cksum | cut -d' ' -f1)
STAMP := $(VENV)/installed-$(HERE)
# The programs that tests and benchmarks compare with, and AiiDA on the drop-in: never beside rsdos's own.
PEERS := .venv-peers/installed-$(HERE)
AIIDA := .venv-aiida/installed-$(HERE)
BENCHED := .venv-aiida-bench/installed-$(HERE)
PLOTS := $(VENV)/plots-$(HERE)
NODES ?= 2000
STAGES := lint unit aiida
# Makes the environments of lowest and newest versions: pip cannot resolve to the lowest.
UV := .venv-uv/bin/uv
# The Pythons that those are made for: on the PATH, or pyenv's. A shim of pyenv may be there and not run.
PYTHONS ?= $(shell for version in 3.11 3.12 3.13; do \
    for python in python$$version $$(ls -d $$HOME/.pyenv/versions/$$version.*/bin/python3 2>/dev/null); do \
    "$$python" -c '' 2>/dev/null && command -v "$$python" && break; done; done)

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_NO_INPUT := 1
export PIP_USER := 0
unexport PYTHONPATH PYTHONHOME VIRTUAL_ENV

# One step after the other, also under `make -j`: the summary of pytest is in one piece.
.NOTPARALLEL:
.DEFAULT_GOAL := help
.PHONY: help demo test lint format unit aiida test-lowest test-newest test-install crash damage interleave soak storm hostile bench bench-aiida bench-quick bench-scale bench-cold bench-profile bench-size visit walks clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' Makefile

demo: $(STAMP) ## set up if needed, and run the demonstration
	@$(BIN)/python demo/run.py

# Each stage runs whatever became of those before it. A closing line says what became of all of them.
test: ## set up if needed; all checks, then all tests
	@failed=; for stage in $(STAGES); do $(MAKE) --no-print-directory $$stage || failed="$$failed $$stage"; done; \
	echo "== stages: $(STAGES); failed:$${failed:- none}"; test -z "$$failed"

lint: $(STAMP) ## ruff, mypy, the import contracts, and names: no circle of imports, no public name with two meanings
	@echo "== ruff check"
	@$(BIN)/python -m ruff check --quiet .
	@echo "== ruff format --check"
	@$(BIN)/python -m ruff format --check --quiet . || { echo "Not formatted: run 'make format'." >&2; exit 1; }
	@echo "== mypy"
	@$(BIN)/python -m mypy
	@echo "== import contracts"
	@$(BIN)/lint-imports --no-logo
	@echo "== names and circles"
	@$(BIN)/python -m pytest -q tests/test_house.py

unit: $(STAMP) $(PEERS) ## the tests alone; ARGS="-k pack -x" goes to pytest, WORKERS=0 runs in one process
	@echo "== pytest"
	@$(BIN)/python -m pytest -q -n $(WORKERS) --maxprocesses 8 $(ARGS)

aiida: $(AIIDA) ## AiiDA on the drop-in, from end to end; NODES=300 for a shorter run
	@echo "== AiiDA"
	@.venv-aiida/bin/python tests/aiida/run.py --nodes $(NODES)

test-lowest: $(UV) ## command line and codecs with the lowest versions allowed; PYTHONS="python3.11 …"
	@UV=$(UV) ARGS="-n $(WORKERS) $(ARGS)" '$(PYTHON)' tests/install/versions.py lowest $(PYTHONS)

test-newest: $(UV) ## the same with the newest
	@UV=$(UV) ARGS="-n $(WORKERS) $(ARGS)" '$(PYTHON)' tests/install/versions.py newest $(PYTHONS)

test-install: $(UV) ## rsdos and the drop-in by pip and uv, from checkout and wheels; AIIDA_CORE="2.8 2.9" beside those
	@UV=$(UV) '$(PYTHON)' tests/install/run.py $(AIIDA_CORE)

crash: $(STAMP) ## every operation broken off at every call, and power lost behind it (ten minutes); prints the counts
	@$(BIN)/python -m tests.crash.run $(ARGS)

damage: $(STAMP) ## more than 20,000 damaged containers of both versions; SHARE=1 takes all 240,000
	@$(BIN)/python -m tests.crash.run --damage $(SHARE) rsdos 'rsdos, large batches' 'rsdos, version 1' $(ARGS)

interleave: $(STAMP) ## all pairs of operations beside one another, call by call, 200 orders each; prints the counts
	@$(BIN)/python -m tests.interleave.run $(ARGS)

soak: $(STAMP) ## MINUTES of eight processes that do everything at once and are killed at random
	@$(BIN)/python -m tests.crash.soak --minutes $(MINUTES) $(ARGS)

storm: $(STAMP) ## MINUTES of timers that interrupt every operation at random moments; nothing leaked, nothing held
	@$(BIN)/python -m tests.storm.storm --minutes $(MINUTES) $(ARGS)

hostile: $(STAMP) ## CASES containers and backups of a stranger's, links and FIFOs and all in every place, and every command
	@OPENBLAS_NUM_THREADS=1 $(BIN)/python -m tests.hostile.fuzz --cases $(CASES) $(ARGS)

format: $(STAMP) ## put the sources in shape, and mend what ruff can mend safely
	@$(BIN)/python -m ruff check --quiet --fix-only .
	@$(BIN)/python -m ruff format .

bench-quick: $(STAMP) $(PEERS) ## side by side with its peers, small data, under two minutes
	@$(BIN)/python -m benchmarks.run --level quick $(ARGS)

bench: $(STAMP) $(PEERS) $(PLOTS) ## the whole suite, under twenty minutes; writes docs/performance.md
	@$(BIN)/python -m benchmarks.run --level full --json docs/performance/full.json $(ARGS)
	@$(BIN)/python -m benchmarks.page

bench-cold: $(STAMP) ## reads that wait: caches dropped, and a medium of 2 ms a request (FUSE, root); prints a table
	@$(BIN)/python -m benchmarks.cold $(ARGS)

bench-profile: $(STAMP) $(PLOTS) ## where the time goes, with Linux's perf; writes docs/performance.md
	@$(BIN)/python -m benchmarks.profile --json docs/performance/profile.json $(ARGS)
	@$(BIN)/python -m benchmarks.page

bench-size: $(STAMP) $(PEERS) $(PLOTS) ## bytes on disk and rates, JSON to pictures, beside its peers, ten minutes; writes docs/performance.md
	@$(BIN)/python -m benchmarks.size --level full --json docs/performance/size.json $(ARGS)
	@$(BIN)/python -m benchmarks.page

visit: $(STAMP) $(PEERS) ## open, has, read, close as AiiDA does it, side by side with disk-objectstore
	@$(BIN)/python -m benchmarks.open_read_close $(ARGS)

walks: $(STAMP) ## how many calls, and returns to a file that was left, six operations take
	@$(BIN)/python -m benchmarks.walks

bench-aiida: $(STAMP) $(BENCHED) ## AiiDA's own calls, side by side with disk-objectstore; writes docs/aiida.md
	@$(BIN)/python -m benchmarks.aiida_table $(ARGS)

bench-scale: $(STAMP) $(PLOTS) ## 1 M and 10 M objects, as long as it takes; writes docs/performance.md
	@$(BIN)/python -m benchmarks.scale --json docs/performance/scale.json $(ARGS)
	@$(BIN)/python -m benchmarks.page

clean: ## remove .venv, caches and build products
	rm -rf $(VENV) .venv-* .bench .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache build dist
	find . -name .git -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamp is missing: begin afresh (first run, an interrupted one, a moved directory). It is only older than
# pyproject.toml: install what changed.
$(STAMP): pyproject.toml
	@command -v '$(PYTHON)' >/dev/null || { \
	    echo "rsdos needs Python 3.11 or newer; '$(PYTHON)' is not there. Try: make PYTHON=/path/to/python3" >&2; exit 1; }
	@'$(PYTHON)' -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "rsdos needs Python 3.11 or newer; '$(PYTHON)' is $$('$(PYTHON)' -V 2>&1). Try: make PYTHON=python3.12" >&2; \
	    exit 1; }
	@'$(PYTHON)' -c 'import venv, ensurepip' 2>/dev/null || { \
	    echo "'$(PYTHON)' cannot make virtual environments: its venv or ensurepip module is missing." >&2; \
	    echo "On Debian and Ubuntu: apt install python3-venv. Or: make PYTHON=/path/to/another/python3" >&2; exit 1; }
	@echo "== setting up $(VENV) (once)"
	@test -e $@ || '$(PYTHON)' -m venv --clear $(VENV)
	@$(BIN)/python -m pip install --quiet --editable '.[test]'
	@touch $@

$(PEERS): Makefile
	@echo "== setting up .venv-peers (once)"
	@test -e $@ || '$(PYTHON)' -m venv --clear .venv-peers
	@.venv-peers/bin/python -m pip install --quiet disk-objectstore==1.5.0 rsdos==0.1.1 lmdb==3.0.0
	@touch $@

$(UV):
	@echo "== setting up .venv-uv (once)"
	@'$(PYTHON)' -m venv --clear .venv-uv
	@.venv-uv/bin/python -m pip install --quiet uv

# aiida-core on disk-objectstore itself; beside it what rsdos needs, which comes in by PYTHONPATH.
$(BENCHED): Makefile pyproject.toml $(UV)
	@echo "== setting up .venv-aiida-bench (once)"
	@$(UV) venv --quiet --clear --python '$(PYTHON)' .venv-aiida-bench
	@$(UV) pip install --quiet --python .venv-aiida-bench 'aiida-core~=2.9.0' disk-objectstore==1.5.0
	@$(UV) pip install --quiet --python .venv-aiida-bench -r pyproject.toml
	@touch $@

$(PLOTS): $(STAMP)
	@$(BIN)/python -m pip install --quiet --editable '.[bench]'
	@touch $@

# The drop-in is installed as a user does it; rsdos itself from the checkout as it is now.
$(AIIDA): Makefile pyproject.toml drop-in/pyproject.toml $(shell find src/rsdos drop-in/disk_objectstore -name '*.py')
	@echo "== setting up .venv-aiida (once)"
	@test -e .venv-aiida/bin/verdi || '$(PYTHON)' -m venv --clear .venv-aiida
	@.venv-aiida/bin/python -m pip install --quiet 'aiida-core~=2.9.0'
	@.venv-aiida/bin/python -m pip install --quiet --force-reinstall --no-deps . ./drop-in
	@.venv-aiida/bin/python -m pip install --quiet . ./drop-in
	@touch $@
