"""Results change only together with a version: caches rest on that."""

from __future__ import annotations

import ast
import dataclasses
import json

import pytest
from golden import add, methods
from golden.methods import METHODS, Method, differences

from vsa.runtime.paths import ROOT


@pytest.mark.parametrize("name", METHODS)
def test_a_method_gives_the_numbers_that_its_version_stands_for(name):
    method = METHODS[name]
    assert method.path.exists(), (
        f"{name} v{method.version} has no golden file. If its results are meant to be new, run "
        f"`python tests/golden/add.py {name!r}`"
    )
    found = differences(method)
    assert not found, (
        f"{name} gives other results than its version {method.version} stands for, so caches "
        f"would mix both ({'; '.join(found)}). If that is meant, raise VERSION in "
        f"{method.module} and run `python tests/golden/add.py {name!r}`"
    )


def test_every_declared_version_has_a_method_here():
    declared = set()
    for file in (ROOT / "vsa").rglob("*.py"):
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "VERSION":
                module = ".".join(file.relative_to(ROOT).with_suffix("").parts)
                declared.add(module.removesuffix(".__init__"))
    assert declared <= {method.module for method in METHODS.values()}


def test_every_file_stands_for_a_method_and_is_small():
    slugs = {method.path.name.rpartition("-v")[0] for method in METHODS.values()}
    for file in methods.FOLDER.glob("*.json"):
        assert file.name.rpartition("-v")[0] in slugs, file
        assert file.stat().st_size < 30_000, file


@pytest.fixture
def doubling(tmp_path, monkeypatch) -> Method:
    """A method of this test."""
    monkeypatch.setattr(methods, "FOLDER", tmp_path)
    made = Method("doubling", 1, "nowhere", 1e-3, lambda: {"x": [2.0, 4.0], "ids": [1, 2]})
    monkeypatch.setitem(METHODS, "doubling", made)
    return made


def test_what_is_kept_is_added_and_never_changed(doubling, capsys):
    assert add.main(["doubling"]) == 0
    before = doubling.path.read_text()
    assert add.main(["doubling"]) == 1
    assert "raise VERSION in nowhere first" in capsys.readouterr().err
    assert doubling.path.read_text() == before
    assert add.main(["no such method"]) == 2


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ({"x": [2.0, 4.1], "ids": [1, 2]}, "x: differs by 0.025"),
        ({"x": [2.0, float("nan")], "ids": [1, 2]}, "x: differs by nan"),
        ({"x": [2.0, 4.0], "ids": [1, 3]}, "ids: 1 of 2 values are others"),
        ({"x": [2.0], "ids": [1, 2]}, "x: 2 values were kept, 1 are computed"),
        ({"x": [2.0, 4.0]}, "ids is kept or computed, not both"),
    ],
)
def test_other_results_are_named(doubling, numbers, words):
    add.main(["doubling"])
    assert differences(doubling) == []
    assert differences(dataclasses.replace(doubling, numbers=lambda: numbers))[0].startswith(words)


def test_rounding_is_no_other_result(doubling):
    add.main(["doubling"])
    near = {"x": [2.0 + 1e-4, 4.0], "ids": [1, 2]}
    assert differences(dataclasses.replace(doubling, numbers=lambda: near)) == []
    assert set(json.loads(doubling.path.read_text())) == {"x", "ids"}
