"""What is installed: a small core that searches by itself, and extras that it does not touch."""

from __future__ import annotations

import ast
import functools
import json
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import numpy as np
import pytest
from core_only import PROJECT, build_wheel, link_packages, required, run, unpack
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from small_engine import small_shop

import vsa
from vsa.runtime.errors import InputError
from vsa.runtime.extras import MODULES, missing_explained
from vsa.runtime.paths import ROOT

OPTIONAL = {"pillow_heif"}  # taken where it is installed, and never asked for
# That are run, or imported by another one, and not by us
TOOLS = {"jupyterlab", "nbval", "python-multipart", "snakemake", "voila"}
# Folders whose modules may need one as they are loaded
OF_EXTRAS = ("vsa/study/", "vsa/serve/", "vsa/cluster/")
# Modules outside of these that need an extra as they are loaded
OF_AN_EXTRA = {"vsa/app.py", "vsa/data/fetch.py"}
ASKS = """
import json, sys
import numpy as np
import vsa
engine = vsa.VisualSearch.open(sys.argv[1])
found = [engine.search(photo).results for photo in sys.argv[2:]]
engine.close()
refused = {}
for name in ("compare", "peers"):
    try:
        getattr(vsa, name)
    except vsa.InputError as error:
        refused[name] = str(error)
try:
    from vsa.embedding.losses import _made
    _made("losses", "NPairsLoss")
except vsa.InputError as error:
    refused["N-pair"] = str(error)
try:
    vsa.rankers["LR only"]("none", 0).fit(np.eye(2), np.full(2, 9), np.array([1, 8]))
except vsa.InputError as error:
    refused["ranker"] = str(error)
try:
    import vsa.app
except vsa.InputError as error:
    refused["page"] = str(error)
print(json.dumps({
    "from": vsa.__file__,
    "ids": [page.image_id.tolist() for page in found],
    "similarity": [page.similarity.tolist() for page in found],
    "refused": refused,
}))
"""

RENDERS = """
import vsa
print(vsa.load_dataset("synthetic", settings={"n_products_per_category": 4, "image_px": 32}).root)
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory) -> tuple[Path, Path, Path]:
    """A wheel of this tree, unpacked; what it requires and nothing else; the wheel itself."""
    folder = tmp_path_factory.mktemp("environment")
    wheel = build_wheel(folder)
    vsa_there, packages = folder / "vsa-there", folder / "packages"
    link_packages(required(unpack(wheel, vsa_there).requires or ()), packages)
    return vsa_there, packages, wheel


@pytest.mark.slow
def test_a_wheel_with_its_core_alone_opens_an_engine_and_searches(environment, tmp_path):
    small_shop(tmp_path)
    photos = [str(tmp_path / f"{row}.png") for row in (3, 40)]
    (tmp_path / "asks.py").write_text(ASKS)
    engine = str(tmp_path / "engine")
    done = run(environment[:2], str(tmp_path / "asks.py"), engine, *photos, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert Path(said["from"]).is_relative_to(environment[0])
    with_all = vsa.VisualSearch.open(engine)
    here = [with_all.search(photo).results for photo in photos]
    with_all.close()
    assert said["ids"] == [page.image_id.tolist() for page in here]
    assert [len(ids) for ids in said["ids"]] == [60, 60]
    for there, page in zip(said["similarity"], here, strict=True):
        np.testing.assert_allclose(there, page.similarity, atol=1e-5)
    needs = {
        "compare": ("yaml", "study"),
        "peers": ("threadpoolctl", "study"),
        "N-pair": ("pytorch_metric_learning", "study"),
        "ranker": ("sklearn", "study"),
        "page": ("ipywidgets", "app"),
    }
    for name, (module, extra) in needs.items():
        assert said["refused"][name] == (
            f"this needs the package {module}, which is not installed. pip install 'vsa[{extra}]'."
        )


@pytest.mark.slow
def test_the_rendered_shop_comes_with_the_core_and_lies_in_the_users_folder(environment, tmp_path):
    (tmp_path / "asks.py").write_text(RENDERS)
    done = run(environment[:2], str(tmp_path / "asks.py"), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    root = Path(done.stdout.strip())
    assert root.is_relative_to(tmp_path / "share/vsa/artifacts")
    assert any(root.rglob("*.png"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (["--help"], 0, "reproduce"),
        (["search", "--help"], 0, "similar"),
        (["reproduce"], 2, "vsa: this needs the package yaml, which is not installed. pip install"),
        (["data", "grocery"], 2, "the package requests, which is not installed. pip install 'vsa["),
        (["search", "nowhere", "photo.jpg"], 2, "nowhere"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_commands_without_extras_work_or_say_what_to_install(
    environment, tmp_path, arguments, status, told
):
    done = run(environment[:2], "-m", "vsa.cli", *arguments, cwd=tmp_path)
    assert done.returncode == status, done.stderr
    assert told in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_an_installed_package_without_the_repository_says_where_the_notebooks_are(
    environment, tmp_path
):
    everything = [environment[0], Path(np.__file__).parents[1]]
    done = run(everything, "-m", "vsa.cli", "reproduce", "--profile", "smoke", cwd=tmp_path)
    assert done.returncode == 2
    assert "the notebooks are not here" in done.stderr
    assert "Clone the repository" in done.stderr


def test_the_wheel_holds_all_that_is_not_python_too(environment):
    with zipfile.ZipFile(environment[2]) as opened:
        packed = {name for name in opened.namelist() if name.startswith("vsa/")}
    tracked = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard", "vsa"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    assert packed == {name for name in tracked if (ROOT / name).is_file()}


def files() -> Iterator[tuple[str, ast.AST]]:
    for file in sorted((ROOT / "vsa").rglob("*.py")):
        yield file.relative_to(ROOT).as_posix(), ast.parse(file.read_text(encoding="utf-8"))


def imported(tree: ast.AST) -> set[str]:
    """Packages of others that a module imports anywhere, by their top-level names."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(str(node.module))
    tops = {name.partition(".")[0] for name in names}
    return tops - {"vsa"} - set(sys.stdlib_module_names)


