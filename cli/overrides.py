"""Command lines in Hydra's grammar, which is ASCII and gives meaning to commas, colons and quotes."""

import os
import re
import shlex
import sys
from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import fields, is_dataclass, replace
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override

from cli.mistakes import MISTAKES, composing
from errors import UserError
from terminal import visible

WORD = re.compile(r"""(?s)'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|(?:\$\{[^}]*\}|[^][(){},='"\\]|\\.)+""")  # quoted or not
# The text that OmegaConf takes for a missing value, and what stands for it meanwhile: no text begins with U+FDD0.
MISSING, TYPED_MISSING = "???", "\ufdd0???"

SWEEP_FLAGS = ("-m", "--multirun")
FLAGS = (*SWEEP_FLAGS, "-r", "--run")  # that run something, beside --config-dir; others print


def search_path(arguments: Iterable[str]) -> list[str]:
    """`arguments` with the folders of --config-dir in hydra.searchpath. Raises UserError at other flags like it."""
    rest, folders, words = [], [], iter(arguments)
    for word in words:
        flag, equals, value = word.partition("=")
        if flag in ("--config-dir", "-cd"):
            if not os.path.isdir(folder := value if equals else next(words, "")):
                raise UserError(f"--config-dir: expected a folder of presets, got {folder!r}")
            folders.append(_in_quotes(os.path.abspath(folder)))
        elif flag == "hydra.searchpath" and value.startswith("["):
            folders.append(value[1:-1])
        elif flag.startswith(("--config-", "-cn", "-cp", "--experimental-rerun")):  # with which nothing is resumed
            raise UserError(f"expected presets in a folder named by --config-dir, got {flag}")
        else:
            rest.append(word)
    return [*rest, f"hydra.searchpath=[{','.join(filter(None, folders))}]"] if folders else rest


def hint_at_escapes(arguments: Iterable[str]) -> None:
    r"""Say on standard error where a prompt holds a backslash and an n, and not as in LaTeX: `\nu`."""
    for name, _, value in (each.partition("=") for each in arguments):
        if name in ("prompt", "stop", "board.probe") and (found := re.search(r"\\[nrt](?![a-z])", value)):
            meant = value.replace("'", r"\'")
            hint = f"{name}: {found[0]} is two characters, as typed; for one, in bash or zsh: {name}=$'{meant}'"
            print(visible(hint), file=sys.stderr)


def parse(arguments: Iterable[str]) -> list[Override]:
    """The overrides on a command line. Raises MISTAKES."""
    hydra = GlobalHydra.instance()  # whose loader knows what glob() may choose
    with composing():
        loader = hydra.config_loader() if hydra.is_initialized() else None
        return OverridesParser.create(loader).parse_overrides(list(arguments))


def names(overrides: Iterable[str]) -> list[str]:
    """The names that a command line sets."""
    return [override.get_key_element().lstrip("+~") for override in parse(overrides)]


def quote(argument: str, free_text: Collection[str], free_texts: Collection[str] = (), sweeping: bool = False) -> str:
    """Quote the value of `name=value` for Hydra if it is free text, else those words in it that are not ASCII.

    When `sweeping`, a free text may also be several, or in quotes.
    """
    name, equals, value = argument.partition("=")
    if argument.startswith("-") or not equals or (name in (*free_text, *free_texts) and value == "null"):
        return argument
    listed = name in free_texts and not value.startswith("[")
    free = listed or name in free_text
    if sweeping or not free:
        quoted = f"{name}={WORD.sub(lambda word: _quoted_word(word[0], free or name in free_texts), value)}"
        if quoted == argument and not free:
            return argument
        parsed = None
        with suppress(*MISTAKES):
            parsed = parse([quoted])[0]
        if not free or (parsed.is_sweep_override() if parsed else "," in value):
            return quoted if parsed else argument
        if parsed and value.startswith(("'", '"')):
            value = str(parsed.value())
    return f"{name}=[{_quoted(value)}]" if listed else f"{name}={_quoted(value)}"


def as_typed(value: Any) -> Any:
    """A configuration whose texts are those of the command line: that of a missing value, too."""
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{each.name: as_typed(getattr(value, each.name)) for each in fields(value)})
    if isinstance(value, list):
        return [as_typed(each) for each in value]
    return MISSING if value == TYPED_MISSING else value


def quoting_hint(mistake: BaseException, line: str, arguments: Iterable[str], free: Collection[str]) -> str:
    """Advice on quoting those `arguments` that `line`, on a `mistake`, names, if their commas or quotes were syntax."""
    shown = []
    for name, equals, value in (each.partition("=") for each in arguments):
        refused = f"{name}={value}" == getattr(mistake, "override", "")
        if equals and (refused or (name in free and "," in value and f"{name}:" in line)):
            shown.append(shlex.quote(f"{name}={_quoted(value)}"))
    return f"; to have it taken as one text: {' '.join(shown)}" if shown else ""


def _quoted_word(word: str, free: bool) -> str:
    text = word.strip(" \t")
    if free and text.strip("'\"") == MISSING:
        return _in_quotes(TYPED_MISSING)
    if word.isascii() or word[0] in "'\"":
        return word
    return _in_quotes(re.sub(r"\\([][(){}:=, \t\\])", r"\1", text))


def _quoted(text: str) -> str:
    """`text` in quotes, without interpolations or a missing value in it."""
    return _in_quotes(TYPED_MISSING if text == MISSING else re.sub(r"(\\*)\$\{", r"\1\1\\${", text))


def _in_quotes(text: str) -> str:
    return '"' + re.sub(r'(\\*)("|\Z)', lambda match: match[1] * 2 + match[2].replace('"', r"\""), text) + '"'
