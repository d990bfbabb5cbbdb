import subprocess
import sys
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import assume, given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from cli.command import _literal

ROOT = Path(__file__).parent.parent.parent


@given(
    st.text(st.one_of(st.characters(exclude_categories=["Cs", "Cc"]), st.sampled_from("\\'\"${},= \n\t")), min_size=1)
)
def test_free_text_arrives_as_it_was_typed(text: str) -> None:
    assume(text != "null")
    override = OverridesParser.create().parse_override(_literal(f"prompt={text}", ("prompt",)))
    value = override.value()
    assert OmegaConf.create({"prompt": getattr(value, "text", value)}).prompt == text


@pytest.mark.parametrize(
    ("typed", "texts"),
    [("stop=a, 'b'", ["a, 'b'"]), ("stop=\n\n", ["\n\n"]), ("stop=[a,'b,c']", ["a", "b,c"]), ("stop=]", ["]"])],
)
def test_a_free_text_is_a_list_of_one_unless_it_begins_as_a_list(typed: str, texts: list[str]) -> None:
    override = OverridesParser.create().parse_override(_literal(typed, (), ("stop",)))
    values = override.value()
    assert isinstance(values, list)
    assert [getattr(value, "text", value) for value in values] == texts


@pytest.mark.parametrize("argument", ["prompt=null", "count=[1]", "-m", "--help"])
def test_other_arguments_are_left_alone(argument: str) -> None:
    assert _literal(argument, ("prompt",)) == argument


def test_an_error_of_the_program_keeps_its_traceback(tmp_path: Path) -> None:
    (tmp_path / "faulty.py").write_text(
        "from cli.command import command\n"
        "@command('sample')\n"
        "def main(config, directory):\n"
        "    raise ValueError('our fault')\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "faulty.py"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert done.stderr.rstrip().endswith("ValueError: our fault")
