# make demo   the main job: a sweep over a small network, with a drawing of its graph
# make test   set-up and the default test suite
# make lint types test-slow   more of what CI runs
# make test-clusters   tests against a real SLURM, Docker, podman and Kubernetes, started on this machine; skips those
#                      that cannot be (tests/clusters/packages installs what they need)
# make docs   the documentation site, in build/site
# make bench   the benchmarks
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check --quiet --constraint .ci/constraints.txt
FILES := pyproject.toml .ci/constraints.txt
MYPYS := $(shell sed -n 's/^mypy==//p' .ci/mypy-versions.txt)

.PHONY: demo test test-slow test-clusters lint types docs bench format clean mypy-versions

demo: $(VENV)/.demo
	$(BIN)/python examples/digits_sweep.py

test: $(VENV)/.dev
	$(BIN)/python -m pytest

test-slow: $(VENV)/.dev mypy-versions
	$(BIN)/python -m pytest -m slow

# One engine after the other: the tests of one share it, and they wait more than they work. On a machine that is busy for
# a while an engine may be late by more than a test waits: what has failed is tried once more.
test-clusters: $(VENV)/.dev
	$(BIN)/python -m pytest -m cluster -n 0 tests/clusters || $(BIN)/python -m pytest -m cluster -n 0 --last-failed tests/clusters

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev
	$(BIN)/mypy
	$(BIN)/pyright

docs: $(VENV)/.dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet --config-file docs/site/mkdocs.yml

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.bench
	$(BIN)/python benchmarks/overhead.py
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/static.py
	$(BIN)/python benchmarks/durability.py
	$(BIN)/python benchmarks/throughput.py
	$(BIN)/python benchmarks/suggest.py
	$(BIN)/python benchmarks/halving.py
	$(BIN)/python benchmarks/quality.py

$(VENV)/.python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "metta-sweep needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV)
	touch $@

# The CPU build of PyTorch first: an unpinned torch may bring gigabytes of CUDA libraries. Set TORCH_INDEX to the
# address of a wheel index to try it second. A torch that is there already is kept.
$(VENV)/.torch: | $(VENV)/.python
	$(BIN)/python -c 'import torch' 2>/dev/null \
	  || $(PIP) 'torch==2.13.0+cpu' 2>/dev/null \
	  || { test -n "$(TORCH_INDEX)" && $(PIP) --extra-index-url "$(TORCH_INDEX)" 'torch==2.13.0'; } \
	  || $(PIP) 'torch==2.13.0'
	touch $@

$(VENV)/.demo: $(FILES) | $(VENV)/.torch
	$(PIP) --editable '.[demo]'
	touch $@

$(VENV)/.dev: $(FILES) | $(VENV)/.torch
	$(PIP) --editable '.[dev]'
	touch $@ $(VENV)/.demo

# Older versions of mypy, which the plugin supports, too: each in a folder of its own.
mypy-versions: $(MYPYS:%=$(VENV)/mypy/%)

$(VENV)/mypy/%: | $(VENV)/.dev
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --target $@ mypy==$*

$(VENV)/.bench: $(FILES) | $(VENV)/.dev
	$(PIP) --editable '.[bench]'
	touch $@

clean:
	rm -rf $(VENV) build dist demo .mypy_cache .pytest_cache .ruff_cache .hypothesis
