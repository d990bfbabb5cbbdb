import json
from pathlib import Path

import pytest

from bench import fuzz
from bench.peers import commit
from bench.stopwatch import ROOT

PROPERTIES = """
import os
from hypothesis import given, strategies as st
from tests.fuzz.cases import cases

@cases(5000)
@given(st.integers())
def test_a_number_is_itself(number):
    assert number == number

@cases(5000)
@given(st.integers())
def test_numbers_are_small(number):
    assert FAULT or number < 1000

def test_there_are_numbers():
    assert 1
"""


@pytest.fixture
def tests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two properties, whose second fails unless FAULT is corrected."""
    (tmp_path / "conftest.py").write_text("from tests.fuzz.conftest import counted as counted\n", encoding="utf-8")
    (tmp_path / "test_numbers.py").write_text(PROPERTIES.replace("FAULT", "False"), encoding="utf-8")
    find = fuzz.find
    monkeypatch.setattr(fuzz, "find", lambda cases, seed: find(cases, seed, tmp_path))
    return tmp_path


def test_cases_are_counted_where_they_run(tests: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tests / "test_numbers.py").write_text(PROPERTIES.replace("FAULT", "True"), encoding="utf-8")
    with pytest.raises(SystemExit) as stopped:
        fuzz.main(["--cases", "60", "--seed", "1", "--output", str(tmp_path)])
    found = json.loads((tmp_path / "fuzz.json").read_text(encoding="utf-8"))
    assert stopped.value.code == 0
    assert [(each["name"], each["cases"]) for each in found["properties"]] == [
        ("numbers: a number is itself", 30),
        ("numbers: numbers are small", 30),
    ]
    assert (found["cases"], found["others"], found["holds"], found["seed"]) == (60, 1, True, 1)
    assert (found["commit"], found["trial"]) == (commit(ROOT), True)
    assert "60 random cases (seed 1)" in capsys.readouterr().out


@pytest.mark.usefixtures("tests")
def test_a_property_that_fails_is_kept_with_what_repeats_it(tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as stopped:
        fuzz.main(["--cases", "600", "--seed", "1", "--output", str(tmp_path)])
    found = json.loads((tmp_path / "fuzz.json").read_text(encoding="utf-8"))
    assert (stopped.value.code, found["holds"]) == (1, False)
    first, second = found["properties"]
    assert (first["cases"], first["failure"]) == (300, None)
    assert second["cases"] < 300
    assert "number=1000" in second["failure"]
    assert "@reproduce_failure" in second["failure"]
    assert second["failure"] in (tmp_path / "fuzz.md").read_text(encoding="utf-8")


def test_fewer_cases_than_were_asked_for_are_no_success(tests: Path, tmp_path: Path) -> None:
    few = PROPERTIES.replace("FAULT", "True").replace("st.integers()", "st.booleans()")
    (tests / "test_numbers.py").write_text(few, encoding="utf-8")
    with pytest.raises(SystemExit) as stopped:
        fuzz.main(["--cases", "60", "--output", str(tmp_path)])
    found = json.loads((tmp_path / "fuzz.json").read_text(encoding="utf-8"))
    assert (stopped.value.code, found["cases"]) == (1, 4)


def test_a_crash_is_a_failure(tests: Path, tmp_path: Path) -> None:
    (tests / "test_numbers.py").write_text("import os\nos._exit(0)\n", encoding="utf-8")
    with pytest.raises(SystemExit) as stopped:
        fuzz.main(["--cases", "60", "--output", str(tmp_path)])
    assert stopped.value.code == 1
    assert "crashed" in (tmp_path / "fuzz.md").read_text(encoding="utf-8")


def test_a_mistake_is_said_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        fuzz.main(["--cases", "0"])
    assert stopped.value.code == 2
    assert "--cases: expected at least 1, got 0" in capsys.readouterr().err
