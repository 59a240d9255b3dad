# Every target first makes its own set-up (.venv), and does nothing that is already done.
#
#   PYTHON=python3.12       the interpreter .venv is made with
#   PROFILE=laptop          quick (default), laptop or gpu: see notebooks/profiles/
#   NOTEBOOKS="01 02"       which notebooks to run (default: all)
#   TARGET=bell.wav         the sound to orchestrate
#   LAB=notebooks           JupyterLab opens the originals, not a copy of them
#   ARGS="-p SEED=1"        passed on to the command

PYTHON    ?= python3
PROFILE   ?= quick
NOTEBOOKS ?=
TARGET    ?=
LAB       ?= lab
ARGS      ?=

VENV := .venv
PY   := $(VENV)/bin/python
CLI  := $(PY) -m deeporch
DONE := $(VENV)/.done

# Threads that wait let other programs work:
export OMP_WAIT_POLICY ?= PASSIVE
PIP  := $(PY) -m pip install --disable-pip-version-check --no-compile
UV   := uv==0.13.9

.DEFAULT_GOAL := help
.PHONY: help setup run test lab orchestrate bench figures five-minutes lint counts coverage lock audit
.DELETE_ON_ERROR:

help: ## This list
	@echo 'make <target> [PYTHON=python3.12] [PROFILE=quick|laptop|gpu] [NOTEBOOKS="01 02"] [ARGS="…"]'
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' Makefile

setup: $(DONE) ## Make .venv and install everything in it (once, a few minutes)

run: $(DONE) ## Run the notebooks without a browser; results go to runs/
	@$(CLI) run --profile $(PROFILE) $(NOTEBOOKS) $(ARGS)

# The browser waits more than it works, so that its tests run beside the others; what they print comes last.
test: $(DONE) lint ## Check everything: style, modules, every notebook from top to bottom, widgets in a browser
	@status=0; log=$$(mktemp); \
	OMP_NUM_THREADS=1 $(PY) -m pytest tests/browser --durations=5 >"$$log" 2>&1 & browser=$$!; \
	trap 'kill $$browser; exit 130' INT TERM; \
	OMP_NUM_THREADS=1 $(PY) -m pytest tests notebooks --ignore=tests/browser --numprocesses=auto --maxprocesses=4 \
	    --dist=loadfile --no-loadscope-reorder --nbval-lax --nbval-current-env --nbval-cell-timeout=300 --durations=10 \
	    $(ARGS) || status=$$?; \
	wait $$browser || status=$$?; cat "$$log"; rm "$$log"; exit $$status

# What is run there changes nothing that git tracks: it is a copy. What is new is added, and what git knows as an older
# version is replaced; what was changed there stays. .jupyter says that nobody is asked about Jupyter's news, and that
# sounds of up to 100 MB, not 10, can be uploaded.
lab: $(DONE) ## Open a copy of the notebooks (lab/) in JupyterLab; LAB=notebooks opens the originals
	@test "$(LAB)" != lab || $(MAKE) --no-print-directory lab-copy
	@JUPYTER_CONFIG_PATH="$(CURDIR)/.jupyter" $(PY) -m jupyterlab --ServerApp.root_dir="$(CURDIR)" \
	    --LabApp.default_url=/lab/tree/$(LAB)/00_notes_and_mixtures.ipynb $(ARGS)

lab-copy:
	@mkdir -p lab && { cp -Rn notebooks/. lab 2>/dev/null || true; }
	@cd notebooks && find . -type f ! -path '*/__pycache__/*' | while read -r file; do \
	    if ! cmp -s "$$file" "../lab/$$file" && git cat-file -e "$$(git hash-object "../lab/$$file")" 2>/dev/null; then \
	        cp "$$file" "../lab/$$file" && echo "newer now: lab/$${file#./}"; fi; done

orchestrate: $(DONE) ## Orchestrate a sound: make orchestrate TARGET=bell.wav
	@test -n "$(TARGET)" || { echo "Name the sound: make orchestrate TARGET=bell.wav." >&2; exit 2; }
	@$(CLI) orchestrate "$(TARGET)" $(ARGS)

bench: $(DONE) ## Measure how fast mixtures and features are made, and networks trained
	@$(PY) tests/benchmarks/bench.py $(ARGS)
	@$(PY) tests/benchmarks/training.py

