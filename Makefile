# make demo   the main job: real Sentinel-2 pixels to a land-cover map (recipe 00)
# make test   every notebook in its quick budget, pytest, the site
# make lab    JupyterLab on the notebooks
# make docs   the site, in _site/
# make notebooks   run all notebooks in their full budget and keep their outputs (on real data where $SAT_RECIPES_DATA has it)
# make bench  the table of speed targets, ours and the peers side by side, in benchmarks/results/
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/ready
BENCH := .venv-bench
CHECK = @$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || { echo "sat_recipes needs Python 3.11 to 3.13: say make PYTHON=python3.12"; exit 1; }
export NO_ALBUMENTATIONS_UPDATE = 1

.PHONY: help demo test lab docs bench notebooks export readme clean
.DEFAULT_GOAL := help

help:
	@sed -n 's/^# \(make\)/\1/p' Makefile

# Made once, and again when the requirements change. torch 2.13.0 is left out: its CPU-only build does not go with torchvision.
$(READY): settings.ini setup.py pyproject.toml
	$(CHECK)
	@echo "Setting up .venv: a few minutes and about 7 GB, once"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --upgrade uv
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --compile-bytecode -e '.[dev]' 'torch!=2.13.0'
	@touch $@

demo: $(READY)
	@$(BIN)/python docs/notebooks.py demo nbs/recipes/00_quickstart.ipynb --out outputs/quickstart

test: $(READY)
	@echo "Every notebook, in its quick budget"
	@SAT_RECIPES_BUDGET=quick OMP_NUM_THREADS=1 $(BIN)/nbdev-test --n-workers 2 --timing
	@echo "The site"
	@$(BIN)/python docs/build.py
	@$(BIN)/pytest -q

lab: $(READY)
	@$(BIN)/jupyter lab nbs

docs: $(READY)
	@$(BIN)/python docs/build.py

# The peers have an environment of their own: nothing of ours depends on them.
$(BENCH)/ready: benchmarks/requirements.txt settings.ini setup.py pyproject.toml
	$(CHECK)
	@echo "Setting up $(BENCH): a few minutes and about 8 GB, once"
	@test -x $(BENCH)/bin/python || $(PYTHON) -m venv $(BENCH)
	@$(BENCH)/bin/python -m pip install --quiet --upgrade uv
	@$(BENCH)/bin/uv pip install --quiet --python $(BENCH)/bin/python --compile-bytecode -e . -r benchmarks/requirements.txt
	@touch $@

bench: $(BENCH)/ready
	@$(BENCH)/bin/python benchmarks/run.py

notebooks: $(READY) export
	@SAT_RECIPES_BUDGET=$${SAT_RECIPES_BUDGET:-full} $(BIN)/python docs/notebooks.py execute

export: $(READY)
	@$(BIN)/nbdev-export

readme: $(READY)
	@$(BIN)/python docs/notebooks.py readme

clean:
	rm -rf _site outputs dist build
