"""Which files of the package a notebook rests on: what it imports, and what that imports."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from pathlib import Path

from vsa.runtime.paths import ROOT


def sources(path: Path) -> list[Path]:
    """Files of vsa behind a notebook or a module, and the templates beside them, sorted.

    Imports inside functions count, too, and data sets that are loaded by name.
    """
    found: set[Path] = set()
    waiting = list(_imported(_code(path)))
    while waiting:
        file = waiting.pop()
        if file not in found:
            found.add(file)
            found.update(file.parent.glob("*.yaml"), file.parent.glob("templates/*"))
            waiting += _imported(file.read_text(encoding="utf-8"))
    return sorted(found)


def _code(path: Path) -> str:
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".ipynb":
        return text
    cells = json.loads(text)["cells"]
    return "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")


def _imported(code: str) -> Iterator[Path]:
    waiting: list[ast.AST] = [ast.parse(code)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue  # never executed
        waiting += ast.iter_child_nodes(node)
        if isinstance(node, ast.Import):
            names = [name.name for name in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{name.name}" for name in node.names)]
        elif isinstance(node, ast.Call) and ast.unparse(node).startswith("announce('datasets'"):
            names = [ast.literal_eval(node.args[2]).partition(":")[0]]
        else:
            continue
        for name in names:
            yield from _files(name)


def _files(name: str) -> Iterator[Path]:
    """The file of a module of ours and those of the packages around it; nothing for others."""
    parts = name.split(".")
    if parts[0] != "vsa":
        return
    for n in range(1, len(parts) + 1):
        place = ROOT.joinpath(*parts[:n])
        for file in (place.with_suffix(".py"), place / "__init__.py"):
            if file.is_file():
                yield file
