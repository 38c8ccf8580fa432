# A fresh machine needs Python 3.11 or newer, git and make: the rest is set up here, in .venv.

PYTHON ?= python3
WORKERS ?= auto
ARGS ?=
SHARE ?= 10
MINUTES ?= 10
CASES ?= 500
RUNS ?= 50000
WAYS ?= two

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
SITE := $(VENV)/site-$(HERE)
DATASETS := .venv-datasets/installed-$(HERE)
# LinkChecker is under the GPL: it is run, and is no part of what is built.
LINKS := .venv-links/installed-$(HERE)
# boto3 and DVC, beside which containers on object storage are measured.
REMOTE := .venv-remote/installed-$(HERE)
# The libraries that the doors of rsdos.integrations are for. PyPI's torch brings gigabytes for graphics cards: the CPU's
# build is taken where pip finds one, and else its tests are skipped.
DOORS := .venv-doors/installed-$(HERE)
# Those of the examples that CI runs: without torch, which is large, and AiiDA, which has an environment of its own.
EXAMPLES := .venv-examples/installed-$(HERE)
TORCH ?= torch==2.13.0+cpu
NODES ?= 1500
# What `make demo-remote` saves and pushes.
TREE ?= /usr/share
STAGES := lint unit aiida
# Stages that run beside those. They make environments of their own, and wait for one program after the other.
BESIDE ?=
# What pytest is told in `make test-lowest` besides: CI leaves some files out.
LOWEST ?=
# Makes the environments of lowest and newest versions: pip cannot resolve to the lowest.
UV := .venv-uv/bin/uv
# What makes the other environments, but for those that are made by uv in any case: pip, which knows the user's mirrors,
# or uv, which takes a third of the time.
INSTALLER ?= pip
# The Pythons that those are made for: on the PATH, or pyenv's. A shim of pyenv may be there and not run.
PYTHONS ?= $(shell for version in 3.11 3.12 3.13 3.14; do \
    for python in python$$version $$(ls -d $$HOME/.pyenv/versions/$$version.*/bin/python3 2>/dev/null); do \
    "$$python" -c '' 2>/dev/null && command -v "$$python" && break; done; done)

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_NO_INPUT := 1
export PIP_USER := 0
unexport PYTHONPATH PYTHONHOME VIRTUAL_ENV
# A process of ours that finds no bytecode takes twice as long to start, and the tests start thousands.
unexport PYTHONDONTWRITEBYTECODE
export UV_COMPILE_BYTECODE := 1

ifeq ($(INSTALLER),uv)
BY_UV := | $(UV)
environment = $(UV) venv --quiet --clear --seed --python '$(PYTHON)' $(1)
install = $(UV) pip install --quiet --python $(1)
else
environment = '$(PYTHON)' -m venv --clear $(1)
install = $(1)/bin/python -m pip install --quiet
endif

# One step after the other, also under `make -j`: the summary of pytest is in one piece.
.NOTPARALLEL:
.DEFAULT_GOAL := help
.PHONY: help demo demo-remote test lint format unit aiida test-lowest test-newest test-install ceph ceph-stop crash damage interleave model protocol soak storm hostile bench bench-aiida bench-quick bench-scale bench-packs bench-cold bench-profile bench-size bench-datasets bench-datasets-quick bench-remote visit walks docs links doors examples dist zipapp test-zipapp standalone changelog clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' Makefile

demo: $(STAMP) ## set up if needed, and run the demonstration
	@$(BIN)/python demo/run.py
	@$(BIN)/python demo/datasets.py

demo-remote: $(STAMP) ## push TREE, lazy clone, three pushes at once and a kill, on a Ceph that is started for it (make ceph installs it)
	@echo "== demo-remote"
	@$(BIN)/python demo/remote.py --source '$(TREE)'

