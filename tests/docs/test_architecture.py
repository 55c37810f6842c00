"""docs/architecture.md and docs/method.md speak of what is there, and of all of it."""

import ast
import re
import runpy

import pytest

from vsa.runtime.paths import ROOT

ARCHITECTURE = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
METHOD = (ROOT / "docs/method.md").read_text(encoding="utf-8")
# [`function`](../file.py), or [`Class.method`](../file.py)
FUNCTIONS = re.findall(r"\[`([\w.]+)`\]\(\.\./(vsa/[\w/]+\.py)\)", METHOD)


def test_each_module_is_named_by_its_own_first_line():
    list_modules = runpy.run_path(str(ROOT / "docs/modules.py"))
    assert list_modules["with_listing"](ARCHITECTURE) == ARCHITECTURE, "python docs/modules.py"
    for file in (ROOT / "vsa").rglob("*.py"):
        if file.name != "__init__.py":
            assert f"](../{file.relative_to(ROOT).as_posix()}): " in ARCHITECTURE, file
    assert not re.search(r"\.py\): *$", ARCHITECTURE, re.M)  # a module without a word


def test_the_picture_names_places_that_are_there():
    (picture,) = re.findall(r"^## One picture\n\n```\n(.*?)^```", ARCHITECTURE, re.M | re.S)
    for place in set(re.findall(r"vsa/[\w/]+", picture)):
        assert (ROOT / place).exists(), place
    assert max(map(len, picture.splitlines())) <= 100


def defined(place: str) -> set[str]:
    """Functions and classes of a module, and the methods of these as ``Class.method``."""
    found = set()
    for node in ast.parse((ROOT / place).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{m.name}" for m in node.body if isinstance(m, ast.FunctionDef)}
    return found


@pytest.mark.parametrize(("name", "place"), FUNCTIONS, ids=lambda value: value)
def test_a_function_beside_an_equation_is_where_it_is_said_to_be(name, place):
    assert name in defined(place)


@pytest.mark.parametrize(
    "name",
    ["vote", "fuse", "RawTriplets.filtered", "per_query", "soft_mask", "GbdtLr", "mean_interval"],
)
def test_the_parts_of_the_method_are_all_there(name):
    assert name in {function for function, _ in FUNCTIONS}
