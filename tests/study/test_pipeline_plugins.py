"""What the pipeline knows of plug-ins and of notebooks before and after it runs them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from vsa.embedding.losses import LOSSES
from vsa.runtime import registry
from vsa.study import pipeline
from vsa.study.run import make_run


def test_warnings_in_notebooks_are_repeated_once(capsys):
    run = make_run("synthetic", "smoke", 0)
    for name, words in {"01_a": "vsa: no font\nmore", "02_b": "vsa: no font\n"}.items():
        output = {"output_type": "stream", "name": "stderr", "text": words.splitlines(True)}
        cells = [{"cell_type": "markdown"}, {"cell_type": "code", "outputs": [output]}]
        path = run.artifacts / "notebooks" / f"{name}.ipynb"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"cells": cells}))
    pipeline._repeat_warnings(run, "*")
    assert capsys.readouterr().err == "vsa: no font\n"


def known(file: Path) -> str:
    """What a process that begins now knows of a plug-in."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VSA_PLUGINS", str(file))
        patch.setattr(registry, "_LOADED", set())
        patch.setattr(registry, "_all_loaded", "")
        patch.setattr(sys, "path", [*sys.path])
        patch.delitem(sys.modules, "helper", raising=False)
        for part in ("_entries", "_versions", "_by"):
            patch.setattr(LOSSES, part, dict(getattr(LOSSES, part)))
        return pipeline._plugins()


def known_to_another(*files: Path) -> list[str]:
    """The same, by one that has just begun; and whether it loaded torch."""
    code = "import sys; from vsa.study import pipeline\n"
    code += "print(pipeline._plugins(), 'torch' in sys.modules)"
    environment = os.environ | {"VSA_PLUGINS": os.pathsep.join(map(str, files))}
    command = [sys.executable, "-c", code]
    return subprocess.check_output(command, env=environment, text=True).split()


def test_without_plug_ins_nothing_is_loaded_to_see_that():
    assert known_to_another() == ["False"]


@pytest.mark.slow
def test_plug_ins_are_known_by_their_content_and_by_what_they_use(tmp_path):
    helper, mine = tmp_path / "helper.py", tmp_path / "mine.py"
    helper.write_text("def half(x):\n    return x / 2\n")
    text = (
        f"import sys; sys.path.append({str(tmp_path)!r})\n"
        "import vsa\n"
        "from helper import half\n"
        "@vsa.losses.register('mine')\n"
        "def mine(batch, margin):\n"
        "    return half(margin)\n"
    )
    mine.write_text(text)
    found = [known(mine)]
    assert known(mine) == found[0]
    assert known_to_another(mine) == [found[0], "True"]
    helper.write_text("def half(x):\n    return x * 0.5\n")
    found.append(known(mine))
    mine.write_text(text.replace("'mine')", "'mine', version=2)"))
    found.append(known(mine))
    mine.write_text(text.replace("half(margin)", "object"))  # whatever is not known by content
    found.append(known(mine))
    assert len(set(found)) == 4
    assert "mine" not in LOSSES
