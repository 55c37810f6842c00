"""Which files of the package a notebook rests on: what it imports, and what that imports."""

from __future__ import annotations

import ast
import functools
import json
from collections.abc import Iterable
from pathlib import Path

from vsa.runtime.paths import ROOT


def sources(path: Path) -> list[Path]:
    """Files of vsa behind a notebook or a module, and the templates beside them, sorted.

    Imports inside functions count, too, and data sets that are loaded by name.
    """
    found: set[Path] = set()
    waiting = _files(_imported(_code(path)))
    while waiting:
        file = waiting.pop()
        if file not in found:
            found.add(file)
            found.update(file.parent.glob("*.yaml"), file.parent.glob("templates/*"))
            waiting += _files(_imported(file.read_text(encoding="utf-8")))
    return sorted(found)


def _code(path: Path) -> str:
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".ipynb":
        return text
    cells = json.loads(text)["cells"]
    return "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")


@functools.cache
def _imported(code: str) -> frozenset[str]:
    """Modules of ours, packages around them, and what may be one; notebooks share most files."""
    found: list[str] = []
    waiting: list[ast.AST] = [ast.parse(code)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue  # never executed
        waiting += ast.iter_child_nodes(node)
        if isinstance(node, ast.Import):
            found += [name.name for name in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found += [node.module, *(f"{node.module}.{name.name}" for name in node.names)]
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "announce":
            kinds, _, place = map(ast.literal_eval, node.args)
            found += [place.partition(":")[0]] if kinds == "datasets" else []
    own = [name.split(".") for name in found if name.partition(".")[0] == "vsa"]
    return frozenset(".".join(parts[:n]) for parts in own for n in range(1, len(parts) + 1))


def _files(names: Iterable[str]) -> list[Path]:
    """Those of modules; nothing for names that are none."""
    places = [ROOT.joinpath(*name.split(".")) for name in names]
    either = [
        file for place in places for file in (place.with_suffix(".py"), place / "__init__.py")
    ]
    return [file for file in either if file.is_file()]
