"""The examples of docs/extending.md, each as somebody would save it, do what the document says."""

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from made_pictures import photo

import vsa
from vsa.runtime.paths import ROOT
from vsa.runtime.registry import Registry

TESTS = ROOT / "tests"
BLOCKS = re.findall(
    r"^```python\n(.*?)^```", (ROOT / "docs/extending.md").read_text(encoding="utf-8"), re.M | re.S
)


def kinds_of(block: str) -> str:
    """Which registry of vsa a block registers with: "losses"."""
    (kinds,) = set(re.findall(r"vsa\.(\w+)\.register\(", block))
    return kinds


EXAMPLES = {kinds_of(block): block for block in BLOCKS}


def test_each_kind_of_thing_has_one_example():
    kinds = {name for name in vsa.__all__ if isinstance(getattr(vsa, name), Registry)}
    assert len(BLOCKS) == len(EXAMPLES)
    assert set(EXAMPLES) == kinds


@pytest.mark.parametrize("kinds", EXAMPLES)
def test_an_example_is_short_says_what_it_is_and_fits_a_line(kinds):
    block = EXAMPLES[kinds]
    assert len(block.splitlines()) <= 25
    assert max(map(len, block.splitlines())) <= 100
    assert ast.get_docstring(ast.parse(block))


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> dict[str, str]:
    """What went wrong with each, used in a process that has only been told of their files."""
    folder = tmp_path_factory.mktemp("extending")
    paths = []
    for kinds, block in EXAMPLES.items():
        paths.append(folder / f"my_{kinds}.py")
        paths[-1].write_text(block, encoding="utf-8")
    surroundings = {
        "VSA_PLUGINS": os.pathsep.join(map(str, paths)),
        "VSA_ARTIFACTS_DIR": str(folder / "artifacts"),
        "VSA_REPORTS_DIR": str(folder / "reports"),
        "VSA_PROGRESS": "off",
        "OMP_NUM_THREADS": "1",
        "MY_SHOP": str(_shop(folder / "my-shop")),
        "PYTHONPATH": os.pathsep.join([str(TESTS), str(ROOT)]),
    }
    command = [sys.executable, str(TESTS / "docs/uses.py"), str(folder)]
    subprocess.run(command, env=os.environ | surroundings, cwd=folder, check=True)
    return json.loads((folder / "found.json").read_text())


def _shop(root: Path) -> Path:
    """Eight products in two categories, of three pictures each."""
    for number in range(8):
        folder = root / ("bags", "shoes")[number // 4] / f"{number}"
        folder.mkdir(parents=True)
        for view in range(3):
            photo(40, 32, seed=10 * number + view).save(folder / f"{view}.jpg")
    return root


@pytest.mark.parametrize("kinds", EXAMPLES)
def test_an_example_does_what_the_document_says(found, kinds):
    assert found[kinds] == ""
