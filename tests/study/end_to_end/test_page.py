"""The page of a run: which engine the environment names, and what is said without one."""

from __future__ import annotations

import pytest

from vsa import app
from vsa.runtime.paths import ROOT
from vsa.study.end_to_end import page
from vsa.study.end_to_end.page import open_page


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch):
    for name in ("ENGINE", "DATASET", "PROFILE", "SEED"):
        monkeypatch.delenv(name, raising=False)


def test_without_an_engine_the_page_says_what_to_do():
    assert "make reproduce" in open_page().value


def test_relative_folders_are_relative_to_the_checkout(monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(page, "make_run", lambda dataset, *_: asked.append(dataset) or 1 / 0)
    monkeypatch.setattr(app, "open_page", asked.append)
    monkeypatch.setenv("DATASET", "folder:my shop")
    monkeypatch.chdir(tmp_path)
    open_page()
    monkeypatch.setenv("ENGINE", "my.engine")
    open_page()
    assert asked == [f"folder:{ROOT / 'my shop'}", ROOT / "my.engine"]


def test_a_page_that_cannot_be_opened_says_why(monkeypatch):
    monkeypatch.setenv("ENGINE", "no such engine")
    assert "no engine here" in open_page().value
    monkeypatch.delenv("ENGINE")
    monkeypatch.setattr(page, "make_run", lambda *_: 1 / 0)
    assert "ZeroDivisionError" in open_page().value
    monkeypatch.setenv("SEED", "one")
    assert "not a whole number" in open_page().value
