# make train | test | lint | sample | board: each from a fresh clone, with nothing installed but Python 3.11 to 3.13.

PYTHON ?= python3
BIN := .venv/bin

.PHONY: train sample board test lint clean

train: .venv/run
	$(BIN)/python train.py

sample: .venv/run
	$(BIN)/python sample.py

board: .venv/run
	$(BIN)/tensorboard --logdir runs

test: .venv/dev
	$(BIN)/python -m pytest

lint: .venv/dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

clean:
	rm -rf .venv build *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis

# The marker of a finished installation; made anew when the requirements change.
.venv/run: pyproject.toml constraints.txt | .venv/bin/python
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	touch $@

.venv/dev: .venv/run
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,oracles,bench]'
	touch $@

.venv/bin/python:
	$(PYTHON) -m venv .venv
