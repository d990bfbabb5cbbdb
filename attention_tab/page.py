"""One page that holds all scripts of the tab, its style, and what a server would answer: it asks for nothing else."""

import json
import re
from collections.abc import Iterable
from graphlib import TopologicalSorter

from attention_tab.plugin import STATIC

# `frame-src` lets Firefox save pictures from within a notebook.
POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; frame-src blob:"
NEEDS = "This page needs JavaScript, and Chrome or Edge 97, Firefox 113, Safari 16.4 or later."
IMPORT = re.compile(r'^import \{ ([^}]+) \} from "\./(\w+)\.js";$', re.MULTILINE)
EXPORT = re.compile(r"^export (?=(?:async )?(?:function|const|class) (\w+))", re.MULTILINE)


def page(answers: Iterable[str], note: str) -> str:
    """HTML of the tab with answers, each a JSON list of route, query and body, and a note below."""
    return f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width">
<title>Attention</title>
<style>
{STATIC["/style.css"][0].decode()}</style>
<body>{NEEDS}
<script type="application/json">
{inert(f'{{"note":{json.dumps(note)},"answers":[{",".join(answers)}]}}')}
</script>
<script>
{script()}</script>
"""


def inert(text: str) -> str:
    """The same JSON, in which nothing can end an HTML element."""
    return text.replace("<", r"\u003c")


def script() -> str:
    """All modules as one script that opens the page: each a function that returns what the module exports."""
    sources = {path[1:-3]: content.decode() for path, (content, _) in STATIC.items() if path.endswith(".js")}
    sources = {name: source for name, source in sources.items() if "/" not in name and name != "index"}
    imported = {name: [module for _, module in IMPORT.findall(source)] for name, source in sources.items()}
    modules = [module(name, sources[name]) for name in TopologicalSorter(imported).static_order()]
    return f'"use strict";\n{"".join(modules)}saved$.open();\n'


def module(name: str, source: str) -> str:
    """`source` as a function of the script; its exports are properties of a constant named after it."""
    body = EXPORT.sub("", IMPORT.sub(r"const { \1 } = \2$;", source))
    return f"const {name}$ = (() => {{\n{body}return {{ {', '.join(EXPORT.findall(source))} }};\n}})();\n"
