import unicodedata

from terminal import shown_on, visible
from tests.commands.helpers import Stream

CONTROLS = [chr(code) for code in range(0x110000) if unicodedata.category(chr(code)) == "Cc"]


def test_every_control_character_but_newline_and_tab_is_shown_as_python_writes_it() -> None:
    shown = visible("".join(CONTROLS))
    assert {*CONTROLS} & {*shown} == {"\n", "\t"}
    assert eval(f"'''{shown}'''") == "".join(CONTROLS)
    assert visible("a\r\x1b[2J\x7f\x9b0m") == r"a\r\x1b[2J\x7f\x9b0m"


def test_a_terminal_shows_a_character_with_its_last_byte_and_what_is_no_utf8_as_escapes() -> None:
    screen, shown = Stream(terminal=True), list[str]()
    writer = shown_on(screen)
    for byte in b"a\xd0\xba\xf0\x9f\x98\x80\xd0\n\xff":
        writer.write(bytes([byte]).decode("ascii", "surrogateescape"))
        shown.append(screen.text())
    assert shown == ["a", "a", "aк", "aк", "aк", "aк", "aк😀", "aк😀", "aк😀\\xd0\n", "aк😀\\xd0\n\\xff"]


def test_all_that_is_no_control_character_is_shown_as_it_is() -> None:
    text = "é e\u0301 春 👩\u200d🚀 \u202eא \udc00 \\x1b\n\t"
    assert visible(text) == text
