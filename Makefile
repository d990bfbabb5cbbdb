# make train | sample | board | test | test-all | test-hydra | fuzz | stress | lint | lint-js: each from a fresh clone, with
# nothing installed but Python 3.11 to 3.14 and, for the last, npm.

PYTHON ?= python3
BIN := .venv/bin

# make train TORCH=cpu: the first time, PyTorch's build for CPUs from its own index (cu130: the one for CUDA 13.0).
INSTALL := $(BIN)/python -m pip install --constraint constraints.txt $(if $(TORCH),\
  --extra-index-url https://download.pytorch.org/whl/$(TORCH) $(shell grep ^torch== constraints.txt)+$(TORCH))

# Many tests start a command and wait for it, so that two at once take little more than half the time.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2 --dist loadfile

.PHONY: train sample board test test-all test-hydra fuzz stress lint lint-js clean

train: .venv/installed
	$(BIN)/python train.py

sample: .venv/installed
	$(BIN)/python sample.py

board: .venv/installed
	$(BIN)/tensorboard --logdir runs --samples_per_plugin=images=200,text=200

test: .venv/dev
	$(PYTEST) -m "not slow and not stress"

test-all: .venv/dev
	$(PYTEST)

# The command line with the Hydra of Python 3.14, which older ones can run, too.
test-hydra: .venv/dev
	$(BIN)/python -m pip install --no-deps --upgrade --target .venv/hydra $(shell sed -n 's/; python_version >= "3.14"//p' constraints.txt)
	PYTHONPATH=$(CURDIR)/.venv/hydra $(PYTEST) tests/cli tests/commands --ignore tests/commands/test_torchrun.py

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
	rm -rf .venv .venv.unfinished build attention_tab/node_modules *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis

# The marker of a finished installation; made anew when the requirements change. What a failure or Ctrl-C left half-made is made from
# nothing, by another PYTHON= if need be, as is what an older Makefile made (.venv/run); an environment made by hand is kept.
.venv/installed: pyproject.toml constraints.txt
	@{ test -d .venv -a ! -e .venv.unfinished -a ! -e .venv/run || { touch .venv.unfinished && $(PYTHON) -m venv --clear .venv; }; } && \
	  $(INSTALL) --editable . && rm -f .venv.unfinished || { \
	  echo 'not installed; needed: $(shell grep ^requires-python pyproject.toml), its venv (Debian, Ubuntu: apt install python3-venv), pip in' \
	    '.venv, the package index; with another Python: rm -r .venv, then make $(MAKECMDGOALS) PYTHON=python3.13'; exit 1; } >&2
	touch $@

.venv/dev: .venv/installed
	$(INSTALL) --editable '.[dev,bench,analysis,joblib,submitit,optuna,notebook]'
	touch $@
