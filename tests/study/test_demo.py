"""`vsa demo`: a small engine is made once, without any download, opened, and travels."""

from __future__ import annotations

import shutil
import sys

import pytest
import torch

from vsa import cli
from vsa.runtime.errors import InputError
from vsa.study import demo


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Exit status, output and complaint of ``vsa demo ARGUMENTS``, in a folder of its own."""
    few = {name: 2 for name in demo._TRAINING if name.endswith("n_steps")}
    few |= {"embedding.n_box_steps": [1, 1], "embedding.n_joint_steps": 1}
    monkeypatch.setattr(demo, "_TRAINING", demo._TRAINING | few)
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", pytest.fail)
    monkeypatch.setenv("VSA_WEIGHTS_DIR", str(tmp_path / "no weights"))
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["vsa", "demo", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        said = capsys.readouterr()
        return int(end.value.code or 0), said.out, said.err

    return run


@pytest.mark.slow
def test_it_is_made_once_small_and_searched_wherever_it_is(run, tmp_path, monkeypatch):
    code, told, complaint = run("-k", 3)
    assert code == 0, complaint
    for words in ("rendered pictures:", "category: ", "box: ", "test photos:", "Go on: vsa search"):
        assert words in told
    assert len([line for line in told.splitlines() if line.startswith("  0.")]) >= 3
    engine = tmp_path / "vsa-demo" / demo.ENGINE
    size = sum(path.stat().st_size for path in engine.rglob("*") if path.is_file())
    assert size <= demo.MAX_BYTES
    shutil.rmtree(tmp_path / "artifacts")  # what it was made from
    (tmp_path / "vsa-demo").rename(tmp_path / "elsewhere")
    monkeypatch.setattr(demo, "make_demo", pytest.fail)
    photo = next((tmp_path / "elsewhere" / demo.PHOTOS).iterdir())
    code, told, _ = run(photo, "--folder", tmp_path / "elsewhere")
    assert code == 0
    assert str(photo) in told
    with demo.open_demo(tmp_path / "elsewhere") as opened:
        assert all((opened.root / path).is_file() for path in opened.catalogue["path"].to_pylist())
        assert any("no result rests on it" in note for note in opened.store.card["notes"])
    found = demo.quality(tmp_path / "elsewhere")
    assert found.pop("photos") > 30
    assert all(0 <= share <= 1 for share in found.values())


def test_a_folder_of_other_things_is_left_alone(run, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").touch()
    code, _, told = run("--folder", tmp_path / "mine", "--make")
    assert code == 2
    assert "holds other things" in told
    assert (tmp_path / "mine" / "thesis.txt").exists()
    with pytest.raises(InputError, match="no engine here"):
        demo.open_demo(tmp_path / "mine")
