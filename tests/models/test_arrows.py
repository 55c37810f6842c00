"""Networks that see know nothing of what is made of them."""

import ast

from vsa.runtime.paths import ROOT

MAY_IMPORT = ("vsa.data", "vsa.models", "vsa.runtime")


def test_models_import_only_data_and_runtime():
    files = list((ROOT / "vsa" / "models").glob("*.py"))
    assert len(files) > 3
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("vsa"):
                assert (node.module or "").startswith(MAY_IMPORT), f"{file.name}: {node.module}"
