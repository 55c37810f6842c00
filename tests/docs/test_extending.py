"""The examples of docs/extending.md, each as somebody would save it, do what the document says."""

import ast
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from made_pictures import photo

import vsa
from vsa.runtime.paths import ROOT
from vsa.runtime.registry import Registry

TESTS = ROOT / "tests"
DOCUMENT = (ROOT / "docs/extending.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", DOCUMENT, re.M | re.S)


BLOCKS = blocks("python")


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


@pytest.mark.slow
@pytest.mark.parametrize("kinds", EXAMPLES)
def test_an_example_does_what_the_document_says(found, kinds):
    assert found[kinds] == ""


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Installs a package that offers a loss as the document says; gives a registry that looks."""

    def install(source: str) -> Registry:
        (block,) = blocks("toml")
        ((group, offered),) = tomllib.loads(block)["project"]["entry-points"].items()
        ((name, place),) = offered.items()
        module, _, _ = place.partition(":")
        path = tmp_path.joinpath(*module.split(".")).with_suffix(".py")
        path.parent.mkdir()
        path.write_text(source, encoding="utf-8")
        about = tmp_path / "my_package-1.0.dist-info"
        about.mkdir()
        (about / "METADATA").write_text("Metadata-Version: 2.1\nName: my-package\nVersion: 1.0\n")
        (about / "entry_points.txt").write_text(f"[{group}]\n{name} = {place}\n")
        monkeypatch.syspath_prepend(tmp_path)
        for loaded in [name for name in sys.modules if name.startswith("my_package")]:
            monkeypatch.delitem(sys.modules, loaded)
        return Registry("loss", group.removeprefix("vsa."))

    return install


def test_an_installed_package_offers_one_by_an_entry_point(installed):
    losses = installed(EXAMPLES["losses"].replace('@vsa.losses.register("circle")\n', ""))
    assert list(losses) == ["circle"]
    assert "my_package.losses" not in sys.modules, "it is loaded when it is asked for"
    assert not losses.is_own("circle")
    assert re.fullmatch(r"circle v1 \w{12}", losses.identity("circle"))


def test_an_entry_point_says_its_version(installed):
    losses = installed("def circle(batch, margin): ...\n\n\ncircle.version = 2\n")
    assert losses.identity("circle").startswith("circle v2 ")


def test_an_installed_package_that_fails_is_named_with_a_cure(installed):
    losses = installed("import no_such_module\n")
    with pytest.raises(vsa.InputError, match=r"'circle' cannot be loaded from my_package.losses"):
        losses["circle"]
