"""The system stands without the study: which modules may import which."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from vsa.runtime.paths import ROOT

MAY_POINT_AT_THE_STUDY = {"vsa/__init__.py", "vsa/cli.py"}
# Parts above the engine: what else each may import, beside what lies at the top level
ABOVE = {"serve": set(), "cluster": {"index", "serve"}}
SHARED = {"data", "models", "runtime", "metrics"}  # what every part of the system may import
# Modules at the top level that let other parts meet
WIRES = {
    "vsa/app.py",
    "vsa/cards.py",
    "vsa/chunks.py",
    "vsa/cli.py",
    "vsa/cluster_cli.py",
    "vsa/copies.py",
    "vsa/engine.py",
    "vsa/engine_cli.py",
    "vsa/growing.py",
    "vsa/onnx_files.py",
    "vsa/learn.py",
    "vsa/offline.py",
    "vsa/pictures.py",
} | {
    "vsa/answer.py",
    "vsa/row_files.py",
    "vsa/seeing.py",
    "vsa/rows.py",
    "vsa/store.py",
    "vsa/trained.py",
    "vsa/verify.py",
}


def modules(root: Path) -> dict[str, Path]:
    """Module name → file, of the package `vsa` below `root`."""
    found = {}
    for file in sorted((root / "vsa").rglob("*.py")):
        parts = file.relative_to(root).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


def imported(file: Path, *, at_once: bool = False) -> Iterator[str]:
    """Modules of `vsa`, or names in them, that a file imports; with `at_once`, while it loads."""
    waiting: list[ast.AST] = [ast.parse(file.read_text(encoding="utf-8"))]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{file}: a relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            names = []
        yield from (name for name in names if name.split(".")[0] == "vsa")
        is_late = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        is_for_types = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        if not (at_once and (is_late or is_for_types)):
            waiting += ast.iter_child_nodes(node)


def find_circle(root: Path) -> list[str]:
    """Modules that cannot be loaded without each other; none where there is no circle."""
    found = modules(root)

    def module_of(name: str) -> str:
        return name if name in found or "." not in name else module_of(name.rpartition(".")[0])

    graph = {
        name: {module_of(other) for other in imported(file, at_once=True)} - {name}
        for name, file in found.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return []


def test_the_system_does_not_import_the_study():
    pointing = set()
    for file in modules(ROOT).values():
        name = file.relative_to(ROOT).as_posix()
        points = any(other.startswith("vsa.study") for other in imported(file))
        if points and not name.startswith("vsa/study/"):
            pointing.add(name)
    assert not pointing - MAY_POINT_AT_THE_STUDY


def test_parts_of_the_system_meet_at_the_top_level_only():
    wrong = set()
    wires = {Path(name).stem for name in WIRES}
    for file in modules(ROOT).values():
        name, own = file.relative_to(ROOT).as_posix(), file.relative_to(ROOT).parts[1]
        if own == "study" or name in WIRES | MAY_POINT_AT_THE_STUDY:
            continue
        for other in imported(file):
            part = other.split(".")[1] if "." in other else ""
            above = wires | ABOVE[own] if own in ABOVE else set()
            if part and part not in SHARED | above | {own, own.removesuffix(".py"), "study"}:
                wrong.add(f"{name} imports {other}")
    assert not wrong


def test_service_and_cluster_are_above_all_and_nothing_below_them_knows_of_them():
    for file in modules(ROOT).values():
        name = file.relative_to(ROOT).as_posix()
        # notebook 08 starts clusters; the study's jobs, and pictures in chunks, may go to one
        above = ("vsa/cluster/", "vsa/study/", "vsa/chunks.py")
        if name in ("vsa/cli.py", "vsa/cluster_cli.py") or name.startswith(above):
            continue
        others = set(imported(file))
        assert not any(other.startswith("vsa.cluster.") for other in others), name
        if not name.startswith("vsa/serve/"):
            assert not any(other.startswith("vsa.serve") for other in others), name


def test_what_all_parts_share_imports_nothing_above_it():
    for part, below in {"runtime": {"runtime"}, "metrics": {"metrics", "runtime"}}.items():
        for file in modules(ROOT).values():
            if file.relative_to(ROOT).parts[1].removesuffix(".py") == part:
                others = {other.split(".")[1] for other in imported(file) if "." in other}
                assert others <= below, file


def test_no_module_needs_itself():
    assert not find_circle(ROOT)


@pytest.mark.parametrize(
    ("first", "second", "is_circle"),
    [
        ("from vsa.two import b", "import vsa.one", True),
        ("from vsa import two", "from vsa.one import a", True),
        ("try:\n    import vsa.two\nexcept ImportError:\n    pass", "import vsa.one", True),
        ("import vsa.two", "def late():\n    import vsa.one", False),
        ("import vsa.two", "if TYPE_CHECKING:\n    from vsa.one import a", False),
        ("import vsa.two", "import numpy", False),
        ("from vsa.two import b", "from vsa import three", False),
    ],
)
def test_circles_are_those_of_imports_that_run_while_a_module_loads(
    tmp_path, first, second, is_circle
):
    (tmp_path / "vsa").mkdir()
    for name, text in {"__init__": "", "one": first, "two": second, "three": ""}.items():
        (tmp_path / "vsa" / f"{name}.py").write_text(text)
    assert bool(find_circle(tmp_path)) == is_circle
