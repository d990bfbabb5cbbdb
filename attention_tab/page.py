"""One page that holds all scripts of the tab, its style, and what a server would answer: it asks for nothing else."""

import json
import re
from collections.abc import Iterable
from graphlib import TopologicalSorter
from importlib.resources import files
from string import Template

from attention_tab.plugin import STATIC

PAGE = Template(files("attention_tab").joinpath("static/saved.template").read_text(encoding="utf-8"))
IMPORT = re.compile(r'^import \{ ([^}]+) \} from "\./(\w+)\.js";$', re.MULTILINE)
EXPORT = re.compile(r"^export (?=(?:async )?(?:function|const|class) (\w+))", re.MULTILINE)


def page(answers: Iterable[str], note: str) -> str:
    """HTML of the tab with answers, each a JSON list of route, query and body, and a note below."""
    saved = f'{{"note":{json.dumps(note)},"answers":[{",".join(answers)}]}}'
    inert = saved.replace("<", r"\u003c")  # the same JSON, in which nothing can end an HTML element
    return PAGE.substitute(style=STATIC["/style.css"][0].decode(), saved=inert, script=script())


def script() -> str:
    """All modules as one script that opens the page."""
    sources = {path[1:-3]: content.decode() for path, (content, _) in STATIC.items() if path.endswith(".js")}
    sources = {name: source for name, source in sources.items() if "/" not in name and name != "index"}
    imported = {name: [module for _, module in IMPORT.findall(source)] for name, source in sources.items()}
    modules = [module(name, sources[name]) for name in TopologicalSorter(imported).static_order()]
    return f'"use strict";\n{"".join(modules)}saved$.open();\n'


def module(name: str, source: str) -> str:
    """`source` as a function whose result, a constant named after the module, has its exports as properties."""
    body = EXPORT.sub("", IMPORT.sub(r"const { \1 } = \2$;", source))
    return f"const {name}$ = (() => {{\n{body}return {{ {', '.join(EXPORT.findall(source))} }};\n}})();\n"
