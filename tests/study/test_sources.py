"""Which files a notebook is executed anew for."""

import ast
import json
import subprocess
import sys

from vsa.runtime.paths import NOTEBOOKS, ROOT
from vsa.study.sources import sources

WIDEST = NOTEBOOKS / "06_end_to_end.ipynb"


def names(path):
    return {file.relative_to(ROOT).as_posix() for file in sources(path)}


def test_all_that_is_loaded_counts():
    cells = json.loads(WIDEST.read_text())["cells"]
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    imports = [
        node for node in ast.parse(code).body if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    program = "\n".join(map(ast.unparse, imports)) + (
        "\nimport sys\nfor name, module in sys.modules.items():\n"
        "    if name.split('.')[0] == 'vsa': print(module.__file__)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    loaded = set(done.stdout.split("\n")) - {""}
    assert len(loaded) > 50, done.stderr
    assert loaded <= {str(file) for file in sources(WIDEST)}


def test_templates_and_values_count_and_what_is_imported_late():
    assert "vsa/study/ledger/claims.yaml" in names(WIDEST)
    report = names(ROOT / "vsa" / "study" / "ledger" / "reporting" / "__init__.py")
    assert "vsa/study/ledger/reporting/templates/style.css" in report
    assert "vsa/study/simulate/synthetic/shop.py" in names(NOTEBOOKS / "01_catalogue.ipynb")


def test_what_has_nothing_to_do_with_it_does_not_count():
    first = names(NOTEBOOKS / "01_catalogue.ipynb")
    assert "vsa/data/clicks.py" not in first  # it has moved
    assert "vsa/study/simulate/clicks.py" in first
    of_the_index = {name for name in first if "/index/" in name}
    assert of_the_index == {"vsa/index/__init__.py", "vsa/index/settings.py"}
