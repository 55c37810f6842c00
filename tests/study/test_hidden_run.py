"""A whole run of pictures that may not be redistributed: notebooks and report hold none."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from made_challenge import has_signature, make_archive
from PIL import Image

from vsa.models.torchvision_models import make_headless
from vsa.runtime.errors import InputError
from vsa.runtime.paths import ROOT
from vsa.study.run import make_run

FEW_STEPS = (
    "category.n_steps=8 embedding.n_steps=2 embedding.n_box_steps=[2,2] embedding.n_joint_steps=2 "
    "embedding.n_detector_steps=2"
)


def outputs(notebook: Path) -> Iterator[tuple[str, str]]:
    """Kind and content of all that the cells of an executed notebook show."""
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        for output in cell.get("outputs", ()):
            for kind, content in output.get("data", {}).items():
                yield kind, "".join(content)


def decoded(text: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(text)))


@pytest.mark.by_hand
@pytest.mark.timeout(1800)
def test_executed_notebooks_and_the_report_hold_none(tmp_path, monkeypatch):
    try:
        make_headless("mobilenet_v2", pretrained=True)
    except InputError:
        pytest.skip("no ImageNet weights are at hand")
    make_archive(tmp_path / "data", 12)
    monkeypatch.setenv("VSA_DATA_DIR", str(tmp_path / "data"))
    command = [sys.executable, "-m", "vsa.cli", "reproduce", "--dataset", "vpr2023"]
    command += ["--profile", "smoke", "--set", FEW_STEPS]
    done = subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    run = make_run("vpr2023", "smoke", 0, FEW_STEPS)
    notebooks = sorted((run.artifacts / "notebooks").glob("*.ipynb"))
    shown = {path.stem: list(outputs(path)) for path in notebooks}
    assert len(shown) >= 7
    everything = [output for found in shown.values() for output in found]
    pictures = [decoded(text) for kind, text in everything if kind.startswith("image/")]
    assert len(pictures) > 20
    assert not any(map(has_signature, pictures))
    assert not [text for _, text in everything if "data:image" in text]
    sentences = [text for kind, text in everything if "left out here" in text]
    assert len(sentences) > 10
    report = (run.reports / "report.html").read_text(encoding="utf-8")
    embedded = re.findall(r"data:image/[a-z]+;base64,([^\"]+)", report)
    assert len(embedded) > 20
    assert not any(has_signature(decoded(text)) for text in embedded)
