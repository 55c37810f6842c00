"""Commands that others are told to type: what a shell and make then hand on."""

import os
import re
import shlex
import shutil
import subprocess
from html import unescape

import pytest

from vsa.study import commands
from vsa.study.ledger.ledger import Ledger
from vsa.study.ledger.reporting import write_report
from vsa.study.ledger.reporting.content import reproduce_command
from vsa.study.run import make_run
from vsa.study.settings import parse_changes

VARIABLES = ("DATASET", "PROFILE", "SEED", "SET")


def typed(command, folder):
    """What make gets of a command that someone types there: DATASET, PROFILE, SEED and SET."""
    lines = "".join(f'\t@echo "$${name}"\n' for name in VARIABLES)
    (folder / "Makefile").write_text(f"export {' '.join(VARIABLES)}\nreproduce:\n{lines}")
    # make that is called by make speaks of folders
    outside = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}
    done = subprocess.run(
        ["bash", "-c", command], cwd=folder, env=outside, capture_output=True, text=True
    )
    return dict(zip(VARIABLES, done.stdout.split("\n"), strict=False))


def test_command_survives_a_shell_and_make(tmp_path):
    name = "folder:Ba$$ $(shell date) `x` {y} 'z' # %"
    changes = {
        "embedding.margin": {"value": 0.3, "profile": 0.5},
        "category.architecture": {"value": "it's $mine", "profile": "b"},
        "end_to_end.n_clients": {"value": [1, 2], "profile": [1]},
    }
    run = {"dataset": name, "profile": "full", "changes": changes}
    got = typed(reproduce_command(run, 7), tmp_path)
    assert (got["DATASET"], got["PROFILE"], got["SEED"]) == (name, "full", "7")
    told = {name: change["value"] for name, change in changes.items()}
    assert parse_changes(got["SET"]) == told


def test_command_is_quoted_where_it_must_be():
    assert reproduce_command({"dataset": "folder:my shop", "profile": "full"}, 1) == (
        "make reproduce 'DATASET=folder:my shop' PROFILE=full SEED=1"
    )


def reports(run):
    """Both forms of the report."""
    return [path.read_text(encoding="utf-8") for path in write_report(run.reports)]


@pytest.mark.parametrize("place", ["home", "checkout", "elsewhere"])
def test_a_folder_is_named_by_where_it_lies(tmp_path, monkeypatch, place):
    for name, folder in (("ARTIFACTS", "artifacts"), ("REPORTS", "reports")):
        monkeypatch.setenv(f"VSA_{name}_DIR", str(tmp_path / folder))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(commands, "ROOT", tmp_path / "checkout")
    shop = tmp_path / place / "of Ann's" / "my $hop"
    shop.mkdir(parents=True)
    (tmp_path / "checkout").mkdir(exist_ok=True)
    run = make_run(f"folder:{shop}", "laptop", 3, "embedding.margin=0.3")
    run.begin()
    ledger = Ledger.open(run, "01_catalogue")
    ledger.record("data", "catalogue", "images", 3)
    ledger.save()
    shown = re.findall("<pre[^>]*><code>(.*)</code></pre>", reports(run)[1])
    (command,) = map(unescape, shown)
    got = typed(command, tmp_path / "checkout")
    monkeypatch.chdir(tmp_path / "checkout")
    assert (got["SEED"], got["SET"]) == ("3", "embedding.margin=0.3")
    assert make_run(got["DATASET"], got["PROFILE"], 3, got["SET"]) == run
    assert (str(tmp_path) in command) == (place == "elsewhere")

    shutil.rmtree(run.artifacts)
    for text in reports(run):
        assert "whole path there" in text
        assert str(tmp_path) not in text


def test_vsa_command_is_one_word_per_argument():
    told = commands.vsa_command("study", "folder:my shop", "laptop", 2, "a.b='it s'")
    assert shlex.split(told)[1:] == [
        *("study", "--dataset", "folder:my shop", "--profile", "laptop", "--seed", "2"),
        *("--set", "a.b='it s'"),
    ]
