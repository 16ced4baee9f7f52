# make demo | test | oracles | lint | bench | docs | clean
#
# Everything lives in .venv; nothing outside the repository is touched, except that
# `make test` adds Debian packages (a broker, a sound server …) when it may.
# Extra arguments: make demo ARGS="--seconds 10 --json", make test ARGS="-k camera".

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help demo test oracles lint bench docs clean

help:
	@echo 'make demo    stream video, audio and sensors through models, print the events'
	@echo 'make test    run the tests'
	@echo 'make oracles install PyTorch and Keras, which the tests of numerics compare with'
	@echo 'make lint    check style and types'
	@echo 'make bench   measure against peers, refresh docs/benchmarks.md'
	@echo 'make docs    build the documentation into site/'
	@echo 'make clean   remove .venv and everything that was built'

demo: $(VENV)/.has-demo
	@exec $(BIN)/edgeml demo $(ARGS)

test: $(VENV)/.has-test
	@scripts/install-system-packages
	@exec $(BIN)/pytest $(ARGS)

oracles: $(VENV)/.has-test $(VENV)/.has-oracles

lint: $(VENV)/.has-test $(VENV)/.has-lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/.has-test $(VENV)/.has-oracles
	@exec $(BIN)/python scripts/bench $(ARGS)

docs: $(VENV)/.has-test $(VENV)/.has-docs
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

clean:
	rm -rf $(VENV) build dist site *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# An extra is installed once, and again only after pyproject.toml changed.
$(VENV)/.has-%: pyproject.toml | $(BIN)/python
	@echo 'installing edgeml-runtime[$*] into $(VENV)'
	@$(PIP) install --editable '.[$*]'
	@touch $@

# What the tests need holds what the demo needs.
$(VENV)/.has-test: pyproject.toml | $(BIN)/python
	@echo 'installing edgeml-runtime[test] into $(VENV)'
	@$(PIP) install --editable '.[test]'
	@touch $(VENV)/.has-demo $@

$(BIN)/python:
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(v < (3, 11) and "edgeml needs Python 3.11 or newer, and $(PYTHON) is %d.%d: make PYTHON=python3.12 …" % v)'
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo 'Python cannot make a virtual environment yet: sudo apt install python3-venv' >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)