# Each stage runs whatever became of those before it. A closing line says what became of all of them. What runs in the
# background ignores Ctrl-C, so that all of the group is ended then.
test: ## set up if needed; all checks, then all tests; the stages named by BESIDE at the same time, with their output at the end
	@beside=; if [ -n '$(BESIDE)' ]; then \
	    $(MAKE) --no-print-directory $(STAMP) $(UV) || exit 1; log=$$(mktemp); \
	    $(MAKE) --no-print-directory test STAGES='$(BESIDE)' BESIDE= >"$$log" 2>&1 & beside=$$!; \
	    trap 'trap "" TERM; kill 0; rm -f "$$log"; exit 130' INT TERM; \
	fi; \
	failed=; for stage in $(STAGES); do $(MAKE) --no-print-directory $$stage || failed="$$failed $$stage"; done; \
	if [ -n "$$beside" ]; then \
	    wait $$beside || failed="$$failed $$(sed -n 's/^== stages.*failed: //p' "$$log")"; cat "$$log"; rm -f "$$log"; \
	fi; \
	echo "== stages: $(strip $(STAGES) $(BESIDE)); failed:$${failed:- none}"; test -z "$$failed"

lint: $(STAMP) ## ruff, codespell, proselint, mypy, the import contracts, and names: no circle of imports, no public name with two meanings
	@echo "== ruff check"
	@$(BIN)/python -m ruff check --quiet .
	@echo "== ruff format --check"
	@$(BIN)/python -m ruff format --check --quiet . || { echo "Not formatted: run 'make format'." >&2; exit 1; }
	@echo "== codespell"
	@$(BIN)/codespell
	@echo "== proselint"
	@$(BIN)/proselint check --config packaging/proselint.json --output-format compact *.md */*.md docs/*/*.md
	@echo "== mypy"
	@$(BIN)/python -m mypy
	@echo "== import contracts"
	@$(BIN)/lint-imports --no-logo
	@echo "== names and circles"
	@$(BIN)/python -m pytest -q tests/test_house.py

unit: $(STAMP) $(PEERS) ## the tests alone; ARGS="-k pack -x" goes to pytest, WORKERS=0 runs in one process
	@$(BIN)/python -m compileall -q src tests
	@echo "== pytest"
	@$(BIN)/python -m pytest -q -n $(WORKERS) --maxprocesses 8 --dist worksteal $(ARGS)

# No virtual environment: it is there before anything is installed.
ceph: ## start a Ceph of one node on loopback (10 s; as root, installs it from Debian), print how to reach it
	@'$(PYTHON)' -m tests.ceph start

ceph-stop: ## stop it and remove its data
	@'$(PYTHON)' -m tests.ceph stop

aiida: $(AIIDA) ## AiiDA on the drop-in, from end to end; NODES=300 for a shorter run
	@echo "== AiiDA"
	@.venv-aiida/bin/python -m tests.aiida.run --nodes $(NODES)

doors: $(DOORS) ## each door of rsdos.integrations with its library: fsspec, zarr, torch, FUSE, git-annex
	@echo "== doors"
	@.venv-doors/bin/python -m pytest -q -n $(WORKERS) --maxprocesses 4 -o asyncio_mode=auto \
	    -o asyncio_default_fixture_loop_scope=function tests/integrations tests/test_examples.py tests/test_tutorials.py $(ARGS)

examples: $(EXAMPLES) ## the notebook and the other examples that need libraries; AiiDA's is in `make aiida`
	@echo "== examples"
	@.venv-examples/bin/python -m pytest -q -p no:cacheprovider tests/test_examples.py $(ARGS)

test-lowest: $(UV) ## command line and codecs with the lowest versions allowed; PYTHONS="python3.11 …"
	@UV=$(UV) ARGS="-n $(WORKERS) $(LOWEST) $(ARGS)" '$(PYTHON)' tests/install/versions.py lowest $(PYTHONS)

test-newest: $(UV) ## the same with the newest
	@UV=$(UV) ARGS="-n $(WORKERS) $(ARGS)" '$(PYTHON)' tests/install/versions.py newest $(PYTHONS)

