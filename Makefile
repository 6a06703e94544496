# The verbs of this project; everything else is configured in pyproject.toml.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: demo test soak check lab bench docs clean

demo: $(READY)  ## fly a Cessna for 10 s, watched by an outside viewer, and draw what it saw
	$(BIN)/hermes demo

test: check  ## everything that must hold: static checks, tests, notebooks
	$(BIN)/pytest tests -p no:nbval
	$(BIN)/pytest notebooks --nbval-lax --nbval-cell-timeout 120 -p no:cacheprovider

soak: $(READY)  ## the long versions of the load and fault tests
	HERMES_STRICT_TICKS=1 $(BIN)/pytest tests -p no:nbval --hypothesis-profile wandering -m soak

check: $(READY)  ## lint, format, types, import contracts
	$(BIN)/ruff check --quiet
	$(BIN)/ruff format --check --quiet
	$(BIN)/mypy
	$(BIN)/lint-imports

lab: $(READY)  ## open JupyterLab on the first notebook
	JUPYTER_CONFIG_PATH="$(CURDIR)/notebooks/.jupyter$${JUPYTER_CONFIG_PATH:+:$$JUPYTER_CONFIG_PATH}" \
	  $(BIN)/jupyter lab notebooks $(if $(filter 0,$(shell id -u)),--allow-root)

bench: $(READY)  ## measure what the design promises, as tables and JSON
	$(BIN)/python tests/benchmarks/engine.py
	$(BIN)/python tests/benchmarks/wire.py

docs: $(READY)  ## bring the generated parts of docs/protocol.md up to date with the code
	$(BIN)/python docs/generate.py

clean:  ## remove what the other verbs have made
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis hermes-demo.png

$(READY): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Hermes needs Python 3.11 or newer: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable '.[notebook,examples,dev]'
	touch $(READY)
