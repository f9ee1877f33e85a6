# Everything runs in .venv, made from the project's own files; nothing else has to be set up.
PYTHON ?= python3
CORES ?= $(shell nproc)
BIN := .venv/bin

.PHONY: run test test-all lint

run: .venv/installed  ## run the workflow of params.yaml to the end
	$(BIN)/snakemake --cores $(CORES)

test: lint  ## lint and the tests of every day
	$(BIN)/python -m pytest -m "not slow and not gpu"

test-all: lint  ## all tests but those that need a GPU
	$(BIN)/python -m pytest -m "not gpu"

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile pipeline/rules
	$(BIN)/snakemake --lint

.venv/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; try: make PYTHON=python3.11")'
	@$(PYTHON) -c 'import ensurepip, venv' || { echo "The venv module is missing; on Debian: apt install python3-venv"; exit 1; }
	$(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[workflow,test]"
	touch $@