figures: $(DONE) ## Redraw every figure, their gallery and the README's table from figures/*.csv
	@$(CLI) figures $(ARGS)

five-minutes: $(DONE) ## Train a recognizer for five minutes and compare it with the study
	@$(CLI) train $(ARGS)

lint: $(DONE) ## Style (ruff), layers (import-linter), what is required and used (deptry), types (basedpyright)
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(VENV)/bin/lint-imports --no-cache
	@$(PY) -m deptry . --no-ansi
	@$(VENV)/bin/basedpyright

counts: $(DONE) ## How large the package, its folders, its files and the study's core are
	@$(PY) tests/test_structure.py

coverage: $(DONE) ## Branch coverage of the package by the tests, in percent
	@OMP_NUM_THREADS=1 $(PY) -m pytest tests --ignore=tests/browser --numprocesses=auto --maxprocesses=4 --dist=loadfile \
	    -q --cov --cov-report=term:skip-covered $(ARGS)

lock: $(DONE) ## Every package that requirements.txt brings, with hashes: requirements.lock
	@$(PY) -m uv pip compile -q --universal --generate-hashes --python-version 3.11 --custom-compile-command "make lock" \
	    requirements.txt -o requirements.lock

audit: $(DONE) ## Known vulnerabilities of what requirements.lock installs (asks PyPI)
	@$(PY) -m uv tool run pip-audit -r requirements.lock --require-hashes --disable-pip --strict $(ARGS)

# ---- Set-up ----------------------------------------------------------------------------------------------------------
# .done is written last, so that a set-up that was stopped starts again; .installing stays behind when it was stopped
# while packages were being unpacked, and then .venv is made afresh. uv unpacks packages in half of pip's time; where it
# cannot (an index that only pip knows), pip does. To compile all modules takes a minute and a half, and most are never
# imported: those that a notebook needs are compiled by importing them here, and so is numba's machine code, once for
# all, even where PYTHONDONTWRITEBYTECODE would have every notebook compile them again. The embedded SoundFont's notes
# are rendered here too, so that the first sound and the first orchestration need not wait for them.

WARM_UP := import importlib, pkgutil, ipykernel.kernelapp, papermill, torch, deeporch; \
    [importlib.import_module(module.name) for module in pkgutil.walk_packages(deeporch.__path__, "deeporch.") if "__main__" not in module.name]; \
    torch.optim.Adam([torch.zeros(1, requires_grad=True)]); deeporch.mixtures.mixing.warm_up(); \
    deeporch.load_library("soundfont")

$(DONE): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { echo \
	    "DeepOrchestration needs Python 3.11 or newer, and '$(PYTHON)' is not: name one with PYTHON=python3.12." >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo \
	    "'$(PYTHON)' cannot make virtual environments: on Debian or Ubuntu, apt install python3-venv." >&2; exit 1; }
	@{ test ! -e $(VENV)/.installing && $(PY) -m pip --version >/dev/null 2>&1; } || $(PYTHON) -m venv --clear $(VENV)
	@touch $(VENV)/.installing
	$(PIP) $(UV) && $(PY) -m uv pip install --python $(PY) -r requirements.txt || $(PIP) -r requirements.txt
	$(PIP) --no-deps -e .
	env -u PYTHONDONTWRITEBYTECODE $(PY) -c '$(WARM_UP)'
	@rm $(VENV)/.installing
	@touch $@

# ---- Real recordings for the tests -----------------------------------------------------------------------------------
# Where they lie beside the repository they are used, and then a test that does not find them fails.

SAMPLES := ../shared/data
define use_real
ifneq ($$(wildcard $(SAMPLES)/$(2)),)
test: export $(1) ?= $$(CURDIR)/$(SAMPLES)/$(2)
test: export DEEPORCH_REQUIRE_REAL ?= 1
endif
endef
$(eval $(call use_real,DEEPORCH_PHILHARMONIA_ROOT,philharmonia))
$(eval $(call use_real,DEEPORCH_OTHER_TAKES_ROOT,philharmonia_other_takes))
$(eval $(call use_real,DEEPORCH_TINYSOL_SAMPLE,tinysol_sample))
$(eval $(call use_real,DEEPORCH_TARGETS_ROOT,targets))
