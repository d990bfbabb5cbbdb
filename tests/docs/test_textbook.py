"""docs/textbook.md cannot rot: what it names exists, and what there is to name is named."""

import ast
import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "textbook.md"
TEXT = PAGE.read_text(encoding="utf-8")
LINK = re.compile(r"\[([^\]]*)\]\(([^)\s]+)\)")
LINKS = LINK.findall(TEXT)
FILES = sorted({target for _, target in LINKS if not target.startswith(("#", "http"))})
NAMES = sorted({(label.strip("`"), target) for label, target in LINKS if label.startswith("`")})


def definitions(file: Path) -> set[str]:
    """Functions, classes and, behind the name of their class, methods."""
    found = set()
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{child.name}" for child in node.body if isinstance(child, ast.FunctionDef)}
    return found


@pytest.mark.parametrize("target", FILES)
def test_a_file_or_picture_that_the_page_links_to_exists(target: str) -> None:
    assert (PAGE.parent / target).is_file()


@pytest.mark.parametrize(("name", "target"), NAMES)
def test_a_name_that_the_page_links_is_defined_in_the_file_it_links_to(name: str, target: str) -> None:
    assert name in definitions(PAGE.parent / target)


def test_every_test_that_the_page_speaks_of_is_linked() -> None:
    assert not re.findall(r"`test_\w+`", LINK.sub("", TEXT))


def test_every_section_that_the_page_points_to_exists() -> None:
    sections = {
        re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in re.findall(r"^## (.+)$", TEXT, re.M)
    }
    assert {target[1:] for _, target in LINKS if target.startswith("#")} <= sections


def test_the_page_shows_every_picture_drawn_for_it_and_tells_of_every_test_of_the_textbooks() -> None:
    drawn = {f"textbook/{picture.name}" for picture in PAGE.with_suffix("").glob("*.png")}
    assert drawn <= set(FILES)
    tests = {name for name in definitions(PAGE.parents[1] / "tests" / "test_textbook.py") if name.startswith("test_")}
    assert tests <= {name for name, _ in NAMES}
