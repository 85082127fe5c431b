# Two commands set viva up, each on a machine with only Python, make and a C compiler:
#   make quickstart    the main job: a model from nothing, and a report
#   make test          the tests
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
MINUTES ?= 5
STAMP := $(VENV)/installed
# A process a core that may be used, up to eight: each reads torch and transformers for itself.
SPREAD = --numprocesses $(shell nproc || sysctl -n hw.ncpu) --maxprocesses 8 --dist loadfile

.PHONY: quickstart test lint slow clean

quickstart: $(STAMP)
	$(BIN)/viva quickstart --minutes $(MINUTES)

test: $(VENV)/tested-with
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/python -m pytest $(SPREAD)

lint: $(VENV)/tested-with
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/ruff format --check src tests benchmarks

slow: $(VENV)/tested-with
	$(BIN)/python -m pytest -m slow

# The tested versions, from constraints.txt; pyproject.toml admits newer ones.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable .
	touch $@

$(VENV)/tested-with: $(STAMP)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@

clean:
	rm -rf $(VENV) runs
