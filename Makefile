# make train | test | fuzz | lint | sample | board | lint-js: each from a fresh clone, with nothing installed but Python 3.11 to
# 3.13 and, for the last, npm.

PYTHON ?= python3
BIN := .venv/bin

.PHONY: train sample board test fuzz lint lint-js clean

train: .venv/run
	$(BIN)/python train.py

sample: .venv/run
	$(BIN)/python sample.py

board: .venv/run
	$(BIN)/tensorboard --logdir runs

test: .venv/dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2 --dist loadfile

fuzz: .venv/dev
	$(BIN)/python -m bench.fuzz

lint: .venv/dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

lint-js: attention_tab/node_modules
	npm run --silent --prefix attention_tab lint

attention_tab/node_modules: attention_tab/package.json
	npm install --silent --no-package-lock --prefix attention_tab
	touch $@

clean:
	rm -rf .venv build attention_tab/node_modules *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis

# The marker of a finished installation; made anew when the requirements change.
.venv/run: pyproject.toml constraints.txt | .venv/bin/python
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	touch $@

.venv/dev: .venv/run
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,oracles,bench,joblib,submitit,optuna]'
	touch $@

.venv/bin/python:
	$(PYTHON) -m venv .venv
