# All targets run in .venv, which is created from pyproject.toml and constraints.txt.
PYTHON ?= python3
CORES ?= $(shell PYTHONPATH=src $(PYTHON) -m dkd.cores 2>/dev/null)
BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest --durations=10
PARALLEL := -n 2 --dist worksteal

.PHONY: run test slow-test browser-test cluster-test bench image lint

run: .venv/installed  ## run the workflow of params.yaml to the end
	$(BIN)/snakemake --cores $(CORES)

test: lint  ## linters and fast tests
	$(PYTEST) $(PARALLEL) -m "not slow and not gpu and not browser and not cluster"

slow-test: .venv/installed  ## slow tests, mostly of real runs
	$(PYTEST) $(PARALLEL) -m "slow and not gpu and not browser and not cluster"

browser-test: .venv/installed  ## the report in Chromium, which is installed if missing (Debian)
	@command -v chromedriver >/dev/null || { apt-get update --quiet=2 && apt-get install --yes --no-install-recommends chromium chromium-driver; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[workflow,test,browser]"
	$(PYTEST) -m browser

cluster-test: .venv/installed  ## the workflow on two nodes of a real Slurm, which is installed if missing (Debian, as root)
	@{ command -v slurmctld && command -v slurmd && command -v sbatch && command -v munged; } >/dev/null || { apt-get update --quiet=2 && apt-get install --yes --no-install-recommends slurmctld slurmd slurm-client munge; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[workflow,test,cluster]"
	$(PYTEST) -m cluster

bench: .venv/installed  ## the tables of docs/performance.md, in some 15 minutes
	for part in losses loader evaluate train_step index start; do $(BIN)/python -m benchmarks.$$part || exit 1; done

image:  ## the project in a container image, where docker is; TORCH_INDEX=ADDRESS takes torch from that package index
	@command -v docker >/dev/null || { echo "docker is missing: install it, or work without an image (make run)"; exit 1; }
	docker build --tag dkd --build-arg TORCH_INDEX=$(TORCH_INDEX) .

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-logo
	$(BIN)/snakefmt --check Snakefile
	$(BIN)/snakemake --lint

.venv/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; try: make PYTHON=python3.11")'
	@$(PYTHON) -c 'import ensurepip, venv' || { echo "The venv module is missing; on Debian: apt install python3-venv"; exit 1; }
	$(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[workflow,test]"
	touch $@

