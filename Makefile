# Each target sets up .venv by itself: once, and again only when pyproject.toml or a lock changes.
PYTHON ?= python3
BIN := .venv/bin
PORT ?= 8501
# Two workers; a file's tests stay together, for they share what they made, and files come in their order.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --durations 25

.DEFAULT_GOAL := help
.PHONY: help app test test-browser test-federation test-notebooks federation lint format notebooks save-notebooks record lock clean

help:  ## List the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

.venv/installed: pyproject.toml scripts/install.py $(wildcard locks/*.txt)
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "Installing into .venv: torch is large, so the first time takes a minute or two"
	$(BIN)/python scripts/install.py
	touch $@

.venv/installed-flower: .venv/installed
	$(BIN)/python scripts/install.py flower
	touch $@

app: .venv/installed  ## Open the dashboard on localhost (PORT=8501)
	$(BIN)/streamlit run app/main.py --server.port $(PORT)

test: .venv/installed  ## Run the tests (without the browser's)
	$(PYTEST) -m 'not browser and not notebook and not federation'

test-browser: .venv/installed  ## Drive the dashboard in headless Chromium
	$(PYTEST) -m browser

test-notebooks: .venv/installed  ## Execute every notebook
	$(PYTEST) --dist load --maxschedchunk 1 -m notebook

test-federation: .venv/installed-flower  ## Flower: three engines, one result; and nodes that fail
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --durations 25 -m federation  # one worker: nodes have deadlines

federation: .venv/installed-flower  ## A SuperLink and three SuperNodes on loopback, with TLS: five rounds
	$(BIN)/python scripts/federation.py

lint: .venv/installed-flower  ## Linters and type checker
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/installed  ## Put the code into shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

notebooks: .venv/installed  ## Open JupyterLab on the notebooks' index
	$(BIN)/jupyter lab notebooks/index.ipynb

save-notebooks: .venv/installed  ## Execute the notebooks whose code has changed and save their outputs (needs Chromium)
	PYTHONPATH=. $(BIN)/python scripts/save_notebooks.py

record: .venv/installed  ## Make the recorded runs again, into data/runs (two hours)
	$(BIN)/deltamask sweep experiments/headline.toml experiments/options.toml experiments/noniid-exact.toml
	$(BIN)/python scripts/ship_runs.py

lock: .venv/installed  ## Resolve pyproject.toml's ranges anew into locks/*.txt (installs nothing)
	PYTHONPATH=. $(BIN)/python scripts/lock.py

clean:  ## Remove what was installed and built; runs and caches stay
	rm -rf .venv build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