test-install: $(UV) ## by pip from the checkout, by uv from wheels; WAYS=all, or AIIDA_CORE="2.8 2.9"
	@UV=$(UV) '$(PYTHON)' tests/install/run.py $(if $(filter all,$(WAYS)),all) $(AIIDA_CORE)

crash: $(STAMP) ## every operation broken off at every call, and power lost behind it (an hour); prints the counts
	@$(BIN)/python -m tests.crash.run $(ARGS)

damage: $(STAMP) ## more than 100,000 damaged containers of both versions; SHARE=1 takes all 1,070,000
	@$(BIN)/python -m tests.crash.run --damage $(SHARE) rsdos 'rsdos, large batches' 'rsdos, dictionaries' 'rsdos, pack tables' 'rsdos, snapshots' 'rsdos, version 1' $(ARGS)

interleave: $(STAMP) ## all pairs of operations beside one another, call by call, 200 orders each; prints the counts
	@$(BIN)/python -m tests.interleave.run $(ARGS)

model: $(STAMP) ## every order of the steps of any two, three and four operations on one object, and of some fives
	@$(BIN)/python -m tests.model.run $(ARGS)

protocol: $(STAMP) ## the commits of version 3 in RUNS simulated runs, and twentieths of that of its mutants; prints the counts
	@PYTHONHASHSEED=0 $(BIN)/python -m tests.protocol.run $(RUNS) $(ARGS)

soak: $(STAMP) ## MINUTES of eight processes that do everything at once and are killed at random
	@$(BIN)/python -m tests.crash.soak --minutes $(MINUTES) $(ARGS)

storm: $(STAMP) ## MINUTES of timers that interrupt every operation at random moments; nothing leaked, nothing held
	@$(BIN)/python -m tests.storm.storm --minutes $(MINUTES) $(ARGS)

hostile: $(STAMP) ## CASES containers and backups of a stranger's, and as many hostile snapshots, and every command
	@OPENBLAS_NUM_THREADS=1 $(BIN)/python -m tests.hostile.fuzz --cases $(CASES) $(ARGS)
	@OPENBLAS_NUM_THREADS=1 $(BIN)/python -m tests.hostile.fuzz_trees --cases $(CASES) $(ARGS)

format: $(STAMP) ## put the sources in shape, and mend what ruff can mend safely
	@$(BIN)/python -m ruff check --quiet --fix-only .
	@$(BIN)/python -m ruff format .

bench-quick: $(STAMP) $(PEERS) ## side by side with its peers, small data, under two minutes
	@$(BIN)/python -m benchmarks.run --level quick $(ARGS)

bench: $(STAMP) $(PEERS) ## the whole suite, under twenty minutes; writes docs/performance.md
	@$(BIN)/python -m benchmarks.run --level full --json docs/performance/full.json $(ARGS)
	@$(BIN)/python -m benchmarks.page

bench-cold: $(STAMP) $(PEERS) ## reads that wait, beside its peers: caches dropped, a medium of 2 ms, little memory (FUSE, root); writes docs/performance.md
	@$(BIN)/python -m benchmarks.cold --json docs/performance/cold.json $(ARGS)
	@$(BIN)/python -m benchmarks.page

bench-profile: $(STAMP) ## where the time goes, with Linux's perf; writes docs/performance.md
	@$(BIN)/python -m benchmarks.profile --json docs/performance/profile.json $(ARGS)
	@$(BIN)/python -m benchmarks.page

bench-size: $(STAMP) $(PEERS) ## bytes on disk and rates, JSON to pictures, beside its peers, 20 minutes; writes docs/performance.md
	@$(BIN)/python -m benchmarks.size --level full --json docs/performance/size.json $(ARGS)
	@$(BIN)/python -m benchmarks.page

bench-datasets: $(STAMP) $(DATASETS) ## directories beside restic, borg, git, git-annex and DVC, half an hour; ARGS="--level million"; writes docs/performance.md
	@$(BIN)/python -m benchmarks.datasets --level full --json docs/performance/datasets.json $(ARGS)
	@$(BIN)/python -m benchmarks.page

