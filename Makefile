# make train | sample | board | test | test-all | fuzz | stress | lint | lint-js: each from a fresh clone, with nothing installed
# but Python 3.11 to 3.13 and, for the last, npm.

PYTHON ?= python3
BIN := .venv/bin

# Many tests start a command and wait for it, so that two at once take little more than half the time.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2 --dist loadfile

.PHONY: train sample board test test-all fuzz stress lint lint-js clean

train: .venv/run
	$(BIN)/python train.py

sample: .venv/run
	$(BIN)/python sample.py

board: .venv/run
	$(BIN)/tensorboard --logdir runs

test: .venv/dev
	$(PYTEST) -m "not slow and not stress"

test-all: .venv/dev
	$(PYTEST)

# 10,000 random examples of the properties in tests/fuzz.
fuzz: .venv/dev
	HYPOTHESIS_PROFILE=fuzz $(PYTEST) --dist worksteal tests/fuzz

# 100 kills, faults of disks, 50,000 steps with all logging on. Fewer: make stress KILLS=10 STEPS=5000
stress: .venv/dev
	$(PYTEST) --dist worksteal -m stress tests/stress

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
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,bench,joblib,submitit,optuna]'
	touch $@

.venv/bin/python:
	$(PYTHON) -m venv .venv
