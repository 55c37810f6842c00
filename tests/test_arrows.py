"""The system stands without the study: which modules may import which."""

import ast

from vsa.runtime.paths import ROOT

MAY_POINT_AT_THE_STUDY = {"vsa/__init__.py", "vsa/cli.py"}
# Arrows that still run the wrong way, to be turned round; none may be added.
STILL_DO = {
    "vsa/app.py",  # opens a run, and names the simulated shoppers
    "vsa/category/predictor.py",  # is saved from an experiment's task and result
    "vsa/engine.py",  # asks the profile for the classifier's settings
    "vsa/ranking/blend.py",  # averages over the simulated shoppers
    "vsa/ranking/features.py",
    "vsa/ranking/serve.py",
}


def test_the_system_does_not_import_the_study():
    pointing = set()
    for file in (ROOT / "vsa").rglob("*.py"):
        name = file.relative_to(ROOT).as_posix()
        if name.startswith("vsa/study/"):
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            modules = [node.module] if isinstance(node, ast.ImportFrom) else []
            modules += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if any((module or "").startswith("vsa.study") for module in modules):
                pointing.add(name)
    assert pointing - MAY_POINT_AT_THE_STUDY == STILL_DO