def declared() -> dict[str, set[str]]:
    """Direct requirements of the core, "", and of each extra, by their canonical names."""
    project = PROJECT["project"]
    groups = {"": project["dependencies"], **project["optional-dependencies"]}
    return {
        group: {canonicalize_name(Requirement(text).name) for text in texts}
        for group, texts in groups.items()
    }


@functools.cache
def distributions() -> dict[str, set[str]]:
    """Distributions that bring a module, by its name."""
    return {
        module: {canonicalize_name(name) for name in names}
        for module, names in packages_distributions().items()
    }


def providers(module: str) -> set[str]:
    return distributions()[module]


def test_the_core_requires_little_and_just_what_it_imports():
    core = declared()[""]
    assert len(core) <= 14
    used = set()
    for name, tree in files():
        if name.startswith(OF_EXTRAS) or name in OF_AN_EXTRA:
            continue
        for module in imported(tree) - OPTIONAL:
            if not any(module in modules for modules in MODULES.values()):
                assert providers(module) & core, f"{name} imports {module}"
                used |= providers(module)
    assert core <= used


def test_extras_hold_what_only_parts_import_and_what_is_told_of_them():
    groups = declared()
    assert set(groups) == {"", *MODULES}
    used = set()
    for name, tree in files():
        for module in imported(tree) - OPTIONAL:
            if not providers(module) & groups[""]:
                assert any(module in modules for modules in MODULES.values()), (name, module)
                used |= providers(module)
    for extra, modules in MODULES.items():
        assert groups[extra] - TOOLS <= used, extra
        reached = {canonicalize_name(name) for name in required(groups[extra])}
        for module in modules:
            assert providers(module) & reached, (extra, module)


@pytest.mark.slow
def test_importing_the_core_loads_no_package_of_an_extra():
    core = [
        name.removesuffix(".py").replace("/", ".").removesuffix(".__init__")
        for name, _ in files()
        if not name.startswith(OF_EXTRAS) and name not in OF_AN_EXTRA
    ]
    code = f"import importlib, sys\nfor name in {core}: importlib.import_module(name)\n"
    code += "print(*{name.partition('.')[0] for name in sys.modules})"
    command = [sys.executable, "-c", code]
    said = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout
    loaded = set(said.split())
    assert {"torch", "faiss", "vsa"} <= loaded
    others = {"scipy", "yaml"}  # numba looks for them, and does without where they are not
    assert sorted(loaded & set().union(*MODULES.values()) - others) == []


def test_only_what_an_extra_brings_is_explained():
    told = r"the package voila, which is not installed. pip install 'vsa\[app\]'."
    with pytest.raises(InputError, match=told), missing_explained():
        raise ModuleNotFoundError("no", name="voila.app")
    with pytest.raises(ModuleNotFoundError), missing_explained():
        raise ModuleNotFoundError("no", name="vsa.nowhere")
