import unicodedata

from terminal import visible

CONTROLS = [chr(code) for code in range(0x110000) if unicodedata.category(chr(code)) == "Cc"]


def test_every_control_character_but_newline_and_tab_is_shown_as_python_writes_it() -> None:
    shown = visible("".join(CONTROLS))
    assert {*CONTROLS} & {*shown} == {"\n", "\t"}
    assert eval(f"'''{shown}'''") == "".join(CONTROLS)
    assert visible("a\r\x1b[2J\x7f\x9b0m") == r"a\r\x1b[2J\x7f\x9b0m"


def test_all_that_is_no_control_character_is_shown_as_it_is() -> None:
    text = "é e\u0301 春 👩\u200d🚀 \u202eא \udc9b \\x1b\n\t"
    assert visible(text) == text
