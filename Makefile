# `make help` lists the targets. You need Python 3.11 to 3.13, make, and a package index that pip can
# reach; the first target that needs it sets up everything else in .venv.

SHELL := /bin/sh
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

VENV := .venv
ifeq ($(OS),Windows_NT)
BIN := $(VENV)/Scripts
else
BIN := $(VENV)/bin
endif
PY := $(BIN)/python
PIP := $(PY) -m pip --disable-pip-version-check
PIP_INSTALL := $(PIP) install --quiet --require-hashes --no-compile
# pip compiles one module after the other; this uses every processor. Some templates do not compile.
COMPILE := $(PY) -m compileall -qq -j 0 $(VENV) || true

# The first interpreter that fits; name another with `make PYTHON=/path/to/python ...`.
FITS := import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
	$$p -c '$(FITS)' >/dev/null 2>&1 && echo $$p && break; done)

# Real images. Tests that need them are skipped without them, with the reason.
ifndef HEMATOVISION_DATA
REAL_IMAGES := $(shell cd ../shared/data 2>/dev/null && pwd)
ifneq ($(REAL_IMAGES),)
export HEMATOVISION_DATA := $(REAL_IMAGES)
endif
endif

# The datasets that the recipes train on.
DATA ?= $(HEMATOVISION_DATA)

# glibc returns the large memory blocks of a training step to the system and requests them again in
# every step. Keeping them makes training on the CPU 1.5 times as fast. Ignored elsewhere.
KEEP_MEMORY := MALLOC_MMAP_THRESHOLD_=4294967296 MALLOC_TRIM_THRESHOLD_=17179869184 \
	MALLOC_TOP_PAD_=268435456

# tests/conftest.py puts the longest files first.
PYTEST := $(PY) -m pytest -n 2 --dist loadfile --no-loadscope-reorder
COV :=

##@ Use
.PHONY: help
help: ## list the targets
	@awk 'BEGIN {FS = ":.*## "} \
	  /^##@ / {printf "\n%s\n", substr($$0, 5)} \
	  /^[a-z0-9-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' Makefile

.PHONY: demo
demo: $(VENV)/ready-project ## run the full pipeline on synthetic cells: import, train, evaluate, classify
	$(PY) -m hematovision demo

.PHONY: install
install: $(VENV)/ready-app $(VENV)/ready-serve $(VENV)/ready-scale $(VENV)/ready-formats $(VENV)/ready-eval $(VENV)/ready-slides ## install everything a user needs
	@printf '%s\n' 'Done. Activate it: . $(BIN)/activate   (Windows: $(VENV)\Scripts\activate)'

.PHONY: app
app: $(VENV)/ready-app ## start the web app: classify, review, train
	$(PY) -m hematovision app

.PHONY: serve
serve: $(VENV)/ready-serve ## start the HTTP server on port 8000
	$(PY) -m hematovision serve

##@ Develop
.PHONY: test
test: style ## style, layers, spelling, then types and all other tests
	$(PYTEST) -m "not slow and not install" --durations=20 $(COV)

.PHONY: coverage
coverage: COV := --cov
coverage: test ## the same tests, which must cover 98% of the package; takes longer

.PHONY: test-install
test-install: $(VENV)/ready-dev ## run the tests that install: requirement files, package, container
	$(PYTEST) -m "install and not slow"

.PHONY: test-slow
test-slow: $(VENV)/ready-dev ## run the tests that take minutes
	$(PYTEST) -m slow

.PHONY: browser-demo
browser-demo: $(VENV)/ready-project web/node_modules/.package-lock.json ## build the browser demo into docs/demo/; needs npm
	$(PY) web/build.py

web/node_modules/.package-lock.json: web/package.json web/package-lock.json
	cd web && npm ci

.PHONY: docs
docs: $(VENV)/ready-docs ## build the documentation site into site/; warnings and broken links fail
	$(PY) -m website

.PHONY: check
check: style docs ## check style, types, layers, spelling, workflows, the project's own rules, the site
	$(PY) -m mypy
	$(PY) -m pytest -q tests/test_house.py tests/test_project.py

# Quick checks. mypy takes a minute in one process; `test` runs it next to the other tests.
.PHONY: style
style: $(VENV)/ready-dev
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(BIN)/lint-imports --no-logo
	$(BIN)/codespell

.PHONY: format
format: $(VENV)/ready-dev ## format the code
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

.PHONY: hooks
hooks: $(VENV)/ready-dev ## check every commit with pre-commit, before it is made
	$(BIN)/pre-commit install

