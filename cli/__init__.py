"""The thin shell around Hydra: one-line errors, free text, sweeps. The only room that imports hydra."""

import sys

MINORS = range(11, 15)  # versions of Python 3 that requires-python admits, which not every installer heeds
if (minor := sys.version_info[1]) not in MINORS:
    expected = f"expected Python 3.{MINORS[0]} to 3.{MINORS[-1]}, got 3.{minor}"
    sys.stderr.write(f"{expected}; install into another environment: python3.{MINORS[-1]} -m venv .venv\n")
    sys.exit(2)
