from __future__ import annotations

import pytest
import torch

from vsa.runtime.errors import InputError
from vsa.study.session import start


def test_start_makes_folders_seeds_torch_and_says_so(tmp_path, capsys):
    run = start("synthetic", "smoke", 3, "", "01_catalogue")
    first = torch.rand(4)
    start("synthetic", "smoke", 3, "", "01_catalogue")
    assert torch.equal(first, torch.rand(4))
    start("synthetic", "smoke", 4, "", "01_catalogue")
    assert not torch.equal(first, torch.rand(4))
    assert run.artifacts == tmp_path / "artifacts" / "synthetic-smoke"
    assert run.artifacts.is_dir()
    assert run.figures.is_dir()
    assert capsys.readouterr().out.startswith("01_catalogue: synthetic-smoke, seed 3, commit ")


@pytest.mark.parametrize(
    "bad", [("shoes", "smoke", 0), ("grocery", "tiny", 0), ("grocery", "smoke", -1)]
)
def test_bad_parameters_leave_nothing(tmp_path, bad):
    with pytest.raises(InputError):
        start(*bad, "", "01_catalogue")
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_told_with_a_cure(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("VSA_REPORTS_DIR", str(tmp_path / "file"))
    with pytest.raises(InputError, match="set VSA_REPORTS_DIR to a folder elsewhere"):
        start("synthetic", "smoke", 0, "", "01_catalogue")
