# `make demo` and `make test` do all the set-up themselves; another Python than python3: make test PYTHON=python3.12

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help demo test lint clean

help:
	@echo "make demo    convert a real brain, serve it and open it in the viewer (DEMO=--exit stops after the check)"
	@echo "make test    lint, then every test (TESTS=tests/formats: only those; TESTS='-n 2': two at a time)"
	@echo "make lint    ruff and mypy"
	@echo "make clean   remove what the other commands made: the virtual environment, caches, the demo's data"

demo: $(VENV)/installed-demo
	$(BIN)/glassine demo $(DEMO)

test: lint
	$(BIN)/pytest $(TESTS)

lint: $(VENV)/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) build dist *.egg-info demo-data benchmarks/.work .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(BIN)/python:
	@command -v $(PYTHON) > /dev/null || { echo "glassine needs Python 3.11 or newer, and there is no $(PYTHON) here: install one, or name it: make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "glassine needs Python 3.11 or newer, and $(PYTHON) is $$($(PYTHON) -V 2>&1): name a newer one: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2> /dev/null || { echo "$(PYTHON) cannot make virtual environments: install its venv package (Debian, Ubuntu: apt install python3-venv)" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

# --prefer-binary: an older wheel rather than a newer source that needs a compiler.
$(VENV)/installed-%: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --prefer-binary --editable '.[$*]'
	@touch $@
