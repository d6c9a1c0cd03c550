# Every target does its own set-up: a virtual environment in .venv with the versions of constraints.txt.
# Arguments of a program go into ARGS, for example: make sweep ARGS="--help"

VENV := .venv
PY := $(VENV)/bin/python
EXTRAS := programs,reference,sweep,dask,llm,notebooks,docs,dev
WORKERS ?= $(shell n=$$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1); if [ "$$n" -ge 2 ]; then echo 2; else echo 1; fi)

# Parallelise by processes: two threads of torch on two busy cores are slower than one.
export OMP_NUM_THREADS := 1
export MKL_NUM_THREADS := 1
export TOKENIZERS_PARALLELISM := false
unexport HYDRA_FULL_ERROR

.PHONY: help sweep report test lint claims figures notebooks docs benchmark llm llm-real clean
.DEFAULT_GOAL := help

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

sweep: $(VENV)/.core ## Sweep coverage and sample size, and write the report (ARGS="...")
	@$(PY) -m experiments.coverage_sweep $(ARGS)

report: sweep ## Write the page of the default sweep, outputs/coverage_sweep/report.html (ARGS="...")
	@$(PY) -m experiments.report

test: lint ## Check style, types and imports, then run every test
	HF_HUB_OFFLINE=1 $(PY) -m pytest -n $(WORKERS) $(ARGS)

lint: $(VENV)/.dev ## Check style, types and imports only
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(VENV)/bin/lint-imports --no-logo

claims: $(VENV)/.dev ## Test every claim in full, write docs/claims.md, run the slow tests (ARGS="...")
	@$(PY) -m experiments.claims $(ARGS)
	@$(PY) -m pytest -m slow

figures: $(VENV)/.dev ## Make every picture of the documentation again (ARGS="rates league")
	@$(PY) docs/figures/make.py $(ARGS)

notebooks: $(VENV)/.dev ## Run the notebooks and keep them with their outputs (ARGS="quickstart")
	@$(PY) notebooks/make.py $(ARGS)

docs: $(VENV)/.dev ## Build the documentation as a site, build/site/index.html
	@$(PY) -m sphinx -W --keep-going -q -b html docs build/site
	@echo build/site/index.html

benchmark: $(VENV)/.dev ## Run every benchmark in benchmarks/ (ARGS="...")
	@for script in benchmarks/[!_]*.py; do \
	    echo "== $$script"; $(PY) -m "benchmarks.$$(basename "$$script" .py)" $(ARGS) || exit 1; \
	done

llm: $(VENV)/.dev ## Run the language-model pipeline (ARGS="...")
	@$(PY) -m llm.run $(ARGS)

llm-real: $(VENV)/.dev ## Compare methods on a real model (SmolLM2) with a known reward (ARGS="...")
	@$(PY) -m llm.run model=smollm2-135m run_dir=runs/llm-real $(ARGS)

clean: ## Remove the environment and every cache; results stay
	rm -rf $(VENV) build dist ./*.egg-info .pytest_cache .hypothesis .mypy_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# --- set-up: a stamp for each set of packages; what is up to date installs nothing ----------------

# $(call install,what it is,requirement)
define install
	@start=$$(date +%s); printf '%s ... ' "Installing $(1) into $(VENV)"; \
	$(PY) -m pip install -qq --disable-pip-version-check -c constraints.txt -e '$(2)' || exit 1; \
	printf 'done in %s s\n' "$$(($$(date +%s) - start))"; touch $@
endef

# Shell: print the first Python that is new enough and can make an environment.
find_python = for python in $(PYTHON) python3 python3.13 python3.12 python3.11; do \
	    if "$$python" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; \
	    then echo "$$python"; break; fi; done

$(VENV)/.core: pyproject.toml constraints.txt
	@$(PY) -m pip --version >/dev/null 2>&1 || { \
	    python=$$($(find_python)); \
	    if [ -z "$$python" ]; then \
	        echo "No Python 3.11 or newer with venv and ensurepip was found; install one, or name it: make PYTHON=/path/to/python3"; \
	        exit 1; \
	    fi; \
	    start=$$(date +%s); printf '%s ... ' "Creating $(VENV) with $$("$$python" --version) ($$python)"; \
	    "$$python" -m venv --clear $(VENV) || exit 1; \
	    printf 'done in %s s\n' "$$(($$(date +%s) - start))"; }
	$(call install,the core packages,.[programs])

$(VENV)/.dev: $(VENV)/.core
	$(call install,everything for tests,.[$(EXTRAS)])
