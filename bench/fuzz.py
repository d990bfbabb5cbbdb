"""Whether strange input is used or refused in one line: the properties in tests/fuzz, each with many random cases.

    python -m bench.fuzz [--cases N] [--seed N] [--output bench/results]

Cases are counted where they are run, when they have held. Exit code 1: a property failed, or fewer cases held than were
asked for. A failure is kept with what repeats it; so does its seed, with the same versions and number of cases.
"""

import argparse
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from xml.etree import ElementTree

import torch

from bench.peers import commit, version
from bench.report import Row, keep, table, where
from bench.stopwatch import ROOT
from training.device import machine

CASES = 10_000
LONGEST = 4000  # characters of a failure that are kept
PACKAGES = ("hypothesis", "hydra-core", "omegaconf", "numpy")


@dataclass(frozen=True)
class Property:
    """What came of one."""

    name: str
    cases: int  # that were run and held
    seconds: float
    failure: str | None  # with what repeats it


@dataclass(frozen=True)
class Findings:
    """What fuzz.json holds."""

    machine: dict[str, str | int]
    commit: str  # of this checkout, or why there is none
    versions: dict[str, str | None]
    seed: int
    asked: int  # cases
    cases: int  # that were run and held
    seconds: float
    properties: list[Property]
    others: int  # tests of single cases
    trial: bool  # of the command itself: fewer cases

    @property
    def holds(self) -> bool:
        return self.cases >= self.asked and not any(each.failure for each in self.properties)


def properties(report: Path) -> list[Property]:
    """Those in the report of pytest, and other tests with no cases of their own. A crash leaves no report."""
    if not report.exists():
        return [Property("pytest", 0, 0.0, "it crashed; the same seed repeats it")]
    found = []
    for test in ElementTree.parse(report).iter("testcase"):
        room, name = (test.get(part, "").rpartition(".")[2].removeprefix("test_") for part in ("classname", "name"))
        cases = test.find("properties/property[@name='cases']")
        failures = [shortened(each.text or "failed") for kind in ("failure", "error") for each in test.findall(kind)]
        found.append(
            Property(
                f"{room}: {name}".replace("_", " "),
                cases=0 if cases is None else int(cases.get("value", 0)),
                seconds=float(test.get("time", 0)),
                failure="\n".join(failures) or None,
            )
        )
    return found


def shortened(failure: str) -> str:
    """What went wrong and, at the end, what repeats it."""
    told = "\n".join(line[1:].strip() for line in failure.splitlines() if line.startswith("E ")) or failure
    return told if len(told) <= LONGEST else f"{told[: LONGEST // 2]}\n[...]\n{told[-LONGEST // 2 :]}"


def find(cases: int, seed: int, tests: Path = ROOT / "tests" / "fuzz") -> Findings:
    """Run the properties in the folder `tests`, and show how far they are."""
    revision, start = commit(ROOT), time.perf_counter()  # the commit as it was at the start
    with TemporaryDirectory() as folder:
        report = Path(folder, "report.xml")
        command = [sys.executable, "-m", "pytest", str(tests), "-c", "pyproject.toml", "-p", "no:cacheprovider"]
        command += [f"--junitxml={report}", f"--hypothesis-seed={seed}"]
        subprocess.run(command, cwd=ROOT, env=os.environ | {"FUZZ_CASES": str(cases)}, check=False)
        found = properties(report)
    return Findings(
        machine=machine(torch.device("cpu")),
        commit=revision,
        versions={package: version(package) for package in PACKAGES},
        seed=seed,
        asked=cases,
        cases=sum(each.cases for each in found),
        seconds=time.perf_counter() - start,
        properties=[each for each in found if each.cases or each.failure],
        others=sum(not (each.cases or each.failure) for each in found),
        trial=cases < CASES,
    )


def markdown(found: Findings) -> str:
    """What fuzz.md holds."""
    trial = f"**A trial of the command: fewer than {CASES:,} cases.**\n\n"
    rows: list[Row] = [
        {
            "property": each.name,
            "cases": f"{each.cases:,}",
            "seconds": f"{each.seconds:.1f}",
            "": "failed" if each.failure else "held",
        }
        for each in found.properties
    ]
    failures = "".join(f"\n## {each.name}\n\n```\n{each.failure}\n```\n" for each in found.properties if each.failure)
    versions = ", ".join(f"{package} {installed}" for package, installed in found.versions.items())
    return f"""# Strange input

{trial if found.trial else ""}{where(found.machine, "cpu")}, {versions}.
Charscope: commit {found.commit}.

{found.cases:,} random cases (seed {found.seed}) in {found.seconds:.0f} s, and {found.others} tests of single ones:
**{"held" if found.holds else "missed"}**. In each, what is given is used, or refused in one line: without a traceback,
without an end that does not come, and without a file that is not whole.

{table(rows)}
{failures}"""


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.fuzz", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--cases", type=int, default=CASES, metavar="N", help="at least, of all properties together")
    parser.add_argument("--seed", type=int, metavar="N", help="of the cases; another each time by default")
    parser.add_argument("--output", type=Path, default=Path("bench/results"), metavar="FOLDER")
    options = parser.parse_args(argv)
    if options.cases < 1:
        parser.error(f"--cases: expected at least 1, got {options.cases}")
    found = find(options.cases, secrets.randbelow(2**32) if options.seed is None else options.seed)
    keep(options.output, "fuzz", asdict(found) | {"holds": found.holds}, markdown(found))
    sys.exit(0 if found.holds else 1)


if __name__ == "__main__":
    main()