bench-datasets-quick: $(STAMP) $(DATASETS) ## the same with 5,000 files, two minutes; prints the tables
	@$(BIN)/python -m benchmarks.datasets --level small $(ARGS)

bench-remote: $(STAMP) $(REMOTE) ## object storage beside boto3, rclone and DVC on a Ceph of its own (make ceph installs it), ARGS="--level large"; writes docs/performance.md
	@$(BIN)/python -m benchmarks.remote --level full --json docs/performance/remote.json $(ARGS)
	@$(BIN)/python -m benchmarks.page

visit: $(STAMP) $(PEERS) ## open, has, read, close as AiiDA does it, side by side with disk-objectstore
	@$(BIN)/python -m benchmarks.open_read_close $(ARGS)

walks: $(STAMP) ## how many calls, and returns to a file that was left, six operations take
	@$(BIN)/python -m benchmarks.walks

bench-aiida: $(STAMP) $(BENCHED) ## AiiDA's own calls, side by side with disk-objectstore; writes docs/aiida.md
	@$(BIN)/python -m benchmarks.aiida_table $(ARGS)

bench-scale: $(STAMP) ## 10^5 to 10^8 objects, 40 GB of disk, an hour; ARGS="--objects 1000000" for less; writes docs/performance.md
	@$(BIN)/python -m benchmarks.scale --json docs/performance/scale.json $(ARGS)
	@$(BIN)/python -m benchmarks.page

bench-packs: $(STAMP) ## commits where there are 10,000 and 100,000 packs, a minute; writes docs/performance.md
	@$(BIN)/python -m benchmarks.packs --json docs/performance/packs.json $(ARGS)
	@$(BIN)/python -m benchmarks.page

docs: $(SITE) ## the site in build/site: pages, commands and API, strictly
	@$(BIN)/python packaging/site.py
	@$(BIN)/zensical build --clean --strict

links: docs $(LINKS) ## all links of the site and of the package metadata, those to other sites too: needs the internet
	@.venv-links/bin/python packaging/links.py build/site

dist: $(STAMP) $(UV) ## source distribution and wheel in dist/, looked into and tried on each Python of PYTHONS
	@$(BIN)/python packaging/build.py dist
	@UV=$(UV) $(BIN)/python tests/install/packages.py dist $(PYTHONS)

zipapp: $(STAMP) ## one file in dist/ that runs wherever this version of Python is
	@$(BIN)/python packaging/build.py zipapp

test-zipapp: zipapp ## build that file, and play the session of README.md with it where nothing is installed
	@$(BIN)/python -m tests.install.zipapp

standalone: $(STAMP) ## a program in dist/ that needs no Python, by PyInstaller
	@$(BIN)/python packaging/build.py standalone

changelog: ## move the files of changes/ into CHANGELOG.md as a release; VERSION=0.2.0
	@test -n "$(VERSION)" || { echo "say which: make changelog VERSION=0.2.0" >&2; exit 1; }
	@'$(PYTHON)' packaging/changelog.py '$(VERSION)'

clean: ## remove .venv, caches and build products
	rm -rf $(VENV) .venv-* .bench .cache .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache build dist
	find . -name .git -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamp is missing: begin afresh (first run, an interrupted one, a moved directory). It is only older than
# pyproject.toml: install what changed.
$(STAMP): pyproject.toml $(BY_UV)
	@command -v '$(PYTHON)' >/dev/null || { \
	    echo "rsdos needs Python 3.11 or newer; '$(PYTHON)' is not there. Try: make PYTHON=/path/to/python3" >&2; exit 1; }
	@'$(PYTHON)' -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "rsdos needs Python 3.11 or newer; '$(PYTHON)' is $$('$(PYTHON)' -V 2>&1). Try: make PYTHON=python3.12" >&2; \
	    exit 1; }
	@'$(PYTHON)' -c 'import venv, ensurepip' 2>/dev/null || { \
	    echo "'$(PYTHON)' cannot make virtual environments: its venv or ensurepip module is missing." >&2; \
	    echo "On Debian and Ubuntu: apt install python3-venv. Or: make PYTHON=/path/to/another/python3" >&2; exit 1; }
	@echo "== setting up $(VENV) (once)"
	@test -e $@ || $(call environment,$(VENV))
	@$(call install,$(VENV)) --editable '.[test]'
	@touch $@

