import io
import re
import unicodedata

import pytest
from tqdm import tqdm

from data.vocabulary import Vocabulary
from sampling.stream import Formatter, format_line, format_text, stream, write_whole
from terminal import shown_on, visible
from tests.sampling.helpers import request

UNRULY = Vocabulary("\t\n\r\x1bab\x9b")
CONTROLS = [chr(code) for code in range(0x110000) if unicodedata.category(chr(code)) == "Cc"]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_every_control_character_but_newline_and_tab_is_shown_as_python_writes_it() -> None:
    shown = visible("".join(CONTROLS))
    assert {*CONTROLS} & {*shown} == {"\n", "\t"}
    assert eval(f"'''{shown}'''") == "".join(CONTROLS)
    assert visible("a\r\x1b[2J\x7f\x9b0m") == r"a\r\x1b[2J\x7f\x9b0m"


def test_all_that_is_no_control_character_is_shown_as_it_is() -> None:
    text = "é e\u0301 春 👩\u200d🚀 \u202eא \udc9b \\x1b\n\t"
    assert visible(text) == text


def test_a_pipe_gets_the_exact_characters() -> None:
    pipe = io.StringIO()
    shown_on(pipe).write("a\r\x1b[2J\x9b")
    assert pipe.getvalue() == "a\r\x1b[2J\x9b"


def sampled(out: io.StringIO, form: Formatter | None) -> str:
    given = request(vocabulary=UNRULY, prompt="a\x1b", ids=[4, 3], length=60, seed=1)
    if form:
        write_whole(given, form, shown_on(out), tqdm(disable=True), [])
    else:
        stream(given, shown_on(out), tqdm(disable=True), [])
    return out.getvalue()


@pytest.mark.parametrize("form", [None, format_text, format_line], ids=["streamed", "text", "line"])
def test_a_terminal_never_gets_control_characters_from_a_model(form: Formatter | None) -> None:
    written, shown = sampled(io.StringIO(newline=""), form), sampled(Terminal(), form)
    assert {"\r", "\x1b", "\x9b"} < {*written}
    assert shown == visible(written)
    assert re.fullmatch(r"[\n\t -~]*", shown)


def test_a_terminal_gets_each_character_as_it_is_written() -> None:
    class Screen(Terminal):
        flushes = 0

        def flush(self) -> None:
            self.flushes += 1

    screen = Screen()
    sampled(screen, None)
    assert screen.flushes > 60
