# The two commands of the README (`make demo`, `make test`) and the parts they are made of.
# Everything lives in .venv; a stamp keeps a second run from installing again.
VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.stamp-

.PHONY: demo test lint types layers unit install docs clean

demo: $(STAMP)run
	@$(VENV)/bin/fleetscan sweep -i inventory/demo.yml --store $(or $(STORE),fleetscan.db)

test: lint types layers unit

lint: $(STAMP)dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

types: $(STAMP)dev
	$(VENV)/bin/mypy

layers: $(STAMP)dev
	$(VENV)/bin/lint-imports

unit: $(STAMP)dev
	$(VENV)/bin/pytest -n 2 --cov --cov-report=term

$(VENV)/bin/python:
	python3 -m venv $(VENV)
	$(PY) -m pip install --quiet --upgrade pip

$(STAMP)run: pyproject.toml | $(VENV)/bin/python
	$(PY) -m pip install --quiet --editable .
	@touch $@

$(STAMP)dev: pyproject.toml | $(VENV)/bin/python
	$(PY) -m pip install --quiet --editable '.[postgresql,dask]' --group lint --group test
	@touch $@ $(STAMP)run

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache
