# The two commands of the README are `make demo` and `make test`; each does all it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO ?= demo

.PHONY: demo test lint format bench bench-short clean

$(VENV)/.made:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "hitsduck needs Python 3.11 or later: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/.library: pyproject.toml constraints.txt $(VENV)/.made
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	touch $@

$(VENV)/.test: pyproject.toml constraints.txt $(VENV)/.library
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test]'
	touch $@

$(VENV)/.lint: pyproject.toml constraints.txt $(VENV)/.library
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test,lint]'
	touch $@

$(VENV)/.bench-short: pyproject.toml constraints.txt $(VENV)/.library
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[bench-short]'
	touch $@

$(VENV)/.bench: pyproject.toml constraints.txt $(VENV)/.library
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[bench]'
	touch $@

demo: $(VENV)/.library  ## simulate three small reruns, write a report, name it
	$(BIN)/hitsduck demo $(DEMO)

test: $(VENV)/.test  ## run the tests
	sh .ci/system_packages
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder $(PYTEST_OPTIONS)

lint: $(VENV)/.lint  ## formatting, linting, types, SQL
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/sqlfluff lint --disable-progress-bar sql
	$(BIN)/python .ci/check_view_columns.py

format: $(VENV)/.lint
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/sqlfluff fix --disable-progress-bar sql

bench: $(VENV)/.bench  ## time hitsduck beside its peers
	$(BIN)/python -m benchmarks

bench-short: $(VENV)/.bench-short  ## the races of a few minutes; fails under half of a goal
	$(BIN)/python -m benchmarks --short

clean:
	rm -rf $(VENV) demo build dist