.PHONY: dist
dist: $(VENV)/ready-dev ## build the sdist and the wheel into dist/, and check both
	rm -rf dist
	$(PY) -m build --no-isolation
	$(PY) -m twine check --strict dist/*

.PHONY: release-check
release-check: ## check version, changelog and models: make release-check TAG=v0.3.0
	"$(PYTHON)" scripts/release.py check "$(TAG)"

.PHONY: bench
bench: $(VENV)/ready-dev ## measure speed and memory, and fill the tables of docs/results.md (hours)
	HEMATOVISION_DATA="$(DATA)" $(PY) benchmarks/decoders.py
	$(PY) benchmarks/near_duplicates.py "$(DATA)"
	@for program in commands startup throughput field_speed white_cell_time features training server; do echo "== $$program"; \
	  $(PY) -m benchmarks.$$program --data "$(DATA)" --fill --json runs/bench/$$program.json || exit 1; done
	$(PY) -m benchmarks.scale --once 100000 --ray-data --fill --json runs/bench/scale.json
	$(PY) -m benchmarks.node_removal --fill --json runs/bench/node_removal.json
	$(PY) -m benchmarks.resume

.PHONY: cross-lab
cross-lab: $(VENV)/ready-dev ## evaluate the recipes in labs left out of training (hours)
	$(PIP) install --quiet --no-deps --require-hashes -r recipes/hematology_backbone/requirements.txt
	$(PIP) install --quiet -r recipes/hematology_backbone/torch.txt
	$(KEEP_MEMORY) $(PY) -m benchmarks.cross_lab --data "$(DATA)" --work runs/recipes
	$(KEEP_MEMORY) $(PY) -m benchmarks.white_cells_across_labs --data "$(DATA)" --work runs/recipes

.PHONY: backbone
backbone: $(VENV)/ready-dev ## train the shipped weights from real images (hours)
	$(PIP) install --quiet --no-deps --require-hashes -r recipes/hematology_backbone/requirements.txt
	$(PIP) install --quiet -r recipes/hematology_backbone/torch.txt
	$(KEEP_MEMORY) $(PY) -m recipes.hematology_backbone.recipe --data "$(DATA)" --work runs/recipes

.PHONY: pbc8-backbone
pbc8-backbone: $(VENV)/ready-dev ## train the weights of pbc8 from the shipped ones (an hour)
	$(PIP) install --quiet -r recipes/hematology_backbone/torch.txt
	$(KEEP_MEMORY) $(PY) -m recipes.hematology_backbone.pbc8 --data "$(DATA)" --work runs/recipes

.PHONY: field-score
field-score: $(VENV)/ready-dev ## train the network of the field score (then run bundled-models)
	$(PIP) install --quiet -r recipes/hematology_backbone/torch.txt
	$(PY) -m recipes.whole_fields.recipe --data "$(DATA)" --work runs/recipes

.PHONY: bundled-models
bundled-models: $(VENV)/ready-dev ## train the bundled models from the shipped weights (minutes to an hour)
	$(PIP) install --quiet -r recipes/hematology_backbone/torch.txt
	$(PY) -m recipes.bundled_models.recipe --data "$(DATA)" --work runs/recipes

.PHONY: detector
detector: $(VENV)/ready-dev ## train the detector of blood cells in fields (an hour)
	$(PIP) install --quiet -r recipes/hematology_backbone/torch.txt
	$(KEEP_MEMORY) $(PY) -m recipes.field_detector.recipe --data "$(DATA)" --work runs/recipes
	$(PY) -m recipes.field_detector.bundle --data "$(DATA)" --work runs/recipes

.PHONY: white-cells
white-cells: $(VENV)/ready-dev ## train the classifier of white cells by kind (hours)
	$(PIP) install --quiet --no-deps --require-hashes -r recipes/hematology_backbone/requirements.txt
	$(PIP) install --quiet -r recipes/hematology_backbone/torch.txt
	$(KEEP_MEMORY) $(PY) -m recipes.white_cells.recipe --data "$(DATA)" --work runs/recipes
	$(KEEP_MEMORY) $(PY) -m recipes.white_cells.bundle --data "$(DATA)" --work runs/recipes

.PHONY: pins
pins: ## compile the requirement files from pyproject.toml
	PINS="$(PINS)" UV="$(or $(UV),uv)" sh scripts/compile-pins.sh

.PHONY: clean
clean: ## remove everything these targets made, including .venv
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis .coverage \
	  build dist site web/node_modules docs/demo/assets.js docs/demo/fields docs/demo/models \
	  docs/demo/vendor
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

# --- the environment -----------------------------------------------------------------------------
# A stamp file is updated when the files it depends on change; pip then installs only what changed.
# `make -j` must not run two installations in one environment.
.NOTPARALLEL:

$(VENV)/ready-python:
	@test -n "$(PYTHON)" || { \
	  echo "HematoVision needs Python 3.11, 3.12 or 3.13 with the modules venv and ensurepip, and none was found." >&2; \
	  echo "Install one (on Debian and Ubuntu: apt install python3 python3-venv), or name it: make PYTHON=/path/to/python" >&2; exit 1; }
	@"$(PYTHON)" -c '$(FITS)' 2>/dev/null || { \
	  echo "$(PYTHON) does not fit: Python 3.11, 3.12 or 3.13 with the modules venv and ensurepip is needed. Its version:" >&2; \
	  "$(PYTHON)" --version >&2; \
	  echo "Install one (on Debian and Ubuntu: apt install python3 python3-venv), or name it: make PYTHON=/path/to/python" >&2; exit 1; }
	"$(PYTHON)" -m venv $(VENV)
	@touch $@

$(VENV)/ready-train: requirements/train.txt requirements/build.txt $(VENV)/ready-python
	@echo "Installing the packages for training; the first time takes a few minutes."
	$(PIP_INSTALL) -r requirements/train.txt -r requirements/build.txt
	@$(COMPILE)
	@touch $@

$(VENV)/ready-project: pyproject.toml $(VENV)/ready-train
	$(PIP) install --quiet --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/ready-%: requirements/%.txt $(VENV)/ready-project
	$(PIP_INSTALL) -r $<
	@$(COMPILE)
	@touch $@