$(PEERS): Makefile $(BY_UV)
	@echo "== setting up .venv-peers (once)"
	@test -e $@ || $(call environment,.venv-peers)
	@$(call install,.venv-peers) disk-objectstore==1.5.0 rsdos==0.1.1 lmdb==3.0.0
	@touch $@

$(DOORS): Makefile pyproject.toml $(BY_UV)
	@echo "== setting up .venv-doors (once)"
	@test -e $@ || $(call environment,.venv-doors)
	@$(call install,.venv-doors) --editable '.[fsspec,fuse,remote,upath,zarr]' \
	    datasets duckdb hypothesis pandas pyarrow pytest pytest-asyncio pytest-xdist xarray
	@$(call install,.venv-doors) '$(TORCH)' || \
	    echo "$(TORCH) is not to be had: the tests of its door are skipped"
	@touch $@

# By uv, which links what it has unpacked: with pip it takes ten times as long. Torch is installed by pip, which knows
# where a mirror keeps builds for the CPU alone: the other ones take 4 GB.
$(EXAMPLES): Makefile pyproject.toml $(UV)
	@echo "== setting up .venv-examples (once)"
	@$(UV) venv --quiet --clear --python '$(PYTHON)' .venv-examples
	@$(UV) pip install --quiet --python .venv-examples --editable '.[zarr]' \
	    hypothesis ipykernel nbclient pandas pytest xarray
	@.venv-uv/bin/python -m pip --python .venv-examples/bin/python install --quiet --no-compile '$(TORCH)' || \
	    echo "$(TORCH) is not to be had: the example of torch is skipped"
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

$(SITE): $(STAMP)
	@$(call install,$(VENV)) --editable '.[site]'
	@touch $@

$(LINKS): Makefile $(BY_UV)
	@echo "== setting up .venv-links (once)"
	@test -e $@ || $(call environment,.venv-links)
	@$(call install,.venv-links) linkchecker==10.6.0
	@touch $@

# DVC has an environment of its own; restic, borg and git-annex are taken from the system. Those that are not there are named.
$(DATASETS): Makefile $(BY_UV)
	@echo "== setting up .venv-datasets (once)"
	@test -e $@ || $(call environment,.venv-datasets)
	@$(call install,.venv-datasets) dvc==3.67.1 || echo "DVC cannot be had; the others are compared"
	@touch $@

$(REMOTE): Makefile $(BY_UV)
	@echo "== setting up .venv-remote (once)"
	@test -e $@ || $(call environment,.venv-remote)
	@$(call install,.venv-remote) 'dvc[s3]==3.67.0' || echo "DVC cannot be had; the others are compared"
	@$(call install,.venv-remote) "boto3==$$(.venv-remote/bin/python -c 'import botocore; print(botocore.__version__)' || echo 1.44)"
	@touch $@

# The drop-in is installed as a user does it; rsdos itself from the checkout as it is now.
$(AIIDA): Makefile pyproject.toml drop-in/pyproject.toml $(shell find src/rsdos drop-in/disk_objectstore -name '*.py') $(BY_UV)
	@echo "== setting up .venv-aiida (once)"
	@test -e .venv-aiida/bin/verdi || $(call environment,.venv-aiida)
	@$(call install,.venv-aiida) 'aiida-core~=2.9.0'
	@$(call install,.venv-aiida) --force-reinstall --no-deps . ./drop-in
	@$(call install,.venv-aiida) . ./drop-in
	@touch $@
