# The two commands of the README (`make demo`, `make test`) and the parts they are made of.
# Everything lives in .venv; a stamp keeps a second run from installing again.
VENV := .venv
BIN := $(VENV)/bin
DEMO_STORE ?= fleetscan.db

.PHONY: demo test check lint types layers servers unit docs clean

demo: $(VENV)/.installed
	@$(BIN)/fleetscan sweep -i inventory/demo.yml --store $(DEMO_STORE); code=$$?; \
	echo "exit code $$code (0 clean, 1 findings, 2 wrong use, 3 incomplete; the demo fleet has findings)"; \
	test $$code -eq 1

test: check unit

check: lint types layers

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-dev
	$(BIN)/mypy

layers: $(VENV)/.installed-dev
	$(BIN)/lint-imports

unit: $(VENV)/.installed-dev servers
	$(BIN)/pytest -n 2 --dist loadgroup --cov --cov-report=term

servers:
	tests/install-servers.sh

docs: $(VENV)/.installed
	$(BIN)/python docs/generate_reference.py

$(BIN)/python:
	python3 -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip

$(VENV)/.installed: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[postgresql,dask]' --group lint --group test
	@touch $@ $(VENV)/.installed

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
