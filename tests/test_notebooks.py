"""What a reader may rely on in the committed notebooks."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest

from vsa.runtime.paths import NOTEBOOKS, ROOT
from vsa.study.notebook import normalise, read_parameters
from vsa.study.sources import sources

ABSOLUTE_PATH = re.compile(r"(?<![\w/.<:~])[~]?/[\w.-]+/[\w.-]+|\b[A-Z]:\\")
MAX_LINES = 25
MAX_MB = 2
MAX_IMPORTS = 8

every_notebook = pytest.mark.parametrize(
    "path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem
)


def code_cells(path: Path) -> list[Any]:
    cells = nbformat.read(path, as_version=4).cells
    return [cell for cell in cells if cell.cell_type == "code"]


def texts(cell: Any) -> list[str]:
    """What a cell has printed or shown, pictures apart."""
    shown = [output.get("text", "") for output in cell.outputs]
    for output in cell.outputs:
        shown += [text for kind, text in output.get("data", {}).items() if "image" not in kind]
    return shown


@every_notebook
def test_thin(path):
    work = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.For, ast.While)
    for cell in code_cells(path):
        assert len(cell.source.splitlines()) <= MAX_LINES, cell.source
        done = [node for node in ast.walk(ast.parse(cell.source)) if isinstance(node, work)]
        assert not done, f"this belongs in vsa/: {ast.unparse(done[0])}"


@every_notebook
def test_opens_with_prose_and_takes_the_parameters_of_a_smoke_run(path):
    first = nbformat.read(path, as_version=4).cells[0]
    assert first.cell_type == "markdown"
    assert first.source.startswith("# ")
    taken = {"dataset": "synthetic", "profile": "smoke", "seed": 0, "overrides": ""}
    assert read_parameters(path) == taken
    begins = f'start(dataset, profile, seed, overrides, "{path.stem}")'
    assert any(begins in cell.source for cell in code_cells(path))


@every_notebook
def test_the_first_lines_say_what_the_outputs_are_and_where_better_ones_are(path):
    first = nbformat.read(path, as_version=4).cells[0].source
    assert "regression sample" in first
    links = re.findall(r"\]\(([^)]+)\)", first)
    assert links
    for link in links:
        assert (path.parent / link).is_file(), link


@every_notebook
def test_cells_come_in_the_order_a_reader_wants(path):
    shows, takes, parameters, begins = nbformat.read(path, as_version=4).cells[:4]
    assert shows.source.startswith("# ")
    assert takes.source.startswith("**What it takes.** ")
    assert "parameters" in parameters.metadata.tags
    assert " = start(" in begins.source


@every_notebook
def test_imports_can_be_skipped(path):
    lines = [line for cell in code_cells(path) for line in cell.source.splitlines()]
    imports = [line for line in lines if re.match(r"(from|import) ", line)]
    assert len(imports) <= MAX_IMPORTS
    assert not [line for line in imports if line.endswith("(")]


@every_notebook
def test_figures_bring_their_own_words(path):
    assert not [cell.source for cell in code_cells(path) if "save_figure" in cell.source]
    shown = [text for cell in code_cells(path) for text in texts(cell)]
    assert not [text for text in shown if "HouseFigure" in text or text.startswith("<Figure")]


def test_what_one_notebook_calls_does_not_rest_on_what_others_do():
    facades = set((ROOT / "vsa" / "study").glob("*/notebook.py"))
    assert len(facades) >= 6
    for path in NOTEBOOKS.glob("0*.ipynb"):
        assert len(facades & set(sources(path))) <= 1, path.stem


@every_notebook
def test_metadata_tell_nothing_of_a_machine(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert notebook == normalise(nbformat.read(path, as_version=4))
    assert notebook.metadata.kernelspec.name == "python3"


@every_notebook
def test_outputs_are_small_complete_and_of_no_machine(path):
    assert path.stat().st_size < MAX_MB * 1e6
    for cell in code_cells(path):
        assert not [output for output in cell.outputs if output.output_type == "error"]
        assert not [output for output in cell.outputs if output.get("name") == "stderr"]
        if "NBVAL_CHECK_OUTPUT" in cell.source:
            assert cell.outputs, f"nothing to compare; run `make notebooks`: {cell.source}"
        for text in texts(cell):
            found = ABSOLUTE_PATH.search(text)
            assert not found, f"an absolute path: {found}"


@pytest.mark.parametrize(
    ("text", "is_path"),
    [
        ("wrote /home/ann/vsa/x.png", True),
        ("~/shop/catalogue.csv", True),
        ("C:\\shop", True),
        ("reports/synthetic-smoke/figures/a.png", False),
        ("<td>3</td><br/>", False),
        ("https://example.org/a/b", False),
        ("images/second, 1/2/3", False),
    ],
)
def test_absolute_paths_are_told_from_others(text, is_path):
    assert bool(ABSOLUTE_PATH.search(text)) == is_path
